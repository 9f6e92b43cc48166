"""A state that is older than the object store is not served, until `smarthouse restore` has ended well."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.ports import StoreUnfit
from config.settings import Settings
from smarthouse_api.cli import main
from smarthouse_api.coordination.store_agreement import OLDER, HeldBack
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, MEMORY, OTHER_HOME, Environment, payload, state


def begun(environment: Environment) -> House:
    house = House(Settings.from_env(environment))
    house.installation.settle()
    return house


@pytest.fixture
def data(embedded_pair: Environment) -> Path:
    return Path(embedded_pair["SMARTHOUSE_DATA_DIR"])


@pytest.fixture
def rolled_back(embedded_pair: Environment, data: Path) -> Callable[[Callable[[House], object]], None]:
    """Do something that only the object store still knows of: an old copy of the state's file is put back."""

    def roll_back(act: Callable[[House], object]) -> None:
        house = begun(embedded_pair)
        house.states.uploads.receive(Upload(HOME, payload(state())))
        house.states.chores.flush()
        house.access.create("reader", homes=[7])
        house.streams.catalogue.create(7, "m", "camera")
        house.close()
        shutil.copy(data / "state.db", data.parent / "old")
        house = begun(embedded_pair)
        act(house)
        house.close()
        shutil.copy(data.parent / "old", data / "state.db")
        for log in data.glob("state.db-*"):
            log.unlink()

    return roll_back


def upload_another(house: House) -> None:
    house.states.uploads.receive(Upload(OTHER_HOME, payload(state(value="1"))))
    house.states.chores.flush()


def revoke(house: House) -> None:
    (record,) = house.access.list()
    assert house.access.revoke(record.id)


@pytest.mark.parametrize(
    "act",
    [
        upload_another,
        lambda house: house.forgetting.forget(HOME),
        revoke,
        lambda house: house.streams.delete(next(house.streams.catalogue.everything())),
    ],
    ids=["upload", "forget a home", "revoke a key", "delete a stream"],
)
def test_what_the_old_state_does_not_know_holds_the_installation_back_until_a_restore(
    embedded_pair: Environment, rolled_back: Callable[..., None], act: Callable[[House], object]
) -> None:
    rolled_back(act)
    house = House(Settings.from_env(embedded_pair))
    for _ in range(2):
        with pytest.raises(HeldBack, match="older than the object store"):
            house.installation.settle()
    conditions, has_failed = house.health()
    assert has_failed
    assert conditions["installation"] == f"unfit: {OLDER}"
    house.close()
    told = CliRunner().invoke(main, ["restore"], env=embedded_pair)
    if act is upload_another:  # the data of a home would be erased
        assert (told.exit_code, "does not know 1 homes or streams" in told.output) == (1, True), told.output
        assert len(list(Path(embedded_pair["SMARTHOUSE_DATA_DIR"], "objects/objects/raw").iterdir())) == 2
        told = CliRunner().invoke(main, ["restore", "--accept-losses"], env=embedded_pair)
    assert told.exit_code == 0, told.output
    house = begun(embedded_pair)
    assert house.installation.condition()
    assert not house.health()[1]
    house.close()


def test_a_state_that_lost_nothing_is_served(embedded_pair: Environment, rolled_back: Callable[..., None]) -> None:
    rolled_back(lambda house: house.states.chores.flush())
    house = begun(embedded_pair)
    revoke(house)
    house.forgetting.forget(HOME)
    house.states.uploads.receive(Upload(HOME, payload(state())))
    house.state_age.check()
    house.close()


def test_a_failover_that_loses_what_the_lake_holds_is_noticed_by_the_watch() -> None:
    house = begun({**MEMORY})
    house.states.uploads.receive(Upload(HOME, payload(state())))
    house.installation.check()
    replica = copy.deepcopy(house.state._spaces)  # type: ignore[attr-defined]
    upload_another(house)
    house.installation.check()
    house.state._spaces = replica  # type: ignore[attr-defined]
    with pytest.raises(StoreUnfit, match="failover"):
        house.installation.check()
    assert not house.installation.is_settled
    house.close()


def test_a_note_whose_writer_died_in_between_is_no_sign(embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    house = begun(embedded_pair)
    house.access.create("reader", homes=[7])
    (record,) = house.access.list()
    put = house.objects.put

    def die(key: str, *given: object, **options: object) -> int:
        put(key, *given, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(house.objects, "put", die)
    with pytest.raises(KeyboardInterrupt):
        house.notes.leave(house.access.digests())
    assert record in house.access.list()
    monkeypatch.undo()
    house.state_age.check()
    house.close()

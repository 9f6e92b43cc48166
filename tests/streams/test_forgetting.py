"""A home's streams forgotten: at once, to the last byte, alone or with the uploads; also by whoever restores a backup."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.settings import Settings
from smarthouse_api.cli import main
from smarthouse_api.errors import Forbidden, NotFound, Refused, StoreError
from smarthouse_api.house import House
from smarthouse_api.streams.model import NewPacket, Owner, Retention, Stream
from smarthouse_api.streams.space import space_of
from tests.conftest import HOME, OTHER_HOME, Environment

ANNA = Owner("user", "a" * 12, "Anna")
MARK = b"a-packet-that-only-this-home-ever-had"


def stream_with(house: House, data: bytes = MARK, home_id: int = 7, name: str = "camera") -> Stream:
    stream, _ = house.streams.catalogue.create(home_id, "sds", name, Retention())
    house.streams.appending.append(stream, [NewPacket(data)], ANNA)
    house.streams.metadata.put(stream, 0, {"note": MARK.decode()}, ANNA)
    return stream


def seal(house: House, stream: Stream) -> None:
    house.streams.keeping.visit(stream)


@pytest.fixture
def eager(make_house: Callable[..., House]) -> House:
    """A house that moves every packet into an object as soon as it looks."""
    return make_house(stream_tail_seconds=0)


def test_nothing_of_a_forgotten_home_is_found(house: House) -> None:
    stream_with(house)
    house.forgetting.forget_streams(7)
    assert house.streams.catalogue.list(7, "sds") == []
    with pytest.raises(NotFound):
        house.streams.catalogue.find(7, "sds", "camera")


def test_nothing_of_a_forgotten_home_stays_in_the_stores(eager: House) -> None:
    streams = [stream_with(eager, name=name) for name in ("sealed", "waiting")]
    seal(eager, streams[0])
    assert list(eager.objects.list("packets/"))
    eager.forgetting.forget_streams(7)
    assert list(eager.objects.list("packets/")) == []
    assert [name for name, _ in eager.state.scan_all("streams") if not name.startswith("gone/")] == []
    for stream in streams:
        assert list(eager.state.scan_all(space_of(stream.key))) == []
        assert eager.state.read(space_of(stream.key), "packets") == []


def test_no_file_holds_a_byte_of_it(embedded_pair: Environment) -> None:
    house = House.from_settings(Settings.from_env({**embedded_pair, "SMARTHOUSE_STREAM_TAIL_SECONDS": "0"}))
    seal(house, stream_with(house, name="sealed"))
    stream_with(house, name="waiting")
    house.forgetting.forget_streams(7)
    house.close()
    files = [path for path in Path(embedded_pair["SMARTHOUSE_DATA_DIR"]).rglob("*") if path.is_file()]
    assert [path for path in files if MARK in path.read_bytes()] == []


def test_other_homes_stay(house: House) -> None:
    stream_with(house)
    other = stream_with(house, home_id=8)
    house.forgetting.forget_streams(7)
    assert house.streams.status(other).packet_index == 0


def test_nobody_appends_to_a_forgotten_stream(house: House) -> None:
    stream = stream_with(house)
    house.forgetting.forget_streams(7)
    with pytest.raises(NotFound):
        house.streams.appending.append(stream, [NewPacket(b"late")], ANNA)


def test_a_download_under_way_is_broken_off(eager: House) -> None:
    stream = stream_with(eager)
    seal(eager, stream)
    eager.streams.appending.append(stream, [NewPacket(MARK)], ANNA)
    located = eager.streams.downloads.locate(stream, 0, 1, "octets")
    download = eager.streams.downloads.open(7, "sds", "camera", located.query)
    body = download.body()
    next(body)
    eager.forgetting.forget_streams(7)
    with pytest.raises((Refused, StoreError)):
        list(body)
    download.close()


def test_a_home_that_comes_back_is_a_new_one(house: House) -> None:
    before = stream_with(house)
    house.forgetting.forget_streams(7)
    after = stream_with(house)
    assert (after.key, after.home_key) != (before.key, before.home_key)
    assert house.streams.status(after).packet_index == 0


def test_its_place_in_a_project_is_forgotten(house: House) -> None:
    _, key = house.access.create("p", project="acme")
    house.access.assign([7], "acme")
    house.forgetting.forget_streams(7)
    with pytest.raises(Forbidden):
        house.access.require_home(house.access.authenticate(f"Bearer {key}"), 7)


def test_forgetting_can_be_repeated_and_need_not_find_anything(house: House) -> None:
    for _ in range(2):
        house.forgetting.forget_streams(7)


def test_it_is_hidden_at_once_where_purging_is_delayed(make_house: Callable[..., House]) -> None:
    house = make_house(purge_delay_seconds=3600)
    stream_with(house)
    house.forgetting.forget_streams(7)
    assert house.streams.catalogue.list(7, "sds") == []


def test_whoever_keeps_house_removes_what_was_hidden(make_house: Callable[..., House]) -> None:
    house = make_house(purge_delay_seconds=3600)
    stream = stream_with(house)
    house.forgetting.forget_streams(7)
    house.housekeeper.keep()
    assert list(house.state.scan_all(space_of(stream.key))) == []
    assert all(gone.purged_at for gone in house.streams.catalogue.gone())


def test_a_linked_home_is_forgotten_with_its_uploads(house: House) -> None:
    stream_with(house)
    stream_with(house, home_id=8)
    house.homes.link(HOME, 7)
    house.forgetting.forget(HOME)
    assert house.streams.catalogue.list(7, "sds") == []
    assert len(house.streams.catalogue.list(8, "sds")) == 1


def test_a_link_says_nothing_of_the_uuid_and_goes_with_the_home(house: House) -> None:
    house.homes.link(HOME, 7)
    kept = repr(list(house.state.scan_all("homes")))
    assert HOME not in kept
    assert HOME.replace("-", "") not in kept
    house.forgetting.forget(HOME)
    assert house.homes.linked(HOME) == []


def test_another_homes_uuid_forgets_nothing(house: House) -> None:
    stream_with(house)
    house.homes.link(HOME, 7)
    house.forgetting.forget(OTHER_HOME)
    assert len(house.streams.catalogue.list(7, "sds")) == 1


# Backups


@pytest.fixture
def open_house(embedded_pair: Environment) -> Iterator[Callable[[], House]]:
    opened: list[House] = []

    def open_() -> House:
        opened.append(House.from_settings(Settings.from_env(embedded_pair)))
        return opened[-1]

    yield open_
    for house in opened:
        house.close()


def test_a_restored_backup_brings_no_forgotten_stream_back(
    open_house: Callable[[], House], embedded_pair: Environment, tmp_path: Path
) -> None:
    house, data = open_house(), Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    stream_with(house)
    stream_with(house, home_id=8)
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    house.forgetting.forget_streams(7)
    noted = house.forgetting.noted()
    house.close()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "backup", data)
    restored = open_house()
    assert restored.restoring.restore(noted).forgotten == 1
    assert restored.streams.catalogue.list(7, "sds") == []
    assert len(restored.streams.catalogue.list(8, "sds")) == 1


# The command line


@pytest.fixture
def smarthouse(embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    for name, value in embedded_pair.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, given: str | None = None, fails: bool = False) -> str:
        result = CliRunner().invoke(main, arguments, input=given)
        assert bool(result.exit_code) == fails, result.output
        return result.output

    return run


def test_a_home_is_forgotten_by_command(smarthouse: Callable[..., str], open_house: Callable[[], House]) -> None:
    stream_with(open_house())
    assert "Home 7: forgotten" in smarthouse("homes", "forget", "7", "--yes")
    assert open_house().streams.catalogue.list(7, "sds") == []


def test_a_home_is_not_forgotten_by_mistake(smarthouse: Callable[..., str], open_house: Callable[[], House]) -> None:
    stream_with(open_house())
    smarthouse("homes", "forget", "7", given="n\n", fails=True)
    assert len(open_house().streams.catalogue.list(7, "sds")) == 1


def test_a_home_is_linked_without_its_uuid_being_shown(smarthouse: Callable[..., str], open_house: Callable[[], House]) -> None:
    assert HOME not in smarthouse("homes", "link", "7", given=f"{HOME}\n")
    assert open_house().homes.linked(HOME) == [7]


def test_what_is_no_uuid_is_not_linked(smarthouse: Callable[..., str]) -> None:
    assert "8-4-4-4-12" in smarthouse("homes", "link", "7", given="6f1b1a52\n", fails=True)

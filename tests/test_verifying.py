"""`smarthouse verify`: whatever is damaged or missing is a line, and what the service does meanwhile is none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.settings import Settings
from smarthouse_api.access.keys import Owner
from smarthouse_api.cli import main
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from smarthouse_api.streams.model import NewPacket
from tests.conftest import HOME, OTHER_HOME, on_pairs, payload, state

environment = on_pairs("embedded_pair", "production_pair")

EAGER = {"stream_tail_seconds": 0, "stream_segment_bytes": 1024}


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    """A house with something of each kind that is kept."""
    house = make_house(**EAGER)
    house.installation.settle()
    for home in (HOME, OTHER_HOME):
        house.states.uploads.receive(Upload(home, payload(state(value=home[:4]))))
    house.states.uploads.receive(Upload(HOME, b"undecodable"))
    house.states.chores.flush()
    stream, _ = house.streams.catalogue.create(7, "m", "camera")
    house.streams.appending.append(stream, [NewPacket(b"a" * 3000)], Owner("user", "a" * 12, "Anna"))
    house.streams.chores.maintain(stream)
    house.states.uploads.receive(Upload("0" * 8 + HOME[8:], payload(state(value="to forget"))))
    house.forgetting.forget("0" * 8 + HOME[8:])
    return house


def found(house: House, share: float = 1.0) -> list[Problem]:
    return list(house.verifying.run(share, lambda *_: None))


def test_what_is_whole_has_no_problem(house: House) -> None:
    assert found(house) == []


def test_each_object_that_is_damaged_is_named_with_its_home(house: House) -> None:
    names = [info.key for prefix in ("raw/", "packets/") for info in house.objects.list(prefix)]
    assert {name.split("/")[0] for name in names} == {"raw", "packets"}
    for name, how in product(names, ("changed", "emptied", "removed")):
        stored = house.objects.get(name)
        if how == "removed":
            house.objects.delete([name])
        else:
            house.objects.put(name, [] if how == "emptied" else [stored[:-1] + bytes([stored[-1] ^ 1])])
        assert [(one.store, one.name, one.home_key) for one in found(house)] == [("objects", name, name.split("/")[1])], how
        house.objects.put(name, [stored])
        assert found(house) == []


def test_each_file_of_the_lake_that_is_damaged_is_named(house: House) -> None:
    (name,) = [info.key for info in house.objects.list_table("states") if info.key.startswith("day=")][:1]
    stored = b"".join(house.objects.stream_table("states", name))
    house.objects.put_table("states", name, [stored[:-9] + b"x" + stored[-8:]])
    assert [(one.store, one.name) for one in found(house)] == [("lake", f"tables/states/{name}")]
    house.objects.sweep_table("states", [name])
    assert [(one.store, one.name) for one in found(house)] == [("lake", f"tables/states/{name}")]


def test_rows_that_left_the_lake_are_told_until_they_are_made_again(house: House) -> None:
    name = next(info.key for info in house.objects.list_table("states") if info.key.startswith("day="))
    house.objects.sweep_table("states", [name])
    house.states.rebuilding.look_at_all()
    assert [(one.store, name in one.name, "made them again" in one.what) for one in found(house)] == [("lake", True, True)]
    while house.housekeeper.keep():
        pass
    assert found(house) == []


def test_a_sample_of_nothing_still_looks_for_each_file(house: House) -> None:
    names = [info.key for prefix in ("raw/", "packets/") for info in house.objects.list(prefix)]
    house.objects.delete(names)
    assert {one.name.partition(".")[0] for one in found(house, 0)} == {name.partition(".")[0] for name in names}


def test_uploads_of_a_home_that_the_state_does_not_know_are_told(house: House) -> None:
    house.objects.put(f"raw/{'d' * 32}/2026-03-01/{'e' * 32}", [b"body"])
    assert [(one.name, one.home_key) for one in found(house)] == [(f"raw/{'d' * 32}/", "d" * 32)]


def test_a_note_that_is_lost_is_named_and_is_left_again(house: House) -> None:
    noted = house.notes.left()
    (name,) = [info.key for info in house.objects.list("forgotten/")]
    house.objects.delete([name])
    assert [(one.name, "is missing" in one.what) for one in found(house)] == [(name, True)]
    assert house.notes.left() == noted
    house.forgetting.sweep()
    assert found(house) == []
    assert [info.key for info in house.objects.list("forgotten/")] == [name]


def test_a_note_of_an_earlier_version_is_valid_and_gets_its_document(house: House) -> None:
    noted = house.notes.left()
    house.state.erase("notes")
    assert found(house) == []
    assert house.notes.left() == noted
    house.forgetting.sweep()
    assert {digest for digest, _ in house.state.scan_all("notes", "")} == noted


def test_stores_that_do_not_belong_together_are_told_and_nothing_is_noted(house: House) -> None:
    house.objects.delete([info.key for info in house.objects.list()])
    (problem,) = found(house)
    assert (problem.store, problem.name) == ("stores", "installation")
    assert not list(house.state.scan_all("damage"))


def test_nothing_that_the_service_does_meanwhile_is_a_problem(make_house: Callable[..., House], house: House) -> None:
    working, over = make_house(**EAGER, purge_wait_seconds=0), False

    def work() -> None:
        stream, _ = working.streams.catalogue.create(8, "m", "meter")
        for number in range(6):
            home = f"{number % 3:08x}" + HOME[8:]
            working.states.uploads.receive(Upload(home, payload(state(value=str(number)))))
            working.streams.appending.append(stream, [NewPacket(b"b" * 700)], Owner("user", "a" * 12, "Anna"))
            working.housekeeper.keep()
            working.streams.chores.maintain(stream)
            if number % 3 == 2:
                working.forgetting.forget(f"{random.randrange(3):08x}" + HOME[8:])

    with ThreadPoolExecutor(1) as worker:
        done = worker.submit(work)
        while not over:
            over = done.done()
            assert found(house) == []
        done.result()


@pytest.fixture
def installed(embedded_pair: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    for name, text in embedded_pair.items():
        monkeypatch.setenv(name, text)
    house = House(Settings.from_env(embedded_pair))
    house.installation.settle()
    house.states.uploads.receive(Upload(HOME, payload(state())))
    yield house
    house.close()


def test_the_command_ends_with_1_if_there_is_a_problem(installed: House) -> None:
    whole = CliRunner().invoke(main, ["verify"])
    assert (whole.exit_code, whole.stdout) == (0, "")
    assert "No problem was found." in whole.stderr
    (name,) = (info.key for info in installed.objects.list("raw/"))
    installed.objects.delete([name])
    told = CliRunner().invoke(main, ["verify", "--sample", "10"])
    assert told.exit_code == 1
    assert told.stdout.startswith(f"objects  {name}  {name.split('/')[1]}  this upload is missing")
    assert "Problems: 1" in told.stderr
    assert HOME not in told.output


@pytest.mark.parametrize("more", [[], ["--erased"]], ids=["damage", "erased"])
def test_the_command_ends_with_2_if_it_cannot_look(
    more: list[str], installed: House, embedded_pair: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("SMARTHOUSE_STATE_URL", "redis://127.0.0.1:1/0"),
        ("SMARTHOUSE_DATA_DIR", str(tmp_path / "empty")),
        ("SMARTHOUSE_WORKERS", "none"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert CliRunner().invoke(main, ["verify", *more]).exit_code == 2, name


def test_a_folder_of_objects_that_is_gone_is_told_first(installed: House, embedded_pair: dict[str, str]) -> None:
    folder = Path(embedded_pair["SMARTHOUSE_DATA_DIR"], "objects")
    folder.rename(folder.parent / "moved")
    told = CliRunner().invoke(main, ["verify"])
    assert told.exit_code == 1
    assert told.stdout.startswith(f"stores  installation  -  the folder {folder} does not exist")


def test_a_damaged_page_of_the_state_is_told(installed: House, embedded_pair: dict[str, str]) -> None:
    for number in range(300):
        installed.state.put("space", f"key {number}", b"value" * 100)
    installed.state.scrub()
    installed.state.close()
    path = Path(embedded_pair["SMARTHOUSE_DATA_DIR"]) / "state.db"
    stored = bytearray(path.read_bytes())
    stored[len(stored) // 2 : len(stored) // 2 + 4096] = bytes(range(256)) * 16
    path.write_bytes(stored)
    told = CliRunner().invoke(main, ["verify"])
    assert told.exit_code == 1
    assert told.stdout.startswith("state  files")


@pytest.mark.parametrize("percent", ["-1", "101", "all"])
def test_a_share_that_is_none_is_refused(percent: str) -> None:
    assert CliRunner().invoke(main, ["verify", "--sample", percent]).exit_code == 2

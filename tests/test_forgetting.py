"""Forgetting a home: hidden at once, and no byte left."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from backends.ports import StoreFull, StoreUnavailable
from config.settings import Settings
from smarthouse_api.access.keys import Owner
from smarthouse_api.coordination.queue import Queue
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.query import Filters
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Upload, Uploads
from smarthouse_api.streams.heads import space_of
from smarthouse_api.streams.model import NewPacket
from tests.conftest import HOME, OTHER_HOME, on_pairs, payload, rows, state
from tests.waiting import pass_time, soon

environment = on_pairs("embedded_pair", "production_pair")

MARK = "a-state-that-only-this-home-ever-had"


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    """A house that publishes as uploaded: each export is looked through for a home's own text."""
    return make_house(export_privacy="raw")


def upload(house: House, value: str = MARK, home: str = HOME, key: str | None = None) -> None:
    house.states.uploads.receive(Upload(home, payload(state("sensor.mark", value)), None, key))


def exported(house: House) -> list[str]:
    export = house.states.exports.open(["json"], Filters())
    if export is None:
        return []
    try:
        return [row["state"] for row in rows(b"".join(export))]
    finally:
        export.close()


def files_with(folder: Path, *marks: str) -> list[Path]:
    """Files that hold one of the marks, as text, as bytes, or in base64."""
    wanted = [form for mark in marks for form in (mark.encode(), base64.b64encode(mark.encode())[:-4])]
    return [path for path in folder.rglob("*") if path.is_file() and any(form in path.read_bytes() for form in wanted)]


def log_of(house: House) -> tuple[str, int, dict[str, str] | None]:
    """Return where the table of states is, its newest version, and how to reach it."""
    table, location = house.states.table.open(), house.objects.table_location("states")
    assert table is not None
    return location.uri, table.version(), location.storage_options


def key_of(house: House, home: str = HOME) -> str:
    found = house.states.homes.find(home)
    assert found is not None
    return found.key


def test_after_forgetting_nothing_is_exported(house: House) -> None:
    upload(house)
    assert exported(house) == [MARK]
    house.forgetting.forget(HOME)
    assert exported(house) == []


def test_other_homes_stay(house: House) -> None:
    upload(house)
    upload(house, "other", OTHER_HOME)
    assert len(exported(house)) == 2
    house.forgetting.forget(HOME)
    assert exported(house) == ["other"]


def test_what_was_never_curated_is_forgotten_too(house: House) -> None:
    upload(house)
    house.forgetting.forget(HOME)
    assert house.states.uploads.pending() == []
    assert exported(house) == []


def test_forgetting_an_unknown_home_does_nothing(house: House) -> None:
    upload(house)
    house.forgetting.forget(OTHER_HOME)
    assert exported(house) == [MARK]


def test_uploads_afterwards_are_new_data_under_a_new_pseudonym(house: House) -> None:
    upload(house)
    before = key_of(house)
    house.forgetting.forget(HOME)
    upload(house)
    assert exported(house) == [MARK]
    assert key_of(house) != before


def test_the_same_bytes_are_no_duplicate_after_forgetting(house: House) -> None:
    upload(house)
    house.forgetting.forget(HOME)
    assert not house.states.uploads.receive(Upload(HOME, payload(state("sensor.mark", MARK)))).duplicate


@pytest.mark.parametrize("curated", [True, False])
def test_no_byte_of_the_home_is_left_in_any_file(
    embedded_pair: dict[str, str], request: pytest.FixtureRequest, curated: bool
) -> None:
    house = House(Settings.from_env(embedded_pair))
    folder = Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    raw = f'{{"sensor.mark": [{{"entity_id": "sensor.mark", "state": "{MARK}"}}]}}'.encode()
    for number in range(30):
        upload(house, f"{MARK}-{number}", key=f"night {number}")
        upload(house, f"other {number}", OTHER_HOME, key=f"night {number}")
        if curated:
            house.states.chores.flush()
    house.states.uploads.receive(Upload(HOME, raw))
    house.states.uploads.receive(Upload(HOME, f"undecodable {MARK}".encode()))
    key = key_of(house)
    assert files_with(folder, key, MARK)
    house.forgetting.forget(HOME)
    assert files_with(folder, HOME, key, MARK) == []
    assert len(exported(house)) == 30
    house.close()


def test_hiding_comes_first_and_a_failed_purge_can_be_repeated(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house)
    house.states.chores.flush()

    def fail(*_: Any) -> None:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(StatesTable, "delete_homes", fail)
    with pytest.raises(StoreUnavailable, match="disk"):
        house.forgetting.forget(HOME)
    monkeypatch.undo()
    assert exported(house) == []
    assert house.forgetting.is_due()
    house.forgetting.forget(HOME)
    assert not house.forgetting.is_due()
    assert not list(house.state.scan_all(SPACE, "forgotten/"))


def test_exports_take_uploads_in_while_a_home_is_erased(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partition by partition: in between, others write, and nothing of the home comes back."""
    monkeypatch.setattr("smarthouse_api.states.homes_table._MOST_REWRITTEN_ROWS", 1)
    for day in range(1, 5):
        for home, value in ((HOME, MARK), (OTHER_HOME, f"other {day}")):
            at = datetime(2026, 3, day, 10, tzinfo=UTC)
            body = payload(state("sensor.mark", value, at.isoformat()))
            house.states.uploads.receive(Upload(home, body), at)
        house.states.chores.flush()
    seen = list[int]()

    def meanwhile(*step: Any) -> None:
        upload(house, f"new {len(seen)}", OTHER_HOME)
        seen.append(len(exported(house)))
        delete(*step)

    delete = house.forgetting._lake._delete_from
    monkeypatch.setattr(house.forgetting._lake, "_delete_from", meanwhile)
    house.forgetting.forget(HOME)
    assert seen == [5, 6, 7, 8]
    assert MARK not in exported(house)
    table = house.states.table.open()
    assert table is not None
    assert len(table.to_pyarrow_table()) == len(exported(house)) == 8
    assert not house.states.contents.counting.bundles.written()


def test_what_was_replaced_makes_room_for_the_rest_of_an_erasure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.homes_table._MOST_REWRITTEN_ROWS", 1)
    for day in (1, 2, 3):
        at = datetime(2026, 3, day, 10, tzinfo=UTC)
        for home, value in ((HOME, MARK), (OTHER_HOME, "other")):
            house.states.uploads.receive(Upload(home, payload(state("sensor.mark", value, at.isoformat()))), at)
    house.states.chores.flush()
    table, sizes = house.states.table, list[int]()
    delete = table.delete_homes

    def files() -> int:
        return sum(info.key.endswith(".parquet") for info in house.objects.list_table("states", "day="))

    def full_once(*which: Any) -> None:
        sizes.append(files())
        if len(sizes) == 3:
            raise StoreFull("the disk is full")
        delete(*which)

    monkeypatch.setattr(table, "delete_homes", full_once)
    house.forgetting.forget(HOME)
    assert len(sizes) == 4
    assert sizes[3] < sizes[2]
    assert exported(house) == ["other"] * 3


@pytest.mark.parametrize(("owner", "method"), [(Uploads, "purge"), (Queue, "read")])
def test_a_purge_that_died_is_finished_by_the_housekeeper(
    house: House, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    upload(house)
    house.states.chores.flush()

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, method, die)
    with pytest.raises(KeyboardInterrupt):
        house.forgetting.forget(HOME)
    monkeypatch.undo()
    house.housekeeper.keep()
    assert not house.forgetting.is_due()
    assert exported(house) == []


def test_a_scrub_that_died_is_still_owed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house)

    def die() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(house.state, "scrub", die)
    with pytest.raises(KeyboardInterrupt):
        house.forgetting.forget(HOME)
    monkeypatch.undo()
    assert house.forgetting.is_due()
    house.housekeeper.keep()
    assert not house.forgetting.is_due()


def test_a_delayed_purge_hides_at_once_and_erases_later(make_house: Callable[..., House]) -> None:
    house = make_house(export_privacy="raw", purge_delay_seconds=3600)
    upload(house)
    house.states.chores.flush()
    house.forgetting.forget(HOME)
    assert exported(house) == []
    assert not house.forgetting.is_due()
    assert list(house.objects.list("raw/"))


def test_an_export_under_way_shows_nothing_more_of_a_home_once_it_is_hidden(house: House) -> None:
    upload(house)
    upload(house, "other", OTHER_HOME)
    export = house.states.exports.open(["csv", "json"], Filters())
    assert export is not None
    house.states.homes.hide(house.states.homes.tag(HOME))
    body = b"".join(export)
    export.close()
    assert [row["state"] for row in rows(body)] == ["other"]


@pytest.mark.parametrize("delay", [0, 3600])
def test_forgetting_breaks_off_an_export_that_stays(make_house: Callable[..., House], delay: int) -> None:
    house = make_house(export_privacy="raw", purge_wait_seconds=0, purge_delay_seconds=delay)
    upload(house)
    export = house.states.exports.open(["csv", "json"], Filters())
    assert export is not None
    house.forgetting.forget(HOME)
    with pytest.raises(Exception, match=r"broken off|the lake"):
        list(export)
    export.close()


@pytest.mark.parametrize(
    ("environment", "delay", "readers_need_log"),
    [
        *(("embedded_pair", delay, needed) for delay in (0, 3600) for needed in (False, True)),
        *(("production_pair", delay, delay == 0) for delay in (0, 3600)),
    ],
    indirect=["environment"],
)
def test_an_export_outlives_the_forgetting_of_homes_that_came_after_it(
    make_house: Callable[..., House], delay: int, readers_need_log: bool
) -> None:
    house = make_house(export_privacy="raw", purge_wait_seconds=0, purge_delay_seconds=delay)
    house.states.table.readers_need_log = readers_need_log
    upload(house, "early", OTHER_HOME)
    export = house.states.exports.open(["csv", "json"], Filters())
    assert export is not None
    uri, version, options = log_of(house)
    for value in ("late", "later"):
        for part in ("once", "twice"):
            upload(house, f"{value}, {part}")
            house.states.chores.flush()
        with house.states.table.writing(1) as lease:  # the rows of both homes lie in one file now
            assert house.states.table.compact(lease, 2, lambda: False)
        house.forgetting.forget(HOME)
    assert exported(house) == ["early"]
    if readers_need_log:
        assert DeltaTable(uri, version=version, storage_options=options).file_uris()
    body = b"".join(export)
    export.close()
    assert [row["state"] for row in rows(body)] == ["early"]


def test_what_an_export_kept_from_being_erased_goes_with_the_next_purge(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(export_privacy="raw", purge_wait_seconds=0)
    upload(house, "early", OTHER_HOME)
    export = house.states.exports.open(["csv"], Filters())
    assert export is not None
    upload(house)
    house.states.chores.flush()
    house.forgetting.forget(HOME)
    files_before = list(house.objects.list_table("states"))
    export.close()
    pass_time(house, 61, monkeypatch)
    house.forgetting.try_purge()
    assert len(list(house.objects.list_table("states"))) < len(files_before)
    assert not house.forgetting.is_due()


def test_a_repeated_delete_breaks_off_the_exports_that_the_first_could_not(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(export_privacy="raw", purge_wait_seconds=0, purge_delay_seconds=3600)
    upload(house)
    export = house.states.exports.open(["csv", "json"], Filters())
    assert export is not None

    def fail(*_: Any) -> None:
        raise StoreUnavailable("the store is gone")

    monkeypatch.setattr(StatesTable, "break_readers", fail)
    with pytest.raises(StoreUnavailable):
        house.forgetting.forget(HOME)
    monkeypatch.undo()
    house.forgetting.forget(HOME)
    with pytest.raises(Exception, match=r"broken off|the lake"):
        list(export)
    export.close()


def test_the_lake_is_free_for_exports_while_a_purge_waits_for_older_ones(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house)
    upload(house, "other", OTHER_HOME)
    export = house.states.exports.open(["csv", "json"], Filters())
    assert export is not None
    seen: list[list[str]] = []

    def export_another(*_: Any) -> None:
        upload(house, "new", OTHER_HOME)
        seen.append(sorted(exported(house)))
        export.close()

    monkeypatch.setattr(StatesTable, "break_readers", export_another)
    house.forgetting.forget(HOME)
    assert seen == [["new", "other"]]
    assert sorted(exported(house)) == ["new", "other"]


def test_what_was_on_its_way_during_a_purge_is_swept_up_by_the_next(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house)
    stray = f"raw/{key_of(house)}/2026-03-01/late"
    house.forgetting.forget(HOME)
    house.objects.put(stray, [MARK.encode()])
    pass_time(house, 61, monkeypatch)
    assert house.forgetting.is_due()
    house.housekeeper.keep()
    assert list(house.objects.list("raw/")) == []
    assert not house.forgetting.is_due()


def test_forgetting_an_unknown_home_breaks_no_export(make_house: Callable[..., House]) -> None:
    house = make_house(export_privacy="raw", purge_delay_seconds=3600, purge_wait_seconds=0)
    upload(house)
    export = house.states.exports.open(["json"], Filters())
    assert export is not None
    house.forgetting.forget(OTHER_HOME)
    assert rows(b"".join(export))
    export.close()


def test_a_purge_is_not_kept_from_its_turn_by_a_curator_that_fails(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(export_privacy="raw", purge_delay_seconds=0.001, purge_wait_seconds=0)
    upload(house)
    house.states.chores.flush()
    house.forgetting.forget(HOME)

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the lake is down")

    monkeypatch.setattr(type(house.states.chores), "curate", fail)
    soon(house.forgetting.is_due)
    house.housekeeper.keep()
    assert not house.states.homes.hidden()


def test_a_new_homes_first_upload_survives_a_sweep_at_the_same_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    known = house.states.homes.known

    def upload_first() -> set[str]:
        monkeypatch.undo()
        before = known()
        upload(house)
        return before

    monkeypatch.setattr(house.states.homes, "known", upload_first)
    house.forgetting.sweep()
    assert exported(house) == [MARK]


# What a repeated request and the housekeeping still owe


def test_delete_is_no_success_while_a_reader_holds_on_to_the_past(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    state_url = f"sqlite://{folder}/state.db?timeout_seconds=0.1"
    house = House(Settings.from_env({"SMARTHOUSE_DATA_DIR": str(folder), "SMARTHOUSE_STATE_URL": state_url}))
    upload(house)
    key = key_of(house)
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM documents").fetchall()
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="write-ahead log"):
                house.forgetting.forget(HOME)
        with pytest.raises(StoreUnavailable, match="write-ahead log"):
            house.forgetting.forget(OTHER_HOME)  # nobody can tell by now whose bytes these are
        assert files_with(folder, key)
    house.forgetting.forget(HOME)
    assert files_with(folder, key) == []
    house.close()


def test_a_scrub_that_failed_is_owed_until_it_succeeds_and_no_longer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house)
    scrub, scrubbed = house.state.scrub, list[None]()

    def fail() -> None:
        raise StoreUnavailable("a reader")

    monkeypatch.setattr(house.state, "scrub", fail)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="a reader"):
            house.forgetting.forget(HOME)
    assert house.status.report().waiting.scrubs == 1
    monkeypatch.setattr(house.state, "scrub", lambda: scrubbed.append(scrub()))
    for _ in range(2):
        house.forgetting.forget(HOME)
    assert len(scrubbed) == 1
    assert house.status.report().waiting.scrubs == 0


@pytest.mark.parametrize("step", ["_hide_streams", "note", "_purge_streams", "finish", "_lake.erase_history"])
def test_a_forgetting_that_dies_at_any_step_leaves_no_link_and_no_stream(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    upload(house)
    stream = house.streams.catalogue.create(7, "m", "old")[0]
    house.states.homes.link(HOME, 7)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        part, _, name = step.rpartition(".")
        patch.setattr(getattr(house.forgetting, part) if part else house.forgetting, name, die)
        with pytest.raises(KeyboardInterrupt):
            house.forgetting.forget(HOME)
    assert house.states.homes.linked(house.states.homes.tag(HOME)) == []
    house.housekeeper.keep()
    assert house.streams.catalogue.list(7, "m") == []
    house.streams.catalogue.create(7, "m", "new")  # the number was given to another home
    assert list(house.state.scan_all(space_of(stream.key))) == []
    house.forgetting.forget(HOME)
    house.housekeeper.keep()
    assert [one.name for one in house.streams.catalogue.list(7, "m")] == ["new"]
    assert not list(house.state.scan_all(SPACE, "erasing/"))


def test_a_repeat_waits_for_the_streams_that_the_first_left(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.streams.catalogue.create(7, "m", "old")
    house.states.homes.link(HOME, 7)
    with monkeypatch.context() as patch:
        patch.setattr(type(house.forgetting), "_purge_streams", lambda *_: False)
        for _ in range(2):
            with pytest.raises(Unavailable, match="streams are not removed yet"):
                house.forgetting.forget(HOME)
    house.forgetting.forget(HOME)
    assert not list(house.state.scan_all(SPACE, "erasing/"))


def test_no_byte_of_a_linked_home_without_uploads_is_left(embedded_pair: dict[str, str]) -> None:
    house = House(Settings.from_env(embedded_pair))
    stream, _ = house.streams.catalogue.create(7, "m", "camera")
    house.streams.appending.append(stream, [NewPacket(MARK.encode())], Owner("user", "a" * 12, "Anna"))
    house.states.homes.link(HOME, 7)
    folder = Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    assert files_with(folder, MARK)
    house.forgetting.forget(HOME)
    assert files_with(folder, MARK) == []
    house.close()

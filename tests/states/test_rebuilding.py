"""Rebuilding: what left the lake is made again from raw, and exports say so meanwhile."""

from __future__ import annotations

import copy
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import pytest
from click.testing import CliRunner
from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType
from flask.testing import FlaskClient

from backends.ports import StoreUnavailable, StoreUnfit
from config.settings import Settings
from smarthouse_api.cli import main
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.repairs import LOST, Place, Repair, Repairs
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.homes_table import LEASE, PURGE_LEASE
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, MEMORY, Environment, house_of, on_pairs, payload, state
from tests.each import on_disk, on_disk_and_servers
from tests.states.test_statistics_table import hours, means, receive

environment = on_pairs("embedded_pair", "production_pair")

OTHER = "11111111-0000-4000-8000-000000000000"


def upload(house: House, home: str, *values: object) -> None:
    for value in values:
        house.states.uploads.receive(Upload(home, body(value)))
        house.states.chores.flush()


def body(value: object, at: str = "2026-03-01T12:00:00+00:00") -> bytes:
    return payload(state(value=str(value), at=at, unit_of_measurement="°C", device_class="temperature"))


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


HOW = {"emptied": lambda data: b"", "cut": lambda data: data[:-9], "flipped": flip, "removed": None}


def data_files(house: House, name: str = "states") -> list[str]:
    return [
        info.key for info in house.objects.list_table(name) if info.key.endswith(".parquet") and "_delta_log" not in info.key
    ]


def damage(house: House, path: str, how: Callable[[bytes], bytes] | None, name: str = "states") -> None:
    if how is None:
        house.objects.sweep_table(name, [path])
    else:
        house.objects.put_table(name, path, [how(b"".join(house.objects.stream_table(name, path)))])


def rows(house: House) -> list[str]:
    """The lines of an export, in order."""
    export = house.states.exports.open(["csv"], Filters())
    if export is None:
        return []
    zipped = zipfile.ZipFile(io.BytesIO(b"".join(export)))
    export.close()
    (name,) = [name for name in zipped.namelist() if name.endswith(".csv")]
    return sorted(zipped.read(name).decode().splitlines()[1:])


def keep_house(house: House) -> None:
    """Keep house until two rounds had nothing to do: a chore that failed in one is done in the next."""
    idle = 0
    for _ in range(8):
        idle = 0 if house.housekeeper.keep() else idle + 1
        if idle == 2:
            break


def test_a_damaged_file_costs_its_rows_until_they_are_made_again(client: FlaskClient) -> None:
    """However it is damaged: one file in each way."""
    house = house_of(client)
    for number, _ in enumerate(HOW):
        upload(house, HOME, number)
    upload(house, OTHER, 9)
    before = rows(house)
    assert len(before) == 5
    for path, how in zip(data_files(house), HOW.values(), strict=False):
        damage(house, path, how)
    answer = client.get("/api/export/csv", buffered=True)
    assert answer.status_code == 200
    assert "are missing" in answer.headers["X-Incomplete"]
    zipped = zipfile.ZipFile(io.BytesIO(answer.data))
    assert "incomplete" in zipped.read("README.md").decode()
    (metadata,) = [name for name in zipped.namelist() if name.endswith("_metadata.json")]
    assert "incomplete" in zipped.read(metadata).decode()
    assert len(rows(house)) == 1
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert "being made again" in ready.get_data(as_text=True)
    keep_house(house)
    assert rows(house) == before
    again = client.get("/api/export/csv", buffered=True)
    assert "X-Incomplete" not in again.headers
    assert house.states.rebuilding.condition() is None


@on_disk
def test_a_damaged_file_of_a_day_that_is_over_is_made_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.days_over._ROWS", 4)
    for number in range(24):
        home = f"{number % 12:08x}-0000-4000-8000-000000000000"
        house.states.uploads.receive(Upload(home, body(number // 12)), datetime(2026, 3, 2, tzinfo=UTC))
    before = rows(house)
    with house.states.table.writing(5) as lease:
        house.states.table.compact(lease, 2, lambda: False)
        house.states.table.erase_history(lease)
    damaged = data_files(house)[0]
    assert not re.search("bucket=100[0-7]/", damaged)
    damage(house, damaged, flip)
    assert len(rows(house)) < len(before)
    keep_house(house)
    assert rows(house) == before


@on_disk
def test_two_files_that_changed_places_are_noticed(house: House) -> None:
    upload(house, HOME, 1, 2)
    upload(house, OTHER, 3)
    before, (one, other, *_) = rows(house), data_files(house)
    first, second = (b"".join(house.objects.stream_table("states", path)) for path in (one, other))
    house.objects.put_table("states", one, [second])
    house.objects.put_table("states", other, [first])
    rows_left = len(rows(house)) if len(data_files(house)) else 0
    assert rows_left < 3
    keep_house(house)
    assert rows(house) == before


@on_disk
def test_a_damaged_file_that_an_export_meets_late_costs_that_export_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.lake.data_files._FIRST_BYTES", 0)
    for day in ("2026-03-01", "2026-05-05"):
        house.states.uploads.receive(Upload(HOME, body(day[5:7], f"{day}T10:00:00+00:00")))
    house.states.chores.flush()
    before, (_, late) = rows(house), sorted(data_files(house))
    damage(house, late, flip)
    with pytest.raises(StoreUnavailable, match="has other bytes"):
        rows(house)
    assert len(rows(house)) == 1
    keep_house(house)
    assert rows(house) == before


@on_disk
def test_an_export_whose_snapshot_is_older_than_the_end_of_a_repair_says_so(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = house_of(client)
    upload(house, HOME, 1, 2)
    damage(house, data_files(house)[0], None)
    house.states.rebuilding.look_at_all()
    is_empty = PublishedRows.is_empty

    def after_the_repair(self: PublishedRows) -> bool:
        keep_house(house)
        return is_empty(self)

    monkeypatch.setattr(PublishedRows, "is_empty", after_the_repair)
    answer = client.get("/api/export/csv", buffered=True)
    assert house.states.rebuilding.condition() is None
    assert "are missing" in answer.headers["X-Incomplete"]


@on_disk
def test_an_export_that_would_have_only_missing_rows_waits(house: House) -> None:
    upload(house, HOME, 1)
    before = rows(house)
    damage(house, data_files(house)[0], None)
    with pytest.raises(Unavailable, match="are missing"):
        rows(house)
    keep_house(house)
    assert rows(house) == before


@on_disk_and_servers("what", ["log", "folder", "nothing"], ["folder"])
def test_a_rebuild_makes_the_whole_lake_again(house: House, what: str) -> None:
    upload(house, HOME, 1, 2)
    upload(house, OTHER, 3)
    before = rows(house)
    if what == "log":
        damage(house, f"_delta_log/{2:020d}.json", lambda _: b"")
    if what == "folder":
        house.objects.sweep_table("states", [info.key for info in house.objects.list_table("states")])
    if what != "nothing":
        with pytest.raises(StoreUnfit):
            rows(house)
    house.states.rebuilding.ask(None, None)
    with pytest.raises(Unavailable, match="made again"):
        rows(house)
    house.states.uploads.receive(Upload(OTHER, body(4)))
    keep_house(house)
    after = rows(house)
    assert set(before) < set(after)
    assert len(after) == len(before) + 1
    assert house.states.rebuilding.condition() is None


@on_disk
def test_uploads_are_listed_once_for_all_damaged_files(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in ("2026-03-01", "2026-05-05"):
        house.states.uploads.receive(Upload(HOME, body(day[5:7], f"{day}T10:00:00+00:00")))
    house.states.chores.flush()
    before, kept, asked = rows(house), house.states.uploads.kept, list[object]()
    for path in data_files(house):
        damage(house, path, flip)
    house.states.rebuilding.look_at_all()
    assert len(house.states.rebuilding.repairs.all()) == 2
    monkeypatch.setattr(house.states.uploads, "kept", lambda **options: (asked.append(1), kept(**options))[1])
    keep_house(house)
    assert rows(house) == before
    assert len(asked) == 1


@on_disk
def test_a_rebuild_of_days_holds_back_these_days_alone(house: House) -> None:
    for day in ("2026-03-01", "2026-05-05"):
        house.states.uploads.receive(Upload(HOME, body(day[5:7], f"{day}T10:00:00+00:00")))
    house.states.chores.flush()
    before = rows(house)
    house.states.rebuilding.ask(date(2026, 3, 1), date(2026, 3, 2))
    with pytest.raises(Unavailable):
        rows(house)
    export = house.states.exports.open(["csv"], Filters(since=date(2026, 5, 1)))
    assert export is not None
    export.close()
    keep_house(house)
    assert rows(house) == before


@on_disk
def test_a_rebuild_of_days_does_not_keep_a_damaged_table_from_being_made_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(house, HOME, 1, 2)
    before, ids = rows(house), iter(["0" * 32, "f" * 32])
    monkeypatch.setattr("smarthouse_api.states.rebuilding.new_id", lambda: next(ids))
    house.states.rebuilding.ask(date(2026, 3, 1), date(2026, 3, 2))
    damage(house, f"_delta_log/{2:020d}.json", lambda _: b"")
    house.states.rebuilding.ask(None, None)
    keep_house(house)
    assert rows(house) == before


@on_disk_and_servers("step", ["removed", "queued", "curated"], ["queued"])
def test_a_rebuild_goes_on_where_it_was_killed(house: House, step: str) -> None:
    upload(house, HOME, 1, 2)
    upload(house, OTHER, 3)
    before, rebuilding = rows(house), house.states.rebuilding
    rebuilding.ask(None, None)
    for _ in range(("removed", "queued", "curated").index(step) + 1):
        rebuilding.work()
    if step == "curated":
        house.states.chores.curate(lambda: True)
    # Its notes of the last step are lost: the step is done again.
    ((repair, _),) = rebuilding.repairs.all()
    rebuilding.repairs.add(
        type(repair)(repair.id, repair.what, {"removed": "remove", "queued": "queue"}.get(step, "queue"), holds=True)
    )
    keep_house(house)
    assert rows(house) == before


def test_sequences_that_a_failover_gives_anew_cost_no_row() -> None:
    """The lake has other rows of the same payload: they do not make an entry of the queue done."""
    house = House(Settings.from_env({**MEMORY, "SMARTHOUSE_EXPORT_PRIVACY": "raw"}))
    days = ("2026-03-01", "2026-05-05")
    states = [state(value=day[6:], at=f"{day}T10:00:00+00:00") for day in days]
    house.states.uploads.receive(Upload(HOME, payload(*states)))
    house.states.chores.flush()
    before, replica = rows(house), copy.deepcopy(house.state._spaces)  # type: ignore[attr-defined]
    house.states.rebuilding.ask(date(2026, 5, 1), date(2026, 5, 31))
    keep_house(house)
    house.state._spaces = replica  # type: ignore[attr-defined]
    house.states.rebuilding.ask(date(2026, 3, 1), date(2026, 3, 31))
    keep_house(house)
    assert rows(house) == before
    house.close()


@on_disk
def test_homes_that_are_hidden_do_not_come_back(house: House) -> None:
    upload(house, HOME, 1)
    upload(house, OTHER, 3)
    house.states.rebuilding.ask(None, None)
    for _ in range(2):
        house.states.rebuilding.work()
    house.forgetting.forget(HOME)
    keep_house(house)
    assert len(rows(house)) == 1


def test_a_damaged_file_keeps_no_home_from_being_forgotten(house: House) -> None:
    upload(house, HOME, 1)
    upload(house, OTHER, 3)
    for path in data_files(house):
        damage(house, path, lambda data: data[:-9])
    house.states.rebuilding.look_at_all()
    assert len([*house.objects.list("damaged/")]) == 2
    house.forgetting.forget(HOME)
    assert [*house.objects.list("damaged/")] == []
    keep_house(house)
    assert len(rows(house)) == 1


@on_disk
def test_homes_forgotten_together_leave_by_one_delete(house: House) -> None:
    homes = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(4)]
    for home in homes:
        house.states.uploads.receive(Upload(home, payload(state())))
    house.states.chores.flush()
    for home in homes[:3]:
        house.states.homes.hide(house.states.homes.tag(home))
    table = house.states.table.open()
    assert table is not None
    with house.states.table.writing(1):
        hidden = list(house.states.homes.hidden())
        for places in house.states.table.places_of(hidden):
            house.states.table.delete_homes(hidden, places)
    after = house.states.table.open()
    assert after is not None
    assert after.version() == table.version() + 1
    assert sum(one["num_records"] for one in files_of(after).to_pylist()) == 1


@pytest.fixture
def beside(embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house that looks often for work, beside which commands run on the same stores."""
    monkeypatch.setattr("smarthouse_api.serving.logs.log_to_stderr", lambda *_: None)
    house = House(Settings.from_env({**embedded_pair, "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.1"}))
    house.installation.settle()
    yield house
    house.close()


@pytest.mark.parametrize("days", [(), ("--from", "2026-03-01", "--to", "2026-03-31")])
def test_the_command_waits_until_the_chores_have_done_it(
    beside: House, embedded_pair: Environment, days: tuple[str, ...]
) -> None:
    upload(beside, HOME, 1, 2)
    before = rows(beside)
    beside.housekeeper.start()
    told = CliRunner().invoke(main, ["rebuild", *days, "--wait"], env=embedded_pair)
    beside.housekeeper.stop()
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (0, "Done")
    assert rows(beside) == before


def test_the_command_removes_no_rows_whose_raw_upload_is_damaged(beside: House, embedded_pair: Environment) -> None:
    upload(beside, HOME, 1, 2)
    before = rows(beside)
    raw = [info.key for info in beside.objects.list("raw/")]
    beside.objects.put(raw[0], [b"damaged"])
    told = CliRunner().invoke(main, ["rebuild", "--no-wait"], env=embedded_pair)
    assert (told.exit_code, "--despite-damage" in told.stderr) == (1, True)
    keep_house(beside)
    assert rows(beside) == before
    told = CliRunner().invoke(main, ["rebuild", "--no-wait", "--despite-damage"], env=embedded_pair)
    assert told.exit_code == 0


def test_the_command_waits_for_collections_too_and_tells_what_is_lost(
    beside: House, embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    repairs, steps = Repairs(beside.state, "collections"), list[str]()
    monkeypatch.setattr("smarthouse_api.collections.rebuilding.RecordsRebuilding.work", lambda _: None)
    for name in ("one file", "another file"):
        repairs.add(Repair(name.replace(" ", "-"), name, "queue", (Place("gone", date.min, date.max, 1, 2),)))

    def work(_: float) -> None:
        keep_house(beside)
        repair, document = next(one for one in repairs.all() if not one[0].is_lost)
        steps.append(repair.what)
        if len(steps) == 1:
            repairs.advance(repair, document, LOST)
        else:
            repairs.end(repair, document)

    monkeypatch.setattr("smarthouse_api.cli.rebuilding.time.sleep", work)
    told = CliRunner().invoke(main, ["rebuild", "--wait"], env=embedded_pair)
    assert (told.exit_code, len(steps)) == (0, 2), told.output
    assert "being made again, of collections: " in told.stderr
    assert told.stdout.splitlines()[-2:] == [
        "Done",
        "Files of collections whose records are lost for good: 1; see `smarthouse verify`",
    ]


OUTAGES = (
    ("smarthouse_api.states.rebuilding.Rebuilding.at_risk", (), "Nothing was asked for", False),
    ("smarthouse_api.states.table.StatesTable.outdated", ("--from", "2026-03-01"), "Nothing was asked for", False),
    ("smarthouse_api.collections.rebuilding.RecordsRebuilding.ask", (), "collections was not looked at: repeat the", True),
    ("smarthouse_api.states.rebuilding.Rebuilding.progress", (), "What was asked for is made again without this", True),
)


@pytest.mark.parametrize(("what", "days", "words", "is_asked"), OUTAGES)
def test_an_outage_says_whether_the_rebuild_was_asked_for(
    beside: House,
    embedded_pair: Environment,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    days: tuple[str, ...],
    words: str,
    is_asked: bool,
) -> None:
    def fails(*_: object) -> None:
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(what, fails)
    told = CliRunner().invoke(main, ["rebuild", *days, "--wait"], env=embedded_pair)
    assert told.exit_code == 1
    assert "The store does not answer. " in told.stderr
    assert words in told.stderr
    assert bool(beside.states.rebuilding.repairs.unfinished()) is is_asked is ("Asked for" in told.stdout)


def test_days_that_are_reversed_are_refused(embedded_pair: Environment) -> None:
    told = CliRunner().invoke(main, ["rebuild", "--from", "2026-03-02", "--to", "2026-03-01"], env=embedded_pair)
    assert told.exit_code == 1
    assert "--from" in told.stderr


@on_disk_and_servers("how", ["file", "log", "folder"], ["log"])
def test_a_restore_goes_on_though_the_lake_is_damaged(house: House, how: str) -> None:
    upload(house, HOME, 1)
    upload(house, OTHER, 3)
    house.forgetting.note([digest_of(house.states.homes.find(HOME).key)])
    if how == "file":
        damage(house, data_files(house)[0], None)
    if how == "log":
        damage(house, f"_delta_log/{1:020d}.json", lambda _: b"")
    if how == "folder":
        house.objects.sweep_table("states", [info.key for info in house.objects.list_table("states")])
    assert house.restoring.restore([]).forgotten == 1
    keep_house(house)
    assert len(rows(house)) == 1


def test_a_version_stays_for_an_engine_that_asks_for_it(house: House) -> None:
    house.states.table.readers_need_log = True
    upload(house, HOME, 1, 2)
    with house.states.table.writing(1) as lease, house.states.table.reading():
        table = house.states.table.open()
        assert table is not None
        house.states.table.compact(lease, 2, lambda: False)
        assert not house.states.table.erase_history(lease)
        table.load_as_version(table.version())
        location = house.objects.table_location("states")
        asked = DeltaTable(location.uri, version=table.version(), storage_options=location.storage_options)
        assert asked.to_pyarrow_table().num_rows == 2
        assert house.states.table.erase_history(lease, break_readers_after=0)


@on_disk
def test_a_table_with_columns_of_a_newer_version_is_told_and_not_written_to(house: House) -> None:
    upload(house, HOME, 1)
    place = house.objects.table_location("states")
    newer = Field("newer", PrimitiveType("string"))
    DeltaTable(place.uri, storage_options=place.storage_options).alter.add_columns([newer])
    house.states.uploads.receive(Upload(HOME, body(2)))
    for ask in (house.states.condition, house.states.chores.flush):
        with pytest.raises(StoreUnfit, match="does not know: newer; start the version that wrote it"):
            ask()
    assert [one.name for one in house.verifying.run(1, lambda *_: None)] == ["tables/states"]


@on_disk_and_servers("is_verified", [False, True], [True])
def test_damaged_statistics_which_nobody_reads_are_made_again_by_the_chores(house: House, is_verified: bool) -> None:
    house.installation.settle()
    receive(house, hours(1.0, 2.0))
    house.states.chores.flush()
    keep_house(house)
    before = means(house)
    damage(house, (path := data_files(house, "statistics")[0]), flip, "statistics")
    if is_verified:
        for _ in range(2):
            assert path in next(one.name for one in house.verifying.run(1, lambda *_: None))
        assert "damaged or missing: 1;" in house.health()[0]["files"]
    else:
        house.leases.prolong("look-at-statistics", 0.001)
    keep_house(house)
    assert means(house) == before == [1.0, 2.0]
    assert [*house.verifying.run(1, lambda *_: None)] == []
    assert house.health()[0]["files"] == "none is known"


def test_a_damaged_log_of_statistics_is_a_warning_for_exports_go_on(house: House) -> None:
    house.installation.settle()
    upload(house, HOME, 1)
    receive(house, hours(1.0, 2.0))
    house.states.chores.flush()
    damage(house, "_delta_log/00000000000000000000.json", flip, "statistics")
    conditions, has_failed = house.health()
    assert not has_failed
    assert conditions["lake"].startswith("warning: exports go on")
    assert len(rows(house)) == 1


@on_disk
def test_a_rebuild_waits_for_its_turn_while_homes_are_forgotten_all_the_time(house: House) -> None:
    upload(house, HOME, 1)
    before = rows(house)
    damage(house, "_delta_log/00000000000000000000.json", flip)
    house.states.rebuilding.ask(None, None)
    chores = house.states.chores
    for name, step in (
        (PURGE_LEASE, chores.repair),  # removes
        (LEASE, chores.repair),  # queues
        (LEASE, lambda: chores.curate(lambda: False)),
    ):
        held = house.leases.try_hold(name)
        assert held is not None
        threading.Timer(0.1, held.release).start()
        step()
        held.release()
    chores.repair()
    assert rows(house) == before

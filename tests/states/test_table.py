"""The table of states: rows lie by their own day, repeats go with a compaction, and an earlier version's rows are moved."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import DeltaTable, WriterProperties, write_deltalake

from backends.ports import StoreUnavailable
from smarthouse_api.house import House
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.files import files_of
from smarthouse_api.states.export import ordering
from smarthouse_api.states.export.cuts import Cuts
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.placement import FAR, LATE, OWN_DAY, bucket_of, buckets_of, merged_bucket
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, on_pairs, payload, state
from tests.each import on_disk, on_disk_and_servers

environment = on_pairs("embedded_pair", "production_pair")

ARRIVAL = datetime(2026, 3, 2, 5, tzinfo=UTC)
NEWER = ("utc_offset", "unit_nfkc")


def receive(house: House, *states: Any, home: str = HOME, at: datetime = ARRIVAL) -> None:
    house.states.uploads.receive(Upload(home, payload(*states)), at)


def lake(house: House) -> pa.Table:
    table = house.states.table.open()
    assert table is not None
    return table.to_pyarrow_table()


def published(
    house: House, filters: Filters | None = None, secret: bytes = b"secret", *, strict: bool = False
) -> list[dict[str, Any]]:
    """The rows of an export, the offsets of their clocks aside."""
    house.states.chores.flush()
    snapshot = house.states.table.open_current(10)
    assert snapshot is not None
    with house.states.table.reading() as lease:
        redactor = Redactor(secret, strict=strict)
        looks = DataFiles(house.states.table.ledger, files_of(snapshot))
        rows = PublishedRows(
            snapshot, filters or Filters(), house.engine, house.states.homes, lease, redactor, house.settings.exports, looks
        )
        # An earlier version kept no offset.
        return [{**one, "utc_offset": None} for batch in rows for one in batch.to_pylist()]


def compact(house: House) -> None:
    lease = house.states.table.try_write()
    assert lease is not None
    with lease:
        house.states.table.compact(lease, 2, lambda: False)


# Places


PLACES = {
    "2026-03-02T04:59:59+00:00": ("2026-03-02", OWN_DAY),
    "2026-03-03T23:59:59+00:00": ("2026-03-03", OWN_DAY),
    "2026-03-04T00:00:00+00:00": ("1970-01-01", FAR),
    "2026-02-28T00:00:00+00:00": ("2026-02-28", OWN_DAY),
    "2026-02-27T23:59:59.999999+00:00": ("2026-02-01", LATE),
    "2000-01-01T00:00:00+00:00": ("2000-01-01", LATE),
    "1999-12-31T23:59:59+00:00": ("1970-01-01", FAR),
    "0001-01-01T00:00:00+00:00": ("1970-01-01", FAR),
    "9999-12-31T23:59:59+00:00": ("1970-01-01", FAR),
}


def test_a_row_lies_by_its_own_day(house: House) -> None:
    receive(house, *(state(value=at, at=at) for at in PLACES))
    house.states.chores.flush()
    found = {row["state"]: row for row in lake(house).to_pylist()}
    assert found.keys() == PLACES.keys()
    for at, (day, bucket) in PLACES.items():
        share = bucket_of(found[at]["home"]) if bucket == OWN_DAY else 0
        assert (found[at]["day"].isoformat(), found[at]["bucket"]) == (day, bucket + share), at


@on_disk
def test_rows_of_all_places_are_found_by_their_days(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    days = ["0001-01-01", "1999-12-31", "2026-02-03", "2026-02-28", "2026-03-02", "9999-12-31"]
    receive(house, *(state(f"sensor.s{number}", str(number), f"{day}T12:00:00+00:00") for number, day in enumerate(days)))
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 1)
    assert [row["time"].date().isoformat() for row in published(house)] == days
    for day in map(date.fromisoformat, days):
        assert [row["time"].date() for row in published(house, Filters(day, day))] == [day]


@pytest.mark.parametrize(("since", "until"), [("2026-02-04", "2026-02-05"), ("2026-02-27", "2026-02-03")])
@on_disk
def test_days_without_a_row_among_late_ones_give_none(
    house: House, monkeypatch: pytest.MonkeyPatch, since: str, until: str
) -> None:
    receive(house, *(state(f"sensor.s{day}", at=f"2026-02-{day}T12:00:00+00:00") for day in ("02", "26")))
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 1)
    assert published(house, Filters(date.fromisoformat(since), date.fromisoformat(until))) == []


# Repeats


def test_repeats_go_with_a_compaction_and_the_first_arrival_stays(house: House) -> None:
    for day in range(2):
        receive(house, state(value="1"), state("sensor.x", str(day)), at=ARRIVAL + timedelta(days=day))
        house.states.chores.flush()
    assert lake(house).num_rows == 4
    before = published(house)
    compact(house)
    found = lake(house).to_pylist()
    assert len(found) == 3
    assert [row["received"] for row in found if row["entity_id"] == "sensor.kitchen"] == [ARRIVAL]
    assert published(house) == before


@on_disk
def test_a_day_that_is_over_is_divided_anew_as_it_grows(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are one bucket; many more are put aside on disk, and divided among more buckets. Late comers join them."""
    homes = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(24)]

    def send(homes: list[str], values: int) -> list[dict[str, Any]]:
        for home in homes:
            kinds = (("sensor.hall_power", "W"), ("sensor.hall_temperature", "°C"), ("light.hall", None))
            receive(
                house,
                *(
                    state(kind, str(one % 2), f"2026-03-01T12:00:{one:02}+00:00", unit_of_measurement=unit)
                    for one in range(values)
                    for kind, unit in kinds
                ),
                home=home,
            )
        return published(house)

    monkeypatch.setattr("smarthouse_api.states.days_over._ROWS", 60)
    for some, values, shares in ((homes[:4], 3, 1), (homes, 9, 16), (homes[:1], 11, 16)):
        before = send(some, values)
        compact(house)
        assert published(house) == before
        found = lake(house).to_pylist()
        assert {row["bucket"] for row in found} <= {merged_bucket(share, shares) for share in range(shares)}
        assert all(row["bucket"] in buckets_of(row["home"]) for row in found)
        assert len(found) == len(before)
        assert house.states.table.untidy() == []
        for path in parquet_files(house):
            names = ["type", "unit_nfkc", "home", "entity_id", "time"]
            rows = pa.parquet.read_table(path, columns=names, partitioning=None).to_pylist() if "://" not in path else []
            order = [tuple(str(row[name] or "") for name in names) for row in rows]
            assert order == sorted(order)


def parquet_files(house: House) -> set[str]:
    table = house.states.table.open()
    assert table is not None
    return set(table.file_uris())


def receive_noise(house: House, days_later: int = 0) -> None:
    """Two files of one partition, each larger than a file of the table is to be."""
    house.states.table.open_or_create().alter.set_table_properties({"delta.targetFileSize": "50000"})
    for number in range(2):
        texts = (secrets.token_hex(3000) for _ in range(100))
        receive(
            house,
            *(state(f"sensor.s{one}", text) for one, text in enumerate(texts)),
            at=ARRIVAL + timedelta(days_later, seconds=number),
        )
        house.states.chores.flush()


def test_a_partition_that_was_sorted_is_one_file(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.states.table, "_writer", WriterProperties(max_row_group_size=10))
    receive_noise(house)
    before = parquet_files(house)
    compact(house)
    assert len(before) > 1
    assert len(parquet_files(house)) == 1


@on_disk
def test_a_partition_of_files_that_are_large_enough_is_no_work(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.homes_table._MOST_SORTED_FILE_BYTES", 1)
    receive_noise(house, days_later=40)  # late ones, whose day is never over
    before = parquet_files(house)
    lease = house.states.table.try_write()
    assert lease is not None
    with lease:
        assert not house.states.table.compact(lease, 2, lambda: False)
    assert parquet_files(house) == before


@on_disk
def test_what_is_too_large_to_be_sorted_is_merged_as_it_lies_and_only_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.table.MOST_SORTED_BYTES", 1)
    receive(house, state(value="1"))
    house.states.chores.flush()
    receive(house, state(value="1"), state("sensor.x", "2"))
    house.states.chores.flush()
    lease = house.states.table.try_write()
    assert lease is not None
    with lease:
        assert [house.states.table.compact(lease, 2, lambda: False) for _ in range(2)] == [True, False]
    assert len(parquet_files(house)) == 1
    assert lake(house).num_rows == 3


@on_disk
def test_a_state_change_is_of_the_day_on_which_it_arrived_first(house: House) -> None:
    for day in range(3):
        receive(house, state(value="1"), state("sensor.x", str(day)), at=ARRIVAL + timedelta(days=day))
    arrived = ARRIVAL.date()
    for day, count in enumerate((2, 1, 1)):
        of_day = arrived + timedelta(days=day)
        assert len(published(house, Filters(of_day, of_day, time_field="received"))) == count


@on_disk
def test_a_day_that_is_too_large_is_put_aside_and_comes_in_the_same_order(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        home = f"{number:08x}-0000-4000-8000-000000000000"
        receive(
            house, *(state(f"sensor.s{one % 4}", str(one), f"2026-03-01T12:00:{one:02}+00:00") for one in range(9)), home=home
        )
    at_once = published(house)
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 10)
    assert published(house) == at_once
    assert len(at_once) == 108
    assert at_once == sorted(at_once, key=lambda row: (row["home"], row["entity_id"], row["time"]))


@on_disk_and_servers("strict", [False, True], [True])
def test_one_homes_day_that_is_too_large_is_cut_and_comes_in_the_same_order(
    house: House, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    random_ = random.Random(1)
    for _ in range(3):
        rows = []
        for _ in range(150):
            at = f"2026-03-01T12:00:{random_.randrange(4):02}+00:00"
            one = state(f"sensor.s{random_.randrange(3)}", str(random_.randrange(3)), at, unit_of_measurement="W")
            one["last_changed"] = random_.choice([at, None, "2026-03-01T11:00:00+00:00"])
            one["last_updated"] = random_.choice([at, at, at, one["last_changed"], None])
            rows.append(one)
        receive(house, *rows)
    at_once = published(house, strict=strict)
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 10)
    cut, taken = Cuts.placed, list[int]()

    def noted(cuts: Cuts, batch: pa.RecordBatch) -> Any:
        taken.append(cuts.ranges)
        return cut(cuts, batch)

    monkeypatch.setattr(Cuts, "placed", noted)
    assert published(house, strict=strict) == at_once
    assert max(taken) > 3


@on_disk
def test_late_rows_beside_a_day_that_is_too_large_come_after_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        home = f"{number:08x}-0000-4000-8000-000000000000"
        days = (state(f"sensor.s{one}", str(one), f"2026-03-01T12:00:{one:02}+00:00") for one in range(9))
        receive(house, *days, home=home)
        for late in ("2026-02-28T12:00:00+00:00", "2026-03-02T12:00:00+00:00"):
            receive(house, state("sensor.late", "on", late), home=home, at=ARRIVAL + timedelta(days=40))
    at_once = published(house)
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 30)
    assert published(house) == at_once
    assert [row["time"].day for row in at_once] == 12 * [28] + 108 * [1] + 12 * [2]


@on_disk
def test_the_ranges_of_all_exports_of_a_worker_leave_files_for_connections(house: House) -> None:
    assert (ordering._MOST_RANGES + ordering._MOST_CUTS) * house.settings.exports.at_once <= 512


@on_disk
def test_a_full_temporary_folder_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, *(state(f"sensor.s{number}", str(number)) for number in range(9)))
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 1)

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("smarthouse_api.arrow.spill.TemporaryFile", full)
    with pytest.raises(StoreUnavailable, match="temporary folder: No space left on device"):
        published(house)


@on_disk
def test_the_order_of_homes_is_that_of_their_pseudonyms_and_joins_no_two_exports(house: House) -> None:
    for number in range(20):
        told = state("sensor.power", str(number), unit_of_measurement="W", device_class="power")
        receive(house, told, home=f"{number:08x}-0000-4000-8000-000000000000")
    orders = []
    for secret in (b"one", b"another"):
        rows = published(house, secret=secret)
        assert [row["home"] for row in rows] == sorted(row["home"] for row in rows)
        orders.append([row["state"] for row in rows])
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


# An earlier version's rows


def age(house: House) -> None:
    """Make the lake what version 0.2 would have left: by day of arrival, without the newer columns, with another time."""
    rows = lake(house)
    location = house.objects.table_location("states")
    old = []
    for one in rows.to_pylist():
        at = one["last_changed"] or one["last_updated"] or one["received"]
        old.append({**one, "day": one["received"].date(), "bucket": bucket_of(one["home"]), "time": at})
    schema = pa.schema([field for field in rows.schema if field.name not in NEWER])
    table = pa.Table.from_pylist([{name: one[name] for name in schema.names} for one in old], schema)

    write_deltalake(
        location.uri,
        table,
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=["day", "bucket"],
        storage_options=location.storage_options,
    )


def fill(house: House) -> list[dict[str, Any]]:
    """Three days of two homes, each upload with the states of the day before again; what an export has of them."""
    for day in range(3):
        for home in (HOME, OTHER_HOME):
            at = ARRIVAL + timedelta(days=day)
            states = [
                state(f"sensor.s{one}", str(one), f"{at - timedelta(hours=6 * one):%Y-%m-%dT%H:%M:%S}+00:00")
                for one in range(9)
            ]
            receive(house, *states, home=home, at=at)
    return published(house)


def move(house: House, is_over: Callable[[], bool] = lambda: False) -> None:
    house.states.chores.move(is_over)


def buckets(house: House) -> set[int]:
    return set(lake(house)["bucket"].to_pylist())


@on_disk
def test_an_old_lake_is_read_as_it_will_be_and_then_brought_over(house: House) -> None:
    before = fill(house)
    age(house)
    assert max(buckets(house)) < OWN_DAY
    assert published(house) == before
    move(house)
    assert min(buckets(house)) >= OWN_DAY
    assert published(house) == before


@on_disk
def test_an_old_lake_goes_on_taking_uploads(house: House) -> None:
    before = fill(house)
    age(house)
    receive(house, state("sensor.new", "7", "2026-03-04T04:00:00+00:00"), at=ARRIVAL + timedelta(days=2))
    after = published(house)
    assert len(after) == len(before) + 1
    move(house)
    assert published(house) == after


@on_disk
def test_a_mangled_unit_of_an_old_row_is_mended_and_found(house: House) -> None:
    receive(house, state(unit_of_measurement="°C"))
    house.states.chores.flush()
    age(house)
    rows = lake(house).to_pylist()
    house.states.table.delete("true")
    mangled = [{**row, "unit": "_", "attributes": '{"unit_of_measurement":"_"}'} for row in rows]
    snapshot = house.states.table.open_or_create()
    house.states.table.append(snapshot, pa.Table.from_pylist(mangled, pa.schema(snapshot.schema().to_arrow())), {})
    receive(house, state(unit_of_measurement="_"), at=ARRIVAL + timedelta(days=1))
    for _ in range(2):
        assert [row["unit"] for row in published(house, Filters(units=("%",)))] == ["%"]
        move(house)


@on_disk
def test_it_is_moved_in_turns_the_newest_days_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fill(house)
    age(house)
    monkeypatch.setattr("smarthouse_api.states.table._MOST_MOVED_ROWS", 1)
    left = []
    while house.states.table.outdated():
        left.append(house.states.table.outdated()[0][0])
        move(house, is_over=lambda: True)
        assert published(house) == before
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == 3


@on_disk
def test_a_partition_that_is_too_large_is_moved_in_turns(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fill(house)
    age(house)
    appended = list[int]()
    append = StatesTable.append

    def noted(self: Any, snapshot: DeltaTable, rows: pa.Table, logs: dict[str, int]) -> None:
        appended.append(rows.num_rows)
        append(self, snapshot, rows, logs)

    monkeypatch.setattr(StatesTable, "append", noted)
    monkeypatch.setattr("smarthouse_api.states.table.MOST_SORTED_BYTES", 1)
    move(house)
    assert sum(appended) == 54
    assert len(appended) > 1
    assert published(house) == before


class Died(BaseException):
    """What a test throws where a process would have been killed."""


@on_disk_and_servers(
    "step, when", product(["append", "delete"], ["before", "after"]), [("append", "after"), ("delete", "after")]
)
def test_a_kill_while_it_is_moved_loses_and_doubles_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    before = fill(house)
    age(house)
    owner: Any = StatesTable if step == "append" else DeltaTable
    done = getattr(owner, step)

    def dying(self: Any, *arguments: Any, **options: Any) -> None:
        if when == "after":
            done(self, *arguments, **options)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, dying)
        with pytest.raises(Died):
            move(house)
    assert published(house) == before
    move(house)
    assert published(house) == before
    compact(house)
    assert published(house) == before


def test_a_home_is_forgotten_from_a_lake_that_is_half_moved(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(house)
    age(house)
    monkeypatch.setattr("smarthouse_api.states.table._MOST_MOVED_ROWS", 1)
    move(house, is_over=lambda: True)
    kept = house.states.homes.find(OTHER_HOME)
    assert kept is not None
    house.forgetting.forget(HOME)
    assert set(lake(house)["home"].to_pylist()) == {kept.key}
    move(house)
    assert set(lake(house)["home"].to_pylist()) == {kept.key}


def test_housekeeping_moves_an_old_lake(house: House) -> None:
    before = fill(house)
    age(house)
    deadline = time.monotonic() + 20
    while house.housekeeper.keep() and time.monotonic() < deadline:
        pass
    assert house.states.table.outdated() == []
    assert published(house) == before


@on_disk
def test_what_an_old_process_writes_later_is_moved_too(house: House) -> None:
    before = fill(house)
    move(house)
    age(house)
    house.states.chores.expect_dead()
    move(house)
    assert house.states.table.outdated() == []
    assert published(house) == before

"""The table of states: what a writer that lost its lease cannot do, and what an eraser leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from backends.ports import Change, StoreFull
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.house import House
from smarthouse_api.lake.compaction import Compaction
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.open_table import Layout
from smarthouse_api.lake.repairs import Repair, Repairs
from smarthouse_api.lake.setting_aside import set_aside
from smarthouse_api.lake.table import LakeTable
from smarthouse_api.states.records.placement import bucket_of
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, on_pairs, payload, state
from tests.each import on_disk

environment = on_pairs("embedded_pair", "production_pair")


def upload_and_flush(house: House, *values: object) -> None:
    for value in values:
        house.states.uploads.receive(Upload(HOME, payload(state(value=str(value)))))
        house.states.chores.flush()


def values(house: House) -> list[str]:
    table = house.states.table.open()
    assert table is not None
    return sorted(table.to_pyarrow_table()["state"].to_pylist())


def lose_the_lease(house: House) -> None:
    """What happens to a process that is suspended for longer than its lease."""
    house.state.commit("leases", Change(deletes=("one/lake",)))


def sleeping_around_its_listing(
    house: House, monkeypatch: pytest.MonkeyPatch, before: Callable[[], object], after: Callable[[], object]
) -> None:
    """Erase the history by one who is suspended before and after it looks for dead files."""
    vacuum = DeltaTable.vacuum

    def suspended(self: DeltaTable, *arguments: Any, **options: Any) -> list[str]:
        monkeypatch.undo()
        before()
        found = vacuum(self, *arguments, **options)
        after()
        return found

    monkeypatch.setattr(DeltaTable, "vacuum", suspended)
    lease = house.states.table.try_write()
    assert lease is not None
    try:
        house.states.table.erase_history(lease)
    finally:
        lease.release()


def test_one_who_slept_before_its_listing_removes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_and_flush(house, 1)

    def another_writes() -> None:
        lose_the_lease(house)
        upload_and_flush(house, 2)

    with pytest.raises(LeaseLost):
        sleeping_around_its_listing(house, monkeypatch, before=another_writes, after=lambda: None)
    assert values(house) == ["1", "2"]


def test_one_who_sleeps_after_its_check_removes_only_what_was_dead(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_and_flush(house, 1)
    sweep = house.objects.sweep_table

    def sleep_first(name: str, dead: Any = ()) -> int:
        monkeypatch.undo()
        lose_the_lease(house)
        upload_and_flush(house, 2)
        return sweep(name, dead)

    monkeypatch.setattr(house.objects, "sweep_table", sleep_first)
    lease = house.states.table.try_write()
    assert lease is not None
    house.states.table.erase_history(lease)
    lease.release()
    assert values(house) == ["1", "2"]


def merge_sorted(table: DeltaTable) -> None:
    write_deltalake(table, table.to_pyarrow_table(), mode="overwrite", predicate="bucket >= 0")


@pytest.mark.parametrize(
    "late", [lambda table: table.optimize.compact(), lambda table: table.delete("bucket >= 0"), merge_sorted]
)
def test_what_was_prepared_before_a_fence_cannot_be_committed_after_it(house: House, late: Callable[[DeltaTable], Any]) -> None:
    upload_and_flush(house, 1, 2)
    before = house.states.table.open()
    assert before is not None
    house.states.table.fence()
    with pytest.raises(CommitFailedError):
        late(before)
    assert values(house) == ["1", "2"]


def test_rows_that_came_while_a_partition_was_sorted_are_not_replaced(house: House) -> None:
    upload_and_flush(house, 1, 2)
    before = house.states.table.open()
    assert before is not None
    upload_and_flush(house, 3)
    with pytest.raises(CommitFailedError):
        merge_sorted(before)
    assert values(house) == ["1", "2", "3"]


@on_disk
def test_a_compaction_is_not_begun_without_the_lease(house: House) -> None:
    upload_and_flush(house, 1, 2)
    lease = house.states.table.try_write()
    assert lease is not None
    lose_the_lease(house)
    with pytest.raises(LeaseLost):
        house.states.table.compact(lease, 2, lambda: False)
    lease.release()


def test_a_compaction_of_a_store_that_is_full_makes_room(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (1, 2):
        at = datetime(2026, 3, day, 10, tzinfo=UTC)
        house.states.uploads.receive(Upload(HOME, payload(state(value=str(day), at=at.isoformat()))), at)
    house.states.chores.flush()
    compaction, tidy, steps = Compaction(house.states.table, 8), StatesTable._tidy, list[int]()

    def files() -> int:
        return sum(info.key.endswith(".parquet") for info in house.objects.list_table("states", "day="))

    def full_once(*step: Any) -> None:
        steps.append(files())
        if len(steps) == 2:
            raise StoreFull("the disk is full")
        tidy(*step)

    monkeypatch.setattr(StatesTable, "_tidy", full_once)
    with house.states.table.writing(1) as lease:
        with pytest.raises(StoreFull):
            compaction.compact(lease, lambda: False)
        assert files() == 2 < steps[1]
        compaction.compact(lease, lambda: False)
    assert len(steps) == files() + 1 == 3
    assert values(house) == ["1", "2"]


@on_disk
def test_a_compaction_that_is_interrupted_at_once_has_merged_a_partition(house: House) -> None:
    upload_and_flush(house, 1, 2)
    lease = house.states.table.try_write()
    assert lease is not None
    assert house.states.table.compact(lease, 2, lambda: True)
    assert not house.states.table.compact(lease, 2, lambda: False)
    lease.release()
    assert values(house) == ["1", "2"]


def test_erasing_keeps_the_latest_snapshot_and_nothing_else(house: House) -> None:
    upload_and_flush(house, 1, 2, 3)
    lease = house.states.table.try_write()
    assert lease is not None
    house.states.table.compact(lease, 2, lambda: False)
    house.states.table.erase_history(lease)
    lease.release()
    table = house.states.table.open()
    assert isinstance(table, DeltaTable)
    assert len(table.file_uris()) == 1
    assert table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True) == []
    assert values(house) == ["1", "2", "3"]


@on_disk
def test_a_table_that_is_not_there_has_no_history_and_no_homes(house: House) -> None:
    lease = house.states.table.try_write()
    assert lease is not None
    house.states.table.erase_history(lease)
    lease.release()
    assert house.states.table.open() is None
    assert house.states.table.homes() == set()


@on_disk
def test_the_arrivals_of_homes_are_those_of_their_rows(house: House) -> None:
    upload_and_flush(house, 1, 2)
    home = house.states.homes.find(HOME)
    table = house.states.table.open()
    assert home is not None
    assert table is not None
    received: pa.ChunkedArray = table.to_pyarrow_table()["received"].cast(pa.int64())
    wanted = {(home.key, at) for at in received.to_pylist()}
    assert house.states.table.arrivals(table, wanted) == wanted
    assert house.states.table.arrivals(table, {("0" * 32, 0)}) == set()


@on_disk
def test_arrivals_are_found_in_files_that_a_delete_has_rewritten(house: House) -> None:
    homes, by_file = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(10)], dict[int, str]()
    for home in homes:
        house.states.uploads.receive(Upload(home, payload(state())))
        found = house.states.homes.find(home)
        assert found is not None
        by_file[bucket_of(found.key)] = home
    house.states.chores.flush()
    forgotten = set(homes) - set(by_file.values())  # more homes than files: the others' rows lie beside theirs
    for home in sorted(forgotten)[:2]:
        house.forgetting.forget(home)
    table = house.states.table.open()
    assert table is not None
    rows = table.to_pyarrow_table()
    there = set(zip(rows["home"].to_pylist(), rows["received"].cast(pa.int64()).to_pylist(), strict=True))
    assert len(there) == 8
    for home, at in there:
        assert house.states.table.arrivals(table, {(home, at), (home, at + 1)}) == {(home, at)}


def test_a_damaged_file_of_a_partition_with_escaped_characters_is_set_aside(house: House) -> None:
    schema = pa.schema([("day", pa.date32()), ("kind", pa.string()), ("n", pa.int64())])
    layout = Layout("odd", "odd", schema, ("day", "kind"), ("n",), "")
    table, repairs = LakeTable(house.state, house.objects, house.leases, layout), Repairs(house.state, "odd")
    rows = pa.table({"day": [date(2026, 3, 1)], "kind": ["a b: 50 %/é"], "n": [1]}, schema=layout.schema)
    table.append(table.open_or_create(), rows, {})
    (path,) = [info.key for info in house.objects.list_table("odd") if info.key.endswith(".parquet")]
    house.objects.put_table("odd", path, [b"damaged"])
    snapshot = table.open()
    assert snapshot is not None
    faults = DataFiles(table.ledger, files_of(snapshot)).all_faults()
    assert list(faults) == [path]
    set_aside(table, faults, repairs, lambda id_, what, file: Repair(id_, what, "queue"))
    after = table.open()
    assert after is not None
    assert files_of(after).num_rows == 0
    assert len(repairs.all()) == 1


def test_what_a_failed_commit_left_is_removed_and_nothing_that_a_reader_may_need(house: House) -> None:
    upload_and_flush(house, 1, 2)
    table = house.states.table
    reader = table.open()
    assert reader is not None
    house.objects.put_table("states", "day=2026-03-01/bucket=1/part-of-a-failed-commit.parquet", [b"half"])
    with table.writing(5) as lease:
        table.delete("state = '1'")  # its file is the reader's alone by now
        table.sweep_unfinished(lease)
    assert not [info.key for info in house.objects.list_table("states") if "failed" in info.key]
    assert sorted(reader.to_pyarrow_table()["state"].to_pylist()) == ["1", "2"]
    assert values(house) == ["2"]

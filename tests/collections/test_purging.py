"""A deleted collection: nothing of it stays, whatever dies on the way, and whoever reads is waited for, but not for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from deltalake.exceptions import CommitFailedError

from backends.ports import Change, Conflict, StateStore, StoreUnavailable
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.purging import Purging
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.lake.files import files_of
from tests.collections.lakes import Died, Lake, interrupt, once
from tests.conftest import Environment, on_pairs

environment = on_pairs("embedded_pair", "production_pair")

SECRET = "a secret that nobody else would say"


@pytest.fixture
def lake(environment: Environment) -> Iterator[Lake]:
    with closing(Lake.on(environment)) as one:
        yield one


@pytest.fixture
def two(lake: Lake) -> tuple[Collection, Collection]:
    """A collection that is to be deleted, and one that is not; the lake holds both."""
    pair = lake.create("private", entry_topic="topic"), lake.create("other")
    for one in pair:
        for number in range(3):
            lake.accept(one, {"n": number, "secret": SECRET if one.id == "private" else ""})
        lake.chores.flush(one)
    return pair


def purging(lake: Lake, patience_seconds: float = 0) -> Purging:
    return Purging(lake.state, lake.table, lake.catalogue, lake.leases, patience_seconds=patience_seconds)


def assert_purged(lake: Lake, gone: Collection, other: Collection) -> None:
    assert lake.rows(gone) == []
    assert lake.counts(other) == once(range(3))
    assert lake.catalogue.tombstones() == []
    assert list(lake.state.scan_all(gone.space)) == []
    assert lake.topic(gone) == []
    snapshot = lake.table.open()
    assert snapshot is not None
    assert snapshot.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True) == []


def test_nothing_of_a_deleted_collection_stays(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, other = two
    lake.catalogue.delete(gone.id)
    assert purging(lake).try_purge()
    assert_purged(lake, gone, other)


def test_the_housekeeping_purges(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, other = two
    lake.catalogue.delete(gone.id)
    lake.keep()
    assert_purged(lake, gone, other)


def test_no_file_holds_a_byte_of_it(embedded_pair: Environment, tmp_path: Path) -> None:
    with closing(Lake.on(embedded_pair)) as lake:
        gone, other = lake.create("private"), lake.create("other")
        for one, text in ((gone, SECRET), (other, "x")):
            lake.accept(one, {"n": 0, "secret": text})
            lake.chores.flush(one)
        lake.accept(gone, {"n": 1, "secret": SECRET})  # which the lake does not hold
        lake.catalogue.delete(gone.id)
        assert purging(lake).try_purge()
        files = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
        assert {"objects", "state.db"} <= {file.relative_to(tmp_path / "data").parts[0] for file in files}
        for name in (SECRET, gone.key, gone.id):
            assert not [file for file in files if name.encode() in file.read_bytes() or name in str(file)]


def fail_to_scrub(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: StateStore) -> None:
        raise StoreUnavailable("a reader holds on to the past")

    monkeypatch.setattr(type(lake.state), "scrub", fail)
    with pytest.raises(StoreUnavailable):
        purging(lake).try_purge()
    monkeypatch.undo()


def let_a_minute_pass(lake: Lake) -> None:
    lake.state.commit("leases", Change(deletes=("claimed/collections-scrub",)))


def test_a_scrubbing_that_fails_is_tried_again_later_and_nothing_else_is(
    lake: Lake, two: tuple[Collection, Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, other = two
    lake.catalogue.delete(gone.id)
    fail_to_scrub(lake, monkeypatch)
    assert_purged(lake, gone, other)
    before, scrubs = lake.table.open(), list[str]()
    monkeypatch.setattr(type(lake.state), "scrub", lambda _: scrubs.append("scrubbed"))
    assert not purging(lake).try_purge()
    assert scrubs == []
    let_a_minute_pass(lake)
    for _ in range(2):
        assert not purging(lake).try_purge()
    assert scrubs == ["scrubbed"]
    after = lake.table.open()
    assert before is not None
    assert after is not None
    assert before.version() == after.version()


def test_one_scrubbing_does_for_all_that_is_purged_in_a_minute(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    scrubs = list[str]()
    monkeypatch.setattr(type(lake.state), "scrub", lambda _: scrubs.append("scrubbed"))
    for number in range(3):
        lake.catalogue.delete(lake.create(f"c{number}").id)
        assert purging(lake).try_purge()
    assert scrubs == ["scrubbed"]
    let_a_minute_pass(lake)
    for _ in range(2):
        purging(lake).try_purge()
    assert scrubs == ["scrubbed"] * 2


def test_what_the_lake_did_not_hold_yet_goes_too(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, other = two
    lake.accept(gone, {"n": 3})
    lake.catalogue.delete(gone.id)
    assert purging(lake).try_purge()
    assert_purged(lake, gone, other)


def test_a_collection_made_anew_under_the_id_is_another(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, other = two
    lake.catalogue.delete(gone.id)
    again = lake.create(gone.id)
    lake.accept(again, {"n": 7})
    lake.chores.flush(again)
    assert purging(lake).try_purge()
    assert_purged(lake, gone, other)
    assert lake.counts(again) == {7: 1}


def test_where_nothing_was_deleted_nothing_is_done(lake: Lake, two: tuple[Collection, Collection]) -> None:
    before = lake.table.open()
    assert not purging(lake).try_purge()
    after = lake.table.open()
    assert before is not None
    assert after is not None
    assert before.version() == after.version()


def test_a_collection_that_never_had_a_record_leaves_no_table(lake: Lake) -> None:
    lake.catalogue.delete(lake.create().id)
    assert purging(lake).try_purge()
    assert lake.catalogue.tombstones() == []
    assert lake.table.open() is None


STEPS = (
    (CollectionCatalogue, "close_to_writers"),
    (CollectionsTable, "fence"),
    (CollectionsTable, "delete_collection"),
    (CollectionsTable, "erase_history"),
    (StateStore, "erase"),
    (StateStore, "scrub"),
    (CollectionCatalogue, "remove_tombstone"),
)


@pytest.mark.parametrize(
    ("environment", "owner", "name", "when"),
    [
        *(("embedded_pair", *step, when) for step in STEPS for when in ("before", "after")),
        # What dies before a step is found as what died after the one before.
        *(("production_pair", *step, "after") for step in STEPS),
    ],
    indirect=["environment"],
)
def test_a_crash_at_any_step_is_made_good(
    lake: Lake, two: tuple[Collection, Collection], monkeypatch: pytest.MonkeyPatch, owner: type, name: str, when: str
) -> None:
    gone, other = two
    lake.catalogue.delete(gone.id)

    def die() -> None:
        raise Died

    owner = type(lake.state) if owner is StateStore else owner
    monkeypatch.setattr(owner, name, interrupt(owner, name, die, when=when))
    with suppress(Died):
        purging(lake).try_purge()
    monkeypatch.undo()
    let_a_minute_pass(lake)
    purging(lake).try_purge()
    assert_purged(lake, gone, other)
    assert lake.state.get("collections", "scrub") is None


def test_whoever_reads_is_waited_for(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, other = two
    reading = lake.table.reading()
    lake.catalogue.delete(gone.id)
    one = purging(lake, patience_seconds=60)
    assert not one.try_purge()
    reading.check()
    reading.release()
    assert one.try_purge()
    assert_purged(lake, gone, other)


def test_whoever_reads_for_too_long_is_broken_off(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, other = two
    reading = lake.table.reading()
    lake.catalogue.delete(gone.id)
    assert purging(lake).try_purge()
    with pytest.raises(LeaseLost):
        reading.check()
    reading.release()
    assert_purged(lake, gone, other)


def test_nobody_waits_while_another_writes(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, other = two
    lake.catalogue.delete(gone.id)
    held = lake.table.try_write()
    assert held is not None
    assert not purging(lake).try_purge()
    held.release()
    assert purging(lake).try_purge()
    assert_purged(lake, gone, other)


@pytest.mark.parametrize("is_whole", [True, False], ids=["a purge", "the first half of a purge"])
def test_a_curator_that_slept_through_a_purge_brings_nothing_back(
    lake: Lake, two: tuple[Collection, Collection], monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    _, other = two
    gone = lake.create("late")  # of which there is nothing to be deleted yet
    lake.accept(gone, {"n": 3, "secret": SECRET})
    one = purging(lake, patience_seconds=60)

    def sleep() -> None:
        monkeypatch.undo()
        lake.lose_the_lease()
        lake.catalogue.delete(gone.id)
        reading = None if is_whole else lake.table.reading()
        assert one.try_purge() is is_whole
        if reading is not None:
            reading.release()

    monkeypatch.setattr(CollectionsTable, "append", interrupt(CollectionsTable, "append", sleep, when="before"))
    with suppress(StoreUnavailable, LeaseLost, Conflict):
        lake.another().keep()
    assert one.try_purge() is not is_whole
    assert lake.rows(gone) == []
    assert list(lake.state.scan_all(gone.space)) == []
    assert lake.counts(other) == once(range(3))


def test_nobody_compacts_while_a_reader_is_waited_for(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, other = two
    lake = lake.another(compact_files=2)
    for number in range(3):
        lake.accept(other, {"n": number})
        lake.chores.flush(other)
    reading = lake.table.reading()
    lake.catalogue.delete(gone.id)
    lake.keep()
    snapshot = lake.table.open()
    assert snapshot is not None
    assert files_of(snapshot).num_rows == 4
    reading.release()


def test_a_compaction_that_slept_brings_nothing_back(lake: Lake, two: tuple[Collection, Collection]) -> None:
    gone, _ = two
    lake.accept(gone, {"n": 3})
    lake.chores.flush(gone)
    late = lake.table.open()
    reading = lake.table.reading()
    lake.catalogue.delete(gone.id)
    assert not purging(lake, patience_seconds=60).try_purge()
    assert late is not None
    with pytest.raises(CommitFailedError):
        late.optimize.compact(partition_filters=[("collection", "=", gone.key)])
    assert lake.rows(gone) == []
    reading.release()

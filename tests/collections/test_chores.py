"""The curator of collections: every record that was accepted becomes a row exactly once, whatever dies, sleeps or is lost."""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import redis

from backends.memory import MemoryState
from backends.ports import Change, Conflict, Put, StoreUnavailable
from backends.redis import RedisState
from smarthouse_api.collections import catalogue, chores
from smarthouse_api.collections.dead_letters import DeadLetters
from smarthouse_api.collections.model import TOPIC, Collection, define
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.errors import NotFound, Unavailable
from smarthouse_api.house import House
from smarthouse_api.lake.files import CommitConflict, files_of
from tests.collections.lakes import Died, Lake, interrupt, once
from tests.conftest import ROOT, Environment, on_pairs
from tests.programs import Program

environment = on_pairs("embedded_pair", "production_pair")

CRASHES = [
    (owner, name, when, call)
    for owner, name, calls in (
        (TopicQueue, "take_turn", 1),
        (TopicQueue, "put_fields", 1),
        (CollectionsTable, "append", 2),
        (TopicQueue, "advance", 3),
    )
    for when in ("before", "after")
    for call in range(1, calls + 1)
]


def never() -> bool:
    return False


def over() -> bool:
    return True


@pytest.fixture
def lake(environment: Environment) -> Iterator[Lake]:
    with closing(Lake.on(environment)) as one:
        yield one


@pytest.fixture
def collection(lake: Lake) -> Collection:
    return lake.create()


@pytest.fixture(params=["memory_pair", "production_pair"])
def losing(request: pytest.FixtureRequest) -> Iterator[Lake]:
    """A lake whose state store can lose its last commits, as one does that fails over."""
    with closing(Lake.on(request.getfixturevalue(request.param))) as one:
        yield one


def fill(lake: Lake, collection: Collection, count: int = 3, begin: int = 0) -> None:
    for number in range(begin, begin + count):
        lake.accept(collection, {"n": number})


def die() -> None:
    raise Died


class Replica:
    """What a server knows that takes over from the state store: all as it was when this was made."""

    def __init__(self, lake: Lake) -> None:
        self._state = lake.state
        if isinstance(self._state, MemoryState):
            self._spaces = copy.deepcopy(self._state._spaces)
        else:
            self._keys = {key: self._client.dump(key) for key in self._client.keys(self._pattern)}

    def take_over(self) -> None:
        if isinstance(self._state, MemoryState):
            spaces = copy.deepcopy(self._spaces)
            for name, space in spaces.items():
                space.version = self._state._spaces[name].version + 1000  # no version is given twice
            self._state._spaces = spaces
            return
        if there := self._client.keys(self._pattern):
            self._client.delete(*there)
        for key, dumped in self._keys.items():
            self._client.restore(key, 0, dumped)

    @property
    def _client(self) -> Any:
        assert isinstance(self._state, RedisState)
        client = self._state._clients.client()
        assert isinstance(client, redis.Redis)
        return client

    @property
    def _pattern(self) -> str:
        assert isinstance(self._state, RedisState)
        return f"{self._state._url.prefix}:*"


# What is taken in


def test_a_flush_brings_every_record_into_the_lake(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, {"n": 0}, {"n": 1})
    lake.accept(collection, {"n": 2})
    lake.chores.flush(collection)
    assert lake.held(collection) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_flush_of_nothing_makes_no_table(lake: Lake, collection: Collection) -> None:
    lake.chores.flush(collection)
    assert lake.table.open() is None


def test_a_second_flush_adds_nothing(lake: Lake, collection: Collection) -> None:
    fill(lake, collection)
    for _ in range(2):
        lake.chores.flush(collection)
    assert lake.counts(collection) == once(range(3))


def test_a_flush_of_one_collection_leaves_the_others_to_the_housekeeping(lake: Lake, collection: Collection) -> None:
    other = lake.create("other")
    for one in (collection, other):
        fill(lake, one)
    lake.chores.flush(collection)
    assert lake.held(other) == []
    lake.keep()
    assert lake.counts(other) == once(range(3))


def test_small_batches_hold_what_one_large_batch_holds(lake: Lake, collection: Collection) -> None:
    lake = lake.another(batch_bytes=1)
    fill(lake, collection, 5)
    lake.chores.flush(collection)
    assert lake.counts(collection) == once(range(5))


def test_collections_are_taken_in_by_one_commit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [lake.create(f"c{number}") for number in range(5)]
    for one in some:
        fill(lake, one, 2)
    # It would be the second.
    monkeypatch.setattr(CollectionsTable, "append", interrupt(CollectionsTable, "append", die, when="before", call=2))
    lake.keep()
    assert all(lake.counts(one) == once(range(2)) for one in some)


def test_one_turn_goes_on_where_another_ended(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_AT_ONCE", 1)
    some = [lake.create(f"c{number}") for number in range(3)]
    for one in some:
        fill(lake, one)
    for keeper in (lake, lake.another(), lake):  # whosever it was
        keeper.chores.curate(over)
    assert all(lake.counts(one) == once(range(3)) for one in some)


def test_one_turn_looks_at_a_part_of_those_that_have_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_AT_ONCE", 1)
    monkeypatch.setattr(chores, "_MOST_IDLE", 2)
    some = [lake.create(f"c{number}") for number in range(5)]
    fill(lake, some[-1])
    looks = list[str]()
    monkeypatch.setattr(TopicQueue, "last", lambda queue: looks.append(queue.collection.id) or 0)
    for _ in range(3):
        lake.chores.curate(never)
        looks.append("-")
    assert looks == ["c0", "c1", "-", "c2", "c3", "-", "c4", "-"]


def test_a_turn_that_is_over_looks_no_further(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_AT_ONCE", 1)
    some = [lake.create(f"c{number}") for number in range(3)]
    fill(lake, some[-1])
    for _ in range(2):
        lake.chores.curate(over)
        assert lake.held(some[-1]) == []
    lake.chores.curate(over)
    assert lake.counts(some[-1]) == once(range(3))


def test_one_process_goes_round_at_a_time(lake: Lake, collection: Collection) -> None:
    fill(lake, collection)
    with lake.leases.hold("collections-round", 0):
        lake.keep()
        assert lake.held(collection) == []
    lake.keep()
    assert lake.counts(collection) == once(range(3))


def test_a_turn_that_finds_another_writing_leaves_nobody_out(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_AT_ONCE", 1)
    some = [lake.create(f"c{number}") for number in range(2)]
    for one in some:
        fill(lake, one)
    with lake.table.writing(0):
        lake.chores.curate(over)
    lake.chores.curate(over)
    assert [len(lake.held(one)) for one in some] == [3, 0]


def test_what_cannot_be_curated_keeps_no_other_from_the_lake(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_AT_ONCE", 1)
    first, second = (lake.create(f"c{number}") for number in range(2))
    for one in (first, second):
        fill(lake, one)
    take_turn = TopicQueue.take_turn

    def fail(self: TopicQueue) -> Any:
        if self.collection.key == first.key:
            raise RuntimeError("a fault of ours")
        return take_turn(self)

    monkeypatch.setattr(TopicQueue, "take_turn", fail)
    with pytest.raises(RuntimeError):
        lake.chores.curate(over)
    lake.chores.curate(over)
    assert lake.counts(second) == once(range(3))


def test_what_the_lake_holds_is_looked_up_for_all_collections_at_once_and_now_and_then(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [lake.create(f"c{number}") for number in range(5)]
    for one in some:
        fill(lake, one)
        lake.chores.flush(one)
    calls = list[bool]()
    done = CollectionsTable.held

    def noted(self: CollectionsTable, snapshot: Any, *logs: Any) -> dict[str, int]:
        calls.append(lake.leases.is_held("collections"))
        return done(self, snapshot, *logs)

    monkeypatch.setattr(CollectionsTable, "held", noted)
    other = lake.another()
    other.keep()
    assert calls == [False]  # and not while others wait for the lake
    for one in some:
        fill(lake, one, 3, begin=3)
    other.keep()
    assert calls == [False, True]
    other.keep()
    assert len(calls) == 2


def test_the_lake_knows_how_far_it_holds_each_topic_whatever_becomes_of_its_files(lake: Lake) -> None:
    some = [lake.create(f"c{number}") for number in range(3)]
    for number in range(3):
        for one in some:
            fill(lake, one, 1, begin=number)
            lake.chores.flush(one)
    expected = {one.key: 3 for one in some[1:]}
    lake.table.delete_collection(some[0].key)
    lease = lake.table.try_write()
    assert lease is not None
    lake.table.compact(lease, 2, never)
    lake.table.erase_history(lease)
    lease.release()
    snapshot = lake.table.open()
    assert snapshot is not None
    assert lake.table.held(snapshot) == expected


def test_files_without_statistics_are_read(lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(lake, collection)
    lake.chores.flush(collection)
    snapshot = lake.table.open()
    assert snapshot is not None
    files = files_of(snapshot)
    at = files.schema.get_field_index("max.sequence")
    bare = files.set_column(at, "max.sequence", pa.nulls(files.num_rows, pa.int64()))
    monkeypatch.setattr("smarthouse_api.collections.table.files_of", lambda _: bare)
    assert lake.table.held(snapshot) == {collection.key: 3}


@pytest.mark.parametrize("environment", ["memory_pair"], indirect=True)
def test_however_short_the_turns_are_all_chores_are_done(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a commit takes longer than a turn, and something comes all the time."""
    monkeypatch.setattr("smarthouse_api.housekeeping._TURN_SECONDS", -1.0)
    monkeypatch.setattr("smarthouse_api.lake.compaction._SECONDS", 0.0)
    house = make_house(lake_compact_files=2)
    collections = house.collections
    one = collections.catalogue.create(define({"id": "meters", "entry_topic": "in", "retention": {"bytes": 0}})).collection
    for _ in range(9):
        collections.accepting.accept(one, [{"n": 1}])
        house.housekeeper.keep()
    assert house.state.read(one.space, TOPIC) == []
    table = CollectionsTable(house.state, house.objects, house.leases).open()
    assert table is not None
    assert files_of(table).num_rows < 9


def test_every_row_knows_what_it_is_of(lake: Lake, collection: Collection) -> None:
    at = datetime(2026, 3, 2, 1, 2, 3, 456789, tzinfo=UTC)
    lake.accept(collection, {"timestamp": "2026-03-01T12:00:00.5Z"}, {"n": 1}, at=at, faults={"1": "too little"})
    lake.chores.flush(collection)
    first, second = lake.rows(collection)
    assert {first["collection"], second["collection"]} == {collection.key}
    assert {first["received"], second["received"], second["time"]} == {at}
    assert {first["day"].isoformat(), second["day"].isoformat()} == {"2026-03-02"}
    assert first["time"] == datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert [(row["sequence"], row["position"], row["fault"]) for row in (first, second)] == [(1, 0, None), (1, 1, "too little")]
    assert [row["record"] for row in (first, second)] == ['{"timestamp":"2026-03-01T12:00:00.5Z"}', '{"n":1}']


TIMES: list[tuple[Any, datetime | None]] = [
    ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
    ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
    (1_772_366_400, datetime(2026, 3, 1, 12, tzinfo=UTC)),
    (1_772_366_400_000, datetime(2026, 3, 1, 12, tzinfo=UTC)),
    ("2026-02-30T12:00:00Z", None),
    ("yesterday", None),
    (None, None),
    ({"a": 1}, None),
    (True, None),
    (1e300, None),
]


@pytest.mark.parametrize("environment", ["memory_pair"], indirect=True)
def test_a_record_has_its_own_time_if_that_can_be_read_whatever_is_beside_it(lake: Lake) -> None:
    expected = dict[str, datetime | None]()
    for beside in ("2026-03-01T00:00:00Z", 7, None):
        for value, time_ in TIMES:
            one = lake.create(f"c{len(expected)}", timestamp_field="at")
            lake.accept(one, {"at": value}, {"at": beside})
            expected[one.key] = time_
    lake.keep()
    found = [row for row in lake.all_rows().to_pylist() if row["position"] == 0]
    assert len(found) == len(expected)
    assert [row["time"] for row in found] == [expected[row["collection"]] or row["received"] for row in found]


def test_an_entry_of_no_records_is_passed_over(lake: Lake, collection: Collection) -> None:
    lake.accept(collection)
    fill(lake, collection, 1)
    lake.chores.flush(collection)
    assert lake.counts(collection) == once(range(1))


# What cannot be


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"id":"x","collection":"meters","received_at":"2026-03-01T00:00:00","records":[{}]}',
        b'{"id":"x","collection":"meters","received_at":"2026-03-01T00:00:00Z","records":[5]}',
        b'{"id":"x","collection":"meters","received_at":"2026-03-01T00:00:00Z","records":[{"n":"\xff"}]}',
    ],
    ids=["cut off", "no entry", "no text", "a time without an offset", "a record that is none", "a text that is none"],
)
def test_an_entry_that_cannot_be_read_is_set_aside_and_the_others_are_not(
    lake: Lake, collection: Collection, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fill(lake, collection, 1)
    lake.append(collection, value)
    fill(lake, collection, 1, begin=1)
    with caplog.at_level(logging.ERROR):
        lake.chores.flush(collection)
    assert lake.counts(collection) == once(range(2))
    assert lake.topic(collection) == []
    found = lake.state.get(collection.space, f"unreadable/{2:019d}")
    assert found is not None
    assert found.value == value
    assert "set aside" in caplog.text
    assert "received_at" not in caplog.text


# Crashes


@pytest.mark.parametrize(
    ("environment", "entry_topic", "owner", "name", "when", "call"),
    [
        *(("embedded_pair", "topic", *crash) for crash in CRASHES),
        # What dies before a step is found as what died after the one before.
        *(("embedded_pair", None, *crash) for crash in CRASHES if crash[2] == "after"),
        *(("production_pair", "topic", *crash) for crash in CRASHES if crash[2] == "after"),
    ],
    indirect=["environment"],
)
def test_a_crash_at_any_step_neither_loses_nor_doubles(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, when: str, call: int, entry_topic: str | None
) -> None:
    some = [lake.create(f"c{number}", entry_topic=entry_topic) for number in range(2)]
    for one in some:
        fill(lake, one)
    monkeypatch.setattr(owner, name, interrupt(owner, name, die, when=when, call=call))
    with suppress(Died):
        lake.another(batch_bytes=300).keep()
    monkeypatch.undo()
    for one in some:
        fill(lake, one, 2, begin=3)
        lake.another().chores.flush(one)
        assert lake.counts(one) == once(range(5))
        assert lake.topic(one) == ([{"n": number} for number in range(5)] if entry_topic else [])
        assert TopicQueue(lake.state, one).fields().types == {"n": "int"}


CURATE_AND_TELL = """
import sys
from tests.collections.lakes import Lake
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.table import CollectionsTable

def telling(owner, name):
    done = getattr(owner, name)
    def told(self, *arguments):
        print(name, flush=True)
        return done(self, *arguments)
    setattr(owner, name, told)

for owner, name in ((TopicQueue, "take_turn"), (CollectionsTable, "append"), (TopicQueue, "advance")):
    telling(owner, name)
environment = dict(pair.split("=", 1) for pair in sys.argv[1:])
lake = Lake.on(environment, batch_bytes=1)
while True:
    lake.lose_the_lease()
    lake.keep()
"""


@pytest.mark.parametrize("pair", ["embedded_pair", "production_pair"])
def test_a_kill_at_any_moment_neither_loses_nor_doubles(request: pytest.FixtureRequest, pair: str) -> None:
    environment = request.getfixturevalue(pair)
    with closing(Lake.on(environment)) as lake:
        some = [lake.create(), lake.create("other", entry_topic="other")]
        for number, steps in enumerate((2, 3, 8)):
            for one in some:
                fill(lake, one, 4, begin=4 * number)
            arguments = [f"{name}={value}" for name, value in environment.items()]
            with Program(
                [sys.executable, "-c", CURATE_AND_TELL, *arguments], cwd=ROOT, stdout=subprocess.PIPE, env=os.environ
            ) as curating:
                assert curating.stdout is not None
                for _ in range(steps):
                    assert curating.stdout.readline()
                curating.kill()
        lake.lose_the_lease()
        for one in some:
            lake.chores.flush(one)
            assert lake.counts(one) == once(range(12))


# Curators that sleep


def sleeping_before_its_commit(lake: Lake, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Keep house with a curator that sleeps through its lease between preparing a batch and committing it."""

    def sleep() -> None:
        monkeypatch.undo()
        lake.lose_the_lease()
        meanwhile()

    monkeypatch.setattr(CollectionsTable, "append", interrupt(CollectionsTable, "append", sleep, when="before"))
    with suppress(StoreUnavailable, LeaseLost, Conflict):
        lake.another().keep()


def test_a_curator_that_slept_through_its_lease_doubles_nothing(
    lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, collection)
    sleeping_before_its_commit(lake, monkeypatch, lambda: lake.chores.flush(collection))
    lake.chores.flush(collection)
    assert lake.counts(collection) == once(range(3))


def test_a_curator_that_slept_through_an_erasing_of_the_history_loses_nothing(
    lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commit may stand where nobody looks."""
    fill(lake, collection)
    lake.chores.flush(collection)
    fill(lake, collection, 2, begin=3)

    def erase() -> None:
        for _ in range(2):
            lease = lake.table.try_write()
            assert lease is not None
            lake.table.erase_history(lease)
            lease.release()

    sleeping_before_its_commit(lake, monkeypatch, erase)
    lake.chores.flush(collection)
    assert lake.counts(collection) == once(range(5))


def test_of_two_who_began_with_the_same_snapshot_only_one_commits_though_they_write_of_different_collections(
    lake: Lake,
) -> None:
    first, second = (lake.create(f"c{number}") for number in range(2))
    for one in (first, second):
        fill(lake, one, 1)
        lake.chores.flush(one)
    rows = lake.all_rows()
    early, late = (lake.table.open_or_create() for _ in range(2))
    lake.table.append(early, rows.slice(0, 0), {})
    with pytest.raises(CommitConflict):
        lake.table.append(late, rows.slice(0, 0), {})


def test_a_curator_that_sleeps_after_its_commit_drops_nothing_that_it_did_not_take_in(
    lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, collection)

    def sleep() -> None:
        monkeypatch.undo()
        lake.lose_the_lease()
        fill(lake, collection, 2, begin=3)
        lake.another().chores.flush(collection)
        fill(lake, collection, 2, begin=5)

    monkeypatch.setattr(CollectionsTable, "append", interrupt(CollectionsTable, "append", sleep, when="after"))
    with suppress(LeaseLost):
        lake.keep()
    lake.chores.flush(collection)
    assert lake.counts(collection) == once(range(7))


def test_a_curator_without_the_lease_commits_nothing(
    lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake, collection)
    monkeypatch.setattr(TopicQueue, "put_fields", interrupt(TopicQueue, "put_fields", lake.lose_the_lease, when="after"))
    with pytest.raises(LeaseLost):
        lake.keep()
    assert lake.held(collection) == []


def test_whoever_has_lost_its_turn_says_and_drops_nothing(lake: Lake, collection: Collection) -> None:
    fill(lake, collection)
    queue = TopicQueue(lake.state, collection)
    first = queue.take_turn()
    queue.take_turn()
    with pytest.raises(Conflict):
        queue.advance(first, queue.taken(first), [1])
    assert len(lake.topic(collection)) == 3


# State stores that have lost their last moments


@pytest.mark.parametrize("entry_topic", [None, "topic"])
def test_records_under_sequences_given_anew_are_taken_in_too(losing: Lake, entry_topic: str | None) -> None:
    collection = losing.create(entry_topic=entry_topic)
    fill(losing, collection, 2)
    losing.chores.flush(collection)
    replica = Replica(losing)
    fill(losing, collection, 3, begin=2)
    losing.chores.flush(collection)
    replica.take_over()
    fill(losing, collection, 2, begin=5)
    losing.chores.flush(collection)
    assert losing.counts(collection) == once(range(7))
    losing.accept(collection, {"n": 7})
    losing.chores.flush(collection)
    assert losing.counts(collection) == once(range(8))


def test_positions_are_never_given_twice(losing: Lake) -> None:
    collection = losing.create()
    replica = Replica(losing)
    fill(losing, collection, 3)
    losing.chores.flush(collection)
    replica.take_over()
    fill(losing, collection, 5, begin=3)
    losing.chores.flush(collection)
    positions = [(row["sequence"], row["position"]) for row in losing.rows(collection)]
    assert len(set(positions)) == len(positions) == 8


@pytest.mark.parametrize("look", range(1, 7))
def test_nothing_that_comes_while_sequences_are_passed_over_is_lost(
    losing: Lake, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    collection = losing.create()
    replica = Replica(losing)
    fill(losing, collection, 5)
    losing.chores.flush(collection)
    replica.take_over()
    fill(losing, collection, 1, begin=5)

    def come() -> None:
        fill(losing, collection, 2, begin=6)

    monkeypatch.setattr(TopicQueue, "last", interrupt(TopicQueue, "last", come, when="after", call=look))
    losing.another().keep()
    monkeypatch.undo()
    losing.chores.flush(collection)
    assert losing.counts(collection) == once(range(8))


def test_a_failover_that_undoes_the_moving_of_a_record_loses_nothing(losing: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = losing.create()
    replica = Replica(losing)
    fill(losing, collection, 2)
    losing.chores.flush(collection)
    replica.take_over()
    fill(losing, collection, 3, begin=2)
    before = list[Replica]()

    def fail_over() -> None:
        monkeypatch.undo()
        before[0].take_over()

    for act, when in ((lambda: before.append(Replica(losing)), "before"), (fail_over, "after")):
        monkeypatch.setattr(TopicQueue, "move", interrupt(TopicQueue, "move", act, when=when))
    with suppress(LeaseLost, Conflict, StoreUnavailable):
        losing.another().keep()
    losing.another().chores.flush(collection)
    assert losing.counts(collection) == once(range(5))


@pytest.mark.parametrize(("owner", "name"), [(CollectionsTable, "append"), (TopicQueue, "put_fields"), (TopicQueue, "advance")])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_state_store_that_fails_over_under_a_curator_loses_nothing_that_it_has(
    losing: Lake, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, when: str
) -> None:
    collection = losing.create()
    fill(losing, collection, 1)
    replica = Replica(losing)
    fill(losing, collection, 2, begin=1)

    def fail_over() -> None:
        monkeypatch.undo()
        replica.take_over()
        fill(losing, collection, 2, begin=3)

    monkeypatch.setattr(owner, name, interrupt(owner, name, fail_over, when=when))
    with suppress(LeaseLost, Conflict, StoreUnavailable):
        losing.keep()
    losing.another().chores.flush(collection)
    counts = losing.counts(collection)
    assert {number: counts[number] for number in (0, 3, 4)} == {0: 1, 3: 1, 4: 1}
    assert max(counts.values()) == 1


def test_a_failover_between_the_look_and_the_turn_is_noticed(losing: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = losing.create()
    TopicQueue(losing.state, collection).take_turn()
    replica = Replica(losing)
    fill(losing, collection, 2)
    done = TopicQueue.last

    def lose_it(self: TopicQueue) -> int:
        found = done(self)
        if found == 2:
            monkeypatch.undo()
            replica.take_over()
        return found

    monkeypatch.setattr(TopicQueue, "last", lose_it)
    with pytest.raises(Conflict):
        TopicQueue(losing.state, collection).take_turn()
    fill(losing, collection, 2, begin=2)
    losing.chores.flush(collection)
    assert losing.counts(collection) == once(range(2, 4))


@pytest.mark.parametrize("numbers", [(1, 2), (1, 1)], ids=["apart", "alike"])
def test_the_parts_of_a_request_are_told_apart(losing: Lake, monkeypatch: pytest.MonkeyPatch, numbers: tuple[int, int]) -> None:
    """The first of two has to be moved behind the second, and that is undone when the lake holds the second alone."""
    collection = losing.create()
    replica = Replica(losing)
    fill(losing, collection, 1)
    losing.chores.flush(collection)
    replica.take_over()
    entry = b'{"id":"a","collection":"meters","received_at":"2026-03-01T00:00:00Z","records":[{"n":%d}]}'
    losing.append(collection, *(entry % number for number in numbers))
    replica = Replica(losing)
    monkeypatch.setattr(CollectionsTable, "append", interrupt(CollectionsTable, "append", die, when="after"))
    with pytest.raises(Died):
        losing.another(batch_bytes=1).keep()
    monkeypatch.undo()
    assert losing.all_rows().num_rows == 2
    replica.take_over()
    losing.another().chores.flush(collection)
    assert losing.counts(collection) == Counter((0, *numbers))


def test_fields_that_were_lost_are_found_again(losing: Lake) -> None:
    collection = losing.create()
    replica = Replica(losing)
    losing.accept(collection, {"n": 0, "lost": "x"})
    losing.chores.flush(collection)
    replica.take_over()
    losing.accept(collection, {"n": 1})
    losing.chores.flush(collection)
    assert TopicQueue(losing.state, collection).fields().types == {"n": "int", "lost": "string"}


def test_the_housekeeping_notices_that_a_state_store_is_astray_before_anything_comes(losing: Lake) -> None:
    collection = losing.create()
    replica = Replica(losing)
    fill(losing, collection, 5)
    losing.chores.flush(collection)
    replica.take_over()
    losing.another().keep()
    assert losing.accept(collection, {"n": 5}) > 5
    losing.chores.flush(collection)
    assert losing.counts(collection) == once(range(6))


# Waiting


def test_a_flush_that_cannot_get_the_lease_ends(lake: Lake, collection: Collection) -> None:
    lake = lake.another(flush_seconds=0.1)
    fill(lake, collection)
    held = lake.table.try_write()
    assert held is not None
    with pytest.raises(Unavailable):
        lake.chores.flush(collection)
    held.release()


def test_a_flush_of_a_collection_that_was_deleted_says_so(lake: Lake, collection: Collection) -> None:
    fill(lake, collection)
    lake.catalogue.delete(collection.id)
    with pytest.raises(NotFound):
        lake.chores.flush(collection)


def test_a_full_store_is_curated_all_the_same(lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes documents that pass and drops alone; what a curator writes is no more than that."""
    fill(lake, collection)
    commits: list[Change] = []
    done = type(lake.state).commit

    def noted(self: Any, space: str, change: Change) -> Any:
        if space == collection.space:
            commits.append(change)
        return done(self, space, change)

    monkeypatch.setattr(type(lake.state), "commit", noted)
    lake.chores.flush(collection)
    assert len(commits) == 3
    assert not any(change.appends for change in commits)
    assert all(put.ttl_seconds is not None for change in commits for put in change.puts)


def test_a_flush_does_not_wait_for_what_a_failover_has_lost(losing: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = losing.create()
    fill(losing, collection, 1)
    replica = Replica(losing)
    fill(losing, collection, 2, begin=1)
    monkeypatch.setattr(TopicQueue, "last", interrupt(TopicQueue, "last", replica.take_over, when="after"))
    losing.another(flush_seconds=0.5).chores.flush(collection)
    assert losing.counts(collection) == once(range(1))


# Topics


def test_without_an_entry_topic_nothing_stays_in_the_log(lake: Lake, collection: Collection) -> None:
    fill(lake, collection)
    lake.chores.flush(collection)
    assert lake.topic(collection) == []


def test_an_entry_topic_keeps_what_the_lake_holds(lake: Lake) -> None:
    collection = lake.create(entry_topic="topic")
    fill(lake, collection)
    lake.keep()
    assert [record["n"] for record in lake.topic(collection)] == [0, 1, 2]


def test_an_entry_topic_lets_go_what_is_more_than_its_bytes(lake: Lake) -> None:
    collection = lake.create(entry_topic="topic", retention={"bytes": 450})
    fill(lake, collection, 10)
    lake.keep()
    assert [record["n"] for record in lake.topic(collection)] == [7, 8, 9]
    fill(lake, collection, 1, begin=10)
    lake.keep()
    assert [record["n"] for record in lake.topic(collection)] == [8, 9, 10]
    assert lake.counts(collection) == once(range(11))


def test_an_entry_topic_lets_go_what_is_too_old(lake: Lake) -> None:
    collection = lake.create(entry_topic="topic", retention={"seconds": 3600})
    for hours in (3, 2, 0):
        lake.accept(collection, {"n": hours}, at=datetime.now(UTC) - timedelta(hours=hours))
    lake.keep()
    assert [record["n"] for record in lake.topic(collection)] == [0]


def test_the_installation_says_what_a_topic_keeps_whose_collection_does_not(lake: Lake) -> None:
    collection = lake.create(entry_topic="topic")
    fill(lake, collection)
    lake.another(topic_bytes=0).keep()
    assert lake.topic(collection) == []


def test_nothing_leaves_a_topic_that_the_lake_does_not_hold(lake: Lake) -> None:
    collection = lake.create(entry_topic="topic", retention={"bytes": 0})
    fill(lake, collection)
    held = lake.table.try_write()
    assert held is not None
    lake.keep()
    held.release()
    assert len(lake.topic(collection)) == 3


def test_a_topic_that_is_given_up_is_emptied(lake: Lake) -> None:
    collection = lake.create(entry_topic="topic")
    fill(lake, collection)
    lake.keep()
    lake.catalogue.update(collection.id, {"entry_topic": None})
    lake.keep()
    assert lake.topic(collection) == []
    assert lake.counts(collection) == once(range(3))


def test_a_trimming_that_is_broken_off_is_gone_on_with(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.collections.retention._AT_ONCE", 2)
    collection = lake.create(entry_topic="topic", retention={"bytes": 0})
    fill(lake, collection, 7)
    lake.chores.flush(collection)
    monkeypatch.setattr(TopicQueue, "advance", interrupt(TopicQueue, "advance", die, when="after", call=2))
    with pytest.raises(Died):
        lake.keep()
    monkeypatch.undo()
    lake.lose_the_lease()
    lake.keep()
    assert lake.topic(collection) == []
    assert lake.counts(collection) == once(range(7))


def test_a_trimming_that_is_interrupted_lets_go_what_it_has(lake: Lake) -> None:
    collection = lake.create(entry_topic="topic", retention={"bytes": 0})
    fill(lake, collection)
    lake.chores.curate(never)
    lake.chores.trim(over)
    assert lake.topic(collection) == []


def test_a_commit_of_a_trimming_is_bounded_in_bytes(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.collections.retention._BYTES_AT_ONCE", 1)
    collection = lake.create(entry_topic="topic", retention={"bytes": 0})
    fill(lake, collection)
    lake.chores.curate(never)
    for left in (2, 1, 0):
        lake.chores.trim(over)
        assert len(lake.topic(collection)) == left


def test_topics_are_trimmed_in_turn(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.collections.retention._BYTES_AT_ONCE", 1)
    some = [lake.create(f"c{number}", entry_topic="topic", retention={"bytes": 0}) for number in range(2)]
    for one in some:
        fill(lake, one)
    lake.chores.curate(never)
    for _ in range(2):
        lake.chores.trim(over)
    assert [len(lake.topic(one)) for one in some] == [2, 2]


def test_records_that_were_set_aside_for_too_long_go_once_an_hour(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_AT_ONCE", 1)
    for number in range(3):
        lake.create(f"c{number}")
    seen = list[str]()

    def forget(_: DeadLetters, one: Collection) -> None:
        seen.append(one.id)
        if one.id == "c1":
            raise NotFound("it was deleted meanwhile")

    monkeypatch.setattr(DeadLetters, "remove_expired", forget)
    lake.chores.expire_dead_letters(over)
    assert seen == ["c0"]
    for _ in range(3):
        lake.keep()
        lake.another().keep()
    assert seen == ["c0", "c1", "c2"]


# The lake in order


def test_tidying_ends_after_a_step_and_goes_on(lake: Lake) -> None:
    some = [lake.create(f"c{number}") for number in range(2)]
    for number in range(2):
        for one in some:
            lake.accept(one, {"n": number}, at=datetime(2026, 3, 2, tzinfo=UTC))
            lake.chores.flush(one)
    counts = []
    for _ in range(3):
        lake.chores.compact(over)
        snapshot = lake.table.open()
        assert snapshot is not None
        dead = snapshot.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
        counts.append((files_of(snapshot).num_rows, len(dead)))
    assert counts == [(3, 2), (2, 4), (2, 0)]


def test_the_housekeeping_merges_the_files_of_a_collection(lake: Lake, collection: Collection) -> None:
    lake = lake.another(compact_files=2)
    for number in range(4):
        lake.accept(collection, {"n": number})
        lake.chores.flush(collection)
    lake.keep()
    snapshot = lake.table.open()
    assert snapshot is not None
    assert files_of(snapshot).num_rows == 1
    assert snapshot.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True) == []
    assert lake.counts(collection) == once(range(4))


def test_what_a_reader_needs_stays_until_it_is_done(lake: Lake, collection: Collection) -> None:
    lake = lake.another(compact_files=2)
    for number in range(3):
        lake.accept(collection, {"n": number})
        lake.chores.flush(collection)
    snapshot = lake.table.open()
    reading = lake.table.reading()
    lake.keep()
    assert snapshot is not None
    assert snapshot.to_pyarrow_table().num_rows == 3
    reading.release()


def test_a_collection_that_another_is_at_is_left_out(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (lake.create(f"c{number}") for number in range(2))
    for one in (first, second):
        fill(lake, one)

    def take_it() -> None:
        TopicQueue(lake.state, first).take_turn()

    monkeypatch.setattr(CollectionsTable, "append", interrupt(CollectionsTable, "append", take_it, when="before"))
    lake.keep()
    monkeypatch.undo()
    assert lake.counts(second) == once(range(3))
    lake.chores.flush(first)
    assert lake.counts(first) == once(range(3))


def test_a_document_of_a_collection_that_is_gone_is_not_made(lake: Lake, collection: Collection) -> None:
    fill(lake, collection)
    lake.catalogue.delete(collection.id)
    lake.keep()
    with pytest.raises(Conflict):
        TopicQueue(lake.state, collection).take_turn()
    assert list(lake.state.scan_all(collection.space)) == []


def test_a_flush_that_takes_long_ends_between_commits(lake: Lake, collection: Collection, monkeypatch: Any) -> None:
    lake = lake.another(flush_seconds=0.05, batch_bytes=1)
    fill(lake, collection, 50)
    clock = time.monotonic
    passed = 0.0
    append = CollectionsTable.append

    def slowly(self: CollectionsTable, *commit: Any) -> None:
        nonlocal passed
        passed += 0.03
        append(self, *commit)

    monkeypatch.setattr("smarthouse_api.lake.curator.time.monotonic", lambda: clock() + passed)
    monkeypatch.setattr(CollectionsTable, "append", slowly)
    with pytest.raises(Unavailable):
        lake.chores.flush(collection)
    assert 0 < len(lake.topic(collection)) < 50


def test_a_put_of_another_in_the_space_is_no_turn(lake: Lake, collection: Collection) -> None:
    queue = TopicQueue(lake.state, collection)
    turn = queue.take_turn()
    lake.state.commit(collection.space, Change(puts=(Put("reply/x", b""),), appends=((TOPIC, b""),)))
    queue.advance(turn, queue.taken(turn))

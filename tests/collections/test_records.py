"""Reading back: everything that was accepted before, in order, in pages, within times, from either engine, and in parts."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from backends.ports import StoreUnavailable
from config.groups import CollectionSettings
from smarthouse_api.arrow.formats import Frame
from smarthouse_api.collections import read_plan
from smarthouse_api.collections import records as records_module
from smarthouse_api.collections.model import Collection, Position
from smarthouse_api.collections.read_plan import ReadBounds, SequenceRange, ranges
from smarthouse_api.collections.records import Records, Selection
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.errors import Invalid, NotFound, Unavailable
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.engine_registry import open_engine
from tests.collections.lakes import Lake
from tests.conftest import Environment, on_pairs
from tests.lake.sail import SailServer

environment = on_pairs("embedded_pair", "production_pair")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_US = 1_772_366_400_000_000


@pytest.fixture
def lake(environment: Environment) -> Iterator[Lake]:
    with closing(Lake.on(environment)) as one:
        yield one


@pytest.fixture
def embedded(embedded_pair: Environment) -> Iterator[Lake]:
    with closing(Lake.on(embedded_pair)) as one:
        yield one


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    server = SailServer(tmp_path_factory.mktemp("sail"))
    server.start()
    with closing(open_engine(server.url)) as engine:
        yield engine
    server.kill()


@pytest.fixture(params=["embedded", "spark"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return EmbeddedEngine() if request.param == "embedded" else request.getfixturevalue("spark")


@pytest.fixture
def collection(lake: Lake) -> Collection:
    return lake.create()


def town(lake: Lake, collection: Collection, entries: int = 40, seed: int = 1) -> list[Any]:
    """Entries of many sizes and days, in several commits; the records in order."""
    chance = random.Random(seed)
    records: list[Any] = []
    for number in range(entries):
        some = [
            {
                "n": len(records) + index,
                "timestamp": (NOON + timedelta(minutes=chance.randrange(3000))).isoformat(),
                "x": "x" * 9,
            }
            for index in range(chance.choice((1, 1, 2, 30)))
        ]
        lake.accept(collection, *some, at=NOON + timedelta(hours=number))
        records += some
        if chance.random() < 0.2:
            lake.chores.flush(collection)
    return records


def answer(lake: Lake, collection: Collection, format_: str = "jsonl", **options: Any) -> bytes:
    selection = Selection(**{name: options.pop(name) for name in Selection.__dataclass_fields__ if name in options})
    with closing(lake.records.open(collection, selection, format_, **options)) as found:
        return b"".join(found.chunks)


def pages(lake: Lake, collection: Collection, limit: int, **selection: Any) -> list[Any]:
    """All records, page by page."""
    found, cursor = [], None
    while True:
        with closing(lake.records.open(collection, Selection(limit=limit, cursor=cursor, **selection), "jsonl")) as page:
            lines = b"".join(page.chunks).splitlines()
            found += [json.loads(line)["n"] for line in lines]
            assert len(lines) <= limit
            assert page.next_cursor is None or len(lines) == limit
            if (cursor := page.next_cursor) is None:
                return found


# What is read


def test_everything_accepted_before_is_read_in_order(lake: Lake, collection: Collection) -> None:
    records = town(lake, collection)
    assert lake.read(collection) == records


def test_nothing_is_read_of_an_empty_collection(lake: Lake, collection: Collection) -> None:
    assert lake.read(collection) == []
    assert lake.read(collection, limit=1) == []
    assert answer(lake, collection, "json") == b"[]\n"


def test_nothing_is_read_of_another_collection(lake: Lake, collection: Collection) -> None:
    town(lake, collection, 3)
    assert lake.read(lake.create("other")) == []


def test_a_row_tells_its_position_arrival_and_fault(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, {"n": 0}, {"n": 1}, at=NOON, faults={"1": "no"})
    told = {"_received_at": "2026-03-01T12:00:00.000000Z"}
    assert [json.loads(line) for line in answer(lake, collection).splitlines()] == [
        {"_position": "1-0", **told, "n": 0},
        {"_position": "1-1", **told, "_fault": "no", "n": 1},
    ]


def test_every_format_is_read(lake: Lake, collection: Collection) -> None:
    town(lake, collection, 5)
    for format_ in ("json", "jsonl", "csv", "parquet"):
        assert b"timestamp" in answer(lake, collection, format_), format_


def test_a_frame_is_given_the_next_cursor(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, *({"n": number} for number in range(3)))

    def frame(cursor: str | None) -> Frame:
        return Frame(b'{"records":[', b'],"next":%s}' % json.dumps(cursor).encode())

    page = json.loads(answer(lake, collection, "json", limit=2, with_meta=False, frame=frame))
    assert page == {"records": [{"n": 0}, {"n": 1}], "next": "1-1"}
    assert json.loads(answer(lake, collection, "json", limit=3, frame=frame))["next"] is None


def test_a_record_is_given_back_in_its_own_text(lake: Lake, collection: Collection) -> None:
    text = b'{"n":1.0e+0,"big":123456789012345678901234567890,"u":"\\u00e9 \xc3\xa9","o":{"b":1,"a":[]}}'
    lake.append(collection, b'{"id":"x","collection":"meters","received_at":"2026-03-01T12:00:00Z","records":[%s]}' % text)
    assert answer(lake, collection, with_meta=False) == text + b"\n"


# In pages


@pytest.mark.parametrize(
    ("environment", "size", "limits"),
    [("embedded_pair", 4, [1]), ("embedded_pair", 15, [7, 30, 1000]), ("production_pair", 8, [7, 30])],
    indirect=["environment"],
)
def test_pages_hold_every_record_once(lake: Lake, collection: Collection, size: int, limits: list[int]) -> None:
    records = town(lake, collection, size)
    for limit in limits:
        assert pages(lake, collection, limit) == [record["n"] for record in records], limit


def test_pages_within_times_hold_every_record_once(lake: Lake, collection: Collection) -> None:
    records = town(lake, collection, 15)
    until = NOON_US + 1500 * 60_000_000
    wanted = [record["n"] for record in records if record["timestamp"] <= (NOON + timedelta(minutes=1500)).isoformat()]
    assert 0 < len(wanted) < len(records)
    assert pages(lake, collection, 4, until_us=until) == wanted


def test_the_last_page_has_no_next_one(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, *({"n": number} for number in range(4)))
    for limit, expected in ((3, "1-2"), (4, None), (5, None)):
        with closing(lake.records.open(collection, Selection(limit=limit), "jsonl")) as page:
            assert page.next_cursor == expected


def test_a_cursor_goes_on_with_what_came_since(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, {"n": 0}, {"n": 1})
    assert [record["n"] for record in lake.read(collection, cursor="1-0")] == [1]
    assert lake.read(collection, cursor="1-1") == []
    lake.accept(collection, {"n": 2})
    assert [record["n"] for record in lake.read(collection, cursor="1-1")] == [2]


def test_nothing_follows_a_cursor_beyond_the_end(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, {"n": 0})
    for cursor in ("9-9", "4611686018427387902-9999999999", "1-9999999999"):
        assert lake.read(collection, cursor=cursor) == []


def test_a_cursor_that_is_none_is_refused(lake: Lake, collection: Collection) -> None:
    for cursor in ("", "x", "1", "1-", "-1-0", "1-0-0", "01-0", "9" * 19 + "-0", "1-1 OR 1=1"):
        with pytest.raises(Invalid, match="cursor"):
            lake.read(collection, cursor=cursor)


def test_a_limit_of_nothing_is_refused(lake: Lake, collection: Collection) -> None:
    with pytest.raises(Invalid, match="limit"):
        lake.read(collection, limit=0)


# Within times


WITHIN: list[tuple[int | None, int | None, list[int]]] = [
    (None, None, [0, 1, 2, 3, 4]),
    (1, None, [1, 2, 3, 4]),
    (None, 1, [0, 1]),
    (1, 999, [1, 2]),
    (999, 1000, [2, 3]),
    (1001, 1001, [4]),
    (1002, None, []),
    (3, 2, []),
    (-(1 << 62), 1 << 60, [0, 1, 2, 3, 4]),
]


def test_times_are_told_apart_by_the_microsecond(embedded: Lake, engine: Engine) -> None:
    collection = embedded.create()
    for number, microseconds in enumerate((0, 1, 999, 1000, 1001)):
        embedded.accept(collection, {"n": number, "timestamp": (NOON + timedelta(microseconds=microseconds)).isoformat()})
        embedded.chores.flush(collection)
    reading = Lake(embedded.state, embedded.objects, engine=engine)
    for since, until, expected in WITHIN:
        bounds = {name: NOON_US + bound for name, bound in (("since_us", since), ("until_us", until)) if bound is not None}
        assert [record["n"] for record in reading.read(collection, **bounds)] == expected, (since, until)


# From either engine, in parts


SELECTIONS: list[dict[str, Any]] = [
    {},
    {"cursor": "7-0"},
    {"limit": 50},
    {"limit": 50, "cursor": "9-3"},
    {"since_us": NOON_US + 60_000_000_000, "until_us": NOON_US + 120_000_000_000},
]


def test_both_engines_read_the_same(embedded: Lake, spark: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_plan, "MAX_ROWS", 60)
    collection = embedded.create()
    town(embedded, collection)
    other = Lake(embedded.state, embedded.objects, engine=spark)
    for selection in SELECTIONS:
        ours, theirs = (answer(one, collection, **selection) for one in (embedded, other))
        assert ours == theirs, selection
        assert ours


def test_many_parts_hold_what_one_holds(lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    records = town(lake, collection, 15)
    for rows in (1, 10, 100):
        monkeypatch.setattr(read_plan, "MAX_ROWS", rows)
        assert lake.read(collection) == records, rows


def test_a_part_that_is_too_large_is_parted(lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a file's rows are not spread evenly over its sequences."""
    records = town(lake, collection, 15)
    monkeypatch.setattr(records_module, "_MOST_BYTES", 1)
    asked: list[SequenceRange] = []
    select = records_module.select_rows

    def noted(bounds: ReadBounds, part: SequenceRange, columns: tuple[str, ...]) -> Any:
        asked.append(part)
        return select(bounds, part, columns)

    monkeypatch.setattr(records_module, "select_rows", noted)
    assert lake.read(collection) == records
    assert {part.sequences[1] - part.sequences[0] for part in asked} >= {0, 1}


def test_a_compacted_lake_is_read_in_the_same_order(lake: Lake, collection: Collection) -> None:
    records = town(lake, collection)
    lake.another(compact_files=2).keep()
    assert lake.read(collection) == records


def files(*spans: tuple[int, int, int], key: str = "k", size: int = 100) -> pa.Table:
    """Files of a collection: first and last sequence, and rows."""
    return pa.Table.from_pylist(
        [
            {
                "partition.collection": key,
                "partition.day": date(2026, 3, 1 + number % 3),
                "min.sequence": low,
                "max.sequence": high,
                "num_records": rows,
                "size_bytes": size,
            }
            for number, (low, high, rows) in enumerate(spans)
        ],
        pa.schema(
            [
                ("partition.collection", pa.string()),
                ("partition.day", pa.date32()),
                ("min.sequence", pa.int64()),
                ("max.sequence", pa.int64()),
                ("num_records", pa.int64()),
                ("size_bytes", pa.int64()),
            ]
        ),
    )


EVERYTHING = ReadBounds("k", Position(0, -1), Position((1 << 62) - 1, 0))


@pytest.mark.parametrize(
    "spans",
    [
        [(1, 1000, 1_000_000)],
        [(1, 10, 10), (11, 20, 10), (500, 500, 70_000)],
        [(1, 1000, 500_000), (400, 600, 500_000), (600, 2000, 10)],
        [(1, 1, 1)],
        [(1, 1 << 60, 100)],
        [(number * 10, number * 10 + 9, 100) for number in range(1, 3000)],
    ],
)
def test_ranges_hold_every_sequence_of_the_files_once(spans: list[tuple[int, int, int]]) -> None:
    found = [part.sequences for part in ranges(files(*spans), EVERYTHING)]
    assert all(first <= last for first, last in found)
    assert all(one[1] < other[0] for one, other in pairwise(found))
    for low, high, _ in spans:
        assert any(first <= low <= last for first, last in found)
        assert sum(max(0, min(high, last) - max(low, first) + 1) for first, last in found) == high - low + 1


def test_ranges_are_of_about_the_size_that_is_sorted_at_once_but_for_the_first() -> None:
    found = [part.sequences for part in ranges(files((1, 1_000_000, 1_000_000)), EVERYTHING)]
    sizes = [last - first + 1 for first, last in found]
    assert sizes[0] == read_plan.MAX_ROWS // 16
    assert sizes[0] < sizes[1] < sizes[2] == max(sizes) == read_plan.MAX_ROWS


def test_ranges_mind_the_bytes_too() -> None:
    assert len(list(ranges(files((1, 1000, 1000), size=40 << 20), EVERYTHING))) > 10


def test_ranges_of_other_collections_and_before_the_cursor_are_passed_over() -> None:
    there = pa.concat_tables([files((1, 50, 50), (40, 90, 50)), files((1, 500, 50), key="other")])
    found = [part.sequences for part in ranges(there, ReadBounds("k", Position(60, 3), Position(80, 0)))]
    assert (found[0][0], found[-1][1]) == (60, 80)


def test_ranges_of_a_file_without_statistics_hold_all_sequences() -> None:
    bare = files((1, 50, 50)).drop_columns(["min.sequence", "max.sequence"])
    found = [part.sequences for part in ranges(bare, EVERYTHING)]
    assert found[0][0] == 0
    assert found[-1][1] >= 1 << 61


def test_no_files_have_no_ranges() -> None:
    assert list(ranges(files(), EVERYTHING)) == []


# Who else is there


def test_a_collection_that_was_deleted_is_not_read(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, {"n": 0})
    lake.chores.flush(collection)
    lake.catalogue.delete(collection.id)
    with pytest.raises(NotFound):
        lake.read(collection)
    assert not lake.table.is_read()


def test_a_reading_under_way_is_broken_off_by_a_deletion(
    lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_plan, "MAX_ROWS", 10)
    town(lake, collection, 15)
    found = lake.records.open(collection, Selection(), "jsonl")
    chunks = found.chunks
    assert next(chunks)
    lake.table.break_readers(0)
    with pytest.raises(LeaseLost):
        list(chunks)
    found.close()


def test_a_closed_reading_lets_everything_go(lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_plan, "MAX_ROWS", 10)
    town(lake, collection, 15)
    one = Records(lake.state, lake.chores, lake.table, lake.engine, CollectionSettings(reads_at_once=1))
    reads: list[Callable[[Any], object]] = [lambda _: None, lambda found: next(found.chunks), lambda found: list(found.chunks)]
    for read in reads * 2:
        found = one.open(collection, Selection(), "jsonl")
        assert lake.table.is_read()
        read(found)
        found.close()
        assert not lake.table.is_read()


def test_no_more_are_read_at_once_than_a_process_may(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, {"n": 0})
    one = Records(lake.state, lake.chores, lake.table, lake.engine, CollectionSettings(reads_at_once=1))
    found = one.open(collection, Selection(), "jsonl")
    with pytest.raises(Unavailable):
        one.open(collection, Selection(), "jsonl")
    found.close()
    one.open(collection, Selection(), "jsonl").close()


def test_readers_of_what_is_public_leave_room_for_others(lake: Lake, collection: Collection) -> None:
    lake.accept(collection, {"n": 0})
    public = msgspec.structs.replace(collection, public=True)
    one = Records(lake.state, lake.chores, lake.table, lake.engine, CollectionSettings(reads_at_once=2))
    found = one.open(public, Selection(), "jsonl")
    with pytest.raises(Unavailable):
        one.open(public, Selection(), "jsonl")
    one.open(collection, Selection(), "jsonl").close()
    found.close()
    one.open(public, Selection(), "jsonl").close()


class Failing(EmbeddedEngine):
    """An engine that fails at a query."""

    def __init__(self, query: int) -> None:
        self._left = query

    def stream(self, *arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            raise StoreUnavailable("gone")
        yield from super().stream(*arguments)


def test_a_fault_at_the_first_row_is_told_when_opening(lake: Lake, collection: Collection) -> None:
    town(lake, collection, 3)
    one = Records(lake.state, lake.chores, lake.table, Failing(1), CollectionSettings(reads_at_once=1))
    with pytest.raises(StoreUnavailable):
        one.open(collection, Selection(), "jsonl")
    assert not lake.table.is_read()


def test_a_fault_in_the_middle_is_raised_there(lake: Lake, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_plan, "MAX_ROWS", 10)
    town(lake, collection, 15)
    one = Records(lake.state, lake.chores, lake.table, Failing(4), CollectionSettings(reads_at_once=1))
    with closing(one.open(collection, Selection(), "jsonl")) as found, pytest.raises(StoreUnavailable):
        list(found.chunks)


def test_memory_stays_bounded(embedded: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 MB of records, a few megabytes are in memory at a time."""
    monkeypatch.setattr(read_plan, "MAX_ROWS", 100)
    monkeypatch.setattr(records_module, "_READ_AHEAD_BYTES", 1)
    collection = embedded.create()
    chance = random.Random(1)
    for number in range(40):
        embedded.accept(collection, *({"n": number, "x": f"{chance.getrandbits(80_000):x}"} for _ in range(50)))
    embedded.chores.flush(collection)
    gc.collect()
    before, most = pa.total_allocated_bytes(), 0
    with closing(embedded.records.open(collection, Selection(), "jsonl")) as found:
        size = 0
        for chunk in found.chunks:
            size += len(chunk)
            most = max(most, pa.total_allocated_bytes() - before)
    assert size > 40_000_000
    assert most < 15_000_000

"""The order of rows, and that each state change is there once, whatever order the rows were found in."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, product
from typing import Any

import pyarrow as pa
import pytest

from smarthouse_api.states.records.schema import KEY, STATES
from smarthouse_api.states.records.sorting import encoded, in_order

Row = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = pa.schema([STATES.field(name) for name in STATES.names if name not in ("day", "bucket")])
HOMES = ("00000009", "00000001", "ffffffff")


def row(**values: Any) -> Row:
    """A row with no own value but those given; `time` is its `last_updated`."""
    whole = {
        "home": HOMES[0],
        "entity_id": "sensor.a",
        "type": "sensor",
        "state": "1",
        "value": 1.0,
        "unit": None,
        "device_class": None,
        "last_changed": NOON,
        "last_updated": NOON,
        "utc_offset": None,
        "attributes": "{}",
        "attributes_uploaded": None,
        "received": NOON,
        "unit_nfkc": None,
        "entered": 5,
        **values,
    }
    return {"time": whole["last_updated"] or whole["last_changed"] or whole["received"], **whole}


def put_in_order(rows: list[Row], batch_rows: int = 7) -> list[Row]:
    """What becomes of rows that come in batches of so many."""
    found = encoded(pa.Table.from_pylist(rows, SCHEMA).to_batches(max_chunksize=batch_rows))
    assert found is not None
    return in_order(found).to_pylist()


def key(one: Row) -> tuple[Any, ...]:
    is_timeless = one["last_changed"] is None and one["last_updated"] is None
    return (*(one[name] for name in KEY), one["received"].date() if is_timeless else None)


def expected(rows: list[Row]) -> list[Row]:
    """The rows once each, in order, as a person would write it down."""

    def place(one: Row) -> tuple[Any, ...]:
        ties = (one[name] for name in ("last_changed", "last_updated", "state", "attributes"))
        return (
            one["time"].date(),
            one["home"],
            one["entity_id"],
            one["time"],
            *((value is not None, value.encode() if isinstance(value, str) else value) for value in ties),
        )

    first: dict[tuple[Any, ...], Row] = {}
    for one in sorted(rows, key=lambda one: (one["received"], one["utc_offset"] is not None, one["utc_offset"] or 0)):
        kept = first.setdefault(key(one), dict(one))
        if kept["utc_offset"] is None:
            kept["utc_offset"] = one["utc_offset"]
    for name, kept in first.items():
        entered = [one["entered"] or 0 for one in rows if key(one) == name]
        kept["entered"] = min(map(abs, entered)) * (-1 if min(entered) < 0 else 1) or None
    return sorted(first.values(), key=place)


def same(found: list[Row], wanted: list[Row]) -> bool:
    return [{name: one[name] for name in SCHEMA.names} for one in found] == [
        {name: one[name] for name in SCHEMA.names} for one in wanted
    ]


def shuffles(rows: list[Row], count: int = 10) -> Iterator[list[Row]]:
    for seed in range(count):
        yield random.Random(seed).sample(rows, len(rows))


def many() -> list[Row]:
    """Rows of every home, entity, day and time, with many a tie."""
    hour, day = timedelta(hours=1), timedelta(days=1)
    return [
        row(
            home=home,
            entity_id=entity,
            last_changed=changed,
            last_updated=updated,
            received=received,
            state=state,
            entered=entered,
        )
        for entered, (home, entity, changed, updated, received, state) in zip(
            cycle((7, 5, None, -6, 9, 8, -4, 3, 12, -2, 10)),
            product(
                HOMES,
                ("sensor.b", "sensor.ä", "sensor.a"),
                (NOON, NOON - hour, None),
                (NOON, NOON - hour, None),
                (NOON, NOON + hour, NOON + day),
                ("on", "", "off"),
            ),
            strict=False,
        )
    ]


def test_rows_come_by_day_home_entity_and_time_and_each_state_change_once() -> None:
    rows = many()
    for shuffled in shuffles(rows):
        assert same(put_in_order(shuffled), expected(rows))


DIFFERENT = {
    "last update": [{"last_updated": None}, {"last_updated": NOON}],
    "state": [{"state": ""}, {"state": "10"}, {"state": "9"}, {"state": "é"}, {"state": "\U0001f600"}],
    "attributes": [{"attributes": '{"min":1}'}, {"attributes": '{"min":2}'}, {"attributes": "{}"}],
    "last change": [{"last_changed": None}, {"last_changed": NOON}],
    "several": [
        {"last_changed": None, "state": "b"},
        {"state": "a", "attributes": '{"min":1}'},
        {"state": "a", "attributes": "{}"},
        {"state": "b"},
    ],
}


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=DIFFERENT)
def test_state_changes_of_one_time_are_told_apart_by(values: list[Row]) -> None:
    rows = [row(**some) for some in values]
    assert len(expected(rows)) == len(rows)
    for shuffled in shuffles(rows * 3):
        assert same(put_in_order(shuffled, batch_rows=1), expected(rows))


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_are_not_tied_stay_with_their_neighbours(tied: bool) -> None:
    times = [NOON + timedelta(seconds=number) for number in range(100)]
    rows = [row(last_changed=time, last_updated=time, state="1") for time in times]
    rows += [row(last_changed=time, last_updated=time, state="2") for time in times[40:60] if tied]
    for shuffled in shuffles(rows):
        assert same(put_in_order(shuffled), expected(rows))


def test_of_repeats_the_one_that_arrived_first_stays() -> None:
    repeats = [row(received=NOON + timedelta(days=day), utc_offset=day) for day in range(5)]
    for shuffled in shuffles(repeats):
        assert same(put_in_order(shuffled), repeats[:1])


def test_of_repeats_the_first_offset_that_is_told_stays() -> None:
    offsets = [None, 120, 60, None]
    repeats = [row(received=NOON + timedelta(days=day), utc_offset=offset) for day, offset in enumerate(offsets)]
    others = [row(state=other) for other in ("2", "3") for _ in range(2)]
    for shuffled in shuffles(repeats + others):
        found = put_in_order(shuffled)
        assert [(one["state"], one["received"], one["utc_offset"]) for one in found] == [
            ("1", NOON, 120),
            ("2", NOON, None),
            ("3", NOON, None),
        ]


def test_a_state_change_without_a_time_is_one_of_its_day_of_arrival() -> None:
    void = {"last_changed": None, "last_updated": None}
    later = [NOON + timedelta(hours=hour) for hour in (3, 0, 1, 24, 23)]
    rows = [row(**void, received=at) for at in later]
    assert same(put_in_order(rows), [rows[1], rows[4]])


@pytest.mark.parametrize("text", [pa.string, pa.string_view], ids=lambda type_: type_.__name__)
def test_the_engines_types_of_text_are_ordered(text: Callable[[], pa.DataType]) -> None:
    schema = pa.schema([field.with_type(text()) if pa.types.is_string(field.type) else field for field in SCHEMA])
    rows = [row(state=str(number)) for number in range(9)]
    found = encoded(pa.Table.from_pylist(rows[::-1], schema).to_batches())
    assert found is not None
    assert same(in_order(found).to_pylist(), rows)


def test_homes_and_entities_are_ordered_by_the_columns_that_are_named() -> None:
    rows = [row(home=home, entity_id=f"sensor.{entity}") for home in HOMES for entity in "ab"]
    table = pa.Table.from_pylist(rows, SCHEMA)
    names = {"published": ["z", "z", "y", "y", "x", "x"], "named": ["2", "1", "2", "1", "1", "1"]}
    for name, values in names.items():
        table = table.append_column(name, pa.array(values))
    found = encoded(table.to_batches())
    assert found is not None
    told = [(one["published"], one["named"]) for one in in_order(found, "published", "named").to_pylist()]
    assert told == [("x", "1"), ("x", "1"), ("y", "1"), ("y", "2"), ("z", "1"), ("z", "2")]


def test_no_rows_are_none() -> None:
    assert encoded([]) is None
    assert encoded(SCHEMA.empty_table().to_batches()) is None
    assert encoded([pa.RecordBatch.from_pylist([], SCHEMA)]) is None

"""The order of an export's rows: one for each set of rows, whatever order they were found in."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pyarrow as pa
import pytest

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.states.export.order import ordered
from smarthouse_api.states.records.schema import ROWS, bucket_of

Row = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = ROWS.append(pa.field("time", TIMESTAMP))
HOMES = ("00000009", "00000001", "ffffffff")


def row(**values: Any) -> Row:
    """A row with no own value but those given; `time` is its `last_changed`."""
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
        "received": NOON,
        "attributes": "{}",
        **values,
    }
    return {"time": whole["last_changed"] or whole["received"], **whole}


def put_in_order(rows: list[Row], batch_rows: int = 7) -> list[Row]:
    """What becomes of rows that come in batches of so many, but for `time`."""
    table = pa.Table.from_pylist(rows, SCHEMA)
    found = ordered(table.to_batches(max_chunksize=batch_rows))
    assert found is not None
    return found.to_pylist()


def without_time(rows: list[Row]) -> list[Row]:
    return [{name: one[name] for name in ROWS.names} for one in rows]


def expected_place(one: Row) -> tuple[Any, ...]:
    """The order, as a person would write it down."""
    ties = (one[name] for name in ("last_updated", "state", "attributes", "last_changed", "unit", "device_class", "value"))
    return (
        one["received"].date(),
        bucket_of(one["home"]),
        one["home"],
        one["entity_id"],
        one["time"],
        one["received"],
        *((value is not None, value.encode() if isinstance(value, str) else value) for value in ties),
    )


def shuffles(rows: list[Row], count: int = 10) -> Iterator[list[Row]]:
    for seed in range(count):
        yield random.Random(seed).sample(rows, len(rows))


def many() -> list[Row]:
    """Rows of every home, entity, day and time, with many a tie."""
    hour, day = timedelta(hours=1), timedelta(days=1)
    return [
        row(home=home, entity_id=entity, last_changed=changed, last_updated=updated, received=received, state=state)
        for home, entity, changed, updated, received, state in product(
            HOMES,
            ("sensor.b", "sensor.ä", "sensor.a"),
            (NOON, NOON - hour, None),
            (NOON, NOON - hour, None),
            (NOON, NOON + hour, NOON + day),
            ("on", "", "off"),
        )
    ]


def test_rows_come_by_day_of_arrival_bucket_home_entity_time_and_arrival() -> None:
    rows = many()
    for shuffled in shuffles(rows):
        assert put_in_order(shuffled) == without_time(sorted(rows, key=expected_place))


TIED = {
    "arrival": [{"received": NOON}, {"received": NOON + timedelta(microseconds=1)}],
    "last update": [{"last_updated": None}, {"last_updated": NOON}, {"last_updated": NOON + timedelta(microseconds=1)}],
    "state": [{"state": ""}, {"state": "10"}, {"state": "9"}, {"state": "é"}, {"state": "\U0001f600"}],
    "attributes": [{"attributes": '{"min":1}'}, {"attributes": '{"min":2}'}, {"attributes": "{}"}],
    "last change": [{"last_changed": None, "time": NOON}, {"last_changed": NOON}],
    "unit": [{"unit": None}, {"unit": ""}, {"unit": "K"}],
    "device class": [{"device_class": None}, {"device_class": "power"}],
    "value": [{"value": None}, {"value": -1.5}, {"value": 2.0}],
    "several": [
        {"last_updated": None, "state": "b"},
        {"state": "a", "attributes": '{"min":1}'},
        {"state": "a", "attributes": "{}"},
        {"state": "a", "attributes": "{}", "unit": "K"},
        {"state": "b"},
    ],
}


@pytest.mark.parametrize("values", TIED.values(), ids=TIED)
def test_a_tie_is_broken_by(values: list[Row]) -> None:
    rows = [row(**some) for some in values]
    for shuffled in shuffles(rows):
        assert put_in_order(shuffled, batch_rows=1) == without_time(rows)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_are_not_tied_stay_with_their_neighbours(tied: bool) -> None:
    times = [NOON + timedelta(seconds=number) for number in range(100)]
    rows = [row(last_changed=time, state="1") for time in times]
    rows += [row(last_changed=time, state="2") for time in times[40:60] if tied]
    for shuffled in shuffles(rows):
        assert put_in_order(shuffled) == without_time(sorted(rows, key=expected_place))


def test_rows_that_are_the_same_are_all_kept() -> None:
    assert put_in_order([row()] * 20) == without_time([row()] * 20)


@pytest.mark.parametrize("text", [pa.string, pa.string_view], ids=lambda type_: type_.__name__)
def test_the_engines_types_of_text_are_ordered(text: Callable[[], pa.DataType]) -> None:
    schema = pa.schema([field.with_type(text()) if pa.types.is_string(field.type) else field for field in SCHEMA])
    rows = [row(state=str(number)) for number in range(9)]
    found = ordered(pa.Table.from_pylist(rows[::-1], schema).to_batches())
    assert found is not None
    assert found.to_pylist() == without_time(rows)


def test_no_rows_are_none() -> None:
    assert ordered([]) is None
    assert ordered(SCHEMA.empty_table().to_batches()) is None
    assert ordered([pa.RecordBatch.from_pylist([], SCHEMA)]) is None

"""Bodies that are cut from a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smarthouse_api.recorder.chunks import Choice, Chunk, next_chunk
from smarthouse_api.recorder.database import Database
from smarthouse_api.recorder.tables import Table, states_of
from tests.recorder.databases import NOON, TOLD, Told, make_2019, many


def table_of(folder: Path, told: list[Told]) -> Table:
    make_2019(folder / "ha.db", told)
    return states_of(Database(folder / "ha.db"))


def chunks(table: Table, most: int, choice: Choice | None = None) -> Iterator[Chunk]:
    after, until = 0, table.last()
    while (chunk := next_chunk(table, after, until, most, choice or Choice())) is not None:
        yield chunk
        after = chunk.last.id


def states_in(table: Table, choice: Choice) -> list[str]:
    return [one["state"] for chunk in chunks(table, 2, choice) for members in chunk.payload.values() for one in members]


def test_every_row_is_in_one_chunk(tmp_path: Path) -> None:
    found = list(chunks(table_of(tmp_path, many(25)), 10))
    assert [chunk.entries for chunk in found] == [10, 10, 5]
    assert [one["state"] for chunk in found for one in chunk.payload["sensor.power"]] == [str(n) for n in range(25)]


def test_a_chunk_may_be_longer_than_a_page(tmp_path: Path) -> None:
    assert [chunk.entries for chunk in chunks(table_of(tmp_path, many(4500)), 4200)] == [4200, 300]


def test_the_same_chunk_is_the_same_key_and_body(tmp_path: Path) -> None:
    table = table_of(tmp_path, many(25))
    first, again = list(chunks(table, 10)), list(chunks(table, 10))
    assert [(one.key, one.body) for one in first] == [(one.key, one.body) for one in again]
    assert len({one.key for one in first}) == 3


def test_long_attributes_make_shorter_chunks(tmp_path: Path) -> None:
    long = '{"forecast": "' + "x" * 3_000_000 + '"}'
    table = table_of(tmp_path, [("weather.home", str(number), long, 0, 0) for number in range(5)])
    assert [chunk.entries for chunk in chunks(table, 2000)] == [3, 2]


@pytest.mark.parametrize(
    ("choice", "states"),
    [
        (Choice(), ["on", "5.5", "on", "unavailable"]),
        (Choice(entities=("light.*",)), ["on", "on"]),
        (Choice(entities=("light.*", "*.power")), ["on", "5.5", "on", "unavailable"]),
        (Choice(exclude=("light.*",)), ["5.5", "unavailable"]),
        (Choice(entities=("*",), exclude=("sensor.p*",)), ["on", "on"]),
        (Choice(since=NOON + 2.5), ["on", "unavailable"]),
        (Choice(until=NOON + 2.5), ["on", "5.5"]),
    ],
)
def test_rows_are_chosen_by_entity_and_time(tmp_path: Path, choice: Choice, states: list[str]) -> None:
    assert states_in(table_of(tmp_path, TOLD), choice) == states


def test_rows_that_are_left_out_are_passed_over_and_not_read_again(tmp_path: Path) -> None:
    (chunk,) = chunks(table_of(tmp_path, TOLD), 2, Choice(entities=("camera.*",)))
    assert (chunk.entries, chunk.last.id) == (0, 4)

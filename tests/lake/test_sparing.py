"""Which readers a purge spares, by what they noted."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from smarthouse_api.lake.snapshot_marks import SnapshotMark
from smarthouse_api.lake.sparing import (
    HeldRows,
    Span,
    Sparing,
    SparingNone,
    decoded_held,
    encoded_held,
    joined,
    moved,
    noted,
    together,
)

MARCH = date(2026, 3, 1), date(2026, 3, 31)


def mark(version: int, id_: str = "a") -> SnapshotMark:
    return SnapshotMark("states", id_, version)


def day(number: int) -> date:
    return date(2026, 3, 1) + timedelta(days=number)


def held(*spans: Span, id_: str = "a", kept_since: date | None = None) -> dict[str, HeldRows]:
    return {"states": HeldRows(id_, spans, kept_since)}


@pytest.mark.parametrize(
    ("found", "is_spared"),
    [
        (held((date(2026, 2, 1), date(2026, 2, 28))), True),
        (held(), True),
        (held((date(2026, 3, 31), date(2026, 4, 2))), False),
        (held((date.min, date.max)), False),
        (held(id_="another table"), False),
        (held(kept_since=date(2026, 3, 2)), False),
        ({}, False),
    ],
)
def test_a_reader_of_other_days_is_spared(found: dict[str, HeldRows], is_spared: bool) -> None:
    spared = Sparing([{}], [decoded_held(encoded_held(found))])
    note = noted([mark(7)], MARCH)
    assert spared(note) is is_spared
    assert spared.is_apart(note) is is_spared
    assert not spared.is_older(note), "its snapshot may have the rows, though it does not read them"
    assert not spared(noted([mark(7)])), "nobody knows which days it reads"
    assert not spared(b"")
    assert not SparingNone()(note)


def test_a_reader_that_reads_a_newer_snapshot_for_older_rows_is_spared_by_the_rows() -> None:
    born = Sparing([{"states": mark(7)}], [held(MARCH)])
    note = noted([mark(7)], MARCH)
    assert (born(note), born.is_older(note)) == (True, True)
    again = moved(moved(note, mark(8)), mark(9))
    assert (born(again), born.is_older(again), born.is_apart(again)) == (True, False, False)
    assert not born(noted([mark(9)], MARCH))


def test_what_was_found_at_several_times_is_joined() -> None:
    once, again = held((day(0), day(0))), held((day(1), day(1)), (day(5), day(6)))
    assert joined(once, again) == held((day(0), day(1)), (day(5), day(6)))
    assert joined(once, {}) == {}, "nobody could tell"
    assert joined(once, held(id_="made anew")) == {}
    many = together((day(2 * number), day(2 * number)) for number in range(101))
    assert many == ((day(0), day(200)),)

"""Plans how records are read: in ranges of sequences, each small enough to be sorted in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from smarthouse_api.arrow.times import EPOCH, FIRST_US, LAST_US
from smarthouse_api.collections.model import Position
from smarthouse_api.collections.table import NAME, of_homes
from smarthouse_api.lake.planning import (
    Bound,
    Sequences,
    instant,
    packed_sequences,
    shares_of,
    that_can_match,
    within_days,
)

MAX_ROWS = 65_536
MAX_BYTES = 4 << 20
"""Of a part: rows, and bytes as they rest."""

_LAST_SEQUENCE: Final = (1 << 62) - 1
_STATISTICS_US: Final = 1000  # they are cut off to milliseconds


@dataclass(frozen=True)
class Selection:
    """Says which records of a collection a client asks for.

    since_us, until_us: bounds of the records' own time, both inclusive, in microseconds since 1970. limit: the largest number
    of records. cursor: a position; only records after it.
    """

    since_us: int | None = None
    until_us: int | None = None
    limit: int | None = None
    cursor: str | None = None


@dataclass(frozen=True)
class ReadBounds:
    """Limits a read of one collection to an interval of positions, and one of times.

    key: the collection's. after: exclusive. until, since_us, until_us: inclusive; times in microseconds since 1970. hidden:
    forgotten homes, by their keys, whose rows are left out. home: only rows of this one.
    """

    key: str
    after: Position
    until: Position
    since_us: int | None = None
    until_us: int | None = None
    hidden: frozenset[str] = frozenset()
    home: str | None = None

    def holds(self, rows: pa.Table) -> pa.Table:
        """Pick exactly the rows that lie within the bounds."""
        sequence, position, time = (rows[name].cast(pa.int64()).to_numpy() for name in ("sequence", "position", "time"))
        after, until = self.after, self.until
        wanted = (sequence > after.sequence) | ((sequence == after.sequence) & (position > after.index))
        wanted &= (sequence < until.sequence) | ((sequence == until.sequence) & (position <= until.index))
        if self.since_us is not None:
            wanted &= time >= self.since_us
        if self.until_us is not None:
            wanted &= time <= self.until_us
        return rows.filter(pa.array(wanted))


@dataclass(frozen=True)
class SequenceRange:
    """Limits one part of a read, whose rows are sorted in memory. sequences, days: the first and the last."""

    sequences: tuple[int, int]
    days: tuple[date, date]

    def halves(self) -> tuple[SequenceRange, SequenceRange] | None:
        """Split the range in two; None if it has one sequence only."""
        first, last = self.sequences
        if first == last:
            return None
        middle = (first + last) // 2
        return SequenceRange((first, middle), self.days), SequenceRange((middle + 1, last), self.days)


def ranges(files: pa.Table, bounds: ReadBounds) -> Iterator[SequenceRange]:
    """Split a snapshot into ascending ranges that can hold a row within the bounds.

    The first are small, so that a row comes soon. files: `DeltaTable.get_add_actions(flatten=True)`.
    """
    files = files.filter(pc.equal(files["partition.collection"].cast(pa.string()), bounds.key))
    files = that_can_match(files, _wanted(bounds))
    if not files.num_rows:
        return
    low, high = _first_and_last(files)
    # As if a file's rows were spread evenly over its sequences; where they are not, a range is split when it is read.
    shares = shares_of(files, MAX_ROWS, MAX_BYTES) / (high - low + 1.0)
    low, high = np.maximum(low, bounds.after.sequence), np.minimum(high, bounds.until.sequence)
    days = files["partition.day"].cast(pa.int32()).to_numpy()
    for first, last in packed_sequences(low, high, shares):
        within = days[(low <= last) & (high >= first)]
        yield SequenceRange((first, last), (_date(within.min()), _date(within.max())))


def select_rows(bounds: ReadBounds, part: SequenceRange, columns: tuple[str, ...]) -> exp.Select:
    """Write the query for the rows of one range, in no order. It may give some whose time is just out of bounds."""
    collection, sequence, time = (exp.column(name) for name in ("collection", "sequence", "time"))
    wanted: list[exp.Condition] = [collection.eq(bounds.key), within_days(part.days), sequence.between(*part.sequences)]
    if bounds.since_us is not None:
        wanted.append(time >= _nearest(bounds.since_us - _STATISTICS_US))
    if bounds.until_us is not None:
        wanted.append(time <= _nearest(bounds.until_us))
    if bounds.hidden:
        wanted.append(exp.not_(of_homes(sorted(bounds.hidden))))
    if bounds.home is not None:
        wanted.append(of_homes([bounds.home]))
    return exp.select(*(exp.column(name) for name in columns)).from_(NAME).where(*wanted)


def _first_and_last(files: pa.Table) -> tuple[Sequences, Sequences]:
    """The first and the last sequence in each file; all that there are where it is not known."""

    def column(name: str, unknown: int) -> Sequences:
        if name not in files.column_names:
            return np.full(files.num_rows, unknown, np.int64)
        found: Sequences = files[name].cast(pa.int64()).fill_null(unknown).to_numpy()
        return found

    return column("min.sequence", 0), column("max.sequence", _LAST_SEQUENCE)


def _date(day: int) -> date:
    return (EPOCH + timedelta(days=int(day))).date()


def _nearest(us: int) -> exp.Condition:
    """The timestamp, or the nearest that there is, for one before or after all dates."""
    return instant(min(max(us, FIRST_US), LAST_US))


def _wanted(bounds: ReadBounds) -> list[Bound]:
    limits = (
        ("max.sequence", bounds.after.sequence, True),
        ("min.sequence", bounds.until.sequence, False),
        ("max.time", None if bounds.since_us is None else bounds.since_us - _STATISTICS_US, True),
        ("min.time", None if bounds.until_us is None else bounds.until_us + _STATISTICS_US, False),
    )
    return [Bound(name, pa.scalar(value, pa.int64()), is_least) for name, value, is_least in limits if value is not None]

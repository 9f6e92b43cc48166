"""Which records are read, and in which parts: ranges of sequences, each small enough to be sorted in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from smarthouse_api.arrow.times import EPOCH, FIRST_US, LAST_US
from smarthouse_api.collections.model import Position
from smarthouse_api.collections.table import NAME

MAX_ROWS = 65_536
MAX_BYTES = 4 << 20
"""Of a part: rows, and bytes as they rest."""

_FIRST_SHARE: Final = 1 / 16
_GROWTH: Final = 4
_LAST_SEQUENCE: Final = (1 << 62) - 1
_LEAST_SHARE: Final = 1e-300
_STATISTICS_US: Final = 1000  # they are cut off to milliseconds

Sequences = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """Which records are read, of one collection.

    since_us, until_us: of their own time, both inclusive, in microseconds since 1970. limit: how many at most. cursor: a
    position; those after it.
    """

    since_us: int | None = None
    until_us: int | None = None
    limit: int | None = None
    cursor: str | None = None


@dataclass(frozen=True)
class Span:
    """The records between two positions, the first exclusive, the last inclusive, whose time is within bounds."""

    key: str
    after: Position
    until: Position
    since_us: int | None = None
    until_us: int | None = None

    def holds(self, rows: pa.Table) -> pa.Table:
        """Those of the rows that belong to it, exactly."""
        sequence, position, time = rows["sequence"], rows["position"], rows["time"].cast(pa.int64())
        wanted = pc.or_(
            pc.greater(sequence, self.after.sequence),
            pc.and_(pc.equal(sequence, self.after.sequence), pc.greater(position, self.after.index)),
        )
        until = pc.or_(
            pc.less(sequence, self.until.sequence),
            pc.and_(pc.equal(sequence, self.until.sequence), pc.less_equal(position, self.until.index)),
        )
        wanted = pc.and_(wanted, until)
        if self.since_us is not None:
            wanted = pc.and_(wanted, pc.greater_equal(time, self.since_us))
        if self.until_us is not None:
            wanted = pc.and_(wanted, pc.less_equal(time, self.until_us))
        return rows.filter(wanted)


@dataclass(frozen=True)
class Range:
    """Rows that are read together. sequences, days: the first and the last."""

    sequences: tuple[int, int]
    days: tuple[date, date]

    def halves(self) -> tuple[Range, Range] | None:
        """None for what cannot be parted."""
        first, last = self.sequences
        if first == last:
            return None
        middle = (first + last) // 2
        return Range((first, middle), self.days), Range((middle + 1, last), self.days)


def ranges(files: pa.Table, span: Span) -> Iterator[Range]:
    """The ranges of a snapshot that can hold a row of the span, ascending. The first are smaller, so that the first row comes
    soon.

    files: `DeltaTable.get_add_actions(flatten=True)`.
    """
    files = _that_can_match(files, span)
    if not files.num_rows:
        return
    low, high = _bounds(files)
    rows, size = (files[name].to_numpy().astype(np.float64) for name in ("num_records", "size_bytes"))
    # As if a file's rows were spread evenly over its sequences; where they are not, a range is parted when it is read.
    shares = np.maximum(rows / MAX_ROWS, size / MAX_BYTES) / (high - low + 1.0)
    low, high = np.maximum(low, span.after.sequence), np.minimum(high, span.until.sequence)
    days = files["partition.day"].cast(pa.int32()).to_numpy()
    for first, last in _packed(low, high, shares):
        within = days[(low <= last) & (high >= first)]
        yield Range((first, last), (_date(within.min()), _date(within.max())))


def select_rows(span: Span, part: Range, columns: tuple[str, ...]) -> exp.Select:
    """The rows of one range, in no order, and perhaps some whose time is just out of bounds."""
    first, last = (exp.Literal.number(sequence) for sequence in part.sequences)
    begin, end = (exp.cast(exp.Literal.string(day.isoformat()), "date") for day in part.days)
    wanted: list[exp.Condition] = [
        exp.EQ(this=exp.column("collection"), expression=exp.Literal.string(span.key)),
        exp.Between(this=exp.column("day"), low=begin, high=end),
        exp.Between(this=exp.column("sequence"), low=first, high=last),
    ]
    if span.since_us is not None:
        wanted.append(exp.GTE(this=exp.column("time"), expression=_instant(span.since_us - _STATISTICS_US)))
    if span.until_us is not None:
        wanted.append(exp.LTE(this=exp.column("time"), expression=_instant(span.until_us)))
    return exp.select(*(exp.column(name) for name in columns)).from_(NAME).where(*wanted)


def _packed(low: Sequences, high: Sequences, shares: Shares) -> Iterator[tuple[int, int]]:
    """The sequences that files span, in ranges that hold a share of 1 in all, but for the first ones, which hold less.

    low, high: the first and the last of each file. shares: of each sequence in a file.
    """
    room, held, first = _FIRST_SHARE, 0.0, -1
    last = first
    for begin, end, share in _levels(low, high, shares):
        while begin < end:
            first = begin if first < 0 else first
            fitting = max(1, int((room - held) / share))
            taken = min(fitting, end - begin)
            held, begin = held + taken * share, begin + taken
            last = begin - 1
            if taken == fitting:
                yield first, last
                room, held, first = min(1.0, room * _GROWTH), 0.0, -1
    if first >= 0:
        yield first, last


def _levels(low: Sequences, high: Sequences, shares: Shares) -> Iterator[tuple[int, int, float]]:
    """Stretches of sequences that lie in the same files, the end exclusive, with what one sequence has of all their shares."""
    edges, places = np.unique(np.concatenate([low, high + 1]), return_inverse=True)
    counts, levels = np.zeros(len(edges), np.int64), np.zeros(len(edges))
    for sign, at in ((1, places[: len(low)]), (-1, places[len(low) :])):
        np.add.at(counts, at, sign)
        np.add.at(levels, at, sign * shares)
    counts, levels = np.cumsum(counts), np.maximum(np.cumsum(levels), _LEAST_SHARE)
    for place, (begin, end) in enumerate(pairwise(edges.tolist())):
        if counts[place]:
            yield begin, end, float(levels[place])


def _that_can_match(files: pa.Table, span: Span) -> pa.Table:
    """The files whose partition and statistics allow a row of the span."""
    files = files.filter(pc.equal(files["partition.collection"].cast(pa.string()), span.key))
    possible = pc.scalar(True)
    for name, bound, is_least in (
        ("max.sequence", span.after.sequence, True),
        ("min.sequence", span.until.sequence, False),
        ("max.time", None if span.since_us is None else span.since_us - _STATISTICS_US, True),
        ("min.time", None if span.until_us is None else span.until_us + _STATISTICS_US, False),
    ):
        if bound is not None and name in files.column_names:
            value = pc.field(name).cast(pa.int64())
            possible &= pc.coalesce(value >= bound if is_least else value <= bound, True)
    return files.filter(possible)


def _bounds(files: pa.Table) -> tuple[Sequences, Sequences]:
    """The first and the last sequence in each file; all that there are where it is not known."""

    def column(name: str, unknown: int) -> Sequences:
        if name not in files.column_names:
            return np.full(files.num_rows, unknown, np.int64)
        found: Sequences = files[name].cast(pa.int64()).fill_null(unknown).to_numpy()
        return found

    return column("min.sequence", 0), column("max.sequence", _LAST_SEQUENCE)


def _date(day: int) -> date:
    return (EPOCH + timedelta(days=int(day))).date()


def _instant(microseconds: int) -> exp.Condition:
    """A timestamp in UTC; the nearest that there is, for one before or after all dates."""
    within = min(max(microseconds, FIRST_US), LAST_US)
    return exp.UnixToTime(this=exp.Literal.number(within), scale=exp.Literal.number(6))

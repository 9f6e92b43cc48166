"""Planning of parts: the lake is read in parts, each small enough to be sorted in memory.

1. Only files whose partition and statistics allow a wanted row are read.
2. Each file has a share: 1 is as much as is sorted at once, in rows or in bytes as they rest.
3. Keys, or ranges of sequences, are put together in order until their shares are 1 in all.
4. A tenant makes an SQL tree of each part. The conditions that every tenant needs are made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

_FIRST_SHARE: Final = 1 / 16
_GROWTH: Final = 4
_LEAST_SHARE: Final = 1e-300
_DAY_US: Final = 86_400_000_000

Sequences = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bound:
    """Rules out files that cannot hold a wanted row, by one of their statistics.

    column: of `files_of`. value: a wanted file has at least this value (is_least), or at most this value.
    """

    column: str
    value: pa.Scalar
    is_least: bool


def that_can_match(files: pa.Table, bounds: list[Bound]) -> pa.Table:
    """Drop the files that are out of a bound. A file without the statistic may hold any value, and is kept."""
    for bound in bounds:  # an expression would cost milliseconds
        if bound.column in files.column_names:
            told = files[bound.column].cast(bound.value.type, safe=False)
            can_match = pc.greater_equal(told, bound.value) if bound.is_least else pc.less_equal(told, bound.value)
            files = files.filter(can_match.fill_null(True))
    return files


def shares_of(files: pa.Table, max_rows: int, max_bytes: int) -> Shares:
    """Return the share of each file. max_rows, max_bytes: of one part."""
    rows, size = (files[name].to_numpy().astype(np.float64) for name in ("num_records", "size_bytes"))
    shares: Shares = np.maximum(rows / max_rows, size / max_bytes)
    return shares


def packed_keys(keys: Sequences, shares: Shares) -> Iterator[tuple[int, float]]:
    """Pack keys in order, so that the shares of a pack add up to at most 1: yield its first key and its share. A key with a
    larger share comes alone.
    """
    keys, places = np.unique(keys, return_inverse=True)
    ends = np.cumsum(np.bincount(places, shares, len(keys)))
    start, held = 0, 0.0
    while start < len(keys):
        stop = max(start + 1, int(np.searchsorted(ends, held + 1, "right")))
        yield int(keys[start]), float(ends[stop - 1] - held)
        start, held = stop, float(ends[stop - 1])


def packed_sequences(low: Sequences, high: Sequences, shares: Shares) -> Iterator[tuple[int, int]]:
    """Split the sequences of files into ranges with a share of 1 each. The first ranges are smaller, so that the first row
    comes soon.

    low, high: the first and the last sequence of each file. shares: for each file, the share of one of its sequences.
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
    """Yield runs of sequences that lie in the same files: begin, end (exclusive), and the share of one sequence in all."""
    edges, places = np.unique(np.concatenate([low, high + 1]), return_inverse=True)
    counts, levels = np.zeros(len(edges), np.int64), np.zeros(len(edges))
    for sign, at in ((1, places[: len(low)]), (-1, places[len(low) :])):
        np.add.at(counts, at, sign)
        np.add.at(levels, at, sign * shares)
    counts, levels = np.cumsum(counts), np.maximum(np.cumsum(levels), _LEAST_SHARE)
    for place, (begin, end) in enumerate(pairwise(edges.tolist())):
        if counts[place]:
            yield begin, end, float(levels[place])


def within_days(days: tuple[date, date]) -> exp.Condition:
    """Make the condition that the `day` by which a row is filed is between these two, both inclusive."""
    first, last = (exp.cast(exp.Literal.string(day.isoformat()), "date") for day in days)
    return exp.column("day").between(first, last)


def instant(us: int) -> exp.Condition:
    """Write a timestamp in UTC as SQL, exact for the years 1 to 9999. us: microseconds since 1970."""
    return exp.UnixToTime(this=exp.Literal.number(us), scale=exp.Literal.number(6))


def day_number(at: exp.Condition) -> exp.Condition:
    """Count a time's UTC day since 1970, as a floating-point number: no engine's time zone is asked."""
    us = exp.cast(exp.UnixMicros(this=at.copy()), "double")
    return exp.Floor(this=us / exp.Literal.number(_DAY_US))

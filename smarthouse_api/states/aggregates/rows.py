"""Rows of aggregates, made of the rows of an export while these are read: day after day, in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import pairwise
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.begun_rows import BegunRows
from smarthouse_api.states.aggregates.clocks import DAY_US, Clock
from smarthouse_api.states.aggregates.holding import States
from smarthouse_api.states.aggregates.intervals import SERIES, TEXT, UNKNOWN
from smarthouse_api.states.aggregates.long_rows import LongRows
from smarthouse_api.states.aggregates.sweep import Sweep
from smarthouse_api.states.aggregates.texts import TEXTS


class Layout(Protocol):
    """Gives intervals the shape of rows."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of the rows."""

    def prepared(self, states: States) -> States:
        """Make one series of what the rows do not tell apart."""

    def batches(self, intervals: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        """Yield rows. intervals: of `INTERVALS`; those of a home that end on one day come side by side."""


class AggregatedRows(BegunRows):
    """Makes rows of aggregates of published rows. first, last: the days of the intervals, counted since 1970, inclusive.

    rows: in the order of an export. hold: the longest time for which a state is held, now: until when, at most.
    """

    def __init__(
        self,
        rows: Iterable[pa.RecordBatch],
        clock: Clock,
        hold: int,
        now: int,
        first: int,
        last: int,
        layout: Layout | None = None,
    ) -> None:
        self._rows, self._clock, self._hold, self._now = rows, clock, hold, now
        self._first, self._last, self._layout = first, last, LongRows() if layout is None else layout

    def _anew(self) -> Generator[pa.RecordBatch]:
        self.count = 0
        for batch in self._layout.batches(self._wanted()):
            self.count += batch.num_rows
            yield batch

    def _wanted(self) -> Iterator[pa.Table]:
        for intervals in self._intervals():
            wanted = intervals.filter(self._is_wanted(intervals))
            if len(wanted):
                yield wanted

    def _is_wanted(self, intervals: pa.Table) -> pa.Array:
        day, known, changes = (intervals[name].to_numpy() for name in ("start", "known", "changes"))
        day = day // DAY_US
        return pa.array((day >= self._first) & (day <= self._last) & ((known > 0) | (changes > 0)))

    def _intervals(self) -> Iterator[pa.Table]:
        """Yield intervals day by day."""
        sweep, day = Sweep(self._clock, self._hold, self._now), None
        for batch in self._rows:
            for own_day, some in _days(self._layout.prepared(_states_of(batch))):
                if own_day != day:
                    if day is not None:
                        yield from sweep.end()
                        yield from self._days_between(sweep, day + 1, own_day)
                    sweep.begin(own_day)
                    day = own_day
                yield from sweep.take(some)
        if day is not None:
            yield from sweep.end()
            yield from self._days_between(sweep, day + 1, self._last + 2)

    def _days_between(self, sweep: Sweep, first: int, end: int) -> Iterator[pa.Table]:
        """Yield the intervals of days on which no state began, as long as one is held."""
        for day in range(first, end):
            if sweep.is_idle or day * DAY_US > self._now:
                return
            sweep.begin(day)
            yield from sweep.end()


def _states_of(batch: pa.RecordBatch) -> States:
    """Take of published rows what aggregates need: numbers, and words that tell something."""
    columns = {name: _coded(batch.column(name)) for name in SERIES}
    value = batch.column("value")
    columns["word"] = _words(_coded(batch.column("state")), value)
    columns["time"] = batch.column("time").cast(pa.int64())
    columns["value"] = value.fill_null(np.nan)
    return pa.table({name: columns[name] for name in (*TEXTS, "time", "value")})


def _coded(column: pa.Array) -> pa.DictionaryArray:
    return column.cast(TEXT) if pa.types.is_dictionary(column.type) else column.cast(pa.string()).dictionary_encode()


def _words(state: pa.DictionaryArray, value: pa.Array) -> pa.DictionaryArray:
    """Return the words among the states: with a dictionary of their own, since a state may be any number."""
    tells_nothing = pc.is_in(state.dictionary, pa.array(UNKNOWN, pa.string())).to_numpy(zero_copy_only=False)
    codes = state.indices.fill_null(-1).to_numpy()
    is_word = value.is_null().to_numpy(zero_copy_only=False) & (codes >= 0) & ~np.append(tells_nothing, True)[codes]
    used = np.unique(codes[is_word])
    places = np.searchsorted(used, codes).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(places, mask=~is_word), state.dictionary.take(pa.array(used)))


def _days(states: States) -> Iterator[tuple[int, States]]:
    day = states["time"].to_numpy() // DAY_US
    begin = np.flatnonzero(np.diff(day, prepend=day[0] - 1)).tolist() if len(day) else []
    for first, end in pairwise([*begin, len(day)]):
        yield int(day[first]), states.slice(first, end - first)

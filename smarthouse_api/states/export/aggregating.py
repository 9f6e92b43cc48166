"""Aggregates of published rows and periods: those of states first, then those of statistics."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from datetime import date
from functools import partial

import pyarrow as pa

from smarthouse_api.arrow.begun_rows import BegunRows
from smarthouse_api.arrow.times import EPOCH
from smarthouse_api.states.aggregates.asked import HOLDS, LENGTHS, Aggregation
from smarthouse_api.states.aggregates.clocks import Clock
from smarthouse_api.states.aggregates.rows import AggregatedRows, Layout
from smarthouse_api.states.export.published_periods import Month, PeriodRows, PublishedPeriods
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.query import Filters

Spans = tuple[tuple[date, date], ...]
"""Spans of days, both ends inclusive."""


class _OneAfterTheOther(BegunRows):
    def __init__(self, some: Sequence[BegunRows]) -> None:
        self._some = some

    @property
    def count(self) -> int:  # type: ignore[override]
        return sum(one.count for one in self._some)

    def _anew(self) -> Generator[pa.RecordBatch]:
        for one in self._some:
            yield from one

    def close(self) -> None:
        super().close()
        for one in self._some:
            one.close()


class _Later(BegunRows):
    """Makes rows only when they are read: a span has queries of its own."""

    def __init__(self, make: Callable[[], BegunRows]) -> None:
        self._make = make

    def _anew(self) -> Generator[pa.RecordBatch]:
        self.count = 0
        for batch in self._make():
            self.count += batch.num_rows
            yield batch


def clock_of(rows: PublishedRows | None, periods: PublishedPeriods | None, asked: Aggregation) -> Clock:
    """Make the clock by which all intervals of an export go. rows, periods: all that it is made of."""
    if not asked.is_local:
        return Clock(LENGTHS[asked.every])
    timelines = periods.timelines if periods is not None else {} if rows is None else rows.timelines()
    return Clock(LENGTHS[asked.every], timelines)


def aggregates(
    rows: PublishedRows | None,
    periods: PublishedPeriods | None,
    asked: Aggregation,
    layout: Layout,
    filters: Filters,
    now: int,
) -> BegunRows:
    """Make aggregates. filters: which days' intervals are wanted. now: until when states are held, in microseconds."""
    found, clock = list[BegunRows](), clock_of(rows, periods, asked)
    if rows is not None:
        found.append(of_states(rows, clock, asked, layout, filters, now))
    if periods is not None:
        found.append(of_statistics(periods, clock, layout, filters))
    return found[0] if len(found) == 1 else _OneAfterTheOther(found)


def changed_spans(rows: PublishedRows, asked: Aggregation, filters: Filters) -> Spans:
    """Find the days whose aggregates may have changed after a snapshot. rows: those that entered the lake after it."""
    first, last = filters.since or date.min, filters.until or date.max
    at = date.min if filters.after is None else filters.after.at
    spans = asked.changed(rows.new_days.tolist(), at)
    return tuple((max(begin, first), min(end, last)) for begin, end in spans if begin <= last and end >= first)


def of_spans(
    source: Callable[[Filters], PublishedRows],
    clock: Clock,
    asked: Aggregation,
    layout: Layout,
    filters: Filters,
    spans: Spans,
    now: int,
) -> BegunRows:
    """Make aggregates of states for some spans of days. source: gives the rows that those of some days depend on."""

    def of_span(days: Filters) -> BegunRows:
        return of_states(source(days), clock, asked, layout, days, now)

    each = (replace(filters, since=first, until=last, after=None) for first, last in spans)
    return _OneAfterTheOther([_Later(partial(of_span, days)) for days in each])


def of_states(rows: PublishedRows, clock: Clock, asked: Aggregation, layout: Layout, filters: Filters, now: int) -> BegunRows:
    """Make aggregates of states."""
    return AggregatedRows(rows, clock, HOLDS[asked.hold], now, *_days(filters), layout)


def of_statistics(
    periods: PublishedPeriods, clock: Clock, layout: Layout, filters: Filters, months: Sequence[Month] | None = None
) -> BegunRows:
    """Make aggregates of statistics. months: of those of `periods`; None: all of them."""
    return PeriodRows(periods, clock, *_days(filters), layout, months)


def _days(filters: Filters) -> tuple[int, int]:
    first, last = ((day - EPOCH.date()).days for day in (filters.since or date.min, filters.until or date.max))
    return first, last

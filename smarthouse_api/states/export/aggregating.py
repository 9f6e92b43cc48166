"""Aggregates of published rows and periods: those of states first, then those of statistics."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import date

import pyarrow as pa

from smarthouse_api.arrow.begun_rows import BegunRows
from smarthouse_api.arrow.times import EPOCH
from smarthouse_api.states.aggregates.asked import HOLDS, LENGTHS, Aggregation
from smarthouse_api.states.aggregates.clocks import Clock
from smarthouse_api.states.aggregates.rows import AggregatedRows, Layout
from smarthouse_api.states.export.published_periods import Month, PeriodRows, PublishedPeriods
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.query import Filters


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


def aggregates(
    rows: PublishedRows | None,
    periods: PublishedPeriods | None,
    asked: Aggregation,
    layout: Layout,
    filters: Filters,
    now: int,
) -> BegunRows:
    """Make aggregates. filters: which days' intervals are wanted. now: until when states are held, in microseconds."""
    found = list[BegunRows]()
    if rows is not None:
        found.append(of_states(rows, periods, asked, layout, filters, now))
    if periods is not None:
        found.append(of_statistics(periods, asked, layout, filters))
    return found[0] if len(found) == 1 else _OneAfterTheOther(found)


def of_states(
    rows: PublishedRows, periods: PublishedPeriods | None, asked: Aggregation, layout: Layout, filters: Filters, now: int
) -> BegunRows:
    """Make aggregates of states. periods: if statistics are asked for, too: both go by the same clocks."""
    timelines = (rows.timelines() if periods is None else periods.timelines) if asked.is_local else None
    clock = Clock(LENGTHS[asked.every], timelines)
    return AggregatedRows(rows, clock, HOLDS[asked.hold], now, *_days(filters), layout)


def of_statistics(
    periods: PublishedPeriods, asked: Aggregation, layout: Layout, filters: Filters, months: Sequence[Month] | None = None
) -> BegunRows:
    """Make aggregates of statistics. months: of those of `periods`; None: all of them."""
    clock = Clock(LENGTHS[asked.every], periods.timelines if asked.is_local else None)
    return PeriodRows(periods, clock, *_days(filters), layout, months)


def _days(filters: Filters) -> tuple[int, int]:
    first, last = ((day - EPOCH.date()).days for day in (filters.since or date.min, filters.until or date.max))
    return first, last

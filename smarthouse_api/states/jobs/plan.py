"""The plan of a dataset: the parts that it is made in, each of consecutive days, so that the same plan is made again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Final

import pyarrow as pa

from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.export.aggregating import of_states, of_statistics
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.export.published_periods import Month, PublishedPeriods
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.export.shapes import Shape
from smarthouse_api.states.jobs.model import Dataset
from smarthouse_api.states.query import ExportPart, Filters

_TIMES_LONGER: Final = 8


@dataclass(frozen=True)
class PlannedPart:
    """Plans a part: the first and the last of its days, and what reads its rows."""

    first: date
    last: date
    read: Callable[[], Generator[pa.RecordBatch]]

    @property
    def days(self) -> tuple[str, str]:
        return self.first.isoformat(), self.last.isoformat()


@dataclass(frozen=True)
class Plan:
    """Says of which parts a dataset is made, and what its rows are like."""

    parts: list[PlannedPart]
    shape: Shape


def plan_of(
    dataset: Dataset,
    asked: Filters,
    exports: Exports,
    source: Callable[[Filters], PublishedRows] | None,
    periods: PublishedPeriods | None,
) -> Plan:
    """Plan a dataset. asked: its filters, made ready. source, periods: what it is made of. Raises as `Exports.shape`."""
    aggregation = dataset.request.aggregation
    if aggregation is None:
        shape = exports.shape(None, None, None)
        if source is None:
            return Plan([], shape)
        rows = source(asked)
        return Plan([PlannedPart(part.first, part.last, partial(rows.of_part, part)) for part in rows.parts], shape)
    widened = aggregation.widened(asked)
    shape = exports.shape(None if source is None else source(widened), periods, aggregation)
    layout, now, parts = shape.layout, round(dataset.at * 1e6), list[PlannedPart]()
    if layout is None:
        return Plan(parts, shape)

    def of_days(first: date, last: date, source: Callable[[Filters], PublishedRows]) -> Generator[pa.RecordBatch]:
        days = replace(asked, since=first, until=last)
        return iter(of_states(source(aggregation.widened(days)), periods, aggregation, layout, days, now))

    def of_month(month: Month, periods: PublishedPeriods) -> Generator[pa.RecordBatch]:
        return iter(of_statistics(periods, aggregation, layout, asked, [month]))

    if source is not None:
        blocks = _blocks(source(asked).parts, asked.span, aggregation)
        parts += [PlannedPart(*days, partial(of_days, *days, source)) for days in blocks]
    if periods is not None:
        parts += [PlannedPart(month.first, month.last, partial(of_month, month, periods)) for month in periods.months]
    return Plan(parts, shape)


def _blocks(parts: Sequence[ExportPart], span: tuple[date, date], aggregation: Aggregation) -> list[tuple[date, date]]:
    """Put parts together to blocks of days, whose aggregates are made one after the other. Each reads the days before it, too:
    it must be much longer than these.
    """
    least = _TIMES_LONGER * aggregation.days_before
    blocks, first = list[tuple[date, date]](), span[0]
    for part in parts:
        if (part.last - first).days + 1 >= least or part.last >= span[1]:
            blocks.append((first, part.last))
            first = part.last if part.last == date.max else part.last + timedelta(days=1)
    return blocks or [span]

"""The plan of a dataset: the parts that it is made in, each of consecutive days, so that the same plan is made again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Final

import pyarrow as pa

from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.export.aggregating import Spans, changed_spans, clock_of, of_states, of_statistics
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.export.published_periods import Month, PublishedPeriods
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.export.shapes import Shape
from smarthouse_api.states.jobs.encoding import EncodedRows
from smarthouse_api.states.jobs.model import Dataset
from smarthouse_api.states.query import ExportPart, Filters, within_days_of

_TIMES_LONGER: Final = 8


Days = tuple[date, date]
"""The first and the last day of a part."""


@dataclass(frozen=True)
class PlannedPart:
    """Plans a part: the first and the last of its days, and what reads its rows."""

    first: date
    last: date
    read: Callable[[], Generator[pa.RecordBatch | EncodedRows]]

    @property
    def days(self) -> tuple[str, str]:
        return self.first.isoformat(), self.last.isoformat()


@dataclass(frozen=True)
class Plan:
    """Lists the parts that a dataset is made of, and says what its rows are like. spans: of days, if not all days are made."""

    parts: list[PlannedPart]
    shape: Shape
    spans: Spans = ()

    @property
    def told(self) -> str:
        """A digest of what all parts have in common, and tell: the columns and the spans."""
        return digest_of(repr((list(self.shape.columns.items()), self.spans)))


def plan_of(
    dataset: Dataset,
    asked: Filters,
    exports: Exports,
    source: Callable[[Filters], PublishedRows] | None,
    periods: PublishedPeriods | None,
    by_engine: Callable[[PublishedRows, Sequence[Days] | None], list[PlannedPart] | None],
    days: Sequence[Days] | None,
) -> Plan:
    """Plan a dataset. asked: its filters, made ready. source, periods: what it is made of. Raises as `Exports.shape`.

    by_engine: plans parts that an engine of its own makes; None if it makes none. days: of the parts, if they are planned
    already; they are the same then, whatever the source has by now.
    """
    if (aggregation := dataset.request.aggregation) is not None:
        return _of_aggregates(aggregation, round(dataset.at * 1e6), asked, exports, source, periods, days)
    shape = exports.shape(None, None, None)
    if source is None:
        return Plan([], shape)
    rows = source(asked)
    if (parts := by_engine(rows, days)) is not None:
        return Plan(parts, shape)
    if days is None:
        return Plan([PlannedPart(part.first, part.last, partial(rows.of_part, part)) for part in rows.parts], shape)
    return Plan([PlannedPart(*one, partial(rows.of_parts, within_days_of(rows.parts, *one))) for one in days], shape)


def _of_aggregates(
    asked: Aggregation,
    now: int,
    filters: Filters,
    exports: Exports,
    source: Callable[[Filters], PublishedRows] | None,
    periods: PublishedPeriods | None,
    planned: Sequence[Days] | None,
) -> Plan:
    """Plan aggregates. now: until when states are held, in microseconds."""
    days, changed = replace(filters, after=None), tuple[tuple[date, date], ...]()
    spans: Spans = (filters.span,)
    rows = None if source is None else source(asked.widened(days))
    shape, clock = exports.shape(rows, periods, asked), clock_of(rows, periods, asked)
    layout, parts = shape.of_aggregates, list[PlannedPart]()

    def of_block(source: Callable[[Filters], PublishedRows], first: date, last: date) -> Generator[pa.RecordBatch]:
        some = replace(days, since=first, until=last)
        return iter(of_states(source(asked.widened(some)), clock, asked, layout, some, now))

    def of_month(periods: PublishedPeriods, month: Month) -> Generator[pa.RecordBatch]:
        return iter(of_statistics(periods, clock, layout, days, [month]))

    if source is not None:
        if filters.after is not None:
            spans = changed = changed_spans(source(asked.widened(filters)), asked, filters)
        if (blocks := planned) is None:
            each = ((source(replace(days, since=first, until=last)).parts, (first, last)) for first, last in spans)
            blocks = [block for some, span in each for block in _blocks(some, span, asked)]
        parts += [PlannedPart(*block, partial(of_block, source, *block)) for block in blocks]
    if periods is not None:
        parts += [PlannedPart(month.first, month.last, partial(of_month, periods, month)) for month in periods.months]
    return Plan(parts, shape, changed)


def _blocks(parts: Sequence[ExportPart], span: Days, aggregation: Aggregation) -> list[Days]:
    """Put parts together to blocks of days, whose aggregates are made one after the other. Each reads the days before it, too:
    it must be much longer than these.
    """
    least = _TIMES_LONGER * aggregation.days_before
    blocks, first = list[Days](), span[0]
    for part in parts:
        if (part.last - first).days + 1 >= least or part.last >= span[1]:
            blocks.append((first, part.last))
            first = part.last if part.last == date.max else part.last + timedelta(days=1)
    return blocks or [span]

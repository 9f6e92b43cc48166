"""The rows of an export as SQL: a tree built by sqlglot, never text, rendered for whichever engine runs it.

A row that an earlier version wrote, in a bucket below `OWN_DAY`, has an outdated `time`, type and unit. It is asked for by a
time that is made of its columns, and `Filters.keep` looks at the rest once it is `renewed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa
from sqlglot import exp

from smarthouse_api.lake.planning import day_number
from smarthouse_api.states.query import ExportPart, Filters, within
from smarthouse_api.states.records.entered import ENTERED
from smarthouse_api.states.records.placement import OWN_DAY, Numbers
from smarthouse_api.states.records.schema import STATES

OUTDATED: Final = exp.column("bucket") < OWN_DAY
"""An earlier version wrote the row."""

_READ: Final = tuple(
    name for name in STATES.names if name not in ("day", "bucket", "unit_nfkc", "attributes_uploaded", ENTERED)
)
_TIME: Final = exp.column("time")
_OUTDATED_TIME: Final = exp.Coalesce(
    this=exp.column("last_updated"), expressions=[exp.column("last_changed"), exp.column("received")]
)
OWN_TIME: Final = exp.Case(ifs=[exp.If(this=OUTDATED, true=_OUTDATED_TIME)], default=_TIME)
"""A row's own time, whichever version wrote the row."""


def select_rows(
    part: ExportPart,
    filters: Filters,
    hidden: Iterable[str],
    *,
    outdated: bool,
    grouped: bool = False,
    uploaded: bool = False,
) -> exp.Select:
    """Select the rows of one part, in no order: the columns of `STATES` without those that only the lake needs.

    hidden: homes to leave out. outdated: whether the snapshot has rows of an earlier version; then `bucket` is there, too, and
    `unit_nfkc`. grouped: `unit_nfkc` is there. uploaded: `attributes_uploaded` is there.
    """
    wanted = wanted_rows(part, filters, outdated=outdated)
    columns = (*_READ, "bucket", "unit_nfkc") if outdated else (*_READ, "unit_nfkc") if grouped else _READ
    columns = (*columns, "attributes_uploaded") if uploaded else columns
    columns = (*columns, ENTERED) if filters.ask_when_entered else columns
    return exp.select(*map(exp.column, columns)).from_("states").where(wanted, *visible(hidden), copy=False)


def wanted_rows(part: ExportPart, filters: Filters, *, outdated: bool) -> exp.Condition:
    """Make the condition that a row of a part is wanted. outdated: whether the snapshot has rows of an earlier version."""
    wanted = filters.condition(part)
    if outdated:
        of_old = exp.and_(OUTDATED, *part.times(_OUTDATED_TIME), *filters.times(_OUTDATED_TIME))
        wanted = exp.or_(exp.and_(exp.not_(OUTDATED), wanted), of_old)
    return exp.and_(exp.column("home").isin(*filters.keys), wanted) if filters.keys else wanted


def select_days(filters: Filters, wanted: exp.Condition) -> exp.Select:
    """Count rows for each own day of the filter's days: `own_day`, counted since 1970, and `found`. wanted: which rows."""
    number = day_number(OWN_TIME)
    return (
        exp.select(number.as_("own_day"), exp.Count(this=exp.Star()).as_("found"))
        .from_("states")
        .where(wanted, *within(OWN_TIME, *filters.span))
        .group_by(number)
    )


def select_new_days(filters: Filters, number: int, hidden: Iterable[str]) -> exp.Select:
    """Select for each own day the least number of the rows that entered the lake after one: `own_day` and `least`.

    It is negative where rows were made again since.
    """
    entered, day = exp.column(ENTERED), day_number(_TIME)
    chosen = [exp.column("home").isin(*filters.keys)] if filters.keys else []
    is_new = exp.or_(entered > exp.Literal.number(number), entered.copy() < exp.Neg(this=exp.Literal.number(number)))
    return (
        exp.select(day.as_("own_day"), exp.Min(this=entered.copy()).as_("least"))
        .from_("states")
        .where(is_new, filters.condition(ExportPart(*filters.span)), *chosen, *visible(hidden))
        .group_by(day.copy())
    )


def days_of(batches: Iterable[pa.RecordBatch], number: str = "found") -> tuple[Numbers, Numbers]:
    """Read what `select_days` found: the days since 1970, and their rows, or another number."""
    found = list(batches)
    days, rows = (
        np.concatenate([np.zeros(0, np.int64), *(batch.column(name).to_numpy().astype(np.int64) for batch in found)])
        for name in ("own_day", number)
    )
    return days, rows


def visible(hidden: Iterable[str]) -> list[exp.Condition]:
    """Make the condition that a row is of no hidden home."""
    homes = sorted(hidden)
    return [exp.not_(exp.column("home").isin(*homes))] if homes else []

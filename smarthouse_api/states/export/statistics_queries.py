"""Queries for long-term statistics, and what is read of their answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.lake.planning import day_number
from smarthouse_api.states.aggregates.clocks import Timeline, select_offsets, timelines_of
from smarthouse_api.states.aggregates.periods import VALUES
from smarthouse_api.states.aggregates.texts import changed
from smarthouse_api.states.homes_table import EPOCH_DAY
from smarthouse_api.states.query import Filters, within
from smarthouse_api.states.records.sorting import distinct
from smarthouse_api.states.selects import visible

Stream = Callable[[exp.Select], Iterable[pa.RecordBatch]]
"""Runs a query over a snapshot of states."""

_NAME: Final = "statistics"
_DAY: Final = timedelta(days=1)
_HOUR_SECONDS: Final = 3600


def _column(name: str) -> exp.Column:
    return exp.column(name, quoted=True)  # `end` and `sum` mean something in SQL


def _of_homes(filters: Filters, hidden: Collection[str]) -> list[exp.Condition]:
    return [*([exp.column("home").isin(*filters.keys)] if filters.keys else []), *visible(hidden)]


def _is_whole() -> list[exp.Condition]:
    """Make the conditions that a period's begin and length are known."""
    return [exp.not_(exp.Is(this=_column(name), expression=exp.null())) for name in ("start", "period_seconds")]


def _days(filters: Filters) -> list[exp.Condition]:
    since, until = filters.since or date.min, filters.until or date.max
    first, last = since if since == date.min else since - _DAY, until if until == date.max else until + _DAY
    return within(_column("start"), first, last)


def select_periods(filters: Filters, first: date, last: date, hidden: Collection[str]) -> exp.Select:
    """Select the periods that begin in a month, from its partition and from that of times which cannot be right."""
    names = ("home", "statistic_id", "start", "period_seconds", *VALUES, "unit", "received")
    places = [exp.cast(exp.Literal.string(day.isoformat()), "date") for day in (first, EPOCH_DAY)]
    conditions = [exp.column("day").isin(*places), *within(_column("start"), first, last), *_days(filters)]
    return exp.select(*map(_column, names)).from_(_NAME).where(*conditions, *_is_whole(), *_of_homes(filters, hidden))


def select_far_days(filters: Filters, hidden: Collection[str]) -> exp.Select:
    """Select the days of periods whose times cannot be right: `own_day`."""
    far = exp.column("day").eq(exp.cast(exp.Literal.string(EPOCH_DAY.isoformat()), "date"))
    conditions = [far, *_days(filters), *_is_whole(), *_of_homes(filters, hidden)]
    return exp.select(day_number(_column("start")).as_("own_day")).distinct().from_(_NAME).where(*conditions)


def select_things(filters: Filters, hidden: Collection[str], *, by_day: bool) -> exp.Select:
    """Select once what each statistic tells: `home`, `statistic_id`, `unit`, and for each value whether there is one.

    by_day: for each own day, with `own_day`.
    """
    columns: list[Any] = [_column(name) for name in ("home", "statistic_id", "unit")]
    columns += [exp.not_(exp.Is(this=_column(name), expression=exp.null())).as_(f"has_{name}") for name in VALUES]
    columns += [day_number(_column("start")).as_("own_day")] if by_day else []
    conditions = [*_days(filters), *_is_whole(), *_of_homes(filters, hidden)]
    return exp.select(*columns).distinct().from_(_NAME).where(*conditions)


def period_of_each(told: pa.RecordBatch) -> pa.RecordBatch:
    """Make periods of what `select_things` finds, with a number for each value that there is."""
    count = told.num_rows
    columns = {name: told.column(name).cast(pa.string()) for name in ("home", "statistic_id", "unit")}
    day = (
        told.column("own_day").cast(pa.int64())
        if "own_day" in told.schema.names
        else pa.repeat(pa.scalar(0, pa.int64()), count)
    )
    columns["start"] = columns["received"] = pc.multiply(day, DAY_US).cast(TIMESTAMP)
    columns["period_seconds"] = pa.repeat(pa.scalar(_HOUR_SECONDS, pa.int64()), count)
    for name in VALUES:
        columns[name] = pc.if_else(told.column(f"has_{name}"), pa.scalar(0.0), pa.scalar(None, pa.float64()))
    return pa.RecordBatch.from_pydict(columns)


def newest(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Leave out repeats, and what was corrected later. rows: `encoded` periods.

    Periods that agree in all values are one: it arrived with the first of them, and has the first unit that one of them tells.
    """
    home, id_ = (rows.column(name).indices.to_numpy().astype(np.int64) for name in ("home", "statistic_id"))
    _, series = distinct(home * len(rows.column("statistic_id").dictionary) + id_)
    start, received = (rows.column(name).cast(pa.int64()).to_numpy() for name in ("start", "received"))
    period = series, start, rows.column("period_seconds").to_numpy()
    values = [(rows.column(name).to_numpy(zero_copy_only=False) + 0.0).view(np.int64) for name in VALUES]
    order = np.lexsort((received, *values, *reversed(period)))
    heads = np.flatnonzero(changed(*(column[order] for column in (*period, *values))))
    has_unit = rows.column("unit").is_valid().to_numpy(zero_copy_only=False)[order]
    unit = np.minimum.reduceat(np.where(has_unit, np.arange(len(order)), len(order)), heads)
    unit = np.where(unit < len(order), unit, heads)
    arrived = np.lexsort(
        (np.arange(len(heads)), received[order][heads], *(column[order][heads] for column in reversed(period)))
    )
    is_last = np.append(changed(*(column[order][heads][arrived] for column in period))[1:], True)
    best = np.sort(arrived[is_last])
    once = rows.take(pa.array(order[heads[best]]))
    return once.set_column(once.schema.names.index("unit"), "unit", rows.column("unit").take(pa.array(order[unit[best]])))


def visible_ones(rows: pa.RecordBatch, hidden: Collection[str]) -> pa.RecordBatch:
    """Leave out periods of hidden homes. rows: `encoded` ones."""
    if not hidden:
        return rows
    home = rows.column("home")
    return rows.filter(pc.invert(pc.is_in(home.dictionary, pa.array(sorted(hidden), pa.string())).take(home.indices)))


def constant(text: str, count: int) -> pa.DictionaryArray:
    """Make a column that has one text in each row."""
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([text], pa.string()))


def timelines(stream: Stream, filters: Filters, hidden: Collection[str]) -> dict[str, Timeline]:
    """Find out how the clocks of homes go, by internal keys: by their states of any day."""
    return timelines_of(stream(select_offsets(_of_homes(filters, hidden))))


def kinds(stream: Stream, filters: Filters, hidden: Collection[str]) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Find the newest unit and device class of the states of each home and entity that has any."""
    names = ("home", "entity_id", "unit", "device_class")
    is_told = exp.not_(exp.and_(*(exp.Is(this=exp.column(name), expression=exp.null()) for name in names[2:])))
    columns = [exp.column(name) for name in names]
    query = exp.select(*columns, exp.Max(this=exp.column("time")).as_("last")).from_("states")
    query = query.where(is_told, *_of_homes(filters, hidden)).group_by(*(column.copy() for column in columns))
    found = dict[tuple[str, str], tuple[int, str, str, str | None, str | None]]()
    for home, entity, unit, class_, last in _rows_of(stream(query), (*names, "last")):
        told = last, unit or "", class_ or "", unit, class_
        found[home, entity] = max(told, found.get((home, entity), told), key=lambda one: one[:3])
    return {pair: one[3:] for pair, one in found.items()}


def enrolled(stream: Stream, hidden: Collection[str], days: int) -> frozenset[str]:
    """Find the homes that have sent states on so many days."""
    home = exp.column("home")
    arrivals = exp.Count(this=exp.Distinct(expressions=[day_number(exp.column("received"))]))
    query = exp.select(home).from_("states").where(*visible(hidden)).group_by(home.copy()).having(arrivals >= days)
    return frozenset(home for (home,) in _rows_of(stream(query), ("home",)))


def _rows_of(batches: Iterable[pa.RecordBatch], names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    names = list(names)
    for batch in batches:
        columns = (batch.column(name).cast(pa.int64()) if name == "last" else batch.column(name) for name in names)
        yield from zip(*(column.to_pylist() for column in columns), strict=True)

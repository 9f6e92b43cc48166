"""Exports as SQL: a tree built by sqlglot, never text, rendered for whichever engine runs it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import pairwise

import pyarrow as pa
from sqlglot import exp

from smarthouse_api.arrow.times import microseconds
from smarthouse_api.lake.planning import Bound, instant, packed_keys, shares_of, that_can_match, within_days
from smarthouse_api.states.records.schema import ROWS

MAX_SORTED_ROWS = 65_536
MAX_SORTED_BYTES = 6 << 20
_ROWS_PER_ROW_OF_A_UNIT = 4


@dataclass(frozen=True)
class Filters:
    """Chooses the rows of an export by day, Home Assistant domain and unit, and writes the choice as an SQL condition.

    since, until: first and last UTC day, both inclusive. types: Home Assistant domains, lower case. units: exact. An empty one
    admits all. time_field: `changed` compares the record's own time, `received` its arrival.
    """

    since: date | None = None
    until: date | None = None
    types: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    time_field: str = "changed"

    def condition(self) -> exp.Condition:
        column = exp.column("received" if self.time_field == "received" else "time")
        wanted: list[exp.Condition] = []
        if self.since is not None:
            wanted.append(column >= instant(microseconds(datetime.combine(self.since, time.min, UTC))))
        if self.until is not None:
            wanted.append(column <= instant(microseconds(datetime.combine(self.until, time.max, UTC))))
        if self.types:
            wanted.append(exp.column("type").isin(*self.types))
        if self.units:
            wanted.append(exp.column("unit").isin(*self.units))
        return exp.and_(*wanted) if wanted else exp.true()


@dataclass(frozen=True)
class ExportPart:
    """Bounds an export's memory: only the rows of one part are sorted together. A part is days, buckets of a day, or homes.

    days, buckets: the first and the last. homes: the first internal key that belongs to the part, and the first that does not.
    """

    days: tuple[date, date]
    buckets: tuple[int, int] | None = None
    homes: tuple[str, str] | None = None

    def condition(self) -> exp.Condition:
        wanted = [within_days(self.days)]
        if self.buckets is not None:
            wanted.append(exp.column("bucket").between(*self.buckets))
        if self.homes is not None:
            begin, end = self.homes
            wanted += [exp.column("home") >= begin, exp.column("home") < end]
        return exp.and_(*wanted)


def parts(files: pa.Table, filters: Filters) -> Iterator[ExportPart]:
    """Yield the parts of a snapshot that can hold a wanted row, in the order of an export.

    files: `DeltaTable.get_add_actions(flatten=True)`.
    """
    # Few rows have one of some units: larger parts, and fewer queries, then hold no more.
    thinned = _ROWS_PER_ROW_OF_A_UNIT if filters.units else 1
    shares: dict[date, dict[int, float]] = {}
    files = that_can_match(files, _bounds(filters))
    places = (files[name].to_pylist() for name in ("partition.day", "partition.bucket"))
    for day, bucket, share in zip(*places, shares_of(files, MAX_SORTED_ROWS, MAX_SORTED_BYTES).tolist(), strict=True):
        buckets = shares.setdefault(day, {})
        buckets[bucket] = buckets.get(bucket, 0.0) + share / thinned
    for days in packed_keys({day: sum(buckets.values()) for day, buckets in shares.items()}):
        if sum(sum(shares[day].values()) for day in days) <= 1:
            yield ExportPart((days[0], days[-1]))
            continue
        (day,) = days
        for some in packed_keys(shares[day]):
            span = (some[0], some[-1])
            yield from _ranges((day, day), span, math.ceil(sum(shares[day][bucket] for bucket in some)))


def _ranges(days: tuple[date, date], buckets: tuple[int, int], count: int) -> Iterator[ExportPart]:
    """Split buckets of a day into `count` parts of about one size: keys are random, so equal ranges hold equal shares."""
    if count == 1:
        yield ExportPart(days, buckets)
        return
    bounds = [f"{(i << 32) // count:08x}" for i in range(count)] + ["g"]
    yield from (ExportPart(days, buckets, (begin, end)) for begin, end in pairwise(bounds))


def select_rows(
    part: ExportPart, filters: Filters, hidden: Iterable[str], groups: Sequence[tuple[str, str | None]] | None
) -> exp.Select:
    """Select the rows of one part, in no order: the columns of `ROWS`, with the home's internal key, and `time`.

    hidden: homes to leave out. groups: the only (type, unit) pairs to publish; None for all.
    """
    wanted = [part.condition(), *_visible(filters, hidden)]
    if groups is not None:
        wanted.append(_one_of_the_groups(groups))
    return exp.select(*(exp.column(name) for name in (*ROWS.names, "time"))).from_("states").where(*wanted)


def select_groups(filters: Filters, hidden: Iterable[str], min_homes: int) -> exp.Select:
    """Select the (type, unit) pairs among the wanted rows that at least `min_homes` homes have."""
    homes_seen = exp.Count(this=exp.Distinct(expressions=[exp.column("home")]))
    return (
        exp.select(exp.column("type"), exp.column("unit"))
        .from_("states")
        .where(*_visible(filters, hidden))
        .group_by(exp.column("type"), exp.column("unit"))
        .having(homes_seen >= min_homes)
    )


def _visible(filters: Filters, hidden: Iterable[str]) -> list[exp.Condition]:
    """Make the conditions that a row passes the filters and is of no hidden home."""
    homes = sorted(hidden)
    return [filters.condition(), *([exp.not_(exp.column("home").isin(*homes))] if homes else [])]


def _one_of_the_groups(groups: Sequence[tuple[str, str | None]]) -> exp.Condition:
    """Make one term for each type, not for each pair: engines take seconds to plan a hundred alternatives."""
    units: dict[str, list[str | None]] = {}
    for type_, unit in groups:
        units.setdefault(type_, []).append(unit)
    return exp.or_(*(exp.and_(exp.column("type").eq(type_), _has_one_of_the_units(some)) for type_, some in units.items()))


def _has_one_of_the_units(units: Sequence[str | None]) -> exp.Condition:
    named = [unit for unit in units if unit is not None]
    wanted: list[exp.Condition] = [exp.column("unit").isin(*named)] if named else []
    if len(named) < len(units):
        wanted.append(exp.column("unit").is_(exp.null()))
    return exp.or_(*wanted)


def _bounds(filters: Filters) -> list[Bound]:
    """Bound the files' days of arrival, or the span of their records' own times."""
    first, last = ("partition.day",) * 2 if filters.time_field == "received" else ("min.time", "max.time")
    since = [] if filters.since is None else [Bound(last, pa.scalar(filters.since, pa.date32()), is_least=True)]
    until = [] if filters.until is None else [Bound(first, pa.scalar(filters.until, pa.date32()), is_least=False)]
    return since + until

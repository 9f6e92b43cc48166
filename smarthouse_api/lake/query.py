"""Exports as SQL: a tree built by sqlglot, never text, rendered for whichever engine runs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pyarrow as pa
from sqlglot import exp

from smarthouse_api.lake.schema import ROWS

MAX_SORTED_ROWS = 250_000
MAX_SORTED_BYTES = 16 << 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Filters:
    """Which rows an export holds.

    since, until: first and last UTC day, both inclusive. types: Home Assistant domains, lower case. units: exact. Empty: all.
    time_field: `changed` goes by the record's own time, `received` by its arrival.
    """

    since: date | None = None
    until: date | None = None
    types: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    time_field: str = "changed"

    def condition(self) -> exp.Expression:
        column = exp.column("received" if self.time_field == "received" else "time")
        wanted: list[exp.Expression] = []
        if self.since is not None:
            wanted.append(exp.GTE(this=column, expression=_instant(datetime.combine(self.since, time.min, UTC))))
        if self.until is not None:
            wanted.append(exp.LTE(this=column, expression=_instant(datetime.combine(self.until, time.max, UTC))))
        if self.types:
            wanted.append(_one_of("type", self.types))
        if self.units:
            wanted.append(_one_of("unit", self.units))
        return exp.and_(*wanted) if wanted else exp.true()


@dataclass(frozen=True)
class Part:
    """Rows that are sorted together, which bounds an export's memory: a day, a bucket of it, or a range of that one's homes.

    homes: the first internal key that belongs to the part, and the first that no longer does.
    """

    day: date
    bucket: int | None = None
    homes: tuple[str, str] | None = None

    def condition(self) -> exp.Expression:
        wanted: list[exp.Expression] = [
            exp.EQ(this=exp.column("day"), expression=exp.cast(exp.Literal.string(self.day.isoformat()), "date"))
        ]
        if self.bucket is not None:
            wanted.append(exp.EQ(this=exp.column("bucket"), expression=exp.Literal.number(self.bucket)))
        if self.homes is not None:
            first, end = (exp.Literal.string(key) for key in self.homes)
            wanted += [exp.GTE(this=exp.column("home"), expression=first), exp.LT(this=exp.column("home"), expression=end)]
        return exp.and_(*wanted)


def parts(files: pa.Table, filters: Filters) -> Iterator[Part]:
    """The parts of a snapshot that can hold a wanted row, in the order of an export.

    files: `DeltaTable.get_add_actions(flatten=True)`.
    """
    by_day: dict[date, dict[int, tuple[int, int]]] = {}
    for file in files.to_pylist():
        if _can_match(file, filters):
            buckets = by_day.setdefault(file["partition.day"], {})
            rows, size = buckets.get(file["partition.bucket"], (0, 0))
            buckets[file["partition.bucket"]] = (rows + file["num_records"], size + file["size_bytes"])
    for day, buckets in sorted(by_day.items()):
        rows, size = (sum(values) for values in zip(*buckets.values(), strict=True))
        if rows <= MAX_SORTED_ROWS and size <= MAX_SORTED_BYTES:
            yield Part(day)
        else:
            for bucket, (rows, size) in sorted(buckets.items()):
                yield from _ranges(day, bucket, max(-(-rows // MAX_SORTED_ROWS), -(-size // MAX_SORTED_BYTES)))


def select_rows(part: Part, filters: Filters, hidden: Iterable[str], groups: Sequence[tuple[str, str | None]] | None) -> exp.Select:
    """The rows of one part in the order of an export: bucket, home, entity, time.

    hidden: homes to leave out. groups: the only (type, unit) pairs to publish; None for all.
    """
    wanted = [part.condition(), filters.condition(), *([exp.not_(_one_of("home", homes))] if (homes := sorted(hidden)) else [])]
    if groups is not None:
        wanted.append(exp.or_(*(_group(type_, unit) for type_, unit in groups)))
    return (
        exp.select(*(exp.column(name) for name in ROWS.names))
        .from_("states")
        .where(*wanted)
        .order_by(*(exp.column(name) for name in ("bucket", "home", "entity_id", "time", "received", "state")))
    )


def select_groups(filters: Filters, hidden: Iterable[str], min_homes: int) -> exp.Select:
    """The (type, unit) pairs among the wanted rows that at least `min_homes` homes have."""
    wanted = [filters.condition(), *([exp.not_(_one_of("home", homes))] if (homes := sorted(hidden)) else [])]
    homes_seen = exp.Count(this=exp.Distinct(expressions=[exp.column("home")]))
    return (
        exp.select(exp.column("type"), exp.column("unit"))
        .from_("states")
        .where(*wanted)
        .group_by(exp.column("type"), exp.column("unit"))
        .having(exp.GTE(this=homes_seen, expression=exp.Literal.number(min_homes)))
    )


def _ranges(day: date, bucket: int, count: int) -> Iterator[Part]:
    """A bucket of a day in `count` parts of about one size: internal keys are random, so equal ranges hold equal shares."""
    if count <= 1:
        yield Part(day, bucket)
        return
    bounds = [f"{(i << 32) // count:08x}" for i in range(count)] + ["g"]
    yield from (Part(day, bucket, (first, end)) for first, end in pairwise(bounds))


def _group(type_: str, unit: str | None) -> exp.Expression:
    of_type = exp.EQ(this=exp.column("type"), expression=exp.Literal.string(type_))
    unit_column = exp.column("unit")
    of_unit = (
        exp.Is(this=unit_column, expression=exp.null())
        if unit is None
        else exp.EQ(this=unit_column, expression=exp.Literal.string(unit))
    )
    return exp.and_(of_type, of_unit)


def _one_of(column: str, values: Iterable[str]) -> exp.Expression:
    return exp.In(this=exp.column(column), expressions=[exp.Literal.string(value) for value in values])


def _instant(moment: datetime) -> exp.Expression:
    """A microsecond timestamp in UTC, exact for every year that a date can have."""
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
    return exp.UnixToTime(this=exp.Literal.number(microseconds), scale=exp.Literal.number(6))


def _can_match(file: dict[str, object], filters: Filters) -> bool:
    """Whether a file's statistics allow a wanted row: its day of arrival, or the span of its records' own times."""
    if filters.time_field == "received":
        first = last = file["partition.day"]
    else:
        low, high = file.get("min.time"), file.get("max.time")
        if not isinstance(low, datetime) or not isinstance(high, datetime):
            return True
        first, last = low.date(), high.date()
    return (filters.since is None or last >= filters.since) and (filters.until is None or first <= filters.until)  # type: ignore[operator]

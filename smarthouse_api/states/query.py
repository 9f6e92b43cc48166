"""Exports as SQL: a tree built by sqlglot, never text, rendered for whichever engine runs it.

A row that an earlier version wrote, in a bucket below `OWN_DAY`, has an outdated `time`, type and unit. It is asked for by a
time that is made of its columns, and `Filters.keep` looks at the rest once it is `renewed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.lake.planning import Bound, Shares, day_number, instant, packed_keys, shares_of, that_can_match, within_days
from smarthouse_api.states.records.entered import ENTERED
from smarthouse_api.states.records.placement import LATE, OWN_DAY, Numbers, buckets_of
from smarthouse_api.states.records.rows import folded_unit
from smarthouse_api.states.records.rules import may_ask_for_class, may_ask_for_type, may_ask_for_unit
from smarthouse_api.states.records.schema import STATES
from smarthouse_api.states.vocabulary.facts import domains

MAX_SORTED_ROWS = 65_536
MAX_SORTED_BYTES = 6 << 20
_ROWS_PER_ROW_OF_A_UNIT = 4
"""Few rows have one of some units: so many times as many files are read at once without counting them."""

_DAY: Final = timedelta(days=1)
_EPOCH: Final = date(1970, 1, 1)
_READ: Final = tuple(
    name for name in STATES.names if name not in ("day", "bucket", "unit_nfkc", "attributes_uploaded", ENTERED)
)
_OUTDATED: Final = exp.column("bucket") < OWN_DAY
_TIME: Final = exp.column("time")
_OUTDATED_TIME: Final = exp.Coalesce(
    this=exp.column("last_updated"), expressions=[exp.column("last_changed"), exp.column("received")]
)
OWN_TIME: Final = exp.Case(ifs=[exp.If(this=_OUTDATED, true=_OUTDATED_TIME)], default=_TIME)
"""A row's own time, whichever version wrote the row."""


@dataclass(frozen=True)
class After:
    """Names a snapshot whose rows are not wanted again. number: the largest with which its rows entered the lake, see
    `records.entered`. table: the id of its table; None if there was no table. at: the day until which states were held.
    """

    number: int
    table: str | None
    at: date = date.min


@dataclass(frozen=True)
class Filters:
    """Selects the rows of an export.

    since, until: first and last UTC day, both inclusive. types: Home Assistant domains, lower case. units: compared after
    `folded_unit`. device_classes: lower case. homes: pseudonyms. entities: ids as they are published. Empty: all.
    time_field: which time the days filter. `updated` is the row's `time`, `changed` is `last_changed` or else `time`,
    `received` is when the state change arrived first. keys: the internal keys of `homes`, once they are found. kept_since: the
    first own day of rows, whichever time the days filter. after: only rows that entered the lake after a snapshot.
    entered_by: only rows that had entered it by then: the largest number of a snapshot that is read no more. Rows that were
    made again since may have been in it.
    """

    since: date | None = None
    until: date | None = None
    types: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    time_field: str = "updated"
    device_classes: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    kept_since: date | None = None
    after: After | None = None
    entered_by: int | None = None

    @property
    def ask_when_entered(self) -> bool:
        """Tell whether they go by when rows entered the lake."""
        return self.after is not None or self.entered_by is not None

    @property
    def span(self) -> tuple[date, date]:
        """The first and the last day that rows may have as their own, inclusive."""
        if self.time_field != "updated":
            return self.kept_since or date.min, date.max
        return self.since or date.min, self.until or date.max

    @property
    def are_narrow(self) -> bool:
        """Tell whether they leave out rows of the days that they select."""
        return bool(self.types or self.units or self.device_classes or self.keys or self._domains())

    def kept(self, first: date | None) -> Filters:
        """Leave out the rows of days before the first one that the lake keeps; None: it keeps all."""
        if first is None:
            return self
        if self.time_field != "updated":
            return replace(self, kept_since=first)
        return replace(self, since=max(first, self.since or first))

    def publishable(self, *, strict: bool) -> Filters | None:
        """Leave out the types, units and device classes that are never published; None if no row is left to be found."""
        told = replace(
            self,
            types=tuple(type_ for type_ in self.types if may_ask_for_type(type_, strict=strict)),
            units=tuple(filter(may_ask_for_unit, self.units)),
            device_classes=tuple(filter(may_ask_for_class, self.device_classes)),
        )
        asked, left = ((one.types, one.units, one.device_classes) for one in (self, told))
        return None if any(bool(had) > bool(has) for had, has in zip(asked, left, strict=True)) else told

    def condition(self, part: ExportPart) -> exp.Condition:
        """Make the condition on the columns that all repeats of a state change have alike; `keep` is for the rest."""
        wanted = part.times(_TIME)
        if self.time_field != "updated" or not part.is_filed:  # else the part has none but days that are wanted
            wanted += self.times(_TIME)
        if self.types:
            wanted.append(exp.column("type").isin(*self.types))
        if self.units:
            wanted.append(exp.column("unit_nfkc").isin(*self._folded()))
        if self.device_classes:
            wanted.append(exp.column("device_class").isin(*self.device_classes))
        if domains := self._domains():
            wanted.append(exp.column("type").isin(*domains))
        return exp.and_(*wanted, copy=False) if wanted else exp.true()

    def times(self, own: exp.Condition) -> list[exp.Condition]:
        """Make the conditions on the times of a row. own: its own time."""
        if self.time_field == "received":
            return within(exp.column("received"), date.min, self.until or date.max)
        at = own if self.time_field == "updated" else exp.Coalesce(this=exp.column("last_changed"), expressions=[own])
        return within(at, self.since or date.min, self.until or date.max)

    def keep(self, rows: pa.RecordBatch, *, renewed: bool) -> pa.RecordBatch:
        """Leave out what a query cannot: what arrived before `since`, once no row is a repeat, and what was renewed."""
        kept = []
        if self.time_field == "received" and self.since is not None:
            kept.append(pc.greater_equal(rows.column("received"), pa.scalar(_start(self.since), TIMESTAMP)))
        if self.after is not None:
            kept.append(pc.greater(rows.column(ENTERED), self.after.number).fill_null(False))
        if self.entered_by is not None:
            kept.append(pc.less_equal(rows.column(ENTERED), self.entered_by).fill_null(True))
        if renewed and self.types:
            kept.append(_is_one_of(rows.column("type"), self.types))
        if renewed and self.units:
            kept.append(_is_one_of(rows.column("unit_nfkc"), self._folded()))
        for chosen in kept[1:]:
            kept[0] = pc.and_(kept[0], chosen)
        return rows.filter(kept[0]) if kept else rows

    def keep_named(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Leave out rows of other entities than are wanted. rows: with `entity_name`, dictionary-encoded."""
        return rows.filter(_is_one_of(rows.column("entity_name"), self.entities)) if self.entities else rows

    def keep_published(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Leave out rows by what is published of them: a name, or a device class, that is published for none is found by none.

        rows: as an export has them.
        """
        for name, values in (("entity_id", self.entities), ("device_class", self.device_classes)):
            if values:
                rows = rows.filter(_is_one_of(rows.column(name), values))
        return rows

    def _folded(self) -> list[str]:
        return sorted(set(map(folded_unit, self.units)))

    def _domains(self) -> list[str]:
        """List the types that rows of the wanted entities have; none if they may have others than their ids say."""
        found = {entity.partition(".")[0] for entity in self.entities}
        return sorted(found) if found <= domains() else []


@dataclass(frozen=True)
class ExportPart:
    """Names rows that are read together: those of some own days, both inclusive.

    share: 1 is as much as is sorted at once. is_filed: all its rows lie in partitions of their own days.
    """

    first: date
    last: date
    share: float = 1.0
    is_filed: bool = False

    def times(self, own: exp.Condition) -> list[exp.Condition]:
        """Make the conditions on a row's own time. Where partitions tell it, no time of any row is looked at."""
        return [within_days((self.first, self.last))] if self.is_filed else within(own, self.first, self.last)


def wanted_files(files: pa.Table, filters: Filters) -> pa.Table:
    """Choose the files that can hold a wanted row. files: `files_of` a snapshot."""
    if filters.keys:
        buckets = {bucket for key in filters.keys for bucket in buckets_of(key)}
        files = files.filter(pc.is_in(files["partition.bucket"], pa.array(sorted(buckets), pa.int32())))
    old, new = _split(files, pc.less(files["partition.bucket"], OWN_DAY))
    return pa.concat_tables([old, that_can_match(new, _bounds(filters))])  # what files tell of outdated rows is no bound


def parts(files: pa.Table, filters: Filters, count: Callable[[exp.Select], tuple[Numbers, Numbers]]) -> Iterator[ExportPart]:
    """Plan the parts of a snapshot that can hold a wanted row, in the order of an export. Together they cover the filter's
    days.

    files: `files_of` the snapshot. count: runs a query such as `select_days`: the days, and how many rows each has. It is asked
    only if files do not tell that, and their rows are many.
    """
    files = wanted_files(files, filters)
    if not len(files):
        return
    bucket, is_old = files["partition.bucket"], is_outdated(files)
    daily, others = _split(files, pc.and_(pc.greater_equal(bucket, OWN_DAY), pc.less(bucket, LATE)))
    shares, left = (shares_of(some, MAX_SORTED_ROWS, MAX_SORTED_BYTES) for some in (daily, others))
    days: Numbers = daily["partition.day"].cast(pa.int32()).to_numpy().astype(np.int64)
    share, whole = left.sum(), shares.sum() + left.sum()
    if filters.units and whole <= _ROWS_PER_ROW_OF_A_UNIT:
        shares, share = shares / _ROWS_PER_ROW_OF_A_UNIT, share / _ROWS_PER_ROW_OF_A_UNIT
    if filters.are_narrow and whole > (_ROWS_PER_ROW_OF_A_UNIT if filters.units else 1):
        # Reading their columns alone costs little, and larger parts are fewer queries.
        everything = ExportPart(*filters.span, is_filed=not len(others))
        days, rows = count(select_days(filters, _wanted(everything, filters, outdated=is_old)))
        shares = rows * (whole / max(1, pc.sum(files["num_records"]).as_py()))
    elif share > 1:
        counted, rows = count(select_days(filters, exp.or_(_OUTDATED, exp.column("bucket") >= LATE)))
        days, shares = np.append(days, counted), np.append(shares, share * rows / max(1, rows.sum()))
    elif share:
        days, shares = np.append(days, days.min() if len(days) else 0), np.append(shares, share)
    yield from (replace(part, is_filed=not len(others)) for part in _covering(filters.span, days, shares))


def _split(files: pa.Table, chosen: pa.ChunkedArray) -> tuple[pa.Table, pa.Table]:
    return files.filter(chosen), files.filter(pc.invert(chosen))


def _covering(span: tuple[date, date], days: Numbers, shares: Shares) -> Iterator[ExportPart]:
    """Put days together to parts that leave no day of the span out: a row of a day that was not counted is in one of them.

    A day that is too large is a part of its own. It is read home by home, so a row of another day would not be in order.
    """
    begin, held = span[0], 0.0
    least, most = ((day - _EPOCH).days for day in span)
    for first, share in packed_keys(np.clip(days, least, most), shares):
        day = _EPOCH + first * _DAY
        if (held or share > 1) and begin < day:
            yield ExportPart(begin, day - _DAY, held)
            begin = day
        held = share
        if share > 1:
            yield ExportPart(day, day, share)
            if day == span[1]:
                return
            begin, held = day + _DAY, 0.0
    yield ExportPart(begin, span[1], held)


def is_outdated(files: pa.Table) -> bool:
    """Tell whether a snapshot has rows that an earlier version wrote. files: `files_of` it."""
    return bool(pc.any(pc.less(files["partition.bucket"], OWN_DAY)).as_py())


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
    wanted = _wanted(part, filters, outdated=outdated)
    columns = (*_READ, "bucket", "unit_nfkc") if outdated else (*_READ, "unit_nfkc") if grouped else _READ
    columns = (*columns, "attributes_uploaded") if uploaded else columns
    columns = (*columns, ENTERED) if filters.ask_when_entered else columns
    return exp.select(*map(exp.column, columns)).from_("states").where(wanted, *visible(hidden), copy=False)


def _wanted(part: ExportPart, filters: Filters, *, outdated: bool) -> exp.Condition:
    wanted = filters.condition(part)
    if outdated:
        of_old = exp.and_(_OUTDATED, *part.times(_OUTDATED_TIME), *filters.times(_OUTDATED_TIME))
        wanted = exp.or_(exp.and_(exp.not_(_OUTDATED), wanted), of_old)
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


def of_days(parts: Iterable[ExportPart], days: Numbers) -> list[ExportPart]:
    """Narrow parts to the days that some rows lie on. days: counted since 1970."""
    found, days = list[ExportPart](), np.sort(days)
    for part in parts:
        within_part = days[(days >= (part.first - _EPOCH).days) & (days <= (part.last - _EPOCH).days)]
        if len(within_part):
            first, last = (_EPOCH + int(day) * _DAY for day in (within_part[0], within_part[-1]))
            found.append(replace(part, first=first, last=last))
    return found


def within_days_of(parts: Iterable[ExportPart], first: date, last: date) -> list[ExportPart]:
    """Cut parts to some days, both inclusive."""
    return [
        replace(part, first=max(first, part.first), last=min(last, part.last))
        for part in parts
        if part.first <= last and part.last >= first
    ]


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


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def within(at: exp.Condition, first: date, last: date) -> list[exp.Condition]:
    """Make the conditions that a time lies in these days. The first and the last day that there are bound nothing."""
    wanted = list[exp.Condition]()
    if first != date.min:
        wanted.append(at >= instant(microseconds(_start(first))))
    if last != date.max:
        wanted.append(at < instant(microseconds(_start(last + _DAY))))
    return wanted


def _is_one_of(column: pa.DictionaryArray, values: Iterable[str]) -> pa.BooleanArray:
    return pc.is_in(column.dictionary, pa.array(values, pa.string())).take(column.indices).fill_null(False)


def _bounds(filters: Filters) -> list[Bound]:
    """Bound the files by their statistics of the time that the days filter. Repeats may have arrived after the last day."""
    if filters.time_field == "changed":
        return []
    bounds = list[Bound]()
    name = "time" if filters.time_field == "updated" else "received"
    if filters.since is not None and name == "time":
        bounds.append(Bound("max.time", pa.scalar(filters.since, pa.date32()), is_least=True))
    if filters.until is not None:
        bounds.append(Bound(f"min.{name}", pa.scalar(filters.until, pa.date32()), is_least=False))
    return bounds

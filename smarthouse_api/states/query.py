"""What an export asks for: its filters, and the parts that its rows are read in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.lake.planning import instant, within_days
from smarthouse_api.states.records.entered import ENTERED
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.rows import folded_unit
from smarthouse_api.states.records.rules import may_ask_for_class, may_ask_for_type, may_ask_for_unit
from smarthouse_api.states.vocabulary.facts import domains

_DAY: Final = timedelta(days=1)
_EPOCH: Final = date(1970, 1, 1)
_TIME: Final = exp.column("time")


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
            wanted.append(exp.column("unit_nfkc").isin(*self.folded_units()))
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
            kept.append(_is_one_of(rows.column("unit_nfkc"), self.folded_units()))
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

    def folded_units(self) -> list[str]:
        """List the units as `unit_nfkc` has them."""
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


def within(at: exp.Condition, first: date, last: date) -> list[exp.Condition]:
    """Make the conditions that a time lies in these days. The first and the last day that there are bound nothing."""
    wanted = list[exp.Condition]()
    if first != date.min:
        wanted.append(at >= instant(microseconds(_start(first))))
    if last != date.max:
        wanted.append(at < instant(microseconds(_start(last + _DAY))))
    return wanted


def _start(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _is_one_of(column: pa.DictionaryArray, values: Iterable[str]) -> pa.BooleanArray:
    return pc.is_in(column.dictionary, pa.array(values, pa.string())).take(column.indices).fill_null(False)

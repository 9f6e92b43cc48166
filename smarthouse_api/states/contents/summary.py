"""The summary of a snapshot: what an export would hold, counted without reading a row.

Everything is told as an export would publish it: closed types and units are not there, and hidden homes are left out. A
question looks at one chunk after the other, so that its memory does not grow with the lake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import numpy as np

from smarthouse_api.states.contents.choosing import LAST_DAY, Choice, Chosen, Mask
from smarthouse_api.states.contents.chunks import Kind, Names, summed
from smarthouse_api.states.contents.shelf import HeldChunk
from smarthouse_api.states.groups import Groups
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records import rules
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.rows import folded_unit

_EPOCH: Final = date(1970, 1, 1)
_DAY_OF: Final = {"updated": "day", "changed": "changed", "received": "received"}
_MOST_CELLS: Final = 1 << 22
"""Homes times columns of days, or times kinds, that are added up at once: more are added up in turns."""

_NONE: Final = np.zeros(0, np.int64)

_Measured = tuple[str, str | None, str | None]
"""A published type, device class and unit."""


@dataclass(frozen=True)
class Facet:
    """Tells what some rows have in common: their number and their homes', and the least and the greatest value."""

    value: str | None
    rows: int
    homes: int


@dataclass(frozen=True)
class Measured:
    """Tells what is measured by one type, device class and unit. least, greatest: None unless values are published."""

    type: str
    device_class: str | None
    unit: str | None
    rows: int
    homes: int
    least: float | None = None
    greatest: float | None = None


@dataclass(frozen=True)
class _Kind:
    """One type, domain, unit and device class as they lie in the lake, and as they are published."""

    stored_type: str
    stored_unit: str | None
    type: str
    unit: str | None
    device_class: str | None
    has_values: bool


@dataclass(frozen=True)
class Publishing:
    """Says how rows are published. groups: nothing is told of other ones, if there is a bound."""

    raw: bool = False
    strict: bool = False
    groups: Groups | None = None

    def kind(self, stored: Kind) -> _Kind:
        """Publish one kind of rows."""
        type_, kind, unit, device_class = stored
        if self.raw:
            return _Kind(type_, unit, type_, unit, device_class, True)
        told = (
            rules.published_type(kind, strict=self.strict),
            rules.published_unit(unit),
            rules.published_class(kind, device_class),
        )
        return _Kind(type_, unit, *told, rules.is_measurement(kind, device_class, unit))


@dataclass(frozen=True)
class Selection:
    """Rows that pass some filters. choice: None if none do. days: by which of `DAYS` they are told."""

    summary: Summary
    choice: Choice | None
    days: str

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self._pairs[2].sum())

    @property
    def homes(self) -> int:
        """Return the number of homes that have rows."""
        return len(self._homes)

    def home_keys(self) -> list[str]:
        """List the internal keys of the homes that have rows."""
        return [self.summary.home_names[number] for number in self._homes.tolist()]

    def facets(self, name: str) -> list[Facet]:
        """Count rows and homes for each published value, the most rows first. name: `type`, `unit` or `device_class`."""
        texts = [getattr(kind, name) for kind in self.summary.kinds]
        values = sorted(set(texts), key=lambda text: (text is None, text or ""))
        rows, homes = self._sums(values, texts)
        found = [Facet(values[n], int(rows[n]), int(homes[n])) for n in np.flatnonzero(rows > 0).tolist()]
        return sorted(found, key=lambda facet: -facet.rows)

    def measured(self, *, with_values: bool) -> list[Measured]:
        """Tell what is measured, the most rows first. with_values: the least and the greatest value, too."""
        names = [(kind.type, kind.device_class, kind.unit) for kind in self.summary.kinds]
        told = list(dict.fromkeys(names))
        rows, homes = self._sums(told, names)
        ends = self._ends(names) if with_values else {}
        found = [
            Measured(*told[n], int(rows[n]), int(homes[n]), *ends.get(told[n], (None, None)))
            for n in np.flatnonzero(rows > 0).tolist()
        ]
        return sorted(found, key=lambda one: (-one.rows, one.type, one.device_class or "", one.unit or ""))

    def span(self) -> tuple[date, date] | None:
        """Return the first and the last day that has rows; None without rows."""
        if not (days := self.by_day()):
            return None
        return min(days), max(days)

    def by_day(self) -> dict[date, int]:
        """Count the rows of each day that has rows, in order."""
        found = Counter[int]()
        for chosen in self._chosen():
            days, rows = chosen.by_day(self.days)
            for day, count in zip(days.tolist(), rows.tolist(), strict=True):
                found[day] += count
        return {_date(day): found[day] for day in sorted(found) if found[day] > 0}

    def rows_and_homes_by(self, column: Callable[[date], int], count: int) -> tuple[list[int], list[int]]:
        """Count rows and homes by columns of days. column: the column of a day that has rows, counted from 0."""
        rows, homes = np.zeros(count, np.int64), np.zeros(count, np.int64)
        at_once = max(1, _MOST_CELLS // max(1, count))
        for first in range(0, self.homes, at_once):
            found = self._by_columns(self._homes[first : first + at_once], column, count)
            rows, homes = rows + found.sum(axis=0), homes + np.count_nonzero(found > 0, axis=0)
        return rows.tolist(), homes.tolist()

    def of_homes(self, keys: Sequence[str], column: Callable[[date], int], count: int) -> list[list[int]]:
        """Count the rows of some homes, which have rows, by columns of days, likewise. keys: the homes' internal keys."""
        numbers = np.array([self.summary.names.homes[key] for key in keys], np.int64)
        found: list[list[int]] = self._by_columns(numbers, column, count).tolist()
        return found

    def last(self, days: str) -> date | None:
        """Return the last day that has rows. days: of `DAYS`."""
        return max(replace(self, days=days).by_day(), default=None)

    def _chosen(self) -> Iterator[Chosen]:
        """Choose from one chunk after the other."""
        if self.choice is not None:
            for chunk in self.summary.chunks:
                if (chosen := self.choice.of(chunk)) is not None:
                    yield chosen

    @cached_property
    def _pairs(self) -> tuple[Numbers, Numbers, Numbers]:
        """The homes and kinds that there are together, and how many rows they have."""
        width, found = max(1, len(self.summary.home_names)), [(_NONE, _NONE)]
        for chosen in self._chosen():
            homes, kinds, rows = chosen.rows()
            code = kinds.astype(np.int64) * width + homes
            found.append((code, rows.astype(np.int64)) if chosen.details is None else summed(code, rows))
            if sum(len(codes) for codes, _ in found) > _MOST_CELLS:
                found = [_summed(found)]
        codes, sums = _summed(found)
        return codes % width, codes // width, sums

    @cached_property
    def _homes(self) -> Numbers:
        homes, _, rows = self._pairs
        return np.flatnonzero(np.bincount(homes, rows) > 0)

    def _sums(self, values: Sequence[object], of_kinds: Sequence[object]) -> tuple[Numbers, Numbers]:
        """Count rows and homes by values. of_kinds: the value of each kind."""
        place = {value: number for number, value in enumerate(values)}
        homes, kinds, rows = self._pairs
        code, width = np.array([place[value] for value in of_kinds], np.int64)[kinds], max(1, len(self.summary.home_names))
        found, of_home = summed(code * width + homes, rows)
        return (
            np.bincount(code, rows, len(values)).astype(np.int64),
            np.bincount(found[of_home > 0] // width, minlength=len(values)),
        )

    def _ends(self, names: Sequence[_Measured]) -> dict[_Measured, tuple[float | None, float | None]]:
        """Find the least and the greatest of the values that are published. names: of each kind."""
        least, greatest = (np.full(len(names), end) for end in (np.inf, -np.inf))
        for chosen in self._chosen():
            kinds, low, high = chosen.ends()
            firsts = np.flatnonzero(np.append(True, kinds[1:] != kinds[:-1]))
            there = kinds[firsts]
            least[there] = np.minimum(least[there], np.minimum.reduceat(low, firsts))
            greatest[there] = np.maximum(greatest[there], np.maximum.reduceat(high, firsts))
        found = dict[_Measured, tuple[float, float]]()
        for name, kind, low, high in zip(names, self.summary.kinds, least.tolist(), greatest.tolist(), strict=True):
            if kind.has_values and low <= high:
                before = found.get(name, (low, high))
                found[name] = min(before[0], low), max(before[1], high)
        return dict(found)

    def _by_columns(self, homes: Numbers, column: Callable[[date], int], count: int) -> Numbers:
        """Count rows by homes and columns of days. homes: their numbers, each once."""
        if self.choice is None:
            return np.zeros((len(homes), count), np.int64)
        row = np.zeros(len(self.summary.home_names), np.int64)
        row[homes] = np.arange(len(homes))
        wanted = np.zeros(len(row), np.bool_)
        wanted[homes] = True
        choice = replace(self.choice, homes=wanted if self.choice.homes is None else wanted & self.choice.homes)
        cells = np.zeros(len(homes) * count, np.int64)
        for chosen in replace(self, choice=choice)._chosen():
            days, place, of_home, rows = chosen.of_days(self.days)
            # Of a day that has no row left, the column may be another: its rows add up to none.
            columns = np.clip([column(_date(day)) for day in days.tolist()], 0, count - 1)
            cells += np.bincount(row[of_home] * count + columns[place], rows, len(cells)).astype(np.int64)
        return cells.reshape(len(homes), count)


class Summary:
    """Answers questions about what is in a snapshot. chunks: of its counts. names: of the homes and kinds in them."""

    def __init__(self, names: Names, chunks: Sequence[HeldChunk], publishing: Publishing) -> None:
        for chunk in chunks:
            chunk.number()
        self.names, self.chunks, self.publishing = names, chunks, publishing
        self.home_names = list(names.homes)
        self.kinds = [publishing.kind(kind) for kind in list(names.kinds)]

    def select(self, filters: Filters, hidden: Collection[str] = ()) -> Selection:
        """Select the rows that pass the filters. filters: without entities, which are not counted. hidden: homes."""
        days, bounds, units = _DAY_OF[filters.time_field], [], set(map(folded_unit, filters.units))
        if filters.since is not None or filters.until is not None:
            bounds.append((days, _number(filters.since or date.min), _number(filters.until or date.max)))
        if filters.kept_since is not None:
            bounds.append(("day", _number(filters.kept_since), LAST_DAY))
        kinds = np.array([_passes(kind, filters, units) for kind in self.kinds], np.bool_)
        return Selection(self, Choice(kinds, self._homes(filters, hidden), tuple(bounds), self._is_told()), days)

    def none(self) -> Selection:
        """Select no row."""
        return Selection(self, None, "day")

    def _homes(self, filters: Filters, hidden: Collection[str]) -> Mask | None:
        if not hidden and not filters.keys:
            return None
        passes = np.full(len(self.home_names), not filters.keys)
        for keys, passing in ((filters.keys, True), (hidden, False)):
            numbers = (self.names.homes.get(key, len(passes)) for key in keys)
            passes[[number for number in numbers if number < len(passes)]] = passing
        return passes

    def _is_told(self) -> Callable[[int, int], bool] | None:
        if (groups := self.publishing.groups) is None:
            return None
        kinds = [(one.stored_type, None if one.stored_unit is None else folded_unit(one.stored_unit)) for one in self.kinds]
        return lambda day, kind: (day, *kinds[kind]) in groups


def _passes(kind: _Kind, filters: Filters, units: Collection[str]) -> bool:
    if filters.types and kind.stored_type not in filters.types:
        return False
    if units and (kind.stored_unit is None or folded_unit(kind.stored_unit) not in units):
        return False
    return not filters.device_classes or kind.device_class in filters.device_classes


def _summed(some: Sequence[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers]:
    codes, rows = (np.concatenate(parts) for parts in zip(*some, strict=True))
    return summed(codes, rows)


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _date(number: int) -> date:
    return _EPOCH + timedelta(days=number)

"""The summary of a snapshot: what an export would hold, counted without reading a row.

Everything is told as an export would publish it: closed types and units are not there, and hidden homes are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smarthouse_api.states.groups import Groups
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records import rules
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.rows import folded_unit
from smarthouse_api.states.records.sorting import distinct

_EPOCH: Final = date(1970, 1, 1)
_DAY_OF: Final = {"updated": "day", "changed": "changed", "received": "received"}
_KIND: Final = ("type", "kind", "unit", "device_class")

Mask = npt.NDArray[np.bool_]


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

    def kind(self, type_: str, kind: str, unit: str | None, device_class: str | None) -> _Kind:
        """Publish one kind of rows."""
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
    """Rows that pass some filters. of: the places of their counts in the summary."""

    summary: Summary
    of: Numbers
    days: str

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.summary.column("rows")[self.of].sum())

    @property
    def homes(self) -> int:
        """Return the number of homes that have rows."""
        return len(self.home_keys())

    def home_keys(self) -> list[str]:
        """List the internal keys of the homes that have rows."""
        held = self._sums(self.summary.home_codes, len(self.summary.home_names))
        return [self.summary.home_names[place] for place in np.flatnonzero(held > 0).tolist()]

    def facets(self, name: str) -> list[Facet]:
        """Count rows and homes for each published value, the most rows first. name: `type`, `unit` or `device_class`."""
        texts = [getattr(kind, name) for kind in self.summary.kinds]
        values = sorted(set(texts), key=lambda text: (text is None, text or ""))
        place = {text: number for number, text in enumerate(values)}
        code = np.array([place[text] for text in texts], np.int64)[self.summary.kind_codes]
        rows, homes = self._sums(code, len(values)), self._homes_of(code, len(values))
        found = [Facet(value, int(rows[n]), int(homes[n])) for n, value in enumerate(values) if rows[n] > 0]
        return sorted(found, key=lambda facet: -facet.rows)

    def measured(self, *, with_values: bool) -> list[Measured]:
        """Tell what is measured, the most rows first. with_values: the least and the greatest value, too."""
        names = [(kind.type, kind.device_class, kind.unit) for kind in self.summary.kinds]
        told = list(dict.fromkeys(names))
        place = {name: number for number, name in enumerate(told)}
        code = np.array([place[name] for name in names], np.int64)[self.summary.kind_codes]
        rows, homes = self._sums(code, len(told)), self._homes_of(code, len(told))
        least, greatest = (self._ends(code, len(told), name) for name in ("least", "greatest"))
        found = []
        for number, name in enumerate(told):
            if rows[number] > 0:
                ends = (_finite(least[number]), _finite(greatest[number])) if with_values else (None, None)
                found.append(Measured(*name, int(rows[number]), int(homes[number]), *ends))
        return sorted(found, key=lambda one: (-one.rows, one.type, one.device_class or "", one.unit or ""))

    def span(self) -> tuple[date, date] | None:
        """Return the first and the last day that has rows; None without rows."""
        if not (days := self.by_day()):
            return None
        return min(days), max(days)

    def by_day(self) -> dict[date, tuple[int, int]]:
        """Count the rows and the homes of each day that has rows."""
        days, code = self._day_codes()
        rows, homes = self._sums(code, len(days)), self._homes_of(code, len(days))
        return {_date(day): (int(rows[n]), int(homes[n])) for n, day in enumerate(days.tolist()) if rows[n] > 0}

    def rows_and_homes_by(self, column: Callable[[date], int]) -> tuple[dict[int, int], dict[int, int]]:
        """Count rows and homes by columns of days. column: the column of a day, counted from 0."""
        days, code = self._day_codes()
        if not len(days):
            return {}, {}
        columns = np.array([max(0, column(_date(day))) for day in days.tolist()], np.int64)  # of none: it has no row left
        of_row = columns[np.minimum(code, len(days) - 1)]
        rows, homes = (count(of_row, int(columns.max()) + 1).tolist() for count in (self._sums, self._homes_of))
        return dict(enumerate(rows)), dict(enumerate(homes))

    def last(self, days: str) -> date | None:
        """Return the last day that has rows. days: whether `day`, `changed` or `received`."""
        chosen = replace(self, days=days)
        return max(chosen.by_day(), default=None)

    def by_home(self) -> dict[str, dict[date, int]]:
        """Count the rows of each day for each home, by internal keys."""
        days = self.summary.column(self.days)[self.of]
        least = int(days.min(initial=0))
        width = int(days.max(initial=0)) - least + 1
        pairs, rows = self._summed(self.summary.home_codes[self.of] * width + days - least)
        has_rows = rows > 0
        homes, days = np.divmod(pairs[has_rows], width)
        dates = {day: _date(day + least) for day in distinct(days)[0].tolist()}
        found = dict[str, dict[date, int]]()
        for home, day, count in zip(homes.tolist(), days.tolist(), rows[has_rows].tolist(), strict=True):
            found.setdefault(self.summary.home_names[home], {})[dates[day]] = count
        return found

    def _day_codes(self) -> tuple[Numbers, Numbers]:
        """Return the days that there are, and for each count of the whole summary the place of its day."""
        days = self.summary.column(self.days)
        least = int(days.min(initial=0))
        there = np.sort(distinct(days[self.of] - least)[0]) + least
        return there, np.searchsorted(there, days)

    def _sums(self, code: Numbers, count: int) -> Numbers:
        sums: Numbers = np.bincount(code[self.of], self.summary.column("rows")[self.of], count).astype(np.int64)
        return sums

    def _summed(self, code: Numbers) -> tuple[Numbers, Numbers]:
        """Return the different codes of the selected counts, and the number of rows of each."""
        codes, place = distinct(code)
        rows: Numbers = np.bincount(place, self.summary.column("rows")[self.of], len(codes)).astype(np.int64)
        return codes, rows

    def _homes_of(self, code: Numbers, count: int) -> Numbers:
        """Count the homes that have rows with each code."""
        width = max(1, len(self.summary.home_names))
        pairs, rows = self._summed(code[self.of] * width + self.summary.home_codes[self.of])
        return np.bincount(pairs[rows > 0] // width, minlength=count)

    def _ends(self, code: Numbers, count: int, name: str) -> npt.NDArray[np.float64]:
        has_values = np.array([kind.has_values for kind in self.summary.kinds], np.bool_)[self.summary.kind_codes[self.of]]
        values, nothing = self.summary.values(name)[self.of], np.inf if name == "least" else -np.inf
        ends = np.full(count, nothing)
        # numpy is slow at this if some are not numbers.
        compared = np.where(has_values & ~np.isnan(values), values, nothing)
        (np.minimum if name == "least" else np.maximum).at(ends, code[self.of], compared)
        return np.where(ends == nothing, np.nan, ends)


class Summary:
    """Answers questions about what is in a snapshot. counts: of its rows, compact, added up or not."""

    def __init__(self, counts: pa.Table, publishing: Publishing) -> None:
        self._counts, self.publishing = counts, publishing
        self._numbers = dict[str, Numbers]()
        home = counts["home"].combine_chunks()
        self.home_names: list[str] = home.dictionary.to_pylist()
        self.home_codes: Numbers = home.indices.to_numpy().astype(np.int64)

    def column(self, name: str) -> Numbers:
        """Return the days or the rows of all counts."""
        if name not in self._numbers:
            self._numbers[name] = self._counts[name].to_numpy().astype(np.int64)
        return self._numbers[name]

    def values(self, name: str) -> npt.NDArray[np.float64]:
        """Return `least` or `greatest` of all counts; NaN where there is no number."""
        found: npt.NDArray[np.float64] = self._counts[name].to_numpy()
        return found

    @cached_property
    def _kinds(self) -> tuple[list[_Kind], Numbers]:
        encoded = [self._counts[name].combine_chunks() for name in _KIND]
        code = np.zeros(len(self._counts), np.int64)
        for column in encoded:
            code = code * (len(column.dictionary) + 1) + column.indices.fill_null(len(column.dictionary)).to_numpy()
        found, place = np.unique(code, return_inverse=True)
        sizes = [len(column.dictionary) + 1 for column in encoded]
        texts = [[*column.dictionary.to_pylist(), None] for column in encoded]
        places = np.array(np.unravel_index(found, sizes)).T.tolist() if len(found) else []
        return [self.publishing.kind(*(text[n] for text, n in zip(texts, each, strict=True))) for each in places], place

    @property
    def kinds(self) -> list[_Kind]:
        """The kinds of rows that there are."""
        return self._kinds[0]

    @property
    def kind_codes(self) -> Numbers:
        """For each count, the place of its kind."""
        return self._kinds[1]

    def select(self, filters: Filters, hidden: Collection[str] = ()) -> Selection:
        """Select the rows that pass the filters. filters: without entities, which are not counted. hidden: homes."""
        days = _DAY_OF[filters.time_field]
        tests = [_passes(kind, filters) for kind in self.kinds]
        chosen: Mask = np.array(tests, np.bool_)[self.kind_codes] if tests else np.zeros(len(self._counts), np.bool_)
        if hidden or filters.keys:
            of_home = [name not in hidden and (not filters.keys or name in filters.keys) for name in self.home_names]
            chosen &= np.array(of_home, np.bool_)[self.home_codes] if of_home else False
        if filters.since is not None:
            chosen &= self.column(days) >= _number(filters.since)
        if filters.until is not None:
            chosen &= self.column(days) <= _number(filters.until)
        if filters.kept_since is not None:
            chosen &= self.column("day") >= _number(filters.kept_since)
        if self.publishing.groups is not None:
            chosen &= self._in_groups(self.publishing.groups)
        return Selection(self, np.flatnonzero(chosen), days)

    def none(self) -> Selection:
        """Select no row."""
        return Selection(self, np.zeros(0, np.int64), "day")

    def _in_groups(self, groups: Groups) -> Mask:
        width = max(1, len(self.kinds))
        found, place = np.unique((self.column("day") - _FIRST) * width + self.kind_codes, return_inverse=True)
        told = []
        for one in found.tolist():
            day, kind = divmod(one, width)
            stored = self.kinds[kind]
            unit = None if stored.stored_unit is None else folded_unit(stored.stored_unit)
            told.append((day + _FIRST, stored.stored_type, unit) in groups)
        return np.array(told, np.bool_)[place] if told else np.zeros(len(self._counts), np.bool_)


_FIRST: Final = -719_162
"""The first day that there is, counted since 1970."""


def _passes(kind: _Kind, filters: Filters) -> bool:
    if filters.types and kind.stored_type not in filters.types:
        return False
    if filters.units and (
        kind.stored_unit is None or folded_unit(kind.stored_unit) not in set(map(folded_unit, filters.units))
    ):
        return False
    return not filters.device_classes or kind.device_class in filters.device_classes


def _number(day: date) -> int:
    return (day - _EPOCH).days


def _date(number: int) -> date:
    return _EPOCH + timedelta(days=number)


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

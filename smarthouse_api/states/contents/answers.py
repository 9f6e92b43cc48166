"""Answers to what people ask before they download: how much there is, of what, of when, and how it looks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import ceil
from typing import Any, Final

import numpy as np
import pyarrow as pa

from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.times import time_of, time_text
from smarthouse_api.states.aggregates.clocks import HOUR_US, MINUTE_US
from smarthouse_api.states.contents.service import Opened
from smarthouse_api.states.contents.summary import Selection
from smarthouse_api.states.records.privacy import home_name

FACETS: Final = {"types": "type", "units": "unit", "device_classes": "device_class"}
"""The filters that a facet goes with, and the column of each."""

MOST_COLUMNS: Final = 400
MOST_HOMES: Final = 1000
_FAR: Final = timedelta(days=31)

_BYTES_A_ROW: Final = {"csv": 20.3, "json": 22.4, "jsonl": 22.0, "xml": 25.0, "parquet": 19.7}
"""Bytes of a zipped export for each row, as a year of generated homes had them: a guess until exports have told better."""


def overview(opened: Opened, selection: Selection, waiting: int) -> dict[str, Any]:
    """Tell what is in the lake. selection: of everything. waiting: uploads that the lake does not hold yet."""
    days, received = selection.by_day(), selection.last("received")
    span = (min(days), max(days)) if days else (None, None)
    return {
        "version": opened.version,
        "homes": selection.homes,
        "rows": selection.rows,
        "days": {"first": _text(span[0]), "last": _text(span[1]), "count": len(days)},
        "stored_bytes": opened.stored_bytes,
        "last_received": _text(received),
        "waiting": waiting,
    }


def facets(selection: Selection, others: dict[str, Selection], *, with_values: bool) -> dict[str, Any]:
    """Count rows and homes for each type, unit and device class.

    others: for each filter of `FACETS`, what passes all filters but this one. with_values: the least and the greatest, too.
    """
    told: dict[str, Any] = {"rows": selection.rows, "homes": selection.homes}
    for name, column in FACETS.items():
        found = others[name].facets(column)
        told[name] = [{"value": facet.value, "rows": facet.rows, "homes": facet.homes} for facet in found]
    told["measured"] = [
        {
            "type": one.type,
            "device_class": one.device_class,
            "unit": one.unit,
            "rows": one.rows,
            "homes": one.homes,
            **({"least": one.least, "greatest": one.greatest} if with_values else {}),
        }
        for one in selection.measured(with_values=with_values)
    ]
    return told


def coverage_by_day(selection: Selection, most_columns: int = MOST_COLUMNS) -> dict[str, Any]:
    """Tell how many rows and homes each day, or each longer step, has: none is left out between the first and the last."""
    axis = Axis.of(selection.by_day(), most_columns)
    rows, homes = selection.rows_and_homes_by(axis.place, axis.count)
    return {"step": axis.step, "days": axis.days, "rows": rows, "homes": homes}


def coverage_by_home(selection: Selection, secret: bytes, most_columns: int = MOST_COLUMNS) -> dict[str, Any]:
    """Tell how many rows each home has each day, or each longer step, by pseudonyms; null for none. secret: of these."""
    axis = Axis.of(selection.by_day(), most_columns)
    names = sorted((home_name(secret, key), key) for key in selection.home_keys())
    counts = selection.of_homes([key for _, key in names[:MOST_HOMES]], axis.place, axis.count)
    homes = [
        {"home": name, "rows": [count or None for count in of_home]} for (name, _), of_home in zip(names, counts, strict=False)
    ]
    return {"step": axis.step, "days": axis.days, "homes_in_all": len(names), "homes": homes}


def usual_days(rows: Mapping[date, int]) -> tuple[date, date]:
    """Find the days to look at first: without the few rows that lie far from all others, at most one in a thousand.

    rows: of each day that has any, which is one at least.
    """
    days = sorted(rows)
    few = sum(rows.values()) / 1000
    return _apart(days, rows, few), _apart(days[::-1], rows, few)


def _apart(days: Sequence[date], rows: Mapping[date, int], few: float) -> date:
    """Find the first day that is not among a few far from the next ones."""
    found, before = days[0], 0
    for day, following in pairwise(days):
        before += rows[day]
        if before > few:
            break
        if abs(following - day) > _FAR:
            found = following
    return found


def estimate(opened: Opened, selection: Selection, formats: Sequence[str]) -> dict[str, Any]:
    """Tell how many rows a download would have, and about how many bytes in each format."""
    rows = selection.rows
    sizes = {name: ceil(rows * _BYTES_A_ROW[name]) for name in formats}
    return {"version": opened.version, "rows": rows, "exact": True, "homes": selection.homes, "bytes": sizes}


def series(batches: Iterable[pa.RecordBatch], unit: str, least_homes: int) -> dict[str, Any]:
    """Tell how homes differ in each interval: percentiles of the homes' means. least_homes: other intervals are left out.

    batches: of `AGGREGATES`, which have one unit. The mean of a home is that of its entities, weighted by the time that is
    known.
    """
    points = [
        {"at": time_text(time_of(one.place)), "p10": one.low, "p50": one.middle, "p90": one.high, "homes": one.homes}
        for one in _spreads(batches, lambda start, _: start, least_homes)
    ]
    return {"unit": unit, "points": points}


@dataclass(frozen=True)
class Spread:
    """Tells how homes differ: a tenth of them has a mean below `low`, half below `middle`, nine tenths below `high`.

    place: which interval it is of.
    """

    place: int
    low: float
    middle: float
    high: float
    homes: int


def typical_day(batches: Iterable[pa.RecordBatch], least_homes: int) -> list[Spread]:
    """Tell how homes differ in each hour of a day, of all the days together, likewise. Places are hours.

    They are hours by the clock that the intervals go by: of UTC, or of each home.
    """
    return _spreads(batches, lambda start, ahead: (start + ahead) // HOUR_US % 24, least_homes)


_Place = Callable[[int, int], int]
"""Finds the place of an interval by its start and by how much the home's clock is ahead of UTC, both in microseconds."""


def _spreads(batches: Iterable[pa.RecordBatch], place: _Place, least_homes: int) -> list[Spread]:
    means, found = _means(batches, place), list[Spread]()
    for number, of_home in sorted(means.items()):
        if len(of_home) >= least_homes:
            values = [product / weight for product, weight in of_home.values()]
            low, middle, high = np.percentile(values, (10, 50, 90)).tolist()
            found.append(Spread(number, low, middle, high, len(values)))
    return found


def _means(batches: Iterable[pa.RecordBatch], place: _Place) -> Mapping[int, Mapping[str, tuple[float, float]]]:
    """Add up the homes' means, each with its weight, by the place of the interval's start."""
    means = dict[int, dict[str, tuple[float, float]]]()
    for batch in batches:
        names = "start", "utc_offset", "home", "mean", "known"
        columns = (batch.column(name) for name in names)
        for start, offset, home, mean, known in zip(*(_values(column) for column in columns), strict=True):
            if mean is not None and known > 0:
                of_home = means.setdefault(place(start, (offset or 0) * MINUTE_US), {})
                product, weight = of_home.get(home, (0.0, 0.0))
                of_home[home] = product + mean * known, weight + known
    return means


def _values(column: pa.Array) -> list[Any]:
    found: list[Any] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return found


def json_rows(source: Any) -> bytes:
    """Write rows as an array of JSON. source: a `SchemaRows`."""
    return b"".join(FORMATS["json"].write(source))


@dataclass(frozen=True)
class Axis:
    """Puts days into columns of one step, without a hole. first: the number of the first column."""

    step: str
    first: int
    count: int

    @classmethod
    def of(cls, days: Collection[date], most: int = MOST_COLUMNS) -> Axis:
        """Choose the shortest step that needs no more than so many columns: centuries are the longest."""
        if not days:
            return cls("day", 0, 0)
        axes = (cls(step, number(min(days)), number(max(days)) - number(min(days)) + 1) for step, (number, _) in _STEPS.items())
        return next(axis for axis in axes if axis.count <= most or axis.step == _LONGEST_STEP)

    @property
    def days(self) -> list[str]:
        """The first day of each column."""
        return [_STEPS[self.step][1](self.first + number).isoformat() for number in range(self.count)]

    def place(self, day: date) -> int:
        """Return the column of a day, counted from 0."""
        return _STEPS[self.step][0](day) - self.first


_STEPS: Final[dict[str, tuple[Callable[[date], int], Callable[[int], date]]]] = {
    "day": (date.toordinal, date.fromordinal),
    "week": (lambda day: (day.toordinal() - 1) // 7, lambda number: date.fromordinal(7 * number + 1)),
    "month": (lambda day: 12 * day.year + day.month - 1, lambda number: date(number // 12, number % 12 + 1, 1)),
    "year": (lambda day: day.year, lambda number: date(number, 1, 1)),
    "century": (lambda day: (day.year - 1) // 100, lambda number: date(100 * number + 1, 1, 1)),
}
"""For each step, the number of a day's column, and the first day of a column. The first day of all is a Monday."""

_LONGEST_STEP: Final = "century"


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()

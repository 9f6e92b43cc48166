"""Figures over the last day or month, as plots: hours or days beside each other, lines with gaps, all with their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from flask_babel import gettext

from blueprints.console.figures import Figure, figure_of, short_count
from blueprints.console.languages import axis_names, count_text, time_element, time_name
from smarthouse_api.plots.bands import Point, band
from smarthouse_api.plots.bars import bars
from smarthouse_api.status.history import LAST_DAY, LAST_MONTH, Column, Resolution, Series

SPANS: Final = {"day": LAST_DAY, "month": LAST_MONTH}
_COLUMN_SECONDS: Final = {LAST_DAY: 3600, LAST_MONTH: 86400}
_JOINED_STEPS: Final = 1.5
_SECOND_US: Final = 1_000_000

Write = Callable[[int], str]


class Trend:
    """Draws figures over one span of time. Without any point, `is_empty`."""

    def __init__(self, series: Series, kept: Resolution) -> None:
        self._series, self._is_day = series, kept is LAST_DAY
        self._per = _COLUMN_SECONDS[kept]
        first, last = series.begin // self._per, (series.begin + (series.count - 1) * series.step_seconds) // self._per
        self._columns = [number * self._per for number in range(first, last + 1)]
        self.is_empty = not series.figures

    def latest_growth(self, name: str, seconds: int) -> int | None:
        """Tell by how much a total grew lately; None if that is not known."""
        known = [value for value in self._series.values(name)[-1 - seconds // self._series.step_seconds :] if value is not None]
        return known[-1] - known[0] if len(known) > 1 else None

    def pace(self, name: str) -> float | None:
        """Tell by how much a figure grew in a day, in the mean of the span; None if less than half a day of it is known."""
        known = [(at, value) for at, value in enumerate(self._series.values(name)) if value is not None]
        if not known or (days := (known[-1][0] - known[0][0]) * self._series.step_seconds / 86400) < 0.5:
            return None
        return (known[-1][1] - known[0][1]) / days

    def is_idle(self, name: str) -> bool:
        """Tell whether a figure has been 0 all the time, as far as it is known."""
        return not any(self._series.values(name))

    def grown(self, name: str, *beside: tuple[str, str, Write]) -> Figure:
        """Draw how a total grew. beside: further totals for the table: the name, the head of their column, how to write it."""
        growths = [self._summed(self._series.growth(one)) for one in (name, *(other for other, _, _ in beside))]
        counts, writes = growths[0], (count_text, *(write for _, _, write in beside))
        known = [value for value in counts if value is not None]
        told = {"sum": count_text(sum(known)), "most": count_text(max(known, default=0))}
        if self._is_day:
            sentence = gettext("%(sum)s in 24 hours, at most %(most)s in one of them. A grey column: not known.", **told)
        else:
            sentence = gettext("%(sum)s in 32 days, at most %(most)s on one of them. A grey column: not known.", **told)
        unknown = [place for place, value in enumerate(counts) if value is None]
        names = [self._name(at) for at in self._columns]
        drawing = bars(sentence, names, [value or 0 for value in counts], short_count, unknown=unknown)
        heads = self._head(), gettext("Count"), *(head for _, head, _ in beside)
        rows = [
            (self._time(at), *("–" if value is None else write(value) for write, value in zip(writes, values, strict=True)))
            for at, *values in zip(self._columns, *growths, strict=True)
        ]
        return figure_of(drawing, sentence, heads, rows)

    def line(self, name: str, write: Write, unit: int = 1) -> Figure:
        """Draw a figure as a line, with gaps. unit: the marks of the axis are round in this unit."""
        return self.line_of(self._series.values(name), write, unit)

    def line_of(self, values: Column, write: Write, unit: int = 1) -> Figure:
        """Draw values, one for each step, as `line` does."""
        step, begin = self._series.step_seconds, self._series.begin
        points = [Point(begin + place * step, *[value / unit] * 3) for place, value in enumerate(values) if value is not None]
        known = [value for value in values if value is not None]
        sentence = (
            gettext(
                "%(now)s now; between %(least)s and %(greatest)s. A gap: not known.",
                now=write(known[-1]),
                least=write(min(known)),
                greatest=write(max(known)),
            )
            if known
            else gettext("Nothing is known yet.")
        )
        span = float(begin), float(begin + self._series.count * step)
        names = [(at / _SECOND_US, name) for at, name in axis_names(*(round(end * _SECOND_US) for end in span))]
        longest, ticks = _JOINED_STEPS * step, _ticks(write, unit)
        drawing = band(sentence, points, span, longest, names, ticks, is_stepped=True, is_from_zero=True)
        heads = self._head(), gettext("Least"), gettext("Greatest")
        return figure_of(drawing, sentence, heads, self._ends(values, write))

    def together(self, prefix: str, join: Callable[[Iterable[int]], int]) -> Column:
        """Put the figures together whose names begin so, in each step those that are known."""
        columns = [column for name, column in self._series.figures.items() if name.startswith(prefix)]
        if not columns:
            return [None] * self._series.count
        steps = ([value for value in some if value is not None] for some in zip(*columns, strict=True))
        return [join(known) if known else None for known in steps]

    def names(self, prefix: str) -> list[str]:
        """List the figures whose names begin so, without this beginning."""
        return [name.removeprefix(prefix) for name in self._series.figures if name.startswith(prefix)]

    def _ends(self, values: Column, write: Write) -> list[tuple[str, ...]]:
        rows = list[tuple[str, ...]]()
        for at in self._columns:
            known = [value for value in self._within(values, at) if value is not None]
            rows.append((self._time(at), *((write(min(known)), write(max(known))) if known else ("–", "–"))))
        return rows

    def _summed(self, growth: Column) -> Column:
        sums = Column()
        for at in self._columns:
            known = [value for value in self._within(growth, at) if value is not None]
            sums.append(sum(known) if known else None)
        return sums

    def _within(self, values: Column, at: int) -> Sequence[int | None]:
        """Return the values of a column that begins then."""
        begin, step = self._series.begin, self._series.step_seconds
        return values[max(0, (at - begin) // step) : max(0, (at + self._per - begin) // step)]

    def _head(self) -> str:
        return str(gettext("Hour") if self._is_day else gettext("Day (UTC)"))

    def _name(self, at: float) -> str:
        return time_name(datetime.fromtimestamp(at, UTC), is_short=self._is_day)

    def _time(self, at: int) -> str:
        return time_element(at * _SECOND_US) if self._is_day else self._name(at)


def _ticks(write: Write, unit: int) -> Callable[[float], str]:
    """Write only the marks of an axis that are whole numbers."""
    return lambda value: write(int(value) * unit) if value == int(value) else ""


def age_text(seconds: float) -> str:
    """Write how long something has waited, shortly."""
    if seconds < 120:
        return str(gettext("%(count)s s", count=count_text(int(seconds))))
    if seconds < 7200:
        return str(gettext("%(count)s min", count=count_text(int(seconds / 60))))
    return str(gettext("%(count)s h", count=count_text(int(seconds / 3600))))

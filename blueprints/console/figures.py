"""The plots of the Data page: what they show, in the reader's language, each with its numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from flask_babel import gettext, ngettext
from markupsafe import Markup

from blueprints.console.languages import column_text, count_text, day_text, value_text
from smarthouse_api.plots.bands import Point, band
from smarthouse_api.plots.bars import bars
from smarthouse_api.plots.heat import heat
from smarthouse_api.plots.svg import Drawing
from smarthouse_api.states.contents.answers import Spread

_HOURS: Final = (0, 6, 12, 18, 23)
_SHOWN_OF_NAME: Final = 13


@dataclass(frozen=True)
class Figure:
    """Holds a plot, the sentence that tells it, and its numbers. heads: of the columns of the table."""

    sentence: str
    left: Markup
    marks: Markup
    below: Markup
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def rows_figure(coverage: dict[str, Any]) -> Figure:
    """Draw the rows of each day, or of each longer step. Dragging over it chooses days."""
    days, step, counts = coverage["days"], coverage["step"], coverage["rows"]
    names = [column_text(day, step) for day in days]
    sentence = gettext(
        "From %(first)s to %(last)s: at most %(most)s rows in a column, %(empty)s of %(count)s columns are empty.",
        first=names[0],
        last=names[-1],
        most=count_text(max(counts)),
        empty=count_text(counts.count(0)),
        count=count_text(len(counts)),
    )
    drawing = bars(sentence, names, counts, short_count, data_days=" ".join(days), data_last=_last_day(days, step))
    table = [
        (name, count_text(rows), count_text(homes)) for name, rows, homes in zip(names, counts, coverage["homes"], strict=True)
    ]
    return figure_of(drawing, sentence, (gettext("From"), gettext("Rows"), gettext("Homes")), table)


def homes_figure(coverage: dict[str, Any]) -> Figure:
    """Draw how many homes have rows on each day, or in each longer step."""
    names = [column_text(day, coverage["step"]) for day in coverage["days"]]
    counts = coverage["homes"]
    sentence = gettext("Between %(least)s and %(most)s homes.", least=count_text(min(counts)), most=count_text(max(counts)))
    table = [(name, count_text(homes)) for name, homes in zip(names, counts, strict=True)]
    return figure_of(bars(sentence, names, counts, short_count), sentence, (gettext("From"), gettext("Homes")), table)


def arrivals_figure(days: Sequence[str], step: str, records: Sequence[int], uploads: Sequence[int]) -> Figure:
    """Draw how much a home sent on each day, or in each longer step."""
    names = [column_text(day, step) for day in days]
    sentence = gettext(
        "From %(first)s to %(last)s: at most %(most)s in a column, %(empty)s of %(count)s columns are empty.",
        first=names[0],
        last=names[-1],
        most=count_text(max(records)),
        empty=count_text(uploads.count(0)),
        count=count_text(len(uploads)),
    )
    table = [(name, *map(count_text, counts)) for name, *counts in zip(names, records, uploads, strict=True)]
    heads = gettext("From"), gettext("State changes"), gettext("Uploads")
    return figure_of(bars(sentence, names, records, short_count), sentence, heads, table)


def coverage_figure(coverage: dict[str, Any], *, with_names: bool) -> Figure:
    """Draw the rows of each home on each day, or in each longer step. with_names: homes keep their names."""
    columns = [column_text(day, coverage["step"]) for day in coverage["days"]]
    homes = coverage["homes"]
    names = [f"{home['home'][:_SHOWN_OF_NAME]}…" if with_names else "" for home in homes]
    whole = sum(all(home["rows"]) for home in homes)
    sentence = ngettext(
        "%(whole)s of %(num)s home has rows in every column. An empty cell is a gap.",
        "%(whole)s of %(num)s homes have rows in every column. An empty cell is a gap.",
        len(homes),
        whole=whole,
    )
    table = [
        (
            home["home"] if with_names else gettext("a home"),
            count_text(sum(filter(None, home["rows"]))),
            gettext("%(there)s of %(count)s", there=sum(map(bool, home["rows"])), count=len(columns)),
        )
        for home in homes
    ]
    heads = gettext("Home"), gettext("Rows"), gettext("Columns with rows")
    return figure_of(heat(sentence, columns, names, [home["rows"] for home in homes]), sentence, heads, table)


def typical_figure(unit: str, hours: Sequence[Spread], days: tuple[date, date], *, is_local: bool) -> Figure:
    """Draw how the homes differ over the hours of a day. is_local: by each home's own clock, else by UTC."""
    told = {"unit": unit, "first": day_text(days[0]), "last": day_text(days[1])}
    clock = (
        gettext("%(unit)s, %(first)s to %(last)s, by hour of the day on each home's own clock.", **told)
        if is_local
        else gettext("%(unit)s, %(first)s to %(last)s, by hour of the day in UTC.", **told)
    )
    means = gettext("The line is the median home, the band the middle 80 % of homes. Hours of few homes are left out.")
    sentence = f"{clock} {means}"
    points = [Point(one.place, one.low, one.middle, one.high) for one in hours]
    names = [(float(hour), f"{hour:02}:00") for hour in _HOURS]
    table = [
        (f"{one.place:02}:00", value_text(one.low), value_text(one.middle), value_text(one.high), count_text(one.homes))
        for one in hours
    ]
    heads = gettext("Hour") if is_local else gettext("Hour (UTC)"), "10 %", gettext("Median"), "90 %", gettext("Homes")
    return figure_of(band(sentence, points, (0, 23), 1, names, value_text), sentence, heads, table)


def figure_of(drawing: Drawing, sentence: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Figure:
    """Put a drawing together with its numbers."""
    left, marks, below = (Markup(part) for part in (drawing.left, drawing.marks, drawing.below))  # noqa: S704 - it is escaped
    return Figure(sentence, left, marks, below, heads, rows)


def short_count(count: float) -> str:
    """Write a count in the room that there is beside a plot."""
    for size, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{value_text(count / size)} {name}"
    return count_text(int(count))


def _last_day(days: Sequence[str], step: str) -> str:
    """Return the last day of the last column."""
    last = date.fromisoformat(days[-1])
    if step in ("day", "week"):
        return str(last + timedelta(days=0 if step == "day" else 6))
    years = {"month": 0, "year": 1, "century": 100}[step]
    after = (last.year + years, 1) if years else (last.year + last.month // 12, last.month % 12 + 1)
    return str(date.max if after[0] > date.max.year else date(*after, 1) - timedelta(days=1))

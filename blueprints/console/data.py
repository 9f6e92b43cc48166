"""What the Data page shows: how much there is, what passes the filters, and how that looks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import orjson
from flask_babel import gettext, ngettext

from blueprints.console import figures
from blueprints.console.asked import Asked
from blueprints.console.languages import count_text, day_text
from blueprints.console.snippets import first_steps, snippets
from blueprints.current_request import house
from blueprints.export.releases import open_releases
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.states.contents import answers
from smarthouse_api.states.contents.service import Opened
from smarthouse_api.states.contents.summary import Selection
from smarthouse_api.states.export.shapes import AGGREGATES
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.rows import folded_unit
from smarthouse_api.states.records.schema import ROWS

_MOST_COLUMNS: Final = 62
_MOST_HOMES: Final = 40
_MOST_OPTIONS: Final = 60
_MOST_MEASURED: Final = 12
_PREVIEWED: Final = 20


@dataclass(frozen=True)
class Option:
    """Is a value to choose: whether it is chosen, and what another choice would find."""

    value: str
    name: str
    rows: int
    is_chosen: bool


@dataclass(frozen=True)
class Facet:
    """Is a filter with its values. left_out: how many are not shown, because they are many. is_long: there are many."""

    name: str
    title: str
    options: list[Option]
    left_out: int
    is_long: bool


def data_page(opened: Opened, asked: Asked, waiting: int, samples: int) -> dict[str, Any]:
    """Find all that the page shows, but what needs rows to be read, unless that is asked for at once."""
    questions, filters = house().states.questions, asked.filters
    overview, facets = questions.overview(opened, waiting), questions.facets(opened, filters)
    selection = opened.select(filters)
    told = {
        "asked": asked,
        "overview": overview,
        "facets": _facets(facets, asked),
        "rows": facets["rows"],
        "homes": facets["homes"],
        "measured": facets["measured"][:_MOST_MEASURED],
        "more_measured": facets["measured"][_MOST_MEASURED:],
        "with_values": not questions.is_strict,
        "sizes": answers.estimate(opened, selection, list(FORMATS))["bytes"],
        "unit": _typical_unit(facets, filters),
        "least_homes": house().settings.exports.min_homes,
        "first_steps": None if overview["rows"] or waiting or questions.is_strict else first_steps(),
        "samples": samples,
        "releases": open_releases(),
        "has_operator": house().settings.server.console == "all",
    }
    if not facets["rows"]:
        return told
    told |= _plots(opened, selection, filters)
    told["snippets"] = snippets(asked, facets["rows"], _days_text(selection), opened.version)
    if asked.shows_all:
        told |= preview_part(opened, asked) | (typical_part(opened, asked, told["unit"]) if told["unit"] else {})
    return told


def preview_part(opened: Opened, asked: Asked) -> dict[str, Any]:
    """Read some rows as they would be exported."""
    filters = _until_usual(opened, asked.filters)
    rows = orjson.loads(house().states.questions.preview(opened, filters, _PREVIEWED, asked.aggregation))
    names = ROWS.names if asked.aggregation is None else AGGREGATES.schema.names
    return {"columns": names, "previewed": [[_cell(row[name]) for name in names] for row in rows]}


def typical_part(opened: Opened, asked: Asked, unit: str) -> dict[str, Any]:
    """Read how the homes differ over the hours of a day. unit: of what is told."""
    filters = _until_usual(opened, asked.of_unit(unit).filters)
    hours, days = house().states.questions.typical_day(opened, filters, unit, is_local=asked.is_day_local)
    figure = figures.typical_figure(unit, hours, days, is_local=asked.is_day_local) if hours and days else None
    return {"asked": asked, "typical": figure, "unit": unit, "typical_is_there": True}


def _until_usual(opened: Opened, filters: Filters) -> Filters:
    """Leave out the few rows that lie far after all others, or the newest day would be theirs."""
    by_day = opened.select(filters).by_day()
    if not by_day or filters.until is not None:
        return filters
    return replace(filters, until=answers.usual_days(by_day)[1])


def _plots(opened: Opened, selection: Selection, filters: Filters) -> dict[str, Any]:
    questions, left_out = house().states.questions, ""
    by_day = selection.by_day()
    first, last = answers.usual_days(by_day)
    if filters.since is None and filters.until is None and (first, last) != (min(by_day), max(by_day)):
        left_out = _left_out(by_day, first, last)
        selection = opened.select(replace(filters, since=first, until=last))
    by_column = answers.coverage_by_day(selection, _MOST_COLUMNS)
    told = {"step": by_column["step"], "left_out": left_out, "by_day": figures.rows_figure(by_column)}
    if questions.is_strict or selection.homes > _MOST_HOMES:
        return told | {"by_home": None, "homes_by_day": figures.homes_figure(by_column)}
    with_names = questions.contents.asking.has_lasting_names
    coverage = questions.coverage_by_home(selection, _MOST_COLUMNS)
    return told | {"by_home": figures.coverage_figure(coverage, with_names=with_names)}


def _left_out(by_day: dict[date, int], first: date, last: date) -> str:
    """Say which rows the plots leave out, because they lie far from all others."""
    before = sum(rows for day, rows in by_day.items() if day < first)
    after = sum(rows for day, rows in by_day.items() if day > last)
    told = []
    if before:
        words = {"count": count_text(before), "day": day_text(first)}
        told.append(ngettext("%(count)s row before %(day)s", "%(count)s rows before %(day)s", before, **words))
    if after:
        words = {"count": count_text(after), "day": day_text(last)}
        told.append(ngettext("%(count)s row after %(day)s", "%(count)s rows after %(day)s", after, **words))
    return "; ".join(told)


def _facets(facets: dict[str, Any], asked: Asked) -> list[Facet]:
    """List what can be chosen. Values that are chosen stay, whatever is looked for."""
    titles = {"types": gettext("Type"), "units": gettext("Unit"), "device_classes": gettext("Device class")}
    return [_facet(name, title, facets[name], asked) for name, title in titles.items()]


def _facet(name: str, title: str, found: list[dict[str, Any]], asked: Asked) -> Facet:
    fold, chosen = folded_unit if name == "units" else str.lower, getattr(asked.filters, name)
    wanted, looked_for = {fold(value) for value in chosen}, asked.find.casefold()
    there = [one for one in found if one["value"] is not None]
    fit = [one for one in there if looked_for in one["value"].casefold()]
    first = {one["value"] for one in (fit if asked.shows_all_options else fit[:_MOST_OPTIONS])}
    shown = [one for one in there if one["value"] in first or fold(one["value"]) in wanted]
    missing = wanted - {fold(one["value"]) for one in shown}
    also = [{"value": value, "rows": 0} for value in chosen if fold(value) in missing]
    options = [
        Option(value := one["value"], f"{name}[]" if "," in value else name, one["rows"], fold(value) in wanted)
        for one in [*shown, *also]
    ]
    return Facet(name, title, options, len(fit) - len(first), len(there) > _MOST_OPTIONS)


def _typical_unit(facets: dict[str, Any], filters: Filters) -> str | None:
    """Choose the unit of the typical day: the one that was chosen, else the one of the most rows of a measurement."""
    if filters.units:
        return filters.units[0]
    return next((one["unit"] for one in facets["measured"] if one["unit"] and one["device_class"]), None)


def _days_text(selection: Selection) -> str:
    span = selection.span()
    return "no day" if span is None else f"{span[0]} to {span[1]}"


def _cell(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()

"""What is in the lake, before anything is downloaded: the same filters, and the same privacy, as a download has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import msgspec
from flask import Response, request
from flask_smorest import Blueprint

from blueprints.current_request import count_request, house
from blueprints.dialects import problems
from blueprints.export.contents_schemas import (
    CONTENTS_HEADERS,
    CoverageQuerySchema,
    CoverageSchema,
    EstimateQuerySchema,
    EstimateSchema,
    FacetsSchema,
    OverviewSchema,
    PreviewQuerySchema,
    PreviewSchema,
    SeriesQuerySchema,
    SeriesSchema,
)
from blueprints.export.readers import admit_reader
from blueprints.export.schemas import FiltersSchema, known_formats
from blueprints.openapi import OPTIONAL_BEARER
from blueprints.responses import json_response
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.errors import Forbidden
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.contents import answers
from smarthouse_api.states.contents.service import Opened
from smarthouse_api.states.export.shapes import STATE_CHANGES
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.schema import ROWS

_MOST_WAITING = 1000
_MOST_DAYS: Final = {"15m": 2, "1h": 7, "1d": 62}
"""How many days are read for a series."""


def add_contents(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of Export."""

    @blueprint.route("/overview")
    @blueprint.response(200, OverviewSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "overview", security=OPTIONAL_BEARER)
    def overview() -> Response:
        """Tell how much is in the lake.

        Counts are exact for the version of the lake that they name, and made without reading its rows.
        """
        waiting = len(house().states.uploads.queue.read(limit=_MOST_WAITING))
        return _answer(lambda opened: answers.overview(opened, opened.select(Filters()), waiting), waiting)

    @blueprint.route("/facets")
    @blueprint.arguments(FiltersSchema, location="query", error_status_code=400)
    @blueprint.response(200, FacetsSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "facets", security=OPTIONAL_BEARER)
    def facets(query: dict[str, Any]) -> Response:
        """Count rows and homes for each type, unit and device class.

        The counts of types ignore the filter `types`, and so on: they tell what another choice would find.
        """

        def told(opened: Opened) -> dict[str, Any]:
            filters: Filters = query["filters"]
            wider = {
                "types": replace(filters, types=()),
                "units": replace(filters, units=()),
                "device_classes": replace(filters, device_classes=()),
            }
            others = {name: opened.select(one) for name, one in wider.items()}
            return answers.facets(opened.select(filters), others, with_values=not _is_strict())

        return _answer(told)

    @blueprint.route("/coverage")
    @blueprint.arguments(CoverageQuerySchema, location="query", error_status_code=400)
    @blueprint.response(200, CoverageSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "coverage", 403, security=OPTIONAL_BEARER)
    def coverage(query: dict[str, Any]) -> Response:
        """Count rows for each day, or for each day and home.

        Where days are too many, each column is a week, a month, a year or a century.
        """
        filters: Filters = query["filters"]
        if query["by"] == "day":
            return _answer(lambda opened: answers.coverage_by_day(opened.select(filters)))
        if _is_strict():
            raise Forbidden("With strict privacy, no home is told of alone; ask with by=day")
        asking = house().states.contents.asking
        return _answer(
            lambda opened: answers.coverage_by_home(opened.select(filters), asking.secret()), lasts=asking.has_lasting_names
        )

    @blueprint.route("/estimate")
    @blueprint.arguments(EstimateQuerySchema, location="query", error_status_code=400)
    @blueprint.response(200, EstimateSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "estimate", security=OPTIONAL_BEARER)
    def estimate(query: dict[str, Any]) -> Response:
        """Tell how many rows a download would have, which is exact, and how many bytes, which is a guess."""
        formats = known_formats(query["formats"] or list(FORMATS))
        return _answer(lambda opened: answers.estimate(opened, opened.select(query["filters"]), formats))

    @blueprint.route("/preview")
    @blueprint.arguments(PreviewQuerySchema, location="query", error_status_code=400)
    @blueprint.response(200, PreviewSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "preview", security=OPTIONAL_BEARER)
    def preview(query: dict[str, Any]) -> Response:
        """Give some rows of the newest day, as a download would give them: of as many homes as there are."""
        filters, limit, states = query["filters"], query["limit"], house().states

        def told(opened: Opened) -> bytes:
            selection = opened.select(filters)
            if (span := selection.span()) is None:
                return _preview(b"[]")
            of_day = replace(filters, since=span[1], until=span[1])
            keys = sorted(opened.select(of_day).home_keys())[:limit]
            with states.exports.peek(replace(of_day, keys=tuple(keys))) as batches:
                found = answers.preview_of(batches, len(keys), limit)
            return _preview(b"[]" if found is None else answers.json_rows(STATE_CHANGES.source(found.to_batches())))

        return _answer(told, lasts=states.contents.asking.has_lasting_names)

    @blueprint.route("/series")
    @blueprint.arguments(SeriesQuerySchema, location="query", error_status_code=400)
    @blueprint.response(200, SeriesSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "series", security=OPTIONAL_BEARER)
    def series(query: dict[str, Any]) -> Response:
        """Tell how the homes differ over time in one unit: percentiles of their means, for each interval.

        Rows are read for this: of the newest days, unless the filters name days.
        """
        every, settings, states = query["every"], house().settings.exports, house().states
        least_homes = settings.min_homes if _is_strict() else 1

        def told(opened: Opened) -> dict[str, Any]:
            filters: Filters = replace(query["filters"], units=(query["unit"],))
            if (span := opened.select(filters).span()) is None:
                return answers.series((), query["unit"], least_homes)
            first = max(span[0], span[1] - timedelta(days=_MOST_DAYS[every] - 1))
            chosen = replace(filters, since=max(first, filters.since or first), until=span[1])
            with states.exports.peek(chosen, Aggregation(every)) as batches:
                return answers.series(batches, query["unit"], least_homes)

        return _answer(told)


def _answer(tell: Callable[[Opened], Any], *also: object, lasts: bool = True) -> Response:
    """Answer with what `tell` finds in the lake. lasts: the same question has the same answer until the lake changes."""
    count_request("export")
    admit_reader()
    told, opened = house().states.contents.answer(tell)
    is_written = isinstance(told, bytes)
    response = Response(told, content_type="application/json") if is_written else json_response(told)
    response.headers["Cache-Control"] = "no-cache"
    if opened.incomplete is not None:
        response.headers["X-Incomplete"] = opened.incomplete
    if lasts:
        response.set_etag("-".join([opened.tag, *map(str, also)]))
        response.make_conditional(request)
    return response


def _preview(rows: bytes) -> bytes:
    return b'{"columns":%s,"rows":%s}' % (msgspec.json.encode(ROWS.names), rows.strip())


def _is_strict() -> bool:
    return house().settings.exports.privacy == "strict"

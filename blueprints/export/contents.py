"""What is in the lake, before anything is downloaded: the same filters, and the same privacy, as a download has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from smarthouse_api.states.contents import answers
from smarthouse_api.states.contents.questions import Questions
from smarthouse_api.states.contents.service import Opened
from smarthouse_api.states.records.schema import ROWS


def add_contents(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of Export."""

    @blueprint.route("/overview")
    @blueprint.response(200, OverviewSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "overview", security=OPTIONAL_BEARER)
    def overview() -> Response:
        """Tell how much is in the lake.

        Counts are exact for the version of the lake that they name, and made without reading its rows.
        """
        questions = _questions()
        return _answer(
            lambda opened: questions.overview(opened, questions.waiting()), tag=lambda answer: f"-{answer['waiting']}"
        )

    @blueprint.route("/facets")
    @blueprint.arguments(FiltersSchema, location="query", error_status_code=400)
    @blueprint.response(200, FacetsSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "facets", security=OPTIONAL_BEARER)
    def facets(query: dict[str, Any]) -> Response:
        """Count rows and homes for each type, unit and device class.

        The counts of types ignore the filter `types`, and so on: they tell what another choice would find.
        """
        questions = _questions()
        return _answer(lambda opened: questions.facets(opened, query["filters"]))

    @blueprint.route("/coverage")
    @blueprint.arguments(CoverageQuerySchema, location="query", error_status_code=400)
    @blueprint.response(200, CoverageSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "coverage", 403, security=OPTIONAL_BEARER)
    def coverage(query: dict[str, Any]) -> Response:
        """Count rows for each day, or for each day and home.

        Where days are too many, each column is a week, a month, a year or a century.
        """
        filters, questions = query["filters"], _questions()
        if query["by"] == "day":
            return _answer(lambda opened: answers.coverage_by_day(opened.select(filters)))
        if questions.is_strict:
            raise Forbidden("With strict privacy, no home is told of alone; ask with by=day")
        return _answer(lambda opened: questions.coverage_by_home(opened.select(filters)), lasts=_names_last())

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
        """Give some rows of the newest days, as a download would give them: spread over homes, types and entities."""
        filters, limit, questions = query["filters"], query["limit"], _questions()
        return _answer(lambda opened: _preview(questions.preview(opened, filters, limit)), lasts=_names_last())

    @blueprint.route("/series")
    @blueprint.arguments(SeriesQuerySchema, location="query", error_status_code=400)
    @blueprint.response(200, SeriesSchema, headers=CONTENTS_HEADERS)
    @problems(blueprint, "series", security=OPTIONAL_BEARER)
    def series(query: dict[str, Any]) -> Response:
        """Tell how the homes differ over time in one unit: percentiles of their means, for each interval.

        Rows are read for this: of the newest days, unless the filters name days.
        """
        filters, unit, every, questions = query["filters"], query["unit"], query["every"], _questions()
        return _answer(lambda opened: questions.series(opened, filters, unit, every))


def _answer(tell: Callable[[Opened], Any], *, lasts: bool = True, tag: Callable[[Any], str] = lambda _: "") -> Response:
    """Answer with what `tell` finds in the lake.

    lasts: the same question has the same answer until the lake changes, or what `tag` gives of the answer.
    """
    count_request("export")
    admit_reader()
    told, opened = house().states.contents.answer(tell)
    is_written = isinstance(told, bytes)
    response = Response(told, content_type="application/json") if is_written else json_response(told)
    response.headers["Cache-Control"] = "no-cache"
    if opened.incomplete is not None:
        response.headers["X-Incomplete"] = opened.incomplete
    if lasts:
        response.set_etag(f"{opened.tag}{tag(told)}")
        response.make_conditional(request)
    return response


def _preview(rows: bytes) -> bytes:
    return b'{"columns":%s,"rows":%s}' % (msgspec.json.encode(ROWS.names), rows)


def _questions() -> Questions:
    return house().states.questions


def _names_last() -> bool:
    return house().states.contents.asking.has_lasting_names

"""Export: the lake as datasets fit for CKAN."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from blueprints.byte_ranges import KNOWN, PART, PART_HEADERS
from blueprints.current_request import count_request, house
from blueprints.dialects import problems
from blueprints.export.contents import add_contents
from blueprints.export.jobs import add_jobs, kept_response
from blueprints.export.jobs_schemas import FILE_HEADERS, VersionQuerySchema
from blueprints.export.readers import admit_reader, note
from blueprints.export.releases import add_releases
from blueprints.export.schemas import EMPTY, FORMAT, HEADERS, ZIP, DownloadSchema, known_formats
from blueprints.openapi import OPTIONAL_BEARER
from blueprints.parameters import refuse_unknown
from blueprints.responses import closed_when_sent, empty_response, file_response, until_broken
from smarthouse_api.arrow.times import time_text
from smarthouse_api.errors import Invalid
from smarthouse_api.serving.apart import Opened
from smarthouse_api.states.export.metadata import Since
from smarthouse_api.states.jobs.views import NOTHING, NOTHING_NEW

blueprint = Blueprint("Export", __name__, url_prefix="/api/export", description="Download what the homes sent, as a dataset")
blueprint.before_request(refuse_unknown)
add_contents(blueprint)
add_jobs(blueprint)
add_releases(blueprint)

PART_OF_KEPT = {**HEADERS, **FILE_HEADERS, **PART_HEADERS}


@blueprint.route("/formats")
@blueprint.response(200, {"type": "string", "example": "json, csv, xml"}, content_type="text/plain")
@problems(blueprint, "available_formats")
def formats() -> Response:
    """List the formats of this API's first generation."""
    return Response("json, csv, xml", content_type="text/plain; charset=utf-8")


@blueprint.route("/dataset")
@blueprint.arguments(VersionQuerySchema, location="query", error_status_code=400)
@blueprint.response(200, **ZIP, description="The dataset, zipped", headers=HEADERS)
@blueprint.alt_response(204, description="No row passes the filters", headers=EMPTY)
@blueprint.alt_response(206, **ZIP, description="The requested bytes, if the dataset is kept", headers=PART_OF_KEPT)
@blueprint.alt_response(304, description="The client has these bytes already")
@problems(blueprint, "data_extraction", 404, 410, 416, parameters=[*PART, KNOWN], security=OPTIONAL_BEARER)
def dataset(query: dict[str, Any]) -> Response:
    """Download a dataset in one or several formats, or a version that is kept."""
    return download(query["formats"], query) if query["version"] is None else _version(query["version"])


@blueprint.route("/<format>", parameters=[FORMAT])
@blueprint.arguments(DownloadSchema, location="query", error_status_code=400)
@blueprint.response(200, **ZIP, description="The dataset, zipped", headers=HEADERS)
@blueprint.alt_response(204, description="No row passes the filters", headers=EMPTY)
@blueprint.alt_response(206, **ZIP, description="The requested bytes, if the dataset is kept", headers=PART_OF_KEPT)
@blueprint.alt_response(304, description="The client has these bytes already")
@problems(blueprint, "export_format", 410, 416, parameters=[*PART, KNOWN], security=OPTIONAL_BEARER)
def one_format(query: dict[str, Any], format: str) -> Response:
    """Download a dataset in one format."""
    return download([format], query)


def download(names: list[str], query: dict[str, Any]) -> Response:
    """Answer with a dataset. names: of its formats. query: as `DownloadSchema` reads it. Raises as an export does."""
    count_request("export")
    key, states = admit_reader(), house().states
    # Before the export is opened: what reaches the lake in between is in it, too.
    as_of = {} if query["fresh"] else {"X-As-Of": time_text(states.uploads.held_until())}
    formats, options = known_formats(names), {name: query[name] for name in ("metadata", "fresh", "aggregation")}
    request_ = states.jobs.request(query["filters"], formats, **options, since=(version := query["since"]))
    if (kept := states.jobs.files.equal(request_)) is not None:
        return kept_response(kept, key, as_of, is_the_only_one=False)
    since = None if version is None else Since(version, states.jobs.continuing.note(version))
    asked = {**options, "aggregation": request_.aggregation, "since": since}
    extract = house().open_export(formats, request_.filters, **asked)
    if extract is None:
        response = _empty(NOTHING if since is None else NOTHING_NEW)
    else:
        response = closed_when_sent(extract.close, partial(_file, extract))
    response.headers.update(as_of)
    if since is not None and since.note is not None:
        response.headers["X-Since-Note"] = since.note
    if key is not None:
        response.call_on_close(note(key, extract))
    return response


def _file(extract: Opened) -> Response:
    response = file_response(until_broken("an export", iter(extract)), "application/zip", extract.file_name)
    if extract.incomplete is not None:
        response.headers["X-Incomplete"] = extract.incomplete
    return response


def _version(version: str) -> Response:
    count_request("export")
    key = admit_reader()
    if len(request.args) > 1:
        raise Invalid("version: it names a dataset with its filters and formats; give it alone")
    kept = house().states.jobs.files.open(version)
    return _empty(NOTHING) if kept is None else kept_response(kept, key, {})


def _empty(reason: str) -> Response:
    return empty_response(headers={"X-Empty-Reason": reason})

"""Releases: figures of many homes together, one file for each month, which need no key where the operator opens them to all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from flask import Response
from flask.views import MethodView
from flask_smorest import Blueprint
from marshmallow import Schema, fields

from blueprints import path_segments
from blueprints.byte_ranges import KNOWN, PART, PART_HEADERS, ranged_response
from blueprints.current_request import count_request, house
from blueprints.dialects import problems
from blueprints.export.jobs_schemas import FILE_HEADERS
from blueprints.export.readers import admit_to_releases, releases_need_key
from blueprints.export.schemas import ZIP
from blueprints.hosts import url_of
from blueprints.openapi import OPTIONAL_BEARER, TIME, path_parameter
from blueprints.responses import json_response
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.states.releases import Release

MONTH = path_parameter("month", "The month, in UTC", "2026-03")


class ReleaseSchema(Schema):
    """Describes one release."""

    month = fields.String(required=True, metadata={"description": "The month that it covers, in UTC", "example": "2026-03"})
    every = fields.String(required=True, metadata={"description": "The length of its intervals", "example": "1h"})
    least_homes = fields.Integer(required=True, metadata={"description": "Each row is of at least so many homes"})
    rows = fields.Integer(required=True, metadata={"description": "The number of rows of each file in the zip"})
    bytes = fields.Integer(required=True, metadata={"description": "The size of the zip"})
    version = fields.String(required=True, metadata={"description": "Names these very bytes, as the file's `ETag` does"})
    made_at = fields.String(required=True, metadata={**TIME, "description": "When it was made"})
    url = fields.String(required=True, metadata={"description": "Where the zip is", "format": "uri-reference"})


class ReleaseListSchema(Schema):
    """Lists the releases, the newest month first."""

    releases = fields.List(fields.Nested(ReleaseSchema), required=True)


def add_releases(blueprint: Blueprint) -> None:
    """Add the views to the blueprint of Export."""

    @blueprint.route("/releases")
    class AllReleases(MethodView):
        @blueprint.response(200, ReleaseListSchema)
        @problems(blueprint, "list_releases", security=OPTIONAL_BEARER)
        def get(self) -> Response:
            """List the figures of many homes together, a file for each month.

            Where `SMARTHOUSE_EXPORT_ACCESS` is `open` or `tiers`, no key is needed. No row is of one home alone.
            """
            count_request("export")
            admit_to_releases()
            return json_response({"releases": [told(one) for one in house().states.releases.list()]})

    @path_segments.route(blueprint, "/releases/<segment:month>", parameters=[MONTH])
    @blueprint.response(200, **ZIP, description="The release, zipped", headers=FILE_HEADERS)
    @blueprint.alt_response(206, **ZIP, description="The requested bytes", headers={**FILE_HEADERS, **PART_HEADERS})
    @blueprint.alt_response(304, description="The client has these bytes already")
    @problems(blueprint, "download_release", 404, 410, 416, parameters=[*PART, KNOWN], security=OPTIONAL_BEARER)
    def file_of_release(month: str) -> Response:
        """Download the release of a month, or a range of its bytes, which are the same each time."""
        count_request("export")
        admit_to_releases()
        release, blocks = house().states.releases.open(month)

        def body(first: int, last: int | None) -> Iterator[bytes]:
            return blocks.read(first, release.size_bytes if last is None else last + 1)

        return ranged_response("a release", release.version, release.size_bytes, release.file_name, "application/zip", body)


def open_releases() -> list[Release] | None:
    """List the releases if no key is needed for them; None if one is."""
    return None if releases_need_key() else house().states.releases.list()


def told(release: Release) -> dict[str, Any]:
    """Describe a release as the document does."""
    return {
        "month": release.month,
        "every": release.every,
        "least_homes": release.least_homes,
        "rows": release.rows,
        "bytes": release.size_bytes,
        "version": release.version,
        "made_at": seconds_text(datetime.fromtimestamp(release.made_at, UTC)),
        "url": url_of("Export.file_of_release", month=release.month),
    }

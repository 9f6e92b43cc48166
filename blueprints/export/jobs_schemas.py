"""What export jobs take and give, as the document of Export describes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import url_for
from marshmallow import Schema, fields

from blueprints.export.schemas import INCOMPLETE, NOTE, DatasetQuerySchema
from blueprints.idempotency import REPLAYED_HEADERS
from blueprints.openapi import TIME, header, path_parameter
from smarthouse_api.arrow.times import seconds_text
from smarthouse_api.states.jobs.views import JobView

JOB = path_parameter("job_id", "The job, as `Location` names it", "2c6e0b9d8a5f4c1e9b7a3d6f0e1c2b4a")
JOB_HEADERS = {"Location": header("URL of the job", format="uri-reference"), **REPLAYED_HEADERS}
FOUND_HEADERS = {"Location": header("URL of the file at the object store; it expires in five minutes and needs no key")}
FILE_HEADERS = {
    "Content-Disposition": header("The file name"),
    "ETag": header("Identifies exactly these bytes"),
    "Accept-Ranges": header("Always `bytes`"),
    **INCOMPLETE,
    **NOTE,
}


class JobQuerySchema(DatasetQuerySchema):
    """Selects the rows of a dataset that is made by a job, and its formats."""

    bare = fields.Boolean(
        load_default=False,
        metadata={"description": "Make the file of one format and no zip, such as Parquet that an engine reads by its URL"},
    )

    def read(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**super().read(data), "is_bare": data["bare"]}


class VersionQuerySchema(DatasetQuerySchema):
    """Selects a dataset by its filters and formats, or one that is kept by its version."""

    version = fields.String(
        metadata={"description": "Give the very bytes of this version, while its file is kept; no other parameter goes with it"}
    )

    def read(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**super().read(data), "version": data.get("version")}


def _count(description: str, **options: Any) -> fields.Field[Any]:
    return fields.Integer(metadata={"description": description}, **options)


def _time(description: str) -> fields.Field[Any]:
    return fields.String(allow_none=True, metadata={**TIME, "description": description})


class JobSchema(Schema):
    """Tells of a job: how far it is, and what came of it."""

    id = fields.String(metadata={"description": "Anyone who knows it can read the job, where rows need no key"})
    state = fields.String(
        metadata={
            "enum": ["waiting", "running", "done", "failed", "cancelled", "expired"],
            "description": "`expired`: the file is gone; `detail` says why",
        }
    )
    formats = fields.List(fields.String())
    rows = _count("Number of rows that are made so far")
    rows_in_all = _count("Number of rows that there will be; null while that is not known", allow_none=True)
    bytes = _count("Size of the file, or of what is made for it so far")
    fraction = fields.Float(
        allow_none=True,
        metadata={
            "description": "Share of the rows that are made, of the parts while `rows_in_all` is null; 1 once the file is there"
        },
    )
    detail = fields.String(
        allow_none=True,
        metadata={"description": "Why it failed, is tried again, was begun anew, or has no file; or that it is nearly there"},
    )
    created = _time("When it was asked for")
    finished = _time("When the file was made")
    expires = _time("When the file is removed")
    version = fields.String(allow_none=True, metadata={"description": "Names the dataset, once it is made"})
    since = fields.String(allow_none=True, metadata={"description": "The version that it continues; null if it has all rows"})
    citation = fields.String(allow_none=True, metadata={"description": "How to cite the dataset"})
    file = fields.String(
        allow_none=True, metadata={"format": "uri-reference", "description": "Path of the file; null: no file"}
    )


def _time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def told(view: JobView) -> dict[str, Any]:
    """Write a job as `JobSchema` describes it."""
    return {
        "id": view.id,
        "state": view.state,
        "formats": view.formats,
        "rows": view.rows,
        "rows_in_all": view.rows_in_all,
        "bytes": view.bytes,
        "fraction": view.fraction,
        "detail": view.told,
        "created": seconds_text(_time_of(view.created_at)),
        "finished": None if view.finished_at is None else seconds_text(_time_of(view.finished_at)),
        "expires": None if view.expires_at is None else seconds_text(_time_of(view.expires_at)),
        "version": view.version,
        "since": view.since,
        "citation": view.citation,
        "file": url_for(".file", job_id=view.id) if view.has_file else None,
    }

"""Errors and keys, as each API's document describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from apispec import BasePlugin
from marshmallow import Schema, fields

from blueprints import dialects, envelope
from blueprints.datasets.schemas import EnvelopeSchema

_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before the next try"}}
_ERROR_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Accepted authentication schemes"}},
    416: {"Content-Range": {"schema": {"type": "string"}, "description": "The total number of bytes"}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
_WHAT_WAS_WRONG = "What was wrong, and what would be right"
_KEYS = {
    "ModeCloud": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`ModeCloud <key>`"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "`Bearer <key>`, with the same key"},
}


class ProblemSchema(Schema):
    """Describes an error of Ingest and Export, as `application/problem+json`."""

    type = fields.String(metadata={"example": "about:blank"})
    title = fields.String(metadata={"description": "The kind of error", "example": "Bad Request"})
    status = fields.Integer(metadata={"description": "The HTTP status", "example": 400})
    detail = fields.String(metadata={"description": _WHAT_WAS_WRONG})


class FaultSchema(Schema):
    """Describes an error of the Stream Data Store."""

    reason = fields.String(metadata={"description": "A code for programs", "example": "INVALID_PARAMETER"})
    message = fields.String(metadata={"description": _WHAT_WAS_WRONG})


class CodedErrorSchema(Schema):
    """Describes an error of data sources."""

    error = fields.String(metadata={"description": "A code for programs", "example": "validation_error"})
    message = fields.String(metadata={"description": _WHAT_WAS_WRONG})


class ErrorSchema(Schema):
    """Describes an error of datasets: its code for programs, and what was wrong."""

    code = fields.String(metadata={"example": "DATASET_NOT_FOUND"})
    message = fields.String(metadata={"example": "Dataset with id not found"})
    trace = fields.String(metadata={"description": "Always empty", "example": ""})


class EnvelopedErrorSchema(EnvelopeSchema):
    """Describes an error of datasets, in Obsrv's envelope."""

    result = fields.Dict(metadata={"description": "Always empty", "example": {}})
    error = fields.Nested(ErrorSchema)


@dataclass(frozen=True)
class ErrorDocument:
    """Describes the errors of one API: their schema, an example for each status, and the ways to send a key."""

    schema: type[Schema]
    example: Callable[[HTTPStatus], dict[str, Any]]
    content_type: str = "application/json"
    keys: tuple[str, ...] = ("Bearer",)


def _problem(status: HTTPStatus) -> dict[str, Any]:
    return {"type": "about:blank", "title": status.phrase, "status": status, "detail": _WHAT_WAS_WRONG}


def _enveloped(status: HTTPStatus) -> dict[str, Any]:
    code = dialects.response_code_of(status)
    return {
        "id": "api.data.in",
        "ver": envelope.VERSION,
        "ts": "2024-05-30T18:05:48+00:00",
        "params": {"status": "FAILED", "resmsgid": "acf07609-77de-4ab5-81ea-42e41b8b95ff"},
        "responseCode": code,
        "result": {},
        "error": {"code": code, "message": _WHAT_WAS_WRONG, "trace": ""},
    }


_PROBLEMS = ErrorDocument(ProblemSchema, _problem, "application/problem+json", ())
_DIALECTS = {
    "Ingest": ErrorDocument(ProblemSchema, _problem, "application/problem+json"),
    "Export": ErrorDocument(ProblemSchema, _problem, "application/problem+json"),
    "Streams": ErrorDocument(
        FaultSchema,
        lambda status: {"reason": dialects.reason_of(status), "message": _WHAT_WAS_WRONG},
        keys=("ModeCloud", "Bearer"),
    ),
    "Datasources": ErrorDocument(
        CodedErrorSchema, lambda status: {"error": dialects.code_of(status), "message": _WHAT_WAS_WRONG}
    ),
    "Datasets": ErrorDocument(EnvelopedErrorSchema, _enveloped),
}
"""By the name of the API; `_PROBLEMS` for the others."""
_COUNTED = ("Ingest", "Export", "Datasources", "Datasets")
"""The APIs that count the requests of an address, and refuse too many."""


class CommonErrors(BasePlugin):
    """Adds to each operation the errors that all operations of its kind may answer, so that a view names only its own."""

    def __init__(self, api: str) -> None:
        self._api = api

    def operation_helper(self, path: str | None = None, operations: dict[str, Any] | None = None, **_: Any) -> None:
        for method, operation in (operations or {}).items():
            responses = operation["responses"]
            told = {str(int(status)) for status in responses}
            for status in sorted(self._common(path or "", method, operation)):
                if str(status) not in told:
                    responses[str(status)] = HTTPStatus(status).name

    def _common(self, path: str, method: str, operation: dict[str, Any]) -> set[int]:
        of_kinds = {
            (400, 500, 503): True,
            (401, 403): any(operation.get("security", ())),
            (403,): method != "get",  # a page of another origin may change nothing
            (404,): "{" in path,
            (408, 413): "requestBody" in operation,
            # Ingest takes a body of any type and coding, and keeps what it does not understand.
            (415,): "requestBody" in operation and self._api != "Ingest",
            (429,): self._api in _COUNTED,
        }
        return {status for statuses, may_be in of_kinds.items() if may_be for status in statuses}


def document_errors(spec: Any, api: str) -> None:
    """Add to the document of an API what its views refer to: each error in the API's dialect, and the ways to send a key."""
    dialect = _DIALECTS.get(api, _PROBLEMS)
    named = {status.name: (status, status.phrase) for status in HTTPStatus if status >= 400}
    for name, (status, description) in named.items():
        content = {dialect.content_type: {"schema": dialect.schema, "example": dialect.example(status)}}
        headers = {"headers": _ERROR_HEADERS[status]} if status in _ERROR_HEADERS else {}
        spec.components.response(name, {"description": description, "content": content, **headers}, lazy=True)
    for name in dialect.keys:
        spec.components.security_scheme(name, _KEYS[name])

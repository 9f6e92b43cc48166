"""Parts of OpenAPI documents that several APIs describe alike: parameters in paths, JSON bodies, keys."""

from __future__ import annotations

from typing import Any, Final

BEARER: Final[list[dict[str, list[str]]]] = [{"Bearer": []}]
"""Documents that a request needs `Authorization: Bearer <key>`."""
OPTIONAL_BEARER: Final[list[dict[str, list[str]]]] = [*BEARER, {}]
"""Documents that a request may need a key: the data source, the dataset or a setting says whether it does."""

BINARY: Final = {"type": "string", "format": "binary"}
FREE_OBJECT: Final = {"type": "object", "additionalProperties": True}
"""Any JSON object. Without the second member, clients are generated that take only `{}`."""
TIME: Final = {"type": "string", "format": "date-time", "example": "2026-03-01T12:34:56.123456Z"}


def path_parameter(name: str, description: str, example: str | int) -> dict[str, Any]:
    """Describe a segment of the path: a number if its example is one, else a text."""
    kind = {"type": "string"} if isinstance(example, str) else {"type": "integer", "format": "int64", "minimum": 0}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": kind, "example": example}


def header_parameter(name: str, description: str, **described: Any) -> dict[str, Any]:
    """Describe an optional header of a request."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
        **described,
    }


def header(description: str, **schema: Any) -> dict[str, Any]:
    """Describe a header of an answer."""
    return {"description": description, "schema": {"type": "string", **schema}}


def json_body(schema: Any, example: Any, *, required: bool = True, **described: str) -> dict[str, Any]:
    """Describe the body of a request that brings JSON."""
    return {**described, "required": required, "content": {"application/json": {"schema": schema, "example": example}}}

"""Responses that several APIs give: JSON, no content."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answers with JSON, written directly: to dump it by its schema would take as long as storing an upload does."""
    return Response(msgspec.json.encode(body), status, headers, content_type="application/json")


def empty_response(status: int = 204, headers: dict[str, str] | None = None) -> Response:
    """Answers without a body, and without a content type."""
    empty = Response(status=status, headers=headers)
    del empty.headers["Content-Type"]
    return empty

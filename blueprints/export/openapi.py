"""Parameters, contents and headers of Export as the document describes them."""

from __future__ import annotations

from smarthouse_api.arrow.formats import FORMATS

FORMAT = {
    "name": "format",
    "in": "path",
    "required": True,
    "description": f"{', '.join(FORMATS)}; upper or lower case",
    "schema": {"type": "string"},
    "example": "csv",
}
ZIP = {"schema": {"type": "string", "format": "binary"}, "content_type": "application/zip"}
HEADERS = {"Content-Disposition": {"schema": {"type": "string"}, "description": "The file name"}}
EMPTY = {"X-Empty-Reason": {"schema": {"type": "string"}, "description": "Why the answer is empty"}}

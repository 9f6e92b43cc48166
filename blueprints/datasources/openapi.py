"""Parameters and bodies of data sources as the document describes them."""

from __future__ import annotations

from typing import Any

from blueprints.records import NEXT, documented_content

SECURITY: list[dict[str, list[str]]] = [{"Bearer": []}]
DATASOURCE_ID = {
    "name": "datasource_id",
    "in": "path",
    "required": True,
    "description": "Id or alias of the data source",
    "schema": {"type": "string"},
    "example": "67890",
}
_RECORD = {"timestamp": "2025-01-01T12:00:00Z", "metric": "temperature", "value": 22.5}
BODY: dict[str, Any] = {
    "required": True,
    "description": (
        "The records should follow one schema: the data source's own, if it has one. A time with an offset is converted to "
        "UTC. A time without an offset is taken as UTC, with a warning."
    ),
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["datasource_id", "data"],
                "properties": {
                    "datasource_id": {"type": "string", "minLength": 1, "description": "Id or alias of the data source"},
                    "data": {"type": "array", "minItems": 1, "items": {"type": "object"}, "description": "The records"},
                },
            },
            "example": {"datasource_id": "67890", "data": [_RECORD]},
        }
    },
}
READ = documented_content(
    {
        "datasource_id": {"type": "string", "example": "67890"},
        "records": {"type": "array", "items": {"type": "object"}},
        "next": NEXT,
    }
)
"""What a reading answers, by media type."""

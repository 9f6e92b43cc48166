"""What data sources take and give, as their document describes it."""

from __future__ import annotations

from marshmallow import Schema, fields

from blueprints.openapi import FREE_OBJECT, json_body, path_parameter
from blueprints.records import RECORDS, documented_content

DATASOURCE_ID = path_parameter("datasource_id", "Id or alias of the data source", "67890")
BODY = {
    "required": True,
    "description": (
        "The records should follow one schema: the data source's own, if it has one. A time with an offset is converted to "
        "UTC. A time without an offset is taken as UTC, with a warning."
    ),
    **json_body(
        {
            "type": "object",
            "required": ["datasource_id", "data"],
            "properties": {
                "datasource_id": {"type": "string", "minLength": 1, "description": "Id or alias of the data source"},
                "data": {"type": "array", "minItems": 1, "items": FREE_OBJECT, "description": "The records"},
            },
        },
        {"datasource_id": "67890", "data": [{"timestamp": "2025-01-01T12:00:00Z", "metric": "temperature", "value": 22.5}]},
    ),
}
READ = documented_content({"datasource_id": {"type": "string", "example": "67890"}, **RECORDS})
"""What a reading answers, by media type."""


class InsertedSchema(Schema):
    """Tells a sender how many of its records were stored."""

    message = fields.String(metadata={"example": "Data successfully inserted"})
    inserted_rows = fields.Integer(metadata={"description": "Number of records stored; duplicates do not count", "example": 1})
    warnings = fields.List(
        fields.String(), metadata={"description": "Warnings about records that were stored nevertheless; absent if none"}
    )

"""What data sources give."""

from __future__ import annotations

from marshmallow import Schema, fields


class InsertedSchema(Schema):
    """The outcome of an insertion."""

    message = fields.String(metadata={"example": "Data successfully inserted"})
    inserted_rows = fields.Integer(metadata={"description": "Number of records stored; duplicates do not count", "example": 1})
    warnings = fields.List(
        fields.String(), metadata={"description": "Warnings about records that were stored nevertheless; absent if none"}
    )

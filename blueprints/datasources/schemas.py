"""What data sources give."""

from __future__ import annotations

from marshmallow import Schema, fields


class InsertedSchema(Schema):
    """What became of the records."""

    message = fields.String(metadata={"example": "Data successfully inserted"})
    inserted_rows = fields.Integer(
        metadata={"description": "How many records were stored; fewer than were sent where some came before", "example": 1}
    )
    warnings = fields.List(
        fields.String(), metadata={"description": "What is amiss with records that were stored all the same; absent for none"}
    )

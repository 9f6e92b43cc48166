"""What Ingest takes and gives."""

from __future__ import annotations

from flask import request
from marshmallow import Schema, fields

from smarthouse_api.errors import Invalid
from smarthouse_api.states.homes import normalised_uuid
from smarthouse_api.states.uploads import MESSAGE


class ReceiptSchema(Schema):
    """What happened to an upload."""

    message = fields.String(metadata={"example": MESSAGE})
    id = fields.String(metadata={"description": "Of the stored payload; random", "example": "4f8a1c0e6d5b4b0f9a7e3c2d1b0a9f8e"})
    records = fields.Integer(metadata={"description": "State changes that became records", "example": 4})
    ignored = fields.Integer(metadata={"description": "Entries without the shape of a state; kept raw only", "example": 0})
    duplicate = fields.Boolean(metadata={"description": "The same bytes came before from this home, and are kept once"})
    detail = fields.String(metadata={"description": "Why a body gave no records; only then"})


class ForgottenSchema(Schema):
    """The answer to a deletion, whether the home was known or not."""

    message = fields.String(metadata={"example": "Data successfully deleted"})


def home_uuid() -> str:
    """The request's home, normalised. Both spellings of the header reach WSGI as one, joined by a comma if both were sent."""
    given = request.headers.get("Home-UUID")
    if given is None:
        raise Invalid("The header Home-UUID (or Home_UUID) is missing; it must hold the home's UUID")
    named = {normalised_uuid(text) for text in given.split(",")}
    if len(named) > 1:
        raise Invalid("Home-UUID and Home_UUID name different homes; send one of them, or the same in both")
    return named.pop()

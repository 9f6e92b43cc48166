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
    id = fields.String(
        metadata={"description": "Random id of the stored upload", "example": "4f8a1c0e6d5b4b0f9a7e3c2d1b0a9f8e"}
    )
    records = fields.Integer(metadata={"description": "State changes recognised in the upload", "example": 4})
    ignored = fields.Integer(
        metadata={"description": "Entries that are not states; only their raw bytes are kept", "example": 0}
    )
    duplicate = fields.Boolean(metadata={"description": "`true` if this home sent the same bytes before"})
    detail = fields.String(metadata={"description": "Why the upload gave no records; otherwise absent"})


class ForgottenSchema(Schema):
    """The answer to a deletion, whether the home was known or not."""

    message = fields.String(metadata={"example": "Data successfully deleted"})


def home_uuid() -> str:
    """Reads which home a request is of: its UUID, normalised. Raises `Invalid`.

    Both spellings of the header reach WSGI as one, joined by a comma if both were sent.
    """
    given = request.headers.get("Home-UUID")
    if given is None:
        raise Invalid("The header Home-UUID (or Home_UUID) is missing; it must hold the home's UUID")
    named = {normalised_uuid(text) for text in given.split(",")}
    if len(named) > 1:
        raise Invalid("Home-UUID and Home_UUID name different homes; send one of them, or the same in both")
    return named.pop()

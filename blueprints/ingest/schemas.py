"""What Ingest takes and gives, as its document describes it."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from blueprints import home_uuid
from blueprints.ingest.receipts_schemas import RECEIPT_ID
from blueprints.openapi import BINARY, FREE_OBJECT, TIME, header, json_body
from blueprints.parameters import QuerySchema, TrueOrFalseField
from smarthouse_api.states.uploads import MESSAGE

HOME_UUID = {
    "name": "Home-UUID",
    "in": "header",
    "required": True,
    "description": "The home's UUID, its deletion secret. `Home_UUID` is accepted too.",
    "schema": home_uuid.UUID,
    "example": home_uuid.EXAMPLE,
}
EXAMPLE: dict[str, list[dict[str, Any]]] = {
    "sensor.living_room_temperature": [
        {
            "entity_id": "sensor.living_room_temperature",
            "state": "21.5",
            "attributes": {"unit_of_measurement": "°C", "device_class": "temperature", "state_class": "measurement"},
            "last_changed": "2026-03-01T12:34:56.123456+00:00",
            "last_updated": "2026-03-01T12:34:56.123456+00:00",
        }
    ]
}
BODY = {
    "required": True,
    "description": "The home's data, stored as it comes: states in any shape of Home Assistant; plain, zlib, gzip or zstd.",
    "content": {
        "application/json": {"schema": FREE_OBJECT, "example": EXAMPLE},
        "application/octet-stream": {"schema": BINARY},
    },
}


class ReceiptSchema(Schema):
    """Tells a client what became of its upload."""

    message = fields.String(metadata={"example": MESSAGE})
    id = fields.String(
        metadata={"description": "Random id of the stored upload", "example": "4f8a1c0e6d5b4b0f9a7e3c2d1b0a9f8e"}
    )
    records = fields.Integer(metadata={"description": "State changes recognised in the upload", "example": 4})
    ignored = fields.Integer(
        metadata={"description": "Entries that are not states; only their raw bytes are kept", "example": 0}
    )
    duplicate = fields.Boolean(metadata={"description": "`true` if this home sent the same bytes before"})
    detail = fields.String(metadata={"description": "What gave no record or has no time, and why; otherwise absent"})
    without_time = fields.Integer(
        metadata={"description": "Records without a readable time, filed by their arrival; absent if there are none"}
    )
    statistics = fields.Integer(
        metadata={"description": "Periods of long-term statistics recognised in the upload; absent if there are none"}
    )


class ForgottenSchema(Schema):
    """Confirms a deletion, in the same words whether the home was known or not."""

    message = fields.String(metadata={"example": "Data successfully deleted"})
    receipt = fields.String(
        metadata={
            "description": "Id of the receipt: `GET /api/ingest/receipts/{id}` tells what became of the home's bytes",
            "example": RECEIPT_ID,
        }
    )


class DeletionQuerySchema(QuerySchema):
    """Reads how a home is to be erased."""

    stop = TrueOrFalseField(
        "Object, too: only a keyed tag of the UUID is kept, and each later upload is a `410`, until the home consents anew"
    )


class HeldQuerySchema(QuerySchema):
    """Reads what is asked for about a home."""

    summary = TrueOrFalseField("Only tell how much is held, as JSON")


_AGREEMENT: dict[str, Any] = {
    "terms": {"type": "string", "example": "1.0"},
    "tier": {"type": "string", "example": "rows"},
    "at": TIME,
}
_CONSENT = {
    "type": "object",
    "nullable": True,
    "description": "What the home agrees to now, and every version that it agreed to, the newest last; null if it never did",
    "properties": {**_AGREEMENT, "versions": {"type": "array", "items": {"type": "object", "properties": _AGREEMENT}}},
}


class HeldSchema(Schema):
    """Tells how much is held about a home; zeros and nulls for a home that is not known."""

    records = fields.Integer(metadata={"description": "States and periods of statistics in the uploads", "example": 4})
    entities = fields.Integer(metadata={"description": "Entities that have rows", "example": 2})
    uploads = fields.Integer(metadata={"description": "Uploads whose bytes are kept", "example": 1})
    bytes = fields.Integer(metadata={"description": "Their bytes, as they came", "example": 512})
    expired_uploads = fields.Integer(metadata={"description": "Uploads whose bytes were deleted for their age", "example": 0})
    first = fields.Raw(
        metadata={**TIME, "nullable": True, "description": "When the first upload arrived that was stored; no time of a state"}
    )
    last = fields.Raw(
        metadata={**TIME, "nullable": True, "description": "When the last upload arrived that was stored; no time of a state"}
    )
    streams = fields.Integer(metadata={"description": "Streams that are linked with the home", "example": 0})
    collections = fields.Integer(
        metadata={"description": "Data sources and datasets that may hold records that name the home", "example": 0}
    )
    consent = fields.Raw(metadata=_CONSENT)
    objected = fields.Boolean(metadata={"description": "Whether uploads are refused, because the home objected"})


ZIP = {"schema": BINARY, "content_type": "application/zip"}
HELD_HEADERS = {
    "Content-Disposition": header("The name of the file", example="attachment; filename=smarthouse_home_2026-03-02.zip"),
    "Content-Length": header("The size of the zip in bytes"),
    "ETag": header("Identifies exactly these bytes"),
    "Accept-Ranges": header("`bytes`: parts can be asked for", example="bytes"),
}

_NAME = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,19}$"}
_TERMS, _TIER = {"terms": "1.0", "tier": "rows"}, "What the home agreed to under these terms, by the operator's own word"
CONSENT_BODY = json_body(
    {"type": "object", "required": ["terms", "tier"], "properties": {"terms": _NAME, "tier": _NAME}},
    _TERMS,
    description="The version of the terms, and what the home agrees to: words of up to 20 letters, digits, `.`, `_`, `-`",
)


def _word() -> fields.String:
    words = "must be a word of 1 to 20 letters, digits, '.', '_' or '-', and begin with a letter or a digit"
    rule = validate.Regexp(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,19}\Z", error=words)
    told: dict[str, Any] = {"required": f"is missing; it {words}", "null": words, "invalid": words}
    return fields.String(required=True, validate=rule, error_messages=told)


class ConsentSchema(Schema):
    """Reads what a home agrees to."""

    class Meta:
        unknown = RAISE

    terms = _word()
    tier = _word()


class AgreedSchema(Schema):
    """Confirms a consent, in the same words for every home."""

    message = fields.String(metadata={"example": "Consent recorded"})
    terms = fields.String(metadata={"description": "Version of the terms that the home agreed to", "example": "1.0"})
    tier = fields.String(metadata={"description": _TIER, "example": "rows"})
    at = fields.Raw(metadata={**TIME, "description": "When it agreed to that first"})

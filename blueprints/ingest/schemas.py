"""What Ingest takes and gives, as its document describes it."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from blueprints.ingest.receipts_schemas import RECEIPT_ID
from blueprints.openapi import BINARY, FREE_OBJECT
from smarthouse_api.states.uploads import MESSAGE

HOME_UUID = {
    "name": "Home-UUID",
    "in": "header",
    "required": True,
    "description": "The home's UUID, its deletion secret. `Home_UUID` is accepted too.",
    # A pattern: of `format: uuid` openapi-python-client makes an object that it then cannot send in a header.
    "schema": {"type": "string", "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"},
    "example": "6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11",
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

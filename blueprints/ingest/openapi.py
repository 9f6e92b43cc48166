"""Parameters and bodies of Ingest as the document describes them."""

from __future__ import annotations

from typing import Any

HOME_UUID = {
    "name": "Home-UUID",
    "in": "header",
    "required": True,
    "description": "The home's UUID, its deletion secret. `Home_UUID` is accepted too.",
    "schema": {"type": "string", "format": "uuid"},
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
    "description": "The home's data, stored as it comes: lists of states by entity; plain, zlib, gzip or zstd.",
    "content": {
        "application/json": {"schema": {"type": "object"}, "example": EXAMPLE},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}

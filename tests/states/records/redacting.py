"""Rows of the lake, made private for a test."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from smarthouse_api.arrow.numbers import read_numbers
from smarthouse_api.states.records.entities import identify
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.records.schema import STATES
from smarthouse_api.states.records.sorting import encoded

NOW = datetime(2022, 6, 20, 12, 34, 56, tzinfo=UTC)
SECRET = b"a secret of the deployment"


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    """Rows as the lake holds them. `attributes` is an object; the unit and the class are taken from it."""
    return pa.RecordBatch.from_pylist([_row(**row) for row in rows], STATES)


def _row(entity_id: str, state: str = "on", attributes: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    found = attributes or {}
    whole = {
        "day": NOW.date(),
        "bucket": 0,
        "home": "k1",
        "received": NOW,
        "time": NOW,
        "last_changed": NOW,
        "last_updated": NOW,
    }
    read = {"type": identify(entity_id)[0], "value": read_numbers(pa.array([state], pa.string()))[0].as_py()}
    labels = {"unit": found.get("unit_of_measurement"), "device_class": found.get("device_class")}
    return {**whole, **read, **labels, "entity_id": entity_id, "state": state, "attributes": json.dumps(found), **rest}


def redacted(redactor: Redactor, rows: pa.RecordBatch) -> pa.RecordBatch:
    whole = encoded([rows])
    assert whole is not None
    return redactor(redactor.named(whole))


def published(*rows: dict[str, Any], secret: bytes = SECRET, **rules: Any) -> list[dict[str, Any]]:
    return redacted(Redactor(secret, **rules), batch(*rows)).to_pylist()

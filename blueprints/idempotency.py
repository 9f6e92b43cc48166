"""Idempotency keys: a request that a client repeats is done once, and answered alike each time."""

from __future__ import annotations

import hashlib

from flask import request

from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import Invalid

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A repeat with the same key gets the first answer again, with `Idempotency-Replayed: true`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

REPLAYED_HEADERS = {
    "Idempotency-Replayed": {
        "description": "`true` if this is the answer to an earlier request; otherwise absent",
        "schema": {"type": "string"},
    }
}


def repeated(who: str, body: bytes) -> RequestKey | None:
    """What makes the request known again: its `Idempotency-Key`, who sent it and for what, and a digest of it.

    Raises `Invalid` for a key that is none.
    """
    # Read directly: a schema would take a tenth of the time that storing takes.
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= 255:
        raise Invalid("Idempotency-Key: must be 1 to 255 characters long")
    return RequestKey(f"{who}/{request.method} {request.endpoint}/{key}", digest_of(body))


def replay(replayed: bool) -> dict[str, str]:
    """The header of an answer that was given before."""
    return {"Idempotency-Replayed": "true"} if replayed else {}


def digest_of(body: bytes) -> str:
    """A digest of what a request says: its content type, query and body."""
    parts = (request.headers.get("Content-Type", "").encode(), request.query_string, body)
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()

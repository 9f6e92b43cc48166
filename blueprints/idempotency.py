"""Idempotency keys: a request that a client repeats is done once, and answered alike each time."""

from __future__ import annotations

import hashlib

from flask import request

from blueprints.openapi import header, header_parameter
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import Invalid

IDEMPOTENCY_KEY = header_parameter(
    "Idempotency-Key",
    "A repeat with the same key gets the first answer again, with `Idempotency-Replayed: true`.",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
)

REPLAYED_HEADERS = {"Idempotency-Replayed": header("`true` if this is the answer to an earlier request; otherwise absent")}


def sent_key() -> str | None:
    """Read the key that the client sent, as it is. A schema would take a tenth of the time that storing takes."""
    return request.headers.get("Idempotency-Key")


def request_key(sender: str, body: bytes) -> RequestKey | None:
    """Identify the request, so that a repeat is recognised; None if it has no `Idempotency-Key`.

    The key holds for one sender, an id, and for one method and endpoint. A digest of the request tells a repeat from another
    request under the same key. Raises `Invalid` for a key that is empty or too long.
    """
    key = sent_key()
    if key is None:
        return None
    if not 0 < len(key) <= 255:
        raise Invalid("Idempotency-Key: must be 1 to 255 characters long")
    return RequestKey(f"{sender}/{request.method} {request.endpoint}/{key}", _digest_of(body))


def replayed_header(is_replayed: bool) -> dict[str, str]:
    """Tell a client that it gets the answer to an earlier request; no header otherwise."""
    return {"Idempotency-Replayed": "true"} if is_replayed else {}


def _digest_of(body: bytes) -> str:
    """Digest what a request says: its content type, query and body."""
    parts = (request.headers.get("Content-Type", "").encode(), request.query_string, body)
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()

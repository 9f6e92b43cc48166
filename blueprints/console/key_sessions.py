"""Sessions of people who signed in with a key. The key is looked up at each request: once it works no more, they are out."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from blueprints.console.sessions import current
from blueprints.current_request import house
from smarthouse_api.access import keys
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.access.sessions import Session


def begin(kind: str, text: str, require: Callable[[KeyRecord], None]) -> Session:
    """Begin a session for the key with this text. Raises `Unauthorized`, and what `require` raises."""
    key, proof = shown(text)
    require(key)
    return house().sessions.begin(kind, key.id, proof)


def shown(text: str) -> tuple[KeyRecord, str]:
    """Find the key with this text, and what proves later that it was this one. Raises `Unauthorized`."""
    authorization = f"Bearer {text.strip()}"
    return house().access.authenticate(authorization), keys.digest_in(authorization).hex()


def find(kind: str) -> tuple[Session, KeyRecord] | None:
    """Find the session of the request and its key, which still works, with the very secret."""
    if (session := current(kind)) is None or (key := recognised(session.said.who, session.said.proof)) is None:
        return None
    return session, key


def recognised(id_: str, proof: str) -> KeyRecord | None:
    """Find a key again by its id and what `shown` gave; None if it works no more."""
    digest = bytes.fromhex(proof)
    return house().access.recognise(id_, lambda kept: hmac.compare_digest(kept, digest))

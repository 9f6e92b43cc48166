"""What requests with an `Idempotency-Key` were told, for a while: `reply/<digest>` in a stream's space."""

from __future__ import annotations

from hashlib import sha256
from typing import TypeVar

import msgspec

from backends.ports import Put, StateStore
from smarthouse_api.errors import KeyReused
from smarthouse_api.streams.model import RequestKey, Stream
from smarthouse_api.streams.space import space_of

Told = TypeVar("Told")


class Replies:
    """seconds: how long each is remembered."""

    def __init__(self, state: StateStore, seconds: float) -> None:
        self._state, self._seconds = state, seconds

    def earlier(self, stream: Stream, request_key: RequestKey, kind: type[Told]) -> Told | None:
        """What the same request was told before. Raises `KeyReused` when it was another under the same key."""
        found = self._state.get(space_of(stream.key), name_of(request_key))
        if found is None:
            return None
        digest, told = msgspec.json.decode(found.value)
        if digest != request_key.digest:
            raise KeyReused("This Idempotency-Key came before with another request; use a new key for a new request")
        return msgspec.convert(told, kind)

    def put(self, request_key: RequestKey, told: object) -> Put:
        """What remembers it; to be committed with what was done, on condition that there is none."""
        value = msgspec.json.encode((request_key.digest, told))
        return Put(name_of(request_key), value, self._seconds)


def name_of(request_key: RequestKey) -> str:
    """The document's name, which says nothing of the key."""
    return f"reply/{sha256(request_key.key.encode()).hexdigest()}"

"""What requests with an `Idempotency-Key` were told, for a while: `reply/<digest>` in the space of what they changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import msgspec

from backends.ports import Put, StateStore
from smarthouse_api.errors import KeyReused

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """An `Idempotency-Key`. key: with who sent it, and for what. digest: of the request, which a repeat must have too."""

    key: str
    digest: str


class Replies:
    """seconds: how long each is remembered."""

    def __init__(self, state: StateStore, seconds: float) -> None:
        self._state, self._seconds = state, seconds

    def earlier(self, space: str, request_key: RequestKey, read: Callable[[bytes], tuple[str, Told]]) -> Told | None:
        """What the same request was told before. Raises `KeyReused` when it was another under the same key."""
        found = self._state.get(space, name_of(request_key))
        if found is None:
            return None
        digest, told = read(found.value)
        if digest != request_key.digest:
            raise KeyReused("This Idempotency-Key came before with another request; use a new key for a new request")
        return told

    def put(self, request_key: RequestKey, told: object) -> Put:
        """What remembers it; to be committed with what was done, on condition that there is none."""
        value = msgspec.json.encode((request_key.digest, told))
        return Put(name_of(request_key), value, self._seconds)


def reader_of(kind: type[Told]) -> Callable[[bytes], tuple[str, Told]]:
    """Reads what was told; to be made at import."""
    return msgspec.json.Decoder(tuple[str, kind]).decode  # type: ignore[valid-type]  # the kind is the caller's


def name_of(request_key: RequestKey) -> str:
    """The document's name, which says nothing of the key."""
    return f"reply/{sha256(request_key.key.encode()).hexdigest()}"

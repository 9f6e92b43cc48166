"""The space of its own that each stream has in the state store, so that a store that shards keeps all of it together."""

from __future__ import annotations

from typing import Final

import msgspec

from smarthouse_api.streams.model import Owner

BORN: Final = "stream"
"""The document of a stream's own space that is there from its creation to its deletion, and never changes."""

HEAD: Final = "head"
"""Another, that says where the stream stands."""

LEASE: Final = "lease"
"""The sign of life of the stream's owner, as long as there is one."""


def space_of(stream_key: str) -> str:
    """The state space of one stream."""
    return f"stream-{stream_key}"


class Open(msgspec.Struct, frozen=True):
    """An open session. start: the index that was the next one when it was opened."""

    id: str
    start: int
    owner: Owner
    timeout_seconds: float


class Head(msgspec.Struct, frozen=True, array_like=True):
    """next: the index after the highest ever given. packets, bytes: ever appended. last_us: when the last came."""

    next: int = 0
    packets: int = 0
    bytes: int = 0
    last_us: int | None = None
    open: Open | None = None

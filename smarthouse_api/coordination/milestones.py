"""Milestones: when something that an operator does from time to time was last done, such as a backup, and how it ended.

In the state store, space `milestones`: a document for each kind. It names no place, which may hold a password, and no home.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from backends.ports import StateStore

_SPACE: Final = "milestones"
_DECADE_SECONDS: Final = 10 * 365 * 86400.0  # a full store takes only what expires


class Milestone(msgspec.Struct, frozen=True):
    """Tells when something was done last, in seconds since 1970, and some figures of it, by their names."""

    at: float
    figures: dict[str, int]


_milestone = msgspec.json.Decoder(Milestone).decode


class Milestones:
    """Keeps the last milestone of each kind."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def note(self, kind: str, **figures: int) -> None:
        """Note that something was done just now."""
        value = msgspec.json.encode(Milestone(time.time(), figures))
        self._state.put(_SPACE, kind, value, ttl_seconds=_DECADE_SECONDS)

    def last(self) -> dict[str, Milestone]:
        """Return the last milestones by their kinds."""
        return {kind: _milestone(document.value) for kind, document in self._state.scan_all(_SPACE)}

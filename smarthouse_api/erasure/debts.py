"""What is still owed to forgotten homes: a purge at a time, and a scrub of the state store's files.

Both marks are in the state store, space `homes`, until they are paid. So another process does it if this one dies.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Final

from backends.ports import Change, Conflict, Put, StateStore
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.states.homes import SPACE

_DUE = "purge-due"
_OWED = "scrub-owed"

OWED_SCRUB: Final = Put(_OWED, b"", FOR_GOOD_SECONDS)
"""Asks for a scrub, in the commit that erases."""


class Debts:
    """Remembers what is owed. Raises `StoreError` as the state store does."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def due(self) -> float:
        """Tell when the purge that was asked for is due, in seconds by the store's clock; infinity if none was."""
        mark = self._state.get(SPACE, _DUE)
        return math.inf if mark is None else float(mark.value)

    def ask_for_purge(self, when: float, *, owed: bool = False) -> int:
        """Ask for a purge at a time; return the version of the mark. owed: a scrub has failed, too."""
        # It expires in the end: a full store takes only what expires, and forgetting makes room.
        puts = [Put(_DUE, str(when).encode(), FOR_GOOD_SECONDS), *([OWED_SCRUB] if owed else [])]
        return self._state.commit(SPACE, Change(puts=tuple(puts))).version

    def purged(self, version: int) -> None:
        """Remove the mark of a purge, unless a newer one stands: another home was forgotten meanwhile."""
        with suppress(Conflict):
            self._state.commit(SPACE, Change(expect={_DUE: version}, deletes=(_DUE,)))

    def is_scrub_owed(self) -> bool:
        """Tell whether files of the state store may hold bytes of what was erased, although no document does."""
        return self._state.get(SPACE, _OWED) is not None

    def scrub(self) -> None:
        """Scrub the state store's files, and remove the mark, unless more was erased meanwhile."""
        owed = self._state.get(SPACE, _OWED)
        self._state.scrub()
        if owed is not None:
            with suppress(Conflict):
                self._state.commit(SPACE, Change(expect={_OWED: owed.version}, deletes=(_OWED,)))

"""The round in which housekeepers look at all collections for what is pending. It may take several turns, and is one for all of
them: the document `round` of the catalogue's space says after which collection it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from backends.ports import StateStore
from smarthouse_api.collections.catalogue import SPACE, next_slice
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.progress import Progress
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.collections.trimming import Trimming

_ROUND: Final = "round"
_ROUND_SECONDS: Final = 3600.0
_AT_ONCE: Final = 64
_MOST_IDLE: Final = 512
_HELD_SECONDS: Final = 60.0


class Looking:
    """trimming: is told of topics that keep too much."""

    def __init__(self, state: StateStore, table: CollectionsTable, progress: Progress, trimming: Trimming) -> None:
        self._state, self._table, self._progress, self._trimming = state, table, progress, trimming
        self._after = self._saved = ""
        self._held = dict[str, int]()
        self._held_at = float("-inf")

    def begin(self) -> None:
        """Go on where a turn has ended, whosever that was."""
        found = self._state.get(SPACE, _ROUND)
        self._after = self._saved = "" if found is None else found.value.decode()

    def end(self) -> None:
        """From here the next turn goes on."""
        if self._after != self._saved:
            # Not for ever, because a full store takes only what passes.
            self._state.put(SPACE, _ROUND, self._after.encode(), ttl_seconds=_ROUND_SECONDS)
            self._saved = self._after

    def look_at_lake(self) -> None:
        """Learn, now and then, what the lake holds: a state store that has lost its last moments may know of less."""
        if time.monotonic() - self._held_at >= _HELD_SECONDS:
            snapshot = self._table.open()
            self._held = {} if snapshot is None else self._table.held(snapshot)
            self._held_at = time.monotonic()

    def gather(self, is_over: Callable[[], bool]) -> tuple[list[Collection], bool]:
        """The next that have something pending, about as many as one commit is for; and whether this turn should look further.

        It should not at the end of the round, nor where so many had nothing that looking alone would keep the stores busy.
        """
        pending, idle = list[Collection](), 0
        while len(pending) < _AT_ONCE and idle < _MOST_IDLE:
            some, self._after = next_slice(self._state, self._after)
            found = [one for one in some if self._is_pending(one)]
            pending += found
            idle += len(some) - len(found)
            if not self._after:
                return pending, False
            if is_over():
                break
        return pending, idle < _MOST_IDLE

    def _is_pending(self, one: Collection) -> bool:
        taken = self._progress.taken(one)
        self._trimming.note(one, taken)
        return max(self._progress.last(one), self._held.get(one.key, 0)) > taken.sequence

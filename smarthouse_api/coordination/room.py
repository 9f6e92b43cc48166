"""Room: whether the stores have enough of it left for what clients send.

Forgetting, deleting and reading need some room, too. So what clients send is refused before the stores are full.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Final

from backends.ports import ObjectStore, StateStore, StoreError
from smarthouse_api.coordination.troubles import Trouble
from smarthouse_api.errors import NoRoom

log = logging.getLogger(__name__)

_LOOKED_SECONDS: Final = 1.0


class Room:
    """Refuses what clients send while a store has less room than the floor. It asks the stores once a second at most.

    floor_bytes: 0 refuses nothing.
    """

    def __init__(self, state: StateStore, objects: ObjectStore, floor_bytes: int) -> None:
        self._stores, self._floor = (state, objects), floor_bytes
        self._looking = threading.Lock()
        self._looks_at, self._is_short = float("-inf"), False
        self._trouble = Trouble(log, logging.WARNING, "The stores have room again, and take what is sent")

    def check(self) -> None:
        """Raise `NoRoom` while there is too little room."""
        if not self._floor:
            return
        # One thread looks; the others go by what the last look has found.
        if time.monotonic() >= self._looks_at and self._looking.acquire(blocking=False):
            try:
                self._is_short = any(free is not None and free < self._floor for free in self.free())
                self._looks_at = time.monotonic() + _LOOKED_SECONDS
                if not self._is_short:
                    self._trouble.over()
            finally:
                self._looking.release()
        if self._is_short:
            self._trouble.met(f"What is sent is refused: a store has less than {self._floor} bytes free")
            raise NoRoom(
                f"The storage has less than {self._floor} bytes free, and takes nothing new until it has more. Reading and"
                " erasing go on; repeat the request later"
            )

    def free(self) -> list[int | None]:
        """Return how much room the state store and the object store have; None for one that does not tell or answer."""
        return [_free(store) for store in self._stores]


def _free(store: StateStore | ObjectStore) -> int | None:
    with suppress(StoreError):
        return store.free_bytes()
    return None

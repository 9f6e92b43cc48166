"""Quotas: how many bytes of records each collection took, and all together.

In each collection's space stands the counter `stored`: the bytes of all entries that its topic ever had, and of the dead
letters that there are. It changes in the commit that stores them, which is refused if it would pass the quota. What an earlier
version stored is not counted.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from backends.counters import numbers_of
from backends.ports import Add, StateStore
from config.groups import GrowthSettings
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.model import Collection
from smarthouse_api.coordination.troubles import Trouble
from smarthouse_api.errors import NoRoom, TooLarge

STORED: Final = "stored"

_LOOK_SECONDS: Final = 2.0
_SHARE_OF_TIME: Final = 50
"""Adding up the counters of all collections may take this part of the time."""

log = logging.getLogger(__name__)


def counted(size: int, most: int = 0) -> tuple[Add, ...]:
    """Make what a commit adds that stores so many bytes, or removes them. most: the quota; 0: none."""
    return (Add(STORED, (size,), most or None),) if size else ()


def stored_bytes(state: StateStore, collection: Collection) -> int:
    """Return how many bytes of a collection are counted."""
    found = state.get(collection.space, STORED)
    return (*numbers_of(found.value if found else None), 0)[0]


class Quotas:
    """Holds collections to their quotas. That of all is known to a few seconds, and to what this process stored since."""

    def __init__(self, state: StateStore, catalogue: CollectionCatalogue, settings: GrowthSettings) -> None:
        self._state, self._catalogue, self._settings = state, catalogue, settings
        self._adding = threading.Lock()
        self._in_all, self._looks_at = 0, float("-inf")
        self._trouble = Trouble(log, logging.WARNING, "Records are taken again: the quota of all collections is not reached")

    def adds(self, size: int) -> tuple[Add, ...]:
        """Make what a commit adds that stores so many bytes; the commit fails if that passes the collection's quota."""
        return counted(size, self._settings.quota_collection_bytes)

    def check(self, collection: Collection, size: int) -> None:
        """Refuse so many bytes if they would pass the collection's quota. Raises `TooLarge`."""
        most = self._settings.quota_collection_bytes
        if most and stored_bytes(self._state, collection) + size > most:
            raise TooLarge(
                f"data: the service takes at most {most} bytes of records of one collection, and these would pass that; ask its"
                " operator"
            )

    def check_all(self) -> None:
        """Refuse what comes while all collections together have reached their quota. Raises `NoRoom`."""
        if not (most := self._settings.quota_collections_bytes):
            return
        # One thread looks; the others go by what the last look has found.
        if time.monotonic() >= self._looks_at and self._adding.acquire(blocking=False):
            try:
                began_at = time.monotonic()
                self._in_all = self.in_all()
                now = time.monotonic()
                self._looks_at = now + max(_LOOK_SECONDS, _SHARE_OF_TIME * (now - began_at))
            finally:
                self._adding.release()
        if self._in_all < most:
            self._trouble.over()
            return
        self._trouble.met("Records are refused, since all collections together have reached their quota")
        raise NoRoom(f"The service takes at most {most} bytes of records of all collections; repeat the request later")

    def note(self, size: int) -> None:
        """Note that this process has stored so many bytes."""
        self._in_all += size  # another thread's may be lost until the next look

    def in_all(self) -> int:
        """Add up what is counted of all collections."""
        return sum(stored_bytes(self._state, one) for one in self._catalogue.everything())

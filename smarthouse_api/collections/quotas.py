"""Quotas: how many bytes of records each collection keeps, and all together.

In the space of each collection:

    stored      counter: bytes of the records that the lake holds or that wait for it, of the dead letters, and of its homes
    dropping    a `Dropping`: what is about to leave the lake for its age

1. The counter rises in the commit that stores records, which is refused if that would pass the quota.
2. It sinks in the commit that removes dead letters, or records that wait. What leaves the lake is measured and noted before, in
   `dropping` or with the home that is forgotten, and is subtracted once it is gone. So a crash neither forgets nor repeats it.
3. A record counts for its JSON, the words of its fault, and `RECORD_BYTES`: the lake tells the same of it as its entry did.

Earlier versions counted what frames each request instead of `RECORD_BYTES`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import msgspec

from backends.counters import numbers_of
from backends.ports import Add, Change, Conflict, Put, StateStore
from config.groups import GrowthSettings
from smarthouse_api.collections.catalogue import BORN, CollectionCatalogue
from smarthouse_api.collections.model import RECORD_BYTES, Collection, read_entry
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.troubles import Trouble
from smarthouse_api.errors import NoRoom, TooLarge

STORED: Final = "stored"
DROPPING: Final = "dropping"

_LOOK_SECONDS: Final = 2.0
_SHARE_OF_TIME: Final = 50
"""Adding up the counters of all collections may take this part of the time."""

log = logging.getLogger(__name__)


def counted(size: int, most: int = 0) -> tuple[Add, ...]:
    """Make what a commit adds that stores so many bytes, or removes them. most: the quota; 0: none."""
    return (Add(STORED, (size,), most or None),) if size else ()


def size_of(entries: Iterable[bytes]) -> int:
    """Return what the records of a topic's entries count for. One that cannot be read counts for its bytes."""
    return sum(map(_size_of, entries))


def stored_bytes(state: StateStore, collection: Collection) -> int:
    """Return how many bytes of a collection are counted."""
    found = state.get(collection.space, STORED)
    return max((*numbers_of(found.value if found else None), 0)[0], 0)


class Dropping(msgspec.Struct, frozen=True):
    """Notes what is about to leave the lake: the records that came before a day, and what they count for."""

    before: str
    bytes: int


def begin_drop(state: StateStore, collection: Collection, dropping: Dropping) -> None:
    """Note what is about to leave the lake. Raises `Conflict` if the collection was deleted."""
    put = Put(DROPPING, msgspec.json.encode(dropping), FOR_GOOD_SECONDS)
    state.commit(collection.space, Change({BORN: collection.born}, (put,)))


def begun_drop(state: StateStore, collection: Collection) -> Dropping | None:
    """Return what was about to leave the lake when a process died, or what is about to now."""
    found = state.get(collection.space, DROPPING)
    return None if found is None else _read_dropping(found.value)


def end_drop(state: StateStore, collection: Collection) -> None:
    """Subtract what has left the lake. Repeatable."""
    if (found := state.get(collection.space, DROPPING)) is not None:
        expect = {BORN: collection.born, DROPPING: found.version}
        adds = counted(-_read_dropping(found.value).bytes)
        with suppress(Conflict):  # another process has done it, or the collection was deleted
            state.commit(collection.space, Change(expect, deletes=(DROPPING,), adds=adds))


def _size_of(value: bytes) -> int:
    try:
        entry = read_entry(value)
    except (msgspec.DecodeError, TypeError):
        return len(value)
    faults = sum(len(fault.encode()) for fault in entry.faults.values()) if entry.faults else 0
    return sum(map(len, entry.records)) + faults + RECORD_BYTES * len(entry.records)


_read_dropping = msgspec.json.Decoder(Dropping).decode


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
                f"data: the service keeps at most {most} bytes of records of one collection, and these would pass that; ask its"
                " operator"
            )

    def of(self, collection: Collection) -> tuple[int, int]:
        """Return how many bytes of a collection are counted, and how many may be; 0: any number."""
        return stored_bytes(self._state, collection), self._settings.quota_collection_bytes

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
        raise NoRoom(f"The service keeps at most {most} bytes of records of all collections; repeat the request later")

    def note(self, size: int) -> None:
        """Note that this process has stored so many bytes."""
        self._in_all += size  # another thread's may be lost until the next look

    def in_all(self) -> int:
        """Add up what is counted of all collections."""
        return sum(stored_bytes(self._state, one) for one in self._catalogue.everything())

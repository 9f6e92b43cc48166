"""The census: how many objects there are of each kind, and their bytes, counted about once an hour.

Counting lists all objects, which takes long where there are many. So it goes on in short turns, and its result is kept in the
state store, space `status`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from backends.ports import ObjectInfo, ObjectStore, StateStore
from smarthouse_api.arrow.times import LAST_US
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.states.raw import read_raw_name

_SPACE: Final = "status"
_DOCUMENT: Final = "census"
_LEASE: Final = "census"
_KEPT_SECONDS: Final = 30 * 86400.0
_EVERY_SECONDS: Final = 3600.0
_RAW: Final = "raw uploads"
_KINDS: Final = {
    "raw": _RAW,
    "packets": "packets",
    "damaged": "damaged files",
    "jobs": "export jobs",
    "archives": "homes' archives",
}
_OTHERS: Final = "others"
_LAKE: Final = "lake"


class Amount(msgspec.Struct):
    """Counts objects of one kind and their bytes."""

    objects: int = 0
    bytes: int = 0


class Census(msgspec.Struct, frozen=True):
    """Tells how much there was of each kind when the counting ended, in seconds since 1970.

    oldest_upload: when the first of the uploads came that are kept raw; None without any. state_bytes: what the state store
    took up then; None if it does not tell.
    """

    at: float
    kinds: dict[str, Amount]
    oldest_upload: float | None = None
    state_bytes: int | None = None


_decode = msgspec.json.Decoder(Census).decode


class Counting:
    """Takes the census: one process at a time, a part in each turn. tables: names of the lake's tables."""

    def __init__(self, state: StateStore, objects: ObjectStore, leases: Leases, tables: Sequence[str]) -> None:
        self._state, self._objects, self._leases, self._tables = state, objects, leases, tables
        self._under_way: Iterator[tuple[str, ObjectInfo]] | None = None
        self._counted = dict[str, Amount]()
        self._oldest_us: int | None = None

    def last(self) -> Census | None:
        """Return the last census; None before the first."""
        found = self._state.get(_SPACE, _DOCUMENT)
        return None if found is None else _decode(found.value)

    def go_on(self, is_over: Callable[[], bool]) -> None:
        """Begin to count if an hour has passed, and count until the turn `is_over`."""
        if self._under_way is None:
            if not self._leases.claim(_LEASE, _EVERY_SECONDS):
                return
            self._oldest_us = None
            self._counted = {kind: Amount() for kind in (*_KINDS.values(), _LAKE, _OTHERS)}
            self._under_way = chain(self._objects_by_kind(), self._lake_files())
        for kind, info in self._under_way:
            amount = self._counted[kind]
            amount.objects, amount.bytes = amount.objects + 1, amount.bytes + info.size_bytes
            if kind == _RAW and (raw := read_raw_name(info.key)) is not None:
                self._oldest_us = min(raw.arrival(info), self._oldest_us or LAST_US)
            if is_over():
                return
        self._under_way = None
        oldest = None if self._oldest_us is None else self._oldest_us / 1e6
        value = msgspec.json.encode(Census(time.time(), self._counted, oldest, self._state.size_bytes()))
        self._state.put(_SPACE, _DOCUMENT, value, ttl_seconds=_KEPT_SECONDS)

    def _objects_by_kind(self) -> Iterator[tuple[str, ObjectInfo]]:
        for info in self._objects.list():
            yield _KINDS.get(info.key.partition("/")[0], _OTHERS), info

    def _lake_files(self) -> Iterator[tuple[str, ObjectInfo]]:
        for name in self._tables:
            for info in self._objects.list_table(name):
                yield _LAKE, info

"""The census: how many objects there are of each kind, and their bytes, counted every few minutes, or about once an hour.

Counting lists all objects, which takes long where there are many. So it goes on in short turns, and the longer it took, the
later the next one begins. Its result is kept in the state store, space `status`.
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
_LEAST_SECONDS: Final = 300.0
_MOST_SECONDS: Final = 3600.0
_TIMES_AS_LONG: Final = 100.0
_RAW: Final = "raw uploads"
_KINDS: Final = {
    "raw": _RAW,
    "packets": "packets",
    "damaged": "damaged files",
    "jobs": "export jobs",
    "archives": "homes' archives",
    "releases": "releases",
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
    took up then; None if it does not tell. strangers: how many homes had raw uploads that the state did not know. rows: the
    files of the lake that held rows when its files were about to be counted; None in a census of an earlier version.
    """

    at: float
    kinds: dict[str, Amount]
    oldest_upload: float | None = None
    state_bytes: int | None = None
    strangers: int = 0
    rows: Amount | None = None


_decode = msgspec.json.Decoder(Census).decode


class Counting:
    """Takes the census: one process at a time, a part in each turn.

    tables: names of the lake's tables. strangers: finds those of the homes with raw uploads that the state does not know.
    live: measures the files of the lake that hold its rows now.
    """

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        leases: Leases,
        tables: Sequence[str],
        strangers: Callable[[set[str]], set[str]],
        live: Callable[[], Amount],
    ) -> None:
        self._state, self._objects, self._leases, self._tables, self._strangers = state, objects, leases, tables, strangers
        self._live, self._rows = live, Amount()
        self._under_way: Iterator[tuple[str, ObjectInfo]] | None = None
        self._counted = dict[str, Amount]()
        self._oldest_us: int | None = None
        self._homes, self._took_seconds = set[str](), 0.0

    def last(self) -> Census | None:
        """Return the last census; None before the first."""
        found = self._state.get(_SPACE, _DOCUMENT)
        return None if found is None else _decode(found.value)

    def go_on(self, is_over: Callable[[], bool]) -> None:
        """Begin to count if it is time, and count until the turn `is_over`."""
        if self._under_way is None:
            if not self._leases.claim(_LEASE, _MOST_SECONDS):
                return
            self._oldest_us, self._took_seconds = None, 0.0
            self._homes = set()
            self._counted = {kind: Amount() for kind in (*_KINDS.values(), _LAKE, _OTHERS)}
            self._under_way = chain(self._objects_by_kind(), self._lake_files())
        began_at = time.monotonic()
        is_all = self._count(self._under_way, is_over)
        self._took_seconds += time.monotonic() - began_at
        if is_all:
            self._under_way = None
            self._keep()

    def _count(self, under_way: Iterator[tuple[str, ObjectInfo]], is_over: Callable[[], bool]) -> bool:
        """Whether all is counted."""
        for kind, info in under_way:
            amount = self._counted[kind]
            amount.objects, amount.bytes = amount.objects + 1, amount.bytes + info.size_bytes
            if kind == _RAW and (raw := read_raw_name(info.key)) is not None:
                self._oldest_us = min(raw.arrival(info), self._oldest_us or LAST_US)
                self._homes.add(raw.home)
            if is_over():
                return False
        return True

    def _keep(self) -> None:
        oldest = None if self._oldest_us is None else self._oldest_us / 1e6
        strangers = len(self._strangers(self._homes))
        census = Census(time.time(), self._counted, oldest, self._state.size_bytes(), strangers, self._rows)
        value = msgspec.json.encode(census)
        self._state.put(_SPACE, _DOCUMENT, value, ttl_seconds=_KEPT_SECONDS)
        self._leases.prolong(_LEASE, min(max(_TIMES_AS_LONG * self._took_seconds, _LEAST_SECONDS), _MOST_SECONDS))

    def _objects_by_kind(self) -> Iterator[tuple[str, ObjectInfo]]:
        for info in self._objects.list():
            yield _KINDS.get(info.key.partition("/")[0], _OTHERS), info

    def _lake_files(self) -> Iterator[tuple[str, ObjectInfo]]:
        self._rows = self._live()
        for name in self._tables:
            for info in self._objects.list_table(name):
                yield _LAKE, info

"""Records that fail their collection's schema, set aside until somebody fixes, replays or discards them, or for a while.

Each is the document `aside/<id>` in the collection's space; ids rise with time. Whoever keeps house removes the old ones: a
document that timed out by itself would be let into a store that is full.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from backends.ports import Change, Conflict, Put, StateStore
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.collections.catalogue import look_for
from smarthouse_api.collections.checkers import Checkers
from smarthouse_api.collections.entries import Request, check_size
from smarthouse_api.collections.model import Collection
from smarthouse_api.coordination.attempts import until_settled
from smarthouse_api.errors import NotFound

_PAGE: Final = 50
_PAGE_BYTES: Final = 8 << 20
_ID: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}-[0-9]{6,}", re.ASCII)
_FIXED: Final = "It was fixed; replay it"


class AsideRecord(msgspec.Struct, frozen=True):
    """reason: why it is not stored, in words. msgid: of the request that it came with."""

    id: str
    record: dict[str, Any]
    reason: str
    received_at: datetime
    msgid: str | None = None


_record = msgspec.json.Decoder(AsideRecord).decode


class Aside:
    """seconds: how long a record is kept since it came. record_bytes: the largest, as JSON."""

    def __init__(self, state: StateStore, checkers: Checkers, *, seconds: float, record_bytes: int) -> None:
        self._state, self._checkers = state, checkers
        self._seconds, self._record_bytes = seconds, record_bytes

    def put(self, request: Request, index: int, record: dict[str, Any], reason: str) -> Put:
        """What sets a record of a request aside. Raises `TooLarge`."""
        check_size(record, self._record_bytes)
        id_ = f"{_ticks(request.at)}-{request.id[:8]}-{index:06d}"
        return _put(AsideRecord(id_, record, reason, request.at, request.message_id))

    def those(self, collection: Collection, ids: Sequence[str]) -> dict[str, tuple[AsideRecord, int]]:
        """By document, the records with these ids that are there, and the versions of their documents."""
        names = [name_of(id_) for id_ in ids]
        found = zip(names, self._state.get_many(collection.space, names), strict=True)
        return {name: (_record(one.value), one.version) for name, one in found if one is not None}

    def find(self, collection: Collection, id_: str) -> tuple[AsideRecord, int]:
        """The record and the version of its document. Raises `NotFound`."""
        found = self._state.get(collection.space, name_of(id_)) if _ID.fullmatch(id_) else None
        if found is None:
            raise NotFound(f"No record {id_[:60]!r} is set aside; it may have been replayed, discarded, or kept for too long")
        return _record(found.value), found.version

    def fix(self, collection: Collection, id_: str, record: dict[str, Any]) -> AsideRecord:
        """Put another in its place, to be replayed. Raises `NotFound`, `TooLarge`."""
        check_size(record, self._record_bytes)
        reason = self._checkers.faults_of(collection, [record]).get(0, _FIXED)
        return until_settled(lambda: self._fix(collection, id_, record, reason), "record")

    def discard(self, collection: Collection, id_: str) -> None:
        """Raises `NotFound`."""
        until_settled(lambda: self._discard(collection, id_), "record")

    def forget_old(self, collection: Collection) -> None:
        """Remove what has been kept for too long."""
        last = name_of(_ticks(datetime.now(UTC) - timedelta(seconds=self._seconds)))
        while some := [name for name, _ in self._state.scan(collection.space, name_of(""), limit=_PAGE) if name < last]:
            self._state.commit(collection.space, Change(deletes=tuple(some)))

    def commit(self, collection: Collection, change: Change) -> None:
        """Raises `Conflict`, and `NotFound` when the collection was deleted meanwhile."""
        try:
            self._state.commit(collection.space, change)
        except Conflict:
            look_for(self._state, collection)
            raise

    def _fix(self, collection: Collection, id_: str, record: dict[str, Any], reason: str) -> AsideRecord:
        before, version = self.find(collection, id_)
        after = msgspec.structs.replace(before, record=record, reason=reason)
        self.commit(collection, Change(expect={name_of(id_): version}, puts=(_put(after),)))
        return after

    def _discard(self, collection: Collection, id_: str) -> None:
        _, version = self.find(collection, id_)
        self.commit(collection, Change(expect={name_of(id_): version}, deletes=(name_of(id_),)))

    def list(self, collection: Collection, after: str = "", limit: int = 100) -> list[AsideRecord]:
        """Up to `limit` records that were set aside, the oldest first, after the one with that id; fewer of large ones."""
        found, size, name = list[AsideRecord](), 0, name_of(after) if after else ""
        while len(found) < limit and size < _PAGE_BYTES:
            page = self._state.scan(collection.space, name_of(""), name, min(_PAGE, limit - len(found)))
            if not page:
                break
            found += [_record(document.value) for _, document in page]
            size, name = size + sum(len(document.value) for _, document in page), page[-1][0]
        return found


def name_of(id_: str) -> str:
    """The document's."""
    return f"aside/{id_}"


def _put(record: AsideRecord) -> Put:
    return Put(name_of(record.id), msgspec.json.encode(record))


def _ticks(at: datetime) -> str:
    """Texts that are in the order of their times."""
    return f"{max(microseconds(at), 0):016x}"

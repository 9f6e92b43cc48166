"""Records that fail their collection's schema, set aside until somebody fixes, replays or discards them.

Each is the document `aside/<id>` in the collection's space, for a while; ids rise with time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

import msgspec

from backends.ports import ABSENT, Change, Conflict, Put, StateStore
from smarthouse_api.attempts import until_settled
from smarthouse_api.collections.catalogue import BORN, look_for
from smarthouse_api.collections.checkers import Checkers
from smarthouse_api.collections.entries import Request, check_size, entries
from smarthouse_api.collections.model import OFF, STRICT, TOPIC, Collection
from smarthouse_api.errors import NotFound
from smarthouse_api.lake.schema import EPOCH
from smarthouse_api.replies import Replies, RequestKey, reader_of

_PAGE: Final = 100
_ID: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}-[0-9]{6}", re.ASCII)
_FIXED: Final = "It was fixed; replay it"


class AsideRecord(msgspec.Struct, frozen=True):
    """reason: why it is not stored, in words. msgid: of the request that it came with."""

    id: str
    record: dict[str, Any]
    reason: str
    received_at: datetime
    msgid: str | None = None


_record = msgspec.json.Decoder(AsideRecord).decode


class Replayed(msgspec.Struct, frozen=True):
    """How many records were stored, and how many still fail. id: of the answer, a UUID.

    replayed: it is the first answer to the same `Idempotency-Key`.
    """

    id: str
    at: datetime
    stored: int
    left: int
    replayed: bool = False


_told = reader_of(Replayed)


class Aside:
    """seconds: how long a record is kept since it came, or was fixed. record_bytes: the largest, as JSON."""

    def __init__(self, state: StateStore, replies: Replies, checkers: Checkers, *, seconds: float, record_bytes: int) -> None:
        self._state, self._replies, self._checkers = state, replies, checkers
        self._seconds, self._record_bytes = seconds, record_bytes

    def put(self, request: Request, index: int, record: dict[str, Any], reason: str) -> Put:
        """What sets a record of a request aside. Raises `TooLarge`."""
        check_size(record, self._record_bytes)
        id_ = f"{(request.at - EPOCH) // timedelta(microseconds=1):016x}-{request.id[:8]}-{index:06d}"
        return self._put(AsideRecord(id_, record, reason, request.at, request.message_id))

    def fix(self, collection: Collection, id_: str, record: dict[str, Any]) -> AsideRecord:
        """Put another in its place, to be replayed. Raises `NotFound`, `TooLarge`."""
        check_size(record, self._record_bytes)
        reason = self._checkers.fault_of(collection, record) or _FIXED
        return until_settled(lambda: self._fix(collection, id_, record, reason), "record")

    def discard(self, collection: Collection, id_: str) -> None:
        """Raises `NotFound`."""
        until_settled(lambda: self._discard(collection, id_), "record")

    def replay(
        self, collection: Collection, ids: Sequence[str] | None = None, request_key: RequestKey | None = None
    ) -> Replayed:
        """Store those of the records, or with None of all, that pass the schema by now; the others stay, with their reason.

        Raises `NotFound` when there is none under one of the ids: then none is stored.
        """
        if request_key is not None:
            earlier = self._replies.earlier(collection.space, request_key, _told)
            if earlier is not None:
                return msgspec.structs.replace(earlier, replayed=True)
        if ids is not None:
            for id_ in ids:
                self._find(collection, id_)
        stored = left = 0
        for page in self._pages(collection, ids):
            some, others = until_settled(partial(self._replay, collection, page), "collection")
            stored, left = stored + some, left + others
        told = Replayed(str(uuid4()), datetime.now(UTC), stored, left)
        if request_key is not None:
            put = self._replies.put(request_key, told)
            with suppress(Conflict):  # of another who was told the same way
                self._state.commit(collection.space, Change(expect={BORN: collection.born, put.key: ABSENT}, puts=(put,)))
        return told

    def _pages(self, collection: Collection, ids: Sequence[str] | None) -> Iterator[list[str]]:
        """The ids in parts that one commit can take in."""
        if ids is not None:
            wanted = list(dict.fromkeys(ids))
            yield from (wanted[start : start + _PAGE] for start in range(0, len(wanted), _PAGE))
            return
        after = ""
        while page := self.list(collection, after, _PAGE):
            after = page[-1].id
            yield [one.id for one in page]

    def _replay(self, collection: Collection, ids: Sequence[str]) -> tuple[int, int]:
        """How many of these were stored, and how many still fail."""
        found = {f"aside/{id_}": self._state.get(collection.space, f"aside/{id_}") for id_ in ids}
        there = {name: (_decoded(one.value), one.version) for name, one in found.items() if one is not None}
        faults = self._faults(collection, [record.record for record, _ in there.values()])
        good = [name for index, name in enumerate(there) if collection.mode != STRICT or index not in faults]
        if good:
            told = {at: fault for at, fault in enumerate(map(faults.get, map([*there].index, good))) if fault is not None}
            request = Request(str(uuid4()), collection.id, datetime.now(UTC))
            kept = entries(request, [there[name][0].record for name in good], told, self._record_bytes)
            change = Change(
                expect={BORN: collection.born, **{name: there[name][1] for name in good}},
                deletes=tuple(good),
                appends=tuple((TOPIC, entry) for entry in kept),
            )
            self._commit(collection, change)
        return len(good), len(there) - len(good)

    def _faults(self, collection: Collection, records: list[dict[str, Any]]) -> dict[int, str]:
        return {} if collection.mode == OFF else self._checkers.faults_of(collection, records)

    def _fix(self, collection: Collection, id_: str, record: dict[str, Any], reason: str) -> AsideRecord:
        before, version = self._find(collection, id_)
        after = msgspec.structs.replace(before, record=record, reason=reason)
        change = Change(expect={f"aside/{id_}": version}, puts=(self._put(after),))
        self._commit(collection, change)
        return after

    def _discard(self, collection: Collection, id_: str) -> None:
        _, version = self._find(collection, id_)
        self._commit(collection, Change(expect={f"aside/{id_}": version}, deletes=(f"aside/{id_}",)))

    def _commit(self, collection: Collection, change: Change) -> None:
        """Raises `Conflict`, and `NotFound` when the collection was deleted meanwhile."""
        try:
            self._state.commit(collection.space, change)
        except Conflict:
            look_for(self._state, collection)
            raise

    def _find(self, collection: Collection, id_: str) -> tuple[AsideRecord, int]:
        found = self._state.get(collection.space, f"aside/{id_}") if _ID.fullmatch(id_) else None
        if found is None:
            raise NotFound(f"No record {id_[:60]!r} is set aside; it may have been replayed, discarded, or kept for too long")
        return _decoded(found.value), found.version

    def _put(self, record: AsideRecord) -> Put:
        return Put(f"aside/{record.id}", msgspec.json.encode(record), self._seconds)

    def list(self, collection: Collection, after: str = "", limit: int = 100) -> list[AsideRecord]:
        """Up to `limit` records that were set aside, the oldest first, after the one with that id."""
        found = self._state.scan(collection.space, "aside/", f"aside/{after}" if after else "", limit)
        return [_decoded(document.value) for _, document in found]


def _decoded(value: bytes) -> AsideRecord:
    return _record(value)

"""Records that were set aside, stored after all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import compress, count
from typing import Final
from uuid import uuid4

import msgspec

from backends.ports import ABSENT, Change, Conflict, StateStore
from smarthouse_api.collections.aside import Aside
from smarthouse_api.collections.catalogue import BORN
from smarthouse_api.collections.checkers import Checkers
from smarthouse_api.collections.entries import Request, entries
from smarthouse_api.collections.model import OFF, STRICT, TOPIC, Collection
from smarthouse_api.coordination.attempts import until_settled
from smarthouse_api.coordination.replies import Replies, RequestKey, reader_of
from smarthouse_api.errors import Invalid

_PAGE: Final = 100
_MOST: Final = 10_000


class Replayed(msgspec.Struct, frozen=True):
    """How many records were stored, and how many still fail. id: of the answer, a UUID. next: after which id to go on, if there
    are more. replayed: it is the first answer to the same `Idempotency-Key`.
    """

    id: str
    at: datetime
    stored: int
    left: int
    next: str | None = None
    replayed: bool = False


_told = reader_of(Replayed)


class Replaying:
    """record_bytes: the largest record, as JSON."""

    def __init__(self, state: StateStore, replies: Replies, aside: Aside, checkers: Checkers, *, record_bytes: int) -> None:
        self._state, self._replies, self._aside, self._checkers = state, replies, aside, checkers
        self._record_bytes = record_bytes

    def replay(
        self,
        collection: Collection,
        ids: Sequence[str] | None = None,
        *,
        after: str = "",
        request_key: RequestKey | None = None,
    ) -> Replayed:
        """Store those of the records, or with None of all after an id, that pass the schema by now, as new; the others stay.

        At most 10,000 are looked at. Raises `NotFound` when there is none under one of the ids: then none is stored; `Invalid`
        for more ids.
        """
        if request_key is not None:
            earlier = self._replies.earlier(collection.space, request_key, _told)
            if earlier is not None:
                return msgspec.structs.replace(earlier, replayed=True)
        stored = left = 0
        for page in self._all(collection, after) if ids is None else self._named(collection, ids):
            some, others = until_settled(partial(self._replay, collection, page), "collection")
            stored, left, after = stored + some, left + others, page[-1]
            if stored + left >= _MOST:
                break
        is_more = ids is None and stored + left >= _MOST
        told = Replayed(str(uuid4()), datetime.now(UTC), stored, left, after if is_more else None)
        if request_key is not None:
            put = self._replies.put(request_key, told)
            with suppress(Conflict):  # of another who was told the same way
                self._state.commit(collection.space, Change(expect={BORN: collection.born, put.key: ABSENT}, puts=(put,)))
        return told

    def _all(self, collection: Collection, after: str) -> Iterator[list[str]]:
        """Ids, as many as one commit takes in."""
        while page := [one.id for one in self._aside.list(collection, after, _PAGE)]:
            yield page
            after = page[-1]

    def _named(self, collection: Collection, ids: Sequence[str]) -> Iterator[list[str]]:
        wanted = [*dict.fromkeys(ids)]
        if len(wanted) > _MOST:
            raise Invalid(f"ids: there are {len(wanted)}; at most {_MOST} are replayed at a time")
        for id_ in wanted:
            self._aside.find(collection, id_)
        yield from (wanted[start : start + _PAGE] for start in range(0, len(wanted), _PAGE))

    def _replay(self, collection: Collection, ids: Sequence[str]) -> tuple[int, int]:
        """How many of these were stored, and how many still fail."""
        there = self._aside.those(collection, ids)
        records = [record.record for record, _ in there.values()]
        faults = {} if collection.mode == OFF else self._checkers.faults_of(collection, records)
        is_good = [collection.mode != STRICT or index not in faults for index in range(len(records))]
        good = dict(compress(there.items(), is_good))
        if good:
            marks = {at: faults[index] for at, index in enumerate(compress(count(), is_good)) if index in faults}
            request = Request(str(uuid4()), collection.id, datetime.now(UTC))
            kept = entries(request, [record.record for record, _ in good.values()], marks, self._record_bytes)
            change = Change(
                expect={BORN: collection.born, **{name: version for name, (_, version) in good.items()}},
                deletes=tuple(good),
                appends=tuple((TOPIC, entry) for entry in kept),
            )
            self._aside.commit(collection, change)
        return len(good), len(records) - len(good)

"""Dead letters: records that a strict schema refused, kept until somebody fixes, replays or discards them, or they expire.

Each is the document `aside/<id>` in the collection's space; ids rise with time. The chores remove the expired ones: a document
that expires by itself would be let into a full store.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final
from uuid import uuid4

import msgspec

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore
from config.groups import CollectionSettings
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.collections.catalogue import BORN, look_for
from smarthouse_api.collections.model import TOPIC, Collection, TopicEntry, check_size
from smarthouse_api.collections.quotas import counted, size_of
from smarthouse_api.collections.refused import DeadLetter, Refused, events_of, fault_of, replayed, why_left
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.errors import Invalid, NotFound, Unprocessable

LETTERS: Final = "aside/"
"""The documents of dead letters begin so."""

_PAGE: Final = 50
_PAGE_BYTES: Final = 8 << 20
_REPLAY_PAGE: Final = 100
_MOST_REPLAYED: Final = 10_000
_ID: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}-[0-9]{6,}", re.ASCII)


class Replayed(msgspec.Struct, frozen=True):
    """Tells a client what a replay did: how many records were stored, and how many still fail.

    id: of the answer, a UUID. next: if there are more, the id after which to go on. replayed: this is the first answer to the
    same `Idempotency-Key`.
    """

    id: str
    at: datetime
    stored: int
    left: int
    next: str | None = None
    replayed: bool = False


_decode = msgspec.json.Decoder(DeadLetter).decode
_REPLY: Final = pair_of(Replayed)


class DeadLetters:
    """Keeps dead letters: lists, fixes, discards and replays them, and removes those that have expired."""

    def __init__(self, state: StateStore, replies: Replies, settings: CollectionSettings) -> None:
        self._state, self._replies, self._settings = state, replies, settings

    def put(self, head: TopicEntry, index: int, one: Refused) -> Put:
        """Make a dead letter. index: its place among those of the request that `head` describes. Raises `TooLarge`."""
        check_size(one.record, self._settings.record_bytes)
        id_ = f"{_ticks(head.received_at)}-{head.id[:8]}-{index:06d}"
        return _put(DeadLetter(id_, one.record, one.reason, head.received_at, head.msgid, one.is_batch, head.home))

    def list(self, collection: Collection, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """List up to `limit` dead letters, the oldest first, after the one with that id; fewer of large ones."""
        found, size, name = list[DeadLetter](), 0, _name_of(after) if after else ""
        while len(found) < limit and size < _PAGE_BYTES:
            page = self._state.scan(collection.space, _name_of(""), name, min(_PAGE, limit - len(found)))
            if not page:
                break
            found += [_decode(document.value) for _, document in page]
            size, name = size + sum(len(document.value) for _, document in page), page[-1][0]
        return found

    def count(self, collection: Collection, most: int | None = None) -> int:
        """Count the dead letters of a collection; at most this many."""
        return sum(1 for _ in islice(self._state.scan_all(collection.space, _name_of("")), most))

    def get(self, collection: Collection, id_: str) -> DeadLetter:
        """Find a dead letter. Raises `NotFound`."""
        return self._find(collection, id_)[0]

    def fix(self, collection: Collection, id_: str, record: dict[str, Any]) -> DeadLetter:
        """Replace the record of a dead letter, so that it can be replayed. Raises `NotFound`, `TooLarge`."""
        check_size(record, self._settings.record_bytes)

        def attempt() -> DeadLetter:
            before, found = self._find(collection, id_)
            after = msgspec.structs.replace(before, record=record)
            after = msgspec.structs.replace(after, reason=fault_of(collection, after) or "It was fixed; replay it")
            put = _put(after)
            adds = counted(len(put.value) - len(found.value))
            self._commit(collection, Change(expect={put.key: found.version}, puts=(put,), adds=adds))
            return after

        return until_settled(attempt, "record")

    def store_fixed(self, collection: Collection, id_: str, record: dict[str, Any]) -> int:
        """Store a corrected record in the place of a dead letter, in one commit; how many records it gave.

        Raises `Unprocessable` if a replay would not store it, and leaves the dead letter as it is; `NotFound`, `TooLarge`.
        """

        def attempt() -> int:
            before, found = self._find(collection, id_)
            if (fault := self.fault_of_fixed(collection, before, record)) is not None:
                raise Unprocessable(f"The record still fails: {fault}")
            return self._store(collection, {_name_of(id_): found}, [msgspec.structs.replace(before, record=record)])

        return until_settled(attempt, "record")

    def fault_of_fixed(self, collection: Collection, letter: DeadLetter, record: dict[str, Any]) -> str | None:
        """Say why a corrected record could not be stored in the place of a dead letter. Raises `TooLarge`."""
        check_size(record, self._settings.record_bytes)
        return why_left(collection, msgspec.structs.replace(letter, record=record))

    def discard(self, collection: Collection, id_: str) -> None:
        """Erase a dead letter. Raises `NotFound`."""

        def attempt() -> None:
            _, found = self._find(collection, id_)
            change = Change({_name_of(id_): found.version}, deletes=(_name_of(id_),), adds=counted(-len(found.value)))
            self._commit(collection, change)

        until_settled(attempt, "record")

    def oldest(self, collection: Collection, most: int) -> tuple[int, str]:
        """Count the dead letters of a collection, at most this many, and name the last of those that were counted."""
        names = [name for name, _ in islice(self._state.scan_all(collection.space, _name_of("")), most)]
        return len(names), names[-1].removeprefix(LETTERS) if names else ""

    def discard_all(self, collection: Collection, until: str | None = None) -> int:
        """Erase the dead letters up to the one with an id, or those that have come before the call; how many."""
        return self._remove(collection, until or _ticks(datetime.now(UTC)))

    def remove_expired(self, collection: Collection) -> None:
        """Remove dead letters that are too old, one page after another."""
        self._remove(collection, _ticks(datetime.now(UTC) - timedelta(days=self._settings.aside_days)))

    def _remove(self, collection: Collection, until: str) -> int:
        last, count = _name_of(until), 0
        while some := [one for one in self._state.scan(collection.space, _name_of(""), limit=_PAGE) if one[0] <= last]:
            expect = {name: found.version for name, found in some}
            adds = counted(-sum(len(found.value) for _, found in some))
            with suppress(Conflict):  # some were fixed, replayed or discarded meanwhile
                self._state.commit(collection.space, Change(expect, deletes=tuple(expect), adds=adds))
                count += len(some)
        return count

    def replay(
        self,
        collection: Collection,
        ids: Sequence[str] | None = None,
        *,
        after: str = "",
        request_key: RequestKey | None = None,
    ) -> Replayed:
        """Store the records that pass the schema by now, as new ones; the others stay dead letters.

        ids: which to look at; None for all after an id. At most 10,000 are looked at. Raises `NotFound`, and stores
        none, if an id names no dead letter; `Invalid` for more ids, and for an `after` that is no id.
        """
        if after and not is_id(after):
            raise Invalid(f"after: {after[:40]!r} is not the id of a dead letter; give `next` of an earlier answer")
        if (earlier := self._replies.earlier(collection.space, request_key, _REPLY)) is not None:
            return earlier
        stored = left = 0
        for page in self._all(collection, after) if ids is None else self._named(collection, ids):
            some, others = until_settled(partial(self._replay, collection, page), "collection")
            stored, left, after = stored + some, left + others, page[-1]
            if stored + left >= _MOST_REPLAYED:
                break
        is_more = ids is None and stored + left >= _MOST_REPLAYED
        told = Replayed(str(uuid4()), datetime.now(UTC), stored, left, after if is_more else None)
        for put in self._replies.puts(request_key, told, _REPLY):
            with suppress(Conflict):  # of another who was told the same way
                self._state.commit(collection.space, Change(expect={BORN: collection.born, put.key: ABSENT}, puts=(put,)))
        return told

    def _all(self, collection: Collection, after: str) -> Iterator[Sequence[str]]:
        """Ids, as many as one commit takes in."""
        while page := [one.id for one in self.list(collection, after, _REPLAY_PAGE)]:
            yield page
            after = page[-1]

    def _named(self, collection: Collection, ids: Sequence[str]) -> Iterator[Sequence[str]]:
        wanted = [*dict.fromkeys(ids)]
        if len(wanted) > _MOST_REPLAYED:
            raise Invalid(f"ids: there are {len(wanted)}; at most {_MOST_REPLAYED} are replayed at a time")
        for id_ in wanted:
            self._find(collection, id_)
        yield from (wanted[start : start + _REPLAY_PAGE] for start in range(0, len(wanted), _REPLAY_PAGE))

    def _replay(self, collection: Collection, ids: Sequence[str]) -> tuple[int, int]:
        """How many of these were stored, and how many still fail."""
        names = [_name_of(id_) for id_ in ids]
        found = zip(names, self._state.get_many(collection.space, names), strict=True)
        there = {name: one for name, one in found if one is not None}
        letters = {name: _decode(one.value) for name, one in there.items()}
        good = [name for name, letter in letters.items() if why_left(collection, letter) is None]
        stored = self._store(collection, {name: there[name] for name in good}, [letters[name] for name in good])
        return stored, len(there) - len(good)

    def _store(self, collection: Collection, there: dict[str, Document], letters: Sequence[DeadLetter]) -> int:
        """Store the records of dead letters in their place, in one commit; how many. there: their documents, by name."""
        by_home = defaultdict[str | None, list[dict[str, Any]]](list)
        for letter in letters:
            by_home[letter.home] += events_of(collection, letter)[0]
        most = self._settings.record_bytes
        kept = [entry for home, some in by_home.items() for entry in replayed(collection, home, some, most)]
        if there:
            change = Change(
                expect={BORN: collection.born, **{name: one.version for name, one in there.items()}},
                deletes=tuple(there),
                appends=tuple((TOPIC, entry) for entry in kept),
                adds=counted(size_of(kept) - sum(len(one.value) for one in there.values())),
            )
            self._commit(collection, change)
        return sum(map(len, by_home.values()))

    def _find(self, collection: Collection, id_: str) -> tuple[DeadLetter, Document]:
        """The dead letter and its document. Raises `NotFound`."""
        found = self._state.get(collection.space, _name_of(id_)) if is_id(id_) else None
        if found is None:
            raise NotFound(f"There is no dead letter {id_[:60]!r}; it may have been replayed or discarded, or it has expired")
        return _decode(found.value), found

    def _commit(self, collection: Collection, change: Change) -> None:
        """Raises `Conflict`, and `NotFound` when the collection was deleted meanwhile."""
        try:
            self._state.commit(collection.space, change)
        except Conflict:
            look_for(self._state, collection)
            raise


def is_id(text: str) -> bool:
    """Tell whether a text may be the id of a dead letter."""
    return _ID.fullmatch(text) is not None


def letters_of(state: StateStore, space: str, home: str) -> Iterator[DeadLetter]:
    """List the dead letters of a home, by its key. space: the collection's."""
    for _, document in state.scan_all(space, LETTERS):
        if home.encode() in document.value and (letter := _decode(document.value)).home == home:
            yield letter


def _name_of(id_: str) -> str:
    """Name the document of a dead letter."""
    return f"{LETTERS}{id_}"


def _put(record: DeadLetter) -> Put:
    return Put(_name_of(record.id), msgspec.json.encode(record))


def _ticks(at: datetime) -> str:
    """Texts that are in the order of their times."""
    return f"{max(microseconds(at), 0):016x}"

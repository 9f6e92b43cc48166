"""The erasing of records that name a forgotten home. Its steps can be repeated after a crash; see `homes`."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import islice
from typing import Final, TypeVar

import orjson

from backends.ports import Change, Entry, KeepsSums, StateStore, StoreFull, StoreUnavailable
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.collections.dead_letters import LETTERS
from smarthouse_api.collections.homes import LeavingHome, RecordHomes
from smarthouse_api.collections.model import TOPIC, space_of
from smarthouse_api.collections.model import Collection as Records
from smarthouse_api.collections.purging import LEASE
from smarthouse_api.collections.queue import TopicProgress, TopicQueue
from smarthouse_api.collections.quotas import counted, size_of
from smarthouse_api.collections.rows import Fields
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.queue import Turn
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.errors import NotFound

Place = tuple[str, str]
"""A collection: its id and its key."""

Thing = TypeVar("Thing")

_AT_ONCE: Final = 500
_PAGE: Final = 64
_UNREADABLE: Final = "unreadable/"
_BESIDE: Final = "reply", "seen"

log = logging.getLogger(__name__)


class RecordsErasing:
    """Erases the records of forgotten homes: from the topics and what stands beside them, and from the lake."""

    def __init__(
        self,
        state: StateStore,
        table: CollectionsTable,
        catalogue: CollectionCatalogue,
        homes: RecordHomes,
        leases: Leases,
        chores: CollectionsChores,
    ) -> None:
        self._state, self._table, self._catalogue = state, table, catalogue
        self._homes, self._leases, self._chores = homes, leases, chores

    def close(self, wait_seconds: float) -> None:
        """Have no record of a forgotten home taken, consumed, replayed or read any more.

        wait_seconds: after that, those are broken off who may still read some.
        """
        begun = {key: one for key, one in self._homes.leaving().items() if not one.is_closed}
        if not begun:
            return
        by_place = _by_place(begun)
        for place, keys in by_place.items():
            self._close(place, keys)
        self._break_readers(by_place, wait_seconds)
        self._homes.note_closed(begun)

    def erase(self, leaving: Mapping[str, LeavingHome], wait_seconds: float) -> None:
        """Remove every byte of the rows of homes that are closed. Raises `TimeoutError` if others take too long."""
        if not leaving:
            return
        by_place = _by_place(leaving)
        with self._leases.hold(LEASE, wait_seconds):
            if self._table.open() is not None:
                self._erase_rows(by_place, wait_seconds)
        for (id_, key), keys in by_place.items():
            if self._found(id_, key) is not None:
                self._homes.reveal(space_of(id_, key), keys)
        self._chores.expect_dead()
        log.info("records of %d forgotten homes were erased", len(leaving))

    def _erase_rows(self, by_place: Mapping[Place, set[str]], wait_seconds: float) -> None:
        try:
            self._delete_rows(by_place, wait_seconds)
        except StoreFull:
            raise
        except StoreUnavailable:
            for _, key in by_place:  # a damaged file keeps no home from being forgotten
                self._chores.rebuilding.distrust()
                self._chores.rebuilding.checked(key, self._table.open())
            self._delete_rows(by_place, wait_seconds, are_known=False)
        # Those who began since the rows were hidden read none of them, but may need the files.
        self._break_readers(by_place, wait_seconds)
        with self._table.writing(wait_seconds) as lease:
            self._table.erase_history(lease, break_readers_after=wait_seconds)
            lease.check()

    def _delete_rows(self, by_place: Mapping[Place, set[str]], wait_seconds: float, *, are_known: bool = True) -> None:
        """Remove the rows. are_known: all of them can be read."""
        with self._table.writing(wait_seconds) as lease:
            self._table.fence()
            for (id_, key), keys in by_place.items():
                lease.check()
                if (collection := self._found(id_, key)) is not None:
                    self._drop_fields(collection, keys, are_known=are_known)
                    if are_known:
                        self._homes.note_sizes(collection.space, self._table.sizes_of(key, keys))
                self._table.delete_homes(key, sorted(keys))
            lease.check()

    def _drop_fields(self, collection: Records, keys: set[str], *, are_known: bool) -> None:
        """Forget the names of members that only records of these homes have. Nobody else adds names: the lease is held."""
        queue = TopicQueue(self._state, collection)
        before = queue.fields().types
        names = set(before)
        if are_known:
            names &= _names(self._table.texts(collection.key, keys), lambda _: False)
        if names:
            others = self._table.texts(collection.key, keys, of_others=True)
            names -= _names(others, lambda found: names <= found)
        if names:
            after = Fields({name: kind for name, kind in before.items() if name not in names})
            until_settled(lambda: queue.put_fields(queue.take_turn(), after), "collection")

    def _break_readers(self, by_place: Mapping[Place, set[str]], wait_seconds: float) -> None:
        read = {key.encode() for _, key in by_place}

        def is_spared(note: bytes) -> bool:
            # A reader that has told nothing yet may be of any collection.
            return note != b"" and note not in read and not self._table.readers_need_log

        self._table.break_readers(wait_seconds, is_spared)

    def _close(self, place: Place, keys: set[str]) -> None:
        collection, space = self._found(*place), space_of(*place)
        if collection is not None:
            try:
                for key in keys:
                    self._homes.close(collection, key)
            except NotFound:
                collection = None
        if collection is None:
            self._homes.close_deleted(space, keys)
        # First the dead letters: a replay makes entries of them.
        self._remove_naming(space, LETTERS, keys, is_counted=True)
        if collection is None:
            for some in self._entries_of(space, keys):
                self._state.commit(space, Change(drops=tuple((TOPIC, one.sequence) for one in some)))
        else:
            queue = TopicQueue(self._state, collection)
            until_settled(lambda: self._drop_entries(queue, keys), "collection")
        self._remove_naming(space, _UNREADABLE, keys)
        for key in keys:
            for kind in _BESIDE:
                for names in _chunks(name for name, _ in scan_past_damage(self._state, space, f"{kind}/{key}/")):
                    self._state.commit(space, Change(deletes=tuple(names)))

    def _found(self, id_: str, key: str) -> Records | None:
        """Find the collection; None if it was deleted, and its own purge removes what is left of it."""
        found = self._catalogue.get(id_)
        return found if found is not None and found.key == key else None

    def _remove_naming(self, space: str, prefix: str, keys: Collection[str], *, is_counted: bool = False) -> None:
        """Remove documents whose value names one of the homes, and damaged ones: nobody can tell whose they are.

        is_counted: the quota counts them.
        """

        def attempt() -> None:
            found = scan_past_damage(self._state, space, prefix)
            for some in _chunks((name, one) for name, one in found if one is None or _names_one(one.value, keys)):
                whole = {name: one for name, one in some if one is not None}
                if len(whole) < len(some):
                    log.warning("%d damaged records may be of a forgotten home, and are removed", len(some) - len(whole))
                adds = counted(-sum(len(one.value) for one in whole.values())) if is_counted else ()
                expect = {name: one.version for name, one in whole.items()}
                self._state.commit(space, Change(expect, deletes=tuple(name for name, _ in some), adds=adds))

        until_settled(attempt, "record")

    def _drop_entries(self, queue: TopicQueue, keys: Collection[str]) -> None:
        """Drop the entries of homes from a topic. The turn ends that of a curator, who may be about to move one of them.

        Raises `Conflict` if another takes a turn.
        """
        turn = queue.take_turn()
        taken = queue.taken(turn)
        for some in self._entries_of(queue.collection.space, keys, turn):
            kept = sum(len(one.value) for one in some if taken.dropped < one.sequence <= taken.sequence)
            taken = TopicProgress(taken.sequence, taken.dropped, max(taken.kept_bytes - kept, 0), taken.kept_us)
            left = size_of(one.value for one in some if one.sequence > taken.sequence)  # of the others, the lake tells
            turn = queue.advance(turn, taken, [one.sequence for one in some], counted(-left))

    def _entries_of(self, space: str, keys: Collection[str], turn: Turn | None = None) -> Iterator[list[Entry]]:
        """Find the entries of homes in a topic. A damaged one is dropped by those who mend it."""
        after, last = 0, self._state.last_sequence(space, TOPIC) if turn is None else turn.last
        while after < last:
            with self._state.reading_around() if isinstance(self._state, KeepsSums) else nullcontext():
                page = self._state.read(space, TOPIC, after, _PAGE)
            if not page:
                return
            if some := [one for one in page if _names_one(one.value, keys)]:
                yield some
            after = page[-1].sequence


def _chunks(things: Iterable[Thing]) -> Iterator[list[Thing]]:
    iterator = iter(things)
    while some := list(islice(iterator, _AT_ONCE)):
        yield some


def _by_place(leaving: Mapping[str, LeavingHome]) -> dict[Place, set[str]]:
    found = defaultdict[Place, set[str]](set)
    for key, one in leaving.items():
        found[one.collection, one.collection_key].add(key)
    return found


def _names_one(value: bytes, keys: Iterable[str]) -> bool:
    """Tell whether a document or an entry is of one of the homes: nobody else knows their keys, which are random."""
    return any(key.encode() in value for key in keys)


def _names(texts: Iterator[list[str]], is_enough: Callable[[set[str]], bool]) -> set[str]:
    """Collect the names of members in records, given as JSON, until these are enough."""
    found = set[str]()
    for some in texts:
        for text in some:
            found.update(orjson.loads(text))
        if is_enough(found):
            break
    return found

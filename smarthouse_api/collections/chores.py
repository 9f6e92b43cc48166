"""The chores of collections: they bring accepted records into the lake, and remove what is deleted or need not be kept.

Housekeepers look at all collections in rounds for entries that are pending. A round may take several turns, and all
housekeepers share one: the document `round` of the catalogue's space says after which collection it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from backends.ports import Conflict, StateStore
from config.groups import CollectionSettings, LakeSettings
from smarthouse_api.collections.catalogue import SPACE, CollectionCatalogue
from smarthouse_api.collections.dead_letters import DeadLetters
from smarthouse_api.collections.homes import are_leaving
from smarthouse_api.collections.mending import CollectionsMending
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.purging import Purging
from smarthouse_api.collections.queue import TopicQueue, TopicRows
from smarthouse_api.collections.rebuilding import RecordsRebuilding
from smarthouse_api.collections.record_retention import RecordRetention
from smarthouse_api.collections.retention import TopicRetention
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.errors import NotFound
from smarthouse_api.lake.compaction import Compaction
from smarthouse_api.lake.curator import Curator

_ROUND: Final = "round"
_ROUND_SECONDS: Final = 3600.0
_EXPIRY_SECONDS: Final = 3600.0
_BATCH_ENTRIES: Final = 10_000
_AT_ONCE: Final = 64
_MOST_IDLE: Final = 512
_HELD_SECONDS: Final = 60.0


class CollectionsChores:
    """Works on collections in the background: moves accepted records into the lake, and removes what is deleted or expired.

    is_over: the chores ask it between steps. Each turn takes one step at least, so that a slow store does not stop them.
    """

    def __init__(
        self,
        state: StateStore,
        table: CollectionsTable,
        catalogue: CollectionCatalogue,
        dead_letters: DeadLetters,
        leases: Leases,
        settings: CollectionSettings,
        lake: LakeSettings,
    ) -> None:
        self._state, self._table, self._catalogue = state, table, catalogue
        self._dead_letters, self._leases = dead_letters, leases
        self.rebuilding = RecordsRebuilding(state, table, catalogue)
        self.mending = CollectionsMending(state, table, catalogue, self.rebuilding.repairs)
        self._curator = Curator(table, lake, _BATCH_ENTRIES)
        self._purging = Purging(state, table, catalogue, leases)
        self._retention = TopicRetention(state, catalogue, settings)
        self._record_retention = RecordRetention(state, table, catalogue, leases, settings.record_days)
        self._compaction = Compaction(table, lake.compact_files)
        self._compaction.expect_dead()  # what a crash may have left
        self._round_after = self._saved = ""
        self._held = dict[str, int]()
        self._held_at = float("-inf")
        self._expire_after: str | None = None

    def flush(self, collection: Collection) -> None:
        """Wait until the lake holds every record of the collection that was accepted before the call.

        Raises `NotFound` once the collection is deleted, and `Unavailable` when it takes too long.
        """
        self._curator.flush(self._rows(collection))

    def purge(self) -> None:
        """Remove the bytes of deleted collections."""
        if self._purging.try_purge():
            self._compaction.expect_dead()

    def expect_dead(self) -> None:
        """Note that there may be files of the lake that no snapshot needs. The next compaction removes them."""
        self._compaction.expect_dead()

    def curate(self, is_over: Callable[[], bool]) -> None:
        """Bring pending entries into the lake: a part of the round through all collections, by one process at a time."""
        self._look_at_lake()
        if (turn := self._leases.try_hold("collections-round")) is None:
            return
        with turn:
            found = self._state.get(SPACE, _ROUND)
            self._round_after = self._saved = "" if found is None else found.value.decode()
            while self._curate_some(is_over) and not is_over():
                turn.check()

    def trim(self, is_over: Callable[[], bool]) -> None:
        """Drop the entries that topics need not keep."""
        if self._retention.is_due() and (lease := self._table.try_write()) is not None:
            with lease:
                self._retention.trim(is_over)

    def drop_old_records(self, is_over: Callable[[], bool]) -> None:
        """Drop records that are older than the operator wants to keep."""
        if self._record_retention.drop(is_over):
            self._compaction.expect_dead()

    def compact(self, is_over: Callable[[], bool]) -> None:
        """Merge small files of the lake, except while a purge waits for readers who need them."""
        if self._compaction.is_due() and (lease := self._table.try_write()) is not None:
            with lease:
                # Asked with the lease, which a purge needs first.
                if not self._purging.is_due() and not are_leaving(self._state):
                    self._compaction.compact(lease, is_over)

    def expire_dead_letters(self, is_over: Callable[[], bool]) -> None:
        """Remove expired dead letters, from each collection about once an hour."""
        if self._expire_after is None:
            if not self._leases.claim("collections-aside", _EXPIRY_SECONDS):
                return
            self._expire_after = ""
        while self._expire_after is not None:
            some, after = self._catalogue.next_slice(self._expire_after)
            self._expire_after = after or None
            for one in some:
                with suppress(Conflict, NotFound):  # of another who is at it, or it is gone
                    self._dead_letters.remove_expired(one)
            if is_over():
                return

    def _curate_some(self, is_over: Callable[[], bool]) -> bool:
        """Whether there is more to be done in this turn."""
        pending, has_more = self._gather(is_over)
        if not pending:
            self._save_round()
            return has_more
        if (lease := self._table.try_write()) is None:
            return False  # another time, from the same place
        with lease:
            self._save_round()  # before: what cannot be curated must not keep the others from the lake
            self._curator.curate(lease, [self._rows(one) for one in pending], is_over)
        for one in pending:
            self._retention.note(one, TopicQueue(self._state, one).taken())
        return has_more

    def _gather(self, is_over: Callable[[], bool]) -> tuple[list[Collection], bool]:
        """The next collections that have pending entries, about enough for one commit; and whether to look further.

        A turn stops looking at the end of the round, and after many idle collections, to spare the stores.
        """
        pending, idle = list[Collection](), 0
        while len(pending) < _AT_ONCE and idle < _MOST_IDLE:
            some, self._round_after = self._catalogue.next_slice(self._round_after)
            found = [one for one in some if self._is_pending(one)]
            pending += found
            idle += len(some) - len(found)
            if not self._round_after:
                return pending, False
            if is_over():
                break
        return pending, idle < _MOST_IDLE

    def _is_pending(self, one: Collection) -> bool:
        queue = TopicQueue(self._state, one)
        taken = queue.taken()
        self._retention.note(one, taken)
        return max(queue.last(), self._held.get(one.key, 0)) > taken.sequence

    def _look_at_lake(self) -> None:
        """Learn, now and then, what the lake holds: a state store that lost its last writes may know less."""
        if time.monotonic() - self._held_at >= _HELD_SECONDS:
            snapshot = self._table.open()
            self._held = {} if snapshot is None else self._table.held(snapshot)
            self._held_at = time.monotonic()

    def _save_round(self) -> None:
        """Store where the next turn continues."""
        if self._round_after != self._saved:
            # Not for ever, because a full store takes only what passes.
            self._state.put(SPACE, _ROUND, self._round_after.encode(), ttl_seconds=_ROUND_SECONDS)
            self._saved = self._round_after

    def _rows(self, collection: Collection) -> TopicRows:
        return TopicRows(TopicQueue(self._state, collection), self._table)

"""What collections need of the lake: that it takes in what is accepted, soon or at once, and lets go what is deleted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from backends.ports import Conflict, StateStore, StoreError
from smarthouse_api.collections.catalogue import Catalogue, look_for
from smarthouse_api.collections.curator import Curator
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.progress import Progress, Taken
from smarthouse_api.collections.purging import Purging
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.collections.trimming import Limits, limits, trim
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.table import Forestalled
from smarthouse_api.leases import Lease, LeaseLost, Leases

_BREATH_SECONDS = 0.01
_PATIENCE_SECONDS = 1.0
_TIDY_SECONDS = 60.0

log = logging.getLogger(__name__)


class Curation:
    """batch_bytes: of entries that one commit takes in, about. flush_seconds: longest wait of a flush. topic_seconds,
    topic_bytes: what an entry topic keeps where its collection does not say. compact_files: files in one partition of the lake
    from which on it is compacted.
    """

    def __init__(
        self,
        state: StateStore,
        table: CollectionsTable,
        catalogue: Catalogue,
        leases: Leases,
        *,
        batch_bytes: int,
        flush_seconds: float,
        topic_seconds: float,
        topic_bytes: int,
        compact_files: int = 8,
    ) -> None:
        self._state, self._table, self._catalogue = state, table, catalogue
        self._flush_seconds, self._compact_files = flush_seconds, compact_files
        self._topic_seconds, self._topic_bytes = topic_seconds, topic_bytes
        self._progress = Progress(state)
        self._curator = Curator(self._progress, table, batch_bytes=batch_bytes)
        self._purging = Purging(state, table, catalogue, leases)
        self._last_key = ""
        self._tidied_at = float("-inf")
        self._replaced = True  # what a crash has left in the lake goes with the first tidying

    def flush(self, collection: Collection) -> None:
        """Return once the lake holds every record of the collection that was accepted before the call, whoever writes it.

        Raises `NotFound` once it is deleted, and `Unavailable` when it takes too long.
        """
        target = self._progress.last(collection)
        deadline = time.monotonic() + self._flush_seconds
        asks_at = time.monotonic() + _PATIENCE_SECONDS
        while self._progress.taken(collection).sequence < target:
            look_for(self._state, collection)
            if time.monotonic() > deadline:
                raise Unavailable("The lake is still taking in what was sent; ask again")
            if (lease := self._table.try_write()) is not None:
                self._curate_alone(lease, collection, deadline)
                if self._progress.taken(collection).sequence >= target:
                    return
            elif time.monotonic() > asks_at:
                self._table.open()  # whoever holds the lake may be waiting for a store that does not answer
                asks_at = deadline
            time.sleep(_BREATH_SECONDS)

    def look_for(self, collection: Collection) -> None:
        """Raises `NotFound` when it was deleted since it was found."""
        look_for(self._state, collection)

    def fields(self, collection: Collection) -> dict[str, str]:
        """The members of the records that the lake holds now, and their types; see `Fields`."""
        return self._progress.fields(collection).types

    def purge(self) -> None:
        """A chore: remove what was deleted."""
        if self._purging.try_purge():
            self._tidying.expect_dead()

    def curate(self, is_over: Callable[[], bool]) -> None:
        """A chore: take in what is pending, from where the last turn has ended, whosever that was.

        is_over: asked between steps, as in all chores; one is done at least, and the rest is left for another turn.
        """
        self._looking.look_at(self._table)
        if (turn := self._leases.try_hold(_LEASE)) is None:
            return
        try:
            while self._curate_some(is_over) and not is_over():
                turn.check()
        finally:
            turn.release()

    def trim(self, is_over: Callable[[], bool]) -> None:
        """A chore: let topics go what they need not keep."""
        if self._trimming.is_due() and (lease := self._table.try_write()) is not None:
            try:
                self._trimming.trim(is_over)
            finally:
                lease.release()

    def tidy(self, is_over: Callable[[], bool]) -> None:
        """A chore: keep the lake in order, but for files that readers need for whom a purge waits."""
        if self._tidying.is_due() and not self._purging.is_due() and (lease := self._table.try_write()) is not None:
            try:
                self._tidying.tidy(lease, is_over)
            finally:
                lease.release()

    def _curate_alone(self, lease: Lease, collection: Collection, deadline: float) -> None:
        try:
            self._curator.curate(lease, [collection], lambda: time.monotonic() > deadline)
        except (Conflict, Forestalled, LeaseLost):
            log.warning("another took over the lake of collections; looking again")
        finally:
            lease.release()


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

    def keep(self, is_over: Callable[[], bool]) -> None:
        """One turn of the housekeeping: purge what was deleted, curate what is pending, trim topics, and now and then tidy up.

        is_over: asked between steps; the rest is left for another turn.
        """
        self._purge()
        is_untidy = time.monotonic() - self._tidied_at >= _TIDY_SECONDS
        collections = [*self._catalogue.everything()]
        taken = {one.key: self._progress.taken(one) for one in collections}
        pending = [one for one in collections if self._progress.last(one) > taken[one.key].sequence]
        pending.sort(key=lambda one: (one.key <= self._last_key, one.key))  # from where another turn has ended
        over = [one for one in collections if self._limits(one).are_passed(taken[one.key])]
        if not (pending or over or is_untidy) or (lease := self._table.try_write()) is None:
            return
        try:
            astray = [*self._astray(collections, taken)] if is_untidy else []
            self._last_key = self._curator.curate(lease, [*pending, *astray], is_over)
            # Those too that were pending: the lake holds by now what they may let go.
            for one in {one.key: one for one in (*over, *pending)}.values():
                self._trim(one, is_over)
            if is_untidy and not is_over():
                self._tidy(lease, is_over)
        finally:
            lease.release()

    def _curate_alone(self, lease: Lease, collection: Collection, deadline: float) -> None:
        try:
            self._curator.curate(lease, [collection], lambda: time.monotonic() > deadline)
        except (Conflict, Forestalled, LeaseLost):
            log.warning("another took over the lake of collections; looking again")
        finally:
            lease.release()

    def _astray(self, collections: Sequence[Collection], taken: dict[str, Taken]) -> Iterator[Collection]:
        """Collections of which the lake holds more than the state store knows of."""
        snapshot = self._table.open()
        if snapshot is not None:
            yield from (one for one in collections if self._table.taken(snapshot, one.key) > taken[one.key].sequence)

    def _limits(self, collection: Collection) -> Limits:
        return limits(
            collection,
            now_us=time.time_ns() // 1000,
            default_bytes=self._topic_bytes,
            default_seconds=self._topic_seconds,
        )

    def _trim(self, collection: Collection, is_over: Callable[[], bool]) -> None:
        keep = self._limits(collection)
        if not is_over() and keep.are_passed(self._progress.taken(collection)):
            with suppress(Conflict):  # of another who is at it
                trim(self._progress, collection, keep, is_over)

    def _purge(self) -> None:
        try:
            self._replaced = self._purging.try_purge() or self._replaced
        except (StoreError, Unavailable) as fault:
            log.warning("purging of collections failed and will be tried again: %s", fault)

    def _tidy(self, lease: Lease, is_over: Callable[[], bool]) -> None:
        """Compact the lake, and drop what compaction replaced as soon as nobody can be reading it."""
        if self._purging.is_due():
            return
        self._replaced = self._table.compact(lease, self._compact_files, is_over) or self._replaced
        if is_over():
            return
        if self._replaced and not self._table.is_read():
            self._table.erase_history(lease)
            self._replaced = False
        self._tidied_at = time.monotonic()

"""What collections need of the lake: that it takes in what is accepted, soon or at once, and lets go what is deleted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from backends.ports import Conflict, StateStore
from smarthouse_api.collections.catalogue import CollectionCatalogue, look_for, next_slice
from smarthouse_api.collections.curator import Curator
from smarthouse_api.collections.dead_letters import DeadLetters
from smarthouse_api.collections.looking import Looking
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.progress import Progress
from smarthouse_api.collections.purging import Purging
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.collections.trimming import Trimming
from smarthouse_api.coordination.leases import Lease, LeaseLost, Leases
from smarthouse_api.errors import NotFound, Unavailable
from smarthouse_api.lake.table import Forestalled
from smarthouse_api.lake.tidying import Tidying

_ROUND: Final = "collections-round"
_ASIDE: Final = "collections-aside"
_ASIDE_SECONDS: Final = 3600.0
_BREATH_SECONDS = 0.01
_PATIENCE_SECONDS = 1.0

log = logging.getLogger(__name__)


class Curation:
    """batch_bytes: of entries that one commit takes in, about. flush_seconds: longest wait of a flush. topic_seconds,
    topic_bytes: what an entry topic keeps where its collection does not say. compact_files: files in one partition of the lake
    from which on it is compacted.

    The chores are for whoever keeps house, again and again. is_over: asked by them between steps; one step is done in any
    case, so that however slow a store is, there is less to do for another turn.
    """

    def __init__(
        self,
        state: StateStore,
        table: CollectionsTable,
        catalogue: CollectionCatalogue,
        aside: DeadLetters,
        leases: Leases,
        *,
        batch_bytes: int,
        flush_seconds: float,
        topic_seconds: float,
        topic_bytes: int,
        compact_files: int = 8,
    ) -> None:
        self._state, self._table, self._aside, self._leases = state, table, aside, leases
        self._flush_seconds = flush_seconds
        self._progress = Progress(state)
        self._curator = Curator(self._progress, table, batch_bytes=batch_bytes)
        self._purging = Purging(state, table, catalogue, leases)
        self._trimming = Trimming(self._progress, catalogue, topic_seconds=topic_seconds, topic_bytes=topic_bytes)
        self._looking = Looking(state, table, self._progress, self._trimming)
        self._tidying = Tidying(table, compact_files, has_dead=True)  # what a crash may have left
        self._aside_after: str | None = None

    def flush(self, collection: Collection) -> None:
        """Return once the lake holds every record of the collection that was accepted before the call, whoever writes it.

        Raises `NotFound` once it is deleted, and `Unavailable` when it takes too long.
        """
        target = self._progress.last(collection)
        deadline = time.monotonic() + self._flush_seconds
        asks_at = time.monotonic() + _PATIENCE_SECONDS
        # If a failover has lost entries that were there, there is no more to wait for than what is left.
        while self._progress.taken(collection).sequence < (target := min(target, self._progress.last(collection))):
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
        """A chore: take in what is pending, a part of the round through all collections. One process is at it at a time."""
        self._looking.look_at_lake()
        if (turn := self._leases.try_hold(_ROUND)) is None:
            return
        try:
            self._looking.begin()
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

    def forget_old(self, is_over: Callable[[], bool]) -> None:
        """A chore: remove records that have been set aside for too long, of each collection about once an hour."""
        if self._aside_after is None:
            if not self._leases.claim(_ASIDE, _ASIDE_SECONDS):
                return
            self._aside_after = ""
        while self._aside_after is not None:
            some, after = next_slice(self._state, self._aside_after)
            self._aside_after = after or None
            for one in some:
                with suppress(Conflict, NotFound):  # of another who is at it, or it is gone
                    self._aside.remove_expired(one)
            if is_over():
                return

    def _curate_some(self, is_over: Callable[[], bool]) -> bool:
        """Whether there is more to be done in this turn."""
        pending, has_more = self._looking.gather(is_over)
        if not pending:
            self._looking.end()
            return has_more
        if (lease := self._table.try_write()) is None:
            return False  # another time, from the same place
        try:
            self._looking.end()  # before: what cannot be curated must not keep the others from the lake
            self._curator.curate(lease, pending, is_over)
        finally:
            lease.release()
        for one in pending:
            self._trimming.note(one, self._progress.taken(one))
        return has_more

    def _curate_alone(self, lease: Lease, collection: Collection, deadline: float) -> None:
        try:
            self._curator.curate(lease, [collection], lambda: time.monotonic() > deadline)
        except (Conflict, Forestalled, LeaseLost):
            log.warning("another took over the lake of collections; looking again")
        finally:
            lease.release()

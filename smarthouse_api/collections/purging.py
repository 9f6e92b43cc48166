"""The purge of deleted collections: it removes every byte of theirs. Its steps can be repeated after a crash:

1. They are closed to writers.
2. Their rows leave the table. The purge waits for those who already read the lake, and then breaks them off.
3. The table's history is erased: no file has a byte of theirs.
4. Their spaces are erased.
5. The document `scrub` in the catalogue's space asks for a scrubbing of the state store's files, until that is done.
6. Their tombstones are removed: they must be scrubbed too.
7. The state store is scrubbed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from backends.ports import Change, Conflict, StateStore
from smarthouse_api.collections.catalogue import SPACE, CollectionCatalogue, CollectionTombstone
from smarthouse_api.collections.homes import remove_names
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS

LEASE: Final = "collections-purge"
"""The lease of a purge of records: of deleted collections, or of forgotten homes."""

_SCRUB: Final = "scrub"
_SCRUB_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


class Purging:
    """Removes every byte of deleted collections. patience_seconds: how long a purge waits for readers of the lake."""

    def __init__(
        self,
        state: StateStore,
        table: CollectionsTable,
        catalogue: CollectionCatalogue,
        leases: Leases,
        *,
        patience_seconds: float = 10.0,
    ) -> None:
        self._state, self._table, self._catalogue, self._leases = state, table, catalogue, leases
        self._patience_seconds = patience_seconds
        self._without_rows = set[str]()
        self._breaks_at = 0.0

    def is_due(self) -> bool:
        """Return whether a collection must be purged. Meanwhile nobody should replace files of the lake that a reader needs."""
        return bool(self._catalogue.tombstones())

    def try_purge(self) -> bool:
        """Do as much as possible without waiting. Return whether collections were purged, so that the lake has no byte of them.

        Raises `StoreUnavailable`, also if only the scrubbing fails: the next attempt at that is a minute later.
        """
        gone = self._catalogue.tombstones()
        if not (gone or self._asked()) or (lease := self._leases.try_hold(LEASE)) is None:
            return False
        with lease:
            is_purged = bool(gone) and self._purge(gone)
            self._scrub()
        return is_purged

    def _purge(self, gone: Sequence[CollectionTombstone]) -> bool:
        for one in gone:
            self._catalogue.close_to_writers(one.space)
        if self._table.open() is not None and not (self._delete_rows(gone) and self._erase_history()):
            return False
        for one in gone:
            remove_names(self._state, one.space, one.key)
            self._state.erase(one.space)
        # Not for ever, because a full store takes only what passes.
        self._state.put(SPACE, _SCRUB, b"", ttl_seconds=FOR_GOOD_SECONDS)
        for one in gone:
            self._catalogue.remove_tombstone(one)
        log.info("%d deleted collections were erased", len(gone))
        return True

    def _scrub(self) -> None:
        """Scrub the state store if a purge asks for it, at most once a minute: the store rewrites all that it holds."""
        # Without the lake's lease: it may take long, and nobody need wait for it.
        if (asked := self._asked()) and self._leases.claim("collections-scrub", _SCRUB_SECONDS):
            self._state.scrub()
            with suppress(Conflict):  # of another that was purged meanwhile
                self._state.commit(SPACE, Change(expect={_SCRUB: asked}, deletes=(_SCRUB,)))

    def _asked(self) -> int | None:
        """The version of the document that asks for a scrubbing."""
        found = self._state.get(SPACE, _SCRUB)
        return None if found is None else found.version

    def _delete_rows(self, gone: Sequence[CollectionTombstone]) -> bool:
        """Whether the table has no row of theirs any more."""
        keys = {one.key for one in gone}
        if keys <= self._without_rows:
            return True
        if (lease := self._table.try_write()) is None:
            return False
        with lease:
            self._table.fence()
            for key in sorted(keys):
                lease.check()
                self._table.delete_collection(key)
            lease.check()
        self._without_rows, self._breaks_at = keys, time.monotonic() + self._patience_seconds
        return True

    def _erase_history(self) -> bool:
        """Whether no file has a byte of theirs any more."""
        if self._table.is_read() and time.monotonic() < self._breaks_at:
            return False
        # Those who come later read a table without the rows.
        self._table.break_readers(0)
        if (lease := self._table.try_write()) is None:
            return False
        with lease:
            self._table.erase_history(lease)
            lease.check()
        return True

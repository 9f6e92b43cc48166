"""What goes on with streams without a request: sealing, retention, the bytes of what was deleted or forgotten.

One works at a time, under a lease; whoever keeps house calls `keep` again and again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from backends.ports import Change, Conflict, ObjectStore, Put, StateStore
from smarthouse_api.errors import NotFound
from smarthouse_api.leases import Leases
from smarthouse_api.streams.catalogue import Catalogue, Gone, space_of
from smarthouse_api.streams.heads import Heads
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.retention import Retaining
from smarthouse_api.streams.sealing import Sealing
from smarthouse_api.streams.sessions import downloads_of
from smarthouse_api.streams.shelf import LOG, REST, Found, Shelf, object_name

_LEASE: Final = "streams"
_ROUND_SECONDS: Final = 30.0
_TRASH_SECONDS: Final = 86400.0
_ORPHAN_DAYS: Final = 7
_PAGE: Final = 1000

log = logging.getLogger(__name__)


class Keeping:
    """Keeps the streams of one installation."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        catalogue: Catalogue,
        heads: Heads,
        shelf: Shelf,
        sealing: Sealing,
        retaining: Retaining,
        leases: Leases,
    ) -> None:
        self._state, self._objects, self._catalogue, self._heads = state, objects, catalogue, heads
        self._shelf, self._sealing, self._retaining, self._leases = shelf, sealing, retaining, leases
        self._begun_at = float("-inf")
        self._round: Iterator[Stream] | None = None

    def keep(self, is_over: Callable[[], bool]) -> None:
        """One turn: what is marked, and a part of the round through all streams. It ends soon once `is_over`."""
        if (lease := self._leases.try_hold(_LEASE)) is None:
            return
        try:
            for gone in self._catalogue.gone():
                self._purge(gone)
            self._seal_marked(is_over)
            self._go_round(is_over)
        finally:
            lease.release()

    def purge(self, wait_seconds: float) -> None:
        """Remove the bytes of all that was deleted, now. Raises `TimeoutError` while another keeps the streams for so long."""
        with self._leases.hold(_LEASE, wait_seconds):
            for gone in self._catalogue.gone():
                self._purge(gone)

    def visit(self, stream: Stream) -> None:
        """Do all that is due for one stream."""
        with suppress(NotFound):  # it may be deleted at any time
            seen, found = self._heads.look(stream), self._shelf.found(stream)
            self._sealing.drop_sealed(stream, found.rest)
            if self._retaining.apply(stream, seen, found):
                found = self._shelf.found(stream)
            while self._sealing.is_due(stream, seen, found.rest) and self._sealing.seal(stream, seen, found):
                found = self._shelf.found(stream)
            self._empty_trash(stream, found)

    def sweep(self) -> None:
        """Remove objects of streams that are there but refer to them no more, and have not for days: a crash left them."""
        before = datetime.now(UTC) - timedelta(days=_ORPHAN_DAYS)
        for stream in self._catalogue.everything():
            old = [info.key for info in self._objects.list(object_name(stream, "")) if info.modified_at < before]
            if old:
                known = {segment.id for segment in self._shelf.segments(stream)} | self._shelf.found(stream).rest.trash.keys()
                self._objects.delete(key for key in old if key.rpartition("/")[2].partition(".")[0] not in known)

    def sweep_homes(self, is_forgotten: Callable[[str], bool]) -> None:
        """Remove what came of forgotten homes after their purge. is_forgotten: of a home's internal key."""
        there = {info.key.split("/")[1] for info in self._objects.list("packets/")}
        for key in filter(is_forgotten, there - set(self._catalogue.home_keys().values())):
            self._objects.delete(info.key for info in self._objects.list(f"packets/{key}/"))

    def _seal_marked(self, is_over: Callable[[], bool]) -> None:
        for key, stream in self._catalogue.full():
            if is_over():
                return
            self._catalogue.unmark(key)
            if stream is not None:
                self.visit(stream)

    def _go_round(self, is_over: Callable[[], bool]) -> None:
        """Visit every stream now and then; a round may take several turns."""
        if self._round is None:
            if time.monotonic() - self._begun_at < _ROUND_SECONDS:
                return
            self._begun_at, self._round = time.monotonic(), iter(self._catalogue.everything())
        for stream in self._round:
            self.visit(stream)
            if is_over():
                return
        self._round = None

    def _empty_trash(self, stream: Stream, found: Found) -> None:
        """Delete segments that nobody can be reading any more."""
        rest = found.rest
        if not rest.trash:
            return
        # Whoever began before they became trash holds a lease; whoever began later does not know of them.
        is_read, before = bool(self._leases.shared(downloads_of(stream))), time.time() - _TRASH_SECONDS
        dead = [id_ for id_, since in rest.trash.items() if not is_read or since < before]
        self._objects.delete(f"{object_name(stream, id_)}.{ending}" for id_ in dead for ending in ("data", "index"))
        kept = msgspec.structs.replace(rest, trash={id_: at for id_, at in rest.trash.items() if id_ not in dead})
        with suppress(Conflict):
            change = Change(expect={REST: found.version}, puts=(Put(REST, msgspec.json.encode(kept)),))
            self._state.commit(space_of(stream.key), change)

    def _purge(self, gone: Gone) -> None:
        """Remove every byte of a deleted stream; repeatable after a crash at any step."""
        space = space_of(gone.key)
        self._catalogue.close_to_writers(gone.key)
        self._leases.break_shared(f"packets/{gone.key}", 0)
        self._objects.delete(info.key for info in self._objects.list(f"packets/{gone.home_key}/{gone.key}/"))
        while page := self._state.scan(space, limit=_PAGE):
            self._state.commit(space, Change(deletes=tuple(name for name, _ in page)))
        while entries := self._state.read(space, LOG, 0, _PAGE):
            self._state.commit(space, Change(drops=tuple((LOG, entry.sequence) for entry in entries)))
        self._catalogue.purged(gone.key)

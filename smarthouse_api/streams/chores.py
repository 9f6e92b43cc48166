"""The chores of streams: sealing, retention, and removing the bytes of what was deleted or forgotten.

One process works at a time, under a lease; the housekeeper calls `run` again and again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec

from backends.ports import Change, Conflict, ObjectStore, Put, StateStore, StoreUnavailable
from smarthouse_api.coordination.leases import Lease, LeaseLost, Leases
from smarthouse_api.errors import NotFound
from smarthouse_api.streams.catalogue import StreamCatalogue, StreamTombstone
from smarthouse_api.streams.heads import Heads, space_of
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.retention import Retaining
from smarthouse_api.streams.sealing import Sealing
from smarthouse_api.streams.segments import REST, Found, object_name
from smarthouse_api.streams.sessions import downloads_of
from smarthouse_api.streams.shelf import Shelf

_LEASE: Final = "streams"
_ROUND_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 3600.0
"""How long what nobody refers to any more is kept, for a state that is an hour older: after a failover, in a backup."""

_TRASH_SECONDS: Final = 86400.0
_ORPHAN_DAYS: Final = 7

One = TypeVar("One")

log = logging.getLogger(__name__)


class StreamsChores:
    """What goes on with the streams of one installation without a request."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        catalogue: StreamCatalogue,
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

    def run(self, is_over: Callable[[], bool]) -> None:
        """One turn: what is marked, and a part of the round through all streams. It ends soon once `is_over`."""
        if (lease := self._leases.try_hold(_LEASE)) is None:
            return
        with lease:
            _each(self._due(), self._purge, is_over)
            _each(self._marked(), self.maintain, is_over)
            self._go_round(lease, is_over)

    def purge(self, wait_seconds: float) -> None:
        """Break off who reads what was deleted, and remove its bytes, now.

        Raises `TimeoutError` while another process does the chores for so long.
        """
        due = self._due()
        for tombstone in due:
            self.cancel_downloads(tombstone.key)
        if due:
            with self._leases.hold(_LEASE, wait_seconds):
                for tombstone in self._due():
                    self._purge(tombstone)

    def cancel_downloads(self, stream_key: str) -> None:
        """Break off downloads of the stream that are under way."""
        self._leases.break_shared(downloads_of(stream_key), 0)

    def maintain(self, stream: Stream, is_over: Callable[[], bool] = lambda: False) -> None:
        """Do what is due for one stream, until it `is_over`."""
        with suppress(NotFound):  # it may be deleted at any time
            seen, found = self._heads.look(stream), self._shelf.found(stream)
            self._sealing.drop_sealed(stream, found.rest)
            if self._retaining.apply(stream, seen, found):
                found = self._shelf.found(stream)
            while self._sealing.is_due(stream, seen, found.rest) and self._sealing.seal(stream, found):
                found = self._shelf.found(stream)
                if is_over():
                    break
            self._empty_trash(stream, found)

    def sweep(self) -> None:
        """Remove objects of streams that are there but refer to them no more, and have not for days: a crash left them."""
        before = datetime.now(UTC) - timedelta(days=_ORPHAN_DAYS)
        for stream in self._catalogue.everything():
            old = [info.key for info in self._objects.list(object_name(stream, "")) if info.modified_at < before]
            if old:
                known = {segment.id for segment in self._shelf.segments(stream)} | self._shelf.found(stream).rest.trash.keys()
                self._objects.delete(key for key in old if key.rpartition("/")[2].partition(".")[0] not in known)

    def places(self) -> set[tuple[str, str]]:
        """Home key and stream key of all that there are objects of."""
        names = (info.key.split("/") for info in self._objects.list("packets/"))
        return {(name[1], name[2]) for name in names}

    def erase(self, places: Iterable[tuple[str, str]]) -> None:
        """Remove the objects of streams that nobody knows."""
        for home_key, key in places:
            self._objects.delete(info.key for info in self._objects.list(f"packets/{home_key}/{key}/"))

    def _due(self) -> list[StreamTombstone]:
        """What is to be purged: each deleted stream at once, and again when nobody can be at work on it any more."""
        before = time.time() - _GRACE_SECONDS
        return [one for one in self._catalogue.tombstones() if one.purged_at is None or one.purged_at < before]

    def _marked(self) -> Iterator[Stream]:
        for key, stream in self._catalogue.full():
            self._catalogue.unmark(key)
            if stream is not None:
                yield stream

    def _go_round(self, lease: Lease, is_over: Callable[[], bool]) -> None:
        """Visit every stream now and then; a round may take several turns."""
        if self._round is None:
            if time.monotonic() - self._begun_at < _ROUND_SECONDS:
                return
            self._begun_at, self._round = time.monotonic(), iter(self._catalogue.everything())
        if _each(self._round, lambda stream, over: self._maintain_anew(stream, lease, over), is_over):
            self._round = None

    def _maintain_anew(self, stream: Stream, lease: Lease, is_over: Callable[[], bool]) -> None:
        lease.check()
        # What it keeps may have been changed since the round came by its document.
        if (now := self._catalogue.get(stream.home_id, stream.module_id, stream.name)) is not None:
            self.maintain(now, is_over)

    def _empty_trash(self, stream: Stream, found: Found) -> None:
        """Delete segments that nobody can be reading any more."""
        rest = found.rest
        if not rest.trash:
            return
        # Whoever began before they became trash holds a lease; whoever began later does not know of them.
        is_read = bool(self._leases.shared(downloads_of(stream.key)))
        before = time.time() - (_TRASH_SECONDS if is_read else _GRACE_SECONDS)
        dead = [id_ for id_, since in rest.trash.items() if since < before]
        if not dead:
            return
        self._objects.delete(f"{object_name(stream, id_)}.{ending}" for id_ in dead for ending in ("data", "index"))
        kept = msgspec.structs.replace(rest, trash={id_: at for id_, at in rest.trash.items() if id_ not in dead})
        with suppress(Conflict):
            change = Change(expect={REST: found.version}, puts=(Put(REST, msgspec.json.encode(kept)),))
            self._state.commit(space_of(stream.key), change)

    def _purge(self, tombstone: StreamTombstone, is_over: Callable[[], bool] = lambda: False) -> None:
        """Remove every byte of a deleted stream; repeatable after a crash at any step."""
        self._catalogue.close_to_writers(tombstone.space)
        self.cancel_downloads(tombstone.key)
        self.erase([(tombstone.home_key, tombstone.key)])
        self._state.erase(tombstone.space)
        if tombstone.purged_at is None:
            self._catalogue.mark_purged(tombstone, time.time())
        else:
            self._catalogue.remove_tombstone(tombstone)


def _each(some: Iterable[One], act: Callable[[One, Callable[[], bool]], None], is_over: Callable[[], bool]) -> bool:
    """Act on each until the turn is over; whether that was all. One that fails does not keep the others from theirs."""
    for one in some:
        try:
            act(one, is_over)
        except (StoreUnavailable, LeaseLost):
            raise
        except Exception:  # of one stream alone, and told with its trace
            log.exception("a stream could not be kept and will be visited again")
        if is_over():
            return False
    return True

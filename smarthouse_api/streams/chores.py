"""The chores of streams: sealing, retention, and the purge of deleted streams.

One process works at a time, under a lease. The housekeeper calls `run` again and again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Final, TypeVar

import msgspec

from backends.ports import NoSuchObject, PartDamaged, StateStore, StoreUnavailable
from smarthouse_api.coordination.leases import Lease, LeaseLost, Leases
from smarthouse_api.errors import NotFound
from smarthouse_api.streams.activity import ActivityNotes, Look
from smarthouse_api.streams.catalogue import StreamCatalogue, StreamTombstone
from smarthouse_api.streams.model import Stream, StreamRetention
from smarthouse_api.streams.packet_store import Manifest, PacketStore, VersionedManifest
from smarthouse_api.streams.retention import PacketRetention
from smarthouse_api.streams.sealing import Sealing
from smarthouse_api.streams.segment_objects import DamagedPackets
from smarthouse_api.streams.sessions import downloads_of

_LEASE: Final = "streams"
_ROUND_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 3600.0
"""How long retired segments and purged streams stay, for a state that is an hour older: after a failover, in a backup."""

_DOWNLOADED_GRACE_SECONDS: Final = 86400.0
_ORPHAN_DAYS: Final = 7
_AT_ONCE: Final = 100
"""Streams whose activity is noted in one commit, and after which the lease is checked."""

One = TypeVar("One")

log = logging.getLogger(__name__)


class StreamsChores:
    """Keeps the streams of one installation in order, in the background: seals, trims, purges and sweeps them."""

    def __init__(
        self,
        state: StateStore,
        catalogue: StreamCatalogue,
        store: PacketStore,
        sealing: Sealing,
        retaining: PacketRetention,
        leases: Leases,
        notes: ActivityNotes,
    ) -> None:
        self._state, self._catalogue, self._store = state, catalogue, store
        self._sealing, self._retaining, self._leases, self._notes = sealing, retaining, leases, notes
        self._begun_at, self._begun_time = float("-inf"), 0.0
        self._round: Iterator[Stream] | None = None
        self._is_whole = True
        self._summed_until = dict[str, int]()

    def run(self, is_over: Callable[[], bool]) -> None:
        """Do one turn: purge, maintain marked streams, continue the round through all streams. It ends soon once `is_over`."""
        if (lease := self._leases.try_hold(_LEASE)) is None:
            return
        with lease:
            _each(self._due(), self._purge, is_over)
            _each(self._catalogue.take_full(), lambda stream: self.maintain(stream, is_over), is_over)
            self._go_round(lease, is_over)

    def purge(self, wait_seconds: float) -> None:
        """Break off the downloads of deleted streams, and remove their bytes, now.

        Raises `TimeoutError` if another process does the chores for longer than `wait_seconds`.
        """
        due = self._due()
        for tombstone in due:
            self.cancel_downloads(tombstone.key)
        if due:
            with self._leases.hold(_LEASE, wait_seconds):
                for tombstone in self._due():
                    self._purge(tombstone)

    def cancel_downloads(self, stream_key: str) -> None:
        """Break off the downloads of the stream that are under way."""
        self._leases.break_shared(downloads_of(stream_key), 0)

    def maintain(self, stream: Stream, is_over: Callable[[], bool] = lambda: False) -> None:
        """Do what is due for one stream: note its activity, apply its retention, seal, delete retired segments."""
        looks = list[Look]()
        try:
            self._visit(stream, is_over, looks, {stream.key})
        finally:
            self._notes.note(looks)

    def _visit(self, stream: Stream, is_over: Callable[[], bool], looks: list[Look], damaged: Container[str]) -> None:
        """Do what is due for one stream, except to note what was seen. damaged: streams whose damage is looked at again."""
        with suppress(NotFound):  # it may be deleted at any time
            seen, found = self._store.look(stream)
            looks.append(Look(stream, seen.head, time.time()))
            oldest = self._store.drop_sealed(stream, found.manifest)
            if self._retaining.apply(stream, seen, found):
                found = self._store.manifest(stream)
                oldest = self._store.oldest(stream, found.manifest.sequence)
            while self._sealing.is_due(seen, found.manifest, oldest) and self._sealing.seal(stream, found):
                found = self._store.manifest(stream)
                oldest = self._store.oldest(stream, found.manifest.sequence)
                if is_over():
                    break
            self._delete_retired(stream, found)
            if stream.key in damaged:
                self._store.segment_objects.look_again(stream, self._store.segments(stream), _ROUND_SECONDS)
            if self._lacks_sums(found.manifest):
                self._add_sums(stream, is_over)

    def bring_over(self, wait_seconds: float) -> Iterator[Stream]:
        """Give the segments of earlier versions their sums, and return each stream that had some. Raises `TimeoutError`."""
        for stream in self._catalogue.everything():
            if self._lacks_sums(self._store.manifest(stream).manifest):
                with self._leases.hold(_LEASE, wait_seconds), suppress(NotFound):
                    self._add_sums(stream, lambda: False)
                yield stream

    def sweep(self) -> None:
        """Remove orphans: objects that a crash left days ago, and that their streams do not refer to."""
        before = datetime.now(UTC) - timedelta(days=_ORPHAN_DAYS)
        for stream in self._catalogue.everything():
            self._store.sweep(stream, before)

    def _due(self) -> list[StreamTombstone]:
        """The deleted streams to purge: each at once, and again when nobody can be at work on it any more."""
        before = time.time() - _GRACE_SECONDS
        return [one for one in self._catalogue.tombstones() if one.purged_at is None or one.purged_at < before]

    def _go_round(self, lease: Lease, is_over: Callable[[], bool]) -> None:
        """Visit every stream every so often; a round may take several turns."""
        if self._round is None:
            if time.monotonic() - self._begun_at < _ROUND_SECONDS:
                return
            self._begun_at, self._begun_time = time.monotonic(), time.time()
            self._round, self._is_whole = self._catalogue.everything(), True
        try:
            while self._visit_some(self._round, lease, is_over):
                pass
        except Exception:
            self._is_whole = False  # some streams were not looked at, or that was not noted
            raise

    def _visit_some(self, round_: Iterator[Stream], lease: Lease, is_over: Callable[[], bool]) -> bool:
        """Visit the next streams of the round, and note together what was seen of them. Returns whether it goes on now."""
        lease.check()
        damaged, looks = self._store.segment_objects.damaged_streams(), list[Look]()
        if (first := next(round_, None)) is None:
            self._round = None
            if self._is_whole:
                self._notes.end_look(self._begun_time)
            return False
        some = chain([first], islice(round_, _AT_ONCE - 1))
        try:
            return _each(some, lambda one: self._visit_anew(one, is_over, looks, damaged), is_over)
        finally:
            self._notes.note(looks)

    def _visit_anew(self, stream: Stream, is_over: Callable[[], bool], looks: list[Look], damaged: Container[str]) -> None:
        """Visit a stream of a round, which read its document some time ago. Its retention may have been changed since then."""
        now: Stream | None = stream
        if stream.retention != StreamRetention():
            now = self._catalogue.get(stream.home_id, stream.module_id, stream.name)
        if now is not None:
            self._visit(now, is_over, looks, damaged)

    def _delete_retired(self, stream: Stream, found: VersionedManifest) -> None:
        """Delete segments that nobody can be reading any more."""
        if found.manifest.retired:
            # A download that began before a segment retired holds a lease. One that began later does not know the segment.
            is_read = bool(self._leases.shared(downloads_of(stream.key)))
            self._store.delete_retired(stream, found, time.time() - (_DOWNLOADED_GRACE_SECONDS if is_read else _GRACE_SECONDS))

    def _add_sums(self, stream: Stream, is_over: Callable[[], bool]) -> None:
        """Give segments of an earlier format their sums, once."""
        objects, found = self._store.segment_objects, self._store.manifest(stream)
        for segment in self._store.segments(stream, self._summed_until.get(stream.key, 0)):
            with suppress(DamagedPackets, NoSuchObject):  # it is noted
                objects.add_sums(stream, segment)
            self._summed_until[stream.key] = segment.last + 1
            if is_over():
                return  # the next turn goes on from here
        self._summed_until.pop(stream.key, None)
        self._store.replace(stream, found, msgspec.structs.replace(found.manifest, summed=True))

    def _lacks_sums(self, manifest: Manifest) -> bool:
        return manifest.newest is not None and not manifest.summed

    def _purge(self, tombstone: StreamTombstone) -> None:
        """Remove every byte of a deleted stream; repeatable after a crash at any step."""
        self._catalogue.close_to_writers(tombstone.space)
        self.cancel_downloads(tombstone.key)
        self._store.erase([(tombstone.home_key, tombstone.key)])
        self._state.erase(tombstone.space)
        log.info("a deleted stream was erased")
        if tombstone.purged_at is None:
            self._catalogue.mark_purged(tombstone, time.time())
        else:
            self._catalogue.remove_tombstone(tombstone)


def _each(some: Iterable[One], act: Callable[[One], None], is_over: Callable[[], bool]) -> bool:
    """Act on each until the turn is over; whether that was all. If one fails, the others still have their turn."""
    for one in some:
        try:
            act(one)
        except PartDamaged as fault:  # `_lose` drops what it can
            log.warning("the maintenance of a stream failed: %s", fault)
        except (StoreUnavailable, LeaseLost):
            raise
        except Exception:  # a fault of one stream alone, logged with its trace
            log.exception("the maintenance of a stream failed and will be tried again")
        if is_over():
            return False
    return True

"""Sealing: moves the oldest packets of a stream's log into a segment."""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain

import msgspec

from backends.ports import Entry, NoSuchObject
from config.groups import StreamSettings
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.streams.heads import HeadSnapshot
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.packet_encoding import Block, block, first_index, joined
from smarthouse_api.streams.packet_store import Hole, Manifest, PacketStore, VersionedManifest
from smarthouse_api.streams.segment_objects import DamagedPackets
from smarthouse_api.streams.segments import MOST_PACKETS, Segment

log = logging.getLogger(__name__)


class Sealing:
    """Moves packets from a stream's log into segments, once they fill a segment or are old enough."""

    def __init__(self, store: PacketStore, settings: StreamSettings) -> None:
        self._store, self._settings = store, settings

    def is_due(self, seen: HeadSnapshot, manifest: Manifest, oldest: Entry | Hole | None) -> bool:
        """Return whether the log holds enough for a segment, or packets that are old enough. oldest: that is not sealed."""
        if seen.head.bytes - manifest.bytes >= self._settings.segment_bytes:
            return True
        if oldest is None or seen.head.next <= manifest.next:
            return False
        if isinstance(oldest, Hole):
            return True  # nobody knows how old it is, and it keeps the others from being sealed
        before_us = microseconds(datetime.now(UTC)) - int(self._settings.tail_seconds * 1e6)
        return int(block([oldest]).times_us[0]) <= before_us

    def seal(self, stream: Stream, found: VersionedManifest) -> bool:
        """Make a segment of the oldest packets of the log. Return whether that was done.

        If two processes seal one stream, one fails and leaves nothing. A crash leaves orphaned objects, or sealed entries in
        the log, which the next maintenance drops.
        """
        manifest = found.manifest
        blocks, sequence = self._oldest(stream, manifest)
        if not blocks:
            return self._lose(stream, found)
        merged, before, octets = self._merged(stream, manifest)
        index = joined([*before, *blocks])
        segment = Segment(
            id=secrets.token_hex(12),
            first=index.first,
            last=index.last,
            packets=len(index),
            bytes=int(index.sizes.sum()),
            from_us=int(index.times_us[0]),
            to_us=int(index.times_us[-1]),
        )
        written = chain(octets, (bytes(one.octets) for one in blocks))
        self._store.segment_objects.put(stream, segment.id, written, index)
        after = msgspec.structs.replace(
            manifest,
            sequence=sequence,
            next=segment.last + 1,
            packets=manifest.packets + sum(map(len, blocks)),
            bytes=manifest.bytes + sum(len(one.octets) for one in blocks),
            newest=segment,
        )
        if not self._store.replace(stream, found, after, added=segment, removed=[merged] if merged else []):
            self._store.delete(stream, segment.id)
            return False
        log.info("%d packets of a stream (%d bytes) were sealed", segment.packets, segment.bytes)
        return True

    def _lose(self, stream: Stream, found: VersionedManifest) -> bool:
        """Drop the damaged entries that the log begins with, and note which packets they may have held.

        The last one stays until another entry comes: only that tells which indexes are lost. Returns whether that was done.
        """
        manifest, sequence = found.manifest, 0
        for page in self._store.pages(stream, manifest.sequence):
            if not isinstance(page, Hole):
                lost = manifest.next, first_index(page[0]) - 1
                after = msgspec.structs.replace(manifest, sequence=sequence, next=lost[1] + 1, lost=[*manifest.lost, lost])
                if sequence == 0 or not self._store.replace(stream, found, after):
                    return False
                log.error("the packets %d to %d of a stream were damaged in its log, and are lost", *lost)
                return True
            sequence = page.sequence
        return False

    def _oldest(self, stream: Stream, manifest: Manifest) -> tuple[list[Block], int]:
        """Packets of the log that make a segment, and the sequence of their last entry."""
        blocks, last, size, packets = list[Block](), 0, 0, 0
        for page in self._store.pages(stream, manifest.sequence):
            if isinstance(page, Hole):
                break  # what comes after it is sealed once it is dropped
            blocks.append(block(page))
            last, size, packets = page[-1].sequence, size + len(blocks[-1].octets), packets + len(blocks[-1])
            if size >= self._settings.segment_bytes or packets >= MOST_PACKETS:
                break
        return blocks, last

    def _merged(self, stream: Stream, manifest: Manifest) -> tuple[Segment | None, list[Block], list[bytes]]:
        """The newest segment with its index and bytes, if it is so small that the new segment should hold its packets too."""
        newest, objects = manifest.newest, self._store.segment_objects
        if newest is not None and newest.first >= manifest.floor and newest.is_small(self._settings.segment_bytes):
            # If its objects are lost or damaged, the log must not grow for that.
            with suppress(NoSuchObject, DamagedPackets):
                index = objects.index(stream, newest)
                octets = [bytes(chunk) for chunk in objects.data(stream, newest, 0, newest.bytes, index)]
                return newest, [index.block], octets
        return None, [], []

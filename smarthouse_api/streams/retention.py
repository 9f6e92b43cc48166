"""Retention of streams: removes a stream's oldest packets, by count, bytes and age."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np

from smarthouse_api.arrow.times import microseconds
from smarthouse_api.streams.heads import HeadSnapshot
from smarthouse_api.streams.metadata import Metadata
from smarthouse_api.streams.model import LARGEST_INDEX, Stream, StreamRetention
from smarthouse_api.streams.packet_encoding import Block, block
from smarthouse_api.streams.packet_store import Hole, Manifest, PacketStore, VersionedManifest
from smarthouse_api.streams.segment_objects import DamagedPackets
from smarthouse_api.streams.segments import Segment
from smarthouse_api.streams.sessions import HOLDS, Sessions

_SEGMENTS_AT_ONCE: Final = 500
_NEVER_US: Final = -(1 << 62)


@dataclass
class _Trimming:
    """Plans which packets of a stream are dropped, before the plan is committed.

    manifest: as it is after the drops so far. packets, bytes: how many are still too many. before_us: older packets are
    dropped. protected: packets at this index and above stay. removed: the segments that are dropped.
    """

    manifest: Manifest
    packets: int
    bytes: int
    before_us: int
    protected: int
    removed: list[Segment] = field(default_factory=list)

    def drops_all(self, segment: Segment) -> bool:
        """Return whether the whole segment is dropped, as far as that shows without a look at its packets."""
        if segment.last >= self.protected:
            return False
        return segment.packets <= self.packets or segment.bytes < self.bytes or segment.to_us < self.before_us

    def drop(self, packets: int, size: int, floor: int) -> None:
        """Drop this number of packets and bytes, below the index `floor`."""
        self.packets, self.bytes = self.packets - packets, self.bytes - size
        self.manifest = msgspec.structs.replace(
            self.manifest,
            floor=floor,
            dropped_packets=self.manifest.dropped_packets + packets,
            dropped_bytes=self.manifest.dropped_bytes + size,
        )

    def drop_first(self, packets: Block) -> bool:
        """Drop the first of these packets, as many as must be dropped. Return whether those were all."""
        before = np.cumsum(packets.sizes) - packets.sizes
        goes = (np.arange(len(packets)) < self.packets) | (before < self.bytes) | (packets.times_us < self.before_us)
        goes &= packets.indexes < self.protected
        count = len(packets) if goes.all() else int(np.argmin(goes))
        if count:
            self.drop(count, int(packets.sizes[:count].sum()), int(packets.indexes[count - 1]) + 1)
        return count == len(packets)


class PacketRetention:
    """Drops the packets that a stream's retention does not keep.

    Packets of held or open sessions, or being downloaded, stay.
    """

    def __init__(self, store: PacketStore, sessions: Sessions, metadata: Metadata) -> None:
        self._store, self._sessions, self._metadata = store, sessions, metadata

    def apply(self, stream: Stream, seen: HeadSnapshot, found: VersionedManifest) -> bool:
        """Hide the packets that are too many, too large or too old, and retire their segments.

        Return whether there were any.
        """
        if stream.retention == StreamRetention():
            return False
        holds = self._sessions.holds_version(stream)
        trimming = self._begin(stream, seen, found.manifest)
        if self._trim_segments(stream, trimming):
            self._trim_log(stream, trimming)
        manifest, removed = trimming.manifest, trimming.removed
        if manifest.newest in removed:
            manifest = msgspec.structs.replace(manifest, newest=None)
        is_less = bool(removed) or manifest != found.manifest
        if is_less and not self._store.replace(stream, found, manifest, removed=removed, expect={HOLDS: holds}):
            return False  # another process was first
        if manifest.floor:  # also if nothing is less: a crash may have left some
            self._metadata.forget_below(stream, manifest.floor)
            self._sessions.forget_below(stream, manifest.floor)
        return is_less

    def _begin(self, stream: Stream, seen: HeadSnapshot, manifest: Manifest) -> _Trimming:
        wanted, head = stream.retention, seen.head
        packets, size = head.packets - manifest.dropped_packets, head.bytes - manifest.dropped_bytes
        before_us = microseconds(datetime.now(UTC)) - int((wanted.seconds or 0) * 1e6)
        return _Trimming(
            manifest,
            packets=0 if wanted.packets is None else packets - wanted.packets,
            bytes=0 if wanted.bytes is None else size - wanted.bytes,
            before_us=_NEVER_US if wanted.seconds is None else max(before_us, _NEVER_US),
            protected=self._protected(stream, seen),
        )

    def _protected(self, stream: Stream, seen: HeadSnapshot) -> int:
        """The lowest index that somebody is using, or has asked to keep."""
        starts = [session.start for session in self._sessions.held(stream)]
        starts += [start for start, _ in self._sessions.downloads(stream)]
        if seen.head.open is not None and seen.is_owned:
            starts.append(seen.head.open.start)
        return min(starts, default=LARGEST_INDEX + 1)

    def _trim_segments(self, stream: Stream, trimming: _Trimming) -> bool:
        """Trim the segments, the oldest first. Return whether all of them are dropped."""
        for segment in self._store.segments(stream, trimming.manifest.floor):
            floor = trimming.manifest.floor
            if segment.first >= floor and trimming.drops_all(segment):
                trimming.drop(segment.packets, segment.bytes, segment.last + 1)
            elif not self._trim_segment(stream, segment, trimming):
                return False
            trimming.removed.append(segment)
            if len(trimming.removed) == _SEGMENTS_AT_ONCE:
                return False
        return True

    def _trim_segment(self, stream: Stream, segment: Segment, trimming: _Trimming) -> bool:
        """Drop the first packets of a segment. Return whether those were all. A damaged segment stays until all of it goes."""
        try:
            index = self._store.segment_objects.index(stream, segment).block
        except DamagedPackets:
            return False
        return trimming.drop_first(index.within(trimming.manifest.floor, LARGEST_INDEX))

    def _trim_log(self, stream: Stream, trimming: _Trimming) -> None:
        """Trim the log. An entry goes as a whole, and counts as sealed."""
        for page in self._store.pages(stream, trimming.manifest.sequence):
            if isinstance(page, Hole):
                return
            for entry in page:
                whole, before = block([entry]), trimming.manifest
                if not trimming.drop_first(whole.within(before.floor, LARGEST_INDEX)):
                    return
                trimming.manifest = msgspec.structs.replace(
                    trimming.manifest,
                    sequence=entry.sequence,
                    next=whole.last + 1,
                    packets=before.packets + len(whole),
                    bytes=before.bytes + len(whole.octets),
                )

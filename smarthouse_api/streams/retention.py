"""What a stream does not keep any more: its oldest packets, by count, bytes and age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np

from backends.ports import Change, Conflict, Put, StateStore
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.streams.blocks import Block, block
from smarthouse_api.streams.heads import BORN, Seen, space_of
from smarthouse_api.streams.metadata import Metadata
from smarthouse_api.streams.model import LARGEST_INDEX, Stream, StreamRetention
from smarthouse_api.streams.segments import REST, Found, Rest, Segment
from smarthouse_api.streams.sessions import HOLDS, Sessions
from smarthouse_api.streams.shelf import Shelf

_SEGMENTS_AT_ONCE: Final = 500
_NEVER_US: Final = -(1 << 62)


@dataclass
class _Excess:
    """What is to go: while so many packets, or bytes, are too many, or a packet is older; none from `protected` on."""

    packets: int
    bytes: int
    before_us: int
    protected: int

    def take(self, packets: int, size: int) -> None:
        self.packets, self.bytes = self.packets - packets, self.bytes - size

    def holds_all(self, segment: Segment) -> bool:
        """Whether all of a segment is to go, as far as that shows without a look at its packets."""
        if segment.last >= self.protected:
            return False
        return segment.packets <= self.packets or segment.bytes < self.bytes or segment.to_us < self.before_us

    def count(self, packets: Block) -> int:
        """How many of these packets are to go, from the first."""
        before = np.cumsum(packets.sizes) - packets.sizes
        goes = (np.arange(len(packets)) < self.packets) | (before < self.bytes) | (packets.times_us < self.before_us)
        goes &= packets.indexes < self.protected
        return len(packets) if goes.all() else int(np.argmin(goes))


class Retaining:
    """Applies what streams say of their retention. Held and open sessions, and downloads under way, keep their packets."""

    def __init__(self, state: StateStore, shelf: Shelf, sessions: Sessions, metadata: Metadata) -> None:
        self._state, self._shelf, self._sessions, self._metadata = state, shelf, sessions, metadata

    def apply(self, stream: Stream, seen: Seen, found: Found) -> bool:
        """Hide the packets that are too many, large or old, and let go of their segments; whether there were any."""
        if stream.retention == StreamRetention():
            return False
        holds = self._sessions.holds_version(stream)
        excess = self._excess(stream, seen, found.rest)
        rest, dead = self._without(stream, found.rest, excess)
        if rest == found.rest:
            self._forget_below(stream, rest.floor)  # what a crash has left
            return False
        change = Change(
            expect={BORN: stream.born, REST: found.version, HOLDS: holds},
            puts=(Put(REST, msgspec.json.encode(rest)),),
            deletes=tuple(segment.name for segment in dead),
        )
        try:
            self._state.commit(space_of(stream.key), change)
        except Conflict:
            return False  # another is at it
        self._shelf.drop(stream, found.rest.sequence, rest.sequence)
        self._forget_below(stream, rest.floor)
        return True

    def _forget_below(self, stream: Stream, floor: int) -> None:
        if floor:
            self._metadata.forget_below(stream, floor)
            self._sessions.forget_below(stream, floor)

    def _excess(self, stream: Stream, seen: Seen, rest: Rest) -> _Excess:
        wanted, head = stream.retention, seen.head
        packets, size = head.packets - rest.dropped_packets, head.bytes - rest.dropped_bytes
        before_us = microseconds(datetime.now(UTC)) - int((wanted.seconds or 0) * 1e6)
        return _Excess(
            packets=0 if wanted.packets is None else packets - wanted.packets,
            bytes=0 if wanted.bytes is None else size - wanted.bytes,
            before_us=_NEVER_US if wanted.seconds is None else max(before_us, _NEVER_US),
            protected=self._protected(stream, seen),
        )

    def _protected(self, stream: Stream, seen: Seen) -> int:
        """The lowest index that somebody is using, or has asked to keep."""
        starts = [session.start for session in self._sessions.held(stream)]
        starts += [start for start, _ in self._sessions.downloads(stream)]
        if seen.head.open is not None and seen.is_owned:
            starts.append(seen.head.open.start)
        return min(starts, default=LARGEST_INDEX + 1)

    def _without(self, stream: Stream, rest: Rest, excess: _Excess) -> tuple[Rest, list[Segment]]:
        """`rest` as it is to be, and the segments that no packet is read from any more."""
        dead = list[Segment]()
        for segment in self._shelf.segments(stream, rest.floor):
            if segment.first >= rest.floor and excess.holds_all(segment):
                rest = _raised(rest, excess, segment.last + 1, segment.packets, segment.bytes)
            else:
                packets = self._shelf.index(stream, segment).within(rest.floor, LARGEST_INDEX)
                rest, stays = _cut(rest, excess, packets)
                if stays:
                    return _emptied(rest, dead), dead
            dead.append(segment)
            if len(dead) == _SEGMENTS_AT_ONCE:
                return _emptied(rest, dead), dead
        return self._without_entries(stream, _emptied(rest, dead), excess), dead

    def _without_entries(self, stream: Stream, rest: Rest, excess: _Excess) -> Rest:
        """The same for the log, in which an entry goes as a whole, and counts as sealed."""
        for sequence, packets, whole in self._waiting(stream, rest):
            rest, stays = _cut(rest, excess, packets)
            if stays:
                break
            rest = msgspec.structs.replace(
                rest,
                sequence=sequence,
                next=whole.last + 1,
                packets=rest.packets + len(whole),
                bytes=rest.bytes + len(whole.octets),
            )
        return rest

    def _waiting(self, stream: Stream, rest: Rest) -> Iterator[tuple[int, Block, Block]]:
        for page in self._shelf.entries(stream, rest.sequence):
            for entry in page:
                whole = block([entry])
                yield entry.sequence, whole.within(rest.floor, LARGEST_INDEX), whole


def _cut(rest: Rest, excess: _Excess, packets: Block) -> tuple[Rest, bool]:
    """`rest` without the first of these packets, as many as are to go, and whether one stays."""
    count = excess.count(packets)
    if count:
        rest = _raised(rest, excess, int(packets.indexes[count - 1]) + 1, count, int(packets.sizes[:count].sum()))
    return rest, count < len(packets)


def _raised(rest: Rest, excess: _Excess, floor: int, packets: int, size: int) -> Rest:
    excess.take(packets, size)
    return msgspec.structs.replace(
        rest,
        floor=floor,
        dropped_packets=rest.dropped_packets + packets,
        dropped_bytes=rest.dropped_bytes + size,
    )


def _emptied(rest: Rest, dead: list[Segment]) -> Rest:
    """`rest` with the dead segments among the trash."""
    ids = [segment.id for segment in dead]
    newest = None if rest.newest is not None and rest.newest.id in ids else rest.newest
    return msgspec.structs.replace(rest, newest=newest, trash={**rest.trash, **dict.fromkeys(ids, time.time())})

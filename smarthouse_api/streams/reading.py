"""Reading packets: where a range of a stream's packets is, and the packets in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from backends.ports import NoSuchObject, PartDamaged, StateStore, StoreUnavailable
from smarthouse_api.errors import NotFound, Unavailable
from smarthouse_api.streams.heads import BORN, HEAD, Head, read_head, space_of
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.packet_encoding import Block, block, first_index
from smarthouse_api.streams.packet_store import Hole, Manifest, PacketStore
from smarthouse_api.streams.segment_objects import DamagedPackets
from smarthouse_api.streams.segment_sums import SegmentIndex
from smarthouse_api.streams.segments import Segment

_BLOCK_BYTES: Final = 2 << 20
_SHORT_LOG: Final = 64
_ATTEMPTS: Final = 16
_FAR: Final = 100


@dataclass(frozen=True, slots=True)
class SegmentRange:
    """Reads a range of packets that lie in one segment.

    first, last: the first and the last index. packets: their number. size: their bytes. begin: where their bytes begin in the
    segment's. to_us: when the last of them came, in microseconds since 1970. index: the segment's, if they were found by it.
    """

    store: PacketStore
    stream: Stream
    segment: Segment
    first: int
    last: int
    packets: int
    begin: int
    size: int
    to_us: int
    index: SegmentIndex | None = None

    @property
    def is_whole(self) -> bool:
        """Whether these are all packets of the segment."""
        return self.packets == self.segment.packets

    def octets(self, start: int, length: int) -> Iterator[bytes | memoryview]:
        """`length` of the packets' bytes from `start`."""
        return self._octets(start, length, self.index)

    def blocks(self) -> Iterator[Block]:
        """Return the packets, a few MB at a time."""
        found = self.index or self.store.segment_objects.index(self.stream, self.segment)
        index = found.block
        low, high = index.positions(self.first, self.last)
        ends = np.cumsum(index.sizes[low:high])
        # One request for all, cut into blocks as it comes.
        chunks, held, done = self._octets(0, self.size, found), b"", 0
        while done < high - low:
            begin = int(ends[done - 1]) if done else 0
            until = max(int(np.searchsorted(ends, begin + _BLOCK_BYTES, "right")), done + 1)
            size = int(ends[until - 1]) - begin
            parts, there = [held], len(held)
            while there < size:
                if not (chunk := next(chunks, b"")):
                    raise StoreUnavailable("A segment's object is shorter than when it was stored")
                parts.append(bytes(chunk))
                there += len(chunk)
            octets = b"".join(parts)
            yield index.part(low + done, low + until, octets[:size])
            held, done = octets[size:], until

    def _octets(self, start: int, length: int, index: SegmentIndex | None) -> Iterator[bytes | memoryview]:
        return self.store.segment_objects.data(self.stream, self.segment, self.begin + start, length, index)


@dataclass(frozen=True, slots=True)
class LogRange:
    """Reads a range of packets that were in the log when they were looked for.

    Its attributes are those of a `SegmentRange`, except begin, end: the sequences of the first and the last entry.
    """

    reader: PacketReader
    stream: Stream
    first: int
    last: int
    packets: int
    size: int
    begin: int
    end: int
    to_us: int

    def octets(self, start: int, length: int) -> Iterator[bytes | memoryview]:
        """`length` of the packets' bytes from `start`."""
        for one in self.blocks():
            view = memoryview(one.octets)[start : start + length]
            start, length = max(start - len(one.octets), 0), length - len(view)
            if view:
                yield view
            if not length:
                return

    def blocks(self) -> Iterator[Block]:
        """Return the packets, a few MB at a time."""
        expected, following = self.begin, self.first
        for page in self.reader.store.entries(self.stream, self.begin - 1, self.end):
            if page[0].sequence != expected:
                break
            expected = page[-1].sequence + 1
            part = block(page).within(self.first, self.last)
            if len(part):
                yield part
                following = part.last + 1
        if expected <= self.end:
            # They were sealed meanwhile.
            yield from self.reader.blocks(self.stream, following, self.last)


PacketRange = SegmentRange | LogRange


class PacketReader:
    """Finds and reads ranges of packets, even if other processes seal, merge and drop packets meanwhile."""

    def __init__(self, state: StateStore, store: PacketStore) -> None:
        self._state, self.store = state, store

    def ranges(self, stream: Stream, start: int, stop: int) -> list[PacketRange]:
        """Find the packets with an index from `start` to `stop`, as ranges in order; none if there is no packet.

        Raises `NotFound` when the stream was deleted.
        """
        for _ in range(_ATTEMPTS):
            manifest, version = self.store.manifest(stream)
            low, missing, ranges = max(start, manifest.floor), None, list[PacketRange]()
            _refuse_lost(manifest, low, stop)
            try:
                ranges += self._sealed(stream, low, stop)
            except NoSuchObject as error:
                missing = error  # no fault if its segment was merged meanwhile, which the next look tells
            if stop >= manifest.next:
                ranges += self._unsealed(stream, manifest, low, stop)
            if self.store.manifest(stream).version == version:
                if missing is not None:
                    raise missing
                if not ranges and self._state.get(space_of(stream.key), BORN) is None:
                    raise NotFound("The stream was deleted", reason="STREAM_NOT_FOUND")
                return ranges
        raise Unavailable("This stream's packets are being moved too often; repeat the request")

    def blocks(self, stream: Stream, start: int, stop: int) -> Iterator[Block]:
        """Return the packets with an index from `start` to `stop`, a few MB at a time."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                for found in self.ranges(stream, start, stop):
                    for one in found.blocks():
                        yield one
                        start = one.last + 1
                return
            except NoSuchObject:  # its segment was merged meanwhile, or is not kept any more
                if attempt == _ATTEMPTS:
                    raise

    def at(self, stream: Stream, indexes: Sequence[int]) -> dict[int, bytes]:
        """Return the packets that exist at these ascending indexes. Long gaps between the indexes are not read."""
        wanted, found = set(indexes), dict[int, bytes]()
        for start, stop in _runs(indexes):
            for one in self.blocks(stream, start, stop):
                found |= {packet.index: packet.data for packet in one.packets() if packet.index in wanted}
        return found

    def _sealed(self, stream: Stream, start: int, stop: int) -> Iterator[PacketRange]:
        for segment in self.store.segments(stream, start):
            first, last, begin = segment.first, segment.last, 0
            if first > stop:
                return
            packets, size, to_us, found = segment.packets, segment.bytes, segment.to_us, None
            if first < start or stop < last:
                found = self.store.segment_objects.index(stream, segment)
                index = found.block
                low, high = index.positions(start, stop)
                if low >= high:
                    continue
                first, last, to_us = int(index.indexes[low]), int(index.indexes[high - 1]), int(index.times_us[high - 1])
                packets, begin, size = high - low, int(index.sizes[:low].sum()), int(index.sizes[low:high].sum())
            yield SegmentRange(self.store, stream, segment, first, last, packets, begin, size, to_us, found)

    def _unsealed(self, stream: Stream, manifest: Manifest, start: int, stop: int) -> Iterator[PacketRange]:
        """The part of the range that is in the log. Raises `DamagedPackets` if an entry that may have some of it is damaged."""
        found = self._state.get(space_of(stream.key), HEAD)
        head = Head() if found is None else read_head(found.value)
        if head.next <= manifest.next:
            return
        log = self._log(stream, manifest, head)
        if log is not None and start <= log.first and log.last <= stop:
            yield log
            return
        first, last, packets, size, begin, end, to_us = -1, -1, 0, 0, 0, 0, 0
        hole_from, seen = -1, -1
        for page in self.store.pages(stream, self._before(stream, manifest, start)):
            if isinstance(page, Hole):
                hole_from = seen + 1 if hole_from < 0 else hole_from
                continue
            if hole_from >= 0:
                _refuse(hole_from, first_index(page[0]) - 1, start, stop)
                hole_from = -1
            if first_index(page[0]) > stop:
                break
            whole = block(page)
            part, seen = whole.within(start, stop), whole.last
            if len(part):
                first, last, to_us = part.first if first < 0 else first, part.last, int(part.times_us[-1])
                begin, end = begin or page[0].sequence, page[-1].sequence
                packets, size = packets + len(part), size + int(part.sizes.sum())
        if hole_from >= 0:
            _refuse(hole_from, max(head.next - 1, hole_from), start, stop)
        if packets:
            yield LogRange(self, stream, first, last, packets, size, begin, end, to_us)

    def _log(self, stream: Stream, manifest: Manifest, head: Head) -> LogRange | None:
        """The whole log, as the head counts it: only the first entry is read. None if it is not known that all are whole."""
        try:
            oldest = self.store.entry(stream, manifest.sequence)
        except PartDamaged:
            return None
        if oldest is None or manifest.lost:
            return None
        # The log may hold more by now, above the head's last packet, which is not of this range.
        end = self.store.last_sequence(stream)
        packets, size = head.packets - manifest.packets, head.bytes - manifest.bytes
        return LogRange(
            self, stream, first_index(oldest), head.next - 1, packets, size, oldest.sequence, end, head.last_us or 0
        )

    def _before(self, stream: Stream, manifest: Manifest, start: int) -> int:
        """A sequence of the log below all packets from `start`, and not far below."""
        low, high = manifest.sequence, self.store.last_sequence(stream)
        while high - low > _SHORT_LOG:
            middle = (low + high) // 2
            found = self.store.whole_entry(stream, middle)
            if found is None or first_index(found) > start:
                high = middle
            else:
                low = middle
        return low


def _refuse_lost(manifest: Manifest, start: int, stop: int) -> None:
    for first, last in manifest.lost:
        _refuse(first, last, start, stop, where="the log, and are lost")


def _refuse(first: int, last: int, start: int, stop: int, where: str = "the log") -> None:
    """Raise `DamagedPackets` for packets that are damaged and asked for, from `start` to `stop`."""
    if first <= stop and last >= start:
        raise DamagedPackets(first, last, where)


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of those ascending indexes that are not far from each other."""
    start = 0
    for end in range(1, len(indexes) + 1):
        if end == len(indexes) or indexes[end] - indexes[end - 1] > _FAR:
            yield indexes[start], indexes[end - 1]
            start = end

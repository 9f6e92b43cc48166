"""Where packets rest, and how a range of them is read.

The newest are entries of the log `packets` in the stream's space; older ones are sealed into segments, two objects each,
`packets/<home key>/<stream key>/<segment>.data`, their bytes one after another, and `.index`. In the stream's space besides:

    segment/<last index>    a segment, by the index of its last packet
    rest                    how far the log is sealed, and what is not read any more

A packet is in the log or in a segment at any time; a reader who sees `rest` change looks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import numpy as np

from backends.ports import ABSENT, Change, Entry, NoSuchObject, ObjectStore, StateStore, StoreUnavailable
from smarthouse_api.errors import NotFound, Unavailable
from smarthouse_api.streams.blocks import Block, block, first_index, index_of
from smarthouse_api.streams.heads import BORN, HEAD, Head, space_of
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.segments import LOG, REST, Found, Rest, Segment, object_name, segment_name

_BLOCK_BYTES: Final = 2 << 20
_PAGE_BYTES: Final = 4 << 20
_FEWEST: Final = 8
_MOST: Final = 1000
_SHORT_LOG: Final = 64
_ATTEMPTS: Final = 16
_FAR: Final = 100
_rest = msgspec.json.Decoder(Rest).decode
_segment = msgspec.json.Decoder(Segment).decode
_head = msgspec.json.Decoder(Head).decode


class Piece(Protocol):
    """Packets of one place: so many, with so many bytes, from index `first` to `last`, which came at `to_us`."""

    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def packets(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def to_us(self) -> int: ...

    def octets(self, start: int, length: int) -> Iterator[bytes | memoryview]:
        """`length` of the packets' bytes from `start`."""

    def blocks(self) -> Iterator[Block]:
        """The packets, a few MB at a time."""


@dataclass(frozen=True, slots=True)
class SegmentPiece:
    """A segment, or a part of it. begin: of its bytes in the segment's."""

    shelf: Shelf
    stream: Stream
    segment: Segment
    first: int
    last: int
    packets: int
    begin: int
    size: int
    to_us: int

    @property
    def is_whole(self) -> bool:
        return self.packets == self.segment.packets

    def octets(self, start: int, length: int) -> Iterator[bytes | memoryview]:
        return self.shelf.data(self.stream, self.segment, self.begin + start, length)

    def blocks(self) -> Iterator[Block]:
        index = self.shelf.index(self.stream, self.segment)
        low, high = index.positions(self.first, self.last)
        ends = np.cumsum(index.sizes[low:high])
        # One request for all, cut into blocks as it comes.
        chunks, held, done = self.octets(0, self.size), b"", 0
        while done < high - low:
            begin = int(ends[done - 1]) if done else 0
            until = max(int(np.searchsorted(ends, begin + _BLOCK_BYTES, "right")), done + 1)
            size = int(ends[until - 1]) - begin
            parts, there = [held], len(held)
            while there < size:
                if not (chunk := next(chunks, b"")):
                    raise StoreUnavailable("an object is shorter than it was when it was put")
                parts.append(bytes(chunk))
                there += len(chunk)
            octets = b"".join(parts)
            yield index.part(low + done, low + until, octets[:size])
            held, done = octets[size:], until


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Packets that were not sealed when they were looked for. begin, end: the sequences of their entries."""

    shelf: Shelf
    stream: Stream
    first: int
    last: int
    packets: int
    size: int
    begin: int
    end: int
    to_us: int

    def octets(self, start: int, length: int) -> Iterator[bytes | memoryview]:
        for one in self.blocks():
            view = memoryview(one.octets)[start : start + length]
            start, length = max(start - len(one.octets), 0), length - len(view)
            if view:
                yield view
            if not length:
                return

    def blocks(self) -> Iterator[Block]:
        expected, following = self.begin, self.first
        for page in self.shelf.entries(self.stream, self.begin - 1, self.end):
            if page[0].sequence != expected:
                break
            expected = page[-1].sequence + 1
            part = block(page).within(self.first, self.last)
            if len(part):
                yield part
                following = part.last + 1
        if expected <= self.end:
            # They were sealed meanwhile.
            yield from self.shelf.blocks(self.stream, following, self.last)


class Shelf:
    """The packets of all streams."""

    def __init__(self, state: StateStore, objects: ObjectStore) -> None:
        self._state, self._objects = state, objects

    def found(self, stream: Stream) -> Found:
        found = self._state.get(space_of(stream.key), REST)
        return Found(Rest(), ABSENT) if found is None else Found(_rest(found.value), found.version)

    def pieces(self, stream: Stream, start: int, stop: int) -> list[Piece]:
        """Where the packets with an index from `start` to `stop` are, in order; none may be.

        Raises `NotFound` when the stream was deleted.
        """
        for _ in range(_ATTEMPTS):
            found = self.found(stream)
            low, missing, pieces = max(start, found.rest.floor), None, list[Piece]()
            try:
                pieces += self._sealed(stream, low, stop)
            except NoSuchObject as error:
                missing = error  # of a segment that was merged meanwhile, if the next look tells so
            if stop >= found.rest.next:
                pieces += self._waiting(stream, found.rest, low, stop)
            if self.found(stream).version == found.version:
                if missing is not None:
                    raise missing
                if not pieces and self._state.get(space_of(stream.key), BORN) is None:
                    raise NotFound("The stream was deleted", reason="STREAM_NOT_FOUND")
                return pieces
        raise Unavailable("This stream's packets are being moved too often; repeat the request")

    def blocks(self, stream: Stream, start: int, stop: int) -> Iterator[Block]:
        """The packets with an index from `start` to `stop`, a few MB at a time."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                for piece in self.pieces(stream, start, stop):
                    for one in piece.blocks():
                        yield one
                        start = one.last + 1
                return
            except NoSuchObject:  # of a segment that was merged meanwhile, or is not kept any more
                if attempt == _ATTEMPTS:
                    raise

    def at(self, stream: Stream, indexes: Sequence[int]) -> dict[int, bytes]:
        """The packets at these indexes, ascending, as far as there are any. What is far between them is not read."""
        wanted, found = set(indexes), dict[int, bytes]()
        for start, stop in _runs(indexes):
            for one in self.blocks(stream, start, stop):
                found |= {packet.index: packet.data for packet in one.packets() if packet.index in wanted}
        return found

    def segments(self, stream: Stream, start: int = 0) -> Iterator[Segment]:
        """The segments with a packet at `start` or above, ascending."""
        space, after = space_of(stream.key), segment_name(start - 1) if start else ""
        while page := self._state.scan(space, "segment/", after):
            yield from (_segment(document.value) for _, document in page)
            after = page[-1][0]

    def entries(self, stream: Stream, after: int, last: int | None = None) -> Iterator[list[Entry]]:
        """The log's entries after a sequence, a few MB at a time."""
        limit = _FEWEST
        while page := self._state.read(space_of(stream.key), LOG, after, limit):
            if last is not None and page[-1].sequence > last:
                page = [entry for entry in page if entry.sequence <= last]
            if not page:
                return
            yield page
            after = page[-1].sequence
            average = max(sum(len(entry.value) for entry in page) // len(page), 1)
            limit = min(max(_PAGE_BYTES // average, _FEWEST), _MOST)

    def drop(self, stream: Stream, after: int, last: int) -> None:
        """Remove the log's entries above one sequence, and up to another, for good."""
        for low in range(after + 1, last + 1, _MOST):
            drops = tuple((LOG, sequence) for sequence in range(low, min(low + _MOST, last + 1)))
            self._state.commit(space_of(stream.key), Change(drops=drops))

    def index(self, stream: Stream, segment: Segment) -> Block:
        """A segment's packets without their bytes."""
        return index_of(self._objects.get(f"{object_name(stream, segment.id)}.index"))

    def data(self, stream: Stream, segment: Segment, start: int, length: int) -> Iterator[bytes]:
        """A part of a segment's packets' bytes. Raises `NoSuchObject` when called."""
        return self._objects.stream(f"{object_name(stream, segment.id)}.data", start, length)

    def _sealed(self, stream: Stream, start: int, stop: int) -> Iterator[Piece]:
        for segment in self.segments(stream, start):
            if segment.first > stop:
                return
            if start <= segment.first and segment.last <= stop:
                yield SegmentPiece(
                    self, stream, segment, segment.first, segment.last, segment.packets, 0, segment.bytes, segment.to_us
                )
            elif (part := self._part(stream, segment, start, stop)) is not None:
                yield part

    def _part(self, stream: Stream, segment: Segment, start: int, stop: int) -> Piece | None:
        index = self.index(stream, segment)
        low, high = index.positions(start, stop)
        if low >= high:
            return None
        begin, size = int(index.sizes[:low].sum()), int(index.sizes[low:high].sum())
        first, last = int(index.indexes[low]), int(index.indexes[high - 1])
        return SegmentPiece(self, stream, segment, first, last, high - low, begin, size, int(index.times_us[high - 1]))

    def _waiting(self, stream: Stream, rest: Rest, start: int, stop: int) -> Iterator[Piece]:
        """What of the range is in the log, as one piece."""
        log = self._log(stream, rest)
        if log is None or (start <= log.first and log.last <= stop):
            yield from () if log is None else (log,)
            return
        after, first, last, packets, size = self._before(stream, rest, start), -1, -1, 0, 0
        begin, end, to_us = 0, 0, 0
        for page in self.entries(stream, after):
            if first_index(page[0]) > stop:
                break
            part = block(page).within(start, stop)
            if len(part):
                first, last, to_us = part.first if first < 0 else first, part.last, int(part.times_us[-1])
                begin, end = begin or page[0].sequence, page[-1].sequence
                packets, size = packets + len(part), size + int(part.sizes.sum())
        if packets:
            yield LogPiece(self, stream, first, last, packets, size, begin, end, to_us)

    def _log(self, stream: Stream, rest: Rest) -> LogPiece | None:
        """All of the log, by what the head counts: of the packets themselves, only the first entry is read."""
        space = space_of(stream.key)
        found = self._state.get(space, HEAD)
        head = Head() if found is None else _head(found.value)
        oldest = self._state.read(space, LOG, rest.sequence, 1) if head.next > rest.next else []
        if not oldest:
            return None
        # Perhaps there are more by now, above the head's last; they are not of the piece.
        end = self._state.last_sequence(space, LOG)
        first, packets, size = first_index(oldest[0]), head.packets - rest.packets, head.bytes - rest.bytes
        return LogPiece(self, stream, first, head.next - 1, packets, size, oldest[0].sequence, end, head.last_us or 0)

    def _before(self, stream: Stream, rest: Rest, start: int) -> int:
        """A sequence of the log after which all packets from `start` are; not far before them."""
        space = space_of(stream.key)
        low, high = rest.sequence, self._state.last_sequence(space, LOG)
        while high - low > _SHORT_LOG:
            middle = (low + high) // 2
            found = self._state.read(space, LOG, middle, 1)
            if not found or first_index(found[0]) > start:
                high = middle
            else:
                low = middle
        return low


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of those ascending indexes that are not far from each other."""
    start = 0
    for end in range(1, len(indexes) + 1):
        if end == len(indexes) or indexes[end] - indexes[end - 1] > _FAR:
            yield indexes[start], indexes[end - 1]
            start = end

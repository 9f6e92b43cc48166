"""Packets of one place, as a reader takes them: a segment or a part of it, or what is in the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from backends.ports import StoreUnavailable
from smarthouse_api.streams.blocks import Block, block
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.segments import Segment

if TYPE_CHECKING:
    from smarthouse_api.streams.shelf import Shelf

_BLOCK_BYTES: Final = 2 << 20


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

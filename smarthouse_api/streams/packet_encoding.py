"""The encoding of packets: entries of a stream's log, and blocks of packets as arrays.

An entry holds the packets of one append, or a part of them: a head (form, kind, time, first index, count), then for kind 1 each
index, then each length unless there is one packet, then the packets' bytes. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from backends.ports import Entry
from smarthouse_api.arrow.times import time_of
from smarthouse_api.streams.model import Packet

_HEAD: Final = struct.Struct("<BBqqI")
_FORM: Final = 1
_CONSECUTIVE, _NAMED = 0, 1
_ENTRY_BYTES: Final = 256 << 10
"""About how large an entry is, unless one packet is larger."""
_NUMBERS_BYTES: Final = 12
"""Bytes that an entry holds for a packet besides its own, at most: an index and a length."""

Numbers = NDArray[np.int64]


def entries(packets: Sequence[tuple[int, bytes]], received_us: int) -> list[bytes]:
    """Encode packets, each with its index, ascending, as values of a log."""
    values, part, size = [], list[tuple[int, bytes]](), 0
    for packet in packets:
        here = _NUMBERS_BYTES + len(packet[1])
        if part and size + here > _ENTRY_BYTES:
            values.append(_entry(part, received_us))
            part, size = [], 0
        part.append(packet)
        size += here
    return [*values, _entry(part, received_us)]


def _entry(packets: list[tuple[int, bytes]], received_us: int) -> bytes:
    first, count = packets[0][0], len(packets)
    named = packets[-1][0] - first != count - 1
    parts = [_HEAD.pack(_FORM, _NAMED if named else _CONSECUTIVE, received_us, first, count)]
    if named:
        parts.append(struct.pack(f"<{count}q", *(index for index, _ in packets)))
    if count > 1:
        parts.append(struct.pack(f"<{count}I", *(len(data) for _, data in packets)))
    return b"".join((*parts, *(data for _, data in packets)))


def first_index(entry: Entry) -> int:
    """Return the index of an entry's first packet."""
    return int(_HEAD.unpack_from(entry.value)[3])


@dataclass(frozen=True)
class Block:
    """Holds successive packets as arrays: index, time (microseconds since 1970) and size of each, and all their bytes."""

    indexes: Numbers
    times_us: Numbers
    sizes: Numbers
    octets: bytes | memoryview

    def __len__(self) -> int:
        return len(self.indexes)

    @property
    def first(self) -> int:
        return int(self.indexes[0])

    @property
    def last(self) -> int:
        return int(self.indexes[-1])

    def within(self, start: int, stop: int) -> Block:
        """Return the packets of the block that have an index from `start` to `stop`."""
        low, high = self.positions(start, stop)
        if (low, high) == (0, len(self)):
            return self
        begin, end = int(self.sizes[:low].sum()), int(self.sizes[:high].sum())
        return self.part(low, high, memoryview(self.octets)[begin:end])

    def positions(self, start: int, stop: int) -> tuple[int, int]:
        """Return the slice of positions whose packets have an index from `start` to `stop`: its begin and its end."""
        return int(np.searchsorted(self.indexes, start)), int(np.searchsorted(self.indexes, stop, "right"))

    def part(self, low: int, high: int, octets: bytes | memoryview) -> Block:
        """Return the packets at these positions, whose bytes are given."""
        return Block(self.indexes[low:high], self.times_us[low:high], self.sizes[low:high], octets)

    def packets(self) -> Iterator[Packet]:
        """Return the packets one by one."""
        view, at = memoryview(self.octets), 0
        for index, us, size in zip(self.indexes.tolist(), self.times_us.tolist(), self.sizes.tolist(), strict=True):
            yield Packet(index, time_of(us), bytes(view[at : at + size]))
            at += size


def block(entries: Sequence[Entry]) -> Block:
    """Decode entries of a log; at least one."""
    indexes, times_us, sizes = list[int](), list[int](), list[int]()
    octets = list[memoryview]()
    for entry in entries:
        view = memoryview(entry.value)
        _, kind, us, first, count = _HEAD.unpack_from(view)
        at = _HEAD.size
        if kind == _NAMED:
            indexes += struct.unpack_from(f"<{count}q", view, at)
            at += 8 * count
        else:
            indexes += range(first, first + count)
        if count > 1:
            sizes += struct.unpack_from(f"<{count}I", view, at)
            at += 4 * count
        else:
            sizes.append(len(view) - at)
        times_us += [us] * count
        octets.append(view[at:])
    whole = octets[0] if len(octets) == 1 else b"".join(octets)
    return Block(np.array(indexes, np.int64), np.array(times_us, np.int64), np.array(sizes, np.int64), whole)


def joined(blocks: Sequence[Block]) -> Block:
    """Return the blocks as one, without their bytes."""
    return Block(
        np.concatenate([one.indexes for one in blocks]),
        np.concatenate([one.times_us for one in blocks]),
        np.concatenate([one.sizes for one in blocks]),
        b"",
    )


def index_bytes(whole: Block) -> bytes:
    """Encode a block without its packets' bytes, for a segment's index."""
    numbers = np.concatenate([np.diff(whole.indexes, prepend=0), np.diff(whole.times_us, prepend=0), whole.sizes])
    return zstandard.compress(numbers.astype("<i8").tobytes())


def index_of(packed: bytes) -> Block:
    """Decode what `index_bytes` encoded."""
    numbers = np.frombuffer(zstandard.decompress(packed), "<i8").astype(np.int64).reshape(3, -1)
    return Block(np.cumsum(numbers[0]), np.cumsum(numbers[1]), numbers[2], b"")

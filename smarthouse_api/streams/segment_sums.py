"""Sums of a segment's two objects, so that damaged packets are never sent.

The bytes of a segment are summed in pieces of 64 KiB, so that a part can be checked without the rest. The index object holds:

    S1                  the form
    CRC-32              of the segment's id and the sums below
    CRC-32 ...          of each piece
    CRC-32              of the segment's id and the rest
    the rest            the packets without their bytes; see `index_bytes`

Numbers have four bytes, little-endian. The id keeps one segment's index from being taken for another's. Until format 4 an index
object was the rest alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import zstandard
from isal import isal_zlib

from smarthouse_api.streams.packet_encoding import Block, index_bytes, index_of

PIECE_BYTES: Final = 64 << 10
_FORM: Final = b"S1\0\0"
_OLD_FORM: Final = zstandard.FRAME_HEADER
_NUMBER: Final = struct.Struct("<I")

Sums = tuple[int, ...]
"""The CRC-32 of each piece of a segment's bytes."""


class BadIndex(Exception):
    """Says that an index object is not the one that was stored."""


class BadPiece(Exception):
    """Says that a piece of a segment's bytes is not the one that was stored. at: where it begins."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


@dataclass(frozen=True)
class SegmentIndex:
    """Holds what an index object says. sums: None in one of an earlier format."""

    packed: bytes
    sums: Sums | None

    @cached_property
    def block(self) -> Block:
        """The packets without their bytes. Raises `BadIndex`."""
        try:
            return index_of(self.packed)
        except Exception as fault:  # whatever the bytes of an old index lead to
            raise BadIndex from fault


class Summing:
    """Sums bytes while they pass on their way to the store."""

    def __init__(self) -> None:
        self._sums, self._crc, self._size = list[int](), 0, 0

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on the chunks."""
        for chunk in chunks:
            view, at = memoryview(chunk), 0
            while at < len(view):
                part = view[at : at + PIECE_BYTES - self._size]
                self._crc, self._size, at = isal_zlib.crc32(part, self._crc), self._size + len(part), at + len(part)
                if self._size == PIECE_BYTES:
                    self._end()
            yield chunk

    def sums(self) -> Sums:
        """Return the sums of all that has passed."""
        if self._size:
            self._end()
        return tuple(self._sums)

    def _end(self) -> None:
        self._sums.append(self._crc)
        self._crc, self._size = 0, 0


def index_object(id_: str, sums: Sums, packed: bytes) -> bytes:
    """Encode an index object. id_: the segment's. packed: see `index_bytes`."""
    numbers = struct.pack(f"<{len(sums)}I", *sums)
    return b"".join((_FORM, _sum(id_, numbers), numbers, _sum(id_, packed), packed))


def new_index(id_: str, sums: Sums, index: Block) -> bytes:
    """Encode the index object of a new segment."""
    return index_object(id_, sums, index_bytes(index))


def head_bytes(size: int) -> int:
    """Return the bytes of an index object that hold the sums of so many bytes."""
    return len(_FORM) + _NUMBER.size * (1 + _count(size))


def read_sums(id_: str, size: int, head: bytes) -> Sums | None:
    """Read the head of an index object; None if it is of an earlier format. size: of the segment. Raises `BadIndex`."""
    if head.startswith(_OLD_FORM):
        return None
    begin = len(_FORM) + _NUMBER.size
    numbers = head[begin : head_bytes(size)]
    if not head.startswith(_FORM) or len(head) < head_bytes(size) or head[len(_FORM) : begin] != _sum(id_, numbers):
        raise BadIndex
    return struct.unpack(f"<{_count(size)}I", numbers)


def read_index(id_: str, size: int, stored: bytes) -> SegmentIndex:
    """Read an index object. size: of the segment. Raises `BadIndex`."""
    if (sums := read_sums(id_, size, stored)) is None:
        return SegmentIndex(stored, None)
    begin = head_bytes(size) + _NUMBER.size
    packed = stored[begin:]
    if stored[begin - _NUMBER.size : begin] != _sum(id_, packed):
        raise BadIndex
    return SegmentIndex(packed, sums)


def checked(chunks: Iterable[bytes], sums: Sums, at: int, end: int) -> Iterator[bytes | memoryview]:
    """Pass on bytes whose sums are right. at, end: where they begin and end, each at a piece's bound, or at the segment's end.

    Raises `BadPiece`, also when the bytes end too soon.
    """
    held = b""
    for chunk in chunks:
        whole = held + chunk if held else chunk
        ready = len(whole) if at + len(whole) >= end else len(whole) - len(whole) % PIECE_BYTES
        view = memoryview(whole)[:ready]
        for begin in range(0, ready, PIECE_BYTES):
            if isal_zlib.crc32(view[begin : begin + PIECE_BYTES]) != sums[(at + begin) // PIECE_BYTES]:
                raise BadPiece(at + begin)
        if ready:
            yield whole if ready == len(whole) else view
        held, at = whole[ready:], at + ready
    if at < end:
        raise BadPiece(at)


def _sum(id_: str, told: bytes) -> bytes:
    return _NUMBER.pack(isal_zlib.crc32(told, isal_zlib.crc32(id_.encode())))


def _count(size: int) -> int:
    return -(-size // PIECE_BYTES)

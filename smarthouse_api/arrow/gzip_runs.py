"""Gzip files of others as runs of a deflated stream: nothing is deflated again.

A deflated stream ends with its last block, which says that it is the last. This says so no more, and the run is filled up to a
whole byte, as `Z_FULL_FLUSH` does. No library tells where a block begins, so its beginning is looked for near the end:

1. What can begin a block of a last code, or of plain bytes, by its first bits is a candidate. These are very few.
2. A candidate counts if it can be inflated to the very end of the stream. What bytes it refers to does not matter for that.
3. Unless exactly one candidate counts, the file is inflated and deflated again. So are small files.

Every file is inflated once, and compared with its checksum: no run has damaged bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

_CHUNK_BYTES: Final = 256 << 10
_BACK: Final = (24 << 10, 64 << 10, 192 << 10)
"""How many bytes before the end are looked at, one after the other: in the last, zlib and miniz begin their last block."""

_FEW_BYTES: Final = 4 << 10
_PLAIN_BYTES: Final = 4 << 20
_HEADER_BYTES: Final = 10
_TRAILER_BYTES: Final = 8
_WINDOW: Final = bytes(32 << 10)
_ENDED: Final = b"\x03\x00"
_FILLINGS: Final = (b"\x00\x00\xff\xff", b"\x00\x00\x00\xff\xff")
"""An empty block of plain bytes, without the bits that fit into the byte before, or with them."""

_EMPTY: Final = (0b010, 10)
_OF_ONE_BYTE: Final = (0b111111111010, 19)
"""Blocks of the code that all know, as numbers, and their bits."""

_PLAIN, _CODED = 0, 2
_LENGTHS_AT: Final = 17
_MOST_LENGTHS: Final = 19
_WHOLE: Final = 1 << 7

Bits = npt.NDArray[np.uint8]


class NotGzip(Exception):
    """Says that bytes are no gzip file of one member, or a damaged one."""


class Told(NamedTuple):
    """Holds what a gzip file tells of its plain bytes: their CRC-32, and how many there are, modulo 2^32."""

    crc: int
    size: int


def told_by(file: IO[bytes]) -> Told:
    """Read the end of a gzip file. Raises `NotGzip`."""
    size = file.seek(0, 2)
    if size < _HEADER_BYTES + _TRAILER_BYTES:
        raise NotGzip
    file.seek(size - _TRAILER_BYTES)
    end = file.read()
    return Told(int.from_bytes(end[:4], "little"), int.from_bytes(end[4:], "little"))


def run_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a gzip file as a run: of whole bytes, without a last block.

    Raises `NotGzip`, at the end for a file whose bytes do not have its checksum.
    """
    size = file.seek(0, 2)
    begin, end = _begin(file), size - _TRAILER_BYTES
    if end - begin < _FEW_BYTES:
        yield from _again(file)
        return
    for back in _BACK:
        cut = max(begin, end - back)
        file.seek(cut)
        if (tail := opened(file.read(end - cut))) is not None:
            break
    else:
        yield from _again(file)
        return
    check = _Inflating()
    file.seek(0)
    check.feed(file.read(begin))
    for at in range(begin, cut, _CHUNK_BYTES):
        check.feed(chunk := file.read(min(_CHUNK_BYTES, cut - at)))
        yield chunk
    check.feed(file.read())
    check.end()
    yield tail


def opened(tail: bytes) -> bytes | None:
    """Take from the end of a deflated stream that it is the end, and fill it up; None if that cannot be done for sure."""
    bits = np.unpackbits(np.frombuffer(tail, np.uint8), bitorder="little")
    whole = int.from_bytes(tail, "little")
    found = [place for place in _candidates(bits, tail) if _inflated(whole >> place, len(bits) - place) is not None]
    if len(found) != 1:
        return None
    (place,) = found
    open_ = whole & ~(1 << place)
    before, count = _blocks_before(place % 8)
    for filling in _FILLINGS:
        more = int.from_bytes(filling + _ENDED, "little") << len(bits) | open_
        size = len(bits) - place + 8 * len(filling + _ENDED)
        if _inflated((more >> place) << count | before, size + count) is not None:
            return open_.to_bytes(len(tail), "little") + filling
    return None


def _candidates(bits: Bits, tail: bytes) -> Iterator[int]:
    """Yield the places where the last block may begin."""
    is_last = bits[:-2] == 1
    kind = bits[1:-1] + 2 * bits[2:]
    yield from _coded(bits, np.flatnonzero(is_last & (kind == _CODED)))
    octets = np.frombuffer(tail, np.uint8).astype(np.int64)
    plain = np.flatnonzero(is_last & (kind == _PLAIN))
    at = (plain + 10) // 8
    plain, at = plain[at + 4 <= len(tail)], at[at + 4 <= len(tail)]
    length, check = (octets[at + some] + (octets[at + some + 1] << 8) for some in (0, 2))
    yield from plain[(length ^ check == 0xFFFF) & (at + 4 + length == len(tail))].tolist()


def _coded(bits: Bits, places: npt.NDArray[np.int64]) -> Iterator[int]:
    """Yield those of some places where a block may have a code of its own: the lengths in it make a whole tree."""
    places = places[places + _LENGTHS_AT + 3 * _MOST_LENGTHS <= len(bits)]
    places = places[(_number(bits, places + 3, 5) <= 29) & (_number(bits, places + 8, 5) <= 29)]
    count = _number(bits, places + 13, 4) + 4
    filled = np.zeros(len(places), np.int64)
    for one in range(_MOST_LENGTHS):
        length = _number(bits, places + _LENGTHS_AT + 3 * one, 3)
        filled += np.where((length > 0) & (one < count), _WHOLE >> length, 0)
    yield from places[filled == _WHOLE].tolist()


def _number(bits: Bits, places: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    found = np.zeros(len(places), np.int64)
    for one in range(count):
        found |= bits[places + one].astype(np.int64) << one
    return found


def _inflated(stream: int, bits: int) -> int | None:
    """Inflate a stream from the beginning of a block to its end, and count the bytes; None if the end is not its end."""
    inflate = zlib.decompressobj(wbits=-15, zdict=_WINDOW)
    try:
        size = len(inflate.decompress(stream.to_bytes((bits + 7) // 8, "little")))
    except zlib.error:
        return None
    return size if inflate.eof and len(inflate.unused_data) <= 1 and not any(inflate.unused_data) else None


def _blocks_before(bit: int) -> tuple[int, int]:
    """Write blocks that end at a bit of a byte, as a number, and their bits: blocks of plain bytes depend on where they are."""
    blocks, count = _OF_ONE_BYTE if bit % 2 else (0, 0)
    while count % 8 != bit:
        blocks, count = blocks | _EMPTY[0] << count, count + _EMPTY[1]
    return blocks, count


def _begin(file: IO[bytes]) -> int:
    """Return where the deflated stream begins. Raises `NotGzip`."""
    file.seek(0)
    head = file.read(_HEADER_BYTES)
    if head[:3] != b"\x1f\x8b\x08" or len(head) < _HEADER_BYTES or head[3]:
        raise NotGzip
    return _HEADER_BYTES


def _again(file: IO[bytes]) -> Iterator[bytes]:
    inflating = _Inflating()
    deflate = isal_zlib.compressobj(level=1, wbits=-15)
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        for plain in inflating.plain(chunk):
            yield deflate.compress(plain)
    inflating.end()
    yield deflate.flush(isal_zlib.Z_FULL_FLUSH)


class _Inflating:
    """Inflates a gzip file of one member, and checks it. All of it raises `NotGzip`."""

    def __init__(self) -> None:
        self._inflate: Any = isal_zlib.decompressobj(wbits=31)

    def plain(self, chunk: bytes) -> Iterator[bytes]:
        """Inflate the next bytes of the file, some at a time."""
        if self._inflate.eof and chunk:
            raise NotGzip
        is_left = True
        while is_left and not self._inflate.eof:
            try:
                yield (plain := self._inflate.decompress(chunk, _PLAIN_BYTES))
            except isal_zlib.error:  # type: ignore[misc] # isal's types make it no exception
                raise NotGzip from None
            chunk = self._inflate.unconsumed_tail
            is_left = bool(chunk) or len(plain) == _PLAIN_BYTES

    def feed(self, chunk: bytes) -> None:
        """Check the next bytes of the file."""
        for _ in self.plain(chunk):
            pass

    def end(self) -> None:
        """Check that the member ended with the last byte."""
        if not self._inflate.eof or self._inflate.unused_data:
            raise NotGzip

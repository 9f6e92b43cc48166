"""A zip that is made while it is read, front to back, whatever its size turns out to be.

1. A member's header comes before its bytes, and tells no size. After the bytes, a descriptor tells checksum and sizes.
2. Up to 4 GiB everything is ZIP 2.0, which BusyBox's unzip, Java's `ZipInputStream` and funzip read too.
3. Only a member that passed 4 GiB has eight-byte sizes: in its descriptor, as Java's own writer has it, and in the directory.
4. Only if an offset, a size or a number needs it, the directory's end is of ZIP64.
5. The directory comes last: a zip that was broken off has none, and no reader takes it for a whole one.

Other writers, such as stream-zip and Python's own, must be told before a member's bytes whether they pass 4 GiB. Nobody knows
that of an export, so that they would make every zip a ZIP64, or break off a large one.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from struct import Struct
from typing import Any, Final, NamedTuple

from isal import isal_zlib

from smarthouse_api.arrow.lines import Chunk

_PIECE_BYTES: Final = 64 << 10
_MOST_16: Final = 0xFFFF
_MOST_32: Final = 0xFFFFFFFF
_PLAIN, _ZIP64 = 20, 45  # versions of ZIP: 2.0 and 4.5
_UNIX: Final = 3
_FLAGS: Final = 0x0808  # a descriptor follows the bytes; the name is UTF-8
_DEFLATED: Final = 8
_ATTRIBUTES: Final = 0o100644 << 16

_HEADER: Final = Struct("<4sHHHLLLLHH")
_DESCRIPTOR: Final = Struct("<4sLLL")
_DESCRIPTOR_64: Final = Struct("<4sLQQ")
_ENTRY: Final = Struct("<4sBBHHHLLLLHHHHHLL")
_END_64: Final = Struct("<4sQHHLLQQQQ")
_LOCATOR_64: Final = Struct("<4sLQL")
_END: Final = Struct("<4sHHHHLLH")
_UNIX_TIME: Final = Struct("<2sHBL")


class Piece(NamedTuple):
    """Holds a part of a file: as it is in the deflated stream, and the plain bytes that it stands for."""

    deflated: bytes
    plain: Chunk


@dataclass(frozen=True, slots=True)
class ZipMember:
    """Gives a zip one file to contain. modified_at: with a time zone. packed: its bytes gain nothing from being deflated.

    chunks: its bytes, or the pieces of its stream; the last piece ends it.
    """

    name: str
    modified_at: datetime
    chunks: Iterable[Chunk | Piece]
    packed: bool = False


def zip_stream(members: Iterable[ZipMember]) -> Generator[bytes]:
    """Make a zip of members, which are asked for one by one. Yield its bytes in pieces of bounded size, the first one at once.

    A fault in a member is raised here, before the directory.
    """
    parts = _parts(members)
    yield next(parts)
    held, size = list[bytes](), 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= _PIECE_BYTES:
            yield from _pieces(held)
            held, size = [], 0
    yield from _pieces(held)


def _pieces(held: list[bytes]) -> Iterator[bytes]:
    whole = b"".join(held)
    return (whole[at : at + _PIECE_BYTES] for at in range(0, len(whole), _PIECE_BYTES))


def _parts(members: Iterable[ZipMember]) -> Iterator[bytes]:
    at, entries = 0, list[bytes]()
    for member in members:
        written = _Written(member, at)
        for part in written.parts():
            at += len(part)
            yield part
        entries.append(written.entry())
    size = sum(map(len, entries))
    yield from entries
    yield _end(len(entries), size, at)


class _Written:
    """Writes one member, and its entry in the directory. at: where the member begins in the zip."""

    def __init__(self, member: ZipMember, at: int) -> None:
        self._member, self._at = member, at
        self._name, self._times = member.name.encode(), _dos_time(member.modified_at)
        self._extra = _UNIX_TIME.pack(b"UT", 5, 1, int(member.modified_at.timestamp()))
        self._checksum = self._size = self._deflated_size = 0

    def parts(self) -> Iterator[bytes]:
        lengths = len(self._name), len(self._extra)
        yield _HEADER.pack(b"PK\3\4", _PLAIN, _FLAGS, _DEFLATED, self._times, 0, 0, 0, *lengths) + self._name + self._extra
        for part in self._deflated():
            self._deflated_size += len(part)
            yield part
        sizes = self._deflated_size, self._size
        yield (_DESCRIPTOR_64 if max(sizes) > _MOST_32 else _DESCRIPTOR).pack(b"PK\7\x08", self._checksum, *sizes)

    def _deflated(self) -> Iterator[bytes]:
        deflate = _compressor(self._member.packed)
        is_open = True
        for chunk in self._member.chunks:
            is_open = not isinstance(chunk, Piece)
            plain = chunk.plain if isinstance(chunk, Piece) else chunk
            self._size += len(plain)
            self._checksum = isal_zlib.crc32(plain, self._checksum)
            yield chunk.deflated if isinstance(chunk, Piece) else deflate.compress(chunk)
        if is_open:
            yield deflate.flush()

    def entry(self) -> bytes:
        """Write the entry. A number that does not fit stands in a field of ZIP64 behind it."""
        told = (self._size, self._deflated_size, self._at)
        large = [number for number in told if number >= _MOST_32]
        extra = self._extra + (Struct(f"<HH{len(large)}Q").pack(1, 8 * len(large), *large) if large else b"")
        size, deflated_size, at = (min(number, _MOST_32) for number in told)
        version = _ZIP64 if large else _PLAIN
        return (
            _ENTRY.pack(
                *(b"PK\1\2", version, _UNIX, version, _FLAGS, _DEFLATED, self._times, self._checksum, deflated_size, size),
                *(len(self._name), len(extra), 0, 0, 0, _ATTRIBUTES, at),
            )
            + self._name
            + extra
        )


def _compressor(packed: bool) -> Any:
    return zlib.compressobj(level=0, wbits=-15) if packed else isal_zlib.compressobj(level=1, wbits=-15)


def _dos_time(at: datetime) -> int:
    """Write a time in steps of two seconds since 1980, without a zone, as MS-DOS has it."""
    clock = at.hour << 11 | at.minute << 5 | at.second // 2
    return (max(at.year - 1980, 0) << 9 | at.month << 5 | at.day) << 16 | clock


def _end(count: int, size: int, at: int) -> bytes:
    """End the directory. count, size, at: the number of its entries, its bytes, and where it begins."""
    end_64 = b""
    if count >= _MOST_16 or max(size, at) >= _MOST_32:
        end_64 = _END_64.pack(b"PK\6\6", _END_64.size - 12, _ZIP64, _ZIP64, 0, 0, count, count, size, at)
        end_64 += _LOCATOR_64.pack(b"PK\6\7", 0, at + size, 1)
    counts = min(count, _MOST_16), min(count, _MOST_16)
    return end_64 + _END.pack(b"PK\5\6", 0, 0, *counts, min(size, _MOST_32), min(at, _MOST_32), 0)

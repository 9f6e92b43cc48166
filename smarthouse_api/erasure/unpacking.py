"""Looks through an object as it is, and through what it is when it is decompressed: gzip, zlib, zstd, deflate, zip, Parquet.

What is compressed within something compressed is looked through too, to a depth of four. An object is read once, in chunks. A
Parquet file or a zip needs more than one look, so that it is put into an unnamed temporary file.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from backends.own_files import chunks_of
from smarthouse_api.arrow.views import without_views
from smarthouse_api.erasure.traces import Scan, Traces

_DEEPEST: Final = 4
_IN_MEMORY_BYTES: Final = 16 << 20
_CHUNK_BYTES: Final = 1 << 20
_PARQUET, _ZIP, _GZIP, _ZSTD = b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_KINDS: Final = pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary
_PACKED: Final = re.compile(rb"PAR1|PK\x03\x04|\x1f\x8b\x08|\x28\xb5\x2f\xfd|\x78[\x01\x5e\x9c\xda]", re.DOTALL)
_MOST_WITHIN_BYTES: Final = 4 << 20
"""MinIO keeps small objects within a file of metadata, and puts a checksum before each mebibyte of the others."""

_AHEAD_BYTES: Final = 64
_PIECE_BYTES: Final = 1 << 10
"""Zstandard makes up to 32,000 times as much of this."""
"""A Parquet file of ours may follow a checksum."""


class _Decoder(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


class Unpacking:
    """Looks for traces in objects. most_bytes: how much of one is decompressed at most.

    cut: the names of the objects that would have been more than that.
    """

    def __init__(self, traces: Traces, most_bytes: int) -> None:
        self._traces, self._most_bytes = traces, most_bytes
        self.cut = list[str]()

    def look(self, name: str, chunks: Iterable[bytes]) -> set[str]:
        """Return what is found in an object, also in its name. chunks: its bytes."""
        look = _Look(self, name, 0)
        for chunk in chunks:
            look.feed(chunk)
        return look.end() | self._traces.among(name.encode(errors="surrogatepass"))

    def look_within(self, name: str, path: str) -> set[str]:
        """Return what is found in a file that another program keeps, also where something compressed begins within it."""
        found = self.look(name, chunks_of(path))
        if 0 < os.path.getsize(path) <= _MOST_WITHIN_BYTES:
            data = b"".join(chunks_of(path))
            for packed in _PACKED.finditer(data, 1):
                look = _Look(self, name, 0)
                look.feed(data[packed.start() :])
                found |= look.end()
        return found

    def scan(self) -> Scan:
        return self._traces.begin()


class _Look:
    """Looks through the bytes of one layer of an object."""

    def __init__(self, unpacking: Unpacking, name: str, depth: int) -> None:
        self._unpacking, self._name, self._depth = unpacking, name, depth
        self._scan, self._head, self._is_begun = unpacking.scan(), b"", False
        self._open: Callable[[], _Decoder] | None = None
        self._decoder: _Decoder | None = None
        self._below: _Look | None = None
        self._spool: IO[bytes] | None = None
        self._decoded = 0

    def feed(self, chunk: bytes) -> None:
        self._scan.feed(chunk)
        if self._is_begun:
            self._feed_below(chunk)
            return
        self._head += chunk
        if len(self._head) >= _AHEAD_BYTES:
            self._begin()

    def end(self) -> set[str]:
        """Return what was found in this layer and in those below."""
        if not self._is_begun:
            self._begin()
        found = self._scan.found
        if self._below is not None:
            found = found | self._below.end()
        if self._spool is not None:
            with closing(self._spool) as spool:
                spool.seek(0)
                found = found | self._of_file(spool)
        return found

    def _begin(self) -> None:
        self._is_begun, head = True, self._head
        if self._depth < _DEEPEST:
            if _PARQUET in head[:_AHEAD_BYTES] or head.startswith(_ZIP):
                self._spool = SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
            elif (opener := _opener(head)) is not None:
                self._open, self._decoder = opener, opener()
                self._below = _Look(self._unpacking, self._name, self._depth + 1)
        self._feed_below(head)

    def _feed_below(self, chunk: bytes) -> None:
        if self._spool is not None:
            self._spool.write(chunk)
        for start in range(0, len(chunk), _PIECE_BYTES):
            self._decompress(chunk[start : start + _PIECE_BYTES])

    def _decompress(self, data: bytes) -> None:
        """Decompress some bytes, those of further members too. What is damaged or at its end is looked through as it is."""
        while data and self._decoder is not None and self._open is not None and self._below is not None:
            try:
                text = self._decoder.decompress(data)
            except (zlib.error, zstandard.ZstdError):
                self._decoder = None
                return
            self._decoded += len(text)
            if text:
                self._below.feed(text)
            if self._decoded > self._unpacking._most_bytes:
                self._unpacking.cut.append(self._name)
                self._decoder = None
                return
            data = b""
            if getattr(self._decoder, "eof", False):  # another member may follow
                data = getattr(self._decoder, "unused_data", b"")
                self._decoder = self._open()

    def _of_file(self, file: IO[bytes]) -> set[str]:
        """Look through a Parquet file, which may follow other bytes, or through a zip."""
        found = set[str]()
        try:
            head = file.read(_AHEAD_BYTES)
            file.seek(0)
            if head.startswith(_ZIP):
                for chunks in _of_zip(file):
                    found |= self._beneath(chunks)
            else:
                file.seek(head.index(_PARQUET))
                found |= self._beneath(_of_parquet(file.read()))
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, pa.ArrowException):
            pass  # a part of one, or damaged: it was looked through as it is
        return found

    def _beneath(self, chunks: Iterable[bytes]) -> set[str]:
        look = _Look(self._unpacking, self._name, self._depth + 1)
        for chunk in chunks:
            look.feed(chunk)
        return look.end()


def _opener(head: bytes) -> Callable[[], _Decoder] | None:
    """Return what decompresses bytes that begin so."""
    if head.startswith(_GZIP):
        return lambda: zlib.decompressobj(31)
    if head.startswith(_ZSTD):
        return lambda: zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    if len(head) > 1 and head[0] & 0x8F == 0x08 and not head[1] & 0x20 and (head[0] << 8 | head[1]) % 31 == 0:
        return lambda: zlib.decompressobj(15)
    if head[:16].isascii():
        return None
    return lambda: zlib.decompressobj(-15)  # parts of zips, and what a Content-Encoding of deflate may mean


def _of_zip(file: IO[bytes]) -> Iterator[Iterable[bytes]]:
    """Give the members of a zip, and their names."""
    with zipfile.ZipFile(file) as archive:
        yield ["\n".join(archive.namelist()).encode(errors="surrogatepass")]
        for name in archive.namelist():
            with archive.open(name) as member:
                yield iter(partial(member.read, _CHUNK_BYTES), b"")


def _of_parquet(data: bytes) -> Iterator[bytes]:
    """Give all texts and bytes of a Parquet file, each once for a batch, a line each."""
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        yield repr(file.metadata.metadata).encode() + b"\n"
        for batch in file.iter_batches(use_threads=False):
            for column in without_views(batch).columns:
                for texts in _texts(column):
                    yield b"\n".join(texts) + b"\n"


def _texts(column: Any) -> Iterator[list[bytes]]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _texts(column.dictionary)
    elif pa.types.is_struct(kind):
        for field in column.flatten():
            yield from _texts(field)
    elif pa.types.is_map(kind):
        yield from _texts(column.keys)
        yield from _texts(column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _texts(column.flatten())
    elif any(is_text(kind) for is_text in _KINDS):
        yield [one for one in pc.unique(column.cast(pa.large_binary())).to_pylist() if one]

"""Parts of a dataset in one format, so written that the file can be put together of them without encoding a row again.

1. No part depends on another one: they can be made in any order, and at the same time.
2. A text is deflated in runs. Each ends at a whole byte, and none refers to bytes of the one before.
3. For Parquet, a part holds the rows as Arrow has them. The row groups are made when the file is.
4. Rows may come encoded, by an engine of its own: as a run of a deflated text, or as a Parquet file to copy row groups of.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import IO, Any, Final

import pyarrow as pa
from isal import isal_zlib

from smarthouse_api.arrow.formats import FORMATS, Format, Runs
from smarthouse_api.arrow.lines import Chunk
from smarthouse_api.arrow.parquet_links import MAGIC, NotAlike, ParquetLinks
from smarthouse_api.arrow.schema_rows import SchemaRows
from smarthouse_api.arrow.zip_stream import Piece

_IN_MEMORY_BYTES: Final = 4 << 20
_CHUNK_BYTES: Final = 1 << 20
_LAST_BLOCK: Final = b"\x03\x00"
"""An empty block that ends a deflated stream."""


class LostPart(Exception):
    """Says that a part that was made is gone, or is not as it was made."""


Source = Callable[[Iterable[pa.RecordBatch]], SchemaRows]
"""Makes batches of one schema writable."""

Parts = Iterable[Iterator[bytes]]
"""The bytes of the parts that have rows, in their order. A part is asked for once the one before is read."""


@dataclass(frozen=True)
class EncodedRows:
    """Holds consecutive rows of a part, encoded by another. homes: the pseudonyms in them.

    runs: by format, what reads a run of the deflated text, without what stands between two runs; or a whole Parquet file.
    batches: the rows themselves, for all other formats, if there are any.
    """

    rows: int
    first_us: int
    last_us: int
    homes: frozenset[str]
    runs: Mapping[str, Callable[[], Iterator[bytes]]]
    batches: Iterable[pa.RecordBatch] = ()


class PartInFormat:
    """Writes the rows of one part in one format, to a temporary file if they are many. source: makes batches writable."""

    def __init__(self, format_: str, source: Source) -> None:
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        runs = FORMATS[format_].runs
        self._writer = _Table(self._spool, source) if runs is None else _Text(self._spool, source, runs)

    def __enter__(self) -> PartInFormat:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    @property
    def size(self) -> int:
        """How many bytes were written so far."""
        return self._spool.tell()

    def add(self, batch: pa.RecordBatch) -> None:
        """Write rows."""
        self._writer.add(batch)

    def add_run(self, run: Iterable[bytes]) -> None:
        """Write the run of a deflated text; or a Parquet file, which must be all of the part."""
        self._writer.add_run(run)

    def end(self) -> Iterator[bytes]:
        """End the part, and return its bytes."""
        self._writer.end()
        self._spool.seek(0)
        while chunk := self._spool.read(_CHUNK_BYTES):
            yield chunk


class _Text:
    def __init__(self, spool: IO[bytes], source: Source, runs: Runs) -> None:
        self._spool, self._source, self._runs, self._is_first = spool, source, runs, True
        self._deflate = isal_zlib.compressobj(level=1, wbits=-15)

    def add(self, batch: pa.RecordBatch) -> None:
        for chunk in self._runs.rows(self._source([batch])):
            self._spool.write(self._deflate.compress(chunk[len(self._runs.between) :] if self._is_first else chunk))
            self._is_first = False

    def add_run(self, run: Iterable[bytes]) -> None:
        between = b"" if self._is_first else self._runs.between
        self._spool.write(self._deflate.compress(between) + self._deflate.flush(isal_zlib.Z_FULL_FLUSH))
        for chunk in run:
            self._spool.write(chunk)
        self._is_first = False

    def end(self) -> None:
        self._spool.write(self._deflate.flush(isal_zlib.Z_FULL_FLUSH))


class _Table:
    def __init__(self, spool: IO[bytes], source: Source) -> None:
        self._spool, self._source = spool, source
        self._writer: Any = None

    def add(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            self._writer = pa.ipc.new_stream(self._spool, self._source([]).schema, options=options)
        for rows in self._source([batch]).typed():
            self._writer.write_batch(rows)

    def add_run(self, run: Iterable[bytes]) -> None:
        if self._spool.tell():
            raise ValueError("a Parquet file is all of a part")
        for chunk in run:
            self._spool.write(chunk)

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()


def file_of(format_: Format, source: Source, parts: Parts) -> Iterator[bytes] | Iterator[Piece]:
    """Put a file together."""
    no_rows = source([])
    if (runs := format_.runs) is not None:
        return _text_file(runs, no_rows, parts)
    return _parquet_file(no_rows.schema, parts)


def _text_file(runs: Runs, no_rows: SchemaRows, parts: Parts) -> Iterator[Piece]:
    yield _piece(runs.head(no_rows))
    for place, part in enumerate(parts):
        if place and runs.between:
            yield _piece(runs.between)
        inflate: Any = isal_zlib.decompressobj(wbits=-15)
        try:
            for chunk in part:
                yield Piece(chunk, inflate.decompress(chunk))
        except isal_zlib.error:  # type: ignore[misc] # isal's types make it no exception
            raise LostPart from None
    last = _piece(runs.tail(no_rows))
    yield Piece(last.deflated + _LAST_BLOCK, last.plain)


def _piece(plain: Chunk) -> Piece:
    return Piece(deflated(plain), plain)


def deflated(plain: Chunk) -> bytes:
    """Deflate some bytes as a run."""
    deflate = isal_zlib.compressobj(level=1, wbits=-15)
    return deflate.compress(plain) + deflate.flush(isal_zlib.Z_FULL_FLUSH)


def _parquet_file(schema: pa.Schema, parts: Parts) -> Iterator[bytes]:
    links = ParquetLinks(schema)
    try:
        for is_encoded, some in groupby(_spooled(parts), _is_encoded):
            if is_encoded:
                for spool in some:
                    yield from links.add_file(spool)
            else:
                yield from links.add_rows(_arrow_rows(some))
        yield from links.end()
    except NotAlike:
        raise LostPart from None


def _spooled(parts: Parts) -> Iterator[IO[bytes]]:
    """Hold each part until the next one is asked for."""
    for part in parts:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
            for chunk in part:
                spool.write(chunk)
            yield spool


def _is_encoded(spool: IO[bytes]) -> bool:
    spool.seek(0)
    begin = spool.read(len(MAGIC))
    spool.seek(0)
    return begin == MAGIC


def _arrow_rows(spools: Iterable[IO[bytes]]) -> Iterator[pa.RecordBatch]:
    for spool in spools:
        with pa.ipc.open_stream(spool) as rows:
            yield from rows

"""Parts of a dataset in one format, so written that the file can be put together of them without encoding a row again.

1. No part depends on another one: they can be made in any order, and at the same time.
2. A text is deflated in runs. Each ends at a whole byte, and none refers to bytes of the one before.
3. For Parquet, a part holds the rows as Arrow has them. The row groups are made when the file is.
4. Rows may come as lines that an engine of its own has written: a column of texts for each kind of lines, see `row_lines`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Final

import pyarrow as pa
from isal import isal_zlib

from smarthouse_api.arrow.formats import FORMATS, Format, Runs
from smarthouse_api.arrow.lines import Chunk, flat
from smarthouse_api.arrow.parquet import parquet_file
from smarthouse_api.arrow.row_lines import name_of_lines, run_of
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


def lines_column(name: str) -> str:
    """Name the column that holds the lines of rows. name: of the lines."""
    return f"lines as {name}"


class PartInFormat:
    """Writes the rows of one part in one format, to a temporary file if they are many. source: makes batches writable."""

    def __init__(self, format_: str, source: Source) -> None:
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        runs = FORMATS[format_].runs
        self._writer = _Arrow(self._spool, source) if runs is None else _Text(self._spool, source, runs, format_)

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

    def end(self) -> Iterator[bytes]:
        """End the part, and return its bytes."""
        self._writer.end()
        self._spool.seek(0)
        while chunk := self._spool.read(_CHUNK_BYTES):
            yield chunk


class _Text:
    def __init__(self, spool: IO[bytes], source: Source, runs: Runs, format_: str) -> None:
        self._spool, self._source, self._runs, self._format, self._is_first = spool, source, runs, format_, True
        self._deflate = isal_zlib.compressobj(level=1, wbits=-15)

    def add(self, batch: pa.RecordBatch) -> None:
        for chunk in self._chunks(batch):
            self._spool.write(self._deflate.compress(chunk[len(self._runs.between) :] if self._is_first else chunk))
            self._is_first = False

    def _chunks(self, batch: pa.RecordBatch) -> Iterator[Chunk]:
        kind = name_of_lines(self._format)
        if kind is None or (column := lines_column(kind)) not in batch.schema.names:
            yield from self._runs.rows(self._source([batch]))
        elif batch.num_rows:
            yield run_of(self._format, flat(batch.column(column)))

    def end(self) -> None:
        self._spool.write(self._deflate.flush(isal_zlib.Z_FULL_FLUSH))


class _Arrow:
    def __init__(self, spool: IO[bytes], source: Source) -> None:
        self._source, schema = source, source([]).schema
        self._names = schema.names
        self._writer = pa.ipc.new_stream(spool, schema, options=pa.ipc.IpcWriteOptions(compression="zstd"))

    def add(self, batch: pa.RecordBatch) -> None:
        if len(batch.schema) > len(self._names):  # there are lines beside them
            batch = batch.select(self._names)
        for rows in self._source([batch]).typed():
            self._writer.write_batch(rows)

    def end(self) -> None:
        self._writer.close()


def file_of(format_: Format, source: Source, parts: Parts) -> Iterator[bytes] | Iterator[Piece]:
    """Put a file together."""
    no_rows = source([])
    if (runs := format_.runs) is not None:
        return _text_file(runs, no_rows, parts)
    return parquet_file(_arrow_rows(parts), no_rows.schema)


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
    deflate = isal_zlib.compressobj(level=1, wbits=-15)
    return Piece(deflate.compress(plain) + deflate.flush(isal_zlib.Z_FULL_FLUSH), plain)


def _arrow_rows(parts: Parts) -> Iterator[pa.RecordBatch]:
    for part in parts:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
            for chunk in part:
                spool.write(chunk)
            spool.seek(0)
            with pa.ipc.open_stream(spool) as rows:
                yield from rows

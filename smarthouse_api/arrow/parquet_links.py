"""A Parquet file that is put together of others: the bytes of their row groups are copied, and one footer tells of all.

1. Only the footer tells where a column of a row group begins, so that these bytes can be moved.
2. They are the same for a number and for a time or a day that is stored as this number. What it is, the new footer tells.
3. Indexes of pages and Bloom filters lie elsewhere in a file, and are left out.

Arrow gives a footer to read, and writes none that another made. So it is read and written by its definition, in
`parquet_footer.thrift`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from smarthouse_api.arrow.parquet import parquet_file

MAGIC: Final = b"PAR1"
_LENGTH_BYTES: Final = 4
_END_BYTES: Final = _LENGTH_BYTES + len(MAGIC)
_CHUNK_BYTES: Final = 1 << 20


class NotAlike(Exception):
    """Says that the row groups of a file cannot stand in another one as they are."""


class ParquetLinks:
    """Makes one file, whose columns are not nested. All that it yields is the file."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema, self._at = schema, 0
        self._footers = list[tuple[bytes, int]]()
        self._groups = list[Any]()

    def add_rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
        """Write rows, as `parquet_file` does."""
        moved_by, left_out, held = max(0, self._at - len(MAGIC)), len(MAGIC) if self._at else 0, b""
        for chunk in parquet_file(batches, self._schema):
            yield from self._passed(held)
            held, left_out = chunk[left_out:], 0
        footer = _footer_in(held)
        yield from self._passed(held[: len(held) - len(footer) - _END_BYTES])
        self._footers.append((footer, moved_by))

    def add_file(self, file: IO[bytes]) -> Iterator[bytes]:
        """Copy the row groups of a file, without the columns that are not wanted. Raises `NotAlike` before the first one."""
        footer, end = _footer_of(file)
        self._check(footer, end)
        if not self._at:
            yield from self._passed(MAGIC)
        self._take_footers()
        for group in footer.row_groups:
            columns = {chunk.meta_data.path_in_schema[0]: chunk for chunk in group.columns}
            group.columns, group.file_offset = [columns[name] for name in self._schema.names], self._at
            for chunk in group.columns:
                begin, moved_by = _begin(chunk), self._at - _begin(chunk)
                yield from self._copied(file, begin, chunk.meta_data.total_compressed_size)
                _move(chunk, moved_by)
            self._groups.append(_summed(group))

    def end(self) -> Iterator[bytes]:
        """Yield the footer."""
        if not self._at:
            yield from self.add_rows([])
        if not self._groups and len(self._footers) == 1:
            footer = self._footers[0][0]
        else:
            self._take_footers()
            whole = self._no_rows()
            whole.row_groups, whole.num_rows = self._groups, sum(group.num_rows for group in self._groups)
            footer = _written(whole)
        yield footer + len(footer).to_bytes(_LENGTH_BYTES, "little") + MAGIC

    def _check(self, footer: Any, end: int) -> None:
        wanted, found = _stored(self._no_rows()), _stored(footer)
        if any(found.get(name) != stored for name, stored in wanted.items()):
            raise NotAlike
        for chunk in (chunk for group in footer.row_groups for chunk in group.columns):
            if not len(MAGIC) <= _begin(chunk) <= end - chunk.meta_data.total_compressed_size:
                raise NotAlike

    def _no_rows(self) -> Any:
        """Return the footer of a file without rows."""
        return _read(_footer_in(b"".join(parquet_file([], self._schema))))

    def _take_footers(self) -> None:
        """Take the row groups of rows that were written here, once they are not all."""
        for footer, moved_by in self._footers:
            for group in _read(footer).row_groups:
                for chunk in group.columns:
                    _move(chunk, moved_by)
                group.file_offset = _begin(group.columns[0])
                self._groups.append(_summed(group))
        self._footers.clear()

    def _copied(self, file: IO[bytes], begin: int, size: int) -> Iterator[bytes]:
        file.seek(begin)
        while size and (chunk := file.read(min(size, _CHUNK_BYTES))):
            size -= len(chunk)
            yield from self._passed(chunk)

    def _passed(self, chunk: bytes) -> Iterator[bytes]:
        if chunk:
            self._at += len(chunk)
            yield chunk


def _footer_of(file: IO[bytes]) -> tuple[Any, int]:
    """Read the footer of a file, and tell where it begins. Raises `NotAlike` if it is no Parquet file."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES))
    end = file.read()
    begin = size - _END_BYTES - int.from_bytes(end[:_LENGTH_BYTES], "little")
    if not end.endswith(MAGIC) or begin < len(MAGIC):
        raise NotAlike
    file.seek(begin)
    return _read(file.read(size - _END_BYTES - begin)), begin


def _footer_in(end: bytes) -> bytes:
    length = int.from_bytes(end[-_END_BYTES : -len(MAGIC)], "little")
    return end[len(end) - _END_BYTES - length : len(end) - _END_BYTES]


def _stored(footer: Any) -> dict[str, tuple[int, int]]:
    """Tell how each column is stored: its type, and whether it may have nulls."""
    return {one.name: (one.type, one.repetition_type) for one in footer.schema[1:] if not one.num_children}


def _begin(chunk: Any) -> int:
    told = chunk.meta_data
    begin: int = min(place for place in (told.dictionary_page_offset, told.data_page_offset) if place)
    return begin


def _move(chunk: Any, by: int) -> None:
    told = chunk.meta_data
    told.data_page_offset += by
    if told.dictionary_page_offset:
        told.dictionary_page_offset += by
    told.index_page_offset, chunk.file_offset = None, 0


def _summed(group: Any) -> Any:
    columns = [chunk.meta_data for chunk in group.columns]
    group.total_byte_size = sum(told.total_uncompressed_size for told in columns)
    group.total_compressed_size = sum(told.total_compressed_size for told in columns)
    return group


@cache
def _defined() -> Any:
    import thriftpy2  # of the extra `spark`: without an engine of its own, nobody has files to link

    return thriftpy2.load(str(Path(__file__).with_name("parquet_footer.thrift")), module_name="parquet_footer_thrift")


def _read(footer: bytes) -> Any:
    from thriftpy2.protocol import TCompactProtocolFactory
    from thriftpy2.thrift import TException
    from thriftpy2.utils import deserialize

    try:
        return deserialize(_defined().FileMetaData(), footer, TCompactProtocolFactory())
    except (TException, EOFError, ValueError, LookupError, TypeError):
        raise NotAlike from None


def _written(footer: Any) -> bytes:
    from thriftpy2.protocol import TCompactProtocolFactory
    from thriftpy2.utils import serialize

    written: bytes = serialize(footer, TCompactProtocolFactory())
    return written

"""Parquet files, written one row group at a time, so that a file of any size fits into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS: Final = 100_000
ROW_GROUP_BYTES: Final = 24 << 20


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + len(batch), size + batch.nbytes
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def parquet_file(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[bytes]:
    """Write Parquet with zstd, a chunk for each row group. batches: small ones, of this schema.

    Times are packed as differences: they hardly repeat, so a dictionary of them would be most of the file.
    """
    sink = BytesIO()
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    options = {
        "use_dictionary": [name for name in schema.names if name not in times],
        "column_encoding": dict.fromkeys(times, "DELTA_BINARY_PACKED"),
    }
    with pq.ParquetWriter(sink, schema, compression="zstd", **options) as writer:
        for group in _groups(batches):
            if len(group):  # Arrow knows no rows without columns
                writer.write_table(group, row_group_size=len(group))
                yield _drained(sink)
    yield _drained(sink)


def _drained(sink: BytesIO) -> bytes:
    """Take out the bytes written so far, and empty the sink. Arrow counts the positions in the file itself."""
    written = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return written

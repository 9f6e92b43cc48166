"""Rows in slices of bounded size, measured by the text that they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TEXT_BYTES: Final = 4 << 20
"""The text in one slice of rows, before escaping (which makes it at most six times longer), unless one row alone has more."""

SLICE_ROWS: Final = 16_384


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut the rows into pieces of bounded size.

    The size is measured before a column is expanded: a view or a dictionary holds a long text once for many rows.
    """
    columns = [_shared(column) for column in batch.columns]
    whole = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    sizes = sum(map(lengths, columns), np.zeros(batch.num_rows, np.int64))
    for start, length in spans(sizes):
        yield whole.slice(start, length)


def lengths(column: pa.Array) -> npt.NDArray[np.int64]:
    """Measure the bytes of text in each row; 0 if the column holds no text."""
    if pa.types.is_dictionary(column.type):
        found = pc.binary_length(column.dictionary).take(column.indices)
    elif pa.types.is_string_view(column.type):
        # Arrow has no kernel for these. A view is 16 bytes, the first four its length.
        views = np.frombuffer(column.buffers()[1], np.int32)[::4]
        found = pc.if_else(column.is_valid(), pa.array(views[column.offset : column.offset + len(column)]), 0)
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        found = pc.binary_length(column)
    else:
        return np.zeros(len(column), np.int64)
    sizes: npt.NDArray[np.int64] = found.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return sizes


def spans(sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield start and length of each run of rows that is small enough for one slice. sizes: bytes of each row."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        end = int(np.searchsorted(ends, before + TEXT_BYTES, "right"))
        end = min(max(end, start + 1), start + SLICE_ROWS)
        yield start, end - start
        start = end


def _shared(column: pa.Array) -> pa.Array:
    """Turn views into a dictionary, and a dictionary's texts into large strings: both then stay as small as they came."""
    if pa.types.is_string_view(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.large_string()))
    return column

"""Rows as lines of text: the one vectorised mechanism of the text formats.

A column is dictionary-encoded, its few unique values are escaped and wrapped in what the format puts around them, the wrapped
values are taken back by index, and one join makes a line for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.numbers import write_numbers
from smarthouse_api.arrow.timestamps import TIMESTAMP, write_times

TEXT_BYTES: Final = 4 << 20
"""The text in one slice of rows, before escaping (which makes it at most six times longer), unless one row alone has more."""

SLICE_ROWS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Cell:
    """How a format writes one column: what stands around a value, what a null becomes, which values must be escaped and how."""

    before: str = ""
    after: str = ""
    null: str = ""
    dirty: str = ""
    escape: Callable[[str], str] = str


def _lines(batch: pa.RecordBatch, cells: list[Cell], separator: str) -> bytes:
    """The text of a slice of rows, one line for each."""
    columns = []
    column = None
    for this, cell in zip(batch.columns, cells, strict=True):
        # A state that changed was updated at the same time: most often two columns are one.
        if column is None or not this.equals(column):
            codes, uniques = _encoded(this)
            texts = _texts(uniques)
        column = this
        columns.append(_taken(_wrapped(texts, cell), codes, cell.null))
    return flat(pc.binary_join_element_wise(*columns, separator))


def flat(texts: pa.StringArray) -> bytes:
    """The texts, one after the other."""
    _, offsets, text = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)
    return bytes(text[int(ends[texts.offset]) : int(ends[texts.offset + len(texts)])]) if text else b""


def _encoded(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """A column as indices and the unique values that they point to."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
        return column.indices, column.dictionary
    if len(column.dictionary) < len(column) and column.dictionary.nbytes <= TEXT_BYTES:
        return column.indices, column.dictionary
    # The dictionary may be far larger than what the slice uses of it.
    used = column.indices.dictionary_encode()
    return used.indices, column.dictionary.take(used.dictionary)


def _texts(uniques: pa.Array) -> pa.StringArray:
    if pa.types.is_timestamp(uniques.type):
        return write_times(uniques.cast(TIMESTAMP))
    if pa.types.is_floating(uniques.type):
        return write_numbers(uniques)
    return uniques.cast(pa.string())


def _wrapped(texts: pa.StringArray, cell: Cell) -> pa.StringArray:
    dirty = pc.fill_null(pc.match_substring_regex(texts, cell.dirty), False) if cell.dirty else None
    if dirty is not None and dirty.true_count:
        escaped = [cell.escape(text) for text in texts.filter(dirty).to_pylist()]
        texts = pc.replace_with_mask(texts, dirty, pa.array(escaped, pa.string()))
    if cell.before or cell.after:
        texts = pc.binary_join_element_wise(cell.before, texts, cell.after, "")
    return pc.fill_null(texts, cell.null) if texts.null_count else texts


def _taken(texts: pa.StringArray, codes: pa.Array, null: str) -> pa.StringArray:
    if codes.null_count:
        codes = pc.fill_null(codes, pa.scalar(len(texts), codes.type))
        texts = pa.concat_arrays([texts, pa.array([null])])
    return texts.take(codes)


def _shared(column: pa.Array) -> pa.Array:
    """Views as a dictionary, and a dictionary's texts as large strings: both then stay as small as they came."""
    if pa.types.is_string_view(column.type):
        column = column.dictionary_encode()
    if pa.types.is_dictionary(column.type):
        return pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.large_string()))
    return column


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows in pieces of bounded size.

    Measured before any column is expanded, for a view or a dictionary holds a long text once and shows it in every row.
    """
    columns = [_shared(column) for column in batch.columns]
    whole = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    sizes = sum(map(lengths, columns), np.zeros(batch.num_rows, np.int64))
    for start, length in spans(sizes):
        yield whole.slice(start, length)


def lengths(column: pa.Array) -> npt.NDArray[np.int64]:
    """The bytes of text in each row; none where the column is not of text."""
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
    """Start and length of runs of rows that are small enough for one slice. sizes: bytes of each row."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        end = int(np.searchsorted(ends, before + TEXT_BYTES, "right"))
        end = min(max(end, start + 1), start + SLICE_ROWS)
        yield start, end - start
        start = end


def text(batches: Iterable[pa.RecordBatch], head: bytes, cells: list[Cell], separator: str, tail: bytes) -> Iterator[bytes]:
    yield head
    for batch in batches:
        for rows in slices(batch):
            yield _lines(rows, cells, separator)
    yield tail


def framed(cells: list[Cell], start: str, end: str) -> list[Cell]:
    """The cells of a row, with what begins and what ends a row put into the first and the last."""
    cells[0] = replace(cells[0], before=start + cells[0].before, null=start + cells[0].null)
    cells[-1] = replace(cells[-1], after=cells[-1].after + end, null=cells[-1].null + end)
    return cells

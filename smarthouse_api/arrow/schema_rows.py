"""Rows of one schema, to be written in any format. A value that repeats in record batches is turned into text only once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from json.encoder import encode_basestring

import pyarrow as pa

from smarthouse_api.arrow.formats import Frame
from smarthouse_api.arrow.lines import Cell, Chunk, TextColumn, framed, lines
from smarthouse_api.arrow.numbers import write_numbers
from smarthouse_api.arrow.readable import LINE_SEPARATORS, readable
from smarthouse_api.arrow.slices import TEXT_BYTES, slices
from smarthouse_api.arrow.time_columns import TIMESTAMP, write_times


class SchemaRows:
    """Makes record batches writable in every format: a `RowSource` of texts, numbers and times.

    batches: they have the columns of `schema`, else `ValueError` is raised; their texts may be of any string type, also
    dictionary-encoded. objects: the text columns that hold JSON objects, which `json` and `jsonl` write as objects. Texts are
    made `readable`, alike in every format.
    """

    def __init__(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, *, objects: frozenset[str], frame: Frame | None = None
    ) -> None:
        self._batches, self.schema, self.object_columns, self.frame = batches, schema, objects, frame or Frame()

    def text_columns(self) -> Iterator[tuple[int, list[TextColumn | None]]]:
        for rows in self._slices():
            yield len(rows), list(self._columns(rows))

    def objects(self, before: str, after: str) -> Iterator[Chunk]:
        cells = self.object_cells(before, after)
        for rows in self._slices():
            yield lines(len(rows), list(self._columns(rows)), cells, ",")

    def object_cells(self, before: str, after: str) -> Sequence[Cell]:
        """Return the cells of a row as a JSON object, between the two texts."""
        return framed([self._json_cell(field) for field in self.schema], f"{before}{{", f"}}{after}")

    def typed(self) -> Iterator[pa.RecordBatch]:
        return (rows.cast(self.schema) for rows in self._slices())

    def _slices(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            if batch.schema.names != self.schema.names:
                raise ValueError(f"Not the columns that were announced: {batch.schema.names}")
            columns = [readable(batch.column(name), is_json=name in self.object_columns) for name in batch.schema.names]
            yield from slices(pa.RecordBatch.from_arrays(columns, names=batch.schema.names))

    def _columns(self, rows: pa.RecordBatch) -> Iterator[TextColumn]:
        times, of_times = None, None
        for this, field in zip(rows.columns, self.schema, strict=True):
            # A state that changed was updated at the same time, which is its own time: most often three columns are one.
            if of_times is not None and pa.types.is_timestamp(this.type) and this.equals(times):
                yield of_times
                continue
            places, uniques = _encoded(this)
            column = TextColumn(_texts(uniques), places, is_free=pa.types.is_string(field.type))
            if pa.types.is_timestamp(this.type):
                times, of_times = this, column
            yield column

    def _json_cell(self, field: pa.Field) -> Cell:
        key = f'"{field.name}":'
        if field.name in self.object_columns:
            return Cell(key, "", f"{key}null")
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type):
            return Cell(key, "", f"{key}null")
        return Cell(f'{key}"', '"', f"{key}null", r'["\\\x00-\x1f\x{85}\x{2028}\x{2029}]', _json_escaped)


def _encoded(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return a column as each row's place among the unique values, and the unique values."""
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


def _json_escaped(texts: pa.StringArray) -> pa.StringArray:
    return pa.array([encode_basestring(text)[1:-1].translate(LINE_SEPARATORS) for text in texts.to_pylist()], pa.string())

"""The formats in which a collection is read back: each turns rows of the lake into chunks of bytes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.lines import flat
from smarthouse_api.arrow.parquet import parquet_file
from smarthouse_api.arrow.timestamps import TIMESTAMP, write_times
from smarthouse_api.collections.columns import Column, arrow_type, columns, have_rest, records, slices

POSITION, RECEIVED_AT, FAULT, MORE = "_position", "_received_at", "_fault", "_more"

Frame = tuple[bytes, bytes]
Fields = Mapping[str, str]

_ARRAY: Final[Frame] = (b"[", b"]\n")
_BETWEEN: Final = ",\n"
_NOT_IN_A_BARE_CELL: Final = '[",\r\n]|^$'

_join = pc.binary_join_element_wise


class Encode(Protocol):
    """Encodes rows.

    batches: read one by one, as chunks are asked for; columns `sequence`, `position`, `received`, `record`, `fault` (others are
    left alone), the texts as any kind of string. fields: the members of the records, in order, and their types: `null`, `bool`,
    `int` (of 64 bits with a sign), `float`, `string`, `json`. with_meta: whether a row says its position, its arrival, and why
    it fails the schema. frame: what stands before and after the records; only `json` has it.

    A chunk has the rows of a batch, or of a part of it that is small enough. What the batches raise is raised.
    """

    def __call__(
        self, batches: Iterable[pa.RecordBatch], fields: Fields, *, with_meta: bool, frame: Frame = _ARRAY
    ) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Format:
    """One format, as the parameter `format` names it."""

    name: str
    media_type: str
    encode: Encode


def _free(name: str, fields: Fields) -> str:
    """The name of a column of ours: with another underscore for as long as the records have a member of that name."""
    while name in fields:
        name = f"_{name}"
    return name


def jsonl(batches: Iterable[pa.RecordBatch], fields: Fields, *, with_meta: bool, frame: Frame = _ARRAY) -> Iterator[bytes]:
    """A record on each line, in the very text that is kept. In front stands what is said of it, a fault only if it has one."""
    return _objects(batches, fields, with_meta, "", "\n")


def json(batches: Iterable[pa.RecordBatch], fields: Fields, *, with_meta: bool, frame: Frame = _ARRAY) -> Iterator[bytes]:
    """The same objects as in `jsonl`, a line for each, in an array."""
    yield frame[0]
    chunks = _objects(batches, fields, with_meta, _BETWEEN, "")
    for first in chunks:
        yield first.removeprefix(_BETWEEN.encode())
        yield from chunks
    yield frame[1]


def _objects(batches: Iterable[pa.RecordBatch], fields: Fields, with_meta: bool, before: str, after: str) -> Iterator[bytes]:
    position, received_at, fault = (_free(name, fields) for name in (POSITION, RECEIVED_AT, FAULT))
    for batch in batches:
        for rows in slices(batch):
            texts = records(rows)
            if not with_meta:
                yield flat(_join(before, texts, after, ""))
                continue
            head = f'{before}{{"{position}":"', _positions(rows), f'","{received_at}":"', write_times(_received(rows)), '"'
            faults = _faults(_fault(rows), f',"{fault}":')
            yield flat(_join(*head, faults, _rest(texts), after, "", null_handling="replace"))


def _faults(column: pa.StringArray, before: str) -> pa.Array:
    if column.null_count == len(column):
        return pa.scalar("")
    codes = column.dictionary_encode()
    members = [before + orjson.dumps(fault).decode() for fault in codes.dictionary.to_pylist()]
    return pa.array(members, pa.string()).take(codes.indices)


def _rest(texts: pa.StringArray) -> pa.StringArray:
    """What goes on an object that has members already: the texts, with a comma for the first brace where members follow it."""
    second = _second(texts)
    if not (second == ord('"')).all():
        texts = pc.replace_substring_regex(texts, r"^\s*\{\s*", "{")
        second = _second(texts)
    rest = pc.binary_replace_slice(texts, 0, 1, ",")
    is_empty = second == ord("}")
    return pc.if_else(pa.array(is_empty), "}", rest) if is_empty.any() else rest


def _second(texts: pa.StringArray) -> np.ndarray:
    """The second byte of each: a record has two at least."""
    _, offsets, data = texts.buffers()
    begins = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts)]
    return np.frombuffer(data, np.uint8)[begins + 1]


def csv(batches: Iterable[pa.RecordBatch], fields: Fields, *, with_meta: bool, frame: Frame = _ARRAY) -> Iterator[bytes]:
    """RFC 4180 with a header line and LF. A null and what is missing are an empty cell, an empty text is `""`.

    A cell of a `json` field is JSON text, so that the text "1" and the number 1 differ. Nothing of the data is altered, also
    where a spreadsheet would take it for a formula.
    """
    names = _names(fields, with_meta)
    yield flat(_lines([_quoted(pa.array([name])) for name in names], 1))
    for batch in batches:
        for rows in slices(batch, len(names)):
            meta = [_positions(rows), write_times(_received(rows)), _quoted(_fault(rows))] if with_meta else []
            yield flat(_lines([*meta, *map(_cell, columns(rows, fields))], len(rows)))


def _names(fields: Fields, with_meta: bool) -> list[str]:
    """Of the columns: ours, the fields', and the one of the rest."""
    ours = [_free(name, fields) for name in (POSITION, RECEIVED_AT, FAULT)] if with_meta else []
    return [*ours, *fields, *([_free(MORE, fields)] if have_rest(fields) else [])]


def _lines(cells: list[pa.Array | pa.Scalar], rows: int) -> pa.StringArray:
    ends = pa.repeat("\n", rows)
    last = _join(cells.pop(), ends, "", null_handling="replace") if cells else ends
    return _join(*cells, last, ",", null_handling="replace")


def _cell(column: Column | None) -> pa.Array | pa.Scalar:
    if column is None:
        return pa.scalar("")
    texts = column.texts()
    return _quoted(texts) if column.has_texts() else texts


def _quoted(texts: pa.StringArray) -> pa.StringArray:
    dirty = pc.fill_null(pc.match_substring_regex(texts, _NOT_IN_A_BARE_CELL), False)
    if not dirty.true_count:
        return texts
    doubled = pc.replace_substring(texts.filter(dirty), '"', '""')
    return pc.replace_with_mask(texts, dirty, _join('"', doubled, '"', ""))


def parquet(batches: Iterable[pa.RecordBatch], fields: Fields, *, with_meta: bool, frame: Frame = _ARRAY) -> Iterator[bytes]:
    """Parquet with zstd, a chunk for each row group, its columns of the fields' types.

    `_received_at` is a time. A `json` field is JSON text, as in `csv`; one that is only ever null is a text too.
    """
    meta = [pa.string(), TIMESTAMP, pa.string()] if with_meta else []
    types = [*meta, *map(arrow_type, fields.values())]
    names = _names(fields, with_meta)
    types += [pa.string()] * (len(names) - len(types))
    schema = pa.schema(list(zip(names, types, strict=True)))

    def typed() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for rows in slices(batch, len(names)):
                ours = [_positions(rows), _received(rows), _fault(rows)] if with_meta else []
                values = [
                    pa.nulls(len(rows), type_) if column is None else column.typed()
                    for column, type_ in zip(columns(rows, fields), types[len(ours) :], strict=True)
                ]
                yield pa.RecordBatch.from_arrays([*ours, *values], schema=schema)

    return parquet_file(typed(), schema)


def _positions(rows: pa.RecordBatch) -> pa.StringArray:
    return _join(rows.column("sequence").cast(pa.string()), rows.column("position").cast(pa.string()), "-")


def _received(rows: pa.RecordBatch) -> pa.TimestampArray:
    return rows.column("received").cast(TIMESTAMP)


def _fault(rows: pa.RecordBatch) -> pa.StringArray:
    return rows.column("fault").cast(pa.string())


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Format("json", "application/json", json),
            Format("jsonl", "application/jsonl", jsonl),
            Format("csv", "text/csv", csv),
            Format("parquet", "application/vnd.apache.parquet", parquet),
        )
    }
)
"""Every format by its name."""

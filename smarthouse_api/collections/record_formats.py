"""The formats of records, and the rows that their writers get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.formats import FORMATS, Format, Frame
from smarthouse_api.arrow.lines import TextColumn, flat, joined
from smarthouse_api.arrow.readable import REPLACEMENT, readable_json, without_nul
from smarthouse_api.arrow.time_columns import TIMESTAMP, write_times
from smarthouse_api.collections.columns import JSON, arrow_type, columns, have_rest, records, slices

RECORD_FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {one.name: one for one in sorted(FORMATS.values(), key=lambda one: not one.has_objects) if one.takes_any_name}
)
"""The formats of records by name, those that give a record's own text first. A member's name may be any text."""


class RecordRows:
    """Gives a collection's rows in the lake to the writer of any format, as a `RowSource`.

    JSON has each record's own text; the other formats have a column for each member.

    batches: read one by one, as chunks are asked for; columns `sequence`, `position`, `received`, `record`, `fault` (others are
    ignored), the texts as any kind of string. fields: the members of the records, in order, and their types: `null`, `bool`,
    `int` (of 64 bits with a sign), `float`, `string`, `json`. with_meta: whether a row says its position, its arrival, and why
    it fails the schema.

    A member of type `json` is JSON text in a column, so that the text "1" and the number 1 differ. A member that is always null
    is a text too. Members that have no field share the last column.
    """

    def __init__(
        self, batches: Iterable[pa.RecordBatch], fields: Mapping[str, str], *, with_meta: bool, frame: Frame | None = None
    ) -> None:
        fields = _without_nul(fields)
        self._batches, self._fields, self._with_meta, self.frame = batches, fields, with_meta, frame or Frame()
        meta = {"_position": pa.string(), "_received_at": TIMESTAMP, "_fault": pa.string()}
        ours = [(_free(name, fields), type_) for name, type_ in meta.items()]
        self._names = [name for name, _ in ours]
        rest = [(_free("_more", fields), pa.string())] if have_rest(fields) else []
        members = [(name, arrow_type(type_)) for name, type_ in fields.items()]
        self.schema = pa.schema([*(ours if with_meta else ()), *members, *rest])

    def text_columns(self) -> Iterator[tuple[int, list[TextColumn | None]]]:
        for rows in self._slices(len(self.schema)):
            meta = _meta(rows) if self._with_meta else []
            found = columns(rows, self._fields)
            texts = [None if one is None else TextColumn(one.texts(), is_free=one.has_texts()) for one in found]
            yield len(rows), [*meta, *texts]

    def objects(self, before: str, after: str) -> Iterator[bytes]:
        """Write each record as a JSON object.

        Position, arrival and fault come before the members; the fault only if it has one.
        """
        position, received_at, fault = self._names
        for rows in self._slices():
            texts = records(rows)
            if not self._with_meta:
                yield flat(joined(before, texts, after))
                continue
            head = f'{before}{{"{position}":"', _positions(rows), f'","{received_at}":"', write_times(_received(rows)), '"'
            faults = _faults(_fault(rows), f',"{fault}":')
            yield flat(joined(*head, faults, _rest(texts), after, null_handling="replace"))

    def typed(self) -> Iterator[pa.RecordBatch]:
        for rows in self._slices(len(self.schema)):
            ours = [_positions(rows), _received(rows), _fault(rows)] if self._with_meta else []
            values = [
                pa.nulls(len(rows), field.type) if column is None else column.typed()
                for column, field in zip(columns(rows, self._fields), list(self.schema)[len(ours) :], strict=True)
            ]
            yield pa.RecordBatch.from_arrays([*ours, *values], schema=self.schema)

    def _slices(self, width: int = 0) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            yield from slices(batch, width)


def _free(name: str, fields: Mapping[str, str]) -> str:
    """The name of a column of ours: with another underscore for as long as the records have a member of that name."""
    while name in fields:
        name = f"_{name}"
    return name


def _without_nul(fields: Mapping[str, str]) -> dict[str, str]:
    """Name the members as they are in readable records. Two names that become one are a column of JSON."""
    named = dict[str, str]()
    for name, type_ in fields.items():
        name = name.replace("\0", REPLACEMENT)
        named[name] = JSON if named.get(name, type_) != type_ else type_
    return named


def _faults(column: pa.StringArray, before: str) -> pa.Array:
    if column.null_count == len(column):
        return pa.scalar("", pa.string())
    codes = column.dictionary_encode()
    members = [before + orjson.dumps(fault).decode() for fault in codes.dictionary.to_pylist()]
    return readable_json(pa.array(members, pa.string())).take(codes.indices)


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


def _meta(rows: pa.RecordBatch) -> list[TextColumn]:
    bare = _positions(rows), write_times(_received(rows))
    return [*(TextColumn(texts, is_free=False) for texts in bare), TextColumn(_fault(rows))]


def _positions(rows: pa.RecordBatch) -> pa.StringArray:
    return joined(rows.column("sequence").cast(pa.string()), rows.column("position").cast(pa.string()), separator="-")


def _received(rows: pa.RecordBatch) -> pa.TimestampArray:
    return rows.column("received").cast(TIMESTAMP)


def _fault(rows: pa.RecordBatch) -> pa.StringArray:
    return without_nul(rows.column("fault").cast(pa.string()))

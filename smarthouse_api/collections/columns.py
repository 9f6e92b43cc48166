"""Makes columns of records: one for each member, first of JSON texts, and then of the texts or values that these stand for.

The reader only cuts a record into its members' texts. So a number keeps every digit until a column of numbers needs it, and the
texts are worked on a column at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.lines import flat, joined
from smarthouse_api.arrow.readable import readable_json
from smarthouse_api.arrow.slices import lengths, spans
from smarthouse_api.collections.rows import MOST_FIELDS

BOOL, INT, FLOAT, JSON = "bool", "int", "float", "json"

_CELL_BYTES: Final = 4  # what a column takes for a row even where it has no value
_LONE: Final = re.compile("[\ud800-\udfff]")
_LONGEST_INT: Final = len(str(-(1 << 63)))

_cut = msgspec.json.Decoder(dict[str, msgspec.Raw])
_write = msgspec.json.Encoder()

Members = dict[str, msgspec.Raw]


def slices(batch: pa.RecordBatch, columns: int = 0) -> Iterator[pa.RecordBatch]:
    """Cut rows into pieces of bounded size. columns: how many columns are made of them."""
    sizes = lengths(batch.column("record")) + lengths(batch.column("fault")) + columns * _CELL_BYTES
    for start, length in spans(sizes):
        yield batch.slice(start, length)


def records(rows: pa.RecordBatch) -> pa.StringArray:
    """Return the JSON text of each row's record, made readable: on one line, without NUL."""
    return readable_json(rows.column("record").cast(pa.string()))


def members(texts: pa.StringArray) -> list[Members]:
    """Cut each record into its members. texts: as `records` gives them."""
    try:
        return _cut.decode_lines(flat(joined(texts, "\n")))
    except msgspec.DecodeError:
        return [_members(text) for text in texts.to_pylist()]


def _members(text: str) -> Members:
    try:
        return _cut.decode(text)
    except msgspec.DecodeError:  # half a surrogate pair, which only Python's own reader takes
        found = json.loads(text)
        return {_mended(name): msgspec.Raw(json.dumps(value).encode()) for name, value in found.items()}


def _mended(text: str) -> str:
    return _LONE.sub("\ufffd", text)


def have_rest(fields: Mapping[str, str]) -> bool:
    """Return whether some members may have no field of their own. Those members share the last column."""
    return len(fields) >= MOST_FIELDS


def columns(rows: pa.RecordBatch, fields: Mapping[str, str]) -> Iterator[MemberColumn | None]:
    """Make the column of each field in turn, and of the rest if the fields `have_rest`. None if no row has a value."""
    found = members(records(rows))
    names: set[str] = set().union(*found)
    for name, type_ in fields.items():
        yield MemberColumn.of([one.get(name) for one in found], type_) if name in names else None
    if have_rest(fields):
        others = names.difference(fields)
        rest = [{name: one[name] for name in one if name in others} or None for one in found] if others else []
        yield MemberColumn.of(rest, JSON) if others else None


@dataclass(frozen=True, slots=True)
class MemberColumn:
    """Turns one member of many records into a column of texts or of typed values.

    type: the field's. text: the rows' JSON texts, one after the other; `null` for a row without the member. begins, ends: where
    each row's text stands in it. first: the first byte of each.
    """

    type: str
    text: bytes
    begins: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    first: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, values: Sequence[Any], type_: str) -> MemberColumn:
        """Make the column of values: JSON texts, or what can be written as JSON in one line; None for nothing."""
        text = _write.encode_lines(values)
        found = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(found == ord("\n")).astype(np.int32)
        begins = np.zeros_like(ends)
        begins[1:] = ends[:-1] + 1
        return cls(type_, text, begins, ends, found[begins])

    def texts(self) -> pa.StringArray:
        """Return the values as texts: a text as it is, everything in a column of type `json` as JSON, and null as null."""
        is_text = (self.first == ord('"')) & (self.type != JSON)
        shown = self._pieces(self.begins + is_text, self.ends - is_text, self.first != ord("n"))
        if not is_text.any() or b"\\" not in self.text:
            return shown
        escaped = pc.and_(pc.fill_null(pc.match_substring(shown, "\\"), False), pa.array(is_text))
        said = [_said(f'"{text}"') for text in shown.filter(escaped).to_pylist()]
        return pc.replace_with_mask(shown, escaped, pa.array(said, pa.string()))

    def typed(self) -> pa.Array:
        """Read the values as the `arrow_type` of the column's type. The fields rule out other values; these are null."""
        if self.type == BOOL:
            is_true = self.first == ord("t")
            return pa.array(is_true, mask=~(is_true | (self.first == ord("f"))))
        if self.type in (INT, FLOAT):
            is_number = (self.first == ord("-")) | ((self.first >= ord("0")) & (self.first <= ord("9")))
            numbers = self._pieces(self.begins, self.ends, is_number)
            return _integers(numbers) if self.type == INT else _floats(numbers)
        return self.texts()

    def has_texts(self) -> bool:
        """Return whether the column has more than numbers, true, false and null."""
        return bool(np.isin(self.first, np.frombuffer(b'"{[', np.uint8)).any())

    def _pieces(
        self, begins: npt.NDArray[np.int32], ends: npt.NDArray[np.int32], wanted: npt.NDArray[np.bool_]
    ) -> pa.StringArray:
        # An array whose every other text is what lies between two that are wanted: so it need not be cut one by one.
        offsets = np.stack([begins, ends], axis=1, dtype=np.int32)
        count = max(2 * len(begins) - 1, 0)
        cut = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(self.text))
        return cut.take(pa.array(np.arange(0, count, 2), mask=~wanted))


def _said(text: str) -> str:
    try:
        return str(msgspec.json.decode(text))
    except msgspec.DecodeError:
        return _mended(str(json.loads(text)))


def arrow_type(type_: str) -> pa.DataType:
    """Return the type of a field's column in Parquet: JSON text if there is nothing better."""
    return {BOOL: pa.bool_(), INT: pa.int64(), FLOAT: pa.float64()}.get(type_, pa.string())


def _integers(texts: pa.StringArray) -> pa.Int64Array:
    try:
        return texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.array([None if text is None else _integer(text) for text in texts.to_pylist()], pa.int64())


def _integer(text: str) -> int | None:
    if len(text) > _LONGEST_INT or not text.removeprefix("-").isdecimal():
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None


def _floats(texts: pa.StringArray) -> pa.DoubleArray:
    numbers = texts.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))

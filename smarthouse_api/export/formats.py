"""The formats of an export: each turns record batches of schema ROWS into chunks of bytes, in bounded memory."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any, Final
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq

from smarthouse_api.export.lines import Cell, framed, slices, text
from smarthouse_api.lake.schema import ROWS

ROW_GROUP_ROWS: Final = 100_000
ROW_GROUP_BYTES: Final = 64 << 20

_OBJECTS: Final = frozenset({"attributes"})


@dataclass(frozen=True, slots=True)
class Format:
    """One format. `encode` reads the batches one by one, as its chunks are asked for; `packed`: deflating it gains nothing."""

    name: str
    media_type: str
    extension: str
    description: str
    encode: Callable[[Iterable[pa.RecordBatch]], Iterator[bytes]]
    packed: bool = False


def _csv_quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def csv(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """RFC 4180 with a header line and LF. A null is an empty cell, an empty text is `""`.

    Nothing of the data is altered, also where a spreadsheet would take it for a formula.
    """
    cells = [Cell(dirty='[",\r\n]|^$' if pa.types.is_string(field.type) else "", escape=_csv_quoted) for field in ROWS]
    return text(batches, (",".join(ROWS.names) + "\n").encode(), framed(cells, "", "\n"), ",", b"")


def _json_escaped(text: str) -> str:
    return str(encode_basestring(text)[1:-1])


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def _json_cell(field: pa.Field) -> Cell:
    key = f'"{field.name}":'
    if field.name in _OBJECTS:
        # A line break between tokens is as good as a space, and would break a line of JSONL.
        return Cell(key, "", f"{key}null", r"[\r\n]", _one_line)
    if pa.types.is_floating(field.type):
        return Cell(key, "", f"{key}null")
    return Cell(f'{key}"', '"', f"{key}null", r'["\\\x00-\x1f]' if pa.types.is_string(field.type) else "", _json_escaped)


def jsonl(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """One JSON object on each line."""
    return text(batches, b"", framed([_json_cell(field) for field in ROWS], "{", "}\n"), ",", b"")


def json(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """One JSON array, an object on each line."""
    chunks = text(batches, b"[", framed([_json_cell(field) for field in ROWS], ",\n{", "}"), ",", b"\n]\n")
    yield next(chunks)
    yield next(chunks).removeprefix(b",")  # no comma before the first row
    yield from chunks


_XML_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def _xml_escaped(text: str) -> str:
    return escape(_XML_FORBIDDEN.sub("\ufffd", text), {"\r": "&#13;"})


def _xml_cell(field: pa.Field) -> Cell:
    dirty = r"[&<>\x00-\x08\x0b-\x1f\x{FFFE}\x{FFFF}]" if pa.types.is_string(field.type) else ""
    return Cell(f"<{field.name}>", f"</{field.name}>", "", dirty, _xml_escaped)


def xml(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """XML 1.0: a character that it forbids becomes U+FFFD. A null has no element, an empty text has an empty one.

    So xmltodict gives a dict without the key, and pandas.read_xml a missing value in the row. A row takes 0.8 µs; with
    xmltodict.unparse it took 37 µs, and 15 more to make the dict.
    """
    cells = framed([_xml_cell(field) for field in ROWS], "<row>", "</row>\n")
    return text(batches, b'<?xml version="1.0" encoding="UTF-8"?>\n<data>\n', cells, "", b"</data>\n")


class _Sink(io.RawIOBase):
    """What a writer wrote since it was last drained. (Arrow counts the positions in the file itself.)"""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def drain(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


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
    """Parquet with zstd, a chunk for each row group. batches: small ones, of this schema."""
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _groups(batches):
            if len(group):  # Arrow knows no rows without columns
                writer.write_table(group, row_group_size=len(group))
                yield sink.drain()
    yield sink.drain()


def parquet(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Parquet with zstd, a chunk for each row group."""
    return parquet_file((piece.cast(ROWS) for batch in batches for piece in slices(batch)), ROWS)


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Format("csv", "text/csv", "csv", "comma-separated values, UTF-8, with a header line", csv),
            Format("json", "application/json", "json", "one array of objects", json),
            Format("jsonl", "application/jsonl", "jsonl", "one JSON object on each line", jsonl),
            Format("xml", "application/xml", "xml", "XML 1.0, a row element for each row", xml),
            Format("parquet", "application/vnd.apache.parquet", "parquet", "Apache Parquet with zstd", parquet, packed=True),
        )
    }
)
"""Every format by its name, which is also its file extension."""

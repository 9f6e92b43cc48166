"""The formats of an export: each turns record batches of schema ROWS into chunks of bytes, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Final
from xml.sax.saxutils import escape

import pyarrow as pa

from smarthouse_api.arrow.lines import Cell, framed, slices, text
from smarthouse_api.arrow.parquet import parquet_file
from smarthouse_api.states.schema import ROWS

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


def _checked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.schema.names != ROWS.names:
            raise ValueError(f"Not the columns of an export's rows: {batch.schema.names}")
        yield batch


def _csv_quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def csv(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """RFC 4180 with a header line and LF. A null is an empty cell, an empty text is `""`.

    Nothing of the data is altered, also where a spreadsheet would take it for a formula.
    """
    cells = [Cell(dirty='[",\r\n]|^$' if pa.types.is_string(field.type) else "", escape=_csv_quoted) for field in ROWS]
    return text(_checked(batches), (",".join(ROWS.names) + "\n").encode(), framed(cells, "", "\n"), ",", b"")


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
    return text(_checked(batches), b"", framed([_json_cell(field) for field in ROWS], "{", "}\n"), ",", b"")


def json(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """One JSON array, an object on each line."""
    chunks = text(_checked(batches), b"[", framed([_json_cell(field) for field in ROWS], ",\n{", "}"), ",", b"\n]\n")
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
    return text(_checked(batches), b'<?xml version="1.0" encoding="UTF-8"?>\n<data>\n', cells, "", b"</data>\n")


def parquet(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Parquet with zstd, a chunk for each row group."""
    return parquet_file((piece.cast(ROWS) for batch in _checked(batches) for piece in slices(batch)), ROWS)


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

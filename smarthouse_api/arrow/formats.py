"""The formats of answers that consist of rows: a writer for each format, and one table of them all.

To add a format, write its writer and a row of `FORMATS`. Exports and reads of records then offer it, and the API's
documentation names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.compute as pc
import xmltodict

from smarthouse_api.arrow.lines import Cell, Chunk, TextColumn, framed, joined, lines
from smarthouse_api.arrow.parquet import parquet_file


class Frame(NamedTuple):
    """Tells the JSON writer what to put around the rows: the brackets of an array, or a whole document about it.

    before, after: what begins and what ends the file. first: stands before the first object, if there is one.
    """

    before: bytes = b"["
    after: bytes = b"]\n"
    first: bytes = b""


class RowSource(Protocol):
    """Gives every writer of a format the rows of one answer, in the shape that it writes: text, JSON objects or Arrow batches.

    The rows are read once, in slices that fit into memory. A fault in reading them is raised by the writer.
    """

    @property
    def schema(self) -> pa.Schema:
        """The columns: their names, and their types in Parquet."""

    @property
    def frame(self) -> Frame:
        """What the JSON writer puts around the rows."""

    def text_columns(self) -> Iterator[tuple[int, Sequence[TextColumn | None]]]:
        """Yield for each slice the number of its rows, and its columns as text; None for a column without any value."""

    def objects(self, before: str, after: str) -> Iterator[Chunk]:
        """Yield for each slice its rows as JSON objects. Each object is on one line, between the two texts."""

    def typed(self) -> Iterator[pa.RecordBatch]:
        """Yield each slice as a batch of `schema`."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Writes a file in runs of consecutive rows, which are put together later, perhaps by another process.

    A file is the head, the runs with `between` between them, and the tail. rows: writes a run, in which `between` precedes each
    row, the first one too. head, tail: they ask for no row.
    """

    head: Callable[[RowSource], Chunk]
    rows: Callable[[RowSource], Iterator[Chunk]]
    tail: Callable[[RowSource], Chunk]
    between: bytes = b""


@dataclass(frozen=True, slots=True)
class Format:
    """Offers one format to clients: its name, its media type, and the function that writes rows in it.

    name: as a request names it, and as a file's extension. write: gives the bytes in chunks, and reads rows as chunks are
    asked for. packed: deflating the bytes gains nothing. has_objects: a row is a JSON object. is_table: Frictionless reads the
    file as a table. takes_any_name: any text can name a column. runs: how the same file is written in runs, if it can be.
    """

    name: str
    media_type: str
    description: str
    write: Callable[[RowSource], Iterator[Chunk]]
    packed: bool = False
    has_objects: bool = False
    is_table: bool = False
    takes_any_name: bool = True
    runs: Runs | None = None


def csv(rows: RowSource) -> Iterator[Chunk]:
    """Write CSV by RFC 4180, with a header line and LF. A null is an empty cell, an empty text is `""`.

    A text of more than `LONGEST_TEXT` characters is cut, or Python's `csv` would refuse the file. Nothing else is altered, even
    if a spreadsheet would take a text for a formula.
    """
    yield _csv_head(rows)
    yield from _csv_rows(rows)


def _csv_head(rows: RowSource) -> Chunk:
    names: list[TextColumn | None] = [TextColumn(pa.array([name], pa.string())) for name in rows.schema.names]
    return lines(1, names or [None], csv_cells(rows), ",")


def _csv_rows(rows: RowSource) -> Iterator[Chunk]:
    cells = csv_cells(rows)
    for count, columns in rows.text_columns():
        yield lines(count, columns or [None], cells, ",")


def csv_cells(rows: RowSource) -> Sequence[Cell]:
    """Return the cells of a row in CSV."""
    return framed([_CSV_CELL] * max(len(rows.schema.names), 1), "", "\n")


def jsonl(rows: RowSource) -> Iterator[Chunk]:
    """Write one JSON object on each line."""
    return rows.objects("", "\n")


def json(rows: RowSource) -> Iterator[Chunk]:
    """Write one JSON array, an object on each line."""
    yield rows.frame.before
    chunks = rows.objects(BETWEEN_OBJECTS, "")
    for chunk in chunks:
        yield rows.frame.first
        yield chunk[len(BETWEEN_OBJECTS) :]
        yield from chunks
    yield rows.frame.after


def xml(rows: RowSource) -> Iterator[Chunk]:
    """Write XML 1.0. A character that it forbids becomes U+FFFD. A null has no element, an empty text has an empty one.

    So xmltodict gives a dict without the key, and pandas.read_xml a missing value in the row. xmltodict writes the document
    around the rows. A row takes 0.8 µs here; xmltodict took 37, and 15 more to make the dict. The names of the columns must be
    names in XML.
    """
    yield _xml_head(rows)
    yield from _xml_rows(rows)
    yield _xml_tail(rows)


def _xml_head(_: RowSource) -> bytes:
    return _xml_frame()[0].encode()


def _xml_rows(rows: RowSource) -> Iterator[Chunk]:
    cells = xml_cells(rows)
    for count, columns in rows.text_columns():
        yield lines(count, columns, cells, "")


def xml_cells(rows: RowSource) -> Sequence[Cell]:
    """Return the cells of a row in XML."""
    return framed([_xml_cell(name) for name in rows.schema.names], "<row>", "</row>\n")


def _xml_tail(_: RowSource) -> bytes:
    return f"{_xml_frame()[1]}\n".encode()


def _xml_frame() -> tuple[str, str]:
    """Return what stands before and after the rows."""
    head, end, _ = xmltodict.unparse({"data": "\n"}, encoding="UTF-8").partition("</data>")
    return head, end


def parquet(rows: RowSource) -> Iterator[bytes]:
    """Write Parquet with zstd, a chunk for each row group."""
    return parquet_file(rows.typed(), rows.schema)


BETWEEN_OBJECTS: Final = ",\n"
_XML_DIRTY: Final = r"[&<>\x00-\x08\x0b-\x1f\x{FFFE}\x{FFFF}]"
_XML_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def _csv_quoted(texts: pa.StringArray) -> pa.StringArray:
    return joined('"', pc.replace_substring(texts, '"', '""'), '"')


_CSV_CELL: Final = Cell(dirty='[",\r\n]|^$', escape=_csv_quoted, is_limited=True)


def _xml_cell(name: str) -> Cell:
    return Cell(f"<{name}>", f"</{name}>", "", _XML_DIRTY, _xml_escaped)


def _xml_escaped(texts: pa.StringArray) -> pa.StringArray:
    escaped = [escape(_XML_FORBIDDEN.sub("\ufffd", text), {"\r": "&#13;"}) for text in texts.to_pylist()]
    return pa.array(escaped, pa.string())


_CSV_RUNS: Final = Runs(_csv_head, _csv_rows, lambda _: b"")
_JSON_RUNS: Final = Runs(
    lambda rows: rows.frame.before + rows.frame.first,
    lambda rows: rows.objects(BETWEEN_OBJECTS, ""),
    lambda rows: rows.frame.after,
    BETWEEN_OBJECTS.encode(),
)
_JSONL_RUNS: Final = Runs(lambda _: b"", jsonl, lambda _: b"")
_XML_RUNS: Final = Runs(_xml_head, _xml_rows, _xml_tail)

FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Format(
                *("csv", "text/csv", "comma-separated values, UTF-8, with a header line", csv), is_table=True, runs=_CSV_RUNS
            ),
            Format(
                *("json", "application/json", "one array of objects", json), has_objects=True, is_table=True, runs=_JSON_RUNS
            ),
            Format(
                *("jsonl", "application/jsonl", "one JSON object on each line", jsonl),
                has_objects=True,
                is_table=True,
                runs=_JSONL_RUNS,
            ),
            Format(
                *("xml", "application/xml", "XML 1.0, a row element for each row", xml), takes_any_name=False, runs=_XML_RUNS
            ),
            Format("parquet", "application/vnd.apache.parquet", "Apache Parquet with zstd", parquet, packed=True),
        )
    }
)
"""Every format by its name."""

"""Lines of the text formats in pieces, for rows that another than this process writes: an engine puts the pieces together.

A line is the cells of a row, with a separator between them. The first cell begins the line, the last one ends it, without a
line break.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NamedTuple

import pyarrow as pa

from smarthouse_api.arrow.formats import csv_cells, xml_cells
from smarthouse_api.arrow.lines import Cell, joined
from smarthouse_api.arrow.schema_rows import SchemaRows


class _Kind(NamedTuple):
    """Describes lines that several formats may have."""

    name: str
    cells: Callable[[SchemaRows], Sequence[Cell]]
    separator: str


def _objects(rows: SchemaRows) -> Sequence[Cell]:
    return rows.object_cells("", "")


_KINDS: Final = MappingProxyType(
    {
        "csv": _Kind("csv", csv_cells, ","),
        "jsonl": _Kind("objects", _objects, ","),
        "json": _Kind("objects", _objects, ","),
        "xml": _Kind("xml", xml_cells, ""),
    }
)
"""By the formats' names."""


@dataclass(frozen=True)
class RowLines:
    """Says how rows of one schema are lines. name: of the lines, which several formats may have. cells: of the columns."""

    name: str
    cells: Sequence[Cell]
    separator: str
    schema: pa.Schema
    objects: frozenset[str]

    def cell(self, column: str) -> Cell:
        """Return the cell of a column."""
        place: int = self.schema.names.index(column)
        return self.cells[place]

    def pieces(self, rows: pa.RecordBatch) -> pa.StringArray:
        """Write some consecutive columns of rows as they stand in their lines: one text for each row, which is never null."""
        names = rows.schema.names
        source = SchemaRows([rows], pa.schema([self.schema.field(name) for name in names]), objects=self.objects & set(names))
        written = [
            joined(*map(Cell.written, map(self.cell, names), columns), separator=self.separator, null_handling="replace")
            for _, columns in source.text_columns()
        ]
        return pa.concat_arrays(written) if written else pa.array([], pa.string())

    def piece(self, column: str, text: str) -> str:
        """Write one text as it stands in a line."""
        (written,) = self.pieces(pa.RecordBatch.from_pydict({column: pa.array([text], pa.string())})).to_pylist()
        return str(written)


def lines_of(formats: Iterable[str], rows: SchemaRows) -> list[RowLines]:
    """Say how rows are lines in some formats, each kind of lines once. Formats that have no lines are left out."""
    kinds = {_KINDS[name].name: _KINDS[name] for name in formats if name in _KINDS}
    found = kinds.values()
    return [
        RowLines(kind.name, _unbroken(kind.cells(rows)), kind.separator, rows.schema, rows.object_columns) for kind in found
    ]


def _unbroken(cells: Sequence[Cell]) -> Sequence[Cell]:
    *others, last = cells
    return [*others, replace(last, after=last.after.removesuffix("\n"), null=last.null.removesuffix("\n"))]


def name_of_lines(format_: str) -> str | None:
    """Return the name of the lines that a format has; None if it has none."""
    return _KINDS[format_].name if format_ in _KINDS else None

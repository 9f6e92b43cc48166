"""The shapes of an export's rows: state changes, and aggregates in each of their layouts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from smarthouse_api.arrow.formats import Frame
from smarthouse_api.arrow.schema_rows import SchemaRows
from smarthouse_api.states.aggregates.homes_rows import HomesRows
from smarthouse_api.states.aggregates.long_rows import LongRows
from smarthouse_api.states.aggregates.rows import Layout
from smarthouse_api.states.aggregates.wide_columns import WideColumn
from smarthouse_api.states.aggregates.wide_rows import WideRows
from smarthouse_api.states.export.columns import AGGREGATE_COLUMNS, COLUMNS, HOMES_COLUMNS, Column, wide_descriptions
from smarthouse_api.states.records.schema import ROWS

_FRAME: Final = Frame(b"[", b"\n]\n", first=b"\n")


@dataclass(frozen=True)
class Shape:
    """Says what an export's rows are like: their columns in Arrow and in words.

    begin, end: the columns that tell which time they cover. objects: the columns that hold JSON objects. layout: of aggregates.
    """

    schema: pa.Schema
    columns: Mapping[str, Column]
    begin: str
    end: str
    objects: frozenset[str] = frozenset()
    layout: Layout | None = None

    @property
    def of_aggregates(self) -> Layout:
        """The layout of aggregates."""
        if self.layout is None:
            raise TypeError("rows of states have no layout")
        return self.layout

    def source(self, batches: Iterable[pa.RecordBatch]) -> SchemaRows:
        """Make rows writable in any format. batches: of the columns of `schema`, read one by one."""
        return SchemaRows(batches, self.schema, objects=self.objects, frame=_FRAME)


_STORED: Final = pa.schema([field.with_nullable(True) for field in ROWS])
"""`ROWS` as a Parquet file stores them: as engines do, which store each column as if it may have nulls."""

STATE_CHANGES: Final = Shape(_STORED, COLUMNS, "time", "time", frozenset({"attributes"}))
_LONG: Final = LongRows()
AGGREGATES: Final = Shape(_LONG.schema, AGGREGATE_COLUMNS, "start", "end", frozenset({"shares"}), _LONG)


def wide(columns: tuple[WideColumn, ...]) -> Shape:
    """Make the shape of aggregates that have these columns."""
    layout = WideRows(columns)
    return Shape(layout.schema, wide_descriptions(columns), "start", "end", layout=layout)


def of_homes(homes: Collection[str], least: int) -> Shape:
    """Make the shape of aggregates of many homes together. homes, least: see `HomesRows`."""
    layout = HomesRows(homes, least)
    return Shape(layout.schema, HOMES_COLUMNS, "start", "end", layout=layout)

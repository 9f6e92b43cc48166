"""The rows of an export, to be written in any format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from smarthouse_api.arrow.formats import Frame
from smarthouse_api.arrow.schema_rows import SchemaRows
from smarthouse_api.states.schema import ROWS

_OBJECTS: Final = frozenset({"attributes"})
_FRAME: Final = Frame(b"[", b"\n]\n", first=b"\n")


def row_source(batches: Iterable[pa.RecordBatch]) -> SchemaRows:
    """The batches as rows to write. batches: of the columns of `ROWS`, read one by one."""
    return SchemaRows(batches, ROWS, objects=_OBJECTS, frame=_FRAME)

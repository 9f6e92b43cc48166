"""Whether a data file is as it describes itself, when nothing else tells its checksum."""

from __future__ import annotations

import io
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_WITH_BOUNDS: Final = (pa.types.is_integer, pa.types.is_timestamp, pa.types.is_date, pa.types.is_boolean)


def is_whole(data: bytes, rows: int | None = None) -> bool:
    """Read all rows of a Parquet file, and compare them with the counts and the bounds in its footer.

    rows: how many there must be; None if that is not known.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        if rows is not None and file.metadata.num_rows != rows:
            return False
        return all(_is_as_told(file, group) for group in range(file.num_row_groups))
    except (pa.ArrowException, OSError, ValueError):
        return False


def _is_as_told(file: pq.ParquetFile, group: int) -> bool:
    told, read = file.metadata.row_group(group), file.read_row_group(group)
    read.validate(full=True)
    names = [told.column(column).path_in_schema for column in range(told.num_columns)]
    flat = ((name, told.column(column).statistics) for column, name in enumerate(names) if name in read.column_names)
    return read.num_rows == told.num_rows and all(_agrees(read[name], one) for name, one in flat if one is not None)


def _agrees(column: pa.ChunkedArray, told: Any) -> bool:
    if told.has_null_count and told.null_count != column.null_count:
        return False
    if not told.has_min_max or not any(is_such(column.type) for is_such in _WITH_BOUNDS):
        return True  # the bounds of text may be cut, and those of fractions may leave out what is no number
    found = pc.min_max(column).as_py()
    return bool((found["min"], found["max"]) == (told.min, told.max))

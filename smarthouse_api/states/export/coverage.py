"""The time that an export covers, found out while its rows are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import time_of


class Coverage:
    """Notes the least and the greatest time of the rows that pass through it. Both are None as long as no row did."""

    def __init__(self, column: str = "time") -> None:
        """column: of the times."""
        self._column = column
        self.first: datetime | None = None
        self.last: datetime | None = None

    def noted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the same batches. They have the columns of an export's rows."""
        for batch in batches:
            if batch.num_rows:
                self._note(batch.column(self._column))
            yield batch

    def _note(self, times: pa.Array) -> None:
        ends = pc.min_max(times.cast(pa.int64())).as_py()
        first, last = time_of(ends["min"]), time_of(ends["max"])
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)

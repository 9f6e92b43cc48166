"""The time that an export covers, found out while its rows are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import LAST_US, time_of


class Coverage:
    """Notes the least and the greatest time of the rows that pass through it. Both are None as long as no row did."""

    def __init__(self, begin: str = "time", end: str = "time") -> None:
        """begin, end: the columns of the times."""
        self._begin, self._end = begin, end
        self.first: datetime | None = None
        self.last: datetime | None = None

    def noted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the same batches. They have the columns of an export's rows."""
        for batch in batches:
            if batch.num_rows:
                self.note_rows(batch)
            yield batch

    def note_rows(self, batch: pa.RecordBatch) -> None:
        """Note the times of a batch that has rows."""
        begin, end = (batch.column(name).cast(pa.int64()) for name in (self._begin, self._end))
        self.note(pc.min(begin).as_py(), min(pc.max(end).as_py(), LAST_US))  # the last interval of 9999 ends after it

    def note(self, first_us: int, last_us: int) -> None:
        """Note the least and the greatest time of some rows, in microseconds since 1970."""
        first, last = time_of(first_us), time_of(last_us)
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)

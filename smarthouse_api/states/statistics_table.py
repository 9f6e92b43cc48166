"""The Delta table of long-term statistics. It shares the leases of the table of states, so that forgetting covers both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from sqlglot import exp

from backends.ports import ObjectStore, StateStore
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.lake.files import Crowded, files_of
from smarthouse_api.lake.open_table import Layout
from smarthouse_api.lake.repairs import month_end
from smarthouse_api.lake.sparing import Span
from smarthouse_api.states.homes_table import EPOCH_DAY, LEASE, MOST_SORTED_BYTES, HomesTable, at_most, is_sortable, rows_of
from smarthouse_api.states.records.periods import each_once
from smarthouse_api.states.records.placement import bucket_of
from smarthouse_api.states.records.schema import PERIODS

LAYOUT = Layout("statistics", LEASE, PERIODS, ("day", "bucket"), ("start", "received"), "Long-term statistics of homes")

_DAY: Final = timedelta(days=1)
_MONTH: Final = timedelta(days=33)
"""More than any month has."""


class StatisticsTable(HomesTable):
    """Keeps the long-term statistics of all homes in the lake, and reads each period once.

    It may hold a period several times: another upload told it again, or a curator died and its successor added it again.
    """

    def __init__(self, state: StateStore, objects: ObjectStore, leases: Leases, days: int = 0) -> None:
        super().__init__(state, objects, leases, LAYOUT, days)

    def buckets(self, home: str) -> tuple[int, ...]:
        return (bucket_of(home),)

    def is_over_before(self, day: date, bucket: int, first: date) -> bool:
        return day > EPOCH_DAY and month_end(day) < first

    def _row_time(self) -> exp.Condition:
        return exp.Coalesce(this=exp.column("start"), expressions=[exp.column("received")])

    def _span_read_with(self, day: date) -> Span:
        """Name the days whose readers may find a row of one day: months are read whole, and by the clocks of the homes."""
        return max(day, date.min + _MONTH) - _MONTH, min(day, date.max - _MONTH) + _MONTH

    def _of_days(self, files: pa.Table, span: Span) -> pa.Table:
        day, first, last = files["partition.day"], max(span[0], date.min + _MONTH), min(span[1], date.max - _DAY)
        # A month begins so many days before one of its days at most, less than `_span_read_with` adds.
        is_read = pc.and_(
            pc.greater_equal(day, pa.scalar(first - _MONTH + _DAY, pa.date32())),
            pc.less_equal(day, pa.scalar(last + _DAY, pa.date32())),
        )
        return files.filter(pc.and_(is_read, pc.not_equal(day, pa.scalar(EPOCH_DAY, pa.date32()))))

    def periods(self, snapshot: DeltaTable) -> Iterator[pa.Table]:
        """Read a snapshot, each period once: a table of schema `PERIODS` for each partition, the oldest month first.

        Hold a reader's lease meanwhile. Rows of hidden homes are among them.
        """
        places = files_of(snapshot).group_by(["partition.day", "partition.bucket"]).aggregate([])
        for place in places.sort_by([(name, "ascending") for name in places.column_names]).to_pylist():
            if found := list(rows_of(snapshot, [(place["partition.day"], place["partition.bucket"])])):
                yield each_once(pa.Table.from_batches(found))

    def _is_over(self, partition: Mapping[str, Any], today: date) -> bool:
        """Rows may be added to any month: an import brings years, piece after piece."""
        return False

    def _merge(self, table: DeltaTable, crowded: Crowded) -> None:
        """Merge the files of a partition: sorted, and each period once, if it fits into memory."""
        day, bucket = crowded.partition["day"], crowded.partition["bucket"]
        if is_sortable(crowded) and (found := at_most(rows_of(table, [(day, bucket)]), MOST_SORTED_BYTES)):
            self._replace(table, each_once(pa.Table.from_batches(found)), f"day = '{day}' AND bucket = {bucket}")
            return
        super()._merge(table, crowded)

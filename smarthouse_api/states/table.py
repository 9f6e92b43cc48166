"""The Delta table of states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from sqlglot import exp

from backends.ports import ObjectStore, StateStore
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.files import Crowded, files_of, lake_faults
from smarthouse_api.lake.open_table import Layout
from smarthouse_api.lake.repairs import month_end
from smarthouse_api.states.homes_table import LEASE, MOST_SORTED_BYTES, HomesTable, at_most, is_sortable, rows_of
from smarthouse_api.states.records.entered import ENTERED, is_unnumbered, numbered
from smarthouse_api.states.records.placement import LATE, LATE_DAYS, OWN_DAY, buckets_of
from smarthouse_api.states.records.schema import STATES
from smarthouse_api.states.records.sorting import encoded, in_order
from smarthouse_api.states.renewal import renewed

NAME = "states"
LAYOUT = Layout(NAME, LEASE, STATES, ("day", "bucket"), ("time", "received", ENTERED), "States of homes")

_MOST_MOVED_ROWS = 250_000


class StatesTable(HomesTable):
    """Keeps the states of all homes in the lake: sorted when they are merged, and each state change once."""

    def __init__(self, state: StateStore, objects: ObjectStore, leases: Leases, days: int = 0) -> None:
        super().__init__(state, objects, leases, LAYOUT, days)

    def buckets(self, home: str) -> tuple[int, ...]:
        return buckets_of(home)

    def is_over_before(self, day: date, bucket: int, first: date) -> bool:
        return (OWN_DAY <= bucket < LATE and day < first) or (bucket == LATE and month_end(day) < first)

    def append(self, snapshot: DeltaTable, rows: pa.Table, logs: Mapping[str, int]) -> None:
        if is_unnumbered(rows):
            number = max(self.entered(snapshot) + 1, round(self._state.now() * 1e6))
            rows, logs = numbered(rows, number), {**logs, ENTERED: number}
        super().append(snapshot, rows, logs)

    def entered(self, snapshot: DeltaTable) -> int:
        """Return the largest number that a commit has given to the rows of a snapshot; see `records.entered`. 0 for none."""
        if (number := self.held(snapshot, [ENTERED])[ENTERED]) or not len(files_of(snapshot)):
            return number
        most = exp.Max(this=exp.Abs(this=exp.column(ENTERED)))  # the log was written anew, or an earlier version's
        found = EmbeddedEngine().stream(snapshot, exp.select(most.as_("most")).from_(NAME))
        return max((row["most"] or 0 for batch in found for row in batch.to_pylist()), default=0)

    def outdated(self) -> list[tuple[date, int]]:
        """List partitions that an earlier version wrote, the newest first: as many as are moved at once, or none."""
        table = self.open()
        if table is None:
            return []
        files = files_of(table)
        files = files.filter(pc.less(files["partition.bucket"], OWN_DAY))
        rows = files.group_by(["partition.day", "partition.bucket"]).aggregate([("num_records", "sum")]).to_pylist()
        chosen, count = list[tuple[date, int]](), 0
        for one in sorted(rows, key=lambda one: (one["partition.day"], one["partition.bucket"]), reverse=True):
            count += one["num_records_sum"]
            if chosen and count > _MOST_MOVED_ROWS:
                break
            chosen.append((one["partition.day"], one["partition.bucket"]))
        return chosen

    def move(self, lease: Lease, partitions: Sequence[tuple[date, int]]) -> None:
        """Bring rows of an earlier version to their place, renewed. partitions: their days of arrival and buckets.

        1. The rows are added where they belong, as many at a time as fit into memory. Until the next step they are repeats,
           which no reader counts.
        2. The lease is checked, and the partitions are deleted. delta-rs refuses that if another has added to them.

        If the process dies in between, the rows are added again, and are repeats once more.
        """
        snapshot = self.open_or_create()
        for rows in _in_turns(rows_of(snapshot, partitions)):
            lease.check()  # what was read before a fence may only be added before it
            self.append(snapshot, renewed(rows), {})
        lease.check()
        old = " OR ".join(f"(day = '{day}' AND bucket = {bucket})" for day, bucket in partitions)
        with lake_faults():
            snapshot.delete(old, writer_properties=self._writer)
        self._record(snapshot)

    def _is_over(self, partition: Mapping[str, Any], today: date) -> bool:
        """Hardly a row is added to a day that is over. Late rows have partitions of their own, which never are."""
        return bool(partition["bucket"] < LATE and partition["day"] < today - timedelta(days=LATE_DAYS))

    def _merge(self, table: DeltaTable, crowded: Crowded) -> None:
        """Merge the files of a partition: sorted, and each state change once, if it fits into memory."""
        day, bucket = crowded.partition["day"], crowded.partition["bucket"]
        if bucket >= OWN_DAY and is_sortable(crowded):
            found = at_most(rows_of(table, [(day, bucket)]), MOST_SORTED_BYTES)
            if found and (together := encoded(found)) is not None:
                merged = pa.Table.from_batches([in_order(together)]).select(STATES.names).cast(STATES)
                self._replace(table, merged, f"day = '{day}' AND bucket = {bucket}")
                return
        super()._merge(table, crowded)


def _in_turns(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Put batches together to tables that fit into memory, one at a time."""
    turn, rows, size = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        turn.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _MOST_MOVED_ROWS or size >= MOST_SORTED_BYTES:
            yield pa.Table.from_batches(turn)
            turn, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(turn)

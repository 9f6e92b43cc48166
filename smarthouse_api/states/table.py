"""The Delta table of states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import reduce
from operator import or_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from backends.ports import ObjectStore
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.lake.table import LakeTable, Layout, files_of, lake_faults
from smarthouse_api.states.records.placement import LATE, LATE_DAYS, OWN_DAY, buckets_of
from smarthouse_api.states.records.schema import STATES
from smarthouse_api.states.records.sorting import encoded, in_order
from smarthouse_api.states.renewal import renewed

NAME = "states"
LEASE = "lake"
"""Name of two leases: one writer holds the first, and readers of snapshots share the second."""

LAYOUT = Layout(NAME, LEASE, STATES, ("day", "bucket"), ("time", "received"), "States of homes")

_MOST_SORTED_ROWS = 1_000_000
_MOST_MOVED_ROWS = 250_000


class StatesTable(LakeTable):
    """Keeps the states of all homes in the lake: finds a home's rows, and deletes them."""

    def __init__(self, objects: ObjectStore, leases: Leases) -> None:
        super().__init__(objects, leases, LAYOUT)

    def homes(self) -> set[str]:
        """Return the internal keys of all homes that have rows."""
        table = self.open()
        if table is None:
            return set()
        with lake_faults():
            batches = table.to_pyarrow_dataset().to_batches(columns=["home"])
            return {home for batch in batches for home in batch.column("home").unique().to_pylist()}

    def arrivals(self, snapshot: DeltaTable, payloads: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Find which payloads a snapshot holds; the answer may contain others, too.

        payloads: pairs of internal key and time of arrival, in microseconds since 1970.
        """
        received = pa.array({at for _, at in payloads}, pa.int64()).cast(TIMESTAMP)
        buckets = {bucket for home, _ in payloads for bucket in buckets_of(home)}
        # Not by the home, whose text is of another type in files that a delete has rewritten: Arrow cannot compare the two.
        of_payloads = pc.field("bucket").isin(sorted(buckets)) & pc.field("received").isin(received)
        with lake_faults():
            found = snapshot.to_pyarrow_dataset().to_table(columns=["home", "received"], filter=of_payloads)
        arrived = found.group_by(["home", "received"]).aggregate([])
        return set(zip(arrived["home"].to_pylist(), arrived["received"].cast(pa.int64()).to_pylist(), strict=True))

    def delete_home(self, home: str) -> None:
        """Remove a home's rows from the table; their bytes stay until `erase_history`."""
        self.delete(f"bucket IN ({', '.join(map(str, buckets_of(home)))}) AND home = '{home}'")

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

        1. The rows are added where they belong. Until the next step they are repeats, which no reader counts.
        2. The lease is checked, and the partitions are deleted. delta-rs refuses that if another has added to them.

        If the process dies in between, the rows are added again, and are repeats once more.
        """
        snapshot = self.open_or_create()
        with lake_faults():
            found = snapshot.to_pyarrow_dataset().to_table(filter=reduce(or_, (_partition(*one) for one in partitions)))
        self.append(snapshot, renewed(found), {})
        lease.check()
        old = " OR ".join(f"(day = '{day}' AND bucket = {bucket})" for day, bucket in partitions)
        with lake_faults():
            snapshot.delete(old, writer_properties=self._writer)

    def _is_over(self, partition: Mapping[str, Any], today: date) -> bool:
        """Hardly a row is added to a day that is over. Late rows have partitions of their own, which never are."""
        return bool(partition["bucket"] < LATE and partition["day"] < today - timedelta(days=LATE_DAYS))

    def _merge(self, table: DeltaTable, partition: Mapping[str, Any], rows: int) -> None:
        """Merge the files of a partition: sorted, and each state change once."""
        if partition["bucket"] < OWN_DAY or rows > _MOST_SORTED_ROWS:
            super()._merge(table, partition, rows)
            return
        day, bucket = partition["day"], partition["bucket"]
        with lake_faults():
            found = table.to_pyarrow_dataset().to_table(
                filter=(pc.field("day") == pa.scalar(day)) & (pc.field("bucket") == bucket)
            )
            if (together := encoded(found.to_batches())) is not None:
                merged = pa.Table.from_batches([in_order(together)]).select(STATES.names).cast(STATES)
                self._replace(table, merged, f"day = '{day}' AND bucket = {bucket}")


def _partition(day: date, bucket: int) -> pc.Expression:
    return (pc.field("day") == pa.scalar(day)) & (pc.field("bucket") == bucket)

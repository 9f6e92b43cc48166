"""What the tables of states and of statistics have in common: rows of homes, by which they are found and deleted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from functools import reduce
from operator import or_

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.files import Crowded, lake_faults
from smarthouse_api.lake.table import LakeTable

LEASE = "lake"
"""Name of two leases: one writer holds the first, and readers of snapshots share the second. Tables of homes share both."""

MOST_SORTED_BYTES = 192 << 20
_MOST_SORTED_ROWS = 1_000_000
_MOST_SORTED_FILE_BYTES = 48 << 20


class HomesTable(LakeTable):
    """Keeps rows of homes, partitioned by `day` and `bucket`: finds a home's rows, and deletes them."""

    @abstractmethod
    def buckets(self, home: str) -> tuple[int, ...]:
        """List all buckets in which a home can have rows. home: an internal key."""

    def homes(self) -> set[str]:
        """Return the internal keys of all homes that have rows."""
        table = self.open()
        if table is None:
            return set()
        # Not with Arrow's threads: they may outlive a scan that fails, and then crash the process.
        query = exp.select(exp.column("home")).distinct().from_(self.name)
        return {home for batch in EmbeddedEngine().stream(table, query) for home in batch.column("home").to_pylist()}

    def arrivals(self, snapshot: DeltaTable, payloads: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Find which payloads a snapshot holds; the answer may contain others, too.

        payloads: pairs of internal key and time of arrival, in microseconds since 1970.
        """
        received = pa.array({at for _, at in payloads}, pa.int64()).cast(TIMESTAMP)
        buckets = {bucket for home, _ in payloads for bucket in self.buckets(home)}
        # Not by the home, whose text is of another type in files that a delete has rewritten: Arrow cannot compare the two.
        of_payloads = pc.field("bucket").isin(sorted(buckets)) & pc.field("received").isin(received)
        with lake_faults():
            found = snapshot.to_pyarrow_dataset().to_table(columns=["home", "received"], filter=of_payloads)
        arrived = found.group_by(["home", "received"]).aggregate([])
        return set(zip(arrived["home"].to_pylist(), arrived["received"].cast(pa.int64()).to_pylist(), strict=True))

    def delete_homes(self, homes: Collection[str]) -> None:
        """Remove the rows of homes from the table, all at once: a file is rewritten once, however many homes it has.

        Their bytes stay until `erase_history`.
        """
        if homes:
            buckets = sorted({bucket for home in homes for bucket in self.buckets(home)})
            keys = ", ".join(f"'{home}'" for home in sorted(homes))
            self.delete(f"bucket IN ({', '.join(map(str, buckets))}) AND home IN ({keys})")


def is_sortable(crowded: Crowded) -> bool:
    """Tell whether the rows of a partition may fit into memory to be sorted."""
    return crowded.rows <= _MOST_SORTED_ROWS and crowded.size_bytes <= _MOST_SORTED_FILE_BYTES


def rows_of(snapshot: DeltaTable, partitions: Sequence[tuple[date, int]]) -> Iterator[pa.RecordBatch]:
    """Read partitions, by their days and buckets."""
    wanted = reduce(or_, ((pc.field("day") == pa.scalar(day)) & (pc.field("bucket") == bucket) for day, bucket in partitions))
    with lake_faults():
        yield from snapshot.to_pyarrow_dataset().to_batches(filter=wanted)


def at_most(batches: Iterator[pa.RecordBatch], most_bytes: int) -> list[pa.RecordBatch]:
    """Collect batches; none if they are more than so many bytes in memory: texts that repeat themselves rest in few."""
    found, size = list[pa.RecordBatch](), 0
    for batch in batches:
        found.append(batch)
        size += batch.nbytes
        if size > most_bytes:
            return []
    return found

"""The Delta table of states."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from backends.ports import ObjectStore
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.lake.table import LakeTable, Layout, lake_faults
from smarthouse_api.states.records.schema import STATES, bucket_of

NAME = "states"
LEASE = "lake"
"""Name of two leases: one writer holds the first, and readers of snapshots share the second."""

LAYOUT = Layout(NAME, LEASE, STATES, ("day", "bucket"), ("time",), "States of homes")


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
        # Not by the home, whose text is of another type in files that a delete has rewritten: Arrow cannot compare the two.
        of_payloads = (
            pc.field("day").isin(received.cast(pa.date32()).unique())
            & pc.field("bucket").isin(sorted({bucket_of(home) for home, _ in payloads}))
            & pc.field("received").isin(received)
        )
        with lake_faults():
            found = snapshot.to_pyarrow_dataset().to_table(columns=["home", "received"], filter=of_payloads)
        arrived = found.group_by(["home", "received"]).aggregate([])
        return set(zip(arrived["home"].to_pylist(), arrived["received"].cast(pa.int64()).to_pylist(), strict=True))

    def delete_home(self, home: str) -> None:
        """Remove a home's rows from the table; their bytes stay until `erase_history`."""
        self.delete(f"bucket = {bucket_of(home)} AND home = '{home}'")

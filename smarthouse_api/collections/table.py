"""The Delta table of collections: a row for each record.

The rows of several collections are committed together, each under the name of its collection and the last sequence of its
topic; and all under one name more, so that of two writers who began with the same snapshot only one commits, though they write
of different collections. What a snapshot says of a collection is then what nobody else has changed since it was opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, WriterProperties

from backends.ports import ObjectStore
from smarthouse_api.lake.schema import TIMESTAMP
from smarthouse_api.lake.table import LakeTable, Layout, lake_faults
from smarthouse_api.leases import Leases

NAME: Final = "collections"

RECORDS: Final = pa.schema(
    [
        pa.field("collection", pa.string(), nullable=False),
        pa.field("day", pa.date32(), nullable=False),
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("batch", pa.string(), nullable=False),
        pa.field("received", TIMESTAMP, nullable=False),
        pa.field("time", TIMESTAMP, nullable=False),
        pa.field("record", pa.string(), nullable=False),
        pa.field("fault", pa.string()),
    ]
)
"""The Delta table `collections`, partitioned by `collection` and `day` (of arrival, UTC).

collection: its key. sequence, position: of the entry in the topic, and of the record in the entry. batch: which entry it was,
whatever its sequence. time: the record's own, or else its arrival. record: JSON. fault: why it fails the collection's schema.
"""

LAYOUT: Final = Layout(NAME, NAME, RECORDS, ("collection", "day"), ("sequence", "time"), "Records of collections")

# Smaller groups of rows than those of states: a page of records is looked for by its sequences.
_WRITER: Final = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=32 * 1024)
_ANY_LOG: Final = "collections"


class CollectionsTable(LakeTable):
    """The table of collections."""

    def __init__(self, objects: ObjectStore, leases: Leases) -> None:
        super().__init__(objects, leases, LAYOUT, _WRITER)

    def taken(self, snapshot: DeltaTable, key: str) -> int:
        """The sequence up to which a snapshot holds the records of a collection's topic."""
        return self.committed(snapshot, _log(key))

    def append(self, snapshot: DeltaTable, rows: pa.Table, taken: Mapping[str, int]) -> None:
        """Commit `rows` (schema `RECORDS`) as everything up to a sequence of each of the collections, by their keys; `snapshot`
        then holds them.

        Raises `Forestalled` when another has appended since `snapshot`.
        """
        logs = {_log(key): sequence for key, sequence in taken.items()}
        self.commit(snapshot, rows, {_ANY_LOG: snapshot.version() + 1, **logs})

    def batches(self, snapshot: DeltaTable, key: str, after: int) -> Counter[str]:
        """How many entries of each batch a snapshot holds above a sequence of a collection."""
        with lake_faults():
            found = self._above(snapshot, key, after, ["sequence", "batch"]).read_all()
        return Counter(found.group_by(["sequence", "batch"]).aggregate([])["batch"].to_pylist())

    def records(self, snapshot: DeltaTable, key: str, after: int) -> Iterator[pa.StringArray]:
        """The records above a sequence of a collection, as JSON, some at a time and in no order."""
        with lake_faults():
            for batch in self._above(snapshot, key, after, ["record"]):
                yield batch.column("record").cast(pa.string())

    def delete_collection(self, key: str) -> None:
        """Remove a collection's rows; their bytes stay until `erase_history`. key: of our making."""
        self.delete(f"collection = '{key}'")

    def _above(self, snapshot: DeltaTable, key: str, after: int, columns: list[str]) -> pa.RecordBatchReader:
        wanted = (pc.field("collection") == key) & (pc.field("sequence") > after)
        return snapshot.to_pyarrow_dataset().scanner(columns=columns, filter=wanted).to_reader()


def _log(key: str) -> str:
    return f"collection-{key}"

"""The Delta table of collections: a row for each record.

1. The rows of several collections are committed together.
2. All commits have one application id. So if two writers begin with the same snapshot, only one of them commits, even if they
   write rows of different collections. What a snapshot says of a collection stays true until the commit.
3. The statistics of its files tell up to which sequence the table holds a topic. An application id for each collection would
   tell it too. But delta-rs cannot drop the id of a deleted collection, and goes through all ids to find one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import date
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, WriterProperties
from sqlglot import exp

from backends.ports import ObjectStore, StateStore
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.collections.model import RECORD_BYTES
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.files import files_of, lake_faults
from smarthouse_api.lake.open_table import Layout
from smarthouse_api.lake.table import LakeTable

NAME: Final = "collections"
HOME_LENGTH: Final = 32
"""Of the key of a home that records name."""

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
whatever its sequence; it ends with the key of the home that the entry names. time: the record's own, or else its arrival.
record: JSON. fault: why it fails the collection's schema.
"""

LAYOUT: Final = Layout(NAME, NAME, RECORDS, ("collection", "day"), ("sequence", "time"), "Records of collections")

# Smaller groups of rows than those of states: a page of records is looked for by its sequences.
_WRITER: Final = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=32 * 1024)


class CollectionsTable(LakeTable):
    """Keeps the records of all collections in one Delta table."""

    def __init__(self, state: StateStore, objects: ObjectStore, leases: Leases) -> None:
        super().__init__(state, objects, leases, LAYOUT, _WRITER)

    def held(self, snapshot: DeltaTable, logs: Iterable[str] = ()) -> dict[str, int]:
        """Tell the highest sequence in a snapshot of each collection that has records there, by the collection's key."""
        files = files_of(snapshot)
        found = files.select(["partition.collection", "max.sequence"]).rename_columns(["collection", "sequence"])
        if found["sequence"].null_count:  # a file that another program wrote, without statistics
            with lake_faults():
                found = snapshot.to_pyarrow_dataset().to_table(columns=["collection", "sequence"])
        most = found.group_by("collection").aggregate([("sequence", "max")])
        return dict(zip(most["collection"].to_pylist(), most["sequence_max"].to_pylist(), strict=True))

    def append(self, snapshot: DeltaTable, rows: pa.Table, logs: Mapping[str, int]) -> None:
        """Commit `rows` (schema `RECORDS`); `snapshot` then holds them.

        Raises `CommitConflict` if another writer has appended since `snapshot`.
        """
        super().append(snapshot, rows, {NAME: snapshot.version() + 1})

    def batches(self, snapshot: DeltaTable, key: str, after: int) -> Counter[str]:
        """Count the entries of each batch that a snapshot holds above a sequence of a collection."""
        with lake_faults():
            found = self._above(snapshot, key, after, ["sequence", "batch"]).read_all()
        return Counter(found.group_by(["sequence", "batch"]).aggregate([])["batch"].to_pylist())

    def records(self, snapshot: DeltaTable, key: str, after: int) -> Iterator[pa.StringArray]:
        """Read the records above a sequence of a collection, as JSON, some at a time and in no order."""
        with lake_faults():
            for batch in self._above(snapshot, key, after, ["record"]):
                yield batch.column("record").cast(pa.string())

    def delete_collection(self, key: str) -> None:
        """Remove a collection's rows, and what is left of its damaged files; the rows' bytes stay until `erase_history`.

        key: the catalogue's, so it needs no quoting.
        """
        self.delete(f"collection = '{key}'")
        self.erase_damaged(f"collection={key}/")

    def delete_homes(self, key: str, homes: Iterable[str]) -> None:
        """Remove the rows of homes from a collection, and what is left of its damaged files; bytes stay until `erase_history`.

        key: the collection's. homes: their keys. Both are ours, so they need no quoting.
        """
        ending = " OR ".join(f"batch LIKE '%.{home}'" for home in homes)
        self.delete(f"collection = '{key}' AND ({ending})")
        self.erase_damaged(f"collection={key}/")

    def homes(self) -> set[tuple[str, str]]:
        """Return the homes that have rows: each collection's key with the home's key there."""
        if (snapshot := self.open()) is None:
            return set()
        found, names = set[tuple[str, str]](), ("collection", "batch")
        query = exp.select(*map(exp.column, names)).from_(NAME).where(exp.column("batch").like(f"%.%.{'_' * HOME_LENGTH}"))
        for batch in EmbeddedEngine().stream(snapshot, query):
            keys = pc.utf8_slice_codeunits(batch.column("batch").cast(pa.string()), -HOME_LENGTH)
            pairs = pa.table([batch.column("collection").cast(pa.string()), keys], names).group_by(list(names)).aggregate([])
            found.update(zip(*(pairs[name].to_pylist() for name in names), strict=True))
        return found

    def texts(self, key: str, homes: Iterable[str], *, of_others: bool = False) -> Iterator[list[str]]:
        """Read the records of homes in a collection as JSON, or those of all others; some at a time."""
        if (snapshot := self.open()) is None:
            return
        wanted = of_homes(homes)
        query = exp.select(exp.column("record")).from_(NAME)
        query = query.where(exp.column("collection").eq(key), exp.not_(wanted) if of_others else wanted)
        with closing(EmbeddedEngine().stream(snapshot, query)) as batches:
            for batch in batches:
                yield batch.column("record").to_pylist()

    def sizes_before(self, keys: Iterable[str], first: date) -> dict[str, int]:
        """Tell what the rows of collections count for that came before a day, by the collections' keys; see `quotas`."""
        collection = exp.column("collection")
        before = exp.column("day") < exp.cast(exp.Literal.string(f"{first}"), "date")
        return self._sizes(collection, exp.and_(collection.isin(*keys), before))

    def sizes_of(self, key: str, homes: Iterable[str]) -> dict[str, int]:
        """Tell what the rows of homes in a collection count for, by the homes' keys."""
        of_collection = exp.column("collection").eq(key)
        home = exp.Right(this=exp.column("batch"), expression=exp.Literal.number(HOME_LENGTH))
        return self._sizes(home, exp.and_(of_collection, of_homes(homes)))

    def size_of(self, key: str) -> int:
        """Tell what all rows of a collection count for."""
        collection = exp.column("collection")
        return self._sizes(collection, collection.eq(key)).get(key, 0)

    def _sizes(self, by: exp.Expression, wanted: exp.Condition) -> dict[str, int]:
        if (snapshot := self.open()) is None:
            return {}
        size, none = _bytes_of("record"), exp.Literal.number(0)
        size += exp.Coalesce(this=_bytes_of("fault"), expressions=[none]) + exp.Literal.number(RECORD_BYTES)
        query = exp.select(exp.alias_(by, "of"), exp.alias_(exp.Sum(this=size), "size")).from_(NAME).where(wanted).group_by(by)
        found = (row for batch in EmbeddedEngine().stream(snapshot, query) for row in batch.to_pylist())
        return {str(row["of"]): int(row["size"]) for row in found}

    def delete_before(self, keys: Iterable[str], first: date) -> None:
        """Remove the rows of collections that came before a day. keys: the catalogue's, so they need no quoting."""
        listed = ", ".join(f"'{key}'" for key in keys)
        self.delete(f"day < '{first}' AND collection IN ({listed})")

    def _above(self, snapshot: DeltaTable, key: str, after: int, columns: list[str]) -> pa.RecordBatchReader:
        wanted = (pc.field("collection") == key) & (pc.field("sequence") > after)
        return snapshot.to_pyarrow_dataset().scanner(columns=columns, filter=wanted).to_reader()


def _bytes_of(column: str) -> exp.Condition:
    return exp.Anonymous(this="octet_length", expressions=[exp.column(column)])


def of_homes(homes: Iterable[str]) -> exp.Condition:
    """Choose the rows of homes, by their keys in a collection; there is at least one."""
    return exp.or_(*(exp.column("batch").like(f"%.{home}") for home in homes))

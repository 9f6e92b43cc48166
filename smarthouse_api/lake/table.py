"""The Delta table of states: every write to it, and the snapshot that a reader gets.

Only whoever holds the lake's lease calls what writes. Should one who has lost it try all the same, nothing comes of it: a batch
is committed on the snapshot that its writer began with, under the name of the log and its last sequence, and so is the
fence that every forgetting begins with; delta-rs refuses a commit of one name on a snapshot older than another's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from backends.ports import ObjectStore, StoreUnavailable
from smarthouse_api.lake.schema import STATES, bucket_of

NAME = "states"
READERS = "lake"
"""Name of the lease that whoever reads a snapshot shares: `erase_history` breaks the snapshots that are open."""

# Only `time` has statistics: those of an identifying column would keep a forgotten home's values in the log. Expired log
# entries and removed files go as soon as they are asked to, which is what forgetting needs.
CONFIGURATION = {
    "delta.dataSkippingStatsColumns": "time",
    "delta.logRetentionDuration": "interval 0 seconds",
    "delta.deletedFileRetentionDuration": "interval 0 seconds",
    "delta.enableExpiredLogCleanup": "true",
    "delta.checkpointInterval": "50",
}
WRITER = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=128 * 1024)


_ATTEMPTS = 10


class Forestalled(StoreUnavailable):
    """Another writer committed first; nothing was committed."""


@contextmanager
def lake_faults() -> Iterator[None]:
    """Turns what `deltalake` and Arrow raise into `StoreUnavailable`."""
    try:
        yield
    except CommitFailedError as fault:
        raise Forestalled("the lake: another writer committed first") from fault
    except (DeltaError, pa.ArrowException, OSError) as fault:
        raise StoreUnavailable(f"the lake: {type(fault).__name__}") from fault


class StatesTable:
    """The table in one object store. Holds no open handle, so that it can be made before a fork."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def open(self) -> DeltaTable | None:
        """The latest snapshot; None before the first row was ever written."""
        location = self._objects.table_location(NAME)
        with lake_faults():
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return DeltaTable(location.uri, storage_options=location.storage_options)
                except TableNotFoundError:
                    return None
                except DeltaError:
                    if attempt == _ATTEMPTS:
                        raise
                    time.sleep(0.02)  # another process is cleaning up the log that we were reading
        return None

    def open_or_create(self) -> DeltaTable:
        """The latest snapshot, to be written to."""
        return self.open() or self._create()

    def committed(self, snapshot: DeltaTable, log: str) -> int:
        """The sequence up to which a snapshot holds everything of a log; 0 when it holds nothing."""
        with lake_faults():
            return snapshot.transaction_version(log) or 0

    def append(self, snapshot: DeltaTable, rows: pa.Table, log: str, sequence: int) -> None:
        """Commit `rows` (schema `STATES`) as everything up to `sequence` of `log`; `snapshot` then holds them.

        Raises `Forestalled` when another wrote of the log since `snapshot`.
        """
        with lake_faults():
            write_deltalake(
                snapshot,
                rows,
                mode="append",
                writer_properties=WRITER,
                commit_properties=CommitProperties(app_transactions=[Transaction(log, sequence)]),
            )

    def fence(self, log: str) -> None:
        """From now on nobody commits what was prepared before: not rows of a home that is about to be deleted."""
        snapshot = self.open_or_create()
        self.append(snapshot, STATES.empty_table(), log, self.committed(snapshot, log))

    def delete_home(self, home: str) -> None:
        """Remove a home's rows from the table; their bytes stay until `erase_history`."""
        table = self.open()
        if table is not None:
            with lake_faults():
                table.delete(f"bucket = {bucket_of(home)} AND home = '{home}'", writer_properties=WRITER)

    def erase_history(self) -> None:
        """Remove every file and log entry that the latest snapshot does not need, those of crashed writers included.

        Whoever still reads an older snapshot fails.
        """
        table = self.open()
        if table is not None:
            with lake_faults():
                table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
                table.create_checkpoint()
                table.cleanup_metadata()

    def compact(self, least_files: int) -> bool:
        """Merge the small files of partitions that have gathered too many; whether there was anything to merge."""
        table = self.open()
        crowded = [] if table is None else _crowded(table, least_files)
        with lake_faults():
            for day, bucket in crowded:
                table.optimize.compact(  # type: ignore[union-attr]
                    partition_filters=[("day", "=", str(day)), ("bucket", "=", str(bucket))], writer_properties=WRITER
                )
        return bool(crowded)

    def _create(self) -> DeltaTable:
        location = self._objects.table_location(NAME)
        with lake_faults():
            return DeltaTable.create(
                location.uri,
                STATES,
                mode="ignore",
                partition_by=["day", "bucket"],
                configuration=CONFIGURATION,
                storage_options=location.storage_options,
            )


def files_of(snapshot: DeltaTable) -> pa.Table:
    """The files of a snapshot with their partitions, sizes and statistics."""
    with lake_faults():
        return pa.table(snapshot.get_add_actions(flatten=True))


def _crowded(table: DeltaTable, least_files: int) -> list[tuple[str, int]]:
    """Partitions worth merging: many files, of which the largest is no longer most of the bytes, so that a row is rewritten
    a logarithmic number of times; or far too many files.
    """
    sizes: dict[tuple[str, int], list[int]] = {}
    for file in files_of(table).to_pylist():
        sizes.setdefault((file["partition.day"], file["partition.bucket"]), []).append(file["size_bytes"])
    return [
        partition
        for partition, bytes_ in sorted(sizes.items())
        if len(bytes_) >= least_files and (2 * max(bytes_) <= sum(bytes_) or len(bytes_) >= 8 * least_files)
    ]

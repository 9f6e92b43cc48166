"""The Delta table of states: every write to it, and the snapshot that a reader gets.

Only whoever holds the lake's lease calls what writes. A batch is committed with its last log sequence as the Delta
transaction version of its log, so that whether it was committed can be asked, and two writers who both believe that
they hold the lease exclude each other: delta-rs refuses a second concurrent commit of one application.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from backends.ports import StoreUnavailable, TableLocation
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


@contextmanager
def lake_faults() -> Iterator[None]:
    """Turns what `deltalake` and Arrow raise into `StoreUnavailable`, but for a commit that another one forestalled."""
    try:
        yield
    except CommitFailedError:
        raise
    except (DeltaError, pa.ArrowException, OSError) as fault:
        raise StoreUnavailable(f"the lake: {type(fault).__name__}") from fault


class StatesTable:
    """The table at one location. Holds no open handle, so that it can be made before a fork."""

    def __init__(self, location: TableLocation) -> None:
        self._location = location

    def open(self) -> DeltaTable | None:
        """The latest snapshot; None before the first row was ever written."""
        with lake_faults():
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return DeltaTable(self._location.uri, storage_options=self._location.storage_options)
                except TableNotFoundError:
                    return None
                except DeltaError:
                    if attempt == _ATTEMPTS:
                        raise
                    time.sleep(0.02)  # another process is cleaning up the log that we were reading
        return None

    def committed(self, application: str) -> int:
        """The sequence up to which the table holds everything of a log; 0 when it holds nothing."""
        table = self.open()
        return 0 if table is None else table.transaction_version(application) or 0

    def append(self, rows: pa.Table, application: str, sequence: int) -> None:
        """Commit `rows` (schema `STATES`) as everything up to `sequence` of the log that `application` names.

        Raises `deltalake.exceptions.CommitFailedError` when another committed meanwhile; then nothing was.
        """
        with lake_faults():
            write_deltalake(
                self.open() or self._create(),
                rows,
                mode="append",
                writer_properties=WRITER,
                commit_properties=CommitProperties(app_transactions=[Transaction(application, sequence)]),
            )

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
        return DeltaTable.create(
            self._location.uri,
            STATES,
            mode="ignore",
            partition_by=["day", "bucket"],
            configuration=CONFIGURATION,
            storage_options=self._location.storage_options,
        )


def _crowded(table: DeltaTable, least_files: int) -> list[tuple[str, int]]:
    """Partitions worth merging: many files, of which the largest is no longer most of the bytes, so that a row is rewritten
    a logarithmic number of times; or far too many files.
    """
    sizes: dict[tuple[str, int], list[int]] = {}
    for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        sizes.setdefault((file["partition.day"], file["partition.bucket"]), []).append(file["size_bytes"])
    return [
        partition
        for partition, bytes_ in sorted(sizes.items())
        if len(bytes_) >= least_files and (2 * max(bytes_) <= sum(bytes_) or len(bytes_) >= 8 * least_files)
    ]

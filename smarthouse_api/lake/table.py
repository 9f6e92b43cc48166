"""A Delta table of the lake: every write to it, and the snapshot that a reader gets.

Only the holder of the writer's lease writes. A suspended process may lose the lease and still write. Its write does no harm:

1. A batch is committed on the snapshot that its writer began with, under the name of the log and its last sequence. If the log
   has been committed since that snapshot, delta-rs refuses the batch.
2. Forgetting begins with a fence, a change of metadata: a commit that was prepared before the fence is refused, too.
3. A file is removed only if it was found to be dead while the lease was surely held.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from backends.ports import ObjectStore, StoreUnavailable
from smarthouse_api.coordination.leases import Lease, Leases

# Only what is named has statistics: those of an identifying column would keep a forgotten home's values in the log. Expired
# log entries and removed files go as soon as they are asked to, which is what forgetting needs, and not before: an engine that
# opens the table by its version, in mid-export, needs the log of that version.
CONFIGURATION = {
    "delta.dataSkippingStatsColumns": "time",
    "delta.logRetentionDuration": "interval 0 seconds",
    "delta.deletedFileRetentionDuration": "interval 0 seconds",
    "delta.enableExpiredLogCleanup": "false",
    "delta.checkpointInterval": "50",
}
WRITER = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=128 * 1024)

_ATTEMPTS = 10
_ONE_FILE_BYTES = 1 << 40


class CommitConflict(StoreUnavailable):
    """Tells a writer that another one committed first; its own commit was refused as a whole."""


@contextmanager
def lake_faults() -> Iterator[None]:
    """Turn the exceptions of `deltalake` and Arrow into `StoreUnavailable`."""
    try:
        yield
    except CommitFailedError as fault:
        raise CommitConflict("the lake: another writer committed first") from fault
    except (DeltaError, pa.ArrowException, OSError) as fault:
        raise StoreUnavailable(f"the lake: {type(fault).__name__}") from fault


@dataclass(frozen=True)
class Layout:
    """Defines one table of the lake: its name, its columns, and how its files are partitioned.

    name: in the object store. lease: the name of its writer's lease, and of its readers'. partitions: the columns that decide
    in which file a row is, `day` (of arrival, UTC) among them. statistics: the columns by which a reader can skip whole files.
    """

    name: str
    lease: str
    schema: pa.Schema
    partitions: tuple[str, ...]
    statistics: tuple[str, ...]
    description: str


class LakeTable:
    """Reads and writes one table in an object store. It holds no open handle, so that it can be made before a fork."""

    def __init__(self, objects: ObjectStore, leases: Leases, layout: Layout, writer: WriterProperties = WRITER) -> None:
        self._objects, self._leases, self._layout, self._writer = objects, leases, layout, writer

    def condition(self) -> str:
        """Return one line for readiness. Raises `StoreUnavailable` if the table cannot be read."""
        table = self.open()
        return "no table yet" if table is None else f"version {table.version()} can be read"

    def try_write(self) -> Lease | None:
        """Return the writer's lease, to be released; None while another process writes."""
        return self._leases.try_hold(self._layout.lease)

    def writing(self, wait_seconds: float) -> AbstractContextManager[Lease]:
        """Hold the writer's lease. Waits at most `wait_seconds` for another writer, then raises `TimeoutError`."""
        return self._leases.hold(self._layout.lease, wait_seconds)

    def reading(self) -> Lease:
        """Return a reader's lease, to be released. The files of its snapshot stay until then."""
        return self._leases.share(self._layout.lease)

    def is_read(self) -> bool:
        """Return whether a reader may still need the files of an older snapshot."""
        return bool(self._leases.shared(self._layout.lease))

    def break_readers(self, wait_seconds: float) -> None:
        """Wait at most `wait_seconds` for the present readers to finish, then break their leases."""
        self._leases.break_shared(self._layout.lease, wait_seconds)

    def open(self) -> DeltaTable | None:
        """Open the latest snapshot; None before the first row was ever written."""
        location = self._objects.table_location(self._layout.name)
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
        """Open the latest snapshot to write to it, with all columns of the present format. The caller holds the lease."""
        table = self.open()
        if table is None:
            return self._create()
        if missing := self._missing(table):
            with lake_faults():
                table.alter.add_columns(missing)
                table.alter.set_table_properties(self._statistics())
        return table

    def open_current(self, wait_seconds: float) -> DeltaTable | None:
        """Open the latest snapshot to read it, with all columns of the present format; None if no row was ever written.

        wait_seconds: how long to wait for the writer's lease if columns must be added. Raises `TimeoutError`.
        """
        table = self.open()
        if table is None or not self._missing(table):
            return table
        with self.writing(wait_seconds):
            return self.open_or_create()

    def held(self, snapshot: DeltaTable, logs: Iterable[str]) -> dict[str, int]:
        """Return for each log the sequence up to which a snapshot holds all its entries; 0 if it holds none."""
        with lake_faults():
            return {log: snapshot.transaction_version(log) or 0 for log in logs}

    def append(self, snapshot: DeltaTable, rows: pa.Table, logs: Mapping[str, int]) -> None:
        """Commit `rows` as all entries of each log up to its sequence; `snapshot` then holds them.

        Raises `CommitConflict` if another writer has committed entries of one of the logs since `snapshot`.
        """
        with lake_faults():
            write_deltalake(
                snapshot,
                rows,
                mode="append",
                writer_properties=self._writer,
                commit_properties=CommitProperties(app_transactions=[Transaction(*log) for log in logs.items()]),
            )

    def fence(self) -> None:
        """Make every commit fail that was prepared before: rows that are about to be deleted, and a compaction, whose new file
        `erase_history` would take for dead. delta-rs checks a compaction's commit against changed metadata alone.
        """
        table = self.open()
        if table is not None:  # else nothing was prepared: a writer begins with making the table
            with lake_faults():
                table.alter.set_table_description(self._layout.description)

    def delete(self, predicate: str) -> None:
        """Remove the rows from the table; their bytes stay until `erase_history`. predicate: SQL, without any client's text."""
        table = self.open()
        if table is not None:
            with lake_faults():
                table.delete(predicate, writer_properties=self._writer)

    def erase_history(self, lease: Lease) -> None:
        """Remove every file and log entry that the latest snapshot does not need, those of crashed writers included.

        lease: the writer's. A reader of an older snapshot fails.
        """
        if self.open() is None:
            return
        # The newest log entry stays: let it be one that says nothing.
        self.fence()
        table = self.open_or_create()
        with lake_faults():
            dead = table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
        # Nobody else has written since the snapshot was opened: what it does not hold is dead, however late it goes.
        lease.check()
        self._objects.sweep_table(self._layout.name, dead)
        with lake_faults():
            table.create_checkpoint()
            table.cleanup_metadata()

    def compact(self, lease: Lease, least_files: int, interrupted: Callable[[], bool]) -> bool:
        """Merge the small files of partitions that have too many. Returns whether any were merged.

        lease: the writer's. interrupted: asked after each partition; if it says so, the rest is left for the next call.
        """
        table = self.open()
        if table is None:
            return False
        merged = False
        today = datetime.now(UTC).date()
        for crowded in _crowded(files_of(table), self._layout.partitions, least_files, lambda one: self._is_over(one, today)):
            lease.check()
            before = table.version()
            self._merge(table, crowded)
            merged = merged or table.version() > before  # files that are large enough stay as they are
            if interrupted():
                break
        return merged

    def _create(self) -> DeltaTable:
        location = self._objects.table_location(self._layout.name)
        with lake_faults():
            return DeltaTable.create(
                location.uri,
                self._layout.schema,
                mode="ignore",
                partition_by=list(self._layout.partitions),
                configuration={**CONFIGURATION, **self._statistics()},
                storage_options=location.storage_options,
            )

    def _statistics(self) -> dict[str, str]:
        return {"delta.dataSkippingStatsColumns": ",".join(self._layout.statistics)}

    def _missing(self, table: DeltaTable) -> list[Field]:
        """List the columns that the table lacks because an earlier version made it."""
        there = {field.name for field in table.schema().fields}
        return Schema.from_arrow(pa.schema([field for field in self._layout.schema if field.name not in there])).fields

    def _is_over(self, partition: Mapping[str, Any], today: date) -> bool:
        """Whether hardly a row will be added to a partition. It is merged then even if it has two files."""
        return bool(partition["day"] < today)

    def _merge(self, table: DeltaTable, crowded: Crowded) -> None:
        """Merge the files of a partition into few large ones."""
        of_it = [(name, "=", str(value)) for name, value in crowded.partition.items()]
        with lake_faults():
            table.optimize.compact(partition_filters=of_it, writer_properties=self._writer)

    def _replace(self, table: DeltaTable, rows: pa.Table, predicate: str) -> None:
        """Put rows, in one file, in the place of all that a predicate chooses. delta-rs refuses it if another has added such
        rows.
        """
        with lake_faults():
            write_deltalake(
                table,
                rows,
                mode="overwrite",
                predicate=predicate,
                target_file_size=_ONE_FILE_BYTES,
                writer_properties=self._writer,
            )


def files_of(snapshot: DeltaTable) -> pa.Table:
    """List the files of a snapshot with their partitions, sizes and statistics."""
    with lake_faults():
        return pa.RecordBatchReader.from_stream(snapshot.get_add_actions(flatten=True)).read_all()


@dataclass(frozen=True)
class Crowded:
    """Names a partition that is worth merging, with its rows and their bytes as they rest."""

    partition: Mapping[str, Any]
    rows: int
    size_bytes: int


def _crowded(
    files: pa.Table, partitions: tuple[str, ...], least_files: int, is_over: Callable[[Mapping[str, Any]], bool]
) -> list[Crowded]:
    """Choose the partitions worth merging. Of those that are over: those with more than one file.
    Of the others: those with many files, if the largest holds at most half of the bytes, so that a row is rewritten a
    logarithmic number of times; and those with far too many files.
    """
    names = [f"partition.{name}" for name in partitions]
    figures: list[tuple[str, str]] = [
        ("size_bytes", "count"),
        ("size_bytes", "max"),
        ("size_bytes", "sum"),
        ("num_records", "sum"),
    ]
    crowded = []
    for one in files.group_by(names).aggregate(figures).to_pylist():
        partition = {name: one[f"partition.{name}"] for name in partitions}
        count, is_spread = one["size_bytes_count"], 2 * one["size_bytes_max"] <= one["size_bytes_sum"]
        if (count > 1 and is_over(partition)) or (count >= least_files and (is_spread or count >= 8 * least_files)):
            crowded.append(Crowded(partition, one["num_records_sum"], one["size_bytes_sum"]))
    return sorted(crowded, key=lambda found: tuple(found.partition.values()))

"""A Delta table of the lake: every write to it.

Only the holder of the writer's lease writes. A suspended process may lose the lease and still write. Its write does no harm:

1. A batch is committed on the snapshot that its writer began with, under the name of the log and its last sequence. If the log
   has been committed since that snapshot, delta-rs refuses the batch.
2. Forgetting begins with a fence, a change of metadata: a commit that was prepared before the fence is refused, too.
3. A file is removed only if it was found to be dead while the lease was surely held.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import create_table_with_add_actions

from backends.ports import NoSuchObject, ObjectStore, StateStore
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.lake.files import Crowded, crowded_partitions, files_of, lake_faults
from smarthouse_api.lake.log_files import LOG, SAME_ROWS
from smarthouse_api.lake.open_table import CONFIGURATION, Layout, OpenTable
from smarthouse_api.lake.relogging import add_actions
from smarthouse_api.lake.sparing import Span, Sparing, SparingNone, read_marks

WRITER = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=128 * 1024)

DAMAGED = "damaged/"
"""How the names of objects begin that are what is left of damaged files."""

log = logging.getLogger(__name__)

_UNUSUAL = re.compile(r"[^A-Za-z0-9._=/-]")
_ONE_FILE_BYTES = 1 << 40
_SPARES_NONE = SparingNone()


class LakeTable(OpenTable):
    """Writes one table in an object store. It holds no open handle, so that it can be made before a fork."""

    def __init__(
        self, state: StateStore, objects: ObjectStore, leases: Leases, layout: Layout, writer: WriterProperties = WRITER
    ) -> None:
        super().__init__(state, objects, leases, layout)
        self._writer = writer
        self.readers_need_log = False
        """Whether an engine reads a snapshot by its version, in mid-export, from the log."""

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
        self._record(snapshot)

    def fence(self) -> None:
        """Make every commit fail that was prepared before: rows that are about to be deleted, and a compaction, whose new file
        `erase_history` would take for dead. delta-rs checks a compaction's commit against changed metadata alone.
        """
        table = self.open()
        if table is not None:  # else nothing was prepared: a writer begins with making the table
            with lake_faults():
                table.alter.set_table_description(self._layout.description)
            self._record(table)

    def delete(self, predicate: str) -> None:
        """Remove the rows from the table; their bytes stay until `erase_history`. predicate: SQL, without any client's text."""
        if (table := self.open()) is not None:
            self._delete(table, predicate)

    def _delete(self, table: DeltaTable, predicate: str) -> None:
        with lake_faults():
            table.delete(predicate, writer_properties=self._writer)
        self._record(table)

    def sweep_unfinished(self, lease: Lease) -> None:
        """Remove data files of commits that failed, as for want of room. lease: the writer's. A reader loses nothing."""
        if (table := self.open()) is None:
            return
        with lake_faults():
            # The first are those that no log names; both, those that the newest snapshot does not need.
            dead, removed = (
                table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=is_full)
                for is_full in (True, False)
            )
        lease.check()
        self._objects.sweep_table(self.name, map(unquote, set(dead) - set(removed)))

    def missing(self, snapshot: DeltaTable) -> list[str]:
        """List the files of a snapshot that do not exist."""
        with lake_faults():
            return list(map(unquote, snapshot.repair(dry_run=True)["files_removed"]))

    def set_aside(self, paths: Iterable[str]) -> None:
        """Take damaged files out of the table, and keep what is left of them as objects `damaged/...`; hold the lease."""
        paths = list(paths)
        for path in paths:
            with suppress(NoSuchObject):
                name = f"{DAMAGED}{self.name}/{_UNUSUAL.sub('_', path)}"
                self._objects.put(name, self._objects.stream_table(self.name, path))
        self._objects.sweep_table(self.name, paths)
        if paths and (table := self.open()) is not None:
            with lake_faults():
                table.repair()
            self._record(table)

    def write_log_anew(self, lease: Lease, note_lost: Callable[[list[str]], None]) -> None:
        """Replace a damaged log by one that names the data files which the ledger knows; repeatable, also after a crash.

        lease: the writer's. note_lost: is told of the files that are damaged or missing, whose rows are lost. It must note
        them: once the log is written, nothing else knows that they were there.
        """
        sizes = self.ledger.sizes()
        lost = dict(self.ledger.faults(sizes, anew=True))
        note_lost(sorted(lost))
        there = {path: size for path, size in sizes.items() if path not in lost}
        actions = add_actions(self._objects, self.name, there, self._layout.statistics[0])
        location = self._objects.table_location(self.name)
        lease.check()
        listed = (info.key for info in self._objects.list_table(self.name, LOG))
        self._objects.sweep_table(self.name, sorted(self.ledger.log_paths().union(listed)))
        self.ledger.forget_head()
        with lake_faults():
            create_table_with_add_actions(
                location.uri,
                Schema.from_arrow(self._layout.schema),
                actions,
                partition_by=list(self._layout.partitions),
                # It knows Delta's own properties alone: `open_or_create` adds whose the table is.
                configuration={**CONFIGURATION, **self._statistics()},
                storage_options=location.storage_options,
            )
        self.ledger.adopt(self.open_or_create(), lambda: False)

    def remove(self) -> None:
        """Remove the whole table, however damaged it is; repeatable. Hold the lease. A reader of it fails."""
        listed = (info.key for info in self._objects.list_table(self.name))
        self._objects.sweep_table(self.name, sorted(self.ledger.paths().union(listed)))
        self.ledger.forget()

    def erase_damaged(self, prefix: str = "") -> None:
        """Remove what is left of damaged files: what is forgotten may have rows there. prefix: of their paths in the table."""
        self._objects.delete([info.key for info in self._objects.list(f"{DAMAGED}{self.name}/{prefix}")])

    def erase_history(self, lease: Lease, *, break_readers_after: float | None = None, spared: Sparing = _SPARES_NONE) -> bool:
        """Remove every file and log entry that the latest snapshot does not need, those of crashed writers included.

        lease: the writer's. A reader of an older snapshot fails. Whoever reads by the log began before the fence, or finds the
        fence's version: after so many seconds they are broken off. Without that, nothing is erased while they read.
        spared: tells which readers go on. Of a snapshot that cannot have what is erased, all files stay, and the log. Else
        those stay that are of the reader's days alone. Returns whether all was erased.
        """
        if self.open() is None:
            return True
        # The newest log entry stays: let it be one that says nothing.
        self.fence()
        # Before the look for readers: an engine that lists the log later finds this, and reads nothing older.
        with lake_faults():
            self.open_or_create().create_checkpoint()
        if self.readers_need_log and self.is_read():
            if break_readers_after is None:
                return False
            self.break_readers(break_readers_after, spared)
        kept, needed = self._noted(spared), set[str]()
        for version, span in kept:
            needed.update(self._paths(version, span))
        table = self.open_or_create()
        with lake_faults():
            dead = table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
        # Nobody else has written since the snapshot was opened: what it does not hold is dead, however late it goes.
        lease.check()
        dead = [path for path in dead if unquote(path) not in needed]
        self._objects.sweep_table(self._layout.name, dead)
        if not kept:
            with lake_faults():
                table.cleanup_metadata()
        self._record(table)
        if dead:
            log.info("the lake: %s: %d files that no reader needs were removed", self.name, len(dead))
        return not kept

    def _noted(self, spared: Sparing) -> set[tuple[int, Span | None]]:
        """List the versions of this table that readers who are to be spared have noted, and the days that each still needs.

        None: it needs all. A reader that may need rows of the same days finds the others in a newer snapshot.
        """
        found = set[tuple[int, Span | None]]()
        for note in filter(spared, self._leases.notes(self.lease).values()):
            mark, is_older = read_marks(note).get(self.name), spared.is_older(note)
            if mark is not None and (is_older or spared.is_apart(note)):
                found.add((mark.version, None if is_older else mark.span))
        return found

    def _paths(self, version: int, span: Span | None) -> Iterable[str]:
        """List the files of a version of the table; none if its log is gone, which its reader then finds out.

        span: only those that have rows of these days and of no others.
        """
        location = self._objects.table_location(self.name)
        with suppress(DeltaError):
            older = DeltaTable(location.uri, version=version, storage_options=location.storage_options)
            files = files_of(older)
            files = files if span is None else self._of_days(files, span)
            return map(unquote, files["path"].to_pylist())
        return ()

    def _of_days(self, files: pa.Table, span: Span) -> pa.Table:
        """Choose the files that surely have rows of some days and of no others. files: `files_of` a snapshot."""
        return files.slice(0, 0)

    def compact(self, lease: Lease, least_files: int, interrupted: Callable[[], bool]) -> bool:
        """Merge the small files of partitions that have too many. Returns whether any were merged.

        lease: the writer's. interrupted: asked after each partition; if it says so, the rest is left for the next call.
        """
        if self.open() is None:
            return False
        table, merged = self.open_or_create(), False  # merged rows have the columns of the present format
        for crowded in self._crowded(files_of(table), least_files, datetime.now(UTC).date()):
            lease.check()
            before = table.version()
            self._merge(table, crowded)
            self._record(table)
            if table.version() > before:  # files that are large enough stay as they are
                merged = True
                log.info("the lake: %s: %d rows were merged into larger files", self.name, crowded.rows)
            if interrupted():
                break
        return merged

    def _crowded(self, files: pa.Table, least_files: int, today: date) -> Sequence[Crowded]:
        """List what is worth merging, each in a step of its own. files: `files_of` a snapshot."""
        return crowded_partitions(files, self._layout.partitions, least_files, lambda one: self._is_over(one, today))

    def _is_over(self, partition: Mapping[str, Any], today: date) -> bool:
        """Whether hardly a row will be added to a partition. It is merged then even if it has two files."""
        return bool(partition["day"] < today)

    def _merge(self, table: DeltaTable, crowded: Crowded) -> None:
        """Merge the files of a partition into few large ones."""
        of_it = [(name, "=", str(value)) for name, value in crowded.partition.items()]
        with lake_faults():
            table.optimize.compact(partition_filters=of_it, writer_properties=self._writer)

    def _replace(self, table: DeltaTable, rows: pa.Table | pa.RecordBatchReader, predicate: str) -> None:
        """Put rows in the place of the same rows, which a predicate chooses. delta-rs refuses it if another has added such.

        They are in one file for each partition, and in their order if those of a partition are one batch.
        """
        with lake_faults():
            write_deltalake(
                table,
                rows,
                mode="overwrite",
                predicate=predicate,
                target_file_size=_ONE_FILE_BYTES,
                writer_properties=self._writer,
                commit_properties=CommitProperties(custom_metadata={SAME_ROWS: "true"}),
            )

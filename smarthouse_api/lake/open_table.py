"""A Delta table of the lake: the snapshot that a reader or a writer gets, who has the table, and its layout."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError

from backends.ports import ObjectStore, StateStore, StoreFull, StoreUnfit
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.coordination.troubles import Trouble
from smarthouse_api.lake.files import files_of, lake_faults
from smarthouse_api.lake.ledger import Head, Ledger, TableDamaged
from smarthouse_api.lake.ownership import Ownership, require_known
from smarthouse_api.lake.snapshot_marks import SnapshotMark, mark_of
from smarthouse_api.lake.sparing import Span, noted

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

_ATTEMPTS = 10

log = logging.getLogger(__name__)


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


class OpenTable:
    """Opens one table in an object store, and makes or completes it. Each look at its log is compared with the ledger."""

    def __init__(self, state: StateStore, objects: ObjectStore, leases: Leases, layout: Layout) -> None:
        self._objects, self._leases, self._layout = objects, leases, layout
        self.ledger = Ledger(state, objects, layout.name)
        self._ownership = Ownership(state)
        self._opened: tuple[Head, DeltaTable] | None = None
        self._opening = threading.Lock()
        self._trouble = Trouble(log, logging.ERROR, f"the lake's table {layout.name} can be read again")

    @property
    def name(self) -> str:
        """The table's name in the object store."""
        return self._layout.name

    @property
    def lease(self) -> str:
        """The name of its writer's lease, and of its readers'."""
        return self._layout.lease

    def condition(self) -> str:
        """Return one line for readiness. Raises `StoreUnavailable` if the table cannot be read."""
        table = self.open()
        return "no table yet" if table is None else f"version {table.version()} can be read"

    def try_write(self, wait_seconds: float = 0.0) -> Lease | None:
        """Return the writer's lease, to be released; None if another process writes for longer than `wait_seconds`."""
        return self._leases.wait_for(self._layout.lease, wait_seconds)

    def writing(self, wait_seconds: float) -> AbstractContextManager[Lease]:
        """Hold the writer's lease. Waits at most `wait_seconds` for another writer, then raises `TimeoutError`."""
        return self._leases.hold(self._layout.lease, wait_seconds)

    def reading(self) -> Lease:
        """Return a reader's lease, to be released. The files of its snapshot stay until then."""
        return self._leases.share(self._layout.lease)

    def is_read(self) -> bool:
        """Return whether a reader may still need the files of an older snapshot."""
        return bool(self._leases.shared(self._layout.lease))

    def note(self, lease: Lease, snapshot: DeltaTable, span: Span | None = None) -> None:
        """Note with a reader's lease which snapshot it is of: who cannot have a forgotten home in it is not broken off.

        span: the days that are read. Raises `LeaseLost`.
        """
        lease.tell(noted([mark_of(self.name, snapshot)], span))

    def break_readers(self, wait_seconds: float, spared: Callable[[bytes], bool] = lambda _: False) -> None:
        """Wait at most `wait_seconds` for the present readers to finish, then break their leases.

        spared: tells from what a reader noted whether it may stay.
        """
        self._leases.break_shared(self._layout.lease, wait_seconds, spared)

    def open(self) -> DeltaTable | None:
        """Open the latest snapshot; None before the first row was ever written.

        Raises `StoreUnfit` if the table's log is damaged or lost, and tells the log of this service so.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with lake_faults():
                    found = self._open()
                self._trouble.over()
                return found
            except StoreUnfit as fault:
                if attempt == _ATTEMPTS:
                    self._trouble.met(str(fault))
                    raise
                if attempt == _ATTEMPTS // 2:
                    self.ledger.drop_hint()
            time.sleep(0.02)  # another process is cleaning up the log that we were reading
        return None

    def _open(self) -> DeltaTable | None:
        head, _ = self.ledger.check_log()
        table = self._loaded()
        self.ledger.check_version(head, None if table is None else table.version())
        if table is not None:
            self._ownership.require(self._layout.name, table)
            require_known(self.name, table, self._layout.schema)
        return table

    def _loaded(self) -> DeltaTable | None:
        location = self._objects.table_location(self._layout.name)
        try:
            return DeltaTable(location.uri, storage_options=location.storage_options)
        except TableNotFoundError:
            return None
        except DeltaError as fault:
            next(self._objects.list_table(self.name), None)  # raises for a store that does not answer
            told = f"the log of the lake's table {self.name} cannot be read ({type(fault).__name__})"
            raise TableDamaged(f"{told}; restore its files, or run `smarthouse rebuild` without days") from fault

    def record_head_anew(self) -> bool:
        """Make the ledger's damaged record of the newest version again, if the log can be trusted; hold the lease."""
        with lake_faults():
            table = self._loaded()
        if table is None:
            return False
        self._ownership.require(self._layout.name, table)
        require_known(self.name, table, self._layout.schema)
        return self.ledger.record_head_anew(table)

    def open_marked(self, mark: SnapshotMark) -> DeltaTable | None:
        """Open a snapshot again that a reader noted earlier; None if it, or a file of it, is gone.

        Call it under a reader's lease with that note: what is there then stays.
        """
        newest = self.open()
        if newest is None or mark_of(self.name, newest) == mark:
            return newest
        location = self._objects.table_location(self.name)
        try:
            table = DeltaTable(location.uri, version=mark.version, storage_options=location.storage_options)
        except DeltaError:
            next(self._objects.list_table(self.name), None)  # raises for a store that does not answer
            return None
        if mark_of(self.name, table) != mark:
            return None
        there = {info.key for info in self._objects.list_table(self.name)}
        return table if there.issuperset(map(unquote, files_of(table)["path"].to_pylist())) else None

    def open_or_create(self) -> DeltaTable:
        """Open the latest snapshot to write to it, with all columns of the present format. The caller holds the lease."""
        table = self.open()
        if table is None:
            return self._create()
        missing, is_marked = self._missing(table), self._ownership.is_marked(table)
        with lake_faults():
            if missing:
                table.alter.add_columns(missing)
                table.alter.set_table_properties(self._statistics())
            if not is_marked and (mark := self._ownership.properties()):
                table.alter.set_table_properties(mark, raise_if_not_exists=False)
        if missing or not is_marked:
            self._record(table)
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

    def open_again(self, wait_seconds: float) -> DeltaTable | None:
        """Open the latest snapshot as `open_current` does, or return that of before if nothing was committed since.

        Many threads use it at once. Nobody may write to it, nor update it.
        """
        head, newest = self.ledger.check_log()
        if (same := self._opened_as(head, newest)) is not None:
            return same
        with self._opening:  # else two threads would hold two of one version
            if (same := self._opened_as(head, newest)) is not None:
                return same
            snapshot = self.open_current(wait_seconds)
            self._opened = None if head is None or snapshot is None else (head, snapshot)
            return snapshot

    def _opened_as(self, head: Head | None, newest: int) -> DeltaTable | None:
        before = self._opened
        return before[1] if before is not None and before[0] == head and newest <= before[1].version() else None

    def opened_last(self) -> DeltaTable | None:
        """Return the snapshot that `open_again` has opened, if nothing was recorded since. No file of the lake is looked at."""
        opened = self._opened
        return opened[1] if opened is not None and self.ledger.head() == opened[0] else None

    def remember(self, is_over: Callable[[], bool]) -> bool:
        """Complete a table that an earlier version wrote. Return whether it has its ledger; the caller holds the lease."""
        table = self.open()
        if table is not None and self._lacks(table):
            table = self.open_or_create()
        return table is None or self.ledger.head() is not None or self.ledger.adopt(table, is_over)

    def bring_over(self, wait_seconds: float) -> list[str]:
        """Complete a table that an earlier version wrote, and name what it lacked. Raises `TimeoutError`."""
        table = self.open()
        if table is None:
            return []
        lacked = self._lacks(table) + ["its ledger"] * (self.ledger.head() is None)
        if lacked:
            with self.writing(wait_seconds):
                self.remember(lambda: False)
        return lacked

    def _create(self) -> DeltaTable:
        location = self._objects.table_location(self._layout.name)
        with lake_faults():
            table = DeltaTable.create(
                location.uri,
                self._layout.schema,
                mode="ignore",
                partition_by=list(self._layout.partitions),
                configuration={**CONFIGURATION, **self._statistics(), **self._ownership.properties()},
                raise_if_key_not_exists=False,
                storage_options=location.storage_options,
            )
        self._record(table)
        return table

    def _record(self, snapshot: DeltaTable) -> None:
        """Have the ledger record what was committed up to a snapshot."""
        try:
            self.ledger.record(snapshot)
        except StoreFull:
            log.warning("the state store is full: what the lake holds is recorded once there is room")

    def _statistics(self) -> dict[str, str]:
        return {"delta.dataSkippingStatsColumns": ",".join(self._layout.statistics)}

    def _lacks(self, table: DeltaTable) -> list[str]:
        lacks = [f"the column {field.name}" for field in self._missing(table)]
        return lacks + ["its installation"] * bool(self._ownership.properties() and not self._ownership.is_marked(table))

    def _missing(self, table: DeltaTable) -> list[Field]:
        """List the columns that the table lacks because an earlier version made it."""
        there = {field.name for field in table.schema().fields}
        return Schema.from_arrow(pa.schema([field for field in self._layout.schema if field.name not in there])).fields

"""What the tables of states and of statistics have in common: rows of homes, by which they are found and deleted."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, WriterProperties
from sqlglot import exp

from backends.ports import ObjectStore, StateStore
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import time_text
from smarthouse_api.arrow.views import without_views
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.files import Crowded, files_of, lake_faults
from smarthouse_api.lake.open_table import Layout
from smarthouse_api.lake.planning import day_number
from smarthouse_api.lake.snapshot_marks import mark_of
from smarthouse_api.lake.sparing import HeldRows, Span, together
from smarthouse_api.lake.table import DAMAGED, WRITER, LakeTable

Place = tuple[date, int]
"""A partition: its day and its bucket."""

LEASE = "lake"
"""Name of two leases: one writer holds the first, and readers of snapshots share the second. Tables of homes share both."""

PURGE_LEASE = "purge"
"""The lease of a purge. While it is held, nobody else replaces files of the lake. Take it before a writer's lease."""

EPOCH_DAY = date(1970, 1, 1)
"""The day by which rows are filed whose time cannot be right."""

MOST_SORTED_BYTES = 192 << 20
_MOST_SORTED_ROWS = 1_000_000
_MOST_SORTED_FILE_BYTES = 48 << 20
_MOST_DROPPED_AT_ONCE = 200
_MOST_REWRITTEN_ROWS = 500_000
_PARTITION = re.compile(r"day=(\d{4}-\d\d-\d\d)/bucket=(\d+)/", re.ASCII)


class HomesTable(LakeTable):
    """Keeps rows of homes, partitioned by `day` and `bucket`: finds a home's rows, and deletes them.

    days: how long rows are kept, by their own day; 0: for ever.
    """

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        leases: Leases,
        layout: Layout,
        days: int = 0,
        writer: WriterProperties = WRITER,
    ) -> None:
        super().__init__(state, objects, leases, layout, writer)
        self._state, self._days = state, days

    @abstractmethod
    def is_over_before(self, day: date, bucket: int, first: date) -> bool:
        """Tell whether all rows of a partition are of days before the first one that is kept."""

    def first_kept_day(self) -> date | None:
        """Return the first UTC day whose rows are kept; None if all are. A clock that was set forward does not count."""
        if not self._days:
            return None
        now = datetime.fromtimestamp(min(time.time(), self._state.now()), UTC)
        return now.date() - timedelta(days=self._days)

    def kept(self, rows: pa.Table) -> pa.Table:
        """Leave out the rows of days that are not kept, as `drop_old` does. rows: with the columns of the table."""
        if (first := self.first_kept_day()) is None:
            return rows
        start, received = pa.scalar(_start(first), TIMESTAMP), pc.field("received")
        own, is_dated = pc.coalesce(pc.field(self._own_time), received), pc.field("day") != pa.scalar(EPOCH_DAY)
        return rows.filter((own >= start) & (is_dated | (received >= start)))

    def drop_old(self, lease: Lease) -> int:
        """Drop rows of days that are not kept, by partitions in one commit; how many. Their bytes stay until `erase_history`.

        lease: the writer's. Rows whose time cannot be right go by their arrival.
        """
        first, snapshot = self.first_kept_day(), self.open()
        if first is None or snapshot is None:
            return 0
        files = [(one["partition.day"], one["partition.bucket"], one) for one in files_of(snapshot).to_pylist()]
        old = {(day, bucket) for day, bucket, _ in files if self.is_over_before(day, bucket, first)}
        start, told = _start(first), (f"min.{self._own_time}", "min.received")
        condition = ""
        if not old:
            undated = (one for one in files if one[0] == EPOCH_DAY)
            old = {one[:2] for one in undated if any((at := one[2].get(name)) is not None and at < start for name in told)}
            condition = f" AND ({self._own_time} < '{time_text(start)}' OR received < '{time_text(start)}')"
        if not old:
            return 0
        lease.check()
        self.delete(f"({_chosen(sorted(old)[:_MOST_DROPPED_AT_ONCE])}){condition}")
        self._erase_damaged_before(first)
        after = self.open()
        left = 0 if after is None else _count(files_of(after))
        return _count(files_of(snapshot)) - left

    def _erase_damaged_before(self, first: date) -> None:
        """Remove what is left of damaged files whose rows are not kept."""
        prefix = f"{DAMAGED}{self.name}/"
        found = ((info.key, _PARTITION.match(info.key.removeprefix(prefix))) for info in self._objects.list(prefix))
        parts = ((key, date.fromisoformat(part[1]), int(part[2])) for key, part in found if part is not None)
        self._objects.delete([key for key, day, bucket in parts if self.is_over_before(day, bucket, first)])

    @property
    def _own_time(self) -> str:
        return self._layout.statistics[0]

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

    def held_by(self, homes: Collection[str]) -> dict[str, HeldRows] | None:
        """Tell on which days each of some homes has rows in the newest snapshot; None if no row was ever written."""
        if (table := self.open()) is None:
            return None
        buckets = sorted({bucket for home in homes for bucket in self.buckets(home)})
        home, day = exp.column("home"), day_number(self._row_time())
        query = (
            exp.select(home, day.as_("own_day"))
            .distinct()
            .from_(self.name)
            .where(exp.column("bucket").isin(*buckets), home.isin(*sorted(homes)))
        )
        spans = defaultdict[str, list[Span]](list)
        for row in (row for batch in EmbeddedEngine().stream(table, query) for row in batch.to_pylist()):
            spans[row["home"]].append(self._span_read_with(EPOCH_DAY + timedelta(days=int(row["own_day"]))))
        first, mark = self.first_kept_day(), mark_of(self.name, table)
        return {home: HeldRows(mark.id, together(spans[home]), first) for home in homes}

    @abstractmethod
    def _row_time(self) -> exp.Condition:
        """Return a row's own time, whichever version wrote it."""

    def _span_read_with(self, day: date) -> Span:
        """Name the days whose readers may find a row of one day."""
        return day, day

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

    def places_of(self, homes: Collection[str]) -> list[list[Place]]:
        """List the partitions that may hold rows of homes, in turns: as many as `delete_homes` rewrites within seconds."""
        table = self.open()
        if table is None or not homes:
            return []
        buckets = pa.array(sorted({bucket for home in homes for bucket in self.buckets(home)}), pa.int32())
        files = files_of(table)
        files = files.filter(pc.is_in(files["partition.bucket"], buckets))
        found = files.group_by(["partition.day", "partition.bucket"]).aggregate([("num_records", "sum")])
        turns, rows = list[list[Place]](), 0
        for day, bucket, count in sorted(zip(*(column.to_pylist() for column in found.columns), strict=True), reverse=True):
            rows += count
            if not turns or rows > _MOST_REWRITTEN_ROWS or len(turns[-1]) >= _MOST_DROPPED_AT_ONCE:
                turns.append([])
                rows = count
            turns[-1].append((day, bucket))
        return turns

    def delete_homes(self, homes: Collection[str], places: Sequence[Place]) -> tuple[pa.Table, pa.Table] | None:
        """Remove the rows of homes from some partitions. A file is rewritten once, however many of these homes it has.

        Their bytes stay until `erase_history`. Returns `files_of` the table before and after it; None if the two may differ by
        more than that.
        """
        if (table := self.open()) is None:
            return None
        keys = ", ".join(f"'{home}'" for home in sorted(homes))
        before, version = files_of(table), table.version()
        self._delete(table, f"({_chosen(places)}) AND home IN ({keys})")
        return (before, files_of(table)) if table.version() == version + 1 else None


def _chosen(places: Sequence[Place]) -> str:
    """Choose partitions as SQL, so that no file of another need be read."""
    return " OR ".join(f"(day = '{day}' AND bucket = {bucket})" for day, bucket in places)


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _count(files: pa.Table) -> int:
    return int(pc.sum(files["num_records"]).as_py() or 0)


def is_sortable(crowded: Crowded) -> bool:
    """Tell whether the rows of a partition may fit into memory to be sorted."""
    return crowded.rows <= _MOST_SORTED_ROWS and crowded.size_bytes <= _MOST_SORTED_FILE_BYTES


def rows_of(snapshot: DeltaTable, partitions: Sequence[Place]) -> Iterator[pa.RecordBatch]:
    """Read partitions, by their days and buckets, with plain texts."""
    # Not with Arrow's own reader, which holds several files and twice as much memory.
    day, bucket = exp.column("day"), exp.column("bucket")
    places = (exp.and_(day.eq(exp.cast(exp.Literal.string(f"{at}"), "date")), bucket.eq(number)) for at, number in partitions)
    for batch in EmbeddedEngine().stream(snapshot, exp.select(exp.Star()).from_("lake").where(exp.or_(*places))):
        yield without_views(batch)


def at_most(batches: Iterator[pa.RecordBatch], most_bytes: int) -> list[pa.RecordBatch]:
    """Collect batches; none if they are more than so many bytes in memory: texts that repeat themselves rest in few."""
    found, size = list[pa.RecordBatch](), 0
    for batch in batches:
        found.append(batch)
        size += batch.nbytes
        if size > most_bytes:
            return []
    return found

"""The Delta table of states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, DeltaTable, WriterProperties
from sqlglot import exp

from backends.ports import ObjectStore, StateStore, StoreUnavailable
from smarthouse_api.arrow.spill import Spill
from smarthouse_api.arrow.views import with_views
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.files import Crowded, files_of, lake_faults
from smarthouse_api.lake.open_table import Layout
from smarthouse_api.lake.repairs import month_end
from smarthouse_api.lake.sparing import Span
from smarthouse_api.states.days_over import Untidy, of_days_over, sorted_for_reading, untidy
from smarthouse_api.states.homes_table import LEASE, MOST_SORTED_BYTES, HomesTable, at_most, is_sortable, rows_of
from smarthouse_api.states.records.entered import ENTERED, is_unnumbered, numbered
from smarthouse_api.states.records.placement import LATE, LATE_DAYS, OWN_DAY, Numbers, buckets_of, share_in, share_of, shares_in
from smarthouse_api.states.records.schema import STATES
from smarthouse_api.states.records.sorting import encoded, encoded_at_most, in_order
from smarthouse_api.states.renewal import renewed
from smarthouse_api.states.selects import OWN_TIME

NAME = "states"
_TIMES = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
_OF_PAGES = ColumnProperties(statistics_enabled="PAGE")

WRITER = WriterProperties(
    compression="SNAPPY",
    max_row_group_size=128 * 1024,
    data_page_row_count_limit=2048,
    write_batch_size=1024,
    default_column_properties=ColumnProperties(statistics_enabled="CHUNK"),
    column_properties={
        **dict.fromkeys(("last_changed", "last_updated"), _TIMES),
        **dict.fromkeys(("home", "type", "unit_nfkc", "device_class"), _OF_PAGES),
        "time": ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED", statistics_enabled="PAGE"),
    },
)
"""Small pages, with statistics: a reader of some types or units skips those that have none. Small groups of rows cost more than
that saves. Times hardly repeat themselves, and are in order: their differences take a third of the room of a dictionary. So the
files are smaller than with dictionaries and a better compression, which is much dearer to read.
"""

LAYOUT = Layout(NAME, LEASE, STATES, ("day", "bucket"), ("time", "received", ENTERED), "States of homes")

_MOST_MOVED_ROWS = 250_000
_VIEWED = pa.schema(
    [one.with_type(pa.string_view()) if pa.types.is_string(one.type) else one for one in STATES],
)


class StatesTable(HomesTable):
    """Keeps the states of all homes in the lake: sorted when they are merged, and each state change once."""

    def __init__(self, state: StateStore, objects: ObjectStore, leases: Leases, days: int = 0) -> None:
        super().__init__(state, objects, leases, LAYOUT, days, WRITER)

    def buckets(self, home: str) -> tuple[int, ...]:
        return buckets_of(home)

    def is_over_before(self, day: date, bucket: int, first: date) -> bool:
        return (OWN_DAY <= bucket < LATE and day < first) or (bucket == LATE and month_end(day) < first)

    def _row_time(self) -> exp.Condition:
        return OWN_TIME.copy()

    def _of_days(self, files: pa.Table, span: Span) -> pa.Table:
        first, last = (pa.scalar(day, pa.date32()) for day in span)
        bucket, day = files["partition.bucket"], files["partition.day"]
        is_usual = pc.and_(pc.greater_equal(bucket, OWN_DAY), pc.less(bucket, LATE))
        return files.filter(pc.and_(is_usual, pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last))))

    def append(self, snapshot: DeltaTable, rows: pa.Table, logs: Mapping[str, int]) -> None:
        if is_unnumbered(rows):
            number = max(self.entered(snapshot) + 1, round(self._state.now() * 1e6))
            rows, logs = numbered(rows, number), {**logs, ENTERED: number}
        super().append(snapshot, rows, logs)

    def entered(self, snapshot: DeltaTable) -> int:
        """Return the largest number that a commit has given to the rows of a snapshot; see `records.entered`. 0 for none."""
        if (number := self.held(snapshot, [ENTERED])[ENTERED]) or not len(files_of(snapshot)):
            return number
        most = exp.Max(this=exp.Abs(this=exp.column(ENTERED)))  # the log was written anew, or an earlier version's
        found = EmbeddedEngine().stream(snapshot, exp.select(most.as_("most")).from_(NAME))
        return max((row["most"] or 0 for batch in found for row in batch.to_pylist()), default=0)

    def outdated(self) -> list[tuple[date, int]]:
        """List partitions that an earlier version wrote, the newest first: as many as are moved at once, or none."""
        table = self.open()
        if table is None:
            return []
        files = files_of(table)
        files = files.filter(pc.less(files["partition.bucket"], OWN_DAY))
        rows = files.group_by(["partition.day", "partition.bucket"]).aggregate([("num_records", "sum")]).to_pylist()
        chosen, count = list[tuple[date, int]](), 0
        for one in sorted(rows, key=lambda one: (one["partition.day"], one["partition.bucket"]), reverse=True):
            count += one["num_records_sum"]
            if chosen and count > _MOST_MOVED_ROWS:
                break
            chosen.append((one["partition.day"], one["partition.bucket"]))
        return chosen

    def move(self, lease: Lease, partitions: Sequence[tuple[date, int]]) -> None:
        """Bring rows of an earlier version to their place, renewed. partitions: their days of arrival and buckets.

        1. The rows are added where they belong, as many at a time as fit into memory. Until the next step they are repeats,
           which no reader counts.
        2. The lease is checked, and the partitions are deleted. delta-rs refuses that if another has added to them.

        If the process dies in between, the rows are added again, and are repeats once more.
        """
        snapshot = self.open_or_create()
        for rows in _in_turns(rows_of(snapshot, partitions)):
            lease.check()  # what was read before a fence may only be added before it
            self.append(snapshot, renewed(rows), {})
        lease.check()
        old = " OR ".join(f"(day = '{day}' AND bucket = {bucket})" for day, bucket in partitions)
        with lake_faults():
            snapshot.delete(old, writer_properties=self._writer)
        self._record(snapshot)

    def untidy(self) -> list[Untidy]:
        """List what is to be merged of days that are over, the newest first."""
        table = self.open()
        if table is None:
            return []
        files = files_of(table)
        return untidy(files.filter(of_days_over(files, _last_day_over(datetime.now(UTC).date()))))

    def merge_first(self, lease: Lease) -> None:
        """Merge the first that `untidy` lists, in one step."""
        table = self.open_or_create()
        if left := self.untidy():
            lease.check()
            self._tidy(table, left[0])
            self._record(table)

    def _crowded(self, files: pa.Table, least_files: int, today: date) -> Sequence[Crowded]:
        is_over = of_days_over(files, _last_day_over(today))
        # The other files of days that are over are an earlier version's. Late rows have partitions of their own, and never are.
        rest = super()._crowded(files.filter(pc.invert(is_over)), least_files, today)
        return [*rest, *untidy(files.filter(is_over))]

    def _is_over(self, partition: Mapping[str, Any], today: date) -> bool:
        return bool(partition["bucket"] < OWN_DAY and partition["day"] <= _last_day_over(today))

    def _merge(self, table: DeltaTable, crowded: Crowded) -> None:
        """Merge the files of a partition: sorted, and each state change once, if it fits into memory."""
        if isinstance(crowded, Untidy):
            self._tidy(table, crowded)
            return
        day, bucket = crowded.partition["day"], crowded.partition["bucket"]
        if bucket >= OWN_DAY and is_sortable(crowded):
            found = at_most(rows_of(table, [(day, bucket)]), MOST_SORTED_BYTES)
            if found and (together := encoded(found)) is not None:
                merged = pa.Table.from_batches([in_order(together)]).select(STATES.names).cast(STATES)
                self._replace(table, merged, f"day = '{day}' AND bucket = {bucket}")
                return
        super()._merge(table, crowded)

    def _tidy(self, table: DeltaTable, step: Untidy) -> None:
        """Merge rows of a day that is over into the buckets where they belong; their memory is bounded.

        All rows are read before the first is written: delta-rs cannot read a table while it asks for rows.
        """
        sources = [(step.day, bucket) for bucket in step.sources]
        if len(step.targets) == 1:
            together, is_all = encoded_at_most(rows_of(table, sources), MOST_SORTED_BYTES)
            if is_all:
                self._put_in_place(table, step, _sorted(together, step.targets[0]))
                return
        try:
            with Spill(len(step.targets)) as spill:
                for batch in rows_of(table, sources):
                    spill.add(batch, _places(batch, step.targets))
                found = zip(spill.read(), step.targets, strict=False)
                self._put_in_place(table, step, chain.from_iterable(_of_bucket(one, bucket) for one, bucket in found))
        except OSError as fault:
            raise StoreUnavailable(f"rows cannot be put aside in the temporary folder: {fault.strerror}") from fault

    def _put_in_place(self, table: DeltaTable, step: Untidy, batches: Iterable[pa.RecordBatch]) -> None:
        self._replace(table, pa.RecordBatchReader.from_batches(_VIEWED, batches), step.predicate)


def _last_day_over(today: date) -> date:
    """Return the last day to which hardly a row is added. Late rows have partitions of their own."""
    return today - timedelta(days=LATE_DAYS + 1)


def _places(rows: pa.RecordBatch, buckets: Sequence[int]) -> Numbers:
    """Tell for each row the place of its home's bucket among some."""
    places = {share_in(bucket): place for place, bucket in enumerate(buckets)}
    home = rows.column("home").cast(pa.string()).dictionary_encode()
    of_home = [places[share_of(key, shares_in(buckets[0]))] for key in home.dictionary.to_pylist()]
    found: Numbers = np.array(of_home, np.int64)[home.indices.to_numpy()]
    return found


def _of_bucket(rows: Iterable[pa.RecordBatch], bucket: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a bucket: one batch, sorted for reading, or as they lie if they are too many for that.

    rows: may be iterated twice.
    """
    together, is_all = encoded_at_most(rows, MOST_SORTED_BYTES)
    yield from _sorted(together, bucket) if is_all else (_filed(batch, bucket) for batch in rows)


def _sorted(rows: pa.RecordBatch | None, bucket: int) -> Iterator[pa.RecordBatch]:
    if rows is not None:
        yield _filed(sorted_for_reading(rows), bucket)


def _filed(rows: pa.RecordBatch, bucket: int) -> pa.RecordBatch:
    """Return rows, with the columns of `STATES`, in another bucket."""
    place = rows.schema.names.index("bucket")
    rows = rows.set_column(place, "bucket", pa.array(np.full(rows.num_rows, bucket, np.int32)))
    return with_views(rows.select(STATES.names)).cast(_VIEWED)


def _in_turns(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Put batches together to tables that fit into memory, one at a time."""
    turn, rows, size = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        turn.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _MOST_MOVED_ROWS or size >= MOST_SORTED_BYTES:
            yield pa.Table.from_batches(turn)
            turn, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(turn)

"""Reading records back: a client gets the records of a collection from the lake, as a stream."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import chain

import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import StateStore, StoreUnavailable
from config.groups import CollectionSettings
from smarthouse_api.arrow.formats import Frame
from smarthouse_api.arrow.read_ahead import read_ahead
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.collections.homes import hidden_in
from smarthouse_api.collections.model import Collection, Position, position_in
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.read_plan import ReadBounds, Selection, SequenceRange, ranges, select_rows
from smarthouse_api.collections.record_formats import RECORD_FORMATS, RecordRows
from smarthouse_api.collections.table import RECORDS, CollectionsTable
from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.errors import Invalid
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of

_PLACE = ("sequence", "position", "time")
_COLUMNS = ("sequence", "position", "received", "time", "record", "fault")
_MOST_BYTES = 32 << 20
_BATCH_ROWS = 8192
_READ_AHEAD_BYTES = 8 << 20
_ALL_TAKEN = "This worker reads as many collections as it can at once; ask again"
BEGIN, END = Position(0, -1), Position((1 << 62) - 1, (1 << 31) - 1)


class RecordsAnswer(LeasedAnswer):
    """Sends records to a client, once.

    The caller closes it. next_cursor: the last record's position, if the limit left out others. incomplete: in words, which
    records are missing, if any are.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        content_type: str,
        next_cursor: str | None,
        lease: Lease,
        ending: ExitStack,
        incomplete: str | None = None,
    ) -> None:
        super().__init__(lease, ending)
        self.incomplete = incomplete
        self.content_type, self.next_cursor, self._chunks = content_type, next_cursor, chunks

    @property
    def chunks(self) -> Iterator[bytes]:
        """The bytes, while the lease is held."""
        return self._while_leased(self._chunks)


class Records:
    """Answers requests for records, a limited number at once in this process; at most half of them of public collections."""

    def __init__(
        self,
        state: StateStore,
        chores: CollectionsChores,
        table: CollectionsTable,
        engine: Engine,
        settings: CollectionSettings,
    ) -> None:
        self._state, self._chores, self._table, self._engine = state, chores, table, engine
        self._slots = Slots(settings.reads_at_once, _ALL_TAKEN)
        self._public_slots = Slots(max(1, settings.reads_at_once // 2), _ALL_TAKEN)

    def open(
        self,
        collection: Collection,
        selection: Selection,
        format_: str,
        *,
        with_meta: bool = True,
        frame: Callable[[str | None], Frame] | None = None,
    ) -> RecordsAnswer:
        """Open an answer with the selected records that were accepted before the call, in order, in the format of this name.

        frame: what stands before and after the records as JSON, given `next_cursor`. Raises `Invalid`, `NotFound` once the
        collection is deleted, `Unavailable`. A fault of the reading itself is raised while the answer is sent.
        """
        after, queue = _position(selection.cursor), TopicQueue(self._state, collection)
        if selection.limit is not None and selection.limit < 1:
            raise Invalid(f"limit: must be 1 or more, and is {selection.limit}")
        with ExitStack() as ending:
            for slots in (self._public_slots, self._slots) if collection.public else (self._slots,):
                ending.enter_context(slots)
            self._chores.flush(collection)
            lease = self._table.reading()
            ending.callback(lease.release)
            lease.tell(collection.key.encode())  # a forget breaks off only those who read a collection that has the home
            queue.look_for_collection()  # from now on, a deletion waits for the lease, or breaks it
            hidden = hidden_in(self._state, collection)  # from now on, a forget does so, too
            bounds = ReadBounds(collection.key, after, END, selection.since_us, selection.until_us, hidden)
            snapshot, incomplete = self._chores.rebuilding.checked(collection.key, self._table.open())
            reading = Reading(snapshot, self._engine, bounds, self._chores.rebuilding.distrust)
            cursor = None if selection.limit is None else reading.limit(selection.limit)
            batches = read_ahead(reading.batches(), _READ_AHEAD_BYTES, lambda batch: int(batch.nbytes))
            ending.callback(batches.close)
            first = next(batches, None)  # what fails at once is told at once
            rows: Iterable[pa.RecordBatch] = chain(() if first is None else (first,), batches)
            form = RECORD_FORMATS[format_]
            framed = None if frame is None else frame(cursor)
            chunks = form.write(RecordRows(rows, queue.fields().types, with_meta=with_meta, frame=framed))
            if isinstance(chunks, Generator):
                ending.callback(chunks.close)
            return RecordsAnswer(map(bytes, chunks), form.media_type, cursor, lease, ending.pop_all(), incomplete)


class Reading:
    """Reads the rows of one snapshot of the lake that lie within bounds. Without a snapshot it finds none.

    distrust: is called if the engine cannot read the snapshot.
    """

    def __init__(self, snapshot: DeltaTable | None, engine: Engine, bounds: ReadBounds, distrust: Callable[[], None]) -> None:
        self._snapshot, self._engine, self._bounds, self._distrust = snapshot, engine, bounds, distrust
        self._files = None if snapshot is None else files_of(snapshot)

    def limit(self, count: int) -> str | None:
        """End the read after `count` rows. Return the position of the last one if there are more."""
        left, last = count, self._bounds.after
        for rows in self._tables(_PLACE):
            if rows.num_rows > left:
                last = _place(rows, left - 1) if left else last
                self._bounds = replace(self._bounds, until=last)
                return str(last)
            if rows.num_rows:
                left, last = left - rows.num_rows, _place(rows, -1)
        return None

    def batches(self) -> Generator[pa.RecordBatch]:
        """Read the rows in order."""
        for rows in self._tables(_COLUMNS):
            yield from rows.to_batches(max_chunksize=_BATCH_ROWS)

    def _tables(self, columns: tuple[str, ...]) -> Iterator[pa.Table]:
        """The rows of one range after another, each sorted."""
        for part in () if self._files is None else ranges(self._files, self._bounds):
            left = [part]
            while left:
                one = left.pop()
                rows, halves = self._table(one, columns), one.halves()
                if rows is not None:
                    yield rows
                elif halves is not None:
                    left += reversed(halves)

    @contextmanager
    def _distrusting(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable:
            self._distrust()
            raise

    def _table(self, part: SequenceRange, columns: tuple[str, ...]) -> pa.Table | None:
        """The rows of a range; None if they are too many and the range can be parted."""
        schema = pa.schema([RECORDS.field(name) for name in columns])
        found, size = list[pa.RecordBatch](), 0
        assert self._snapshot is not None
        query = select_rows(self._bounds, part, columns)
        with closing(self._engine.stream(self._snapshot, query)) as batches, self._distrusting():
            for batch in batches:
                arrays = [batch.column(field.name).cast(field.type) for field in schema]
                found.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
                size += found[-1].nbytes
                if size > _MOST_BYTES and part.halves() is not None:
                    return None
        rows = self._bounds.holds(pa.Table.from_batches(found, schema)).combine_chunks()
        return rows if _is_sorted(rows) else rows.sort_by([("sequence", "ascending"), ("position", "ascending")])


def _position(cursor: str | None) -> Position:
    if cursor is None:
        return BEGIN
    if (found := position_in(cursor)) is None or found > END:
        raise Invalid(f"cursor: {cursor[:40]!r} is no position; use what an earlier answer gave to go on with")
    return found


def _place(rows: pa.Table, row: int) -> Position:
    at = row % rows.num_rows
    return Position(rows["sequence"][at].as_py(), rows["position"][at].as_py())


def _is_sorted(rows: pa.Table) -> bool:
    """By positions."""
    if rows.num_rows < 2:
        return True
    sequence, position = rows["sequence"].to_numpy(), rows["position"].to_numpy()
    later = sequence[1:] - sequence[:-1]
    return bool(((later > 0) | ((later == 0) & (position[1:] > position[:-1]))).all())

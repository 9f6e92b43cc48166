"""Exports: a zip of the wanted rows in each format, and of the documents about them, made while it is sent.

1. What was acknowledged is brought into the lake.
2. A snapshot is opened under a reader's lease.
3. For each format, its rows are read part by part, sorted, made private and written.
4. The documents tell what was written.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime
from functools import partial
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable

from config.groups import ExportSettings
from smarthouse_api.arrow.begun_rows import BegunRows
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.times import EPOCH, microseconds
from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.repairs import told
from smarthouse_api.states.aggregates.asked import HOLDS, LENGTHS, Aggregation
from smarthouse_api.states.aggregates.clocks import Clock
from smarthouse_api.states.aggregates.rows import AggregatedRows, Layout
from smarthouse_api.states.aggregates.wide_columns import wide_columns
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.export.archive import Member, Written, archive
from smarthouse_api.states.export.asking import Asking
from smarthouse_api.states.export.coverage import Coverage
from smarthouse_api.states.export.documents import documents
from smarthouse_api.states.export.metadata import Extract, Since
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.export.shapes import AGGREGATES, STATE_CHANGES, Shape, wide
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.query import Filters, wanted_files
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.table import StatesTable

_COLUMNS_SECONDS: Final = 30.0


class Export(LeasedAnswer):
    """Sends one export: iterating it gives the zip's bytes, once. It must be closed.

    is_whole: whether all bytes were given. incomplete: in words, which rows are missing, if any are.
    """

    def __init__(
        self,
        file_name: str,
        chunks: Iterator[bytes],
        rows: BegunRows,
        lease: Lease,
        ending: ExitStack,
        incomplete: str | None = None,
    ) -> None:
        super().__init__(lease, ending)
        self.file_name, self.incomplete, self._chunks, self._rows = file_name, incomplete, chunks, rows
        self.is_whole = False

    @property
    def rows(self) -> int:
        """Return the number of rows of the last file that were read so far."""
        return self._rows.count

    def __iter__(self) -> Iterator[bytes]:
        yield from self._while_leased(self._chunks)
        self.is_whole = True


class Exports:
    """Makes exports of one lake, and limits how many run at once."""

    def __init__(
        self,
        chores: StatesChores,
        homes: Homes,
        table: StatesTable,
        rebuilding: Rebuilding,
        engine: Engine,
        asking: Asking,
        settings: ExportSettings,
        *,
        is_open: bool,
    ) -> None:
        """is_open: whether anyone may download exports, which their metadata tells."""
        self.is_open = is_open
        self._chores, self._homes, self._table, self._rebuilding, self._engine = chores, homes, table, rebuilding, engine
        self._asking, self._settings = asking, settings
        self._slots = Slots(settings.at_once, "This worker makes as many exports as it can at once; ask again")

    def open(
        self,
        formats: Sequence[str],
        filters: Filters,
        *,
        metadata: bool = True,
        fresh: bool = True,
        aggregation: Aggregation | None = None,
        since: Since | None = None,
    ) -> Export | None:
        """Open an export of the rows that pass `filters`, all acknowledged uploads included; None if no row does.

        formats: names in `FORMATS`. metadata: whether the zip also holds the documents about the export. fresh: whether to wait
        for uploads that the lake does not hold yet; else `Uploads.held_until` says which it holds. A fault while the zip
        is read is raised to its reader, before the end. aggregation: export aggregates of these rows. since: what the documents
        tell of the version that `filters.after` names. Raises `Gone` if nobody can tell what came after it.
        """
        filters = filters.kept(self._table.first_kept_day())
        wanted, days = filters, (filters.since or date.min, filters.until or date.max)
        if aggregation is not None:
            filters = aggregation.widened(filters)
        with ExitStack() as ending:
            ending.enter_context(self._slots)
            self._rebuilding.refuse_held(*filters.span)  # at once: its uploads may take long
            if fresh:
                self._chores.flush()
            lease = self._table.reading()
            ending.callback(lease.release)
            self._rebuilding.refuse_held(*filters.span)  # with the lease, which a removal breaks
            # Before the snapshot is opened, and after: a repair that ends in between has no rows in it.
            repairs = self._rebuilding.repairs.touching(*filters.span)
            rows = self._rows(filters, lease)
            incomplete = told([*repairs, *self._rebuilding.repairs.touching(*filters.span)])
            if rows is None:
                if incomplete is not None:
                    raise Unavailable(f"No row can be given now: {incomplete}")
                return None
            incomplete = "; ".join(filter(None, (incomplete, self._rebuilding.lacking(filters.span[0])))) or None
            ending.callback(rows.close)
            made_at = datetime.now(UTC)
            stem = f"smarthouse_extract_{made_at:%Y-%m-%d}"
            shape = self.shape(rows, aggregation)
            given: BegunRows = rows
            if aggregation is not None:
                given = _aggregated(rows, aggregation, shape.layout, microseconds(made_at), days)
                ending.callback(given.close)
                if given.is_empty():
                    return None
            coverage = Coverage(shape.time)

            def member(name: str) -> Member:
                source = shape.source(coverage.noted(given))
                return Member(f"{stem}.{name}", FORMATS[name].write(source), FORMATS[name].packed)

            def trailer(files: list[Written]) -> Iterator[Member]:
                extract = Extract(
                    id=uuid.uuid4().hex,
                    generated_at=made_at,
                    rows=given.count,
                    filters=wanted,
                    settings=self._settings,
                    is_open=self.is_open,
                    first=coverage.first,
                    last=coverage.last,
                    incomplete=incomplete,
                    aggregation=aggregation,
                    columns=shape.columns,
                    since=since,
                )
                return documents(extract, files, stem)

            chunks = archive(map(member, formats), modified_at=made_at, trailer=trailer if metadata else None)
            ending.callback(chunks.close)
            return Export(f"{stem}.zip", chunks, given, lease, ending.pop_all(), incomplete)

    @contextmanager
    def peek(self, filters: Filters, aggregation: Aggregation | None = None) -> Iterator[Iterator[pa.RecordBatch]]:
        """Open the rows that pass `filters` as the lake holds them now, to look at some of them: batches of `ROWS`.

        aggregation: look at aggregates of these rows: batches of `AGGREGATES`.
        """
        filters = filters.kept(self._table.first_kept_day())
        days = filters.since or date.min, filters.until or date.max
        filters = filters if aggregation is None else aggregation.widened(filters)
        with self._slots, self._table.reading() as lease:
            self._rebuilding.refuse_held(*filters.span)
            rows = self._rows(filters, lease)
            if rows is None:
                yield iter(())
                return
            now = microseconds(datetime.now(UTC))
            given: BegunRows = rows
            if aggregation is not None:
                given = _aggregated(rows, aggregation, self.shape(rows, aggregation).layout, now, days)
            with closing(iter(given)) as batches:
                yield batches
            lease.check()

    def whole(self, asked: Filters) -> tuple[DeltaTable, DataFiles] | None:
        """Open the newest snapshot, once the first of its files are found whole; None if no row was ever written.

        asked: filters that are made ready.
        """
        snapshot = self._table.open_current(_COLUMNS_SECONDS)
        while snapshot is not None and (faults := (looks := self.looks(snapshot, asked)).first_faults()):
            self._rebuilding.set_aside(self._table, faults)
            snapshot = self._table.open()
        return None if snapshot is None else (snapshot, looks)

    def rows(self, snapshot: DeltaTable, asked: Filters, lease: Lease, secret: bytes, looks: DataFiles) -> PublishedRows:
        """Make the rows of a snapshot ready to be read. lease: a reader's, with the snapshot noted. secret: of the names."""
        level, words = self._settings.privacy, frozenset(self._settings.words)
        redactor = Redactor(secret, strict=level == "strict", raw=level == "raw", words=words)
        return PublishedRows(snapshot, asked, self._engine, self._homes, lease, redactor, self._settings, looks)

    def shape(self, rows: PublishedRows, aggregation: Aggregation | None) -> Shape:
        """Return the shape of an export. rows: those that it is made of. Raises `Invalid` if it would have too many columns."""
        if aggregation is None:
            return STATE_CHANGES
        if aggregation.layout == "long":
            return AGGREGATES
        return wide(wide_columns(rows.told(), aggregation.figures, self._settings.columns))

    def aggregates(
        self,
        source: Callable[[Filters], PublishedRows],
        asked: Filters,
        aggregation: Aggregation,
        layout: Layout | None,
        now: int,
    ) -> AggregatedRows:
        """Make aggregates of the days of some filters. source: gives the rows of a snapshot. now: in microseconds."""
        days = asked.since or date.min, asked.until or date.max
        return _aggregated(source(aggregation.widened(asked)), aggregation, layout, now, days)

    def looks(self, snapshot: DeltaTable, asked: Filters) -> DataFiles:
        """Return the looks at the files that a reader of a snapshot will need."""
        files = files_of(snapshot)
        files = files if self._settings.privacy == "strict" else wanted_files(files, asked)
        return DataFiles(self._table.ledger, files, partial(self._rebuilding.set_aside, self._table))

    def _rows(self, filters: Filters, lease: Lease) -> PublishedRows | None:
        if (asked := self._asking.ready(filters)) is None or (found := self.whole(asked)) is None:
            return None
        snapshot, looks = found
        self._table.note(lease, snapshot)
        rows = self.rows(snapshot, asked, lease, self._asking.secret(), looks)
        return None if rows.is_empty() else rows


def _aggregated(
    rows: PublishedRows, asked: Aggregation, layout: Layout | None, now: int, days: tuple[date, date]
) -> AggregatedRows:
    """Make aggregates of published rows. now: until when states are held. days: of the intervals."""
    clock = Clock(LENGTHS[asked.every], rows.timelines() if asked.is_local else None)
    first, last = ((day - EPOCH.date()).days for day in days)
    return AggregatedRows(rows, clock, HOLDS[asked.hold], now, first, last, layout)

"""Exports: a zip of the wanted rows in each format, and of the documents about them, made while it is sent.

1. What was acknowledged is brought into the lake.
2. A snapshot is opened under a reader's lease.
3. For each format, its rows are read part by part, sorted, made private and written.
4. The documents tell what was written.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable

from config.groups import ExportSettings
from smarthouse_api.arrow.begun_rows import BegunRows
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.leased_answers import LeasedAnswer, Slots
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.snapshot_marks import SnapshotMark, mark_of
from smarthouse_api.lake.sparing import moved, noted
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.aggregates.wide_columns import columns_of_states, columns_of_statistics, wide_columns
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.export.aggregating import Spans, aggregates, changed_spans, clock_of, of_spans
from smarthouse_api.states.export.archive import Member, Written, archive
from smarthouse_api.states.export.asking import Asking
from smarthouse_api.states.export.coverage import Coverage
from smarthouse_api.states.export.documents import documents
from smarthouse_api.states.export.metadata import Extract, ReleasedAs, Since
from smarthouse_api.states.export.published_periods import PublishedPeriods
from smarthouse_api.states.export.published_rows import PublishedRows
from smarthouse_api.states.export.shapes import AGGREGATES, STATE_CHANGES, Shape, of_homes, wide
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.planning import wanted_files
from smarthouse_api.states.query import Filters
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.statistics_table import StatisticsTable
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
        statistics: StatisticsTable,
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
        self._statistics = statistics
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
        release: ReleasedAs | None = None,
    ) -> Export | None:
        """Open an export of the rows that pass `filters`, all acknowledged uploads included; None if no row does.

        formats: names in `FORMATS`. metadata: whether the zip also holds the documents about the export. fresh: whether to wait
        for uploads that the lake does not hold yet; else `Uploads.held_until` says which it holds. A fault while the zip
        is read is raised to its reader, before the end. aggregation: export aggregates of these rows. since: what the documents
        tell of the version that `filters.after` names. release: what it is kept as, if it is the release of a month. Raises
        `Gone` if nobody can tell what came after a version.
        """
        filters = filters.kept(self._table.first_kept_day())
        wanted = filters
        needed = filters if aggregation is None else aggregation.widened(filters)
        with ExitStack() as ending:
            ending.enter_context(self._slots)
            self._rebuilding.refuse_held(*needed.span)  # at once: its uploads may take long
            if fresh:
                self._chores.flush()
            lease = self._table.reading()
            ending.callback(lease.release)
            self._rebuilding.refuse_held(*needed.span)  # with the lease, which a removal breaks
            # Before the snapshots are opened, and after: a repair that ends in between has no rows in them.
            before = self.missing(needed, aggregation)
            made_at = datetime.now(UTC)
            given = self._given(filters, aggregation, lease, microseconds(made_at), ending)
            incomplete = before or self.missing(needed, aggregation)
            if given is None:
                if incomplete is not None:
                    raise Unavailable(f"No row can be given now: {incomplete}")
                return None
            rows, shape, days = given
            incomplete = "; ".join(filter(None, (incomplete, self._rebuilding.lacking(needed.span[0])))) or None
            stem = release.stem if release else f"smarthouse_extract_{made_at:%Y-%m-%d}"
            coverage = Coverage(shape.begin, shape.end)

            def member(name: str) -> Member:
                source = shape.source(coverage.noted(rows))
                return Member(f"{stem}.{name}", FORMATS[name].write(source), FORMATS[name].packed)

            def trailer(files: list[Written]) -> Iterator[Member]:
                extract = Extract(
                    id=release.version if release else uuid.uuid4().hex,
                    generated_at=made_at,
                    rows=rows.count,
                    filters=wanted,
                    settings=self._settings,
                    is_open=self.is_open or (release is not None and release.is_open),
                    month=release.month if release else None,
                    first=coverage.first,
                    last=coverage.last,
                    incomplete=incomplete,
                    aggregation=aggregation,
                    columns=shape.columns,
                    since=since and replace(since, days=days),
                    consents={} if aggregation and aggregation.least_homes else self._asking.consents(),
                )
                return documents(extract, files, stem)

            chunks = archive(map(member, formats), modified_at=made_at, trailer=trailer if metadata else None)
            ending.callback(chunks.close)
            return Export(f"{stem}.zip", chunks, rows, lease, ending.pop_all(), incomplete)

    @contextmanager
    def peek(self, filters: Filters, aggregation: Aggregation | None = None) -> Iterator[Iterator[pa.RecordBatch]]:
        """Open the rows that pass `filters` as the lake holds them now, to look at some of them: batches of `ROWS`.

        aggregation: look at aggregates of these rows: batches of `AGGREGATES`.
        """
        filters = filters.kept(self._table.first_kept_day())
        needed = filters if aggregation is None else aggregation.widened(filters)
        with self._slots, self._table.reading() as lease, ExitStack() as ending:
            self._rebuilding.refuse_held(*needed.span)
            given = self._given(filters, aggregation, lease, microseconds(datetime.now(UTC)), ending)
            if given is None:
                yield iter(())
                return
            with closing(iter(given[0])) as batches:
                yield batches
            lease.check()

    def whole(self, asked: Filters) -> tuple[DeltaTable, DataFiles] | None:
        """Open the newest snapshot, once the first of its files are found whole; None if no row was ever written.

        asked: filters that are made ready.
        """
        snapshot = self._table.open_again(_COLUMNS_SECONDS)
        while snapshot is not None and (faults := (looks := self.looks(snapshot, asked)).first_faults()):
            self._rebuilding.set_aside(self._table, faults)
            snapshot = self._table.open()
        return None if snapshot is None else (snapshot, looks)

    def rows(self, snapshot: DeltaTable, asked: Filters, lease: Lease, secret: bytes, looks: DataFiles) -> PublishedRows:
        """Make the rows of a snapshot ready to be read. lease: a reader's, with the snapshot noted. secret: of the names."""
        redactor, newest = self._redactor(secret), partial(self._newest, asked, lease)
        return PublishedRows(snapshot, asked, self._engine, self._homes, lease, redactor, self._settings, looks, newest)

    def periods(
        self, snapshot: DeltaTable, states: DeltaTable | None, asked: Filters, lease: Lease, secret: bytes
    ) -> PublishedPeriods:
        """Make the periods of a snapshot of statistics ready to be read, likewise. states: the snapshot of states beside it."""
        looks = DataFiles(self._statistics.ledger, files_of(snapshot), partial(self._rebuilding.set_aside, self._statistics))
        redactor, settings = self._redactor(secret), self._settings
        return PublishedPeriods(snapshot, states, asked, self._engine, self._homes, lease, redactor, settings, looks)

    def shape(self, rows: PublishedRows | None, periods: PublishedPeriods | None, aggregation: Aggregation | None) -> Shape:
        """Return the shape of an export. rows, periods: what it is made of. Raises `Invalid` for too many columns."""
        if aggregation is None:
            return STATE_CHANGES
        if aggregation.layout == "long":
            return AGGREGATES
        if aggregation.least_homes:
            homes = frozenset[str]() if rows is None else rows.enrolled(self._settings.enrolled_after_days)
            return of_homes(homes, aggregation.least_homes)
        of_states = columns_of_states(() if rows is None else rows.told(), aggregation.figures)
        of_statistics = columns_of_statistics(() if periods is None else periods.told(), aggregation.figures)
        return wide(wide_columns(chain(of_states, of_statistics), self._settings.columns))

    def looks(self, snapshot: DeltaTable, asked: Filters) -> DataFiles:
        """Return the looks at the files that a reader of a snapshot will need."""
        files = files_of(snapshot)
        files = files if self._settings.privacy == "strict" else wanted_files(files, asked)
        return DataFiles(self._table.ledger, files, partial(self._rebuilding.set_aside, self._table))

    def statistics_of(self, mark: SnapshotMark) -> DeltaTable | None:
        """Open a snapshot of statistics again, as `OpenTable.open_marked` does."""
        return self._statistics.open_marked(mark)

    def mark_of_statistics(self, snapshot: DeltaTable | None) -> SnapshotMark | None:
        """Mark a snapshot of statistics."""
        return None if snapshot is None else mark_of(self._statistics.name, snapshot)

    def has_same_statistics(self, mark: SnapshotMark | None, snapshot: DeltaTable | None) -> bool:
        """Tell whether a snapshot of statistics has the rows of a marked one."""
        return self._statistics.ledger.has_same_rows(mark, snapshot)

    def newest_statistics(self, aggregation: Aggregation | None) -> DeltaTable | None:
        """Open the newest snapshot of statistics; None if there is none, or none is asked for."""
        return self._statistics.open() if aggregation is not None and aggregation.has_statistics else None

    def missing(self, needed: Filters, aggregation: Aggregation | None) -> str | None:
        """Say what an export lacks since it is being made again, or lost; None for nothing. needed: the days of its states."""
        if aggregation is None:
            return self._rebuilding.missing(*needed.span)
        first, last = needed.span
        return self._rebuilding.missing(first, last, states=aggregation.has_states, statistics=aggregation.has_statistics)

    def _newest(self, asked: Filters, lease: Lease, before: DeltaTable) -> tuple[DeltaTable, DataFiles, int] | None:
        """Open the newest snapshot in the place of another, see `PublishedRows`; None also while it lacks rows."""
        snapshot = self._table.open_current(_COLUMNS_SECONDS)
        if snapshot is None or snapshot.version() <= before.version() or snapshot.metadata().id != before.metadata().id:
            return None
        if self._rebuilding.missing(*asked.span) is not None:
            return None
        lease.tell(moved(lease.note, mark_of(self._table.name, snapshot)))
        return snapshot, self.looks(snapshot, asked), self._table.entered(before)

    def _redactor(self, secret: bytes) -> Redactor:
        level, words = self._settings.privacy, frozenset(self._settings.words)
        return Redactor(secret, strict=level == "strict", raw=level == "raw", words=words)

    def _given(
        self, filters: Filters, aggregation: Aggregation | None, lease: Lease, now: int, ending: ExitStack
    ) -> tuple[BegunRows, Shape, Spans] | None:
        """Open what is asked for, and note the snapshots with the lease; None if there is no row. now: in microseconds.

        ending: closes what is opened.
        """
        if (asked := self._asking.ready(filters)) is None:
            return None
        needed, secret = asked if aggregation is None else aggregation.widened(asked), self._asking.secret()
        has_states, statistics = aggregation is None or aggregation.has_states, self.newest_statistics(aggregation)
        found = self.whole(needed) if has_states else None
        states = found[0] if found is not None else self._table.open_current(_COLUMNS_SECONDS)
        marks = [(self._table.name, states), (self._statistics.name, statistics)]
        lease.tell(noted((mark_of(name, snapshot) for name, snapshot in marks if snapshot is not None), needed.span))
        rows = periods = None
        if found is not None:
            rows = self.rows(found[0], needed, lease, secret, found[1])
            ending.callback(rows.close)
            is_partial = aggregation is not None and asked.after is not None
            rows = None if not is_partial and rows.is_empty() else rows
        if statistics is not None:
            periods = self.periods(statistics, states, asked, lease, secret)
        if rows is None and periods is None:
            return None
        if rows is not None and found is not None and aggregation is not None and asked.after is not None:
            of_span = partial(self._of_span, found, aggregation, lease, secret)
            spans = changed_spans(rows, aggregation, asked)
            all_rows = of_span(replace(asked, after=None))
            shape, clock = self.shape(all_rows, None, aggregation), clock_of(all_rows, None, aggregation)
            given = of_spans(of_span, clock, aggregation, shape.of_aggregates, asked, spans, now)
        else:
            shape, spans = self.shape(rows, periods, aggregation), ()
            if aggregation is None:
                return None if rows is None else (rows, shape, ())
            given = aggregates(rows, periods, aggregation, shape.of_aggregates, asked, now)
        ending.callback(given.close)
        return None if given.is_empty() else (given, shape, spans)

    def _of_span(
        self, found: tuple[DeltaTable, DataFiles], aggregation: Aggregation, lease: Lease, secret: bytes, asked: Filters
    ) -> PublishedRows:
        snapshot, looks = found
        return self.rows(snapshot, aggregation.widened(asked), lease, secret, looks)

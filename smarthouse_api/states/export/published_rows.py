"""The rows of an export: read part by part from one snapshot, each state change once, in order, and fit to be published.

1. A part is some of the rows' own days. All repeats of a state change lie in one part.
2. Names are made before rows are put in order: no order tells more than what is published.
3. Rows of a home that was forgotten meanwhile are left out.
4. A file may go that holds rows of such a home beside those of other days. Then what is left is read from the newest snapshot,
   without what entered the lake later. All of a part is read before its first row is given, so that it can be read again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from sqlglot import exp

from backends.ports import StoreUnavailable
from config.groups import ExportSettings
from smarthouse_api.arrow.begun_rows import BegunRows
from smarthouse_api.arrow.read_ahead import read_ahead
from smarthouse_api.coordination.leases import Lease, LeaseLost
from smarthouse_api.errors import Gone, Unavailable
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of
from smarthouse_api.states.aggregates.clocks import Timeline, select_offsets, timelines_of
from smarthouse_api.states.export.ordering import Ordering
from smarthouse_api.states.export.things import row_of_each, select_things
from smarthouse_api.states.groups import Groups, of_groups, select_enrolled, select_groups
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.planning import is_outdated, parts
from smarthouse_api.states.query import After, ExportPart, Filters, of_days, within, within_days_of
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.records.rules import published_words
from smarthouse_api.states.records.sorting import encoded
from smarthouse_api.states.renewal import renewed
from smarthouse_api.states.selects import days_of, select_new_days, select_rows, visible

_READ_AHEAD_BYTES: Final = 8 << 20
_MOST_FOLLOWED: Final = 16
_MADE_ANEW: Final = "since: the lake was made anew since that version, and nobody can tell what came after it; ask for all rows"
_MADE_AGAIN: Final = (
    "since: rows were made again from raw uploads since that version, so that nobody can tell which it had; ask for all rows"
)


@dataclass(frozen=True)
class Question:
    """Says which rows are published, and how: all that another needs who makes them. groups: under strict privacy."""

    snapshot: DeltaTable
    filters: Filters
    redactor: Redactor
    groups: Groups | None


@dataclass(frozen=True)
class _Source:
    """Holds what rows are read from. is_first: what the parts were planned of."""

    snapshot: DeltaTable
    filters: Filters
    looks: DataFiles
    parts: Sequence[ExportPart]
    is_outdated: bool
    is_first: bool = False


class PublishedRows(BegunRows):
    """Reads the published rows of one export, for each format anew from the same snapshot."""

    def __init__(
        self,
        snapshot: DeltaTable,
        filters: Filters,
        engine: Engine,
        homes: Homes,
        lease: Lease,
        redactor: Redactor,
        settings: ExportSettings,
        looks: DataFiles,
        newest: Callable[[DeltaTable], tuple[DeltaTable, DataFiles, int] | None] = lambda _: None,
    ) -> None:
        """newest: opens the newest snapshot in the place of one whose files are gone, and notes that with the lease. It tells
        the largest number with which rows had entered the other one, too. None: there is no newer one, or it lacks rows.
        """
        self._engine, self._homes, self._lease, self._redactor = engine, homes, lease, redactor
        self._ordering, self._newest, self._following = Ordering(redactor), newest, threading.Lock()
        self._is_raw, self._words = settings.privacy == "raw", settings.words
        self._source = self._first(snapshot, filters, looks)
        self._snapshot, self._filters, self._looks = self._source.snapshot, self._source.filters, self._source.looks
        self._outdated, self.parts = self._source.is_outdated, self._source.parts
        self._groups = self._published_groups(settings) if settings.privacy == "strict" else None

    def _first(self, snapshot: DeltaTable, filters: Filters, looks: DataFiles) -> _Source:
        """Plan the parts; of a newer snapshot, if files of this one are gone by now."""
        for _ in range(_MOST_FOLLOWED):
            try:
                return self._planned(snapshot, filters, looks, is_first=True)
            except StoreUnavailable:
                if (found := self._newest(snapshot)) is None:
                    looks.distrust()
                    raise
            snapshot, looks, entered = found
            filters = replace(filters, entered_by=entered if filters.entered_by is None else filters.entered_by)
        return self._planned(snapshot, filters, looks, is_first=True)

    def _planned(self, snapshot: DeltaTable, filters: Filters, looks: DataFiles, *, is_first: bool = False) -> _Source:
        files = files_of(snapshot)
        found = list(parts(files, filters, lambda asked: days_of(self._engine.stream(snapshot, asked))))
        if filters.after is not None:
            new_days = self._found_new_days(snapshot, filters, filters.after)
            found = of_days(found, new_days)
            if is_first:
                self.new_days = new_days
                """The days on which rows lie that entered the lake after a snapshot, counted since 1970."""
        return _Source(snapshot, filters, looks, found, is_outdated(files), is_first)

    def question(self) -> Question | None:
        """Tell what the rows are made of; None if the lake has rows of an earlier version, which no query makes anew."""
        if self._outdated:
            return None
        return Question(self._snapshot, self._filters, self._redactor, self._groups)

    def check(self, part: ExportPart) -> None:
        """Look at the files of a part before another process reads them. Raises `StoreUnavailable` for a damaged one."""
        self._source.looks.check(part.first, part.last, is_filed=part.is_filed)

    def told(self) -> Iterator[pa.RecordBatch]:
        """Yield published rows that tell of each entity its units, whether it has numbers, and its words: nothing else."""
        if self._outdated:
            yield from self._batches()
            return
        grouped = self._groups is not None
        words = None if self._is_raw else published_words(self._words)
        for batch in self._read(select_things(self._filters, self._homes.hidden(), words, grouped=grouped)):
            rows = encoded([row_of_each(batch)])
            if rows is not None and (rows := self._redactor.named(rows)).num_rows:
                yield self._published(rows if self._groups is None else of_groups(rows, self._groups))

    def timelines(self) -> dict[str, Timeline]:
        """Find out how the clocks of the homes go, by pseudonyms."""
        wanted = [*within(exp.column("time"), *self._filters.span), *visible(self._homes.hidden())]
        told = timelines_of(self._read(select_offsets(wanted)))
        return {self._redactor.home(key): line for key, line in told.items()}

    def enrolled(self, days: int) -> frozenset[str]:
        """Find the homes that are enrolled, by pseudonyms. days: for so many they have agreed, and on so many sent data."""
        found = self._read(select_enrolled(self._homes.agreed(days) - set(self._homes.hidden()), days))
        return frozenset(self._redactor.home(key) for batch in found for key in batch.column("home").to_pylist())

    def _anew(self) -> Generator[pa.RecordBatch]:
        """Read batches and make them private in a thread of their own, while earlier ones are encoded."""
        return read_ahead(self._batches(), _READ_AHEAD_BYTES, lambda batch: int(batch.nbytes))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the published rows, part by part, and count them anew. Raises `LeaseLost` if the lease was broken."""
        self.count = 0
        for part in self.parts:
            for published in self._of_part(part):
                self.count += published.num_rows
                yield published

    def of_part(self, part: ExportPart) -> Generator[pa.RecordBatch]:
        """Read the published rows of one part. Raises `LeaseLost` if the lease was broken.

        A part that is sorted at once is one batch: nothing could be read ahead, and another thread would only be in the way.
        """
        if part.share <= 1:
            return self._of_part(part)
        return read_ahead(self._of_part(part), _READ_AHEAD_BYTES, lambda batch: int(batch.nbytes))

    def of_parts(self, some: Sequence[ExportPart]) -> Generator[pa.RecordBatch]:
        """Read the published rows of some parts, one after the other, as `of_part` does."""
        for part in some:
            with closing(self.of_part(part)) as batches:
                yield from batches

    def _of_part(self, part: ExportPart) -> Generator[pa.RecordBatch]:
        source = self._source
        for piece in [part] if source.is_first else within_days_of(source.parts, part.first, part.last):
            for rows in self._in_order(piece, source, _MOST_FOLLOWED):
                published = self._published(rows)
                if published.num_rows:
                    yield published

    def _in_order(self, part: ExportPart, source: _Source, most_followed: int) -> Iterator[pa.RecordBatch]:
        """Yield the named rows of a part, sorted and without repeats. most_followed: how many newer snapshots may be tried."""
        rows = self._in_order_of(part, source)
        try:
            first = next(rows, None)
        except LeaseLost:
            raise
        except (StoreUnavailable, Unavailable) as fault:
            if not most_followed or (newer := self._followed(source)) is None:
                if isinstance(fault, StoreUnavailable):
                    source.looks.distrust()
                raise
        else:
            if first is not None:
                yield first
                yield from rows
            return
        for piece in within_days_of(newer.parts, part.first, part.last):
            yield from self._in_order(piece, newer, most_followed - 1)

    def _in_order_of(self, part: ExportPart, source: _Source) -> Iterator[pa.RecordBatch]:
        source.looks.check(part.first, part.last, is_filed=part.is_filed)
        kinds = {"outdated": source.is_outdated, "grouped": self._groups is not None, "uploaded": self._is_raw}
        asked = select_rows(part, source.filters, self._homes.hidden(), **kinds)
        batches = self._renewed(self._engine.stream(source.snapshot, asked), source)
        for rows in self._ordering.in_order(batches, part.share):
            rows = source.filters.keep(rows, renewed=source.is_outdated)
            yield rows if self._groups is None else of_groups(rows, self._groups)

    def _followed(self, source: _Source) -> _Source | None:
        """Find a newer source than one that cannot be read; None if there is none."""
        with self._following:  # several parts may be read at a time
            if self._source.snapshot.version() <= source.snapshot.version():
                if (found := self._newest(source.snapshot)) is None:
                    return None
                snapshot, looks, entered = found
                by = entered if source.filters.entered_by is None else source.filters.entered_by
                self._source = self._planned(snapshot, replace(source.filters, entered_by=by), looks)
            return self._source

    def _read(self, asked: exp.Select) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._engine.stream(self._snapshot, asked)
        except StoreUnavailable:
            self._looks.distrust()
            raise

    def _renewed(self, batches: Iterable[pa.RecordBatch], source: _Source) -> Iterator[pa.RecordBatch]:
        if not source.is_outdated:
            yield from batches
            return
        for batch in batches:
            yield from renewed(pa.Table.from_batches([batch])).to_batches()

    def _published(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows without those of homes that were forgotten since the query began, made private.

        The mark of a forgotten home is removed only after this lease is broken. So if there is no mark and the lease holds,
        there is nothing to hide.
        """
        hidden = self._homes.hidden()
        self._lease.check()
        if hidden:
            home = rows.column("home")
            of_hidden = pc.is_in(home.dictionary, pa.array(sorted(hidden), pa.string()))
            rows = rows.filter(pc.invert(of_hidden.take(home.indices)))
        return self._filters.keep_published(self._redactor(rows))

    def _published_groups(self, settings: ExportSettings) -> Groups:
        least = settings.min_homes, settings.enrolled_after_days
        agreed = self._homes.agreed(settings.enrolled_after_days)
        asked = select_groups(self._filters.span, self._homes.hidden(), agreed, *least)
        found = (row for batch in self._read(asked) for row in batch.to_pylist())
        return frozenset((int(row["own_day"]), row["type"], row["unit_nfkc"]) for row in found)

    def _found_new_days(self, snapshot: DeltaTable, filters: Filters, after: After) -> Numbers:
        """Find the days of the rows that entered the lake after a snapshot. Raises `Gone` if nobody can tell them apart."""
        if after.table is not None and after.table != str(snapshot.metadata().id):
            raise Gone(_MADE_ANEW)
        found = select_new_days(filters, after.number, self._homes.hidden())
        days, least = days_of(self._engine.stream(snapshot, found), "least")
        if (least < 0).any():
            raise Gone(_MADE_AGAIN)
        return days

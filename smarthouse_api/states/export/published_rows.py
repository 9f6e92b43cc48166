"""The rows of an export: read part by part from one snapshot, each state change once, in order, and fit to be published.

1. A part is some of the rows' own days. All repeats of a state change lie in one part.
2. Names are made before rows are put in order: no order tells more than what is published.
3. Rows of a home that was forgotten meanwhile are left out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from sqlglot import exp

from backends.ports import StoreUnavailable
from config.groups import ExportSettings
from smarthouse_api.arrow.begun_rows import BegunRows
from smarthouse_api.arrow.read_ahead import read_ahead
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.errors import Gone
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of
from smarthouse_api.states import query
from smarthouse_api.states.aggregates.clocks import Timeline, select_offsets, timelines_of
from smarthouse_api.states.export.ordering import Ordering
from smarthouse_api.states.export.things import row_of_each, select_things
from smarthouse_api.states.groups import Groups, of_groups, select_groups
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.query import (
    After,
    ExportPart,
    Filters,
    days_of,
    is_outdated,
    of_days,
    parts,
    select_new_days,
    select_rows,
)
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.records.rules import published_words
from smarthouse_api.states.records.sorting import encoded
from smarthouse_api.states.renewal import renewed

_READ_AHEAD_BYTES: Final = 8 << 20
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
    ) -> None:
        self._snapshot, self._filters, self._engine = snapshot, filters, engine
        self._homes, self._lease, self._redactor = homes, lease, redactor
        self._ordering = Ordering(redactor)
        self._looks = looks
        files = files_of(snapshot)
        self._outdated, self._is_raw, self._words = is_outdated(files), settings.privacy == "raw", settings.words
        self.parts: Sequence[ExportPart] = list(parts(files, filters, self._counted))
        """What is read together, in the order of the rows: the same for the same snapshot and filters."""
        if filters.after is not None:
            self.new_days = self._found_new_days(filters.after)
            """The days on which rows lie that entered the lake after a snapshot, counted since 1970."""
            self.parts = of_days(self.parts, self.new_days)
        self._groups = self._published_groups(settings) if settings.privacy == "strict" else None

    def question(self) -> Question | None:
        """Tell what the rows are made of; None if the lake has rows of an earlier version, which no query makes anew."""
        if self._outdated:
            return None
        return Question(self._snapshot, self._filters, self._redactor, self._groups)

    def check(self, part: ExportPart) -> None:
        """Look at the files of a part before another process reads them. Raises `StoreUnavailable` for a damaged one."""
        self._looks.check(part.first, part.last, is_filed=part.is_filed)

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
        wanted = [*query.within(exp.column("time"), *self._filters.span), *query.visible(self._homes.hidden())]
        told = timelines_of(self._read(select_offsets(wanted)))
        return {self._redactor.home(key): line for key, line in told.items()}

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
        """Read the published rows of one part, ahead as for all. Raises `LeaseLost` if the lease was broken."""
        return read_ahead(self._of_part(part), _READ_AHEAD_BYTES, lambda batch: int(batch.nbytes))

    def _of_part(self, part: ExportPart) -> Iterator[pa.RecordBatch]:
        for rows in self._in_order(part):
            published = self._published(rows)
            if published.num_rows:
                yield published

    def _in_order(self, part: ExportPart) -> Iterator[pa.RecordBatch]:
        """Yield the named rows of a part, sorted and without repeats."""
        self.check(part)
        grouped = self._groups is not None
        kinds = {"outdated": self._outdated, "grouped": grouped, "uploaded": self._is_raw}
        asked = select_rows(part, self._filters, self._homes.hidden(), **kinds)
        batches = self._renewed(self._read(asked))
        for rows in self._ordering.in_order(batches, part.share):
            rows = self._filters.keep(rows, renewed=self._outdated)
            yield rows if self._groups is None else of_groups(rows, self._groups)

    def _read(self, asked: exp.Select) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._engine.stream(self._snapshot, asked)
        except StoreUnavailable:
            self._looks.distrust()
            raise

    def _renewed(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if not self._outdated:
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
        asked = select_groups(self._filters.span, self._homes.hidden(), settings.min_homes, settings.enrolled_after_days)
        found = (row for batch in self._read(asked) for row in batch.to_pylist())
        return frozenset((int(row["own_day"]), row["type"], row["unit_nfkc"]) for row in found)

    def _found_new_days(self, after: After) -> Numbers:
        """Find the days of the rows that entered the lake after a snapshot. Raises `Gone` if nobody can tell them apart."""
        if after.table is not None and after.table != str(self._snapshot.metadata().id):
            raise Gone(_MADE_ANEW)
        found = select_new_days(self._filters, after.number, self._homes.hidden())
        days, least = days_of(self._read(found), "least")
        if (least < 0).any():
            raise Gone(_MADE_AGAIN)
        return days

    def _counted(self, asked: exp.Select) -> tuple[Numbers, Numbers]:
        return days_of(self._read(asked))

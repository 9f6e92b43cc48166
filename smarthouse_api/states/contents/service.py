"""What is in the lake: told from counts, which are made beside the lake, so that no question scans it.

1. Whoever asks gets exactly what the newest snapshot holds. While too much is not counted yet, the client gets a 503.
2. Counts are held in memory as far as they fit into a bound, see `shelf`. The others are read again from the object store.
3. An answer that needs no row is made without a reader's lease. Instead, the hidden homes and then the lake must be the same
   after it as before, or it is made again. A home that is forgotten meanwhile is hidden until its rows are gone, which makes a
   new version of the lake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, partial
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from backends.ports import ObjectStore
from config.groups import ExportSettings
from smarthouse_api.coordination.leased_answers import Slots
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.errors import Invalid, NotCounted
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.repairs import Repair, told
from smarthouse_api.states.contents.chunks import Names, chunk_of
from smarthouse_api.states.contents.counting import Counting, CountsChanged, RowsNeeded
from smarthouse_api.states.contents.shelf import HeldChunk, MadeChunk, Shelf
from smarthouse_api.states.contents.summary import Publishing, Selection, Summary
from smarthouse_api.states.export.asking import Asking
from smarthouse_api.states.groups import Groups, select_groups
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.planning import is_outdated
from smarthouse_api.states.query import Filters
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.table import StatesTable

_MOST_ROWS_AT_ONCE: Final = 1_000_000
"""Rows that are counted while somebody waits: a second or two."""

_COLUMNS_SECONDS: Final = 30.0
_TRIES: Final = 3
_MOST_OF_ENTITIES: Final = 1 << 21
_MOST_AT_ONCE: Final = 1 << 18
_TOO_MANY_OF_ENTITIES: Final = (
    "entities: these have rows of too many homes and days to be counted at once; ask for fewer entities, homes or days"
)
_NOT_COUNTED: Final = "The lake is being counted; repeat the request in a minute"

Told = TypeVar("Told")


class Opened:
    """Holds what a snapshot holds, while its reader's lease does.

    rules: name what else decides the answers. stored_bytes: of the lake's files. incomplete: in words, which rows are missing,
    if any are.
    """

    def __init__(
        self,
        snapshot: DeltaTable | None,
        summary: Summary,
        ready: Callable[[Filters], Filters | None],
        of_entities: Callable[[Filters], Summary],
        rules: str,
        hidden: frozenset[str] = frozenset(),
        stored_bytes: int = 0,
        incomplete: str | None = None,
    ) -> None:
        self._snapshot, self._summary, self._hidden = snapshot, summary, hidden
        self._ready, self._of_entities, self._rules = ready, cache(of_entities), rules
        self.stored_bytes, self.incomplete = stored_bytes, incomplete
        self.select: Callable[[Filters], Selection] = cache(self._select)
        """Selects the rows that pass some filters. Raises `Invalid` as an export does."""

    @property
    def version(self) -> int:
        """The version of the lake; -1 if nothing was ever written."""
        return -1 if self._snapshot is None else int(self._snapshot.version())

    @property
    def tag(self) -> str:
        """Name all that its answers depend on, for an `ETag`."""
        lake = "" if self._snapshot is None else f"{self._snapshot.metadata().id}/{self.version}"
        return hashlib.sha256(
            "\0".join([lake, self._rules, self.incomplete or "", *sorted(self._hidden)]).encode()
        ).hexdigest()[:24]

    def is_newest(self, table: StatesTable) -> bool:
        """Tell whether nothing was written to the lake since."""
        return (table.opened_last() or table.open_again(_COLUMNS_SECONDS)) is self._snapshot

    def _select(self, filters: Filters) -> Selection:
        if (asked := self._ready(filters)) is None:
            return self._summary.none()
        summary = self._summary
        if asked.entities:  # one reading answers for all types, units and classes
            summary = self._of_entities(replace(asked, types=(), units=(), device_classes=()))
        return summary.select(asked, self._hidden)


@dataclass(frozen=True)
class _Before:
    """What must be the same after an answer as before it."""

    repairs: list[Repair]
    hidden: frozenset[str]
    enrolled: frozenset[str]


class Contents:
    """Tells what is in the lake, as an export would publish it."""

    def __init__(
        self,
        objects: ObjectStore,
        leases: Leases,
        homes: Homes,
        table: StatesTable,
        rebuilding: Rebuilding,
        engine: Engine,
        asking: Asking,
        settings: ExportSettings,
    ) -> None:
        self._homes, self._table = homes, table
        self._rebuilding, self._engine, self._settings = rebuilding, engine, settings
        self.asking, self.counting = asking, Counting(objects, leases, table, rebuilding, settings)
        self._slots = Slots(settings.at_once, "This worker reads as many rows as it can at once; ask again")
        self._shelf, self._told_settings = Shelf(), str(settings)
        self._newest: tuple[DeltaTable, Publishing, tuple[Summary, int]] | None = None
        self._grouped: tuple[tuple[str, _Before], Groups] | None = None

    def answer(self, tell: Callable[[Opened], Told]) -> tuple[Told, Opened]:
        """Answer a question, and return what it was asked of, too. tell: may be called again. Raises as `open`."""
        for _ in range(_TRIES):
            before = self._before()
            try:
                opened = self._peeked(before)
                found = tell(opened)
            except RowsNeeded:
                break
            except CountsChanged:
                self._newest = None
                continue
            if self._before() == before and opened.is_newest(self._table):  # in this order: see above
                return found, opened
        with self.open() as opened:
            return tell(opened), opened

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """Open what the lake holds now. Raises `Unavailable` while too much is not counted yet, and what an export raises."""
        self._rebuilding.refuse_held(date.min, date.max)
        with self._table.reading() as lease:
            before = self._before()
            snapshot, publishing = self._table.open_again(_COLUMNS_SECONDS), self._publishing
            if snapshot is not None:
                self._table.note(lease, snapshot)
                if publishing.strict:
                    publishing = replace(publishing, groups=self._groups(snapshot, before))
            of_entities = partial(self._of_entities, snapshot, publishing)
            summary = self._summary(snapshot, publishing, may_read=True)
            repairs = [*before.repairs, *self._rebuilding.repairs.touching(date.min, date.max)]
            try:
                yield self._opened(snapshot, summary, of_entities, replace(before, repairs=repairs))
            except CountsChanged:
                self._newest = None
                raise
            lease.check()  # a home that was forgotten meanwhile breaks it before its mark goes

    def count(self, is_over: Callable[[], bool]) -> None:
        """Count leaves that nobody has counted, the newest first, and keep the counts. It takes up little of the time."""
        self.counting.run(is_over)

    def _before(self) -> _Before:
        """Look at what decides, besides the lake's rows, what is told. Raises `Unavailable` if rows are held back."""
        repairs = self._rebuilding.refuse_held(date.min, date.max)
        return _Before(repairs, frozenset(self._homes.hidden()), self.asking.enrolled())

    def _peeked(self, before: _Before) -> Opened:
        """Open what the lake holds now without a lease. Raises `RowsNeeded` if rows must be read first."""
        snapshot, publishing = self._table.opened_last() or self._table.open_again(_COLUMNS_SECONDS), self._publishing
        if publishing.strict and snapshot is not None:
            if self._grouped is None or self._grouped[0] != _name_of(snapshot, before):
                raise RowsNeeded
            publishing = replace(publishing, groups=self._grouped[1])
        summary = self._summary(snapshot, publishing, may_read=False)
        return self._opened(snapshot, summary, _refuse, before)

    def _opened(
        self,
        snapshot: DeltaTable | None,
        summary: tuple[Summary, int],
        of_entities: Callable[[Filters], Summary],
        before: _Before,
    ) -> Opened:
        lacks = [] if snapshot is None else [told(before.repairs), self._rebuilding.lacking(date.min)]
        incomplete, rules = "; ".join(filter(None, lacks)) or None, " ".join([self._rules(), *sorted(before.enrolled)])
        return Opened(snapshot, summary[0], self._ready, of_entities, rules, before.hidden, summary[1], incomplete)

    @property
    def _publishing(self) -> Publishing:
        return Publishing(raw=self._settings.privacy == "raw", strict=self._settings.privacy == "strict")

    def _summary(self, snapshot: DeltaTable | None, publishing: Publishing, *, may_read: bool) -> tuple[Summary, int]:
        """Summarise a snapshot, and return the bytes of its files, too.

        What is not counted yet is counted; unless rows may be read, that raises `RowsNeeded`.
        """
        if snapshot is None:
            return Summary(self._shelf.names, (), publishing), 0
        if (newest := self._newest) is None or newest[0] is not snapshot or newest[1] != publishing:
            with self.counting.lock:
                if (newest := self._newest) is None or newest[0] is not snapshot or newest[1] != publishing:
                    try:
                        found = self._summarised(snapshot, publishing, may_read=may_read)
                    except CountsChanged:  # by now it is known which are missing
                        found = self._summarised(snapshot, publishing, may_read=may_read)
                    self._newest = newest = snapshot, publishing, found
        return newest[2]

    def _summarised(self, snapshot: DeltaTable, publishing: Publishing, *, may_read: bool) -> tuple[Summary, int]:
        if is_outdated(files := files_of(snapshot)):
            raise NotCounted("Rows of an earlier version are being moved; repeat the request in a minute")
        leaves = self.counting.leaves(snapshot, files, may_read=may_read)
        missing = self.counting.missing(leaves)
        if missing and not may_read:
            raise RowsNeeded
        if sum(self.counting.rows_to_count(snapshot, files, leaf, leaves) for leaf in missing) > _MOST_ROWS_AT_ONCE:
            raise NotCounted(_NOT_COUNTED)
        for leaf in missing:
            self.counting.count(snapshot, files, leaf, leaves)
        if self._shelf.is_crowded():
            self._shelf = Shelf()
        summary = Summary(self._shelf.names, self.counting.chunks(leaves, self._shelf), publishing)
        return summary, int(pc.sum(files["size_bytes"]).as_py() or 0)

    def _ready(self, filters: Filters) -> Filters | None:
        return self.asking.ready(filters.kept(self._table.first_kept_day()))

    def _rules(self) -> str:
        """Name the settings that decide what is told of a snapshot."""
        return f"{self._told_settings} {self._table.first_kept_day()}"

    def _of_entities(self, snapshot: DeltaTable | None, publishing: Publishing, filters: Filters) -> Summary:
        """Count the rows of entities, which are in no counts: their rows are read. Raises `Invalid` for too many."""
        names, chunks, held, count = Names(), list[HeldChunk](), list[pa.Table](), 0
        if snapshot is None:
            return Summary(names, (), publishing)
        with self._slots:
            counter = self.counting.counter(snapshot, self.asking.secret())
            for counts in counter.counts_of(files_of(snapshot), filters):
                held.append(counts)
                count += len(counts)
                if count > _MOST_OF_ENTITIES:
                    raise Invalid(_TOO_MANY_OF_ENTITIES)
                if sum(map(len, held)) >= _MOST_AT_ONCE:
                    chunks.append(MadeChunk(chunk_of(held, names)))
                    held.clear()
            chunks.append(MadeChunk(chunk_of(held, names)))
        return Summary(names, chunks, publishing)

    def _groups(self, snapshot: DeltaTable, before: _Before) -> Groups:
        """Find the groups that enough homes have, once for each snapshot and each set of enrolled homes."""
        name = _name_of(snapshot, before)
        if self._grouped is None or self._grouped[0] != name:
            least = self._settings.min_homes, self._settings.enrolled_after_days
            asked = select_groups((date.min, date.max), before.hidden, before.enrolled, *least)
            rows = (row for batch in self._engine.stream(snapshot, asked) for row in batch.to_pylist())
            self._grouped = name, frozenset((int(row["own_day"]), row["type"], row["unit_nfkc"]) for row in rows)
        return self._grouped[1]


def _name_of(snapshot: DeltaTable, before: _Before) -> tuple[str, _Before]:
    return f"{snapshot.metadata().id}/{snapshot.version()}", replace(before, repairs=[])


def _refuse(_: Filters) -> Summary:
    raise RowsNeeded

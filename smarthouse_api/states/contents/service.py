"""What is in the lake: told from counts, which are made beside the lake, so that no question scans it.

1. Counts are made leaf by leaf: in the background after each commit, or by the first who asks.
2. They are kept in memory, and by month in the object store.
3. Whoever asks gets exactly what the newest snapshot holds. While too much is not counted yet, he is asked to come again.
4. A purge removes the counts of all leaves that are no longer in the lake.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from functools import cache, partial
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from backends.ports import ObjectStore
from config.groups import ExportSettings
from smarthouse_api.coordination.leased_answers import Slots
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.repairs import told
from smarthouse_api.states.contents.bundles import Bundles, describe
from smarthouse_api.states.contents.counts import compact, nothing, together
from smarthouse_api.states.contents.leaves import Leaf, LeafCounter, Place, late_leaf, leaves_of
from smarthouse_api.states.contents.summary import Publishing, Selection, Summary
from smarthouse_api.states.export.asking import Asking
from smarthouse_api.states.groups import Groups, select_groups
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.query import Filters, is_outdated
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.records.placement import MERGED
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.table import StatesTable

_FORMAT: Final = 1
_MOST_ROWS_AT_ONCE: Final = 1_000_000
"""Rows that are counted while somebody waits: a second or two."""

_REST: Final = 10
"""How many times as long as it took the chore rests after it counted days to which rows are added: each commit changes what is
counted of its day.
"""

_COLUMNS_SECONDS: Final = 30.0
_LEASE: Final = "contents"
_MOST_COUNTS: Final = 4_000_000
"""Counts that a process holds in memory, at about 60 bytes each: some 1,000 homes for three months."""

_TOO_MANY: Final = "The lake has more homes and days than can be told of at once; ask an engine that reads the lake"
_NOT_COUNTED: Final = "The lake is being counted; repeat the request in a minute"

log = logging.getLogger(__name__)


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

    def select(self, filters: Filters) -> Selection:
        """Select the rows that pass some filters. Raises `Invalid` as an export does."""
        if (asked := self._ready(filters)) is None:
            return self._summary.none()
        summary = self._summary
        if asked.entities and self._snapshot is not None:  # one reading answers for all types, units and classes
            summary = self._of_entities(replace(asked, types=(), units=(), device_classes=()))
        return summary.select(asked, self._hidden)


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
        self._leases, self._homes, self._table = leases, homes, table
        self._rebuilding, self._engine, self._settings = rebuilding, engine, settings
        self.asking = asking
        self._bundles = Bundles(objects, _basis(settings))
        self._slots = Slots(settings.at_once, "This worker reads as many rows as it can at once; ask again")
        self._counting, self._rests_until = threading.Lock(), 0.0
        self._counts = dict[str, pa.Table]()
        self._overlaps = dict[str, frozenset[Place]]()
        self._loaded = dict[str, datetime]()
        self._newest: tuple[DeltaTable, Publishing, tuple[Summary, int]] | None = None
        self._grouped: tuple[tuple[str, frozenset[str]], Groups] | None = None

    @contextmanager
    def open(self) -> Iterator[Opened]:
        """Open what the lake holds now. Raises `Unavailable` while too much is not counted yet, and what an export raises."""
        self._rebuilding.refuse_held(date.min, date.max)
        with self._table.reading() as lease:
            repairs = self._rebuilding.repairs.touching(date.min, date.max)
            snapshot, hidden = self._table.open_again(_COLUMNS_SECONDS), frozenset(self._homes.hidden())
            publishing = Publishing(raw=self._settings.privacy == "raw", strict=self._settings.privacy == "strict")
            if snapshot is None:
                summary = Summary(compact(nothing()), publishing)
                yield Opened(None, summary, self._ready, lambda _: summary, self._rules(), hidden)
                return
            self._table.note(lease, snapshot)
            if publishing.strict:
                publishing = replace(publishing, groups=self._groups(snapshot, hidden))
            of_entities = partial(self._of_entities, snapshot, publishing)
            summary, stored = self._summary(snapshot, publishing)
            incomplete = told([*repairs, *self._rebuilding.repairs.touching(date.min, date.max)])
            incomplete = "; ".join(filter(None, (incomplete, self._rebuilding.lacking(date.min)))) or None
            yield Opened(snapshot, summary, self._ready, of_entities, self._rules(), hidden, stored, incomplete)
            lease.check()  # a home that was forgotten meanwhile breaks it before its mark goes

    def count(self, is_over: Callable[[], bool]) -> None:
        """Count leaves that nobody has counted, the newest first, and keep the counts. It takes up little of the time."""
        if time.monotonic() < self._rests_until or (turn := self._leases.try_hold(_LEASE)) is None:
            return
        with turn, self._table.reading() as lease, self._counting:
            took = self._count_all(lease, is_over)
        self._rests_until = time.monotonic() + _REST * took

    def _count_all(self, lease: Lease, is_over: Callable[[], bool]) -> float:
        """Count what is missing; how many seconds it took to count what will soon be outdated."""
        snapshot = self._table.open()
        if snapshot is None or is_outdated(files := files_of(snapshot)):
            return 0.0
        self._table.note(lease, snapshot)
        leaves = self._completed(snapshot, leaves_of(files))
        self._load(leaves)
        changed, took = set[str](), 0.0
        for leaf in sorted(self._missing(leaves), key=lambda leaf: leaf.place, reverse=True):
            began_at = time.monotonic()
            self._count(snapshot, files, leaf, leaves)
            changed.add(leaf.month)
            if leaf.is_late or min(leaf.buckets) < MERGED:
                took += time.monotonic() - began_at
            if is_over():
                break
        lease.check()
        self._bundles.remove(self._bundles.written().keys() - {leaf.month for leaf in leaves.values()})
        if changed:
            self._keep(leaves, changed)
        return took

    def prune(self, wait_seconds: float) -> None:
        """Remove all counts of files that are no longer in the lake. Raises `TimeoutError` if another counts for too long."""
        with self._leases.hold(_LEASE, wait_seconds):
            snapshot = self._table.open()
            own = set() if snapshot is None else {leaf.own for leaf in leaves_of(files_of(snapshot)).values()}
            for month in self._bundles.written():
                bundle = self._bundles.load(month)
                left = [one for one in bundle.values() if one[0].own in own]
                if len(left) < len(bundle) or not bundle:
                    self._bundles.save(month, left)

    def _summary(self, snapshot: DeltaTable, publishing: Publishing) -> tuple[Summary, int]:
        """Summarise a snapshot; what is not counted yet is counted. Return the bytes of its files, too."""
        with self._counting:
            if self._newest is None or self._newest[0] is not snapshot or self._newest[1] != publishing:
                if is_outdated(files := files_of(snapshot)):
                    raise Unavailable("Rows of an earlier version are being moved; repeat the request in a minute")
                leaves = self._completed(snapshot, leaves_of(files))
                self._load(leaves)
                missing = self._missing(leaves)
                if sum(leaf.rows for leaf in missing) > _MOST_ROWS_AT_ONCE:
                    raise Unavailable(_NOT_COUNTED)
                for leaf in missing:
                    self._count(snapshot, files, leaf, leaves)
                counts = [self._counts[leaf.digest] for leaf in leaves.values()]
                if sum(map(len, counts)) > _MOST_COUNTS:
                    raise Unavailable(_TOO_MANY)
                stored = int(pc.sum(files["size_bytes"]).as_py() or 0)
                self._newest = snapshot, publishing, (Summary(together(counts), publishing), stored)
            return self._newest[2]

    def _ready(self, filters: Filters) -> Filters | None:
        return self.asking.ready(filters.kept(self._table.first_kept_day()))

    def _rules(self) -> str:
        """Name the settings that decide what is told of a snapshot."""
        return f"{self._settings} {self._table.first_kept_day()}"

    def _of_entities(self, snapshot: DeltaTable, publishing: Publishing, filters: Filters) -> Summary:
        """Count the rows of entities, which are in no counts: their rows are read."""
        with self._slots:
            return Summary(
                compact(self._counter(snapshot, self.asking.secret()).counts_of(files_of(snapshot), filters)), publishing
            )

    def _groups(self, snapshot: DeltaTable, hidden: frozenset[str]) -> Groups:
        """Find the groups that enough homes have, once for each snapshot."""
        name = f"{snapshot.metadata().id}/{snapshot.version()}", hidden
        if self._grouped is None or self._grouped[0] != name:
            asked = select_groups((date.min, date.max), hidden, self._settings.min_homes, self._settings.enrolled_after_days)
            rows = (row for batch in self._engine.stream(snapshot, asked) for row in batch.to_pylist())
            self._grouped = name, frozenset((int(row["own_day"]), row["type"], row["unit_nfkc"]) for row in rows)
        return self._grouped[1]

    def _completed(self, snapshot: DeltaTable, leaves: dict[Place, Leaf]) -> dict[Place, Leaf]:
        """Find out what the late leaves overlap."""
        late = [leaf for leaf in leaves.values() if leaf.is_late]
        if any(leaf.digest not in self._overlaps for leaf in late):
            self._load(leaves)
        completed = dict(leaves)
        for leaf in late:
            if leaf.digest not in self._overlaps:
                self._overlaps[leaf.digest] = self._counter(snapshot).overlaps(leaf)
            completed[leaf.place] = late_leaf(leaf, self._overlaps[leaf.digest], leaves)
        return completed

    def _missing(self, leaves: Mapping[Place, Leaf]) -> list[Leaf]:
        return [leaf for leaf in leaves.values() if leaf.digest not in self._counts]

    def _load(self, leaves: Mapping[Place, Leaf]) -> None:
        """Load the bundles of months that lack counts, if they were written since they were last loaded."""
        months = {leaf.month for leaf in self._missing(leaves)}
        written = self._bundles.written() if months else {}
        for month in months & written.keys():
            if self._loaded.get(month) != written[month]:
                self._loaded[month] = written[month]
                for digest, (leaf, counts) in self._bundles.load(month).items():
                    self._counts[digest] = compact(counts)
                    if leaf.overlaps:
                        self._overlaps[leaf.own] = frozenset(leaf.overlaps)

    def _count(self, snapshot: DeltaTable, files: pa.Table, leaf: Leaf, leaves: Mapping[Place, Leaf]) -> None:
        wanted = files.filter(pc.is_in(files["path"], pa.array(leaf.paths, pa.string())))
        if faults := DataFiles(self._table.ledger, wanted).all_faults():
            self._rebuilding.set_aside(self._table, faults)
            raise Unavailable("A file of the lake is damaged and was set aside; repeat the request")
        self._counts[leaf.digest] = compact(self._counter(snapshot).counts(leaf, leaves))

    def _counter(self, snapshot: DeltaTable, secret: bytes = b"") -> LeafCounter:
        """secret: of the names; they only order the rows, unless rows are chosen by names."""
        level, words = self._settings.privacy, frozenset(self._settings.words)
        redactor = Redactor(secret, strict=level == "strict", raw=level == "raw", words=words)
        return LeafCounter(snapshot, redactor, raw=level == "raw")

    def _keep(self, leaves: Mapping[Place, Leaf], months: Iterable[str]) -> None:
        """Keep the counts of these months, and forget those of leaves that are no longer there."""
        there = {leaf.digest: leaf for leaf in leaves.values()}
        self._counts = {digest: counts for digest, counts in self._counts.items() if digest in there}
        for month in months:
            of_month = [(there[digest], counts) for digest, counts in self._counts.items() if there[digest].month == month]
            self._bundles.save(month, [(describe(leaf, counts), counts) for leaf, counts in of_month])


def _basis(settings: ExportSettings) -> str:
    """Name what decides, besides the rows, which of them are counted."""
    told = _FORMAT, settings.privacy == "raw", sorted(settings.words)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:32]

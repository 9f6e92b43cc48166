"""Counting: which leaves of a snapshot are counted, and where their counts are.

1. Counts are made leaf by leaf: in the background after each commit, or by the first who asks. See also `increments`.
2. They are kept by month in the object store. A process holds those that it made itself until they are kept.
3. A purge removes the counts of all leaves that are no longer in the lake.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from backends.ports import ObjectStore
from config.groups import ExportSettings
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.files import files_of
from smarthouse_api.states.contents.bundles import Bundle, Bundles, CountedLeaf, describe
from smarthouse_api.states.contents.chunks import Chunk, Names, chunk_of
from smarthouse_api.states.contents.counts import compact
from smarthouse_api.states.contents.increments import Increment, increment_of, untouched
from smarthouse_api.states.contents.leaves import Leaf, LeafCounter, Place, late_digest, late_leaf, leaves_at, leaves_of
from smarthouse_api.states.contents.shelf import HeldChunk, Shelf
from smarthouse_api.states.planning import is_outdated
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.records.placement import MERGED
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.table import StatesTable

_FORMAT: Final = 1
_REST: Final = 10
"""How many times as long as it took the chore rests after it counted days to which rows are added: each commit changes what is
counted of its day.
"""

_MOST_OF_CHUNK: Final = 1 << 20
"""Counts of a chunk: those of 1,000 homes for a month are fewer. To make one takes some 60 bytes for each."""

_LEASE: Final = "contents"

Leaves = Mapping[Place, Leaf]


class CountsChanged(Unavailable):
    """Says that counts of a snapshot are kept no more: there is a newer snapshot, or they were damaged."""


class RowsNeeded(Exception):
    """Says that rows must be read, which needs a reader's lease."""


class _Slice(NamedTuple):
    """Some counts of a leaf."""

    leaf: Leaf
    first: int
    number: int


class Counting:
    """Counts leaves, keeps the counts, and finds them again. One thread at a time may call it, but for chunks."""

    def __init__(
        self, objects: ObjectStore, leases: Leases, table: StatesTable, rebuilding: Rebuilding, settings: ExportSettings
    ) -> None:
        self._leases, self._table, self._rebuilding, self._settings = leases, table, rebuilding, settings
        self.bundles = Bundles(objects, _basis(settings))
        self.lock, self._rests_until = threading.Lock(), 0.0
        self._fresh = dict[str, pa.Table]()
        self._kept = dict[str, dict[str, int]]()
        self._overlaps = dict[str, frozenset[Place]]()
        self._bases = dict[str, CountedLeaf]()
        self._increments = dict[str, Increment | None]()
        self._origins = dict[str, str]()
        self._loaded = dict[str, datetime]()

    def run(self, is_over: Callable[[], bool]) -> None:
        """Count leaves that nobody has counted, the newest first, and keep the counts. It takes up little of the time."""
        if time.monotonic() < self._rests_until or (turn := self._leases.try_hold(_LEASE)) is None:
            return
        with turn, self._table.reading() as lease, self.lock:
            took = self._count_all(lease, is_over)
        self._rests_until = time.monotonic() + _REST * took

    def _count_all(self, lease: Lease, is_over: Callable[[], bool]) -> float:
        """Count what is missing, month by month; how many seconds it took to count what will soon be outdated."""
        snapshot = self._table.open()
        if snapshot is None or is_outdated(files := files_of(snapshot)):
            return 0.0
        self._table.note(lease, snapshot)
        leaves = self.leaves(snapshot, files)
        missing = sorted(self.missing(leaves), key=lambda leaf: leaf.place, reverse=True)
        lease.check()
        self.bundles.remove(self.bundles.written().keys() - {leaf.month for leaf in leaves.values()})
        took = 0.0
        for month, some in groupby(missing, lambda leaf: leaf.month):
            is_changing = False
            for leaf in some:
                began_at = time.monotonic()
                self.count(snapshot, files, leaf, leaves)
                if leaf.is_late or min(leaf.buckets) < MERGED:
                    took, is_changing = took + time.monotonic() - began_at, True
                if is_over():
                    break
            began_at = time.monotonic()
            lease.check()
            self._keep(leaves, month)
            took += (time.monotonic() - began_at) * is_changing
            if is_over():
                break
        return took

    def note_deleted(self, before: pa.Table, after: pa.Table) -> None:
        """Note which leaves took the place of others when rows of homes were deleted, and nothing else was changed.

        before, after: `files_of` the two snapshots.
        """
        replaced = leaves_of(before)
        for place, leaf in leaves_of(after).items():
            if (old := replaced.get(place)) is not None and old.own != leaf.own and old.shares == leaf.shares:
                self._origins[leaf.own] = self._origins.get(old.own, old.own)

    def prune(self, wait_seconds: float, forgotten: Collection[str] = ()) -> None:
        """Remove all counts of files that are no longer in the lake. Raises `TimeoutError` if another counts for too long.

        forgotten: homes whose rows were deleted. What is counted of others in the same leaves still holds, and stays.
        """
        with self._leases.hold(_LEASE, wait_seconds):
            snapshot, months = self._table.open(), dict[str, list[Leaf]]()
            leaves = {} if snapshot is None else leaves_of(files_of(snapshot))
            for leaf in leaves.values():
                months.setdefault(leaf.month, []).append(leaf)
            for month in self.bundles.written():
                bundle = self.bundles.load(month)
                left = dict(self._left(bundle, months.get(month, ()), leaves))
                if {new.digest: old for old, new in left.items()} != {digest: digest for digest in bundle.leaves} or not left:
                    pieces = ((new, (_of_others(some, forgotten) for some in bundle.counts(old))) for old, new in left.items())
                    self.bundles.save(month, pieces)
            self._origins.clear()

    def _left(self, bundle: Bundle, of_month: Iterable[Leaf], leaves: Leaves) -> Iterator[tuple[str, CountedLeaf]]:
        """Yield the leaves of a bundle whose counts still hold, by their digests, each as it is now."""
        stored = {leaf.own: leaf for leaf in bundle.leaves.values()}
        for leaf in of_month:
            origin = self._origins.get(leaf.own, leaf.own)
            if (old := stored.get(origin)) is None:
                continue
            overlaps = frozenset(old.overlaps)
            others = [self._origins.get(other.own, other.own) for other in leaves_at(overlaps, leaves)]
            if not leaf.is_late:
                yield old.digest, describe(leaf)
            elif late_digest(origin, others) == old.digest:
                yield old.digest, describe(late_leaf(leaf, overlaps, leaves))
            elif origin == leaf.own:
                yield old.digest, old  # other rows came to what it overlaps, so that it is counted again

    def leaves(self, snapshot: DeltaTable, files: pa.Table, *, may_read: bool = True) -> dict[Place, Leaf]:
        """Find the leaves of a snapshot, and learn which are counted. files: `files_of` it.

        may_read: else `RowsNeeded` is raised if what late ones overlap is not known.
        """
        leaves = leaves_of(files)
        late = [leaf for leaf in leaves.values() if leaf.is_late]
        if any(leaf.own not in self._overlaps for leaf in late):
            self._look(leaves)
        for leaf in late:
            if leaf.own not in self._overlaps:
                if not may_read:
                    raise RowsNeeded
                came = self._increment(snapshot, files, leaf)
                self._overlaps[leaf.own] = (
                    self.counter(snapshot).overlaps(leaf)
                    if came is None
                    else frozenset(came.base.overlaps) | came.touched.overlaps
                )
            leaves[leaf.place] = late_leaf(leaf, self._overlaps[leaf.own], leaves)
        self._look(leaves)
        return leaves

    def missing(self, leaves: Leaves) -> list[Leaf]:
        """List the leaves that nobody has counted."""
        return [leaf for leaf in leaves.values() if self._number_of(leaf) is None]

    def count(self, snapshot: DeltaTable, files: pa.Table, leaf: Leaf, leaves: Leaves) -> None:
        """Count the rows of a leaf. leaves: all of the snapshot. Raises `Unavailable` if a file is damaged."""
        wanted = files.filter(pc.is_in(files["path"], pa.array(leaf.paths, pa.string())))
        if faults := DataFiles(self._table.ledger, wanted).all_faults():
            self._rebuilding.set_aside(self._table, faults)
            raise Unavailable("A file of the lake is damaged and was set aside; repeat the request")
        counter, fresh = self.counter(snapshot), self._fresh
        if (came := self._increment(snapshot, files, leaf, leaves)) is not None and (
            base := self._counts_of(came.base, leaf.month)
        ):
            fresh[leaf.digest] = compact(
                pa.concat_tables([*untouched(base, came.touched), counter.counts(leaf, leaves, came.touched)])
            )
        else:
            fresh[leaf.digest] = compact(counter.counts(leaf, leaves))
        if leaf.is_late:
            self._bases[leaf.digest] = describe(leaf)

    def rows_to_count(self, snapshot: DeltaTable, files: pa.Table, leaf: Leaf, leaves: Leaves) -> int:
        """Tell how many rows are read if a leaf is counted now, at most: fewer than it has if only a few came to it."""
        came = self._increment(snapshot, files, leaf, leaves)
        return leaf.rows if came is None else came.touched.rows

    def _increment(self, snapshot: DeltaTable, files: pa.Table, leaf: Leaf, leaves: Leaves | None = None) -> Increment | None:
        """Find what came to a late leaf since it was counted. leaves: tell whether it overlaps the same as then."""
        if not leaf.is_late:
            return None
        if leaf.own not in self._increments:
            held = self._fresh.keys() | set[str]().union(*self._kept.values())
            bases = [base for digest, base in self._bases.items() if digest in held]
            self._increments[leaf.own] = increment_of(leaf, files, bases, self.counter(snapshot))
        if (came := self._increments[leaf.own]) is None or leaves is None:
            return came
        others = (other.own for other in leaves_at(came.base.overlaps, leaves))
        return came if late_digest(came.base.own, others) == came.base.digest else None

    def _counts_of(self, base: CountedLeaf, month: str) -> list[pa.Table]:
        """Find the counts of a leaf as it was; none if they are kept no more."""
        if (fresh := self._fresh.get(base.digest)) is not None:
            return [fresh]
        bundle = self.bundles.load(month)
        return list(bundle.counts(base.digest)) if base.digest in bundle.leaves else []

    def counter(self, snapshot: DeltaTable, secret: bytes = b"") -> LeafCounter:
        """secret: of the names; they only order the rows, unless rows are chosen by names."""
        level, words = self._settings.privacy, frozenset(self._settings.words)
        redactor = Redactor(secret, strict=level == "strict", raw=level == "raw", words=words)
        return LeafCounter(snapshot, redactor, raw=level == "raw")

    def chunks(self, leaves: Leaves, shelf: Shelf) -> list[HeldChunk]:
        """Put the counts of a snapshot together to chunks, which are made once they are needed. All leaves are counted.

        What nobody needs any more goes, from the shelf too.
        """
        there, own, months = ({getattr(leaf, name) for leaf in leaves.values()} for name in ("digest", "own", "month"))
        self._fresh = {digest: counts for digest, counts in self._fresh.items() if digest in there}
        self._overlaps = {digest: places for digest, places in self._overlaps.items() if digest in own}
        self._increments = {name: came for name, came in self._increments.items() if name in own}
        self._kept = {month: kept for month, kept in self._kept.items() if month in months}
        kept = there.union(*self._kept.values())
        self._bases = {digest: base for digest, base in self._bases.items() if digest in kept}
        slices = [list(some) for some in _packed(leaves.values(), lambda leaf: self._number_of(leaf) or 0)]
        chunks = [HeldChunk(shelf, _name(some), partial(self._chunk, some, shelf.names)) for some in slices]
        shelf.keep({chunk.name for chunk in chunks})
        return chunks

    def _chunk(self, slices: Iterable[_Slice], names: Names) -> Chunk:
        return chunk_of(self._counts(slices), names)

    def _counts(self, slices: Iterable[_Slice]) -> Iterator[pa.Table]:
        bundle, loaded = Bundle(), ""
        for leaf, first, number in slices:
            if (fresh := self._fresh.get(leaf.digest)) is not None:
                yield fresh.slice(first, number)
                continue
            if loaded != leaf.month:
                bundle, loaded = self.bundles.load(leaf.month), leaf.month
            if (kept := bundle.leaves.get(leaf.digest)) is None or kept.counts < first + number:
                self._kept.pop(leaf.month, None)
                self._loaded.pop(leaf.month, None)
                raise CountsChanged("What is in the lake is being counted anew; repeat the request in a minute")
            yield from bundle.counts(leaf.digest, first, number)

    def _number_of(self, leaf: Leaf) -> int | None:
        """Return how many counts a leaf has; None if it is not counted."""
        fresh = self._fresh.get(leaf.digest)
        return self._kept.get(leaf.month, {}).get(leaf.digest) if fresh is None else len(fresh)

    def _look(self, leaves: Leaves) -> None:
        """Learn what is kept of months that lack counts, or have some that are not kept, if written since the last look."""
        months = {leaf.month for leaf in self.missing(leaves)}
        months |= {leaf.month for leaf in leaves.values() if leaf.digest in self._fresh}
        written = self.bundles.written() if months else {}
        for month in months & written.keys():
            if self._loaded.get(month) != written[month]:
                self._loaded[month] = written[month]
                self._learn(month, self.bundles.load(month).leaves.values())

    def _learn(self, month: str, leaves: Collection[CountedLeaf]) -> None:
        self._kept[month] = {leaf.digest: leaf.counts for leaf in leaves}
        self._overlaps |= {leaf.own: frozenset(leaf.overlaps) for leaf in leaves if leaf.overlaps}
        self._bases |= {leaf.digest: leaf for leaf in leaves if leaf.files}
        for leaf in leaves:
            self._fresh.pop(leaf.digest, None)

    def _keep(self, leaves: Leaves, month: str) -> None:
        """Keep the counts of a month, without those of leaves that are no longer there."""
        bundle, fresh = self.bundles.load(month), self._fresh
        found = list[tuple[CountedLeaf, Iterable[pa.Table]]]()
        for leaf in (one for one in leaves.values() if one.month == month):
            if leaf.digest in fresh:
                found.append((describe(leaf), [fresh[leaf.digest]]))
            elif leaf.digest in bundle.leaves:
                found.append((describe(leaf), bundle.counts(leaf.digest)))
        self._learn(month, self.bundles.save(month, found))


def _of_others(counts: pa.Table, homes: Collection[str]) -> pa.Table:
    """Leave out the counts of some homes."""
    of_homes = pc.is_in(counts["home"].cast(pa.string()), pa.array(sorted(homes), pa.string()))
    return counts.filter(pc.invert(of_homes))


def _packed(leaves: Iterable[Leaf], count: Callable[[Leaf], int]) -> Iterator[list[_Slice]]:
    """Put leaves together whose counts make a chunk: days of a month that are over.

    A day that is not over soon changes: it is alone, as late rows are. count: tells how many counts a leaf has.
    """
    over = dict[str, list[Leaf]]()
    for _, of_day in groupby(sorted(leaves, key=lambda leaf: leaf.place), lambda leaf: (leaf.place[0], leaf.is_late)):
        together = list(of_day)
        if any(leaf.is_late or min(leaf.buckets) < MERGED for leaf in together):
            yield from _sized(together, count)
        else:
            over.setdefault(together[0].month, []).extend(together)
    for some in over.values():
        yield from _sized(some, count)


def _sized(leaves: Iterable[Leaf], count: Callable[[Leaf], int]) -> Iterator[list[_Slice]]:
    """Divide the counts of leaves into as many as a chunk has at most."""
    slices, room = list[_Slice](), _MOST_OF_CHUNK
    for leaf in leaves:
        first, left = 0, count(leaf)
        while left:
            taken = min(left, room)
            slices.append(_Slice(leaf, first, taken))
            first, left, room = first + taken, left - taken, room - taken
            if not room:
                yield slices
                slices, room = [], _MOST_OF_CHUNK
    if slices:
        yield slices


def _name(slices: Iterable[_Slice]) -> str:
    told = "\0".join(f"{one.leaf.digest} {one.first} {one.number}" for one in slices)
    return hashlib.sha256(told.encode()).hexdigest()


def _basis(settings: ExportSettings) -> str:
    """Name what decides, besides the rows, which of them are counted."""
    told = _FORMAT, settings.privacy == "raw", sorted(settings.words)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:32]

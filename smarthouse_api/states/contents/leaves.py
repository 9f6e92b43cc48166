"""Leaves: the files of a snapshot whose rows are counted together, and the counting.

1. The repeats of a state change lie on its own day among rows of its home's share, among late rows of its month, or among those
   whose time could not be right. Each of these is a leaf. A day has as many shares as all of its files tell apart, at most 8.
2. The counts of late rows are what these add to the usual partitions of the same days, and those of the last kind what they add
   to both. So all counts together are exact.
3. A leaf is named by its files. These never change, so that counts hold for as long as their leaf is in the lake.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Final, NamedTuple

import pyarrow as pa
from deltalake import DeltaTable
from sqlglot import exp

from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.planning import day_number, shares_of
from smarthouse_api.states import planning, selects
from smarthouse_api.states.contents.counts import added, counted, without
from smarthouse_api.states.export.ordering import Ordering
from smarthouse_api.states.query import ExportPart, Filters, within
from smarthouse_api.states.records.entered import ENTERED
from smarthouse_api.states.records.placement import BUCKETS, FAR, LATE, OWN_DAY, bucket_of, share_in, shares_in
from smarthouse_api.states.records.privacy import Redactor
from smarthouse_api.states.selects import select_rows

_EPOCH: Final = date(1970, 1, 1)
_MOST_LATE_ROWS: Final = 200_000
_DIVISIONS: Final = tuple(1 << power for power in range(BUCKETS.bit_length()))

Place = tuple[date, int]
"""A day and a bucket of the table. A leaf of a usual day goes by the first bucket that its homes have as they come."""


@dataclass(frozen=True)
class Leaf:
    """Names files that are counted together.

    buckets: in which they are. shares: how many its day has; 0 unless it is a usual one. own: names its files. digest: names
    all files that its counts depend on. rows: of its files, repeats included. share: how many that is; 1 is as much as is
    sorted at once. overlaps: other places that have rows of the same homes and days, unless it is a usual one.
    """

    place: Place
    buckets: tuple[int, ...]
    shares: int
    own: str
    digest: str
    paths: tuple[str, ...]
    rows: int
    share: float
    overlaps: frozenset[Place] = field(default_factory=frozenset)

    @property
    def is_late(self) -> bool:
        return self.place[1] >= LATE

    @property
    def month(self) -> str:
        """The month in which its counts are kept, such as `2026-03`."""
        return self.place[0].isoformat()[:7]


class _File(NamedTuple):
    path: str
    bucket: int
    rows: int
    share: float


def leaves_of(files: pa.Table) -> dict[Place, Leaf]:
    """Find the leaves of a snapshot. The late ones do not know yet what they overlap. files: `files_of` it."""
    names = "partition.day", "path", "partition.bucket", "num_records"
    shares = shares_of(files, planning.MAX_SORTED_ROWS, planning.MAX_SORTED_BYTES).tolist()
    days = dict[date, list[_File]]()
    for day, *file in zip(*(files[name].to_pylist() for name in names), shares, strict=True):
        days.setdefault(day, []).append(_File(*file))
    found = (leaf for day, some in days.items() for leaf in _of_day(day, some))
    return {leaf.place: leaf for leaf in found}


def _of_day(day: date, files: list[_File]) -> Iterator[Leaf]:
    shares = min([BUCKETS, *(shares_in(file.bucket) for file in files if OWN_DAY <= file.bucket < LATE)])
    places = dict[int, list[_File]]()
    for file in sorted(files):
        is_usual = OWN_DAY <= file.bucket < LATE
        places.setdefault(OWN_DAY + share_in(file.bucket) % shares if is_usual else file.bucket, []).append(file)
    for bucket, some in places.items():
        paths, buckets = tuple(file.path for file in some), tuple(sorted({file.bucket for file in some}))
        own, rows, share = _digest(paths), sum(file.rows for file in some), sum(file.share for file in some)
        yield Leaf((day, bucket), buckets, shares if OWN_DAY <= bucket < LATE else 0, own, own, paths, rows, share)


def late_leaf(leaf: Leaf, overlaps: Iterable[Place], leaves: Mapping[Place, Leaf]) -> Leaf:
    """Complete a late leaf: its counts hold as long as the partitions that it overlaps are the same, too."""
    there = frozenset(overlaps)
    digest = late_digest(leaf.own, (other.own for other in leaves_at(there, leaves)))
    return replace(leaf, digest=digest, overlaps=there)


def late_digest(own: str, others: Iterable[str]) -> str:
    """Name all files on which the counts of a late leaf depend. others: name the files of each leaf that it overlaps."""
    return _digest([own, *sorted(others)])


def leaves_at(places: Iterable[Place], leaves: Mapping[Place, Leaf]) -> list[Leaf]:
    """Find the leaves that hold the rows of some places."""
    found = {leaf.place: leaf for place in places if (leaf := _leaf_at(place, leaves)) is not None}
    return list(found.values())


def _leaf_at(place: Place, leaves: Mapping[Place, Leaf]) -> Leaf | None:
    day, bucket = place
    if bucket >= LATE:
        return leaves.get(place)
    for shares in _DIVISIONS:
        leaf = leaves.get((day, OWN_DAY + (bucket - OWN_DAY) % shares))
        if leaf is not None and leaf.shares == shares:
            return leaf
    return None


class LateRows(NamedTuple):
    """Tells how many rows of a late leaf, repeats included, have an own day and a home."""

    day: date
    home: str
    rows: int


class Touched(NamedTuple):
    """Names homes and days, both inclusive, to which rows came.

    overlaps: the other places in which repeats of these rows can lie. late: all rows of the leaf that are of these homes and
    days, in order of the days.
    """

    homes: frozenset[str]
    first: date
    last: date
    overlaps: frozenset[Place]
    late: Sequence[LateRows] = ()

    @property
    def rows(self) -> int:
        """How many rows are of these homes and days, repeats included."""
        return sum(one.rows for one in self.late)

    @property
    def condition(self) -> exp.Condition:
        """Choose rows of the homes, on any day."""
        return exp.column("home").isin(*sorted(self.homes))


class LeafCounter:
    """Counts the rows of leaves of one snapshot, as exports have them. Its memory is bounded."""

    def __init__(self, snapshot: DeltaTable, redactor: Redactor, *, raw: bool) -> None:
        self._snapshot, self._raw = snapshot, raw
        self._ordering, self._engine = Ordering(redactor), EmbeddedEngine()

    def overlaps(self, leaf: Leaf) -> frozenset[Place]:
        """Find the other partitions in which repeats of a late leaf's rows can lie."""
        return _places_of(leaf, self._late(leaf))

    def touched(self, leaf: Leaf, entered: tuple[int, int]) -> Touched | None:
        """Find the homes and days of those rows of a late leaf that entered the lake at some time; None if there are none.

        entered: the least and the greatest number, see `records.entered`.
        """
        number = exp.column(ENTERED)
        if not (new := self._late(leaf, number >= entered[0], number <= entered[1])):
            return None
        found = Touched(frozenset(one.home for one in new), new[0].day, new[-1].day, _places_of(leaf, new))
        return found._replace(late=self._late(leaf, found.condition, *within(exp.column("time"), found.first, found.last)))

    def counts(self, leaf: Leaf, leaves: Mapping[Place, Leaf], touched: Touched | None = None) -> pa.Table:
        """Count the rows of a leaf. leaves: all of the snapshot. touched: count only these rows of a late leaf."""
        if leaf.is_late:
            return added(self._count_late(leaf, leaves, touched))
        return self._counted(ExportPart(leaf.place[0], leaf.place[0], is_filed=True), leaf.share, _in(leaf))

    def counts_of(self, files: pa.Table, filters: Filters) -> Iterator[pa.Table]:
        """Count the rows that pass some filters, some at a time; those on entities are heeded, the others may count more rows.

        files: of the snapshot, without outdated ones.
        """
        parts = planning.parts(files, filters, lambda asked: selects.days_of(self._engine.stream(self._snapshot, asked)))
        return (self._of_entities(part, filters) for part in parts)

    def _of_entities(self, part: ExportPart, filters: Filters) -> pa.Table:
        batches = self._engine.stream(self._snapshot, select_rows(part, filters, (), outdated=False, uploaded=self._raw))
        named = self._ordering.in_order(batches, part.share)
        return added(counted(rows) for rows in map(filters.keep_named, named) if rows.num_rows)

    def _count_late(self, leaf: Leaf, leaves: Mapping[Place, Leaf], touched: Touched | None) -> Iterator[pa.Table]:
        """Count what rows of a late leaf add, some days at a time."""
        late, wanted = (self._late(leaf), ()) if touched is None else (touched.late, (touched.condition,))
        for some in _in_turns(late):
            part, share = ExportPart(some[0].day, some[-1].day), leaf.share * sum(one.rows for one in some) / leaf.rows
            if not (others := leaves_at(_places_of(leaf, some), leaves)):
                yield self._counted(part, share, exp.and_(_in(leaf), *wanted))
                continue
            of_homes = exp.column("home").isin(*sorted({one.home for one in some}))
            share_of_others = sum(other.share for other in others)
            in_others = exp.or_(*map(_in, others))
            yield without(
                self._counted(part, share + share_of_others, exp.and_(of_homes, exp.or_(_in(leaf), in_others))),
                self._counted(part, share_of_others, exp.and_(of_homes, in_others)),
            )

    def _counted(self, part: ExportPart, share: float, wanted: exp.Condition) -> pa.Table:
        selected = select_rows(part, Filters(), (), outdated=False, uploaded=self._raw).where(wanted)
        batches = self._engine.stream(self._snapshot, selected)
        return added(map(counted, self._ordering.in_order(batches, share)))

    def _late(self, leaf: Leaf, *wanted: exp.Condition) -> list[LateRows]:
        """Count the rows of a late leaf by own day and home: in order of the days. wanted: only those."""
        number, home = day_number(exp.column("time")), exp.column("home")
        counting = exp.select(number.as_("own_day"), home, exp.Count(this=exp.Star()).as_("found")).from_("states")
        selected = counting.where(_in(leaf), *wanted).group_by(number, home)
        found = (row for batch in self._engine.stream(self._snapshot, selected) for row in batch.to_pylist())
        return sorted(LateRows(_EPOCH + timedelta(days=int(row["own_day"])), row["home"], int(row["found"])) for row in found)


def _in_turns(late: Iterable[LateRows]) -> Iterator[list[LateRows]]:
    """Put whole days together, as many as are counted at once."""
    turn, rows = list[LateRows](), 0
    for one in late:
        if turn and rows >= _MOST_LATE_ROWS and one.day != turn[-1].day:
            yield turn
            turn, rows = [], 0
        turn.append(one)
        rows += one.rows
    if turn:
        yield turn


def _places_of(leaf: Leaf, late: Iterable[LateRows]) -> frozenset[Place]:
    """Name the other partitions that can have a repeat of some rows of a late leaf."""
    return frozenset(place for one in late for place in _others(leaf, one.day, one.home))


def _others(leaf: Leaf, day: date, home: str) -> Iterator[Place]:
    """Name the other partitions that can have a repeat of a late leaf's row."""
    yield day, OWN_DAY + bucket_of(home)
    if leaf.place[1] == FAR:
        yield day.replace(day=1), LATE


def _in(leaf: Leaf) -> exp.Condition:
    day = exp.cast(exp.Literal.string(leaf.place[0].isoformat()), "date")
    return exp.and_(exp.column("day").eq(day), exp.column("bucket").isin(*leaf.buckets))


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]

"""Retention of raw uploads: those that the lake holds are deleted some days after they came. The order of the steps:

1. One process begins a turn, see `smarthouse_api.states.expired`. Nothing expires while rows of the lake are made again.
2. It finds which uploads wait for the lake. They do not expire, and neither do those that are damaged or were set aside.
3. It compares the lake's files that can hold rows of a home's old uploads with the ledger. If one is damaged, the turn is over.
4. One commit in the turn marks some receipts, lowers the counts, and notes until when uploads have expired.
5. The objects of these receipts are deleted. If the process dies before, the next round does it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from backends.ports import Change, Conflict, Document, Put, StateStore
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.planning import Bound, that_can_match
from smarthouse_api.states.counts import Kept, total
from smarthouse_api.states.expired import TURN, expired_until, take_turn, until_put
from smarthouse_api.states.homes import SPACE, Home, Homes
from smarthouse_api.states.homes_table import HomesTable
from smarthouse_api.states.raw import RawUploads
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.receipts import StoredReceipt, changed_receipt, receipt_name, stored_receipt
from smarthouse_api.states.uploads import Uploads

_LEASE: Final = "expire-uploads"
_EVERY_SECONDS: Final = 3600.0
_RETRY_SECONDS: Final = 60.0
_AT_ONCE: Final = 100
_LONGEST_REST_SECONDS: Final = 0.1
_SECOND_US: Final = 1_000_000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Turn:
    """Tracks a turn. waiting: ids of uploads that wait. files: of each table, if there is one. until_us: as noted so far.

    whole: paths of the files that were found whole in this turn.
    """

    version: int
    waiting: set[str]
    files: list[tuple[HomesTable, pa.Table | None]]
    until_us: int | None
    whole: set[str] = field(default_factory=set)


class _Old(NamedTuple):
    """Describes an upload that came long ago: its receipt, its object, and when it came."""

    name: str
    document: Document
    receipt: StoredReceipt
    object: str
    received_us: int

    @property
    def kept(self) -> Kept:
        return Kept(self.receipt.bytes or 0, 1, self.receipt.records + (self.receipt.statistics or 0))

    def expired(self) -> bytes:
        """Encode the receipt as that of an upload that has expired."""
        return changed_receipt(self.document.value, object=None, expired=True, received=self.received_us)


class RawRetention:
    """Lets raw uploads expire, home by home, in a round about every hour. days: how long they are kept; 0: for ever.

    A round may take several turns of the housekeeper, and goes on where the last one ended.
    """

    def __init__(
        self,
        state: StateStore,
        raw: RawUploads,
        uploads: Uploads,
        homes: Homes,
        tables: Sequence[HomesTable],
        rebuilding: Rebuilding,
        leases: Leases,
        days: int,
    ) -> None:
        self._state, self._raw, self._uploads, self._homes, self._leases = state, raw, uploads, homes, leases
        self._tables, self._rebuilding, self._days = tables, rebuilding, days
        self._left: list[Home] | None = None

    def run(self, is_over: Callable[[], bool]) -> None:
        """Let uploads expire that are due, if an hour has passed or a round is under way, until the turn `is_over`.

        It rests after each step for as long as the step took, so that uploads find the stores free.
        """
        if not self._days or self._rebuilding.repairs.unfinished():
            return
        if self._left is None and not self._leases.claim(_LEASE, _RETRY_SECONDS):
            return
        expired, began_at = list[Kept](), time.monotonic()
        for some in self.steps():
            expired.append(some)
            if is_over():
                break
            time.sleep(min(time.monotonic() - began_at, _LONGEST_REST_SECONDS))
            began_at = time.monotonic()
        self._leases.prolong(_LEASE, _EVERY_SECONDS if self._left is None else _RETRY_SECONDS)
        if (sum_ := total(expired)).uploads:
            log.info("%d raw uploads that the lake holds have expired: %d bytes", sum_.uploads, sum_.bytes)

    def steps(self) -> Iterator[Kept]:
        """Let some uploads expire in each step; how much that was. If the turn is ended by another, so are the steps."""
        if self._left is None:
            self._left = list(self._homes.everyone())
        if (turn := self._begin()) is None:
            return
        while self._left:
            try:
                yield from self._expire(turn, self._left[-1])
            except Conflict:  # the next turn goes on with what is there by then
                known = self._homes.known()
                self._left = [home for home in self._left if home.key in known]
                return
            self._left.pop()
            yield Kept()
        self._left = None

    def _begin(self) -> _Turn | None:
        """Begin a turn; None if nothing may expire now."""
        version = take_turn(self._state)
        if self._rebuilding.repairs.unfinished():
            return None
        snapshots = [(table, table.open()) for table in self._tables]
        files = [(table, None if snapshot is None else files_of(snapshot)) for table, snapshot in snapshots]
        return _Turn(version, self._uploads.waiting(), files, expired_until(self._state))

    def _expire(self, turn: _Turn, home: Home) -> Iterator[Kept]:
        before_us = round(min(time.time(), self._state.now()) * 1e6) - self._days * DAY_US
        there = [(raw, raw.arrival(info)) for raw, info in self._raw.of(home.key)]
        old = [(raw, at_us) for raw, at_us in there if at_us < before_us]
        if not old:
            return
        objects, due, left = {raw.object for raw, _ in there}, list[_Old](), list[str]()
        found = self._state.scan_all(SPACE, receipt_name(home.key, ""))
        receipts = {one.id: (name, document, one) for name, document in found for one in [stored_receipt(document.value)]}
        spared = turn.waiting | self._uploads.healing.lacking_ids(home.key)
        for raw, at_us in old:
            if raw.id not in receipts or raw.id in spared:
                continue
            name, document, receipt = receipts[raw.id]
            if receipt.expired or (receipt.object != raw.object and receipt.object in objects):
                left.append(raw.object)
            elif receipt.bytes is not None and self._has_tables(turn, receipt):
                due.append(_Old(name, document, receipt, raw.object, at_us))
        if left:
            self._raw.delete(*left)
        if due:
            self._look(turn, home, due)
            for start in range(0, len(due), _AT_ONCE):
                yield self._mark(turn, home, due[start : start + _AT_ONCE])

    def _has_tables(self, turn: _Turn, receipt: StoredReceipt) -> bool:
        counts = receipt.records, receipt.statistics
        return all(files is not None or not count for (_, files), count in zip(turn.files, counts, strict=True))

    def _look(self, turn: _Turn, home: Home, due: Sequence[_Old]) -> None:
        """Look at the lake's files that can hold rows of these uploads. Damaged ones are set aside: `Conflict`.

        It is raised, too, if another process has replaced some of them meanwhile.
        """
        first, last = min(one.received_us for one in due), max(one.received_us for one in due)
        bounds = [
            Bound("max.received", pa.scalar(first - _SECOND_US, TIMESTAMP), is_least=True),
            Bound("min.received", pa.scalar(last + _SECOND_US, TIMESTAMP), is_least=False),
        ]
        for table, files in turn.files:
            if files is not None:
                buckets = pa.array(table.buckets(home.key), files["partition.bucket"].type)
                here = files.filter(pc.is_in(files["partition.bucket"], buckets))
                left = that_can_match(here, bounds)
                left = left.filter(pc.invert(pc.is_in(left["path"].cast("string"), pa.array(turn.whole, pa.string()))))
                if faults := DataFiles(table.ledger, left).all_faults():
                    self._rebuilding.set_aside(table, faults)
                    raise Conflict("files of the lake are damaged, or were replaced")
                turn.whole.update(left["path"].to_pylist())

    def _mark(self, turn: _Turn, home: Home, some: Sequence[_Old]) -> Kept:
        """Let some uploads of a home expire. Raises `Conflict` if the turn is over, or one of them has changed."""
        until_us = max(one.received_us for one in some)
        turn.until_us = until_us if turn.until_us is None else max(turn.until_us, until_us)
        kept = total(one.kept for one in some)
        puts = [Put(one.name, one.expired()) for one in some]
        expect = {TURN: turn.version, home.name: home.version} | {one.name: one.document.version for one in some}
        change = Change(expect, (*puts, until_put(turn.until_us)), adds=self._uploads.counts.expire(home.key, kept))
        self._state.commit(SPACE, change)
        self._raw.delete(*(one.object for one in some))
        return kept

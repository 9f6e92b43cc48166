"""Rows for the Delta tables of states and of statistics, made of queued payloads.

The statistics of a part are added to their table before its states are committed, without a transaction of their own:

1. The curator holds the lease since before it read the bodies.
2. `rows` opens a snapshot of the table of statistics. The lease is checked after that: nobody has purged since 1.
3. `announce` adds the rows on that snapshot. If a purge has begun since 2, its fence makes delta-rs refuse them.
4. The lease is checked again: what was added stands where it will be found.
5. The states are committed, and the part is recorded.

If the process dies between 3 and 5, the rows are added again. They are repeats then, which no reader counts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import Entry, NoSuchObject, StoreError, StoreUnavailable
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.coordination.queue import Turn
from smarthouse_api.lake.row_maker import Part, RowMaker, together_or_apart
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.homes_table import HomesTable
from smarthouse_api.states.kept_uploads import id_of
from smarthouse_api.states.payload.decoding import Decoded
from smarthouse_api.states.pending import Pending, read_pending
from smarthouse_api.states.raw import Damaged
from smarthouse_api.states.records.periods import periods_of
from smarthouse_api.states.records.placement import bucket_of
from smarthouse_api.states.records.rows import states_of
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads

_REQUESTS_A_LINE: Final = 50

log = logging.getLogger(__name__)


@dataclass
class StatesPart(Part):
    """Carries statistics of payloads beside their states.

    snapshot: of the table of statistics; None if there are none. requests: the ids of the requests that brought the payloads.
    """

    statistics: list[pa.Table] = field(default_factory=list)
    snapshot: DeltaTable | None = None
    requests: list[str] = field(default_factory=list)


class StateRows(RowMaker[StatesPart]):
    """Makes rows of queued payloads for the curator.

    The table holds the queue up to the table's transaction version of the queue's name.
    """

    def __init__(self, uploads: Uploads, homes: Homes, table: StatesTable, statistics: StatisticsTable) -> None:
        super().__init__(uploads.queue, uploads.log_id())
        self._uploads, self._homes, self._table, self._statistics = uploads, homes, table, statistics

    def taken(self, turn: Turn | None = None) -> int:
        """Return the sequence before the queue's first entry: the lake holds all up to there, and perhaps more."""
        last = self.queue.last() if turn is None else turn.last
        first = self.queue.read(limit=1)
        return first[0].sequence - 1 if first else last

    def overtake(self, turn: Turn, held: int) -> None:
        """Raise `StoreUnavailable`: homes that were forgotten since must first be forgotten again, by `smarthouse restore`."""
        raise StoreUnavailable("the state store is older than the lake; stop the service, and run `smarthouse restore`")

    def left(self, snapshot: DeltaTable, turn: Turn, held: int) -> tuple[StatesPart, list[Entry]]:
        """Find what a dead curator left: a payload is recognised by its home and its time of arrival."""
        entries = list(self.queue.entries(0, held))
        pending = [one for _, one in _pending(entries)]
        payloads = {one.sequence: (one.home, one.received_us) for one in pending}
        there = self._table.arrivals(snapshot, set(payloads.values()))
        without_states = {payloads[one.sequence] for one in pending if one.records == 0}
        if without_states and (statistics := self._statistics.open()) is not None:
            there |= self._statistics.arrivals(statistics, without_states)
        missing = [entry for entry in entries if entry.sequence in payloads and payloads[entry.sequence] not in there]
        return StatesPart([entry.sequence for entry in entries]), missing

    def size(self, entry: Entry) -> int:
        return read_pending(entry).decoded_bytes if entry.value else 0

    def rows(self, entries: Sequence[Entry], until: int) -> StatesPart:
        """Make rows of payloads. Those of homes that are being forgotten, or are gone, give none."""
        part = StatesPart([entry.sequence for entry in entries])
        found = self._with_bodies([one for _, one in _pending(entries)])
        part.requests = [pending.request for pending, _ in found if pending.request is not None]
        if with_states := [one for one in found if one[0].records != 0]:
            part.tables.extend(together_or_apart(with_states, self._states_of, self._refuse))
        if with_statistics := [one for one in found if one[0].statistics != 0]:
            part.statistics.extend(together_or_apart(with_statistics, self._statistics_of, self._refuse))
        if any(table.num_rows for table in part.statistics):
            part.snapshot = self._statistics.open_or_create()
        return part

    def announce(self, turn: Turn, part: StatesPart) -> None:
        if part.snapshot is not None:
            self._statistics.append(part.snapshot, pa.concat_tables(part.statistics), {})

    def record(self, turn: Turn, part: StatesPart) -> Turn:
        self.queue.drop(turn, part.sequences)
        for first in range(0, len(part.requests), _REQUESTS_A_LINE):
            some = part.requests[first : first + _REQUESTS_A_LINE]
            log.info("the lake holds the uploads of the requests %s", " ".join(some), extra={"requests": some})
        return turn

    def _with_bodies(self, batch: Sequence[Pending]) -> list[tuple[Pending, bytes]]:
        """Read the bodies of payloads that still exist, in the order of an export by day, bucket and home: so most rows of the
        lake are in order without being sorted.
        """
        hidden = self._homes.hidden()
        found, lost = list[tuple[Pending, bytes]](), list[tuple[Pending, StoreError]]()
        for pending in sorted(batch, key=lambda one: (one.received_us // DAY_US, bucket_of(one.home), one.home)):
            if pending.home not in hidden:
                try:
                    found.append(self._uploads.read(pending))
                except (NoSuchObject, Damaged) as fault:
                    lost.append((pending, fault))
        self._uploads.healing.note(lost, is_all=not found)
        return found

    def _states_of(self, payloads: Sequence[tuple[Pending, bytes]]) -> pa.Table:
        decoded = self._uploads.decode([(body, pending.encoding) for pending, body in payloads])
        self._tell_faults(payloads, decoded)
        return self._kept(self._table, to_states([pending for pending, _ in payloads], decoded))

    def _statistics_of(self, payloads: Sequence[tuple[Pending, bytes]]) -> pa.Table:
        decoded = self._uploads.decode_statistics([(body, pending.encoding) for pending, body in payloads])
        self._tell_faults(payloads, decoded)
        periods = periods_of(decoded.table, **_of_payloads([pending for pending, _ in payloads], decoded))
        return self._kept(self._statistics, periods)

    def _kept(self, table: HomesTable, rows: pa.Table) -> pa.Table:
        """Leave out the rows that are older than the lake keeps. Their payloads stay raw."""
        if left_out := rows.num_rows - (kept := table.kept(rows)).num_rows:
            log.info("the lake: %s: %d rows of days that are not kept were left out", table.name, left_out)
        return kept

    def _tell_faults(self, payloads: Sequence[tuple[Pending, bytes]], decoded: Decoded) -> None:
        for place, fault in decoded.faults.items():
            pending = payloads[place][0]
            self._uploads.healing.set_aside(pending)
            log.error("%s gives no rows, though its upload was answered with some: %s", id_of(pending.object), fault)

    def _refuse(self, payload: tuple[Pending, bytes]) -> None:
        self._uploads.healing.set_aside(payload[0])
        log.exception("payload %d is set aside: it stays raw, and gives no rows", payload[0].sequence)


def to_states(payloads: Sequence[Pending], decoded: Decoded) -> pa.Table:
    """Make rows of `STATES` of the records of several payloads."""
    return states_of(decoded.table, **_of_payloads(payloads, decoded))


def _of_payloads(payloads: Sequence[Pending], decoded: Decoded) -> dict[str, pa.Array]:
    """Make the columns that each row has from its payload."""

    def of_payload(values: list[object], type_: pa.DataType) -> pa.Array:
        return pa.array(values, type_).take(decoded.payload)

    return {
        "home": of_payload([pending.home for pending in payloads], pa.string()),
        "share": of_payload([bucket_of(pending.home) for pending in payloads], pa.int32()),
        "received": of_payload([pending.received_us for pending in payloads], TIMESTAMP),
    }


def _pending(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Pending]]:
    return ((entry, read_pending(entry)) for entry in entries if entry.value)  # what is empty was passed over

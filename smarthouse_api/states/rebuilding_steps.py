"""The steps of rebuilding: rows are removed, their uploads are queued, and the curator takes these in.

A row that is made twice is a repeat, which no reader counts. So each step may be done twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from itertools import chain
from typing import Final

import msgspec

from backends.ports import Change, Conflict, Document, StateStore, StoreUnfit
from smarthouse_api.arrow.times import time_of, time_text
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.lake.repairs import LOST, Repair, Repairs
from smarthouse_api.states.expired import expired_until, take_turn
from smarthouse_api.states.homes import SPACE, Homes
from smarthouse_api.states.homes_table import PURGE_LEASE, HomesTable
from smarthouse_api.states.pending import Pending
from smarthouse_api.states.rebuilt_places import may_hold
from smarthouse_api.states.rows import StateRows
from smarthouse_api.states.rows_again import Again, AgainRows
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import REBUILDING, Uploads

LEASE: Final = "rebuild"
PATIENCE_SECONDS: Final = 10.0
_AT_ONCE: Final = 500

log = logging.getLogger(__name__)


def check_tables(tables: Iterable[HomesTable]) -> None:
    """Read tables. Raises `StoreUnfit` for one that cannot be read: no days of it can be made again alone."""
    for table in tables:
        table.open()


class RebuildingSteps:
    """Does what repairs of the tables of homes ask for."""

    def __init__(
        self,
        state: StateStore,
        repairs: Repairs,
        uploads: Uploads,
        homes: Homes,
        tables: tuple[StatesTable, StatisticsTable],
        leases: Leases,
    ) -> None:
        self._state, self._repairs, self._leases = state, repairs, leases
        self._uploads, self._homes, self._tables = uploads, homes, tables

    def work(self) -> bool:
        """Do the next step of each repair. Returns whether any could be done: then there may be more to do at once."""
        is_asked = any(not one.is_lost for one, _ in self._repairs.all())
        if not is_asked or (turn := self._leases.try_hold(LEASE)) is None:
            return False
        with turn:
            try:
                return self._work()
            except StoreUnfit as fault:  # no outage: it may last, and readiness must say so
                self._note_fault(str(fault))
                raise

    def _note_fault(self, fault: str) -> None:
        for repair, document in self._repairs.all():
            if not repair.is_lost and repair.step != "wait" and repair.fault != fault:
                with suppress(Conflict):
                    self._repairs.change(msgspec.structs.replace(repair, fault=fault), document)

    def _work(self) -> bool:
        repairs = [one for one in self._repairs.all() if not one[0].is_lost]
        is_done, to_queue = False, list[tuple[Repair, Document]]()
        if repairs:
            take_turn(self._state)  # nothing more expires
            expired = expired_until(self._state)
            # A damaged table must be removed before any of its rows can be.
            for repair, document in sorted(repairs, key=lambda one: bool(one[0].places)):
                if repair.step == "remove":
                    if self._loses_all(repair, expired):
                        log.error("the lake: raw uploads have expired meanwhile, so nothing is removed: %s", repair.what)
                        self._repairs.end(repair, document)
                    elif (begun := self._removed(repair, document, expired)) is not None:
                        self._repairs.advance(*begun, "queue")
                    else:
                        continue
                elif repair.step == "queue":
                    to_queue.append((repair, document))
                elif self.rows().taken() < repair.last:
                    continue
                else:
                    self._repairs.end(repair, document)
                    log.info("the lake: made again: %s", repair.what)
                is_done = True
            if to_queue:
                if expired is not None:
                    self._note_losses([repair for repair, _ in to_queue if not repair.holds])
                last = self._queued([repair for repair, _ in to_queue])
                for repair, document in to_queue:
                    self._repairs.advance(repair, document, "wait", last)
        return is_done

    def pending_rows(self) -> list[StateRows]:
        """Give what the curator is to take in, if anything is."""
        return [self.rows()] if self._uploads.again.read(limit=1) else []

    def rows(self) -> AgainRows:
        """Make the rows of what is queued."""
        return AgainRows(self._uploads, self._homes, *self._tables)

    def _loses_all(self, repair: Repair, expired: int | None) -> bool:
        return expired is not None and not repair.places and not repair.accepts_loss

    def _note_losses(self, repairs: Sequence[Repair]) -> None:
        """Note the files that may have had rows of expired uploads."""
        left = list(repairs)
        for pending in self._uploads.healing.expired() if left else ():
            for repair in [one for one in left if (one.oldest_us or 0) <= pending.received_us]:
                if any(may_hold(place, pending) for place in repair.places):
                    self.lose(repair.id, repair.what, repair.since, repair.until)
                    left.remove(repair)

    def lose(self, id_: str, what: str, since: date, until: date) -> None:
        """Note that rows of expired uploads are lost; repeatable."""
        log.error("the lake: rows of uploads that have expired are lost for good: %s", what)
        self._repairs.add(
            Repair(f"{id_}-lost", f"{what}; it may have held rows of uploads that have expired", LOST, (), since, until)
        )

    def _removed(self, repair: Repair, document: Document, expired: int | None) -> tuple[Repair, Document] | None:
        """Remove what a repair is to make again. Waits for its turn: purges that follow each other would leave it none.

        Returns the repair as it is then; None if it was not its turn.
        """
        if (purge := self._leases.wait_for(PURGE_LEASE, PATIENCE_SECONDS)) is None:
            return None
        with purge:
            if (lease := self._tables[0].try_write(PATIENCE_SECONDS)) is None:
                return None
            with lease:
                if repair.places:
                    check_tables(self._tables)
                begun = msgspec.structs.replace(repair, has_begun=True)
                document = document if repair.has_begun else self._repairs.change(begun, document)
                self._remove_all(repair, lease, expired)
        return begun, document

    def _remove_all(self, repair: Repair, lease: Lease, expired: int | None) -> None:
        for table in self._tables:
            self._remove(table, repair, lease, expired)

    def _remove(self, table: HomesTable, repair: Repair, lease: Lease, expired: int | None) -> None:
        if not repair.places:
            table.break_readers(PATIENCE_SECONDS)
            lease.check()
            table.remove()
        elif places := [place for place in repair.places if place.table == table.name]:
            lease.check()
            predicate = " OR ".join(place.predicate() for place in places)
            if expired is None or repair.accepts_loss:
                table.delete(predicate)
            else:
                table.delete(f"({predicate}) AND received > '{time_text(time_of(expired))}'")

    def _queued(self, repairs: Sequence[Repair]) -> int:
        """Queue the payloads that may have rows in a repair's places, each once; return the last sequence.

        What is missing of them is noted, so that no export without their rows looks whole.
        """

        def missing(pending: Pending) -> None:
            if is_all or any(may_hold(place, pending) for repair in repairs for place in repair.places):
                self._uploads.healing.note_missing(pending)

        is_all = any(not repair.places for repair in repairs)
        appends = list[tuple[str, bytes]]()
        for pending in self._uploads.kept(missing=missing):
            wanted = [one.places for one in repairs if any(may_hold(place, pending) for place in one.places)]
            if is_all or wanted:
                places = () if is_all else tuple(chain.from_iterable(wanted))
                again = Again(**msgspec.structs.asdict(pending), places=places)
                appends.append((REBUILDING, msgspec.json.encode(again)))
            if len(appends) >= _AT_ONCE:
                self._state.commit(SPACE, Change(appends=tuple(appends)))
                appends.clear()
        if appends:
            self._state.commit(SPACE, Change(appends=tuple(appends)))
        return self._uploads.again.last()

"""Rebuilding: rows of states and statistics that left the lake are made again from the uploads that are kept raw.

1. A damaged data file is set aside: its bytes become an object `damaged/...`, it leaves the table, and a repair of its place
   begins. Exports go on without its rows, and say so.
2. An operator may ask for days, or for everything. Then exports of these days wait until the repair is done, or is withdrawn.
3. A row that is made twice is a repeat, which no reader counts. So each step may be done twice.
4. Rows of uploads that have expired cannot be made again. They stay in the lake, unless the operator accepts their loss. If a
   damaged file had some, they are lost, and exports say so until that is accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from itertools import chain
from typing import Final

import msgspec

from backends.ports import Change, Conflict, Document, Entry, StateStore, StoreUnfit
from smarthouse_api.arrow.times import time_of, time_text
from smarthouse_api.coordination.damage import Damages, Problem
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.errors import Invalid, Unavailable
from smarthouse_api.lake import repairs as lake_repairs
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.repairs import LOST, Place, Repair, Repairs, days_of, month_end, new_id
from smarthouse_api.lake.setting_aside import live_files, look_at_noted, set_aside
from smarthouse_api.states.expired import expired_until, first_whole_day, take_turn
from smarthouse_api.states.homes import SPACE, Homes
from smarthouse_api.states.homes_table import PURGE_LEASE, HomesTable
from smarthouse_api.states.pending import Pending
from smarthouse_api.states.rebuilt_places import may_hold, places_of_days, repair_of_file, within
from smarthouse_api.states.records.entered import made_again
from smarthouse_api.states.rows import StateRows, StatesPart
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import REBUILDING, Uploads

_LEASE: Final = "rebuild"
_LOOK: Final = "look-at-statistics"
_DAY_SECONDS: Final = 86400.0
_FILES_AT_ONCE: Final = 20
_PATIENCE_SECONDS: Final = 10.0
_AT_ONCE: Final = 500
_MOST_COUNTED: Final = 1000
_STATISTICS: Final = "long-term statistics are missing: the lake lost them, and those that can be are being made again"
_HELD: Final = "The lake is being made again for these days; repeat the request later. /health/ready says how far it is"

log = logging.getLogger(__name__)


class Again(Pending, frozen=True):
    """Queues a payload to be taken into the lake again. places: only its rows that lie there; none means all of them."""

    places: tuple[Place, ...] = ()


_again = msgspec.json.Decoder(Again).decode


class Rebuilding:
    """Finds damaged data files of the tables of homes, and has rows made again."""

    def __init__(
        self, state: StateStore, uploads: Uploads, homes: Homes, table: StatesTable, statistics: StatisticsTable, leases: Leases
    ) -> None:
        self._state, self._uploads, self._homes, self._leases = state, uploads, homes, leases
        self._table, self._statistics = table, statistics
        self.repairs, self._damages = Repairs(state, "homes"), Damages(state)
        self._unread = list[str]()

    def plan(self, since: date | None, until: date | None, *, accepts_loss: bool = False) -> Repair:
        """Plan to make the rows of some UTC days again, or all of them. Nothing is asked for yet.

        Raises `Invalid` if uploads have expired that may hold rows of these days, unless the caller accepts their loss.
        """
        expired = None if accepts_loss else expired_until(self._state)
        if expired is not None and (since is None or since < first_whole_day(expired)):
            raise Invalid(
                f"Raw uploads that came until {time_of(expired):%Y-%m-%d} have expired, and their rows in the lake would be"
                f" lost. The first day that can be made wholly again is {first_whole_day(expired)}. Name it with --from, or add"
                " --despite-expiry"
            )
        if since is None and until is None:
            return Repair(new_id(), "everything, as was asked for", "remove", holds=True, accepts_loss=accepts_loss)
        first, last = since or date.min, until or date.max
        places = places_of_days(first, last, has_old=bool(self._table.outdated()))
        since, until = first.replace(day=1), last if last == date.max else month_end(last)  # late rows lie by months
        what = f"{first} to {last}, as was asked for"
        return Repair(new_id(), what, "remove", places, since, until, holds=True, accepts_loss=accepts_loss)

    def ask(self, since: date | None, until: date | None) -> str:
        """Have the chores do what `plan` says; returns the repair's id. Raises as `plan`."""
        repair = self.plan(since, until)
        self.repairs.add(repair)
        return repair.id

    def give_up(self, fault: str) -> str:
        """Have the whole of a damaged lake made again, and note the rows that this loses, if any; returns the repair's id."""
        repair = self.plan(None, None, accepts_loss=True)
        self.repairs.add(repair)
        if (expired := expired_until(self._state)) is not None:
            self._lose(repair.id, fault, date.min, first_whole_day(expired) - timedelta(days=1))
        return repair.id

    def check_tables(self) -> None:
        """Read both tables. Raises `StoreUnfit` for one that cannot be read: no days of it can be made again alone."""
        for table in (self._table, self._statistics):
            table.open()

    def withdraw(self) -> int:
        """Have nothing more removed, and hold no export back any more; how many requests that ended.

        What may have been removed is made again, and exports say what they lack until then. Raises `Unavailable` if another
        process works at it for too long.
        """
        if not any(one.holds for one, _ in self.repairs.all()):
            return 0
        if (turn := self._leases.wait_for(_LEASE, _PATIENCE_SECONDS)) is None:
            raise Unavailable("The service does a step of it at this moment; repeat this later")
        with turn:
            asked = [one for one in self.repairs.all() if one[0].holds]
            for repair, document in asked:
                if repair.step == "remove" and not repair.has_begun:
                    self.repairs.end(repair, document)
                else:
                    step = "queue" if repair.step == "remove" else repair.step
                    self.repairs.change(msgspec.structs.replace(repair, step=step, holds=False, fault=""), document)
        return len(asked)

    def at_risk(self) -> Iterator[Problem]:
        """List the raw uploads that are damaged or missing, unless the lake cannot be read: it may hold the last copy of their
        rows, which making it again would remove.
        """
        try:
            there = [table for table in (self._table, self._statistics) if table.open() is not None]
        except StoreUnfit:
            return
        for home in sorted(self._homes.known()) if there else ():
            yield from self._uploads.healing.verify(home, 1)

    def refuse_held(self, first: date, last: date) -> list[Repair]:
        """Raise `Unavailable` if rows of these days are held back until they are made again; else list the repairs of them."""
        found = self.repairs.touching(first, last)
        if any(repair.holds for repair in found):
            raise Unavailable(_HELD)
        return found

    def condition(self) -> str | None:
        """Say in a line what is being made again, or else what is lost; None for nothing."""
        if not (found := [one for one, _ in self.repairs.all() if not one.is_lost]):
            lost = self.repairs.lost()
            return f"lost for good, see `smarthouse verify`: {'; '.join(lost[:5])}" if lost else None
        waiting = len(self._uploads.again.read(limit=_MOST_COUNTED + 1))
        count = f"more than {_MOST_COUNTED}" if waiting > _MOST_COUNTED else str(waiting)
        told = f"being made again from raw; uploads that wait: {count}: {'; '.join(one.what for one in found[:5])}"
        if held := [one for one in found if one.holds]:
            told = (
                f"exports of {days_of(held)} answer 503 until it is done or withdrawn (`smarthouse rebuild --withdraw`); {told}"
            )
        if fault := next((one.fault for one in found if one.fault), None):
            told = f"the rebuild cannot go on: {fault}; {told}"
        return told

    def missing(self, first: date, last: date, *, states: bool = True, statistics: bool = False) -> str | None:
        """Say what an export of some days lacks since it is being made again, or lost; None for nothing."""
        lacks = [lake_repairs.told(self.repairs.touching(first, last))] if states else []
        if statistics:
            repairs = (repair for repair, _ in self.repairs.all())
            if any(not one.places or any(place.table == "statistics" for place in one.places) for one in repairs):
                lacks.append(_STATISTICS)
        return "; ".join(filter(None, lacks)) or None

    def lacking(self, first: date) -> str | None:
        """Say in a line which uploads gave no rows because they are damaged; None for none. first: of an export's days."""
        return self._uploads.healing.lacking(first)

    def is_to_remove(self, id_: str) -> bool:
        """Tell whether a repair has not yet removed what it is to make again."""
        return any(one.id == id_ and one.step == "remove" for one, _ in self.repairs.all())

    def has_repairs(self) -> bool:
        """Tell whether rows that left the lake are being made again, or are lost."""
        return any(True for _ in self.repairs.all())

    def progress(self, id_: str) -> str | None:
        """Say in a line how far a repair is; None once it is done."""
        if (repair := next((one for one, _ in self.repairs.all() if one.id == id_), None)) is None:
            return None
        if repair.step == "wait":
            return f"uploads that wait for the lake: {max(0, repair.last - self._rows().taken())}"
        return "waiting until rows are removed" if repair.step == "remove" else "listing the uploads that are kept raw"

    def tables(self) -> list[tuple[HomesTable, Callable[[Mapping[str, str]], None]]]:
        """List the tables, each with what sets damaged files of it aside."""
        return [(table, partial(self.set_aside, table)) for table in (self._table, self._statistics)]

    def look_at_all(self) -> None:
        """Look at every data file, and set damaged ones aside."""
        for table in (self._table, self._statistics):
            if (snapshot := table.open()) is None:
                continue
            if faults := DataFiles(table.ledger, files_of(snapshot)).all_faults(anew=True):
                self.set_aside(table, faults)

    def set_aside(self, table: HomesTable, faults: Mapping[str, str]) -> None:
        """Remove damaged files from a table, and have their rows made again. faults: what is wrong, by their paths."""
        set_aside(table, faults, self.repairs, partial(repair_of_file, table.name))

    def look(self, is_over: Callable[[], bool]) -> None:
        """Look at the files that `smarthouse verify` has noted, and once a day at those of statistics: nobody reads these."""
        for table in (self._table, self._statistics):
            look_at_noted(table, self._damages, partial(self.set_aside, table))
        if not self._unread and self._leases.claim(_LOOK, _DAY_SECONDS):
            self._unread = sorted(live_files(self._statistics), reverse=True)
        while self._unread and not is_over():
            some, self._unread = self._unread[-_FILES_AT_ONCE:], self._unread[:-_FILES_AT_ONCE]
            live = live_files(self._statistics)
            there = {path: live[path] for path in some if path in live}
            if faults := dict(self._statistics.ledger.faults(there, anew=True)):
                self.set_aside(self._statistics, faults)

    def heal(self) -> None:
        """Queue payloads that were damaged or missing, and are whole again."""
        self._uploads.healing.look_again(self._leases)

    def work(self) -> bool:
        """Do the next step of each repair. Returns whether any could be done: then there may be more to do at once."""
        is_asked = any(not one.is_lost for one, _ in self.repairs.all())
        if not is_asked or (turn := self._leases.try_hold(_LEASE)) is None:
            return False
        with turn:
            try:
                return self._work()
            except StoreUnfit as fault:  # no outage: it may last, and readiness must say so
                self._note_fault(str(fault))
                raise

    def _note_fault(self, fault: str) -> None:
        for repair, document in self.repairs.all():
            if not repair.is_lost and repair.step != "wait" and repair.fault != fault:
                with suppress(Conflict):
                    self.repairs.change(msgspec.structs.replace(repair, fault=fault), document)

    def _work(self) -> bool:
        repairs = [one for one in self.repairs.all() if not one[0].is_lost]
        is_done, to_queue = False, list[tuple[Repair, Document]]()
        if repairs:
            take_turn(self._state)  # nothing more expires
            expired = expired_until(self._state)
            # A damaged table must be removed before any of its rows can be.
            for repair, document in sorted(repairs, key=lambda one: bool(one[0].places)):
                if repair.step == "remove":
                    if self._loses_all(repair, expired):
                        log.error("the lake: raw uploads have expired meanwhile, so nothing is removed: %s", repair.what)
                        self.repairs.end(repair, document)
                    elif (begun := self._removed(repair, document, expired)) is not None:
                        self.repairs.advance(*begun, "queue")
                    else:
                        continue
                elif repair.step == "queue":
                    to_queue.append((repair, document))
                elif self._rows().taken() < repair.last:
                    continue
                else:
                    self.repairs.end(repair, document)
                    log.info("the lake: made again: %s", repair.what)
                is_done = True
            if to_queue:
                if expired is not None:
                    self._note_losses([repair for repair, _ in to_queue if not repair.holds])
                last = self._queued([repair for repair, _ in to_queue])
                for repair, document in to_queue:
                    self.repairs.advance(repair, document, "wait", last)
        return is_done

    def pending_rows(self) -> list[StateRows]:
        """Give what the curator is to take in, if anything is."""
        return [self._rows()] if self._uploads.again.read(limit=1) else []

    def _rows(self) -> AgainRows:
        return AgainRows(self._uploads, self._homes, self._table, self._statistics)

    def _loses_all(self, repair: Repair, expired: int | None) -> bool:
        return expired is not None and not repair.places and not repair.accepts_loss

    def _note_losses(self, repairs: Sequence[Repair]) -> None:
        """Note the files that may have had rows of expired uploads."""
        left = list(repairs)
        for pending in self._uploads.healing.expired() if left else ():
            for repair in [one for one in left if (one.oldest_us or 0) <= pending.received_us]:
                if any(may_hold(place, pending) for place in repair.places):
                    self._lose(repair.id, repair.what, repair.since, repair.until)
                    left.remove(repair)

    def _lose(self, id_: str, what: str, since: date, until: date) -> None:
        """Note that rows of expired uploads are lost; repeatable."""
        log.error("the lake: rows of uploads that have expired are lost for good: %s", what)
        self.repairs.add(
            Repair(f"{id_}-lost", f"{what}; it may have held rows of uploads that have expired", LOST, (), since, until)
        )

    def _removed(self, repair: Repair, document: Document, expired: int | None) -> tuple[Repair, Document] | None:
        """Remove what a repair is to make again. Waits for its turn: purges that follow each other would leave it none.

        Returns the repair as it is then; None if it was not its turn.
        """
        if (purge := self._leases.wait_for(PURGE_LEASE, _PATIENCE_SECONDS)) is None:
            return None
        with purge:
            if (lease := self._table.try_write(_PATIENCE_SECONDS)) is None:
                return None
            with lease:
                if repair.places:
                    self.check_tables()
                begun = msgspec.structs.replace(repair, has_begun=True)
                document = document if repair.has_begun else self.repairs.change(begun, document)
                self._remove_all(repair, lease, expired)
        return begun, document

    def _remove_all(self, repair: Repair, lease: Lease, expired: int | None) -> None:
        for table in (self._table, self._statistics):
            self._remove(table, repair, lease, expired)

    def _remove(self, table: HomesTable, repair: Repair, lease: Lease, expired: int | None) -> None:
        if not repair.places:
            table.break_readers(_PATIENCE_SECONDS)
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


class AgainRows(StateRows):
    """Makes rows of payloads that are taken into the lake again, for the curator.

    The lake does not tell which of these it holds: it has other rows of the same payloads, and a state store that has lost its
    last moments gives sequences anew. After a crash some rows are made twice, and are repeats.
    """

    def __init__(self, uploads: Uploads, homes: Homes, table: StatesTable, statistics: StatisticsTable) -> None:
        super().__init__(uploads, homes, table, statistics)
        self.queue, self.log = uploads.again, None

    def rows(self, entries: Sequence[Entry], until: int) -> StatesPart:
        part, groups = StatesPart([entry.sequence for entry in entries]), dict[tuple[Place, ...], list[Entry]]()
        for entry in entries:
            if entry.value:
                groups.setdefault(_again(entry.value).places, []).append(entry)
        for places, some in groups.items():
            made = super().rows(some, until)
            part.tables += [made_again(within(table, places, "states")) for table in made.tables]
            part.statistics += [within(table, places, "statistics") for table in made.statistics]
            part.snapshot = made.snapshot or part.snapshot
        return part

"""Rebuilding: rows of states and statistics that left the lake are made again from the uploads that are kept raw.

1. A damaged data file is set aside: its bytes become an object `damaged/...`, it leaves the table, and a repair of its place
   begins. Exports go on without its rows, and say so.
2. An operator may ask for days, or for everything. Then exports of these days wait until the repair is done, or is withdrawn.
3. Rows of uploads that have expired cannot be made again. They stay in the lake, unless the operator accepts their loss. If a
   damaged file had some, they are lost, and exports say so until that is accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from functools import partial
from typing import Final

import msgspec

from backends.ports import StateStore, StoreUnfit
from smarthouse_api.arrow.times import time_of
from smarthouse_api.coordination.damage import Damages, Problem
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.errors import Invalid, Unavailable
from smarthouse_api.lake import repairs as lake_repairs
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.repairs import Repair, Repairs, days_of, month_end, new_id
from smarthouse_api.lake.setting_aside import live_files, look_at_noted, set_aside
from smarthouse_api.states.expired import expired_until, first_whole_day
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.homes_table import HomesTable
from smarthouse_api.states.rebuilding_steps import LEASE, PATIENCE_SECONDS, RebuildingSteps, check_tables
from smarthouse_api.states.rebuilt_places import places_of_days, repair_of_file
from smarthouse_api.states.rows import StateRows
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads

_LOOK: Final = "look-at-statistics"
_DAY_SECONDS: Final = 86400.0
_FILES_AT_ONCE: Final = 20
_MOST_COUNTED: Final = 1000
_STATISTICS: Final = "long-term statistics are missing: the lake lost them, and those that can be are being made again"
_HELD: Final = "The lake is being made again for these days; repeat the request later. /health/ready says how far it is"

log = logging.getLogger(__name__)


class Rebuilding:
    """Finds damaged data files of the tables of homes, and has rows made again."""

    def __init__(
        self, state: StateStore, uploads: Uploads, homes: Homes, table: StatesTable, statistics: StatisticsTable, leases: Leases
    ) -> None:
        self._state, self._uploads, self._homes, self._leases = state, uploads, homes, leases
        self._table, self._statistics = table, statistics
        self.repairs, self._damages = Repairs(state, "homes"), Damages(state)
        self._steps = RebuildingSteps(state, self.repairs, uploads, homes, (table, statistics), leases)
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
            self._steps.lose(repair.id, fault, date.min, first_whole_day(expired) - timedelta(days=1))
        return repair.id

    def check_tables(self) -> None:
        """Read both tables. Raises `StoreUnfit` for one that cannot be read: no days of it can be made again alone."""
        check_tables((self._table, self._statistics))

    def withdraw(self) -> int:
        """Have nothing more removed, and hold no export back any more; how many requests that ended.

        What may have been removed is made again, and exports say what they lack until then. Raises `Unavailable` if another
        process works at it for too long.
        """
        if not any(one.holds for one, _ in self.repairs.all()):
            return 0
        if (turn := self._leases.wait_for(LEASE, PATIENCE_SECONDS)) is None:
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
            return f"uploads that wait for the lake: {max(0, repair.last - self._steps.rows().taken())}"
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
        return self._steps.work()

    def pending_rows(self) -> list[StateRows]:
        """Give what the curator is to take in, if anything is."""
        return self._steps.pending_rows()

"""The tenant of Home Assistant's states: its services, each made with the others that it needs."""

from __future__ import annotations

from typing import Final

from deltalake import DeltaTable
from sqlglot import exp

from backends.ports import ObjectStore, StateStore
from config.settings import Settings
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.coordination.room import Room
from smarthouse_api.coordination.state_damage import StateDamage
from smarthouse_api.cores import cores
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.ledger import TableDamaged
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.consents import Consents
from smarthouse_api.states.contents.questions import Questions
from smarthouse_api.states.contents.service import Contents
from smarthouse_api.states.counts import Counts
from smarthouse_api.states.export.asking import Asking
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.held_days import HeldDays
from smarthouse_api.states.homes import SPACE, Homes
from smarthouse_api.states.homes_table import PURGE_LEASE
from smarthouse_api.states.jobs.book import JobBook
from smarthouse_api.states.jobs.engine_files import EngineFiles
from smarthouse_api.states.jobs.engine_parts import EngineWork
from smarthouse_api.states.jobs.service import Jobs
from smarthouse_api.states.jobs.side_by_side import Places
from smarthouse_api.states.jobs.workshop import Workshop
from smarthouse_api.states.kept_uploads import PENDING
from smarthouse_api.states.known_homes import KnownHomes
from smarthouse_api.states.mending import HomesMending
from smarthouse_api.states.raw import RawUploads
from smarthouse_api.states.raw_retention import RawRetention
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.releases import Releases
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads

_NEEDED_BY_ALL: Final = ("forgotten/", PENDING)
"""What no export can do without: which homes are hidden, and what is to be in the lake before."""


class States:
    """Wires the services around Home Assistant's states: homes, uploads, the lake's tables, their chores, and exports."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        keyring: Keyring,
        leases: Leases,
        replies: Replies,
        engine: Engine,
        notes: Notes,
        room: Room,
        settings: Settings,
    ) -> None:
        stores, days = (state, objects, leases), settings.growth.lake_days
        self._engine, self._damage = engine, StateDamage(state)
        self.table, self.statistics = StatesTable(*stores, days), StatisticsTable(*stores, days)
        ledgers = self.table.ledger, self.statistics.ledger
        self.homes = Homes(state, keyring, lambda: filter(None, (ledger.mark() for ledger in ledgers)), notes.is_left)
        self.counts = Counts(state, keyring, settings.growth)
        agreeing = self.homes, self.counts, notes, room, settings.consents, settings.forgetting.answer_seconds
        self.consents = consents = Consents(state, *agreeing)
        self.known_homes = KnownHomes(self.homes, self.counts, keyring)
        self.uploads = Uploads(state, objects, self.homes, replies, self.counts, consents, room, settings.requests)
        tables = self.table, self.statistics
        self.table.readers_need_log = engine.reads_log
        self.rebuilding = Rebuilding(state, self.uploads, self.homes, *tables, leases)
        self.held_days = HeldDays(state, tables, self.rebuilding.has_repairs)
        self.mending = HomesMending(state, self.uploads, self.homes, self.rebuilding)
        kept = RawUploads(state, objects), self.uploads, self.homes
        retention = RawRetention(state, *kept, tables, self.rebuilding, leases, settings.growth.raw_days)
        parts = self.uploads, self.homes, consents, *tables, self.rebuilding, retention
        self.chores = StatesChores(*parts, lambda: leases.is_held(PURGE_LEASE), settings.lake)
        is_open = settings.access.export_access == "open"
        served = self.chores, self.homes, self.table, self.statistics, self.rebuilding
        asking = Asking(self.homes, consents, keyring, settings.exports)
        self.exports = Exports(*served, engine, asking, settings.exports, is_open=is_open)
        read = self.homes, self.table, self.rebuilding, engine
        self.contents = Contents(objects, leases, *read, asking, settings.exports)
        self.questions = Questions(self.contents, self.exports, self.uploads, settings.exports)
        making = self.homes, self.table, self.chores, self.rebuilding, self.exports, self.contents
        book, places = JobBook(state, settings.jobs.version_days), Places(settings.jobs.parts_at_once or cores())
        work = EngineWork(engine, self.homes, book, EngineFiles(objects, book, engine))
        shop = Workshop(state, objects, book, leases, *making, room, settings.exports, settings.jobs, places, work)
        released = self.table, self.exports, room, settings.exports
        self.releases = Releases(state, objects, leases, notes, *released, is_open=settings.access.export_access != "key")
        self.jobs = Jobs(shop, keyring, replies, self.uploads)

    def rows_of(self, home_key: str) -> int:
        """Count the rows of a home in the lake, repeats that are not merged yet included; statistics too."""
        found = ((table, table.open()) for table in (self.table, self.statistics))
        return sum(self._rows_in(table.name, snapshot, home_key) for table, snapshot in found if snapshot is not None)

    def _rows_in(self, name: str, snapshot: DeltaTable, home_key: str) -> int:
        query = exp.select(exp.Count(this=exp.Star()).as_("found")).from_(name).where(exp.column("home").eq(home_key))
        return sum(int(row["found"]) for batch in self._engine.stream(snapshot, query) for row in batch.to_pylist())

    def condition(self) -> str:
        """Return one line on the lake for readiness. Raises `StoreUnavailable` if a table cannot be read, and
        `Unavailable`, which is a warning, while rows are made again.
        """
        told = self.table.condition()
        try:
            told = told if self.statistics.open() is None else f"{told}; statistics: {self.statistics.condition()}"
        except TableDamaged as fault:
            raise Unavailable(f"exports go on, and deletions fail: {fault}") from fault
        for part in self._damage.known():
            if part.space == SPACE and part.name.startswith(_NEEDED_BY_ALL):
                raise Unavailable(f"exports answer 503 until the state store's {part.name_in_logs} is made again")
        if (repairs := self.rebuilding.condition()) is not None:
            raise Unavailable(repairs)
        return told

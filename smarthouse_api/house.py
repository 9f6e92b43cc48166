"""The house: all rules, wired to the stores that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pyarrow.compute as pc

from backends.registry import kind, open_objects, open_state, shared, shown
from config.settings import Settings, SettingsError
from smarthouse_api.access.downloads import Downloads
from smarthouse_api.access.grants import Access
from smarthouse_api.access.rates import Rates
from smarthouse_api.access.sessions import Sessions
from smarthouse_api.archives.service import Archives
from smarthouse_api.backups.service import Backups
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.adding_sums import AddingSums
from smarthouse_api.coordination.damage import Damages
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.mending import Mending, passing
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.coordination.presence import ProcessNote, note_of_this
from smarthouse_api.coordination.reserve import Reserve
from smarthouse_api.coordination.room import Room
from smarthouse_api.coordination.state_damage import StateDamage
from smarthouse_api.coordination.store_ages import StoreAges
from smarthouse_api.erasure.receipts import Receipts
from smarthouse_api.erasure.rounds import Rounds
from smarthouse_api.erasure.searching import Searching
from smarthouse_api.erasure.signing import SigningKeys
from smarthouse_api.errors import Unavailable
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.health import Check, conditions
from smarthouse_api.housekeeping import Housekeeper
from smarthouse_api.lake.engine_registry import open_engine
from smarthouse_api.lake.ledger_mending import LedgerMending
from smarthouse_api.migrating import Migrating
from smarthouse_api.restoring import Restoring
from smarthouse_api.sample.service import Samples
from smarthouse_api.serving.apart import Apart, Opened
from smarthouse_api.serving.forking import Forks
from smarthouse_api.serving.watch import Watch
from smarthouse_api.state_age import StateAge
from smarthouse_api.states.jobs.runner import Runner
from smarthouse_api.states.service import States
from smarthouse_api.status.census import Counting
from smarthouse_api.status.faults import Faults
from smarthouse_api.status.figures import figures_of
from smarthouse_api.status.history import History
from smarthouse_api.status.service import Status
from smarthouse_api.streams.service import Streams
from smarthouse_api.verifying import Verifying


class House:
    """Holds one installation's services, wired to the stores that the settings name.

    Making it opens nothing: stores connect when they are first used, after any fork. Raises `SettingsError`.

    may_begin: whether empty stores become a new installation by themselves.
    """

    def __init__(self, settings: Settings, *, may_begin: bool = True) -> None:
        self.settings = settings
        self.state, self.objects = open_state(settings.stores.state_url), open_objects(settings.stores.objects_url)
        try:
            self.engine = open_engine(
                settings.lake.engine_url,
                answer_seconds=settings.lake.engine_answer_seconds,
                query_seconds=settings.lake.engine_query_seconds,
                write_seconds=settings.lake.engine_write_seconds,
            )
        except ValueError as fault:
            raise SettingsError(f"SMARTHOUSE_ENGINE_URL: {fault}") from None
        self.installation = Installation(self.state, self.objects, may_begin=may_begin)
        self.notes = Notes(self.state, self.objects)
        self.access, self.rates = Access(self.state, self.notes), Rates(settings.access, self.state)
        self.sessions = Sessions(self.state)
        self.downloads = Downloads(self.state, settings.access.download_log_days)
        self.leases, keyring = Leases(self.state, settings.server.lease_seconds), Keyring(self.state)
        self.kind = "api"
        """What this process is: `api`; `exports`, which makes them for one of an API; or `worker`, which only keeps house."""

        faults = Faults(self.state)
        self.watch = Watch(self.installation, self.leases, faults, settings.server.lease_seconds, self._note)
        replies = Replies(self.state, settings.requests.idempotency_hours * 3600)
        stores = self.state, self.objects
        self.room = room = Room(*stores, settings.growth.free_bytes)
        self.states = States(*stores, keyring, self.leases, replies, self.engine, self.notes, room, settings)
        self.streams = Streams(*stores, keyring, self.leases, replies, self.access, self.notes, room, settings.streams)
        self.collections = Collections(
            *stores,
            self.leases,
            replies,
            self.notes,
            self.engine,
            room,
            settings.collections,
            settings.lake,
            settings.growth,
            self.states.homes.admission,
        )
        self.open_export: Callable[..., Opened | None] = lambda *asked, **options: self.states.exports.open(*asked, **options)
        self._apart: Apart | None = None
        self._hands: Forks | None = None
        tenants = self.states, self.streams, self.collections
        self.reserve = Reserve(*stores)
        interval, told = settings.lake.curate_interval_seconds, settings.receipts
        least = told.seconds + 2 * interval  # a purge and its sweep each wait for a turn
        self.rounds = Rounds(self.state, told.days, settings.forgetting.delay_seconds, least)
        self.signing_keys = SigningKeys(self.state, self.notes)
        kinds = kind(settings.stores.state_url), kind(settings.stores.objects_url)
        self.receipts = Receipts(self.objects, keyring, self.rounds, self.signing_keys, kinds, told.days)
        self.archives = Archives(self.state, self.objects, self.leases, *tenants, room, keyring, settings)
        self.forgetting = Forgetting(
            self.state,
            self.objects,
            *tenants,
            self.archives,
            self.access,
            self.leases,
            self.notes,
            self.reserve,
            self.rounds,
            settings.forgetting,
        )
        self.samples = Samples(self.states, self.forgetting, keyring, settings.consents)
        self.searching = Searching(
            *stores,
            self.notes,
            self.states.homes,
            self.streams,
            self.collections,
            self.rounds,
            settings.requests.max_decoded_bytes,
        )
        self.ages = StoreAges(*stores, self.leases)
        self.state_age = StateAge(
            self.installation, self.notes, self.states, self.streams, self.collections, self.access, self.leases
        )
        self.installation.compare_by(self.state_age)
        self.verifying = Verifying(self.state, self.notes, self.installation, self.ages, *tenants)
        self.restoring = Restoring(self.states, self.streams, self.collections, self.access, self.forgetting, self.signing_keys)
        tables = self.states.table, self.states.statistics, self.collections.table
        names = shown(settings.stores.state_url), shown(settings.stores.objects_url)
        lease_seconds = settings.server.lease_seconds
        self.backups = Backups(*stores, tables, self.installation, self.restoring, self.leases, lease_seconds, names)
        adding_sums = AddingSums(self.state)
        self.migrating = Migrating(self.installation, adding_sums, self.states, self.streams, self.collections)
        self._runner = runner = Runner(self.states.jobs.maker, self.leases, self.installation.settle, settings.jobs)
        of_states = self.states.chores, self.states.contents, self.states.jobs, runner
        chores = *of_states, self.archives, self.streams.chores, self.collections.chores
        records = self.collections.table, self.collections.chores.rebuilding.set_aside
        ledgers = LedgerMending([*self.states.rebuilding.tables(), records])
        of_records = *self.collections.chores.mending.menders(), *self.collections.home_mending.menders()
        menders = *self.states.mending.menders(), *ledgers.menders(), *of_records
        of_erasure = self.rounds.mender(), self.signing_keys.mender()
        others = *of_erasure, *self.streams.activity.menders(), *passing(self.state)
        self.mending = Mending(self.state, self.leases, [*menders, *others])
        finding = self.state_age.strangers, lambda: self.status.files_with_rows()
        census = Counting(*stores, self.leases, [table.name for table in tables], *finding)
        ages = self.state_age, self.ages
        self.history = History(self.state, self.leases, lambda: figures_of(self.status.report()))
        counting = census, self.history
        keepers = self.mending, self.forgetting, self.reserve, adding_sums, *chores, self.leases, *counting, *ages
        self.housekeeper = Housekeeper(self.installation, self.objects, *keepers, settings.lake)
        parts = *tenants, census, faults, self.watch.presence, room, settings.growth
        self.status: Status = Status(self.state, self.installation, self.forgetting, self.receipts, *parts, self.health)

    def begin(self) -> str | None:
        """Make what a new installation begins with. Return its first key to the one caller who comes first.

        Call it before anything else touches the stores. Raises `StoreUnfit` and makes nothing if they do not belong together.
        """
        self.installation.settle()
        # In production, no key may stand in the log.
        is_production = self.settings.server.env == "production"
        key = None if is_production else self.access.first_key()
        if self.settings.server.demo and (key is not None or (is_production and self.collections.catalogue.is_empty())):
            self.collections.begin()
        return key

    def forget_known(self, pseudonym: str) -> str:
        """Erase a home for an operator, as its owner's request would; return the id of the receipt. Raises `NotFound`."""
        found, asked = self.states.known_homes.find(pseudonym), self.receipts.now()
        return self.receipts.give(self.bound(pseudonym), asked, self.forgetting.forget_tagged(found.home.tag))

    def bound(self, pseudonym: str) -> str:
        """Name what the receipt of a home is for that an operator forgets, who does not know its UUID.

        It is keyed, unlike the pseudonym: who has the receipt cannot try the homes of an export.
        """
        return self.states.homes.tag(pseudonym)

    def part_exports(self) -> None:
        """Have exports made in a process of their own, where the system and the stores allow it. Call it before all else."""
        if Apart.is_possible() and shared(self.settings.stores):
            self._apart = apart = Apart(self._open_apart, self.states.jobs.maker.work, self._exporting)
            self.open_export, self._runner.work = partial(apart.open, "export"), apart.work
            self.archives.make = partial(apart.open, "archive")

    def part_jobs(self) -> None:
        """Have other processes help to make the parts of export jobs, likewise."""
        if Forks.are_possible() and shared(self.settings.stores) and self.settings.lake.engine_url == "embedded":
            pc.equal(0, 0)  # Arrow looks for pandas at its first computation: it is loaded once, for all of them
            self._hands = hands = Forks(self._help)
            self.states.jobs.maker.be_helped(hands.ask)

    def _help(self, connection: Connection) -> None:
        """Help with parts, in a process of its own. SQLite would keep its log."""
        try:
            self.states.jobs.maker.help(connection)
        finally:
            self._close_stores()

    def _open_apart(self, what: str, *asked: Any, **options: Any) -> Opened | None:
        """Open an export or an archive, in the process that makes them."""
        if what == "archive":
            return self.archives.made(*asked)
        return self.states.exports.open(*asked, **options)

    @contextmanager
    def _exporting(self) -> Iterator[None]:
        """Announce a process that makes exports while it lives, and keep the faults that it logs. Then close its stores: SQLite
        would keep its log, and a restore would ask whose that is.
        """
        self.part_jobs()
        self.kind = "exports"
        self.watch.start()
        try:
            yield
        finally:
            self.watch.stop()
            self._close_stores()

    def _note(self) -> ProcessNote:
        keeper = self.housekeeper
        return note_of_this(self.kind, keeps_house=keeper.is_running, doing=keeper.doing)

    def ask_to_stop(self) -> None:
        """End requests that would go on for long; a signal's handler may call it."""
        self.streams.tail.end()

    def close(self) -> None:
        """Stop the housekeeper and the watch, and close the stores."""
        self.housekeeper.stop()
        self.watch.stop()
        if self._apart is not None:
            self._apart.close()
        self._close_stores()

    def _close_stores(self) -> None:
        if self._hands is not None:
            self._hands.close()
        self.engine.close()
        self.state.close()
        self.objects.close()

    def health(self) -> tuple[dict[str, str], bool]:
        """Tell the condition of each backend and of the workers in words, and whether a backend fails."""
        checks = [
            Check("state", self.state.check),
            Check("objects", self.objects.check),
            Check("installation", self.installation.condition, needs_stores=True),
            Check("lake", self._lake, needs_stores=True),
            Check("files", Damages(self.state).condition, needs_stores=True),
            Check("documents", StateDamage(self.state).condition, needs_stores=True),
            Check("age", self.ages.condition, needs_stores=True),
            Check("homes", self.status.condition_of_homes, needs_stores=True),
        ]
        if self.settings.lake.engine_url != "embedded":
            checks.append(Check("engine", self.engine.check))
        if self.settings.server.housekeeping == "worker":
            checks.append(Check("workers", self.housekeeper.condition, needs_stores=True))
        return conditions(checks)

    def _lake(self) -> str:
        """Return one line on the lake for readiness. Raises as the tables do."""
        collections = self.collections.table.condition()  # first: that of states may be a warning only
        told = self.states.condition()
        if (losses := self.collections.chores.rebuilding.condition()) is not None:
            raise Unavailable(losses)
        return told if self.collections.table.open() is None else f"{told}; collections: {collections}"

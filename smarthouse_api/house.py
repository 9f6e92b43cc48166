"""The rules, wired to the stores that the settings name."""

from __future__ import annotations

from dataclasses import dataclass

from backends.ports import ObjectStore, StateStore
from backends.registry import open_objects, open_state
from config.settings import Settings, SettingsError
from smarthouse_api.access.grants import Access
from smarthouse_api.access.rates import Rates
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.health import Check, conditions
from smarthouse_api.housekeeping import Housekeeper
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.engines import open_engine
from smarthouse_api.restoring import Restoring
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads
from smarthouse_api.streams.service import Streams


@dataclass(frozen=True)
class House:
    """One installation's services. Making it opens nothing: stores connect when they are first used, after any fork."""

    settings: Settings
    state: StateStore
    objects: ObjectStore
    leases: Leases
    table: StatesTable
    engine: Engine
    access: Access
    homes: Homes
    uploads: Uploads
    states_chores: StatesChores
    forgetting: Forgetting
    restoring: Restoring
    exports: Exports
    streams: Streams
    collections: Collections
    housekeeper: Housekeeper
    rates: Rates

    @classmethod
    def from_settings(cls, settings: Settings) -> House:
        state, objects = open_state(settings.stores.state_url), open_objects(settings.stores.objects_url)
        keyring, access = Keyring(state), Access(state)
        leases = Leases(state, settings.server.lease_seconds)
        replies = Replies(state, settings.requests.idempotency_hours * 3600)
        table = StatesTable(objects, leases)
        try:
            engine = open_engine(settings.lake.engine_url)
        except ValueError as fault:
            raise SettingsError(f"SMARTHOUSE_ENGINE_URL: {fault}") from None
        homes = Homes(state, keyring)
        uploads = Uploads(state, objects, homes, replies, settings.requests)
        streams = Streams(state, objects, keyring, leases, replies, settings.streams)
        collections = Collections(state, objects, leases, replies, engine, settings.collections, settings.lake)
        forgetting = Forgetting(state, objects, homes, uploads, table, streams, access, leases, settings.forgetting)
        states_chores = StatesChores(uploads, homes, table, forgetting.is_purging, settings.lake)
        housekeeper = Housekeeper(objects, forgetting, states_chores, streams.chores, collections.chores, leases, settings.lake)
        return cls(
            settings=settings,
            state=state,
            objects=objects,
            leases=leases,
            table=table,
            engine=engine,
            access=access,
            homes=homes,
            uploads=uploads,
            states_chores=states_chores,
            forgetting=forgetting,
            restoring=Restoring(homes, uploads, table, streams, forgetting),
            exports=Exports(states_chores, homes, table, engine, keyring, settings.exports),
            streams=streams,
            collections=collections,
            housekeeper=housekeeper,
            rates=Rates(settings.access),
        )

    def begin(self) -> str | None:
        """The first key of a new installation, for the one caller who is the first in it, and what else it begins with.

        To be called before anything else touches the stores.
        """
        # In production, whoever reads the log is not to find a key there.
        is_production = self.settings.server.env == "production"
        key = None if is_production else self.access.first_key()
        if self.settings.server.demo and (key is not None or (is_production and self.collections.catalogue.is_empty())):
            self.collections.begin()
        return key

    def ask_to_stop(self) -> None:
        """Send those away who would stay for long; for a signal's handler."""
        self.streams.tail.end()

    def close(self) -> None:
        """Stop the housekeeper and let go of the stores."""
        self.housekeeper.stop()
        self.engine.close()
        self.state.close()
        self.objects.close()

    def health(self) -> tuple[dict[str, str], bool]:
        """Each backend's condition in words, the workers', and whether a backend fails."""
        checks = [
            Check("state", self.state.check),
            Check("objects", self.objects.check),
            Check("lake", self.table.condition, needs_stores=True),
        ]
        if self.settings.lake.engine_url != "embedded":
            checks.append(Check("engine", self.engine.check))
        if self.settings.server.housekeeping == "worker":
            checks.append(Check("workers", self.housekeeper.condition, needs_stores=True))
        return conditions(checks)

"""The house: all rules, wired to the stores that the settings name."""

from __future__ import annotations

from backends.registry import open_objects, open_state
from config.settings import Settings, SettingsError
from smarthouse_api.access.grants import Access
from smarthouse_api.access.rates import Rates
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.store_formats import StoreFormats
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.health import Check, conditions
from smarthouse_api.housekeeping import Housekeeper
from smarthouse_api.lake.engine_registry import open_engine
from smarthouse_api.restoring import Restoring
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams


class House:
    """Holds one installation's services, wired to the stores that the settings name.

    Making it opens nothing: stores connect when they are first used, after any fork. Raises `SettingsError`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state, self.objects = open_state(settings.stores.state_url), open_objects(settings.stores.objects_url)
        try:
            self.engine = open_engine(settings.lake.engine_url)
        except ValueError as fault:
            raise SettingsError(f"SMARTHOUSE_ENGINE_URL: {fault}") from None
        self.formats = StoreFormats(self.state, self.objects)
        self.access, self.rates = Access(self.state), Rates(settings.access)
        self.leases, keyring = Leases(self.state, settings.server.lease_seconds), Keyring(self.state)
        replies = Replies(self.state, settings.requests.idempotency_hours * 3600)
        stores = self.state, self.objects
        self.states = States(*stores, keyring, self.leases, replies, self.engine, settings)
        self.streams = Streams(*stores, keyring, self.leases, replies, settings.streams)
        self.collections = Collections(*stores, self.leases, replies, self.engine, settings.collections, settings.lake)
        self.forgetting = Forgetting(*stores, self.states, self.streams, self.access, self.leases, settings.forgetting)
        self.restoring = Restoring(self.states, self.streams, self.forgetting)
        chores = self.states.chores, self.streams.chores, self.collections.chores
        self.housekeeper = Housekeeper(self.formats, self.objects, self.forgetting, *chores, self.leases, settings.lake)

    def begin(self) -> str | None:
        """Make what a new installation begins with. Return its first key to the one caller who comes first.

        Call it before anything else touches the stores.
        """
        # In production, no key may stand in the log.
        is_production = self.settings.server.env == "production"
        key = None if is_production else self.access.first_key()
        if self.settings.server.demo and (key is not None or (is_production and self.collections.catalogue.is_empty())):
            self.collections.begin()
        return key

    def ask_to_stop(self) -> None:
        """End requests that would go on for long; a signal's handler may call it."""
        self.streams.tail.end()

    def close(self) -> None:
        """Stop the housekeeper and close the stores."""
        self.housekeeper.stop()
        self.engine.close()
        self.state.close()
        self.objects.close()

    def health(self) -> tuple[dict[str, str], bool]:
        """Tell the condition of each backend and of the workers in words, and whether a backend fails."""
        checks = [
            Check("state", self.state.check),
            Check("objects", self.objects.check),
            Check("format", self.formats.condition, needs_stores=True),
            Check("lake", self.states.condition, needs_stores=True),
        ]
        if self.settings.lake.engine_url != "embedded":
            checks.append(Check("engine", self.engine.check))
        if self.settings.server.housekeeping == "worker":
            checks.append(Check("workers", self.housekeeper.condition, needs_stores=True))
        return conditions(checks)

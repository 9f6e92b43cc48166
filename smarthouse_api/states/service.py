"""The tenant of Home Assistant's states: its services, each made with the others that it needs."""

from __future__ import annotations

from typing import Final

from backends.ports import ObjectStore, StateStore
from config.settings import Settings
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.lake.engine import Engine
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads

PURGE_LEASE: Final = "purge"
"""The lease of a purge. While it is held, nobody else replaces files of the lake."""


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
        settings: Settings,
    ) -> None:
        self.homes = Homes(state, keyring)
        self.table, self.statistics = StatesTable(objects, leases), StatisticsTable(objects, leases)
        self.uploads = Uploads(state, objects, self.homes, replies, settings.requests)
        tables = self.table, self.statistics
        self.chores = StatesChores(self.uploads, self.homes, *tables, lambda: leases.is_held(PURGE_LEASE), settings.lake)
        is_open = settings.access.export_access == "open"
        parts = self.chores, self.homes, self.table
        self.exports = Exports(*parts, engine, keyring, settings.exports, is_open=is_open)

    def condition(self) -> str:
        """Return one line on the lake for readiness. Raises `StoreUnavailable` if a table cannot be read."""
        told = self.table.condition()
        return told if self.statistics.open() is None else f"{told}; statistics: {self.statistics.condition()}"

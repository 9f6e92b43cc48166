"""Rate limits: how often one home or one address may ask."""

from __future__ import annotations

import math
from typing import Final

from limits import RateLimitItem, parse

from backends.ports import CountsWindows, StateStore
from config.groups import AccessSettings
from smarthouse_api.access.windows import Windows
from smarthouse_api.errors import TooMany

_NAMES: Final = ("home", "ingest", "rights", "export", "collections", "unknown")


class Rates:
    """Refuses clients that ask too often, by six limits.

    `home`, `ingest`: uploads and deletions of one home, and of one address. `rights`: deletions, summaries, archives and
    consents of one address. `export`: requests of one address for exports. `collections`: requests of one address to data
    sources and datasets. `unknown`: those of them with data for a dataset that does not exist.

    All processes count together if the state store can count, else each for itself.
    """

    def __init__(self, settings: AccessSettings, state: StateStore | None = None) -> None:
        rates = (
            settings.ingest_rate_home,
            settings.ingest_rate_address,
            settings.rights_rate_address,
            settings.export_rate_address,
            settings.collection_rate_address,
            settings.collection_rate_unknown,
        )
        self._items: dict[str, RateLimitItem] = {name: parse(rate) for name, rate in zip(_NAMES, rates, strict=True) if rate}
        self._windows = Windows(state if isinstance(state, CountsWindows) else None)

    def count(self, name: str, caller: str) -> None:
        """Count one request of `caller` against the limit `name`. Raises `TooMany`."""
        if (item := self._items.get(name)) is None:
            return
        wait_seconds = self._windows.hit(f"{name}/{item}/{caller}", item.amount, item.get_expiry())
        if wait_seconds is not None:
            whose = "home" if name == "home" else "address"
            raise TooMany(f"More than {item} for this {whose}", max(1, math.ceil(wait_seconds)))

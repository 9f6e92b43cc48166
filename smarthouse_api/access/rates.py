"""Rate limits: how often one home or one address may ask. Counted in memory: each worker process counts for itself."""

from __future__ import annotations

import math
import threading
import time
from functools import cached_property

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from config.groups import AccessSettings
from smarthouse_api.errors import TooMany


class Rates:
    """Refuses clients that ask too often, by four limits.

    `home`, `ingest`: uploads and deletions of one home, and of one address. `export`: requests of one address for exports.
    `collections`: requests of one address to data sources and datasets.
    """

    def __init__(self, settings: AccessSettings) -> None:
        rates = {
            "home": settings.ingest_rate_home,
            "ingest": settings.ingest_rate_address,
            "export": settings.export_rate_address,
            "collections": settings.collection_rate_address,
        }
        self._items: dict[str, RateLimitItem] = {name: parse(rate) for name, rate in rates.items() if rate}
        self._turn = threading.Lock()

    def count(self, name: str, caller: str) -> None:
        """Count one request of `caller` against the limit `name`. Raises `TooMany`."""
        if (item := self._items.get(name)) is None:
            return
        # Two threads in the storage at once may both start its timer, and one of them fails.
        with self._turn:
            allowed = self._windows.hit(item, name, caller)
            reset_at = 0.0 if allowed else self._windows.get_window_stats(item, name, caller).reset_time
        if not allowed:
            whose = "home" if name == "home" else "address"
            raise TooMany(f"More than {item} for this {whose}", max(1, math.ceil(reset_at - time.time())))

    @cached_property
    def _windows(self) -> FixedWindowRateLimiter:
        # Made on first use: the storage starts a thread.
        return FixedWindowRateLimiter(MemoryStorage())

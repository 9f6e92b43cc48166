"""The reserve: room that the stores keep aside, so that a home can be forgotten though they are full."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from backends.ports import KeepsReserve, ObjectStore, StateStore, StoreFull

_KEPT_SECONDS: Final = 60.0
_NOTICED_SECONDS: Final = 3.0
_BREATH_SECONDS: Final = 0.25

T = TypeVar("T")

log = logging.getLogger(__name__)


class Reserve:
    """Keeps room aside in each store that can, and gives it up for what makes room in the end."""

    def __init__(self, state: StateStore, objects: ObjectStore) -> None:
        self._stores = [store for store in (state, objects) if isinstance(store, KeepsReserve)]
        self._keeps_at: float | None = None

    def keep(self) -> None:
        """Set room aside again where there is enough by now. It looks once a minute, first a minute after the first call."""
        now = time.monotonic()
        if self._keeps_at is not None and now >= self._keeps_at:
            for store in self._stores:
                with suppress(StoreFull):
                    store.keep_reserve()
        if self._keeps_at is None or now >= self._keeps_at:
            self._keeps_at = now + _KEPT_SECONDS

    def spend_on(self, act: Callable[[], T]) -> T:
        """Do what is repeatable and makes room in the end. If a store is full, give up the reserve and do it again.

        Raises `StoreFull` if that does not suffice either.
        """
        try:
            return act()
        except StoreFull as fault:
            had_any = [store.spend_reserve() for store in self._stores]
            if not any(had_any):
                raise
            log.warning("a store is full, and what was kept aside is used to erase: %s", fault)
        # A server may go on for a second by what its disk was like.
        gives_up_at = time.monotonic() + _NOTICED_SECONDS
        while True:
            try:
                return act()
            except StoreFull:
                if time.monotonic() > gives_up_at:
                    raise
            time.sleep(_BREATH_SECONDS)

"""Decides when an upload that failed is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import Final

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later

from .client import Fault, ServiceError

WAITS_FOR_OWNER: Final = frozenset({Fault.KEY_NEEDED, Fault.KEY_WRONG, Fault.CONSENT, Fault.OBJECTED, Fault.LEFT_OUT})
"""What only the owner can mend: it is not tried again before the next time of the schedule."""

FIRST_SECONDS: Final = 60.0
_LAST_SECONDS: Final = 3600.0
_QUOTA_SECONDS: Final = 86400.0


class Retries:
    """Tries again after a minute, then after two, four and so on, up to an hour, or when the service asks for it."""

    def __init__(self, hass: HomeAssistant, again: Callable[[], None]) -> None:
        """again: what is called then."""
        self._hass, self._again, self._failures = hass, again, 0
        self._stop: CALLBACK_TYPE | None = None

    @property
    def is_pending(self) -> bool:
        """Tell whether a try is to come."""
        return self._stop is not None

    @callback
    def after(self, fault: ServiceError) -> None:
        """Try again after a fault, unless the owner has to mend it. A quota is the operator's: it is tried once a day."""
        if fault.fault in WAITS_FOR_OWNER:
            return
        if fault.fault == Fault.QUOTA:
            self.after_seconds(_QUOTA_SECONDS)
            return
        self.after_seconds(max(min(FIRST_SECONDS * 2**self._failures, _LAST_SECONDS), fault.retry_after or 0.0))
        self._failures = min(self._failures + 1, 10)

    @callback
    def after_seconds(self, seconds: float) -> None:
        """Try again after a while, and a few seconds, since other homes wait for the same moment."""
        self.cancel()
        self._stop = async_call_later(self._hass, seconds + random.SystemRandom().uniform(1, 10), self._on_time)

    @callback
    def taken(self) -> None:
        """Note that the service takes something: the next fault is the first one again."""
        self._failures = 0

    @callback
    def cancel(self) -> None:
        """Try no more by itself."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    @callback
    def _on_time(self, _: datetime) -> None:
        self._stop = None
        self._again()

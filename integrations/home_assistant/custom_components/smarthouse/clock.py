"""Notices a clock that was set back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from homeassistant.core import callback
from homeassistant.util import dt as dt_util

TICK: Final = timedelta(minutes=1)
_STEP_BACK_SECONDS: Final = 2.0


class ClockWatch:
    """Compares the clock with one that nobody sets, at each `tick`."""

    def __init__(self, set_back: Callable[[float], None]) -> None:
        """set_back: is told what the clock said at the latest right after that, in seconds since 1970."""
        self._set_back, self._apart = set_back, time.time() - time.monotonic()

    @callback
    def tick(self, _: datetime) -> None:
        """Look at the clock."""
        apart, before = time.time() - time.monotonic(), self._apart
        self._apart = apart
        if apart < before - _STEP_BACK_SECONDS:
            self._set_back(dt_util.utcnow().timestamp() - TICK.total_seconds())

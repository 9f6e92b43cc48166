"""Faults that go on: the log tells of each once when it begins, once an hour, and once when it ends."""

from __future__ import annotations

import logging
import time
from typing import Final

_TOLD_AGAIN_SECONDS: Final = 3600.0


class Trouble:
    """Logs one fault that is met again and again, by this process. ended: what the log says once it is over."""

    def __init__(self, log: logging.Logger, level: int, ended: str) -> None:
        self._log, self._level, self._ended = log, level, ended
        self._told: str | None = None
        self._told_at = 0.0

    def met(self, told: str) -> None:
        """Log the fault, unless the log has the same words of the last hour."""
        now = time.monotonic()
        if told != self._told or now - self._told_at >= _TOLD_AGAIN_SECONDS:
            self._log.log(self._level, "%s", told)
            self._told, self._told_at = told, now

    def over(self) -> None:
        """Log that the fault is over, if there was one."""
        if self._told is not None:
            self._told = None
            self._log.warning("%s", self._ended)

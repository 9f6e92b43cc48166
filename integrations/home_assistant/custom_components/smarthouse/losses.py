"""Notices that a service has lost what it took, as one that is restored from a backup lacks the last days.

1. Each body that the service newly took is counted, in its answer. It counts the same, and tells it in the home's summary.
2. Once a day, and after each fault, the two are compared. The service may have more: the home may upload from elsewhere, too.
3. If it has fewer and still its first upload, it lost those between its backup and its restore. They lie behind the last look.
   The trail tells since when what was recorded is to be sent again. What the service has of that, it keeps once.
4. If it has none, or another first one, nobody can tell a loss from an erasure that somebody asked for. So the owner is asked.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, Final

from .client import Client, ServiceError
from .progress import Looked, Progress, Step

_LOGGER = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 72_000.0
"""How long the service is not asked what it holds: a nightly upload asks each time, an hourly one once a day."""

_STEP_SECONDS: Final = 21_600.0
_MOST_STEPS: Final = 60


@dataclass(frozen=True)
class Loss:
    """Says what a service has lost. since: what was recorded from then on is to be sent again; None: the owner has to decide.

    with_statistics: whether the long-term statistics are to be sent again, too.
    """

    since: float | None
    with_statistics: bool = False


class Losses:
    """Compares what the service took with what it has."""

    def __init__(self, client: Client, progress: Progress) -> None:
        self._client, self._progress, self._look_from = client, progress, 0.0

    async def look(self) -> Loss | None:
        """Ask the service, once a day and after a fault, what it has. Asking costs it a flush."""
        now, progress = time.monotonic(), self._progress
        if not progress.rows_sent or (progress.fault is None and now < self._look_from):
            return None
        self._look_from = now + _LOOK_SECONDS
        try:
            told = await self._client.held()
        except ServiceError:  # the upload tells the owner
            return None
        if (found := _looked(told, progress.uploads)) is None:
            return None
        before, progress.looked = progress.looked, found
        return self._compare(before, found)

    def step(self, since: float) -> None:
        """Note that all bodies from now on have rows of `since` or later, and all before were sent before."""
        trail = self._progress.trail
        if not trail or not trail[-1].since <= since < trail[-1].since + _STEP_SECONDS:
            self._progress.trail = [*trail[-_MOST_STEPS:], Step(self._progress.uploads, since)]

    def _compare(self, before: Looked | None, found: Looked) -> Loss | None:
        if not found.uploads:
            return Loss(None)
        if before is None:
            return None
        missing = before.uploads + found.ours - before.ours - found.uploads
        if missing <= 0:
            return None
        if found.first != before.first:
            return Loss(None)
        kept = before.ours - missing
        steps = [step.since for step in self._progress.trail]
        behind = [place for place, step in enumerate(self._progress.trail) if step.uploads <= kept]
        since = min(steps[behind[-1] :]) if behind else 0.0
        _LOGGER.warning("SmartHouse has lost %d uploads. What they held is sent again, as far as the recorder has it", missing)
        return Loss(since, with_statistics=kept < self._progress.statistics_ended)


def _looked(told: dict[str, Any], ours: int) -> Looked | None:
    """Read how many uploads the service has, those included whose bytes have expired. A service of before may not tell."""
    kept, expired, first = told.get("uploads"), told.get("expired_uploads"), told.get("first")
    if not isinstance(kept, int) or not isinstance(expired, int):
        return None
    return Looked(kept + expired, first if isinstance(first, str) else None, ours)

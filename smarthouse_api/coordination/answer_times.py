"""When to answer what must not tell, by the time that it took, what was there: a home that is erased and one that never was.

1. All such answers take the same time: a least time, or the longest that one took in the last day, rounded up.
2. What has to wait for downloads is apart: while data is sent, all take as long as the longest one did while data was sent.
   Whether data is sent does not depend on the home that is asked for. So a slow download slows no answer after it.

It is in the state store, space `answers`: a document for each kind of request, with that time in seconds, for a day. So all
processes share it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from backends.ports import StateStore, StoreError

_SPACE: Final = "answers"
_BUSY: Final = "-while-read"
_REMEMBERED_SECONDS: Final = 86400.0
_STEP: Final = 1.5
"""A longer time is rounded up by so much at most. Otherwise each that takes a little longer than the others would be told."""

_LONGEST_SECONDS: Final = 30.0
"""Proxies and clients wait for an answer no longer than that, or not much. What takes longer is answered when it is done."""


@dataclass(frozen=True)
class Begun:
    """Says when a request began, by `time.monotonic`, and under which name its time is remembered."""

    at: float
    name: str


class AnswerTimes:
    """Tells when to answer requests of one kind.

    is_busy: tells whether what a request may have to wait for is under way, such as downloads.
    """

    def __init__(self, state: StateStore, kind: str, least_seconds: float, is_busy: Callable[[], bool] = lambda: False) -> None:
        self._state, self._kind, self._least_seconds, self._is_busy = state, kind, least_seconds, is_busy

    def begin(self) -> Begun:
        """Note that a request begins now."""
        at, name = time.monotonic(), self._kind
        with suppress(StoreError):
            name += _BUSY if self._is_busy() else ""
        return Begun(at, name)

    def due_at(self, begun: Begun, *, has_failed: bool = False) -> float:
        """Return when to answer a request that is done now, by `time.monotonic`.

        has_failed: its time says how long an outage was waited for, and later answers do not wait so long.
        """
        took_seconds, wanted_seconds = time.monotonic() - begun.at, self._least_seconds
        with suppress(StoreError):
            wanted_seconds = self._seconds(begun.name)
            own_seconds = self._rounded(took_seconds)
            if not has_failed and own_seconds >= wanted_seconds and own_seconds > self._least_seconds:
                wanted_seconds = own_seconds
                self._state.put(_SPACE, begun.name, str(own_seconds).encode(), ttl_seconds=_REMEMBERED_SECONDS)
        return begun.at + wanted_seconds

    def seconds(self) -> float:
        """Return how long each answer takes now. Raises `StoreError`."""
        return self._seconds(self.begin().name)

    def _seconds(self, name: str) -> float:
        found = self._state.get(_SPACE, name)
        return max(self._least_seconds, float(found.value) if found else 0.0)

    def _rounded(self, seconds: float) -> float:
        """Round up to the least time, or to that times a power of the step."""
        steps = math.ceil(math.log(max(seconds / self._least_seconds, 1.0), _STEP))
        return min(self._least_seconds * math.pow(_STEP, steps), _LONGEST_SECONDS)

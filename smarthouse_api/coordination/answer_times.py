"""When to answer what must not tell, by the time that it took, what was there: a home that is erased and one that never was.

All such answers take the same time: a least time, or the longest that one took in the last day, rounded up. It is in the state
store, space `answers`: a document for each kind of request, with that time in seconds, for a day. So all processes share it.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Final

from backends.ports import StateStore, StoreError

_SPACE: Final = "answers"
_REMEMBERED_SECONDS: Final = 86400.0
_STEP: Final = 1.5
"""A longer time is rounded up by so much at most. Otherwise each that takes a little longer than the others would be told."""

_LONGEST_SECONDS: Final = 30.0
"""Proxies and clients wait for an answer no longer than that, or not much. What takes longer is answered when it is done."""


class AnswerTimes:
    """Tells when to answer requests of one kind. least_seconds: 0 answers each at once."""

    def __init__(self, state: StateStore, kind: str, least_seconds: float) -> None:
        self._state, self._kind, self._least_seconds = state, kind, least_seconds

    def due_at(self, began_at: float, *, has_failed: bool = False) -> float:
        """Return when to answer a request that is done now, by `time.monotonic`. began_at: when it began, by the same clock.

        has_failed: its time says how long an outage was waited for, and later answers do not wait so long.
        """
        if not self._least_seconds:
            return began_at
        took_seconds, wanted_seconds = time.monotonic() - began_at, self._least_seconds
        with suppress(StoreError):
            found = self._state.get(_SPACE, self._kind)
            wanted_seconds = max(wanted_seconds, float(found.value) if found else 0.0)
            own_seconds = self._rounded(took_seconds)
            if not has_failed and own_seconds >= wanted_seconds and own_seconds > self._least_seconds:
                wanted_seconds = own_seconds
                self._state.put(_SPACE, self._kind, str(own_seconds).encode(), ttl_seconds=_REMEMBERED_SECONDS)
        return began_at + wanted_seconds

    def _rounded(self, seconds: float) -> float:
        """Round up to the least time, or to that times a power of the step."""
        steps = math.ceil(math.log(max(seconds / self._least_seconds, 1.0), _STEP))
        return min(self._least_seconds * math.pow(_STEP, steps), _LONGEST_SECONDS)

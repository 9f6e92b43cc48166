"""Fixed windows of time, in which calls are counted: here, and together with the other processes in a store that can count.

limits, which parses the rates, has storages for this. Its one in memory starts a thread for nearly each call, and its ones for
Redis take no connections of ours, and ask Redis at each call: with `appendfsync always`, a wait for the disk.
"""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from backends.ports import CountsWindows, StoreError

_SHARE: Final = 100
"""A process tells the others once it has counted this part of the limit. So most callers are never named in the store."""
_LEAST_KEPT: Final = 1024


@dataclass(slots=True)
class _Window:
    """Counts one caller's calls. told: those that the store knows, of all processes. untold: this one's since."""

    ends_at: float
    told: int = 0
    untold: int = 0


class Windows:
    """Counts calls, each caller's in a window that begins with its first call.

    shared: a store that counts for all processes.
    """

    def __init__(self, shared: CountsWindows | None = None) -> None:
        self._shared = shared
        self._turn = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._kept = _LEAST_KEPT

    def hit(self, caller: str, amount: int, seconds: float) -> float | None:
        """Count a call, if it is one of `amount` in its window; None, or the seconds to wait for the next window."""
        now, untold = time.monotonic(), 0
        with self._turn:
            window = self._windows.get(caller)
            if window is None or now >= window.ends_at:
                self._forget_old(now)
                window = self._windows[caller] = _Window(now + seconds)
            if window.told + window.untold >= amount:
                return window.ends_at - now
            window.untold += 1
            if self._shared is not None and window.untold * _SHARE >= amount:
                untold, window.untold = window.untold, 0
                window.told += untold
        if untold and self._shared is not None and self._tell(self._shared, caller, window, untold, seconds) > amount:
            return window.ends_at - now
        return None

    def _tell(self, shared: CountsWindows, caller: str, window: _Window, untold: int, seconds: float) -> int:
        """Add to what all processes have counted; how many that is. While the store does not answer, what is known here."""
        name = hashlib.blake2b(caller.encode(), digest_size=16).hexdigest()
        with suppress(StoreError):
            told, left_seconds = shared.count_in_window(name, untold, seconds)
            with self._turn:
                window.told, window.ends_at = told, time.monotonic() + left_seconds
        return window.told

    def _forget_old(self, now: float) -> None:
        if len(self._windows) >= self._kept:
            self._windows = {caller: window for caller, window in self._windows.items() if now < window.ends_at}
            self._kept = max(_LEAST_KEPT, 2 * len(self._windows))

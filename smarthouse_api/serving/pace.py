"""The pace that a client keeps: whether it sends, or takes, at least so much in so much time."""

from __future__ import annotations

import time
from typing import Final

LEAST_BYTES_A_SECOND: Final = 4096
"""What the slowest honest connection manages. 16 MiB then take 70 minutes."""


class Pace:
    """Tells when a client has become too slow. A byte gives it more time, but never more than `seconds` from then on.

    So neither a pause of `seconds` nor a trickle lasts longer than that, and a large request may take as long as it needs.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def moved(self, count: int) -> None:
        """Take into account that so many bytes have come, or gone, now."""
        self._until = min(self._until + count / LEAST_BYTES_A_SECOND, time.monotonic() + self._seconds)

    def left_seconds(self) -> float:
        """Return how long the client may stay silent from now on; zero or less if it is too slow."""
        return self._until - time.monotonic()

"""Answers that are made while they are sent: how many at a time, and under which lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TypeVar

from smarthouse_api.coordination.leases import Lease
from smarthouse_api.errors import Unavailable

Chunk = TypeVar("Chunk")


class Slots:
    """Limits how many answers of one kind a process makes at a time: each enters, and leaves at its end.

    refusal: the message of the `Unavailable` that entering raises if all slots are taken.
    """

    def __init__(self, at_once: int, refusal: str) -> None:
        self._free, self._refusal = threading.BoundedSemaphore(at_once), refusal

    def __enter__(self) -> None:
        if not self._free.acquire(blocking=False):
            raise Unavailable(self._refusal)

    def __exit__(self, *_: object) -> None:
        self._free.release()


class LeasedAnswer:
    """Sends data that a reader's lease protects, and stops once the lease is lost. The caller closes it.

    1. Opening an answer takes a slot, then the lease, then looks for the data. So nobody removes the data in between.
    2. Each chunk is sent only while the lease is held, even if it was read ahead.
    3. Closing ends the reading, then the lease, then the slot: the entries of `ending` from the last to the first.
    """

    def __init__(self, lease: Lease, ending: ExitStack) -> None:
        self._lease, self._ending = lease, ending
        self._closing = threading.Lock()

    def close(self) -> None:
        """End the answer, whether it is complete or not. Repeatable, from any thread."""
        with self._closing:
            ending = self._ending.pop_all()
        ending.close()

    def _while_leased(self, chunks: Iterable[Chunk], look_seconds: float = 0.0) -> Iterator[Chunk]:
        """Pass on the chunks while the lease is held. look_seconds: time between two looks at it. Raises `LeaseLost`."""
        looked_at = float("-inf")
        for chunk in chunks:
            if (now := time.monotonic()) - looked_at >= look_seconds:
                self._lease.check()
                looked_at = now
            yield chunk

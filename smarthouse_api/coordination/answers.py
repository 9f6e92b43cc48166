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
    """Bounds how many answers of one kind a process makes at a time. Entered for each, and left at its end.

    refusal: what a client is told if all are taken; entering then raises `Unavailable`.
    """

    def __init__(self, at_once: int, refusal: str) -> None:
        self._free, self._refusal = threading.BoundedSemaphore(at_once), refusal

    def __enter__(self) -> None:
        if not self._free.acquire(blocking=False):
            raise Unavailable(self._refusal)

    def __exit__(self, *_: object) -> None:
        self._free.release()


class LeasedAnswer:
    """Sends what a reader's lease protects, and nothing that was read ahead once the lease is lost. To be closed at its end.

    1. Whoever opens an answer takes a slot, then the lease, then looks for what it sends: nobody removes that in between.
    2. Each chunk is sent only while the lease is held.
    3. Closing ends what still reads, then the lease, then the slot: in the opposite order of `ending`'s entries.
    """

    def __init__(self, lease: Lease, ending: ExitStack) -> None:
        self._lease, self._ending = lease, ending
        self._closing = threading.Lock()

    def close(self) -> None:
        """The answer is over, however it ended. Repeatable, from any thread."""
        with self._closing:
            ending = self._ending.pop_all()
        ending.close()

    def _while_leased(self, chunks: Iterable[Chunk], look_seconds: float = 0.0) -> Iterator[Chunk]:
        """The chunks. look_seconds: the lease is not looked at more often. Raises `LeaseLost`."""
        looked_at = float("-inf")
        for chunk in chunks:
            if (now := time.monotonic()) - looked_at >= look_seconds:
                self._lease.check()
                looked_at = now
            yield chunk

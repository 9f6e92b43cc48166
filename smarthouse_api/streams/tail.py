"""A stream's packets as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from smarthouse_api.errors import NotFound, Unavailable
from smarthouse_api.streams.heads import Heads
from smarthouse_api.streams.model import LARGEST_INDEX, Packet, Stream
from smarthouse_api.streams.shelf import Shelf

_LOOK_SECONDS: Final = 0.1
_CHECK_SECONDS: Final = 1.0
_HEARTBEAT_SECONDS: Final = 10.0
_AT_ONCE: Final = 5000


class Tail:
    """seconds: after so long a follower is sent away, to come back if it likes. at_once: followers of this process."""

    def __init__(self, heads: Heads, shelf: Shelf, *, seconds: float, at_once: int) -> None:
        self._heads, self._shelf, self._seconds = heads, shelf, seconds
        self._free = threading.BoundedSemaphore(at_once)
        self._ending = threading.Event()

    def follow(
        self, stream: Stream, start: int | None, stop: int | None, is_allowed: Callable[[], bool]
    ) -> Iterator[list[Packet]]:
        """Packets from `start` (None: those to come) to `stop` (None: without end), some at a time; an empty list now and then.

        Ends when the time is over, the stream is deleted, or `is_allowed`, asked every second, says no. It is to be closed.
        Raises `NotFound`, and `Unavailable` when too many follow.
        """
        begin = self._heads.look(stream).head.next if start is None else start
        if not self._free.acquire(blocking=False):
            raise Unavailable("Too many follow streams here; come back later, or ask for ranges")
        packets = self._followed(stream, begin, LARGEST_INDEX if stop is None else stop, is_allowed)
        next(packets)  # From here on the generator gives its place free, even if nobody asks it for a packet.
        return packets

    def end(self) -> None:
        """Send all followers away, and whoever comes: the process is about to stop."""
        self._ending.set()

    def _followed(self, stream: Stream, begin: int, stop: int, is_allowed: Callable[[], bool]) -> Iterator[list[Packet]]:
        try:
            yield []
            ends_at = time.monotonic() + self._seconds
            asked_at = told_at = time.monotonic()
            while begin <= stop and time.monotonic() < ends_at:
                if time.monotonic() - asked_at >= _CHECK_SECONDS:
                    if not is_allowed():
                        return
                    asked_at = time.monotonic()
                is_new = False
                for packets in self._new(stream, begin, stop):
                    yield packets
                    begin, is_new, told_at = packets[-1].index + 1, True, time.monotonic()
                if not is_new and time.monotonic() - told_at >= _HEARTBEAT_SECONDS:
                    yield []
                    told_at = time.monotonic()
                if self._ending.wait(0 if is_new else _LOOK_SECONDS):
                    return
        except NotFound:
            return
        finally:
            self._free.release()

    def _new(self, stream: Stream, begin: int, stop: int) -> Iterator[list[Packet]]:
        if self._heads.look(stream).head.next <= begin:
            return
        for block in self._shelf.blocks(stream, begin, stop):
            packets = list(block.packets())
            for low in range(0, len(packets), _AT_ONCE):
                yield packets[low : low + _AT_ONCE]

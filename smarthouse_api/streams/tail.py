"""Following a stream: a client gets its packets as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Final

from config.groups import StreamSettings
from smarthouse_api.coordination.leased_answers import Slots
from smarthouse_api.errors import NotFound
from smarthouse_api.streams.heads import Heads
from smarthouse_api.streams.model import LARGEST_INDEX, Packet, Stream
from smarthouse_api.streams.reading import PacketReader

_LOOK_SECONDS: Final = 0.1
_CHECK_SECONDS: Final = 1.0
_HEARTBEAT_SECONDS: Final = 2.0
"""Only a write shows that a client has gone, and the place of that client is free after two of them."""
_AT_ONCE_BYTES: Final = 256 << 10
_EVENT_BYTES: Final = 100
"""Bytes that an event holds besides its packet, about."""


class Tail:
    """Sends followers a stream's packets as they come. After `follow_seconds` a follower is sent away, and may come back."""

    def __init__(self, heads: Heads, reader: PacketReader, settings: StreamSettings) -> None:
        self._heads, self._reader, self._seconds = heads, reader, settings.follow_seconds
        self._slots = Slots(settings.followers, "Too many clients follow streams here; come back later, or ask for ranges")
        self._is_ending = False  # no Event: a signal's handler may not wait for a lock that it interrupted

    def follow(
        self, stream: Stream, start: int | None, stop: int | None, is_allowed: Callable[[], bool]
    ) -> Generator[list[Packet]]:
        """Yield packets from `start` to `stop`, some at a time, and an empty list now and then. The caller closes it.

        start: None for packets to come. stop: None for no end. It ends when the time is over, when the stream is deleted, or
        when `is_allowed` says no, which is asked every second. Raises `NotFound`, and `Unavailable` when too many follow.
        """
        following = self._heads.look(stream).head.next
        begin = following if start is None else start
        packets = self._in_a_slot(self._followed(stream, begin, LARGEST_INDEX if stop is None else stop, is_allowed))
        next(packets)  # takes the slot, which the generator now gives back even if nobody asks it for a packet
        return packets

    def end(self) -> None:
        """Send all followers away, and refuse to keep new ones, because the process is about to stop."""
        self._is_ending = True

    def _in_a_slot(self, packets: Generator[list[Packet]]) -> Generator[list[Packet]]:
        with self._slots, closing(packets):
            yield []
            yield from packets

    def _followed(self, stream: Stream, begin: int, stop: int, is_allowed: Callable[[], bool]) -> Generator[list[Packet]]:
        try:
            ends_at = time.monotonic() + self._seconds
            asked_at = told_at = time.monotonic()
            while begin <= stop and time.monotonic() < ends_at:
                if time.monotonic() - asked_at >= _CHECK_SECONDS:
                    if not is_allowed():
                        return
                    asked_at = time.monotonic()
                following, is_new = self._heads.look(stream).head.next, False
                for packets in self._new(stream, begin, stop) if following > begin else ():
                    yield packets
                    begin, is_new, told_at = packets[-1].index + 1, True, time.monotonic()
                    if self._is_ending or time.monotonic() - asked_at >= _CHECK_SECONDS:
                        break  # much more may be there
                else:
                    # Of the indexes up to there, none is still to come.
                    begin = max(begin, min(following, stop + 1))
                if not is_new and time.monotonic() - told_at >= _HEARTBEAT_SECONDS:
                    yield []
                    told_at = time.monotonic()
                if self._is_ending:
                    return
                if not is_new:
                    time.sleep(_LOOK_SECONDS)
        except NotFound:
            return

    def _new(self, stream: Stream, begin: int, stop: int) -> Iterator[list[Packet]]:
        for block in self._reader.blocks(stream, begin, stop):
            packets, size = list[Packet](), 0
            for packet in block.packets():
                packets.append(packet)
                size += len(packet.data) + _EVENT_BYTES
                if size >= _AT_ONCE_BYTES:
                    yield packets
                    packets, size = [], 0
            if packets:
                yield packets

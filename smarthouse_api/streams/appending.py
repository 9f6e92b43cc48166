"""Appending: many writers add packets to a stream, one after another, each durable once its request is answered.

The threads of one process share their commits (group commit):

1. Each append joins the line of its stream, and waits for its turn.
2. The append whose turn it is takes the waiting ones, as many as fit into one commit, until it has an outcome itself.
3. It plans them on the stream as this process saw it last, and commits the plan.
4. If another process was first, it looks at the stream again, and goes on with step 3.
5. Each append gets an outcome of its own. If it has one when its turn comes, nothing is left to do.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from backends.ports import ABSENT, Conflict, StoreError, StoreUnavailable
from config.groups import StreamSettings
from smarthouse_api.access.keys import Owner
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import InUse, Invalid, NotFound, Refused, TooLarge, Unavailable, own_copy
from smarthouse_api.streams.catalogue import StreamCatalogue
from smarthouse_api.streams.heads import Draft, Heads, HeadSnapshot, space_of
from smarthouse_api.streams.model import LARGEST_INDEX, Appended, NewPacket, Stream
from smarthouse_api.streams.packet_encoding import entries
from smarthouse_api.streams.reading import PacketReader

_ATTEMPTS: Final = 200
_BATCH_BYTES: Final = 8 << 20
_MOST_SEEN: Final = 10_000
_REPLY: Final = pair_of(Appended)


@dataclass
class _Append:
    """Holds one request to append while it waits for its turn, and then its outcome."""

    stream: Stream
    packets: Sequence[NewPacket]
    owner: Owner
    session_id: str | None
    request_key: RequestKey | None
    size: int = 0
    outcome: Appended | Exception | None = None


@dataclass
class _Line:
    """Queues the requests of this process that append to one stream."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    asked: deque[_Append] = field(default_factory=deque)
    present: int = 0


class Appending:
    """Appends packets to streams: checks them, numbers them, and commits the packets of many requests together."""

    def __init__(
        self,
        catalogue: StreamCatalogue,
        heads: Heads,
        reader: PacketReader,
        replies: Replies,
        room: Room,
        settings: StreamSettings,
    ) -> None:
        self._room = room
        self._catalogue, self._heads, self._reader = catalogue, heads, reader
        self._replies, self._settings = replies, settings
        self._gate = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._seen: dict[str, HeadSnapshot] = {}

    def append(
        self,
        stream: Stream,
        packets: Sequence[NewPacket],
        owner: Owner,
        *,
        session_id: str | None = None,
        request_key: RequestKey | None = None,
    ) -> Appended:
        """Store all the packets, or none. They are durable once this returns.

        A packet without an index gets the next index: the stream's for the first packet, or one above the packet before it. If
        an index is taken by the same bytes, the packet is a repeat. session_id: the open session that the packets must belong
        to. Raises `InUse` (another key owns the stream, other bytes stand at an index, the named session is not open),
        `KeyReused`, `TooLarge`, `Invalid`, `NotFound`, `NoRoom`.
        """
        self._room.check()
        asked = _Append(stream, packets, owner, session_id, request_key, self._checked_size(packets))
        try:
            return self._outcome(asked)
        except NotFound:
            # The caller may have recalled a stream that was deleted and created again.
            asked.stream, asked.outcome = self._catalogue.find(stream.home_id, stream.module_id, stream.name), None
            if asked.stream.key == stream.key:
                raise
            return self._outcome(asked)

    def _outcome(self, asked: _Append) -> Appended:
        with self._in_line(asked.stream.key) as line:
            line.asked.append(asked)
            with line.turn:
                while asked.outcome is None:
                    self._settle(list(_taken(line.asked)))
        if isinstance(asked.outcome, Appended):
            return asked.outcome
        raise asked.outcome

    def _checked_size(self, packets: Sequence[NewPacket]) -> int:
        if not packets:
            raise Invalid("There is no packet; send at least one")
        largest = max(len(packet.data) for packet in packets)
        if largest > self._settings.packet_bytes:
            raise TooLarge(f"A packet has {largest} bytes; at most {self._settings.packet_bytes} are taken")
        return sum(len(packet.data) for packet in packets)

    @contextmanager
    def _in_line(self, key: str) -> Iterator[_Line]:
        with self._gate:
            line = self._lines.setdefault(key, _Line())
            line.present += 1
        try:
            yield line
        finally:
            with self._gate:
                line.present -= 1
                if not line.present:
                    del self._lines[key]

    def _settle(self, batch: list[_Append]) -> None:
        """Give each of the batch its outcome."""
        outcome: Exception = StoreUnavailable("the append was interrupted")
        try:
            for attempt in range(_ATTEMPTS):
                with suppress(Conflict):
                    if not (left := [asked for asked in batch if asked.outcome is None]):
                        return
                    self._try(left, is_first=attempt == 0)
                    continue
                # Another process was first. It will be again, unless the two fall out of step.
                time.sleep(random.uniform(0, 0.002))  # noqa: S311
            outcome = Unavailable("This stream is being written to from too many sides; repeat the request")
        except Exception as error:  # any error goes to each request that waits
            outcome = error
        finally:
            for asked in batch:
                asked.outcome = asked.outcome or own_copy(outcome)

    def _try(self, batch: list[_Append], *, is_first: bool) -> None:
        """One attempt at all of the batch, in one commit. Raises `Conflict` when another process was first."""
        stream = batch[0].stream
        # Mostly nobody else wrote meanwhile. If another did, the commit fails, and the next attempt looks.
        seen = self._seen.pop(stream.key, None) if is_first else None
        is_fresh = seen is None
        draft = Draft(seen or self._heads.look(stream))
        outcomes = list[tuple[_Append, Appended | Refused | None]]()
        received_us = microseconds(datetime.now(UTC))
        for asked in batch:
            try:
                outcomes.append((asked, self._planned(draft, asked, received_us)))
            except Refused as refusal:
                outcomes.append((asked, refusal))
        if not is_fresh and any(isinstance(outcome, Refused) for _, outcome in outcomes):
            return  # what refused them may be over already
        if not draft.is_idle:
            self._commit(stream, draft)
        elif not is_fresh:
            self._heads.look(stream)  # no commit has told whether it is still there
        for asked, outcome in outcomes:
            asked.outcome = outcome

    def _commit(self, stream: Stream, draft: Draft) -> None:
        seen = self._heads.commit(stream, draft)
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[stream.key] = seen
        size = self._settings.segment_bytes
        before, after = draft.seen.head.bytes // size, seen.head.bytes // size
        if before != after:
            with suppress(StoreError):  # the packets are durable, and housekeeping finds them later all the same
                self._catalogue.mark_full(stream)

    def _planned(self, draft: Draft, asked: _Append, received_us: int) -> Appended | None:
        """What the request is answered once the draft is stored; None if it must wait for the request before it."""
        if asked.request_key is not None and asked.request_key.document in draft.expect:
            return None
        if (earlier := self._replies.earlier(space_of(asked.stream.key), asked.request_key, _REPLY)) is not None:
            return earlier
        if asked.session_id is not None and (draft.head.open is None or draft.head.open.id != asked.session_id):
            raise InUse("The session is not open: it was closed or timed out; open another to go on", reason="SESSION_NOT_OPEN")
        draft.own(asked.owner)
        head, placed = draft.head, _placed(asked.packets, draft.head.next)
        new = [(index, data) for index, data in placed if index >= head.next]
        self._check_repeats(draft, asked.stream, [(index, data) for index, data in placed if index < head.next])
        appended = Appended(placed[0][0], placed[-1][0])
        if new:
            draft.append(new, entries(new, received_us), received_us)
        for put in self._replies.puts(asked.request_key, appended, _REPLY):
            draft.expect[put.key] = ABSENT
            draft.puts.append(put)
        return appended

    def _check_repeats(self, draft: Draft, stream: Stream, repeats: Sequence[tuple[int, bytes]]) -> None:
        """Raises `InUse` unless exactly these bytes stand at these indexes."""
        waiting = draft.waiting
        stored = self._reader.at(stream, [index for index, _ in repeats if index not in waiting]) if repeats else {}
        for index, data in repeats:
            found = waiting.get(index, stored.get(index))
            if found != data:
                why = "no packet is kept there" if found is None else "other bytes stand there"
                detail = f"Index {index} is below the next one, {draft.head.next}, and {why}; use the next one or a higher one"
                raise InUse(detail, reason="INDEX_TAKEN")


def _taken(asked: deque[_Append]) -> Iterator[_Append]:
    """The waiting appends that fit into one commit; at least one."""
    size = 0
    while asked and (size == 0 or size + asked[0].size <= _BATCH_BYTES):
        size += max(asked[0].size, 1)
        yield asked.popleft()


def _placed(packets: Sequence[NewPacket], next_index: int) -> list[tuple[int, bytes]]:
    """The packets, each with its index. Raises `Invalid` unless the indexes rise, `InUse` if no index is left."""
    placed, following = list[tuple[int, bytes]](), next_index
    for packet in packets:
        index = following if packet.index is None else packet.index
        if placed and index <= placed[-1][0]:
            raise Invalid(f"The indexes of a batch must rise; {index} comes after {placed[-1][0]}")
        if index > LARGEST_INDEX:
            raise InUse(f"The stream is full: no index is above {LARGEST_INDEX}", reason="STREAM_FULL")
        placed.append((index, packet.data))
        following = index + 1
    return placed

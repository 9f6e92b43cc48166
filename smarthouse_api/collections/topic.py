"""The entry topic of a collection, for consumers: they read records as they come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from backends.ports import NamesLogs, StateStore
from smarthouse_api.collections.model import TOPIC, Collection, Position, position_in, read_entry
from smarthouse_api.errors import Invalid, NotFound

_ENTRIES: Final = 16
_BYTES: Final = 8 << 20
_START: Final = "0"


@dataclass(frozen=True, slots=True)
class TopicEvent:
    """Tells consumers of a record that came in. record: as JSON. fault: why it fails the collection's schema, if it does."""

    position: str
    received_at: datetime
    msgid: str | None
    record: msgspec.Raw
    fault: str | None


@dataclass(frozen=True, slots=True)
class TopicPage:
    """Gives a consumer some events of a topic.

    next: what to ask for after this page. first: the position of the oldest event that is kept, or else of the next to come.
    is_missed: some events after the requested position were dropped already.
    """

    events: list[TopicEvent]
    next: str
    first: str
    is_missed: bool


class Topic:
    """Serves the entry topics of an installation to consumers."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def stream_name(self, collection: Collection) -> str | None:
        """Name the stream under which clients of the state store itself can read the topic; None if there is none."""
        if collection.entry_topic is None or not isinstance(self._state, NamesLogs):
            return None
        return self._state.log_name(collection.space, TOPIC)

    def read(self, collection: Collection, after: str = _START, limit: int = 1000) -> TopicPage:
        """Read up to `limit` events after a position; fewer if they are large. The next page begins after `next`.

        after: a position, or 0 for everything that is kept. Raises `Invalid`, and `NotFound` (`TOPIC_NOT_FOUND`).
        """
        if collection.entry_topic is None:
            raise NotFound("Entry topic is not defined", reason="TOPIC_NOT_FOUND")
        begin = Position(0, 0) if after == _START else position_in(after)
        if begin is None:
            raise Invalid(f"after: {after[:40]!r} is no position; use 0, or what an earlier answer called `next`")
        events = list[TopicEvent]()
        for event in self._events(collection, begin):
            events.append(event)
            if len(events) == limit:
                break
        kept = self._state.read(collection.space, TOPIC, 0, 1)
        first = kept[0].sequence if kept else self._state.last_sequence(collection.space, TOPIC) + 1
        return TopicPage(
            events,
            next=events[-1].position if events else after,
            first=str(Position(first, 0)),
            is_missed=0 < begin.sequence < first - 1,
        )

    def _events(self, collection: Collection, after: Position) -> Iterator[TopicEvent]:
        """The events after a position, as many as fit into an answer."""
        sequence, size = after.sequence - 1, 0
        while page := self._state.read(collection.space, TOPIC, max(sequence, 0), _ENTRIES):
            for logged in page:
                if not logged.value:
                    continue  # it only stands for a sequence that was passed over
                entry = read_entry(logged.value)
                for index, record in enumerate(entry.records):
                    position = Position(logged.sequence, index)
                    if position > after:
                        fault = entry.faults.get(str(index))
                        yield TopicEvent(str(position), entry.received_at, entry.msgid, record, fault)
                        size += memoryview(record).nbytes + len(entry.msgid or "")
                        if size >= _BYTES:
                            return
            sequence = page[-1].sequence

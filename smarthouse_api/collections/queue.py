"""The topic of a collection as the queue that feeds the lake: how its entries become rows.

In the collection's space stand, beside the topic:

taken                   the document of the queue: how far the lake holds the topic; see `TopicProgress`
fields                  the members that the records in the lake have, at least; see `Fields`
unreadable/<sequence>   an entry that gives no row
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import Add, Change, Entry, Put, StateStore
from smarthouse_api.collections.catalogue import BORN, look_for
from smarthouse_api.collections.model import TOPIC, Collection
from smarthouse_api.collections.rows import Fields, LoggedEntry, read_logged, to_rows
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.queue import Queue, Turn
from smarthouse_api.lake.row_maker import Part, RowMaker, together_or_apart

TAKEN: Final = "taken"
FIELDS: Final = "fields"
_PAGE: Final = 64

log = logging.getLogger(__name__)


class TopicProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """Records how far the lake holds a topic, and which of those entries the topic still keeps.

    sequence: the lake holds all entries up to it. dropped: the topic holds no entry up to it. kept_bytes: the size of the
    entries between the two. kept_us: when the first of those entries came, in microseconds since 1970.
    """

    sequence: int = 0
    dropped: int = 0
    kept_bytes: int = 0
    kept_us: int = 0


_decode = msgspec.json.Decoder(TopicProgress).decode
_encode = msgspec.json.Encoder().encode

NOTHING_TAKEN: Final = _encode(TopicProgress())


class TopicQueue(Queue):
    """Keeps one worker at a time at the topic of a collection: its curator, or the retention.

    A turn requires that the collection exists: no document is written to a deleted one.
    """

    def __init__(self, state: StateStore, collection: Collection) -> None:
        super().__init__(
            state,
            collection.space,
            TOPIC,
            TAKEN,
            ttl_seconds=FOR_GOOD_SECONDS,
            value=NOTHING_TAKEN,
            page=_PAGE,
            guards={BORN: collection.born},
        )
        self.collection = collection

    def look_for_collection(self) -> None:
        """Check that the collection still exists. Raises `NotFound` if it was deleted since it was found."""
        look_for(self._state, self.collection)

    def taken(self, turn: Turn | None = None) -> TopicProgress:
        """Return how far the lake holds the topic: as the turn says, or as it is now."""
        if turn is not None:
            return _decode(turn.value)
        found = self._state.get(self._space, TAKEN)
        return TopicProgress() if found is None else _decode(found.value)

    def advance(self, turn: Turn, taken: TopicProgress, drops: Iterable[int] = (), adds: tuple[Add, ...] = ()) -> Turn:
        """Store how far the lake holds the topic, drop entries of the topic, and add to counters."""
        value = _encode(taken)
        change = Change(puts=(self._said(value),), drops=self._these(drops), adds=adds)
        return Turn(self.commit(turn, change).version, turn.last, value)

    def set_aside(self, turn: Turn, values: Mapping[int, bytes]) -> None:
        """Keep entries that give no row, by sequence."""
        for sequence, value in values.items():
            self.commit(turn, Change(puts=(Put(f"unreadable/{sequence:019d}", value, FOR_GOOD_SECONDS),)))

    def fields(self) -> Fields:
        """Tell which members the collection's records in the lake have, at least."""
        found = self._state.get(self._space, FIELDS)
        return Fields() if found is None else Fields.decoded(found.value)

    def put_fields(self, turn: Turn, fields: Fields) -> None:
        """Store which members the records in the lake have."""
        self.commit(turn, Change(puts=(Put(FIELDS, fields.encoded(), FOR_GOOD_SECONDS),)))


@dataclass
class TopicPart(Part):
    """Gathers entries of one topic that are committed to the lake together.

    last: the part holds all entries up to this sequence. size: of their values, in bytes. first_us: when the first of them
    came, in microseconds since 1970. unreadable: values that give no row, by sequence. fields: the records' members.
    """

    last: int = 0
    size: int = 0
    first_us: int = 0
    unreadable: dict[int, bytes] = field(default_factory=dict)
    fields: Fields = field(default_factory=Fields)

    def read(self, entry: Entry) -> LoggedEntry | None:
        """Read an entry and count it; None if it gives no row."""
        self.sequences.append(entry.sequence)
        self.size += len(entry.value)
        if not entry.value:
            return None  # it only stood for a sequence that was passed over
        try:
            logged = read_logged(entry.sequence, entry.value)
            self.first_us = self.first_us or logged.received_us
        except (msgspec.DecodeError, TypeError):
            self.unreadable[entry.sequence] = entry.value
            return None
        return logged


class TopicRows(RowMaker[TopicPart]):
    """Makes rows of one topic's entries for the curator. The table holds the topic up to the highest sequence of its rows."""

    queue: TopicQueue

    def __init__(self, queue: TopicQueue, table: CollectionsTable) -> None:
        super().__init__(queue, queue.collection.key)
        self._collection, self._table = queue.collection, table

    def taken(self, turn: Turn | None = None) -> int:
        """Return the sequence up to which the lake holds the topic.

        Without a turn, raises `NotFound` if the collection was deleted.
        """
        if turn is None:
            self.queue.look_for_collection()
        return self.queue.taken(turn).sequence

    def overtake(self, turn: Turn, held: int) -> None:
        self.queue.go_on_after(turn, held)

    def left(self, snapshot: DeltaTable, turn: Turn, held: int) -> tuple[TopicPart, list[Entry]]:
        """Find what a dead curator left. An entry is known by its batch, and by the number of entries in the batch."""
        after = self.taken(turn)
        there = self._table.batches(snapshot, self._collection.key, after)
        part, missing = TopicPart(last=held), list[Entry]()
        for entry in self.queue.entries(after, held):
            if (logged := part.read(entry)) is None:
                continue
            if there[logged.batch]:
                there[logged.batch] -= 1
            else:
                missing.append(entry)
        if not missing:
            for texts in self._table.records(snapshot, self._collection.key, after):
                part.fields.note_texts(texts)  # the fields were lost too
        return part, missing

    def size(self, entry: Entry) -> int:
        return len(entry.value)

    def rows(self, entries: Sequence[Entry], until: int) -> TopicPart:
        part = TopicPart(last=until)
        found = [(logged, entry.value) for entry in entries if (logged := part.read(entry)) is not None]

        def rows(some: Sequence[tuple[LoggedEntry, bytes]]) -> pa.Table:
            made = to_rows(self._collection, [logged for logged, _ in some], fields := Fields())
            part.fields = part.fields.merged(fields)
            return made

        def refuse(one: tuple[LoggedEntry, bytes]) -> None:
            part.unreadable[one[0].sequence] = one[1]

        part.tables.extend(together_or_apart(found, rows, refuse))
        return part

    def announce(self, turn: Turn, part: TopicPart) -> None:
        """Store the fields of the records, and the entries that give no rows."""
        before = self.queue.fields()
        after = before.merged(part.fields)
        if after.types != before.types:
            self.queue.put_fields(turn, after)
        if part.unreadable:
            log.error("%d entries of a topic cannot be read and are set aside: they give no rows", len(part.unreadable))
            self.queue.set_aside(turn, part.unreadable)

    def record(self, turn: Turn, part: TopicPart) -> Turn:
        """Store that the lake holds the part, and drop it from the topic unless the topic keeps it."""
        before, drops = self.queue.taken(turn), list[int]()
        if self._collection.entry_topic is None:
            dropped = part.last if before.dropped == before.sequence else before.dropped
            after, drops = TopicProgress(part.last, dropped, before.kept_bytes, before.kept_us), part.sequences
        else:
            kept_us = before.kept_us if before.dropped < before.sequence else part.first_us
            after = TopicProgress(part.last, before.dropped, before.kept_bytes + part.size, kept_us)
        return self.queue.advance(turn, after, drops)

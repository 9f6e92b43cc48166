"""Entries of topics on their way into the lake: what the curator asks of a collection."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import Entry
from smarthouse_api.collections.queue import Taken, TopicQueue
from smarthouse_api.collections.rows import Fields, Logged, read_entry, to_rows
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.queue import Turn
from smarthouse_api.lake.curator import Part, RowMaker, together_or_apart

log = logging.getLogger(__name__)


@dataclass
class TopicPart(Part):
    """Entries of one topic. last: the sequence up to which these are all. size: of their values, in bytes. first_us: when the
    first of them came. unreadable: values of which no row can be made, by sequence. fields: of the records.
    """

    last: int = 0
    size: int = 0
    first_us: int = 0
    unreadable: dict[int, bytes] = field(default_factory=dict)
    fields: Fields = field(default_factory=Fields)

    def read(self, entry: Entry) -> Logged | None:
        """Count an entry in; None for one that is to give no row."""
        self.sequences.append(entry.sequence)
        self.size += len(entry.value)
        if not entry.value:
            return None  # it only stood for a sequence that was passed over
        try:
            logged = read_entry(entry.sequence, entry.value)
            self.first_us = self.first_us or logged.received_us
        except (msgspec.DecodeError, TypeError):
            self.unreadable[entry.sequence] = entry.value
            return None
        return logged


class TopicRows(RowMaker[TopicPart]):
    """What the curator asks of one topic. The table holds it up to the highest sequence of its rows."""

    queue: TopicQueue

    def __init__(self, queue: TopicQueue, table: CollectionsTable) -> None:
        super().__init__(queue, queue.collection.key)
        self._collection, self._table = queue.collection, table

    def taken(self, turn: Turn | None = None) -> int:
        """Raises `NotFound` when the collection was deleted, and no turn says that it stands."""
        if turn is None:
            self.queue.look_for_collection()
        return self.queue.taken(turn).sequence

    def overtake(self, turn: Turn, held: int) -> None:
        self.queue.go_on_after(turn, held)

    def left(self, snapshot: DeltaTable, turn: Turn, held: int) -> tuple[TopicPart, list[Entry]]:
        """An entry is known by its batch, and by how many of its batch there are."""
        after = self.taken(turn)
        there = self._table.batches(snapshot, self.log, after)
        part, missing = TopicPart(last=held), list[Entry]()
        for entry in self.queue.entries(after, held):
            if (logged := part.read(entry)) is None:
                continue
            if there[logged.batch]:
                there[logged.batch] -= 1
            else:
                missing.append(entry)
        if not missing:
            for texts in self._table.records(snapshot, self.log, after):
                part.fields.note_texts(texts)  # which were lost too
        return part, missing

    def size(self, entry: Entry) -> int:
        return len(entry.value)

    def rows(self, entries: Sequence[Entry], until: int) -> TopicPart:
        part = TopicPart(last=until)
        found = [(logged, entry.value) for entry in entries if (logged := part.read(entry)) is not None]

        def rows(some: Sequence[tuple[Logged, bytes]]) -> pa.Table:
            made = to_rows(self._collection, [logged for logged, _ in some], fields := Fields())
            part.fields = part.fields.merged(fields)
            return made

        def refuse(one: tuple[Logged, bytes]) -> None:
            part.unreadable[one[0].sequence] = one[1]

        part.tables.extend(together_or_apart(found, rows, refuse))
        return part

    def announce(self, turn: Turn, part: TopicPart) -> None:
        """The fields of the records, and the entries that give none."""
        before = self.queue.fields()
        after = before.merged(part.fields)
        if after.types != before.types:
            self.queue.put_fields(turn, after)
        if part.unreadable:
            log.error("%d entries of a topic cannot be read and are set aside: they give no rows", len(part.unreadable))
            self.queue.set_aside(turn, part.unreadable)

    def record(self, turn: Turn, part: TopicPart) -> Turn:
        """Say that the lake holds the part, and drop it from the topic unless that is to be kept."""
        before, drops = self.queue.taken(turn), list[int]()
        if self._collection.entry_topic is None:
            dropped = part.last if before.dropped == before.sequence else before.dropped
            after, drops = Taken(part.last, dropped, before.kept_bytes, before.kept_us), part.sequences
        else:
            kept_us = before.kept_us if before.dropped < before.sequence else part.first_us
            after = Taken(part.last, before.dropped, before.kept_bytes + part.size, kept_us)
        return self.queue.advance(turn, after, drops)

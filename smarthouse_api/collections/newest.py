"""The newest records of a collection, for people who look on: from its topic, and from the lake what the topic has no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from deltalake import DeltaTable
from sqlglot import exp

from backends.ports import StateStore, StoreUnavailable
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.collections.homes import hidden_in
from smarthouse_api.collections.model import TOPIC, Collection, Position, read_entry
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.read_plan import ReadBounds, ranges, select_rows
from smarthouse_api.collections.records import END
from smarthouse_api.collections.table import HOME_LENGTH, CollectionsTable
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.files import files_of

_ENTRIES: Final = 16
_ORDER: Final = ("sequence", "position")
_COLUMNS: Final = (*_ORDER, "batch", "received", "record", "fault")
_BATCH_DOTS: Final = 2
"""The batch of an entry that names a home has so many dots, and the home's key after the last one."""


@dataclass(frozen=True, slots=True)
class NewestRecord:
    """Tells of a record that came in.

    record: JSON. fault: why it fails the collection's schema, if it does. msgid: of the request that brought it, while the
    topic has it. has_home: it names the home that it is of.
    """

    position: Position
    received_at: datetime
    record: bytes
    fault: str | None
    msgid: str | None
    has_home: bool

    def value(self) -> dict[str, Any]:
        """Read the record."""
        found: dict[str, Any] = msgspec.json.decode(self.record)
        return found


@dataclass(frozen=True, slots=True)
class NewestPage:
    """Gives the newest records, the newest first. last: the sequence of the newest entry; what comes later is after it."""

    records: list[NewestRecord]
    last: int


class NewestRecords:
    """Reads the end of a collection. It moves nothing into the lake."""

    def __init__(self, state: StateStore, chores: CollectionsChores, table: CollectionsTable, engine: Engine) -> None:
        self._state, self._chores, self._table, self._engine = state, chores, table, engine

    def of(self, collection: Collection, limit: int, after: int = 0, before: Position | None = None) -> NewestPage:
        """Read up to `limit` of the newest records that came after an entry. after: its sequence, such as an earlier `last`.

        before: only records that came before the one at this position. Raises `NotFound` once the collection is deleted.
        """
        queue = TopicQueue(self._state, collection)
        last = queue.last()
        if before is not None:
            last = min(last, before.sequence)
        # First the topic, then the lake: what leaves the one meanwhile is in the other.
        end = before or Position(last + 1, 0)
        found, above = self._in_topic(queue, end, after, limit)
        if len(found) < limit and above > after:
            found += self._in_lake(queue, after, min(end, Position(above + 1, 0)), limit - len(found))
        else:
            queue.look_for_collection()
        return NewestPage(found, last)

    def _in_topic(self, queue: TopicQueue, end: Position, after: int, limit: int) -> tuple[list[NewestRecord], int]:
        """Read the topic backwards, before `end`; the records, and the sequence up to which only the lake has more."""
        collection, found, above = queue.collection, list[NewestRecord](), end.sequence if end.index else end.sequence - 1
        while above > after and len(found) < limit:
            low = max(above - _ENTRIES, after)
            page = [one for one in self._state.read(collection.space, TOPIC, low, above - low) if one.sequence <= above]
            hidden = hidden_in(self._state, collection)  # after the read: a home that is forgotten by now is left out
            for one in reversed(page):
                if one.value:  # else it only stands for a sequence that was passed over
                    found += (record for record in _of_entry(one.sequence, one.value, hidden) if record.position < end)
            if page:
                above = page[0].sequence - 1
            elif queue.taken().sequence >= above:
                break
            else:
                above = low  # these were erased
        return found[:limit], above

    def _in_lake(self, queue: TopicQueue, after: int, end: Position, limit: int) -> list[NewestRecord]:
        collection, found = queue.collection, list[NewestRecord]()
        lease = self._table.reading()
        try:
            lease.tell(collection.key.encode())  # from now on, a forget waits for the lease, or breaks it
            queue.look_for_collection()
            hidden = hidden_in(self._state, collection)
            snapshot, _ = self._chores.rebuilding.checked(collection.key, self._table.open())
            if snapshot is None:
                return found
            begin, until = Position(after, END.index), Position(end.sequence if end.index else end.sequence - 1, END.index)
            bounds = ReadBounds(collection.key, begin, until, hidden=hidden)
            for part in reversed([*ranges(files_of(snapshot), bounds)]):
                order = (exp.Ordered(this=exp.column(name), desc=True, nulls_first=False) for name in _ORDER)
                is_before = exp.or_(exp.column("sequence") < end.sequence, exp.column("position") < end.index)
                query = select_rows(bounds, part, _COLUMNS).where(is_before).order_by(*order).limit(limit - len(found))
                rows = [one for one in self._rows(snapshot, query) if begin < one.position < end]
                found += sorted(rows, key=lambda one: one.position, reverse=True)
                if len(found) >= limit:
                    break
            lease.check()
            return found
        finally:
            lease.release()

    def _rows(self, snapshot: DeltaTable, query: exp.Select) -> list[NewestRecord]:
        try:
            with closing(self._engine.stream(snapshot, query)) as batches:
                return [_of_row(row) for batch in batches for row in batch.to_pylist()]
        except StoreUnavailable:
            self._chores.rebuilding.distrust()
            raise


def _of_entry(sequence: int, value: bytes, hidden: frozenset[str]) -> Iterator[NewestRecord]:
    try:
        entry = read_entry(value)
    except (msgspec.DecodeError, TypeError):
        return
    if entry.home is not None and entry.home in hidden:
        return
    for index in range(len(entry.records) - 1, -1, -1):
        fault, place = entry.faults.get(str(index)), Position(sequence, index)
        record = bytes(memoryview(entry.records[index]))
        yield NewestRecord(place, entry.received_at, record, fault, entry.msgid, entry.home is not None)


def _of_row(row: dict[str, Any]) -> NewestRecord:
    place, dots = Position(row["sequence"], row["position"]), row["batch"].split(".")
    has_home = len(dots) > _BATCH_DOTS and len(dots[-1]) == HOME_LENGTH
    return NewestRecord(place, row["received"], row["record"].encode(), row["fault"], None, has_home)

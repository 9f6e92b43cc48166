"""The records of one home, in all collections: for the archive of what is held about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime

import msgspec
import pyarrow as pa

from backends.ports import StateStore
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.collections.dead_letters import letters_of
from smarthouse_api.collections.homes import RecordHomes
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.read_plan import ReadBounds
from smarthouse_api.collections.records import BEGIN, END, Reading
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.errors import NotFound
from smarthouse_api.lake.engine import Engine


@dataclass(frozen=True, slots=True)
class HomeRecord:
    """Holds a record that names the home.

    collection: the collection's id. record: JSON. fault: why it fails the collection's schema, if it does. dead_letter: the id,
    if the schema refused it and nothing has replayed it yet.
    """

    collection: str
    received_at: datetime
    record: str
    fault: str | None = None
    dead_letter: str | None = None


class HomeRecords:
    """Reads all records of a home."""

    def __init__(
        self,
        state: StateStore,
        catalogue: CollectionCatalogue,
        homes: RecordHomes,
        chores: CollectionsChores,
        table: CollectionsTable,
        engine: Engine,
    ) -> None:
        self._state, self._catalogue, self._homes = state, catalogue, homes
        self._chores, self._table, self._engine = chores, table, engine

    def named_in(self, tag: str) -> dict[str, int]:
        """List the documents that name a home in a collection, with their versions. They go when it is forgotten."""
        return self._homes.documents(tag)

    def marks(self, tag: str) -> list[object]:
        """Name what is held of a home, as far as sequences tell: a record of another home may change it, too."""
        told = list[object]()
        for named in self._homes.of(tag):
            if (collection := self._catalogue.get(named.collection)) is not None:
                letters = [(letter.id, letter.reason) for letter in letters_of(self._state, collection.space, named.key)]
                told += [named.key, TopicQueue(self._state, collection).last(), letters]
        return told

    def of(self, tag: str) -> Iterator[HomeRecord]:
        """Read the records of a home, by the tag of its UUID: those acknowledged before the call, one collection after another.

        Memory stays bounded. Raises `Unavailable`, `LeaseLost` once the home is forgotten.
        """
        for named in self._homes.of(tag):
            collection = self._catalogue.get(named.collection)
            if collection is not None:
                with suppress(NotFound):  # it was deleted meanwhile
                    self._chores.flush(collection)
                    yield from self._of(collection, tag, named.key)

    def _of(self, collection: Collection, tag: str, home: str) -> Iterator[HomeRecord]:
        lease = self._table.reading()
        try:
            lease.tell(collection.key.encode())  # from now on, a forget waits for the lease, or breaks it
            if home not in {named.key for named in self._homes.of(tag)}:
                return
            for letter in letters_of(self._state, collection.space, home):
                text = msgspec.json.encode(letter.record).decode()
                yield HomeRecord(collection.id, letter.received_at, text, letter.reason, letter.id)
            snapshot, _ = self._chores.rebuilding.checked(collection.key, self._table.open())
            bounds = ReadBounds(collection.key, BEGIN, END, home=home)
            reading = Reading(snapshot, self._engine, bounds, self._chores.rebuilding.distrust)
            with closing(reading.batches()) as batches:
                for batch in batches:
                    lease.check()
                    yield from _records(collection.id, batch)
        finally:
            lease.release()


def _records(collection: str, batch: pa.RecordBatch) -> Iterator[HomeRecord]:
    columns = (batch.column(name).to_pylist() for name in ("received", "record", "fault"))
    for received, record, fault in zip(*columns, strict=True):
        yield HomeRecord(collection, received, record, fault)

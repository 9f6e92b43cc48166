"""The lake of collections without the rest of the house: entries are written to the log as they are accepted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pyarrow as pa

from backends.ports import Change, ObjectStore, StateStore
from backends.registry import open_objects, open_state
from config.groups import CollectionSettings, LakeSettings
from config.settings import Settings
from smarthouse_api.collections.catalogue import BORN, CollectionCatalogue
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.collections.dead_letters import DeadLetters
from smarthouse_api.collections.model import TOPIC, Collection, TopicEntry, define
from smarthouse_api.collections.records import Records, Selection
from smarthouse_api.collections.table import RECORDS, CollectionsTable
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.engine import Engine

Row = dict[str, Any]


class Died(BaseException):
    """What a test throws where a process would have been killed."""


@dataclass
class Lake:
    """Its own parts, on the stores of an installation that others may share."""

    state: StateStore
    objects: ObjectStore
    changes: dict[str, Any] = field(default_factory=dict)
    engine: Engine = field(default_factory=EmbeddedEngine)

    def __post_init__(self) -> None:
        self.leases = Leases(self.state, 30)
        self.table = CollectionsTable(self.state, self.objects, self.leases)
        replies, settings = Replies(self.state, 60), CollectionSettings(aside_days=1 / 24, record_bytes=1 << 16)
        self.catalogue = CollectionCatalogue(self.state, Notes(self.state, self.objects), replies)
        self.dead_letters = DeadLetters(self.state, replies, settings)
        stores = (self.state, self.table, self.catalogue, self.dead_letters, self.leases)
        self.chores = CollectionsChores(*stores, *_settings(**self.changes))
        self.records = Records(self.state, self.chores, self.table, self.engine, CollectionSettings())

    @classmethod
    def on(cls, environment: dict[str, str], **changes: Any) -> Lake:
        settings = Settings.from_env(environment)
        return cls(open_state(settings.stores.state_url), open_objects(settings.stores.objects_url), changes)

    def another(self, **changes: Any) -> Lake:
        """Another process's, on the same stores."""
        return Lake(self.state, self.objects, {**self.changes, **changes}, self.engine)

    def create(self, id_: str = "meters", **members: Any) -> Collection:
        return self.catalogue.create(define({"id": id_, **members})).collection

    def accept(self, collection: Collection, *records: Any, at: datetime | None = None, **members: Any) -> int:
        """Append one entry; its sequence."""
        entry = {
            "id": str(uuid4()),
            "collection": collection.id,
            "received_at": at or datetime.now(UTC),
            "records": records,
            **members,
        }
        return self.append(collection, msgspec.json.encode(entry))[0]

    def append(self, collection: Collection, *values: bytes) -> tuple[int, ...]:
        change = Change(expect={BORN: collection.born}, appends=tuple((TOPIC, value) for value in values))
        return self.state.commit(collection.space, change).sequences

    def topic(self, collection: Collection) -> list[Any]:
        """The records that the log holds."""
        entries = (one.value for one in self.state.read(collection.space, TOPIC, limit=100_000) if one.value)
        found = (msgspec.json.decode(value, type=TopicEntry) for value in entries)
        return [msgspec.json.decode(record) for entry in found for record in entry.records]

    def rows(self, collection: Collection) -> list[Row]:
        """The rows that the lake holds, in order."""
        return self.all_rows().filter(pa.compute.field("collection") == collection.key).to_pylist()

    def all_rows(self) -> pa.Table:
        table = self.table.open()
        whole = RECORDS.empty_table() if table is None else table.to_pyarrow_table().cast(RECORDS)
        return whole.sort_by([("sequence", "ascending"), ("position", "ascending")])

    def held(self, collection: Collection) -> list[Any]:
        """The records that the lake holds, in order."""
        return [json.loads(row["record"]) for row in self.rows(collection)]

    def counts(self, collection: Collection) -> Counter[int]:
        """How often the lake has each record, by its member `n`."""
        return Counter(record["n"] for record in self.held(collection))

    def read(self, collection: Collection, **selection: Any) -> list[Any]:
        """The records that a reading gives."""
        answer = self.records.open(collection, Selection(**selection), "jsonl", with_meta=False)
        try:
            return [json.loads(line) for line in b"".join(answer.chunks).splitlines()]
        finally:
            answer.close()

    def keep(self) -> None:
        """All chores, with as much time as they need."""
        chores = self.chores
        chores.purge()
        for chore in (chores.curate, chores.trim, chores.compact, chores.expire_dead_letters):
            chore(lambda: False)

    def lose_the_lease(self) -> None:
        """What happens to a process that is suspended for longer than its lease."""
        self.state.commit("leases", Change(deletes=("one/collections", "one/collections-round")))

    def close(self) -> None:
        self.state.close()
        self.objects.close()


def _settings(
    *,
    batch_bytes: int = 1 << 20,
    flush_seconds: float = 30.0,
    topic_seconds: float = 3600.0,
    topic_bytes: int = 1 << 20,
    compact_files: int = 8,
) -> tuple[CollectionSettings, LakeSettings]:
    collections = CollectionSettings(topic_seconds=topic_seconds, topic_bytes=topic_bytes)
    lake = LakeSettings(curate_batch_bytes=batch_bytes, flush_timeout_seconds=flush_seconds, compact_files=compact_files)
    return collections, lake


def once(numbers: range) -> dict[int, int]:
    """What `Lake.counts` has where each was taken in exactly once."""
    return dict.fromkeys(numbers, 1)


def interrupt(owner: Any, name: str, act: Callable[[], object], *, when: str, call: int = 1) -> Callable[..., Any]:
    """A stand-in for a method that does `act` before or after the call of that number."""
    done, calls = getattr(owner, name), 0

    def interrupted(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and when == "before":
            act()
        result = done(self, *arguments, **options)
        if calls == call and when == "after":
            act()
        return result

    return interrupted

"""Data sources and datasets: their parts, wired."""

from __future__ import annotations

from dataclasses import dataclass

from backends.ports import ObjectStore, StateStore
from config.groups import CollectionSettings, LakeSettings
from smarthouse_api.collections.accepting import Accepting
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.collections.dead_letters import DeadLetters, Replayer
from smarthouse_api.collections.deduplication import Deduplication
from smarthouse_api.collections.definitions import define
from smarthouse_api.collections.records import Records
from smarthouse_api.collections.schemas import Checkers
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.collections.topic import Topic
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.errors import InUse
from smarthouse_api.lake.engine import Engine

DEMO = (
    {"id": "example", "name": "Example dataset", "entry_topic": "example", "timestamp_field": "ets"},
    {"id": "67890", "name": "Example data source", "requires_token": True},
)
"""What a new installation begins with, so that the examples of both APIs work as they are printed."""


@dataclass(frozen=True)
class Collections:
    """The collections of one installation."""

    catalogue: CollectionCatalogue
    accepting: Accepting
    dead_letters: DeadLetters
    replayer: Replayer
    topic: Topic
    records: Records
    chores: CollectionsChores

    @classmethod
    def on(
        cls,
        state: StateStore,
        objects: ObjectStore,
        leases: Leases,
        replies: Replies,
        engine: Engine,
        settings: CollectionSettings,
        lake: LakeSettings,
    ) -> Collections:
        checkers = Checkers()
        catalogue = CollectionCatalogue(state, replies)
        table = CollectionsTable(objects, leases)
        dead_letters = DeadLetters(state, checkers, settings)
        chores = CollectionsChores(state, table, catalogue, dead_letters, leases, settings, lake)
        return cls(
            catalogue=catalogue,
            accepting=Accepting(state, replies, Deduplication(state), dead_letters, checkers, settings),
            dead_letters=dead_letters,
            replayer=Replayer(state, replies, dead_letters, checkers, settings),
            topic=Topic(state),
            records=Records(chores, table, engine, settings),
            chores=chores,
        )

    def begin(self) -> None:
        """Make what a new installation begins with; what is there already stays as it is."""
        for members in DEMO:
            try:
                self.catalogue.create(define(dict(members)))
            except InUse:
                continue

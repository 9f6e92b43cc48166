"""The collections of an installation, which clients reach as data sources or as datasets: wires their services."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from backends.ports import ObjectStore, StateStore
from config.groups import CollectionSettings, GrowthSettings, LakeSettings
from smarthouse_api.collections.accepting import Accepting
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.collections.dead_letters import DeadLetters
from smarthouse_api.collections.erasing import RecordsErasing
from smarthouse_api.collections.figures import CollectionFigures
from smarthouse_api.collections.home_mending import RecordHomesMending
from smarthouse_api.collections.home_records import HomeRecords
from smarthouse_api.collections.homes import RecordHomes
from smarthouse_api.collections.model import define
from smarthouse_api.collections.newest import NewestRecords
from smarthouse_api.collections.quotas import Quotas
from smarthouse_api.collections.records import Records
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.collections.topic import Topic
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import InUse
from smarthouse_api.lake.engine import Engine

DEMO = (
    {"id": "example", "name": "Example dataset", "entry_topic": "example", "timestamp_field": "ets"},
    {"id": "67890", "name": "Example data source", "requires_token": True},
)
"""What a new installation begins with, so that the examples of both APIs work as they are printed."""


class Collections:
    """Offers all that can be done with the collections of one installation, each part under its name."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        leases: Leases,
        replies: Replies,
        notes: Notes,
        engine: Engine,
        room: Room,
        settings: CollectionSettings,
        lake: LakeSettings,
        growth: GrowthSettings,
        admission: Callable[[str], Mapping[str, int]],
    ) -> None:
        """admission: see `RecordHomes`."""
        self.table = table = CollectionsTable(state, objects, leases)
        table.readers_need_log = engine.reads_log
        self.catalogue = CollectionCatalogue(state, notes, replies)
        self.dead_letters = DeadLetters(state, replies, settings)
        self.quotas = Quotas(state, self.catalogue, growth)
        self.homes = RecordHomes(state, self.catalogue, self.quotas, admission)
        self.accepting = Accepting(state, replies, self.dead_letters, room, self.quotas, self.homes, settings)
        self.topic = Topic(state)
        self.chores = CollectionsChores(state, table, self.catalogue, self.dead_letters, leases, settings, lake)
        self.records = Records(state, self.chores, table, engine, settings)
        self.newest = NewestRecords(state, self.chores, table, engine)
        self.figures = CollectionFigures(state, table, self.dead_letters, self.quotas)
        self.home_mending = RecordHomesMending(state, self.catalogue)
        self.erasing = RecordsErasing(state, table, self.catalogue, self.homes, leases, self.chores)
        self.home_records = HomeRecords(state, self.catalogue, self.homes, self.chores, table, engine)

    def begin(self) -> None:
        """Create what a new installation begins with; collections that exist stay as they are."""
        for members in DEMO:
            try:
                self.catalogue.create(define(dict(members)))
            except InUse:
                continue

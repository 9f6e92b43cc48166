"""The Stream Data Store: its parts, wired."""

from __future__ import annotations

from dataclasses import dataclass

from backends.ports import ObjectStore, StateStore
from config.groups import StreamSettings
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.streams.appending import Appending
from smarthouse_api.streams.catalogue import StreamCatalogue
from smarthouse_api.streams.chores import StreamsChores
from smarthouse_api.streams.downloads import Downloads
from smarthouse_api.streams.heads import Heads
from smarthouse_api.streams.metadata import Metadata
from smarthouse_api.streams.model import Status, Stream
from smarthouse_api.streams.retention import Retaining
from smarthouse_api.streams.sealing import Sealing
from smarthouse_api.streams.sessions import Sessions
from smarthouse_api.streams.shelf import Shelf
from smarthouse_api.streams.tail import Tail


@dataclass(frozen=True)
class Streams:
    """The streams of one installation."""

    catalogue: StreamCatalogue
    heads: Heads
    appending: Appending
    sessions: Sessions
    metadata: Metadata
    downloads: Downloads
    tail: Tail
    chores: StreamsChores

    @classmethod
    def on(
        cls,
        state: StateStore,
        objects: ObjectStore,
        keyring: Keyring,
        leases: Leases,
        replies: Replies,
        settings: StreamSettings,
    ) -> Streams:
        catalogue, heads, shelf = StreamCatalogue(state), Heads(state), Shelf(state, objects)
        sessions = Sessions(state, heads, leases, replies, settings)
        metadata = Metadata(state, heads, settings)
        sealing = Sealing(state, objects, heads, shelf, settings)
        retaining = Retaining(state, shelf, sessions, metadata)
        return cls(
            catalogue=catalogue,
            heads=heads,
            appending=Appending(catalogue, heads, shelf, replies, settings),
            sessions=sessions,
            metadata=metadata,
            downloads=Downloads(objects, catalogue, shelf, leases, keyring, settings),
            tail=Tail(heads, shelf, settings),
            chores=StreamsChores(state, objects, catalogue, heads, shelf, sealing, retaining, leases),
        )

    def delete(self, stream: Stream) -> None:
        """Delete a stream, and break off who downloads it. Raises `NotFound`."""
        self.catalogue.delete(stream)
        self.chores.cancel_downloads(stream.key)

    def status(self, stream: Stream) -> Status:
        """Where the stream stands now. Raises `NotFound` when it was deleted."""
        return self.heads.look(stream).status()

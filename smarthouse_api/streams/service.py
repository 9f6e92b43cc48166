"""The Stream Data Store: wires its services."""

from __future__ import annotations

from collections.abc import Iterator

from backends.ports import ObjectStore, StateStore
from config.groups import StreamSettings
from smarthouse_api.access.grants import Access
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.coordination.idempotency import Replies
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.coordination.room import Room
from smarthouse_api.streams.activity import ActivityNotes
from smarthouse_api.streams.appending import Appending
from smarthouse_api.streams.catalogue import StreamCatalogue
from smarthouse_api.streams.chores import StreamsChores
from smarthouse_api.streams.downloads import Downloads
from smarthouse_api.streams.follow_urls import FollowUrls
from smarthouse_api.streams.glimpses import Glimpses
from smarthouse_api.streams.heads import Heads
from smarthouse_api.streams.metadata import Metadata
from smarthouse_api.streams.model import Status, Stream
from smarthouse_api.streams.overview import StreamOverview
from smarthouse_api.streams.packet_store import PacketStore
from smarthouse_api.streams.reading import PacketReader
from smarthouse_api.streams.retention import PacketRetention
from smarthouse_api.streams.sealing import Sealing
from smarthouse_api.streams.sessions import Sessions
from smarthouse_api.streams.tail import Tail


class Streams:
    """Offers all that can be done with the streams of one installation, each part under its name."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        keyring: Keyring,
        leases: Leases,
        replies: Replies,
        access: Access,
        notes: Notes,
        room: Room,
        settings: StreamSettings,
    ) -> None:
        self.catalogue, self.heads, self.store = StreamCatalogue(state, notes), Heads(state), PacketStore(state, objects)
        self.reader, sealing = PacketReader(state, self.store), Sealing(self.store, settings)
        reader = self.reader
        self.appending = Appending(self.catalogue, self.heads, reader, replies, room, settings)
        self.sessions = Sessions(state, self.heads, leases, replies, settings)
        self.metadata = Metadata(state, self.heads, settings)
        self.downloads = Downloads(state, self.catalogue, reader, leases, keyring, settings)
        self.follow_urls = FollowUrls(state, self.catalogue, self.heads, access, keyring, settings)
        self.tail = Tail(self.heads, reader, settings)
        self.glimpses = Glimpses(self.heads, self.store, reader)
        self.activity = activity = ActivityNotes(state)
        self.overview = StreamOverview(self.catalogue, self.store, self.sessions, activity)
        retaining = PacketRetention(self.store, self.sessions, self.metadata)
        self.chores = StreamsChores(state, self.catalogue, self.store, sealing, retaining, leases, activity)

    def delete(self, stream: Stream) -> None:
        """Delete a stream, and break off its downloads. Raises `NotFound`."""
        self.catalogue.delete(stream)
        self.chores.cancel_downloads(stream.key)

    def verify(self, stream: Stream, share: float) -> Iterator[Problem]:
        """Look for the objects of a stream, and read a share of them, from 0 to 1."""
        return self.store.segment_objects.verify(stream, self.store.segments(stream), share)

    def status(self, stream: Stream) -> Status:
        """Return where the stream stands now. Raises `NotFound` when it was deleted."""
        return self.heads.look(stream).status()

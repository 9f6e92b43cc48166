"""An overview of all streams, for operators: which got packets last, how much they keep, and who holds what of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from smarthouse_api.errors import NotFound
from smarthouse_api.streams.activity import Activities, ActivityNotes, Recent
from smarthouse_api.streams.catalogue import StreamCatalogue
from smarthouse_api.streams.heads import HeadSnapshot
from smarthouse_api.streams.model import Session, Stream
from smarthouse_api.streams.packet_store import Manifest, PacketStore
from smarthouse_api.streams.sessions import Hold, Sessions

MOST_HOLDS: Final = 100
MOST_ORDERED: Final = 10_000
"""So many streams are listed by when they got their newest packet."""

_FEW: Final = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """Chooses streams: of one home, or of all; by a part of the module's and of the stream's name, in any case of letters."""

    home_id: int | None = None
    module: str = ""
    name: str = ""

    def takes(self, stream: Stream) -> bool:
        """Tell whether the stream is chosen."""
        return self.module.casefold() in stream.module_id.casefold() and self.name.casefold() in stream.name.casefold()


@dataclass(frozen=True, slots=True)
class StreamView:
    """Shows where a stream stands.

    holds: which keys hold which of its sessions, at most `MOST_HOLDS`. downloads: the ranges of indexes that are being
    downloaded.
    """

    stream: Stream
    seen: HeadSnapshot
    manifest: Manifest
    recent: Recent
    holds: list[Hold]
    downloads: list[tuple[int, int]]

    @property
    def kept_packets(self) -> int:
        """How many packets can be read now."""
        return self.seen.head.packets - self.manifest.dropped_packets

    @property
    def kept_bytes(self) -> int:
        """How many bytes these packets have."""
        return self.seen.head.bytes - self.manifest.dropped_bytes


class StreamOverview:
    """Shows streams, all or one by one."""

    def __init__(self, catalogue: StreamCatalogue, store: PacketStore, sessions: Sessions, notes: ActivityNotes) -> None:
        self._catalogue, self._store, self._sessions, self._notes = catalogue, store, sessions, notes

    def page(self, wanted: Wanted, skip: int, limit: int) -> tuple[list[StreamView], int]:
        """Return a page of the chosen streams, and how many are chosen. The newest packet comes first, as far as it is noted.

        Only the streams of the page are looked at. More than `MOST_ORDERED` streams are in the order of their homes and names:
        to know which is newest, the notes of all of them would be read for each page.
        """
        # By name within the same time, so that no page repeats what another one has.
        found = sorted(self._chosen(wanted), key=lambda one: (one.home_id, one.module_id, one.name))
        if len(found) > MOST_ORDERED:
            page = found[skip : skip + limit]
            return self._views(page, self._notes.of(*page)), len(found)
        noted = self._notes.all() if wanted == Wanted() and len(found) >= _FEW else self._notes.of(*found)
        found.sort(key=lambda one: -noted.last_us(one))
        views = self._views(found[skip : skip + limit], noted)
        return sorted(views, key=lambda view: -(view.seen.head.last_us or -1)), len(found)

    def view(self, stream: Stream) -> StreamView:
        """Show one stream. Raises `NotFound` when it was deleted."""
        return self._view(stream, self._notes.of(stream))

    def held(self, view: StreamView) -> list[tuple[Hold, Session]]:
        """Return what holds which session of a stream, by where the sessions start."""
        found = dict[str, Session]()
        for session_id in {hold.session_id for hold in view.holds}:
            with suppress(NotFound):  # released meanwhile, and deleted
                found[session_id] = self._sessions.find(view.stream, session_id)
        return [(hold, found[hold.session_id]) for hold in view.holds if hold.session_id in found]

    def _chosen(self, wanted: Wanted) -> list[Stream]:
        everything = self._catalogue.everything() if wanted.home_id is None else self._catalogue.of_home(wanted.home_id)
        return [stream for stream in everything if wanted.takes(stream)]

    def _views(self, streams: Iterable[Stream], noted: Activities) -> list[StreamView]:
        views = []
        for stream in streams:
            with suppress(NotFound):  # deleted meanwhile
                views.append(self._view(stream, noted))
        return views

    def _view(self, stream: Stream, noted: Activities) -> StreamView:
        seen, found = self._store.look(stream)
        holds, downloads = self._sessions.holds(stream, MOST_HOLDS), self._sessions.downloads(stream)
        return StreamView(stream, seen, found.manifest, noted.recent(stream, seen.head, time.time()), holds, downloads)

"""The catalogue of streams: tells which streams exist, and which home each belongs to.

In the state store, space `streams`:

    home/<home id>                              the home's internal key, under which its packets are kept
    stream/<home id>/<module>/<name>            a stream; both names as digests, because they may be of any length
    gone/<stream key>                           a tombstone: a deleted stream, whose bytes are still to be removed
    full/<stream key>                           a stream whose newest packets are worth a segment
    activity/<stream key>                       when its newest packet came, and how much it had some minutes ago
    looked                                      when the chores began the last whole look at all streams

Each stream has a space of its own besides, `stream-<key>`, so that a store that shards keeps all of it together.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore
from smarthouse_api.coordination.catalogue import Catalogue, CatalogueLayout, name_of
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.errors import NotFound
from smarthouse_api.streams.heads import BORN, HEAD, LEASE, Head, space_of
from smarthouse_api.streams.model import Stream, StreamRetention, check_name

SPACE: Final = "streams"
_LAYOUT: Final = CatalogueLayout(SPACE, "stream/", (BORN, HEAD, LEASE), "stream")
ACTIVITY: Final = "activity/"
_MOST_SEEN: Final = 10_000
_PAGE: Final = 500


class _Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stores a stream, as its document in the catalogue."""

    module: str
    name: str
    key: str
    home_key: str
    born: int
    created_at: datetime
    retention: StreamRetention = StreamRetention()

    def stream(self, home_id: int) -> Stream:
        return Stream(home_id, self.module, self.name, self.key, self.home_key, self.born, self.created_at, self.retention)


_kept = msgspec.json.Decoder(_Kept).decode


class StreamTombstone(msgspec.Struct, frozen=True, omit_defaults=True):
    """Remembers a deleted stream until it is purged. purged_at: when its bytes were removed, in seconds since 1970."""

    home_key: str
    key: str
    purged_at: float | None = None

    @property
    def space(self) -> str:
        return space_of(self.key)


_tombstone = msgspec.json.Decoder(StreamTombstone).decode


class StreamCatalogue(Catalogue[Stream, StreamTombstone]):
    """Finds, creates, changes and deletes the streams of one installation."""

    def __init__(self, state: StateStore, notes: Notes) -> None:
        super().__init__(state, notes, _LAYOUT, _tombstone)
        self._seen: dict[tuple[int, str, str], Stream] = {}

    def list(self, home_id: int, module_id: str) -> list[Stream]:
        """Return the streams of a home's module, by name; none if the home or the module does not exist."""
        found = self._state.scan_all(SPACE, f"stream/{home_id}/{_digest(module_id)}/")
        return sorted((_kept(document.value).stream(home_id) for _, document in found), key=lambda stream: stream.name)

    def get(self, home_id: int, module_id: str, name: str) -> Stream | None:
        """Return the stream with this name, if there is one."""
        found = self._state.get(SPACE, document_of(home_id, module_id, name))
        if found is None:
            self._seen.pop((home_id, module_id, name), None)
            return None
        return self._remember(_kept(found.value).stream(home_id))

    def find(self, home_id: int, module_id: str, name: str) -> Stream:
        """Return the stream with this name. Raises `NotFound`."""
        stream = self.get(home_id, module_id, name)
        if stream is None:
            raise NotFound("There is no such stream in this home and module; make it with PUT", reason="STREAM_NOT_FOUND")
        return stream

    def recall(self, home_id: int, module_id: str, name: str) -> Stream:
        """Return the stream as this process saw it last, else as `find`: for callers whose commit fails if it was deleted."""
        return self._seen.get((home_id, module_id, name)) or self.find(home_id, module_id, name)

    def create(self, home_id: int, module_id: str, name: str, retention: StreamRetention | None = None) -> tuple[Stream, bool]:
        """Create a stream, or change the retention of the one with this name; the stream, and whether it is new.

        retention: None leaves it as it is. Raises `Invalid` for a name that no stream can have.
        """
        check_name("moduleId", module_id)
        check_name("streamName", name)
        document = document_of(home_id, module_id, name)

        def attempt() -> tuple[Stream, bool]:
            if (found := self._state.get(SPACE, document)) is None:
                return self._add(home_id, module_id, name, retention or StreamRetention()), True
            kept = _kept(found.value)
            if retention is not None and retention != kept.retention:
                kept = msgspec.structs.replace(kept, retention=retention)
                self._state.put(SPACE, document, msgspec.json.encode(kept), expect=found.version)
            return self._remember(kept.stream(home_id)), False

        return until_settled(attempt, "stream")

    def delete(self, stream: Stream) -> None:
        """Delete the stream: nobody finds it or appends to it any more. The chores remove its bytes later.

        Raises `NotFound` if it is deleted already, though another stream may have its name.
        """
        name = document_of(stream.home_id, stream.module_id, stream.name)

        def attempt() -> StreamTombstone:
            found = self._state.get(SPACE, name)
            if found is None or _kept(found.value).key != stream.key:
                raise NotFound("The stream is deleted already", reason="STREAM_NOT_FOUND")
            tombstone = StreamTombstone(stream.home_key, stream.key)
            self._bury([tombstone], {name: found.version})
            return tombstone

        self._delete(attempt)

    def of_home(self, home_id: int) -> Iterator[Stream]:
        """List the streams of a home, in no order that says anything."""
        return (_kept(document.value).stream(home_id) for _, document in self._state.scan_all(SPACE, f"stream/{home_id}/"))

    def mark_purged(self, tombstone: StreamTombstone, at: float) -> None:
        """Note that the deleted stream's bytes were removed. A process that died meanwhile may have put some after."""
        put = Put(name_of(tombstone), msgspec.json.encode(msgspec.structs.replace(tombstone, purged_at=at)))
        self._state.commit(SPACE, Change(puts=(put,), deletes=(f"full/{tombstone.key}", f"{ACTIVITY}{tombstone.key}")))

    def mark_full(self, stream: Stream) -> None:
        """Have a segment made of the stream's newest packets soon."""
        # A full store takes only what expires, and a segment makes room.
        value = msgspec.json.encode([stream.home_id, stream.module_id, stream.name])
        self._state.put(SPACE, f"full/{stream.key}", value, ttl_seconds=86400)

    def take_full(self) -> Iterator[Stream]:
        """Return the marked streams that still exist. Each loses its mark as it comes."""
        for name, document in self._state.scan(SPACE, "full/"):
            stream = self.get(*msgspec.json.decode(document.value))
            self._state.commit(SPACE, Change(deletes=(name,)))
            if stream is not None:
                yield stream

    def homes(self) -> dict[int, set[str]]:
        """Return all homes that have a stream, or had one and were not forgotten, each with its internal keys.

        A home has one key, and another if forgetting an earlier home of that number was broken off.
        """
        keys = defaultdict[int, set[str]](set)
        for name, document in self._state.scan_all(SPACE, "home/"):
            keys[int(name.partition("/")[2])].add(document.value.decode())
        for stream in self.everything():
            keys[stream.home_id].add(stream.home_key)
        return dict(keys)

    def places(self) -> set[tuple[str, str]]:
        """Return the home key and the stream key of all streams, and of those that are deleted and not purged yet."""
        there = {(one.home_key, one.key) for one in self.everything()}
        return there | {(one.home_key, one.key) for one in self.tombstones()}

    def home_keys_of(self, home_id: int) -> set[str]:
        """Return the internal keys under which a home's packets are kept."""
        found = self._state.get(SPACE, f"home/{home_id}")
        kept = {_kept(document.value).home_key for _, document in self._state.scan_all(SPACE, f"stream/{home_id}/")}
        return kept if found is None else kept | {found.value.decode()}

    def hide_home(self, home_id: int, keys: set[str]) -> None:
        """Hide the streams that are kept under these internal keys of the home. Repeatable.

        A stream that is made afterwards belongs to a new home, under another key.
        """
        name = f"home/{home_id}"
        while (home := self._state.get(SPACE, name)) is not None and home.value.decode() in keys:
            with suppress(Conflict):
                self._state.commit(SPACE, Change(expect={name: home.version}, deletes=(name,)))
        # The home's document is gone first, so that every stream that was still added to it is found here.
        while found := self._kept_under(home_id, keys):
            tombstones = [StreamTombstone(one.home_key, one.key) for _, _, one in found]
            with suppress(Conflict):  # one of them was changed, deleted, or made anew meanwhile
                self._bury(tombstones, {name: version for name, version, _ in found})
                for _, _, one in found:
                    self._seen.pop((home_id, one.module, one.name), None)
                    self.close_to_writers(space_of(one.key))

    def _read(self, name: str, document: Document) -> Stream:
        return _kept(document.value).stream(int(name.split("/")[1]))

    def _kept_under(self, home_id: int, keys: set[str]) -> Sequence[tuple[str, int, _Kept]]:
        """Some streams of a home under these keys: name, version and content of their documents."""
        documents = self._state.scan_all(SPACE, f"stream/{home_id}/")
        decoded = ((name, document.version, _kept(document.value)) for name, document in documents)
        return list(islice((one for one in decoded if one[2].home_key in keys), _PAGE))

    def _add(self, home_id: int, module_id: str, name: str, retention: StreamRetention) -> Stream:
        home, found = f"home/{home_id}", self._state.get(SPACE, f"home/{home_id}")
        if found is None:
            self._state.put(SPACE, home, secrets.token_hex(16).encode(), expect=ABSENT)
            found = self._state.get(SPACE, home)
        if found is None:
            raise Conflict("the home was forgotten meanwhile")
        key = secrets.token_hex(16)
        # First, so that a stream that can be found can be written to.
        puts = (Put(BORN, b""), Put(HEAD, msgspec.json.encode(Head())))
        born = self._state.commit(space_of(key), Change(puts=puts)).version
        kept = _Kept(module_id, name, key, found.value.decode(), born, datetime.now(UTC), retention)
        document = document_of(home_id, module_id, name)
        expect = {home: found.version, document: ABSENT}
        try:
            self._state.commit(SPACE, Change(expect=expect, puts=(Put(document, msgspec.json.encode(kept)),)))
        except Conflict:
            self.close_to_writers(space_of(kept.key))
            raise
        return self._remember(kept.stream(home_id))

    def _remember(self, stream: Stream) -> Stream:
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[stream.home_id, stream.module_id, stream.name] = stream
        return stream


def document_of(home_id: int, module_id: str, name: str) -> str:
    """Name the document of a stream. It goes away when the stream is deleted or its home is forgotten."""
    return f"stream/{home_id}/{_digest(module_id)}/{_digest(name)}"


def is_of(document: Document, stream: Stream) -> bool:
    """Tell whether the document of a stream's name is still of this very stream."""
    return _kept(document.value).key == stream.key


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()

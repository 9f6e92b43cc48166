"""Metadata: JSON objects that clients attach to packets. Each is `metadata/<index>` in the stream's space."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from backends.ports import ABSENT, Change, Put, StateStore
from config.groups import StreamSettings
from smarthouse_api.access.keys import Owner
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.errors import InvalidData, NotFound, TooLarge
from smarthouse_api.streams.heads import BORN, Heads, space_of
from smarthouse_api.streams.latest import newest_documents
from smarthouse_api.streams.model import LARGEST_INDEX, MetadataPacket, Stream

_PREFIX: Final = "metadata/"
_PAGE: Final = 1000


class _Kept(msgspec.Struct, frozen=True):
    """Stores the metadata of a packet, as the document `metadata/<index>`."""

    content: dict[str, Any]
    received_at: datetime
    updated_at: datetime
    source: Owner

    def packet(self, index: int) -> MetadataPacket:
        return MetadataPacket(index, self.content, self.received_at, self.updated_at, self.source)


_kept = msgspec.json.Decoder(_Kept).decode


class Metadata:
    """Finds, stores and removes the metadata of packets."""

    def __init__(self, state: StateStore, heads: Heads, settings: StreamSettings) -> None:
        self._state, self._heads, self._settings = state, heads, settings

    def page(self, stream: Stream, start: int, stop: int, skip: int = 0, limit: int = 0) -> tuple[list[MetadataPacket], int]:
        """Return a page of the metadata packets from `start` to `stop`, by index, and how many there are in all.

        skip: how many come before the page. limit: how many it holds at most; 0 for all. Raises `NotFound` when the stream was
        deleted.
        """
        found, count, end = list[MetadataPacket](), 0, skip + limit if limit else LARGEST_INDEX
        for name, value in self._documents(stream, start, stop):
            if skip <= count < end:
                found.append(_decoded(name, value))
            count += 1
        if not count:
            self._heads.look(stream)
        return found, count

    def newest(self, stream: Stream, before: int, limit: int) -> list[MetadataPacket]:
        """Return the metadata packets below an index, at most `limit`, the last first."""
        found = newest_documents(self._state, space_of(stream.key), _begin_of, before, limit)
        return [_decoded(name, document.value) for name, document in found]

    def each(self, stream: Stream) -> Iterator[MetadataPacket]:
        """Return all metadata packets of a stream, by index; none if it was deleted."""
        return (_decoded(name, value) for name, value in self._documents(stream, 0, LARGEST_INDEX))

    def find(self, stream: Stream, index: int) -> MetadataPacket:
        """Return the metadata of one packet. Raises `NotFound`."""
        found = self._state.get(space_of(stream.key), _name(index)) if index <= LARGEST_INDEX else None
        if found is None:
            raise NotFound("There is no metadata for this index", reason="METADATA_NOT_FOUND")
        return _decoded(_name(index), found.value)

    def put(self, stream: Stream, index: int, content: dict[str, Any], source: Owner) -> tuple[MetadataPacket, bool]:
        """Store or replace the metadata of a packet. Return what is stored now, and whether the packet had none before.

        Raises `InvalidData` for an index above the stream's highest; `TooLarge`.
        """
        if (size := len(msgspec.json.encode(content))) > self._settings.metadata_bytes:
            raise TooLarge(f"The metadata has {size} bytes as JSON; at most {self._settings.metadata_bytes} are taken")
        space, name = space_of(stream.key), _name(index)

        def attempt() -> tuple[MetadataPacket, bool]:
            seen = self._heads.look(stream)
            if index >= seen.head.next:
                raise InvalidData(f"There is no packet {index} yet: packetIndex is {seen.head.next - 1}", reason="INVALID_DATA")
            found, now = self._state.get(space, name), datetime.now(UTC)
            received_at = now if found is None else _kept(found.value).received_at
            kept = _Kept(content, received_at, now, source)
            expect = {BORN: stream.born, name: ABSENT if found is None else found.version}
            self._state.commit(space, Change(expect=expect, puts=(Put(name, msgspec.json.encode(kept)),)))
            return kept.packet(index), found is None

        return until_settled(attempt, "metadata")

    def forget_below(self, stream: Stream, index: int) -> None:
        """Remove the metadata of packets below an index, which are not kept any more."""
        space, limit = space_of(stream.key), 1  # mostly there is none
        while page := [name for name, _ in self._state.scan(space, _PREFIX, limit=limit) if name < _name(index)]:
            self._state.commit(space, Change(deletes=tuple(page)))
            limit = _PAGE

    def _documents(self, stream: Stream, start: int, stop: int) -> Iterator[tuple[str, bytes]]:
        after, last = _name(start - 1) if start else "", _name(min(stop, LARGEST_INDEX))
        while page := self._state.scan(space_of(stream.key), _PREFIX, after, _PAGE):
            for name, document in page:
                if name > last:
                    return
                yield name, document.value
            after = page[-1][0]


def _name(index: int) -> str:
    return _begin_of(min(index, LARGEST_INDEX))


def _begin_of(index: int) -> str:
    return f"{_PREFIX}{index:016d}"


def _decoded(name: str, value: bytes) -> MetadataPacket:
    return _kept(value).packet(int(name.removeprefix(_PREFIX)))

"""The two objects of a segment: `packets/<home key>/<stream key>/<segment>.data`, its packets' bytes one after another, and
`.index`. What is read of them is checked, and what is damaged is noted.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from backends.ports import NoSuchObject, ObjectDamaged, ObjectStore, StateStore
from smarthouse_api.coordination.damage import Backoff, Damages, Problem
from smarthouse_api.errors import Unavailable
from smarthouse_api.streams.heads import BORN, space_of
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.packet_encoding import Block
from smarthouse_api.streams.segment_sums import (
    PIECE_BYTES,
    BadIndex,
    BadPiece,
    SegmentIndex,
    Summing,
    Sums,
    checked,
    head_bytes,
    index_object,
    new_index,
    read_index,
    read_sums,
)
from smarthouse_api.streams.segments import Segment, read_segment

_DATA: Final = "data"
_INDEX: Final = "index"
ENDINGS: Final = (_DATA, _INDEX)
_CHUNK_BYTES: Final = 256 << 10
"""Bytes read at once. They are still in the processor's cache when they are summed, and need no new pages of memory."""


class DamagedPackets(Unavailable):
    """Says that packets of a stream cannot be read, because what holds them is damaged or missing. where: what that is."""

    def __init__(self, first: int, last: int, where: str = "the object store") -> None:
        super().__init__(
            f"The packets {first} to {last} are damaged or missing in {where}; ask for other packets, or repeat the"
            " request once the operator has brought them back from a backup",
            reason="PACKETS_DAMAGED",
        )


class _Place(NamedTuple):
    stream: Stream
    segment: Segment

    def name(self, ending: str) -> str:
        return f"{object_name(self.stream, self.segment.id)}.{ending}"


class SegmentObjects:
    """Writes, reads and checks the objects of segments."""

    def __init__(self, state: StateStore, objects: ObjectStore) -> None:
        self._state, self._objects, self._damages, self._backoff = state, objects, Damages(state), Backoff()

    def put(self, stream: Stream, segment_id: str, octets: Iterable[bytes], index: Block) -> None:
        """Store a segment's objects. octets: its packets' bytes. index: its packets without their bytes."""
        name, summing = object_name(stream, segment_id), Summing()
        self._objects.put(f"{name}.{_DATA}", summing.through(octets))
        self._objects.put(f"{name}.{_INDEX}", [new_index(segment_id, summing.sums(), index)])

    def index(self, stream: Stream, segment: Segment) -> SegmentIndex:
        """Return a segment's index. Raises `DamagedPackets`, and `NoSuchObject` if the segment is not the stream's any more."""
        place = _Place(stream, segment)
        try:
            found = read_index(segment.id, segment.bytes, self._objects.get(place.name(_INDEX)))
            block = found.block
            if (len(block), block.first, block.last, int(block.sizes.sum())) == (
                segment.packets,
                segment.first,
                segment.last,
                segment.bytes,
            ):
                return found
        except NoSuchObject as fault:
            raise self._missing(place, _INDEX, fault) or fault from fault
        except BadIndex:
            pass
        raise self._damaged(place, _INDEX, segment.first, segment.last)

    def data(
        self, stream: Stream, segment: Segment, start: int, length: int, index: SegmentIndex | None = None
    ) -> Iterator[bytes | memoryview]:
        """Return a part of a segment's bytes, none of them before its sum was looked at.

        index: the segment's, if it is at hand. Raises as `index`: when called, for an object that is missing; else when the
        bytes are asked for.
        """
        place = _Place(stream, segment)
        sums = self._sums(place) if index is None else index.sums
        begin, end = start, start + length
        if sums is not None:
            begin, end = start - start % PIECE_BYTES, min(end + -end % PIECE_BYTES, segment.bytes)
        try:
            chunks = self._objects.stream(place.name(_DATA), begin, end - begin, _CHUNK_BYTES)
        except NoSuchObject as fault:
            raise self._missing(place, _DATA, fault) or fault from fault
        return self._part(place, chunks, sums, (begin, end), (start, length))

    def add_sums(self, stream: Stream, segment: Segment) -> None:
        """Add the sums to a segment of an earlier format, whose bytes are trusted as they are. Raises as `index`."""
        found = self.index(stream, segment)
        if found.sums is None:
            summing = Summing()
            for _ in summing.through(bytes(chunk) for chunk in self.data(stream, segment, 0, segment.bytes, found)):
                pass
            name = f"{object_name(stream, segment.id)}.{_INDEX}"
            self._objects.put(name, [index_object(segment.id, summing.sums(), found.packed)])

    def check(self, stream: Stream, segment: Segment) -> None:
        """Read all of a segment. Raises as `index`."""
        for _ in self.data(stream, segment, 0, segment.bytes, self.index(stream, segment)):
            pass

    def verify(self, stream: Stream, segments: Iterable[Segment], share: float) -> Iterator[Problem]:
        """Look for the objects of segments, and read a share of them, from 0 to 1. What is wrong is noted, too."""
        prefix, segments = object_name(stream, ""), list(segments)
        self.look_again(stream, segments)
        sizes = {info.key.removeprefix(prefix): info.size_bytes for info in self._objects.list(prefix)}
        for segment in segments:
            is_there = sizes.get(f"{segment.id}.{_DATA}") == segment.bytes and f"{segment.id}.{_INDEX}" in sizes
            if not is_there or random.random() < share:  # noqa: S311
                with suppress(DamagedPackets, NoSuchObject):  # it is noted now, or is not the stream's any more
                    self.check(stream, segment)
        yield from self._damages.noted(prefix)

    def damaged_streams(self) -> set[str]:
        """List the keys of the streams that have objects which are noted as damaged."""
        names = {problem.name for problem in self._damages.noted("packets/")}
        self._backoff.forget_others(names, "packets/")
        return {name.split("/")[2] for name in names}

    def look_again(self, stream: Stream, segments: Iterable[Segment], first_seconds: float = 0.0) -> None:
        """Remove the notes of what is whole by now, and of what is not the stream's any more.

        first_seconds: from the first to the second look at one object; each time after that is twice as long.
        """
        prefix = object_name(stream, "")
        noted = {problem.name for problem in self._damages.noted(prefix)}
        self._backoff.forget_others(noted, prefix)
        if not noted:
            return
        there = {segment.id: segment for segment in segments}
        for name in noted:
            segment = there.get(name.removeprefix(prefix).partition(".")[0])
            try:
                if segment is not None:
                    if first_seconds and not self._backoff.is_due(name, first_seconds):
                        continue
                    self.check(stream, segment)
            except (DamagedPackets, NoSuchObject):
                continue
            self._damages.clear(name)

    def delete(self, stream: Stream, segment_ids: Iterable[str]) -> None:
        """Delete the objects of segments, and the notes of them."""
        names = [f"{object_name(stream, id_)}.{ending}" for id_ in segment_ids for ending in ENDINGS]
        self._objects.delete(names)
        self._damages.clear(*names)

    def erase(self, home_key: str, stream_key: str) -> None:
        """Remove all objects of a stream, and the notes of them."""
        prefix = f"packets/{home_key}/{stream_key}/"
        self._objects.delete_below(prefix.removesuffix("/"))
        self._damages.clear_all(prefix)

    def _sums(self, place: _Place) -> Sums | None:
        segment = place.segment
        try:
            head = b"".join(self._objects.stream(place.name(_INDEX), 0, head_bytes(segment.bytes)))
            return read_sums(segment.id, segment.bytes, head)
        except NoSuchObject as fault:
            raise self._missing(place, _INDEX, fault) or fault from fault
        except BadIndex:
            raise self._damaged(place, _INDEX, segment.first, segment.last) from None

    def _part(
        self, place: _Place, chunks: Iterator[bytes], sums: Sums | None, found: tuple[int, int], wanted: tuple[int, int]
    ) -> Iterator[bytes | memoryview]:
        """Cut out what is wanted, start and length, of what was found, from one place to another."""
        at, (start, left) = found[0], wanted
        try:
            for chunk in chunks if sums is None else checked(chunks, sums, *found):
                skipped = max(start - at, 0)
                at += len(chunk)
                part = chunk if not skipped and len(chunk) <= left else memoryview(chunk)[skipped : skipped + left]
                left -= len(part)
                yield part
        except BadPiece as bad:
            raise self._damaged(place, _DATA, *self._packets_at(place, bad.at)) from None
        except ObjectDamaged as fault:
            raise self._missing(place, _DATA, fault) or fault from fault
        if left > 0:
            raise self._damaged(place, _DATA, *self._packets_at(place, at))

    def _packets_at(self, place: _Place, at: int) -> tuple[int, int]:
        """The first and the last packet of the piece that begins at a place; those of the segment if its index is damaged."""
        try:
            block = self.index(*place).block
        except (DamagedPackets, NoSuchObject):
            return place.segment.first, place.segment.last
        ends = np.cumsum(block.sizes)
        low = int(np.searchsorted(ends, at, "right"))
        high = int(np.searchsorted(ends, min(at + PIECE_BYTES, place.segment.bytes) - 1, "right"))
        return int(block.indexes[min(low, len(block) - 1)]), int(block.indexes[min(high, len(block) - 1)])

    def _damaged(self, place: _Place, ending: str, first: int, last: int, how: str = "damaged") -> DamagedPackets:
        what = f"this object is {how}: the packets {first} to {last} of its stream cannot be read"
        self._damages.note(Problem("objects", place.name(ending), place.stream.home_key, what))
        return DamagedPackets(first, last)

    def _missing(self, place: _Place, ending: str, fault: NoSuchObject) -> DamagedPackets | None:
        """The fault of an object that is missing or damaged; None if its segment was merged, dropped or deleted meanwhile."""
        stream, segment = place
        space = space_of(stream.key)
        found = self._state.get(space, segment.name)
        is_there = found is not None and read_segment(found.value).id == segment.id
        if not is_there or self._state.get(space, BORN) is None:
            return None
        how = "damaged" if isinstance(fault, ObjectDamaged) else "missing"
        return self._damaged(place, ending, segment.first, segment.last, how)


def object_name(stream: Stream, segment_id: str) -> str:
    """Return the name that a segment's two objects share, without their endings."""
    return f"packets/{stream.home_key}/{stream.key}/{segment_id}"

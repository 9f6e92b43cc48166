"""The packet store: a log for a stream's newest packets, segments for the older ones, and a manifest that tells them apart.

In the stream's space:

    log `packets`           entries with the newest packets
    segment/<last index>    a segment, by the index of its last packet
    rest                    the manifest

A segment has two objects; see `smarthouse_api.streams.segment_objects`.

1. A packet is in the log or in a segment at any time, and the manifest says in which.
2. Every change to the segments is one commit on the manifest's version. So of two that change them, one fails.
3. Sealed entries are dropped from the log after that commit. If a crash left some, `drop_sealed` drops them later.
4. A reader who sees the manifest change looks again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from backends.ports import (
    ABSENT,
    Change,
    Conflict,
    Document,
    Entry,
    ObjectStore,
    PartDamaged,
    Put,
    SignsUrls,
    StateStore,
    StoreUnavailable,
)
from smarthouse_api.streams.heads import BORN, HEAD, LEASE, HeadSnapshot, snapshot_of, space_of
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.segment_objects import SegmentObjects, object_name
from smarthouse_api.streams.segments import Segment, read_segment, segment_name

LOG: Final = "packets"
_MANIFEST: Final = "rest"
_PAGE_BYTES: Final = 4 << 20
_FEWEST: Final = 8
_MOST: Final = 1000


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, rename={"retired": "trash"}):
    """Says how far a stream's log is sealed, which packets are still read, and which segments are not.

    sequence: the last sealed entry of the log. next: the index after that entry's last packet. packets, bytes: of all that was
    ever sealed. floor: the lowest index that is read. dropped_packets, dropped_bytes: of all below it. newest: the last
    segment. retired: segments that readers who begin now do not read, and since when, in seconds since 1970. summed: whether
    every segment has its sums, which those of earlier formats get from the chores. lost: the first and the last index around
    each entry that was damaged in the log and dropped; its packets count neither in `packets` nor in `bytes`.
    """

    sequence: int = 0
    next: int = 0
    packets: int = 0
    bytes: int = 0
    floor: int = 0
    dropped_packets: int = 0
    dropped_bytes: int = 0
    newest: Segment | None = None
    retired: dict[str, float] = {}
    summed: bool = False
    lost: list[tuple[int, int]] = []


class Hole(NamedTuple):
    """Stands for a damaged entry of the log."""

    sequence: int


class VersionedManifest(NamedTuple):
    """Pairs a manifest with its document's version, which a commit then expects. `ABSENT`: nothing was sealed yet."""

    manifest: Manifest
    version: int


_manifest = msgspec.json.Decoder(Manifest).decode


def _versioned(found: Document | None) -> VersionedManifest:
    if found is None:
        return VersionedManifest(Manifest(), ABSENT)
    return VersionedManifest(_manifest(found.value), found.version)


class PacketStore:
    """Holds the packets of all streams in the two stores: reads and drops log entries, and keeps segments and manifests."""

    def __init__(self, state: StateStore, objects: ObjectStore) -> None:
        self._state, self._objects = state, objects
        self.segment_objects = SegmentObjects(state, objects)

    def manifest(self, stream: Stream) -> VersionedManifest:
        """Return the stream's manifest as it is now."""
        return _versioned(self._state.get(space_of(stream.key), _MANIFEST))

    def look(self, stream: Stream) -> tuple[HeadSnapshot, VersionedManifest]:
        """Return the stream's head and its manifest, read at once. Raises `NotFound` when it was deleted."""
        head, lease, manifest = self._state.get_many(space_of(stream.key), [HEAD, LEASE, _MANIFEST])
        return snapshot_of(head, lease), _versioned(manifest)

    def segments(self, stream: Stream, start: int = 0) -> Iterator[Segment]:
        """Return the segments with a packet at `start` or above, ascending."""
        space, after = space_of(stream.key), segment_name(start - 1) if start else ""
        while page := self._state.scan(space, "segment/", after):
            yield from (read_segment(document.value) for _, document in page)
            after = page[-1][0]

    def replace(
        self,
        stream: Stream,
        found: VersionedManifest,
        manifest: Manifest,
        *,
        added: Segment | None = None,
        removed: Sequence[Segment] = (),
        expect: Mapping[str, int] | None = None,
    ) -> bool:
        """Store a new manifest with the segments that come and go, then drop the entries that it calls sealed.

        Returns False, and changes nothing, if the stream was deleted or another process was first. found: the manifest that the
        new one was made from. expect: further conditions.
        """
        retired = manifest.retired | dict.fromkeys((segment.id for segment in removed), time.time())
        documents: dict[str, msgspec.Struct] = {} if added is None else {added.name: added}
        documents[_MANIFEST] = msgspec.structs.replace(manifest, retired=retired)
        puts = tuple(Put(name, msgspec.json.encode(document)) for name, document in documents.items())
        conditions = {BORN: stream.born, _MANIFEST: found.version, **(expect or {})}
        change = Change(conditions, puts, deletes=tuple(segment.name for segment in removed))
        try:
            self._state.commit(space_of(stream.key), change)
        except Conflict:
            return False
        self.drop(stream, found.manifest.sequence, manifest.sequence)
        return True

    def delete_retired(self, stream: Stream, found: VersionedManifest, before: float) -> None:
        """Delete the segments that were retired before a time, in seconds since 1970."""
        retired = found.manifest.retired
        if dead := [id_ for id_, since in retired.items() if since < before]:
            self.delete(stream, *dead)
            left = {id_: since for id_, since in retired.items() if id_ not in dead}
            self.replace(stream, found, msgspec.structs.replace(found.manifest, retired=left))

    def last_sequence(self, stream: Stream) -> int:
        """Return the sequence that the log gave last."""
        return self._state.last_sequence(space_of(stream.key), LOG)

    def entry(self, stream: Stream, after: int) -> Entry | None:
        """Return the log's first entry after a sequence. Raises `PartDamaged` if that one is damaged."""
        return next(iter(self._state.read(space_of(stream.key), LOG, after, 1)), None)

    def whole_entry(self, stream: Stream, after: int) -> Entry | None:
        """Return the log's first entry after a sequence that is not damaged."""
        return next((page[0] for page in self.pages(stream, after) if not isinstance(page, Hole)), None)

    def entries(self, stream: Stream, after: int, last: int | None = None) -> Iterator[list[Entry]]:
        """Return the log's entries after a sequence, a few MB at a time. Raises `PartDamaged` in place of a damaged one."""
        for page in self.pages(stream, after, last):
            if isinstance(page, Hole):
                self._state.read(space_of(stream.key), LOG, page.sequence - 1, 1)
                raise StoreUnavailable("an entry of a stream's log could not be read; repeat this")  # it can be by now
            yield page

    def pages(self, stream: Stream, after: int, last: int | None = None) -> Iterator[list[Entry] | Hole]:
        """Return what `entries` does, with a `Hole` in place of each damaged one."""
        limit = _FEWEST
        while True:
            try:
                page = self._state.read(space_of(stream.key), LOG, after, limit)
            except PartDamaged as fault:
                damaged = fault.part.sequence or after + 1
                if limit > 1:
                    limit = max(damaged - after - 1, 1) if damaged - after - 1 < limit else 1
                elif last is None or damaged <= last:
                    yield Hole(damaged)
                    after, limit = damaged, _FEWEST
                else:
                    return
                continue
            if last is not None and page and page[-1].sequence > last:
                page = [entry for entry in page if entry.sequence <= last]
            if not page:
                return
            yield page
            after = page[-1].sequence
            average = max(sum(len(entry.value) for entry in page) // len(page), 1)
            limit = min(max(_PAGE_BYTES // average, _FEWEST), _MOST)

    def drop(self, stream: Stream, after: int, last: int) -> None:
        """Remove for good the log's entries above one sequence and up to another."""
        for low in range(after + 1, last + 1, _MOST):
            drops = tuple((LOG, sequence) for sequence in range(low, min(low + _MOST, last + 1)))
            self._state.commit(space_of(stream.key), Change(drops=drops))

    def drop_sealed(self, stream: Stream, manifest: Manifest) -> Entry | Hole | None:
        """Drop sealed entries that a crash left in the log. Returns the first entry that is left."""
        while (oldest := self.oldest(stream, 0)) is not None and oldest.sequence <= manifest.sequence:
            self.drop(stream, oldest.sequence - 1, manifest.sequence)
        return oldest

    def oldest(self, stream: Stream, after: int) -> Entry | Hole | None:
        """Return the log's first entry after a sequence."""
        try:
            return self.entry(stream, after)
        except PartDamaged as fault:
            return Hole(fault.part.sequence or after + 1)

    def signed_url(self, stream: Stream, segment: Segment, seconds: float, file_name: str) -> str | None:
        """Return a URL of the object store's own for a segment's bytes; None if the store signs none."""
        if not isinstance(self._objects, SignsUrls):
            return None
        return self._objects.signed_url(f"{object_name(stream, segment.id)}.data", seconds, file_name)

    def delete(self, stream: Stream, *segment_ids: str) -> None:
        """Delete the objects of segments."""
        self.segment_objects.delete(stream, segment_ids)

    def sweep(self, stream: Stream, before: datetime) -> None:
        """Delete orphans: objects older than `before` that the stream does not refer to, because a crash left them."""
        old = [info.key for info in self._objects.list(object_name(stream, "")) if info.modified_at < before]
        if old:
            known = {segment.id for segment in self.segments(stream)} | self.manifest(stream).manifest.retired.keys()
            self._objects.delete(key for key in old if key.rpartition("/")[2].partition(".")[0] not in known)

    def places(self) -> set[tuple[str, str]]:
        """Return the home key and the stream key of all streams that have objects."""
        names = (info.key.split("/") for info in self._objects.list("packets/"))
        return {(name[1], name[2]) for name in names}

    def erase(self, places: Iterable[tuple[str, str]]) -> None:
        """Remove all objects of streams, each named by its home key and stream key."""
        for home_key, key in places:
            self.segment_objects.erase(home_key, key)

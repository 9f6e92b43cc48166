"""The newest packets, from the log into a segment."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

import msgspec

from backends.ports import Change, Conflict, NoSuchObject, ObjectStore, Put, StateStore
from config.groups import StreamSettings
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.streams.blocks import Block, block, index_bytes, joined
from smarthouse_api.streams.heads import BORN, Heads, Seen, space_of
from smarthouse_api.streams.model import Stream
from smarthouse_api.streams.segments import LOG, MOST_PACKETS, REST, Found, Rest, Segment, object_name
from smarthouse_api.streams.shelf import Shelf


@dataclass(frozen=True, slots=True)
class _Run:
    """Entries of the log that make a segment. last: the sequence of the last of them."""

    blocks: list[Block]
    last: int

    @property
    def size(self) -> int:
        return sum(len(one.octets) for one in self.blocks)


class Sealing:
    """Makes segments of the packets in the log, once they fill one or are old enough."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        heads: Heads,
        shelf: Shelf,
        settings: StreamSettings,
    ) -> None:
        self._state, self._objects, self._heads, self._shelf = state, objects, heads, shelf
        self._settings = settings

    def is_due(self, stream: Stream, seen: Seen, rest: Rest) -> bool:
        """Whether the log holds enough for a segment, or packets that are old enough."""
        if seen.head.bytes - rest.bytes >= self._settings.segment_bytes:
            return True
        oldest = self._state.read(space_of(stream.key), LOG, rest.sequence, 1) if seen.head.next > rest.next else []
        before_us = microseconds(datetime.now(UTC)) - int(self._settings.tail_seconds * 1e6)
        return bool(oldest) and int(block(oldest).times_us[0]) <= before_us

    def seal(self, stream: Stream, found: Found) -> bool:
        """Make a segment of the oldest packets of the log; whether it was done.

        For one at a time for each stream; of two, one fails and leaves nothing. A crash leaves objects that nobody refers to,
        or entries that are sealed already, which the next maintenance drops.
        """
        run = self._run(stream, found.rest)
        if run is None:
            return False
        merged, before, octets = self._merged(stream, found.rest)
        index = joined([*before, *run.blocks])
        segment = _segment(index)
        name = object_name(stream, segment.id)
        self._objects.put(f"{name}.data", chain(octets, (bytes(one.octets) for one in run.blocks)))
        self._objects.put(f"{name}.index", [index_bytes(index)])
        rest = _after(found.rest, run, segment, merged)
        puts = (Put(segment.name, msgspec.json.encode(segment)), Put(REST, msgspec.json.encode(rest)))
        deletes = (merged.name,) if merged else ()
        expect = {BORN: stream.born, REST: found.version}
        try:
            self._state.commit(space_of(stream.key), Change(expect=expect, puts=puts, deletes=deletes))
        except Conflict:
            self._objects.delete([f"{name}.data", f"{name}.index"])
            return False
        self._shelf.drop(stream, found.rest.sequence, rest.sequence)
        return True

    def drop_sealed(self, stream: Stream, rest: Rest) -> None:
        """Drop entries that are sealed, of which a crash may have left some."""
        space = space_of(stream.key)
        while (page := self._state.read(space, LOG, 0, 1)) and page[0].sequence <= rest.sequence:
            self._shelf.drop(stream, page[0].sequence - 1, rest.sequence)

    def _run(self, stream: Stream, rest: Rest) -> _Run | None:
        blocks, last, size, packets = list[Block](), 0, 0, 0
        for page in self._shelf.entries(stream, rest.sequence):
            blocks.append(block(page))
            last, size, packets = page[-1].sequence, size + len(blocks[-1].octets), packets + len(blocks[-1])
            if size >= self._settings.segment_bytes or packets >= MOST_PACKETS:
                break
        return _Run(blocks, last) if blocks else None

    def _merged(self, stream: Stream, rest: Rest) -> tuple[Segment | None, list[Block], Iterator[bytes]]:
        """The newest segment, if it is so small that the new one had better hold its packets too, with its index and bytes."""
        newest = rest.newest
        if newest is not None and newest.first >= rest.floor and newest.is_small(self._settings.segment_bytes):
            # One whose objects are lost is no reason to let the log grow.
            with suppress(NoSuchObject):
                return newest, [self._shelf.index(stream, newest)], self._shelf.data(stream, newest, 0, newest.bytes)
        return None, [], iter(())


def _segment(index: Block) -> Segment:
    return Segment(
        id=secrets.token_hex(12),
        first=index.first,
        last=index.last,
        packets=len(index),
        bytes=int(index.sizes.sum()),
        from_us=int(index.times_us[0]),
        to_us=int(index.times_us[-1]),
    )


def _after(rest: Rest, run: _Run, segment: Segment, merged: Segment | None) -> Rest:
    return msgspec.structs.replace(
        rest,
        sequence=run.last,
        next=segment.last + 1,
        packets=rest.packets + sum(map(len, run.blocks)),
        bytes=rest.bytes + run.size,
        newest=segment,
        trash={**rest.trash, merged.id: time.time()} if merged else rest.trash,
    )

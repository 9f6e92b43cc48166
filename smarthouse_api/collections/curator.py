"""The curator of collections: records that were accepted become rows of the lake, each exactly once.

One curator works at a time, under the lease of the table, and at each topic in a turn of its own. Rows are committed with the
sequences of the entries that they came of, and only then the topic is said to be taken in that far. A curator that dies in
between leaves entries that the table holds already; the next one sees by the highest that it must look, and finds by its
batch which entry is there and which is not: another may stand under the same sequence, because a state store that lost its
last moments gives sequences anew. Such an entry is moved to the end of the topic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import Conflict, StoreFull, StoreUnavailable
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.parts import Part, Work, read_parts
from smarthouse_api.collections.progress import Progress, Taken, Turn
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.leases import Lease

_ATTEMPTS = 16

log = logging.getLogger(__name__)


class Curator:
    """batch_bytes: of entries that one commit takes in, about."""

    def __init__(self, progress: Progress, table: CollectionsTable, *, batch_bytes: int) -> None:
        self._progress, self._table, self._batch_bytes = progress, table, batch_bytes

    def curate(self, lease: Lease, collections: Sequence[Collection], interrupted: Callable[[], bool]) -> None:
        """Bring into the lake what is pending of these collections, which should not be many at once.

        lease: the writer's. interrupted: asked between commits; the rest stays pending. A collection that another is at, or
        that is gone, is left out.
        """
        snapshot = self._table.open_or_create()
        held = self._table.held(snapshot)
        works = [work for one in collections if (work := self._begin(snapshot, one, held.get(one.key, 0))) is not None]
        works.sort(key=lambda work: work.turn.last - work.read)  # nobody waits for the longest queue
        self._work(lease, snapshot, works, interrupted)
        pa.default_memory_pool().release_unused()

    def _begin(self, snapshot: DeltaTable, collection: Collection, held: int) -> Work | None:
        """A turn at a topic that says of all that the lake holds that it does; None when there is none to be had.

        held: the highest sequence that the snapshot holds.
        """
        try:
            for _ in range(_ATTEMPTS):
                turn = self._progress.take_turn(collection)
                if held > turn.last:
                    self._progress.go_on_after(collection, turn, held)
                elif held > turn.taken.sequence:
                    self._settle(snapshot, collection, turn, held)
                else:
                    return Work(collection, turn, turn.taken.sequence)
        except Conflict:
            log.info("a collection is another's to curate, or is gone")
            return None
        except StoreFull:
            log.warning("the state store is full: a collection whose entries must be moved is not curated")
            return None
        raise StoreUnavailable("the state store and the lake of collections do not agree")

    def _settle(self, snapshot: DeltaTable, collection: Collection, turn: Turn, held: int) -> None:
        """Take the topic for taken in up to what the lake holds. But if something under those sequences is not there, only move
        that to the end and leave the rest to another turn: one that began before the moving would not end if that is lost.
        """
        there = self._table.batches(snapshot, collection.key, turn.taken.sequence)
        part, has_moved = Part(Work(collection, turn, held), held), False
        for entry in self._progress.entries(collection, turn.taken.sequence, held):
            if (logged := part.read(entry)) is None:
                continue
            if there[logged.batch]:
                there[logged.batch] -= 1
            else:
                self._progress.move(collection, turn, entry)
                has_moved = True
        if has_moved:
            log.warning("the state store has given sequences anew; records were moved to the end of their topic")
            return
        for texts in self._table.records(snapshot, collection.key, turn.taken.sequence):
            part.fields.note_texts(texts)  # which were lost too
        self._announce(part)
        self._advance(part)

    def _work(self, lease: Lease, snapshot: DeltaTable, works: Sequence[Work], interrupted: Callable[[], bool]) -> None:
        """One commit at least, so that however slow a store is, the next turn finds less to do."""
        # Writing releases the GIL: the next batch is read meanwhile.
        with ThreadPoolExecutor(1, "curating") as reading:
            ahead = reading.submit(read_parts, self._progress, works, self._batch_bytes)
            while parts := ahead.result():
                ahead = reading.submit(read_parts, self._progress, works, self._batch_bytes)
                self._commit(lease, snapshot, parts)
                if interrupted():
                    break

    def _commit(self, lease: Lease, snapshot: DeltaTable, parts: Sequence[Part]) -> None:
        good = [part for part in parts if not part.work.is_lost and self._is_done(part, self._announce)]
        with_rows = [part for part in good if any(table.num_rows for table in part.tables)]
        if with_rows:
            lease.check()
            rows = pa.concat_tables([table for part in with_rows for table in part.tables])
            self._table.append(snapshot, rows)
            # Behind another's erasing, a commit that was late may stand where nobody looks.
            lease.check()
        for part in good:
            self._is_done(part, self._advance)

    def _is_done(self, part: Part, step: Callable[[Part], None]) -> bool:
        """Whether the step was done in the turn; if not, whoever has the next one goes on from what the lake says."""
        try:
            step(part)
        except Conflict:
            part.work.is_lost = True
            log.info("a collection is another's to curate, or is gone")
        return not part.work.is_lost

    def _announce(self, part: Part) -> None:
        """What must be kept before the lake holds the part. Raises `Conflict`."""
        work = part.work
        before = work.fields or self._progress.fields(work.collection)
        after = before.merged(part.fields)
        if after.types != before.types:
            self._progress.put_fields(work.collection, work.turn, after)
        work.fields = after
        if part.unreadable:
            log.error("%d entries of a topic cannot be read and are set aside: they give no rows", len(part.unreadable))
            self._progress.set_aside(work.collection, work.turn, part.unreadable)

    def _advance(self, part: Part) -> None:
        """Say that the lake holds the part, and drop it from the topic unless that is to be kept. Raises `Conflict`."""
        work, before = part.work, part.work.turn.taken
        drops = list[int]()
        if work.collection.entry_topic is None:
            dropped = part.last if before.dropped == before.sequence else before.dropped
            after, drops = Taken(part.last, dropped, before.kept_bytes, before.kept_us), part.sequences
        else:
            kept_us = before.kept_us if before.dropped < before.sequence else part.first_us
            after = Taken(part.last, before.dropped, before.kept_bytes + part.size, kept_us)
        work.turn = self._progress.advance(work.collection, work.turn, after, drops)

"""The curator: entries of queues become rows of a Delta table, each exactly once. A tenant says what its entries mean.

The order of a commit, which keeps it exactly once though a process sleeps or dies at any step:

1. One curator works at a time, under the writer's lease of the table, and at each queue in a turn of its own.
2. It opens the newest snapshot, takes its turns, and settles what a dead curator has left; see `_begin`.
3. It reads entries up to the last that was given before the turn, and makes rows of them. The next entries are read in a thread
   while a commit is written, which releases the GIL.
4. The lease is checked. The tenant announces a part: it stores whatever must be stored before the rows.
5. The lease is checked; rows are committed on the snapshot, with the sequences of their entries; the lease is checked again.
   If another curator began with the same snapshot, delta-rs refuses its commit. A late commit may be lost behind another's
   erasing of the history: the check after it finds that, and the check before it does so for what was announced.
6. The tenant records the part: the queue drops what the lake holds. That is one commit in the turn.

A curator that dies between 5 and 6 leaves entries that the table holds already. The next curator notices, because the table
holds a higher sequence than the queue knows of. It looks for each entry by its content and not by its sequence: a state store
that has lost its last moments gives the same sequences again. An entry that the table does not hold is moved to the end of its
queue.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import Conflict, Entry, StoreFull, StoreUnavailable
from config.groups import LakeSettings
from smarthouse_api.coordination.leases import Lease, LeaseLost
from smarthouse_api.coordination.queue import Turn
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.files import CommitConflict
from smarthouse_api.lake.row_maker import Part, RowMaker
from smarthouse_api.lake.table import LakeTable

_ATTEMPTS: Final = 16
_BREATH_SECONDS: Final = 0.01
_PATIENCE_SECONDS: Final = 1.0
_ANOTHERS: Final = "a queue is another's to curate, or is gone"

log = logging.getLogger(__name__)


@dataclass
class _Work:
    """Tracks how far one queue is curated. read: the sequence up to which the queue was read. is_lost: the turn is over."""

    maker: RowMaker[Any]
    turn: Turn
    read: int
    is_lost: bool = False

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Do one step of the turn. If the turn is over, leave the rest of the step to the next turn, which asks the lake."""
        try:
            yield
        except Conflict:
            self.is_lost = True
            log.info(_ANOTHERS)


class Curator:
    """Brings the entries of queues into one table, each exactly once. batch_entries: most entries in one commit."""

    def __init__(self, table: LakeTable, settings: LakeSettings, batch_entries: int) -> None:
        self._table, self._batch_bytes, self._batch_entries = table, settings.curate_batch_bytes, batch_entries
        self._flush_seconds = settings.flush_timeout_seconds

    def flush(self, maker: RowMaker[Any]) -> None:
        """Return once the lake holds every entry that the queue was given before the call, no matter which process writes it.

        Raises `Unavailable` when that takes too long, and what `RowMaker.taken` raises.
        """
        target = maker.queue.last()
        deadline = time.monotonic() + self._flush_seconds
        asks_at = time.monotonic() + _PATIENCE_SECONDS
        # If a failover has lost entries that were there, there is no more to wait for than what is left.
        while maker.taken() < (target := min(target, maker.queue.last())):
            if time.monotonic() > deadline:
                raise Unavailable("The lake is still taking in what was sent; ask again")
            if (lease := self._table.try_write()) is not None:
                with lease:
                    try:
                        self.curate(lease, [maker], lambda: time.monotonic() > deadline)
                    except (Conflict, CommitConflict, LeaseLost):
                        log.warning("another took over the lake; looking again")
                if maker.taken() >= target:
                    return
            elif time.monotonic() > asks_at:
                self._table.open()  # the holder of the lease may wait for a store that does not answer
                asks_at = deadline
            time.sleep(_BREATH_SECONDS)

    def curate(self, lease: Lease, makers: Sequence[RowMaker[Any]], interrupted: Callable[[], bool]) -> None:
        """Bring the pending entries of these queues into the lake. Give few queues at once.

        lease: the writer's. interrupted: asked after each commit; if it says so, the rest stays pending. At least one commit is
        made, so that the next turn finds less to do even with a slow store. A queue that another process curates, or that is
        gone, is left out.

        Raises `CommitConflict` or `LeaseLost` if another process took over the table.
        """
        snapshot = self._table.open_or_create()
        held = self._table.held(snapshot, [maker.log for maker in makers if maker.log is not None])
        found = (self._begin(snapshot, one, 0 if one.log is None else held.get(one.log, 0)) for one in makers)
        works = [work for work in found if work is not None]
        works.sort(key=lambda work: work.turn.last - work.read)  # nobody waits for the longest queue
        # Writing releases the GIL: the next batch is read meanwhile.
        with ThreadPoolExecutor(1, "curating") as reading:
            ahead = reading.submit(self._read, works)
            while parts := ahead.result():
                ahead = reading.submit(self._read, works)
                self._commit(lease, snapshot, parts)
                if interrupted():
                    break
        pa.default_memory_pool().release_unused()

    def _begin(self, snapshot: DeltaTable, maker: RowMaker[Any], held: int) -> _Work | None:
        """Take a turn at a queue, and settle what a dead curator left; None if another has the turn, or the queue is gone.

        held: the highest sequence that the snapshot holds.
        """
        try:
            for _ in range(_ATTEMPTS):
                turn = maker.queue.take_turn()
                taken = maker.taken(turn)
                if held > turn.last:
                    maker.overtake(turn, held)
                elif held > taken:
                    self._settle(snapshot, maker, turn, held)
                else:
                    return _Work(maker, turn, taken)
        except Conflict:
            log.info(_ANOTHERS)
            return None
        except StoreFull:
            log.warning("the state store is full: a queue whose entries must be moved is not curated")
            return None
        raise StoreUnavailable("the state store and the lake do not agree")

    def _settle(self, snapshot: DeltaTable, maker: RowMaker[Any], turn: Turn, held: int) -> None:
        """Record that the lake holds the entries up to a sequence.

        If the lake does not hold some of them, only move these to the end of the queue, and leave the rest to another turn: a
        turn that began before the moving would not end if a failover undoes the moving.
        """
        part, missing = maker.left(snapshot, turn, held)
        for entry in missing:
            maker.queue.move(turn, entry)
        if missing:
            log.warning("the state store has given sequences anew; entries were moved to the end of their queue")
            return
        maker.announce(turn, part)
        maker.record(turn, part)

    def _read(self, works: Sequence[_Work]) -> list[tuple[_Work, Part]]:
        """Read the next entries of queues, as many as one commit takes in."""
        parts, size, count = list[tuple[_Work, Part]](), 0, 0
        for work in works:
            if work.is_lost or work.read >= work.turn.last:
                continue
            entries, until = list[Entry](), work.turn.last
            for entry in work.maker.queue.entries(work.read, until):
                entries.append(entry)
                size, count = size + work.maker.size(entry), count + 1
                if size >= self._batch_bytes or count >= self._batch_entries:
                    until = entry.sequence
                    break
            work.read = until
            parts.append((work, work.maker.rows(entries, until)))
            if size >= self._batch_bytes or count >= self._batch_entries:
                break
        return parts

    def _commit(self, lease: Lease, snapshot: DeltaTable, parts: Sequence[tuple[_Work, Part]]) -> None:
        good = list[tuple[_Work, Part]]()
        lease.check()
        for work, part in parts:
            if not work.is_lost:
                with work.in_turn():
                    work.maker.announce(work.turn, part)
                    good.append((work, part))
        with_rows = [(work, part) for work, part in good if any(table.num_rows for table in part.tables)]
        lease.check()
        if with_rows:
            rows, began_at = pa.concat_tables([table for _, part in with_rows for table in part.tables]), time.monotonic()
            logs = {name: part.sequences[-1] for work, part in with_rows if (name := work.maker.log) is not None}
            self._table.append(snapshot, rows, logs)
            log.info(
                "the lake: %s: %d rows of %d entries were committed in %.2f s",
                self._table.name,
                rows.num_rows,
                sum(len(part.sequences) for _, part in with_rows),
                time.monotonic() - began_at,
            )
            # Behind another's erasing, a commit that was late may stand where nobody looks.
            lease.check()
        for work, part in good:
            with work.in_turn():
                work.turn = work.maker.record(work.turn, part)

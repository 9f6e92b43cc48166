"""The curator: payloads that were acknowledged become rows of the lake, each exactly once.

One curator works at a time, under the lease of the lake. A batch is committed with the sequence of its last payload as the
table's transaction version, and only then dropped from the log. A curator that dies in between leaves payloads that the
table holds already; the next one sees by that version, and by their times of arrival, that it must drop them and not write
them again. The times matter when a state store has lost its last moments and then gave the same sequences anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from backends.ports import Conflict, NoSuchObject, StoreError, StoreUnavailable
from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.arrow.timestamps import TIMESTAMP
from smarthouse_api.coordination.leases import Lease, LeaseLost
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.table import Forestalled
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.payload.decoding import Body, Decoded
from smarthouse_api.states.schema import STATES, bucket_of
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Pending, Turn, Uploads

_READ_AHEAD = 1000
_PATIENCE_SECONDS = 1.0

EMPTY = (b"{}", None)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A batch ready to be committed. sequences: of its payloads in the log, ascending. rows: of `STATES`, if it has any."""

    sequences: list[int]
    rows: pa.Table | None


class Curator:
    """batch_bytes: decoded bytes that one commit takes in, about. flush_seconds: longest wait of a flush."""

    def __init__(self, uploads: Uploads, homes: Homes, table: StatesTable, *, batch_bytes: int, flush_seconds: float) -> None:
        self._uploads, self._homes, self._table = uploads, homes, table
        self._batch_bytes, self._flush_seconds = batch_bytes, flush_seconds

    def flush(self) -> None:
        """Return once the lake holds everything that was acknowledged before the call, whoever writes it.

        Raises `Unavailable` when that takes too long.
        """
        target = self._uploads.last_acknowledged()
        deadline = time.monotonic() + self._flush_seconds
        asks_at = time.monotonic() + _PATIENCE_SECONDS
        while (first := self._uploads.pending(limit=1)) and first[0].sequence <= target:
            if time.monotonic() > deadline:
                raise Unavailable("The lake is still taking in what was uploaded; ask again")
            lease = self._table.try_write()
            if lease is None:
                if time.monotonic() > asks_at:
                    self._table.open()  # whoever holds the lake may be waiting for a store that does not answer
                    asks_at = deadline
                time.sleep(0.01)
                continue
            try:
                self.curate(lease, target, lambda: time.monotonic() > deadline)
            except (Conflict, Forestalled, LeaseLost):
                log.warning("another took over the lake; looking again")
            finally:
                lease.release()

    def curate(self, lease: Lease, target: int | None = None, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Bring what is pending, up to `target`, into the lake.

        lease: the writer's. interrupted: asked between batches; the rest stays pending.

        Raises `StoreUnavailable`, among others when the lake holds sequences that the log has not given yet: the next payloads
        would be taken for ones that it holds.
        """
        name, snapshot = self._uploads.log_id(), self._table.open_or_create()
        committed = self._table.committed(snapshot, name)
        turn = self._uploads.take_turn()
        if committed > turn.last:
            raise StoreUnavailable("the state store is older than the lake; see `smarthouse restore --help`")
        if self._settle(snapshot, committed, turn):
            target, turn = None, self._uploads.take_turn()  # what was asked for has moved to the end of the log
        target = turn.last if target is None else min(target, turn.last)
        # Writing releases the GIL: the next batch is decoded meanwhile.
        with ThreadPoolExecutor(1, "decoding") as decoding:
            ahead = decoding.submit(self._prepare, committed, target)
            while (prepared := ahead.result()).sequences and not interrupted():
                ahead = decoding.submit(self._prepare, prepared.sequences[-1], target)
                if prepared.rows is not None:
                    lease.check()
                    self._table.append(snapshot, prepared.rows, name, prepared.sequences[-1])
                    # Behind another's erasing, a commit that was late may stand where nobody looks.
                    lease.check()
                self._uploads.drop(prepared.sequences, turn)
        pa.default_memory_pool().release_unused()

    def _settle(self, snapshot: DeltaTable, committed: int, turn: Turn) -> bool:
        """Drop from the log what a curator that died has committed; whether there was something under the same sequences that
        the table does not hold, and that is now queued again.
        """
        requeued = False
        while left := [pending for pending in self._uploads.pending() if pending.sequence <= committed]:
            held = self._table.arrivals(snapshot, {(pending.home, pending.received_us) for pending in left})
            missing = [pending for pending in left if (pending.home, pending.received_us) not in held]
            self._uploads.requeue(missing, turn)
            self._uploads.drop((pending.sequence for pending in left if pending not in missing), turn)
            requeued = requeued or bool(missing)
        return requeued

    def _prepare(self, after: int, target: int) -> Prepared:
        """The next batch of payloads above the sequence `after`, decoded."""
        ahead = self._uploads.pending(after, _READ_AHEAD)
        wanted = [pending for pending in ahead if pending.sequence <= target]
        before = accumulate((pending.decoded_bytes for pending in wanted), initial=0)
        batch = [pending for pending, size in zip(wanted, before, strict=False) if size < self._batch_bytes]
        return Prepared([pending.sequence for pending in batch], self._rows(batch))

    def _rows(self, batch: Sequence[Pending]) -> pa.Table | None:
        """The batch as rows of `STATES`; payloads of homes that are being forgotten, or are gone, give none."""
        hidden = self._homes.hidden()
        kept, bodies, missing = list[Pending](), list[Body](), set[str]()
        # In the order of an export, but for the entities of a payload: the lake is sorted without sorting its rows.
        for pending in sorted(
            batch, key=lambda pending: (pending.received_us // DAY_US, bucket_of(pending.home), pending.home)
        ):
            if pending.home not in hidden:
                try:
                    bodies.append((self._uploads.body(pending), pending.encoding))
                    kept.append(pending)
                except NoSuchObject:
                    missing.add(pending.home)
        if missing and not kept and missing & self._homes.known():
            raise StoreUnavailable("no queued payload is in the object store: it is another's, or was emptied")
        if missing:
            log.warning("queued payloads of %d homes are gone; are the homes being forgotten?", len(missing))
        tables = [states(kept, decoded) for decoded in self._decoded(kept, bodies) if decoded.table.num_rows]
        return pa.concat_tables(tables) if tables else None

    def _decoded(self, kept: list[Pending], bodies: list[Body]) -> Iterator[Decoded]:
        """The bodies decoded together; or, when one of them proves impossible, each apart and without that one."""
        try:
            yield self._uploads.decode(bodies)
        except (StoreError, MemoryError):
            raise
        except Exception:
            log.exception("a batch cannot be decoded; trying its payloads one by one")
            for place, pending in enumerate(kept):
                try:
                    yield self._uploads.decode([body if at == place else EMPTY for at, body in enumerate(bodies)])
                except Exception:
                    log.exception("payload %d is set aside: it stays raw, and gives no rows", pending.sequence)


def states(payloads: Sequence[Pending], decoded: Decoded) -> pa.Table:
    """Records of several payloads as rows of `STATES`."""
    records = decoded.table

    def of_payload(values: list[object], type_: pa.DataType) -> pa.Array:
        return pa.array(values, type_).take(decoded.payload)

    received = of_payload([pending.received_us for pending in payloads], TIMESTAMP)
    columns = {name: records[name] for name in records.schema.names}
    columns |= {
        "day": received.cast(pa.date32()),
        "bucket": of_payload([bucket_of(pending.home) for pending in payloads], pa.int32()),
        "home": of_payload([pending.home for pending in payloads], pa.string()),
        "received": received,
        "time": pc.coalesce(records["last_changed"], records["last_updated"], received),
    }
    return pa.table([columns[name] for name in STATES.names], schema=STATES)

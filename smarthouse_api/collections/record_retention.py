"""Retention of records: drops the days of the lake that are older than an operator wants to keep."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from backends.ports import Conflict, StateStore, StoreUnavailable
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.quotas import Dropping, begin_drop, begun_drop, end_drop
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.lake.files import files_of

_TURN: Final = "collections-old-records"
_HOUR_SECONDS: Final = 3600.0
_SOON_SECONDS: Final = 10.0
_AT_ONCE: Final = 100

log = logging.getLogger(__name__)


class RecordRetention:
    """Drops records that came more than so many UTC days ago, from each collection about once an hour. 0: keeps all.

    The table tells how far it holds a topic. So the rows of the last entry that it holds stay while the topic has entries that
    may be on their way into the lake.
    """

    def __init__(
        self, state: StateStore, table: CollectionsTable, catalogue: CollectionCatalogue, leases: Leases, days: int
    ) -> None:
        self._state, self._table, self._catalogue, self._leases, self._days = state, table, catalogue, leases, days

    def drop(self, is_over: Callable[[], bool]) -> bool:
        """Drop what is too old, from some collections at a time; whether files of the lake are dead now."""
        if not self._days or not self._leases.claim(_TURN, _HOUR_SECONDS):
            return False
        first, is_any = _today() - timedelta(days=self._days), False
        self._end_drops()
        there = self._with_older(first)
        for start in range(0, len(there), _AT_ONCE):
            if (is_any and is_over()) or (lease := self._table.try_write()) is None:
                self._leases.prolong(_TURN, _SOON_SECONDS)
                break
            with lease:
                self._table.fence()
                self._drop(there[start : start + _AT_ONCE], first, lease)
            is_any = True
        if is_any:
            log.info("records that came before %s were dropped", first)
        return is_any

    def _drop(self, some: Sequence[Collection], first: date, lease: Lease) -> None:
        """Drop the days of some collections, and have their quotas count them no more."""
        keys = [one.key for one in some]
        sizes = dict[str, int]()
        with suppress(StoreUnavailable):  # a damaged file is dropped unread, and what it held stays counted
            sizes = self._table.sizes_before(keys, first)
        for one in some:
            with suppress(Conflict):  # it was deleted
                begin_drop(self._state, one, Dropping(first.isoformat(), sizes.get(one.key, 0)))
        lease.check()
        self._table.delete_before(keys, first)
        for one in some:
            end_drop(self._state, one)

    def _end_drops(self) -> None:
        """Subtract what has left the lake before a process died. What has not left it is measured anew."""
        for one in self._catalogue.everything():
            begun = begun_drop(self._state, one)
            if begun is not None and one.key not in self._older(date.fromisoformat(begun.before)):
                end_drop(self._state, one)

    def _with_older(self, first: date) -> list[Collection]:
        """List the collections that are to lose days."""
        older = self._older(first)
        there = (one for one in self._catalogue.everything() if one.key in older) if older else ()
        return sorted((one for one in there if older[one.key] or not self._is_pending(one)), key=lambda one: one.key)

    def _older(self, first: date) -> dict[str, bool]:
        """Tell for each collection that has rows of earlier days, by its key, whether a later day holds its last entry."""
        if (snapshot := self._table.open()) is None:
            return {}
        files = files_of(snapshot).select(["partition.collection", "partition.day", "max.sequence"])
        is_older = pc.less(files["partition.day"], first)
        dropped, kept = _last_entries(files.filter(is_older)), _last_entries(files.filter(pc.invert(is_older)))
        return {key: last is not None and (kept.get(key) or 0) > last for key, last in dropped.items()}

    def _is_pending(self, one: Collection) -> bool:
        queue = TopicQueue(self._state, one)
        return queue.last() > queue.taken().sequence


def _last_entries(files: pa.Table) -> dict[str, int | None]:
    """Return each collection's highest sequence in some files; None if one of them does not tell its own."""
    most = pc.ScalarAggregateOptions(skip_nulls=False)
    found = files.group_by("partition.collection").aggregate([("max.sequence", "max", most)])
    return dict(zip(found["partition.collection"].to_pylist(), found["max.sequence_max"].to_pylist(), strict=True))


def _today() -> date:
    return datetime.now(UTC).date()

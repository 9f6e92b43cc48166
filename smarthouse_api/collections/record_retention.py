"""Retention of records: drops the days of the lake that are older than an operator wants to keep."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pyarrow.compute as pc

from backends.ports import StateStore
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.lake.files import files_of

_TURN: Final = "collections-old-records"
_HOUR_SECONDS: Final = 3600.0
_SOON_SECONDS: Final = 10.0
_AT_ONCE: Final = 100

log = logging.getLogger(__name__)


class RecordRetention:
    """Drops records that came more than so many UTC days ago, from each collection about once an hour. 0: keeps all.

    What a collection's topic still brings to the lake is not looked at: the table tells how far it holds the topic.
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
        keys = self._with_older(first)
        for start in range(0, len(keys), _AT_ONCE):
            if (is_any and is_over()) or (lease := self._table.try_write()) is None:
                self._leases.prolong(_TURN, _SOON_SECONDS)
                break
            with lease:
                self._table.fence()
                lease.check()
                self._table.delete_before(keys[start : start + _AT_ONCE], first)
            is_any = True
        if is_any:
            log.info("records that came before %s were dropped", first)
        return is_any

    def _with_older(self, first: date) -> list[str]:
        """List the keys of the collections that are to lose days."""
        if (snapshot := self._table.open()) is None:
            return []
        files = files_of(snapshot)
        older = set(files.filter(pc.less(files["partition.day"], first))["partition.collection"].to_pylist())
        there = (one for one in self._catalogue.everything() if one.key in older) if older else ()
        return sorted(one.key for one in there if not self._is_pending(one))

    def _is_pending(self, one: Collection) -> bool:
        queue = TopicQueue(self._state, one)
        return queue.last() > queue.taken().sequence


def _today() -> date:
    return datetime.now(UTC).date()

"""Figures of collections, for operators: what each holds, what waits, what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from backends.ports import StateStore
from smarthouse_api.collections.dead_letters import DeadLetters
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.quotas import Quotas
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.lake.files import files_of

MOST_COUNTED: Final = 1000
"""Dead letters of a collection are counted up to this number."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Tells about one collection.

    records: in the lake. waiting: requests, or parts of them, that the lake does not hold yet. stored, quota: bytes; a quota of
    0 is none. dead_letters: `MOST_COUNTED` means that number or more.
    """

    records: int
    waiting: int
    stored: int
    quota: int
    dead_letters: int


class CollectionFigures:
    """Counts without reading a record: by the statistics of the lake's files, and by the counters of the state store."""

    def __init__(self, state: StateStore, table: CollectionsTable, dead_letters: DeadLetters, quotas: Quotas) -> None:
        self._state, self._table, self._dead_letters, self._quotas = state, table, dead_letters, quotas

    def of(self, some: Sequence[Collection]) -> list[Figures]:
        """Tell about each of these collections."""
        records = self._records() if some else {}
        return [self._of(one, records.get(one.key, 0)) for one in some]

    def _of(self, one: Collection, records: int) -> Figures:
        queue = TopicQueue(self._state, one)
        waiting = max(queue.last() - queue.taken().sequence, 0)
        letters = self._dead_letters.count(one, MOST_COUNTED)
        return Figures(records, waiting, *self._quotas.of(one), letters)

    def _records(self) -> dict[str, int]:
        """The rows in the lake, by the collections' keys."""
        if (snapshot := self._table.open()) is None:
            return {}
        files = files_of(snapshot)
        keys, rows = files["partition.collection"].cast(pa.string()), files["num_records"].cast(pa.int64())
        found = pa.table([keys, rows], ["key", "rows"]).group_by("key").aggregate([("rows", "sum")])
        return {key: count or 0 for key, count in zip(found["key"].to_pylist(), found["rows_sum"].to_pylist(), strict=True)}

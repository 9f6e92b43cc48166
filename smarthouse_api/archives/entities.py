"""How many entities a home has: counted in the lake, and remembered for an hour, or until something of the home came or went.

In the state store, in the space of the homes: `entities/<home key>`, the number, and what was held when it was counted.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec
from sqlglot import exp

from backends.ports import Change, Conflict, Put, StateStore
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.states.homes import SPACE, Home, new_key
from smarthouse_api.states.homes_table import HomesTable
from smarthouse_api.states.service import States

_REMEMBERED_SECONDS: Final = 3600.0
"""Rows that are damaged, or made again, change the number, and nothing that is looked at tells of them."""

_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(tuple[str, int]).decode


class Entities:
    """Counts the entities that homes have rows of, statistics included. A home that is not known costs no look at the lake."""

    def __init__(self, state: StateStore, states: States) -> None:
        self._state, self._states = state, states

    def mark(self, home: Home | None) -> str:
        """Name what is held of a home. Ask for it before the lake is made to hold what was acknowledged."""
        key, counts, table = new_key() if home is None else home.key, self._states.counts, self._states.table
        dropped = (counts.dropped(one.name) for one in (table, self._states.statistics))
        return digest_of(repr((key, counts.of([key]), counts.expired(key), table.first_kept_day(), *dropped)))

    def count(self, home: Home | None, mark: str | None = None) -> int:
        """Count them. mark: of what the lake holds of the home at least; the same mark need not be counted again."""
        name = f"entities/{new_key() if home is None else home.key}"
        found = self._state.get(SPACE, name)
        if home is None:
            return 0
        if found is not None and (known := _decode(found.value))[0] == mark:
            return known[1]
        count = count_entities(self._states, home.key)
        if mark is not None:
            put = Put(name, _encode((mark, count)), _REMEMBERED_SECONDS)
            with suppress(Conflict):  # it is forgotten meanwhile
                self._state.commit(SPACE, Change({home.name: home.version}, (put,)))
        return count


def count_entities(states: States, home_key: str) -> int:
    """Count the entities of a home in the lake."""
    found, engine = set[str](), EmbeddedEngine()
    for table, column in ((states.table, "entity_id"), (states.statistics, "statistic_id")):
        if (snapshot := table.open()) is not None:
            query = exp.select(exp.column(column)).distinct().from_(table.name).where(*of_home(table, home_key))
            found.update(name for batch in engine.stream(snapshot, query) for name in batch.column(0).to_pylist())
    return len(found)


def of_home(table: HomesTable, home_key: str) -> tuple[exp.Condition, ...]:
    """Choose the rows of a home, and the partitions that may have some."""
    return exp.column("bucket").isin(*table.buckets(home_key)), exp.column("home").eq(home_key)

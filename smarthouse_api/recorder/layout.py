"""Finds where a recorder's database keeps states and statistics. It looks at the columns, since a migration may be half done.

| written since | states | statistics |
|---|---|---|
| the beginning | `states`: `entity_id`, `attributes` (JSON), `last_changed`, `last_updated` as UTC text | none |
| 2021.8 | | `statistics_meta`; `statistics` with `start` as UTC text |
| 2022.4 | `state_attributes`, by `attributes_id` | |
| 2023.3 | `last_changed_ts`, `last_updated_ts`: seconds since 1970 | `start_ts`, `last_reset_ts` |
| 2023.4 | `states_meta`, by `metadata_id` | |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smarthouse_api.recorder.database import Database
from smarthouse_api.recorder.faults import ImportFault


@dataclass(frozen=True, slots=True)
class Layout:
    """Says how one table is read, in the order of its ids.

    key: the table's id. columns: SQL expressions. origin: what follows `FROM`.
    """

    table: str
    key: str
    columns: tuple[str, ...]
    origin: str

    def page(self) -> str:
        """Write the query of a page: rows with ids above the first and up to the second value; the third is their number."""
        listed = ", ".join((f"t.{self.key}", *self.columns))
        return f"SELECT {listed} FROM {self.origin} WHERE t.{self.key} > ? AND t.{self.key} <= ? ORDER BY t.{self.key} LIMIT ?"  # noqa: S608

    def last(self) -> str:
        """Write the query of the highest id."""
        return f"SELECT max({self.key}) FROM {self.table}"  # noqa: S608


def layout_of_states(database: Database) -> Layout:
    """Find entity, state, attributes, last change and last update. Raises `ImportFault` if this is no recorder's database."""
    states = database.columns("states")
    origin, names, attributes = "states t", [], []
    if "metadata_id" in states and {"metadata_id", "entity_id"} <= database.columns("states_meta"):
        origin += " LEFT JOIN states_meta m ON m.metadata_id = t.metadata_id"
        names.append("m.entity_id")
    if "attributes_id" in states and {"attributes_id", "shared_attrs"} <= database.columns("state_attributes"):
        origin += " LEFT JOIN state_attributes a ON a.attributes_id = t.attributes_id"
        attributes.append("nullif(a.shared_attrs, '')")
    names += _present(states, "entity_id")
    attributes += _present(states, "attributes")
    updated = _present(states, "last_updated_ts", "last_updated")
    changed = _present(states, "last_changed_ts", "last_changed")
    if not {"state_id", "state"} <= states or not names or not updated:
        raise ImportFault(_unknown(database, "states", states))
    return Layout(
        "states", "state_id", (_first(names), "t.state", _first(attributes), _first(changed), _first(updated)), origin
    )


def layout_of_statistics(database: Database) -> Layout | None:
    """Find statistic id, unit, start, last reset, mean, min, max, state and sum; None if the recorder kept no statistics."""
    statistics, meta = database.columns("statistics"), database.columns("statistics_meta")
    if not statistics or not meta:
        return None
    start = _present(statistics, "start_ts", "start")
    if not {"id", "metadata_id"} <= statistics or not {"id", "statistic_id"} <= meta or not start:
        raise ImportFault(_unknown(database, "statistics", statistics))
    unit = "m.unit_of_measurement" if "unit_of_measurement" in meta else "NULL"
    reset = _first(_present(statistics, "last_reset_ts", "last_reset"))
    values = [_first(_present(statistics, name)) for name in ("mean", "min", "max", "state", "sum")]
    origin = "statistics t LEFT JOIN statistics_meta m ON m.id = t.metadata_id"
    return Layout("statistics", "id", ("m.statistic_id", unit, _first(start), reset, *values), origin)


def identity_of(database: Database) -> str:
    """Tell one recorder's database from another, wherever it lies: by when it was made, else by its path."""
    if {"change_id", "changed"} <= database.columns("schema_changes"):
        found = database.read("SELECT changed FROM schema_changes ORDER BY change_id LIMIT 1")
        if found and found[0][0]:
            return str(found[0][0])
    return str(database.path.resolve())


def _present(columns: set[str], *wanted: str) -> list[str]:
    return [f"nullif(t.{name}, '')" for name in wanted if name in columns]


def _first(expressions: Iterable[str]) -> str:
    """The first of them that is not null."""
    return f"coalesce({', '.join((*expressions, 'NULL', 'NULL'))})"


def _unknown(database: Database, table: str, found: set[str]) -> str:
    if not found:
        return f"{database.path} is not a recorder's database, since it has no table {table}; name home-assistant_v2.db"
    return f"{database.path}: the columns of the table {table} are unknown: {', '.join(sorted(found))}; is it Home Assistant's?"

"""Rows of the recorder's database as JSON: `{states: [...], states_meta: [...], state_attributes: [...], statistics: [...]}`.

A row of `states` names its entity and its attributes by number, in tables of their own; older rows have both in the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from smarthouse_api.states.payload.content import ABSENT, Content, Reason
from smarthouse_api.states.payload.shapes.raw_json import entries, kind_of
from smarthouse_api.states.payload.shapes.states import Series, WholeState, attributes_of, whole
from smarthouse_api.states.payload.shapes.statistics import Source, read_statistic

_PERIODS: Final = {"statistics": 3600, "statistics_short_term": 300}
"""The tables of statistics, with the seconds that a row of each spans."""


class _Entity(msgspec.Struct, gc=False):
    """Reads a row of `states_meta`."""

    metadata_id: int
    entity_id: str


class _SharedAttributes(msgspec.Struct, gc=False):
    """Reads a row of `state_attributes`."""

    attributes_id: int
    shared_attrs: str


class _Meta(msgspec.Struct, gc=False):
    """Reads a row of `statistics_meta`."""

    id: int
    statistic_id: str
    unit_of_measurement: str | None = None


_entity = msgspec.json.Decoder(_Entity).decode
_shared = msgspec.json.Decoder(_SharedAttributes).decode
_meta = msgspec.json.Decoder(_Meta).decode
_row = msgspec.json.Decoder(WholeState).decode

Tables = Mapping[str, msgspec.Raw]
Row = TypeVar("Row")


def are_tables(members: Tables) -> bool:
    """Whether the members of an object are tables of the recorder."""
    is_named = "states" in members or ("statistics" in members and "statistics_meta" in members)
    return is_named and all(kind_of(raw) == "[" for raw in members.values())


def read_tables(tables: Tables, content: Content) -> None:
    """Read the states and statistics of tables. Raises `TooLarge`."""
    _read_states(tables, content)
    _read_statistics(tables, content)


def _read_states(tables: Tables, content: Content) -> None:
    names = {row.metadata_id: row.entity_id for row in _rows(tables, "states_meta", _entity, content)}
    shared = {row.attributes_id: attributes_of(row.shared_attrs) for row in _rows(tables, "state_attributes", _shared, content)}
    for raw in _entries(tables, "states", content):
        try:
            row = _row(raw)
        except (msgspec.DecodeError, RecursionError):
            content.ignore(Reason.NO_STATE)
            continue
        if bytes(row.state) == b"null":
            content.ignore(Reason.REMOVED)
            continue
        row.entity_id = names.get(row.metadata_id) if row.entity_id is None and row.metadata_id is not None else row.entity_id
        if row.attributes_id in shared and bytes(row.attributes) in (b"null", b"{}"):
            row.attributes = shared[row.attributes_id]
            content.repeat(len(bytes(row.attributes)))
        elif row.attributes is ABSENT:
            row.attributes = msgspec.Raw(b"{}")
        if (state := whole(row)) is None:
            content.ignore(Reason.NO_STATE)
        else:
            Series(content).add([state])


def _read_statistics(tables: Tables, content: Content) -> None:
    metas = _rows(tables, "statistics_meta", _meta, content)
    sources = {row.id: Source(row.statistic_id, row.unit_of_measurement) for row in metas}
    for table, seconds in _PERIODS.items():
        for raw in _entries(tables, table, content):
            read_statistic(raw, content, sources, period_seconds=seconds)


def _entries(tables: Tables, name: str, content: Content) -> list[msgspec.Raw]:
    return entries(tables[name], content) if name in tables else []


def _rows(tables: Tables, name: str, read: Callable[[msgspec.Raw], Row], content: Content) -> Iterator[Row]:
    for raw in _entries(tables, name, content):
        try:
            yield read(raw)
        except (msgspec.DecodeError, RecursionError):
            continue

"""The two tables that are imported, row by row, in the shapes in which Home Assistant itself gives states and statistics."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from smarthouse_api.recorder.database import Database, Row
from smarthouse_api.recorder.layout import Layout, layout_of_states, layout_of_statistics

_HOUR_MS: Final = 3_600_000
_raw = msgspec.json.Decoder(msgspec.Raw)


class Entry(NamedTuple):
    """A row of a table.

    name: its entity or statistic id; None if the row cannot be uploaded. time: seconds since 1970. member: what is uploaded
    of it. octets: about how long its JSON is.
    """

    id: int
    name: str | None
    time: float | None
    member: dict[str, Any]
    octets: int


class Table(ABC):
    """Gives the rows of one table in the order of their ids, which is the order in which the recorder wrote them."""

    noun: str

    def __init__(self, database: Database, layout: Layout) -> None:
        self._database, self._layout = database, layout

    def last(self) -> int:
        """Find the highest id; 0 if the table is empty."""
        return int(self._database.read(self._layout.last())[0][0] or 0)

    def page(self, after: int, until: int, limit: int) -> list[Entry]:
        """Give the next rows after an id, at most so many; none if there are no more."""
        return [self._entry(row) for row in self._database.read(self._layout.page(), (after, until, limit))]

    def find(self, id_: int) -> Entry | None:
        """Give one row; None if it was purged."""
        return next(iter(self.page(id_ - 1, id_, 1)), None)

    @abstractmethod
    def _entry(self, row: Row) -> Entry: ...


class States(Table):
    """Gives states as Home Assistant's REST API does: `{entity_id, state, attributes, last_changed, last_updated}`.

    A row whose state is null says that an entity was removed. It is no state, so it has no name here.
    """

    noun = "states"

    def _entry(self, row: Row) -> Entry:
        id_, name, state, attributes, changed, updated = row
        time = seconds(updated)
        if name is None or state is None:
            return Entry(id_, None, time, {}, 0)
        member = {"entity_id": name, "state": state, "attributes": _attributes(attributes or "{}")}
        if (text := _text(seconds(changed), time)) is not None:
            member["last_changed"] = text
        if (text := _text(time)) is not None:
            member["last_updated"] = text
        return Entry(id_, name, time, member, 200 + len(attributes or ""))


class Statistics(Table):
    """Gives hours as Home Assistant's `recorder/statistics_during_period` does, in milliseconds since 1970; and their unit."""

    noun = "statistics"

    def _entry(self, row: Row) -> Entry:
        id_, name, unit, start, reset, *values = row
        time = seconds(start)
        if name is None or time is None:
            return Entry(id_, None, time, {}, 0)
        start_ms = round(time * 1000)
        member = {"start": start_ms, "end": start_ms + _HOUR_MS, "last_reset": _milliseconds(seconds(reset))}
        member |= zip(("mean", "min", "max", "state", "sum"), values, strict=True)
        return Entry(id_, name, time, {**member, "unit_of_measurement": unit}, 200)


def states_of(database: Database) -> States:
    """Open the table of states. Raises `ImportFault` if this is no recorder's database."""
    return States(database, layout_of_states(database))


def statistics_of(database: Database) -> Statistics | None:
    """Open the table of hourly statistics; None if the recorder kept none."""
    layout = layout_of_statistics(database)
    return None if layout is None else Statistics(database, layout)


def seconds(time: float | str | None) -> float | None:
    """Read a time as the recorder writes it: seconds since 1970, or UTC as text. What is no time is None."""
    if isinstance(time, (int, float)):
        return float(time)
    try:
        moment = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _text(*times: float | None) -> str | None:
    """The first of the times that there is, in ISO 8601. Home Assistant rounds seconds to microseconds in the same way."""
    for time in times:
        if time is not None:
            try:
                return datetime.fromtimestamp(time, UTC).isoformat()
            except (ValueError, OverflowError, OSError):
                continue
    return None


def _milliseconds(time: float | None) -> int | None:
    return None if time is None else round(time * 1000)


@lru_cache(4096)
def _attributes(text: str) -> msgspec.Raw | dict[str, Any]:
    """Attributes as they were written, if they are an object in JSON. Old recorders wrote NaN, too; it becomes null."""
    try:
        raw = _raw.decode(text)
        return raw if text.lstrip().startswith("{") else {}
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        found = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

"""Reads Home Assistant's recorder, and makes of it the rows that are sent. Every function here belongs into an executor."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, NamedTuple

from homeassistant.components.recorder.history import get_significant_states, state_changes_during_period
from homeassistant.components.recorder.statistics import list_statistic_ids, statistics_during_period
from homeassistant.core import HomeAssistant, State
from homeassistant.util import dt as dt_util

from .scrub import Scrubber

_MICROSECOND: Final = timedelta(microseconds=1)
_STATISTICS_BEGAN: Final = datetime(2021, 1, 1, tzinfo=UTC)
_YEAR: Final = timedelta(days=365)
_KINDS: Final = {"mean", "min", "max", "state", "sum", "last_reset"}


Named = Callable[[str, float], str]
"""Tells what an entity was called at a moment: see `Names.at`."""


class Row(NamedTuple):
    """One entry of an upload. entity_id: as it is sent."""

    entity_id: str
    entry: dict[str, Any]


@dataclass(frozen=True)
class Chunk:
    """Rows that are sent in one body. The same rows give the same bytes, and the same key."""

    rows: Sequence[Row]

    @cached_property
    def text(self) -> str:
        """Return the JSON, an object with a list for each entity."""
        payload: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            payload.setdefault(row.entity_id, []).append(row.entry)
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def body(self) -> bytes:
        """Return the bytes that are sent."""
        return zlib.compress(self.text.encode())

    @cached_property
    def key(self) -> str:
        """Return the `Idempotency-Key`, which stands for these bytes and no others."""
        return hashlib.sha256(self.body).hexdigest()


def read_states(
    hass: HomeAssistant, scrubber: Scrubber, named: Named, entity_ids: Sequence[str], start: float, end: float
) -> list[Row]:
    """Read all states of some entities in [start, end), by entity and time, scrubbed.

    The recorder leaves both ends of a span out. So this asks from a microsecond earlier on, and drops what lies before `start`.
    """
    begins, ends = dt_util.utc_from_timestamp(start), dt_util.utc_from_timestamp(end)
    found = get_significant_states(
        hass,
        begins - _MICROSECOND,
        ends,
        list(entity_ids),
        include_start_time_state=False,
        significant_changes_only=False,
    )
    rows = []
    for entity_id in sorted(found):
        for state in found[entity_id]:
            # The row of a removal has no state.
            if isinstance(state, State) and state.state and begins <= state.last_updated < ends:
                public = scrubber.public_id(named(entity_id, state.last_updated.timestamp()))
                rows.append(Row(public, _entry(scrubber, public, entity_id, state)))
    return rows


def has_states(hass: HomeAssistant, entity_id: str, until: float) -> bool:
    """Tell whether the recorder has states of an entity before a moment."""
    begin, end = dt_util.utc_from_timestamp(0), dt_util.utc_from_timestamp(until)
    found = state_changes_during_period(
        hass, begin, end, entity_id, no_attributes=True, limit=1, include_start_time_state=False
    )
    return any(isinstance(state, State) and state.state for state in found.get(entity_id, ()))


def _entry(scrubber: Scrubber, public: str, entity_id: str, state: State) -> dict[str, Any]:
    """Make the entry of a state. Its times are by the clock of the home, so that hours of the day can be studied."""
    return {
        "entity_id": public,
        "state": scrubber.state(entity_id, state.state, state.attributes),
        "attributes": scrubber.attributes(entity_id, state.attributes),
        "last_changed": dt_util.as_local(state.last_changed).isoformat(),
        "last_updated": dt_util.as_local(state.last_updated).isoformat(),
    }


class Statistic(NamedTuple):
    """A long-term statistic of an entity that is uploaded. unit: of the values that the recorder gives."""

    entity_id: str
    unit: str | None


def list_measured(hass: HomeAssistant) -> list[str]:
    """List the entities that have long-term statistics, those included that Home Assistant has removed."""
    return [one["statistic_id"] for one in list_statistic_ids(hass) if one["source"] == "recorder"]


def list_statistics(hass: HomeAssistant, scrubber: Scrubber, entity_ids: Iterable[str]) -> list[Statistic]:
    """List the statistics of some entities whose values measure something, in the order of their ids."""
    taken = frozenset(entity_ids)
    told = []
    for one in list_statistic_ids(hass):
        entity_id, unit = one["statistic_id"], one["display_unit_of_measurement"]
        if one["source"] != "recorder" or entity_id not in taken:
            continue
        state = hass.states.get(entity_id)
        device_class = state.attributes.get("device_class") if state else None
        if scrubber.measures(entity_id, device_class, unit):
            told.append(Statistic(entity_id, unit))
    return sorted(told)


def read_statistics(hass: HomeAssistant, scrubber: Scrubber, named: Named, statistic: Statistic, until: float) -> list[Row]:
    """Read all hours of a statistic that end by `until`, year by year."""
    unit = scrubber.unit(statistic.unit)
    rows: list[Row] = []
    start, last = datetime.fromtimestamp(0, UTC), dt_util.utc_from_timestamp(until)
    while start < last:
        end = min(_STATISTICS_BEGAN if start < _STATISTICS_BEGAN else start + _YEAR, last)
        found = statistics_during_period(hass, start, end, {statistic.entity_id}, "hour", None, _KINDS)  # type: ignore[arg-type]
        for each in found.get(statistic.entity_id, ()):
            public = scrubber.public_id(named(statistic.entity_id, each["start"]))
            rows.append(Row(public, _period(dict(each), unit)))
        start = end
    return rows


def _period(found: dict[str, Any], unit: str | None) -> dict[str, Any]:
    """Make the entry of an hour: times in milliseconds, as Home Assistant's websocket writes them."""
    told = {name: found[name] for name in ("mean", "min", "max", "state", "sum") if found.get(name) is not None}
    told |= {name: round(found[name] * 1000) for name in ("start", "end", "last_reset") if found.get(name) is not None}
    return told if unit is None else {**told, "unit_of_measurement": unit}

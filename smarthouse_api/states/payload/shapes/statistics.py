"""Long-term statistics: what Home Assistant keeps of a measurement for each hour, day or five minutes.

The websocket answers `{id: [{start, end, mean, min, max, last_reset, state, sum, change}]}` with times in milliseconds. A
service's answer has text instead. A row of the recorder has seconds, as `start_ts` and `last_reset_ts`.
`smarthouse import` adds the `unit_of_measurement` of a period's values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from smarthouse_api.states.payload.content import Content, Reason, Statistic
from smarthouse_api.states.payload.shapes.raw_json import time_of
from smarthouse_api.states.payload.shapes.states import NULL


class Source(NamedTuple):
    """Names what a statistic is of. unit: of its values, None where the body does not tell it."""

    statistic_id: str
    unit: str | None = None


class _Period(msgspec.Struct, gc=False):
    """Reads one period of a statistic."""

    start: msgspec.Raw = NULL
    end: msgspec.Raw = NULL
    start_ts: msgspec.Raw = NULL
    last_reset: msgspec.Raw = NULL
    last_reset_ts: msgspec.Raw = NULL
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    state: float | None = None
    sum: float | None = None
    change: float | None = None
    metadata_id: int | None = None
    statistic_id: str | None = None
    unit_of_measurement: object = None


_period = msgspec.json.Decoder(_Period).decode
_VALUES = ("mean", "min", "max", "state", "sum", "change")


def is_statistic(members: Mapping[str, msgspec.Raw]) -> bool:
    """Whether the members of an object are those of a statistic."""
    return ("start" in members or "start_ts" in members) and any(name in members for name in _VALUES)


def read_statistic(
    raw: msgspec.Raw, content: Content, sources: Mapping[int, Source], key: str | None = None, period_seconds: int | None = None
) -> None:
    """Read one period. Raises `TooLarge`.

    sources: by `metadata_id`. key: the statistic's id, if the period does not name it.
    """
    try:
        found = _period(raw)
    except (msgspec.DecodeError, RecursionError):
        return content.ignore(Reason.NO_STATE)
    source = sources.get(found.metadata_id) if found.metadata_id is not None else None
    statistic_id = found.statistic_id or (source.statistic_id if source else key)
    start = _first(found.start, found.start_ts)
    if statistic_id is None or start is None:
        return content.ignore(Reason.NO_STATE)
    content.repeat(len(statistic_id))
    content.add_statistic(
        Statistic(
            statistic_id,
            start,
            time_of(found.end),
            **{name: getattr(found, name) for name in _VALUES},
            unit=source.unit if source else _text(found.unit_of_measurement),
            last_reset=_first(found.last_reset, found.last_reset_ts),
            period_seconds=period_seconds,
        )
    )
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _first(*raws: msgspec.Raw) -> str | None:
    return next((time for raw in raws if (time := time_of(raw)) is not None), None)

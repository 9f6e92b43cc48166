"""Intervals: what is known of each entity in each interval of time, before it gets the shape of an export's rows."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from smarthouse_api.states.records.rules import REDACTED

SERIES: Final = ("home", "entity_id", "type", "unit", "device_class")
"""What tells one series from another: an entity may change its unit, and then has two."""

UNKNOWN: Final = ("unknown", "unavailable", "", REDACTED)
"""States that tell nothing."""

STATES: Final = "states"
STATISTICS: Final = "statistics"
METER: Final = ("sum", "change")

TEXT: Final = pa.dictionary(pa.int32(), pa.string())

INTERVALS: Final = pa.schema(
    [
        *(pa.field(name, TEXT) for name in SERIES),
        *(pa.field(name, pa.int64()) for name in ("start", "end", "ahead")),
        *(pa.field(name, pa.float64()) for name in ("mean", "min", "max", "last", "known")),
        pa.field("changes", pa.int64()),
        pa.field("source", TEXT),
        *(pa.field(name, pa.float64()) for name in METER),
        pa.field("shares", pa.map_(pa.string(), pa.float64())),
    ]
)
"""A row is one series in one interval.

start, end: in microseconds since 1970. ahead: by how many minutes the home's clock is ahead of UTC; null without a clock.
mean: of its numbers, each weighted by the time for which it was held; null without numbers. last: the number at the end.
known: the share of the interval in which the state is known. changes: states that begin in the interval; null for statistics.
shares: for each word its share of the interval, by words in order; null without words. source: `STATES` or `STATISTICS`. sum,
change: of a meter, as statistics tell them.
"""


def of_source(source: str, count: int) -> dict[str, pa.Array]:
    """Make the columns that tell the source of some rows, and no meter."""
    same = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([source], pa.string()))
    return {"source": same, **dict.fromkeys(METER, pa.nulls(count, pa.float64()))}

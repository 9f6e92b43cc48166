"""Rows of aggregates in their usual shape: one series in one interval."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.lines import joined
from smarthouse_api.arrow.numbers import write_numbers
from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.states.aggregates.holding import States
from smarthouse_api.states.aggregates.intervals import METER, SERIES

AGGREGATES: Final = pa.schema(
    [
        pa.field("home", pa.string(), nullable=False),
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("unit", pa.string()),
        pa.field("device_class", pa.string()),
        pa.field("start", TIMESTAMP, nullable=False),
        pa.field("end", TIMESTAMP, nullable=False),
        pa.field("utc_offset", pa.int32()),
        *(pa.field(name, pa.float64()) for name in ("mean", "min", "max", "last")),
        pa.field("known", pa.float64(), nullable=False),
        pa.field("changes", pa.int64()),
        pa.field("shares", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        *(pa.field(name, pa.float64()) for name in METER),
    ]
)
"""A row of aggregates, as `INTERVALS` tells it; `shares` is JSON text of an object."""


class LongRows:
    """Makes rows of `AGGREGATES`."""

    schema = AGGREGATES

    def prepared(self, states: States) -> States:
        """Return the states as they are: each type, unit and device class of an entity has rows of its own."""
        return states

    def batches(self, intervals: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        """Yield rows. intervals: of `INTERVALS`."""
        for some in intervals:
            yield from _rows(some)


def _rows(intervals: pa.Table) -> list[pa.RecordBatch]:
    columns = {name: intervals[name] for name in SERIES}
    columns |= {name: intervals[name].cast(TIMESTAMP) for name in ("start", "end")}
    columns["utc_offset"] = intervals["ahead"].cast(pa.int32())
    columns |= {name: intervals[name] for name in ("mean", "min", "max", "last", "known", "changes", "source", *METER)}
    columns["shares"] = pa.chunked_array([_objects(chunk) for chunk in intervals["shares"].chunks], pa.string())
    batches: list[pa.RecordBatch] = pa.table([columns[name] for name in AGGREGATES.names], AGGREGATES.names).to_batches()
    return batches


def _objects(shares: pa.MapArray) -> pa.StringArray:
    """Write each map as JSON text of an object; null for null."""
    if shares.null_count == len(shares):
        return pa.nulls(len(shares), pa.string())
    words = shares.keys.dictionary_encode()
    keys = pa.array([json.dumps(word, ensure_ascii=False) for word in words.dictionary.to_pylist()], pa.string())
    members = joined(keys.take(words.indices), write_numbers(shares.items), separator=":")
    offsets = pc.if_else(pa.concat_arrays([shares.is_valid(), pa.array([True])]), shares.offsets, pa.scalar(None, pa.int32()))
    return joined("{", pc.binary_join(pa.ListArray.from_arrays(offsets, members), ","), "}")

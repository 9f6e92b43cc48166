"""Decoding of uploads: their records become columns when the lake takes them in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from config.groups import RequestSettings
from smarthouse_api.arrow.numbers import read_numbers
from smarthouse_api.errors import TooLarge
from smarthouse_api.states.payload.attributes import ABOVE, cut, lines_of, read_distinct, texts_of
from smarthouse_api.states.payload.compression import Undecodable, unpack
from smarthouse_api.states.payload.content import Content
from smarthouse_api.states.payload.mending import mend_attributes, mend_states, without_nul
from smarthouse_api.states.payload.reading import read
from smarthouse_api.states.payload.times import timestamps, utc_offsets
from smarthouse_api.states.payload.uploaded import uploaded
from smarthouse_api.states.records.entities import identify
from smarthouse_api.states.records.schema import RECORDS

Body = tuple[bytes, str | None]
"""A body as received, and its Content-Encoding."""

_GROUP: Final = 8 << 20
"""Bytes of text whose columns are made together: enough to make each Arrow call worth it, and a bound for the memory."""

_write = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Decoded:
    """Carries the records of many bodies to the lake, in one table.

    table: of schema `RECORDS`, body after body. payload: for each row, the place of its body. faults: by the place of a body
    without any row, the reason, as `inspect` raises or tells it.
    """

    table: pa.Table
    payload: pa.Int32Array
    faults: dict[int, str] = field(default_factory=dict)


def to_table(uploads: Iterable[Body], settings: RequestSettings) -> Decoded:
    """Decode many bodies at once: as many records of each as `inspect` counts. Never raises for what a body holds."""
    faults: dict[int, str] = {}
    batches: list[pa.RecordBatch] = []
    places: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)]
    for texts, owners in _grouped(uploads, settings, faults):
        batch, kept = _batch(texts, settings)
        batches.append(batch)
        places.append(owners[kept])
    return Decoded(pa.Table.from_batches(batches, RECORDS), pa.array(np.concatenate(places), pa.int32()), faults)


def _grouped(
    uploads: Iterable[Body], settings: RequestSettings, faults: dict[int, str]
) -> Iterator[tuple[list[pa.Array], npt.NDArray[np.int32]]]:
    """Yield the columns of some bodies at a time, as text, and for each row the place of its body."""
    bodies: list[list[pa.Array]] = []
    places: list[int] = []
    size = 0

    def group() -> tuple[list[pa.Array], npt.NDArray[np.int32]]:
        counts = [len(columns[0]) for columns in bodies]
        return [pa.concat_arrays(column) for column in zip(*bodies, strict=True)], np.repeat(np.array(places, np.int32), counts)

    for place, (body, content_encoding) in enumerate(uploads):
        try:
            text = unpack(body, content_encoding, settings)
            content = read(text, settings)
        except (TooLarge, Undecodable) as error:
            faults[place] = str(error)
            continue
        bodies.append(_texts(content))
        places.append(place)
        size += len(text)
        if size >= _GROUP:
            yield group()
            bodies, places, size = [], [], 0
    if bodies:
        yield group()


def _texts(content: Content) -> list[pa.Array]:
    # At once for each body, while its objects are in the processor's cache, and gone before the next body needs theirs.
    states = content.states
    return [
        pa.array([state.entity_id for state in states], pa.string()),
        pa.array([state.state for state in states], pa.string()),
        pa.array([state.last_changed for state in states], pa.string()),
        pa.array([state.last_updated for state in states], pa.string()),
        pa.array(np.full(len(states), content.tells_clock)),
        cut(content.lines or lines_of([state.attributes for state in states])),
    ]


def _batch(texts: list[pa.Array], settings: RequestSettings) -> tuple[pa.RecordBatch, npt.NDArray[np.bool_]]:
    """Make the columns of the records among the states, and tell which of the states are records."""
    lines = texts[-1].dictionary_encode()
    readable, attributes = read_distinct(lines, settings.max_json_depth - ABOVE)
    kept = readable[lines.indices.to_numpy()]
    columns = [*texts[:-1], lines.indices]
    if not kept.all():
        columns = [column.filter(pa.array(kept)) for column in columns]
    entity_id, state, last_changed, last_updated, tells_clock, places = columns
    ids, states = entity_id.dictionary_encode(), state.dictionary_encode()
    identities = [identify(uploaded) for uploaded in without_nul(ids.dictionary).to_pylist()]
    distinct = mend_states(states.dictionary)
    told = attribute_columns(attributes)
    told["attributes_uploaded"] = uploaded(lines.dictionary, readable, told["attributes"])
    named = {
        "entity_id": pa.array([name for _, name in identities], pa.string()).take(ids.indices),
        "type": pa.array([kind for kind, _ in identities], pa.string()).take(ids.indices),
        "state": state if distinct is states.dictionary else distinct.take(states.indices),
        "value": read_numbers(distinct).take(states.indices),
        **_times(last_changed, last_updated, tells_clock.to_numpy(zero_copy_only=False)),
        **{name: column.take(places) for name, column in told.items()},
    }
    return pa.RecordBatch.from_arrays([named[name] for name in RECORDS.names], schema=RECORDS), kept


def _times(changed: pa.StringArray, updated: pa.StringArray, tells_clock: npt.NDArray[np.bool_]) -> dict[str, pa.Array]:
    """Make the columns of times. The clock is that of the first time that can be read: `last_updated`, else `last_changed`."""
    times = {"last_changed": timestamps(changed), "last_updated": timestamps(updated)}
    if times["last_updated"].null_count:
        texts = pc.if_else(times["last_updated"].is_valid(), updated, changed)
        is_time = pc.or_(times["last_updated"].is_valid(), times["last_changed"].is_valid())
        updated = pc.if_else(is_time, texts, pa.scalar(None, pa.string()))
    return {**times, "utc_offset": utc_offsets(updated, tells_clock)}


def attribute_columns(attributes: list[Any]) -> dict[str, pa.Array]:
    """Make the columns that attributes tell, mended: each once."""
    lines = _write.encode_lines(attributes)
    if mend_attributes(attributes, lines):
        lines = _write.encode_lines(attributes)
    return {
        "unit": pa.array([getattr(found, "unit_of_measurement", None) for found in attributes], pa.string()),
        "device_class": pa.array([getattr(found, "device_class", None) for found in attributes], pa.string()),
        "attributes": texts_of(lines),
    }

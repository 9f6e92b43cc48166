"""Decoding of uploads: records are counted when an upload arrives, and made into columns when the lake takes it in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from config.groups import RequestSettings
from smarthouse_api.arrow.numbers import read_numbers
from smarthouse_api.errors import TooLarge
from smarthouse_api.states.payload.compression import Undecodable, unpack
from smarthouse_api.states.payload.reading import State, read_states
from smarthouse_api.states.payload.repair import depth_of
from smarthouse_api.states.payload.times import timestamps
from smarthouse_api.states.records.entities import identify
from smarthouse_api.states.records.privacy import read_attributes, read_lines
from smarthouse_api.states.records.schema import RECORDS

Body = tuple[bytes, str | None]
"""A body as received, and its Content-Encoding."""

_GROUP: Final = 8 << 20
"""Bytes of text whose columns are made together: enough to make each Arrow call worth it, and a bound for the memory."""

_ABOVE: Final = 3
"""A state's attributes lie in the state, in its entity's array, in the body's object."""

_raw_attributes = attrgetter("attributes")
_write = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Inspection:
    """Tells an upload what its body holds, before the body is stored.

    records, ignored: how many values are records, and how many are not. decoded_bytes: of the decompressed text. detail: why
    the body cannot be decoded, if so; fault: as in `Undecodable`.
    """

    records: int
    ignored: int
    decoded_bytes: int = 0
    detail: str | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """Carries the records of many bodies to the lake, in one table.

    table: of schema `RECORDS`, body after body. payload: for each row, the place of its body. faults: by the place of a body
    without any row, the reason, as `inspect` raises or tells it.
    """

    table: pa.Table
    payload: pa.Int32Array
    faults: dict[int, str] = field(default_factory=dict)


def inspect(body: bytes, content_encoding: str | None, settings: RequestSettings) -> Inspection:
    """Count the records of a body, as `to_table` would make them. Raises `TooLarge`."""
    try:
        text = unpack(body, content_encoding, settings)
        states, ignored = read_states(text, settings)
    except Undecodable as error:
        return Inspection(0, 0, 0, str(error), error.fault)
    counts = Counter(map(bytes, map(_raw_attributes, states)))
    allowed = settings.max_json_depth - _ABOVE
    records = sum(count for raw, count in counts.items() if _is_readable(raw, allowed))
    return Inspection(records, ignored + len(states) - records, len(text))


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
            states, _ = read_states(text, settings)
        except (TooLarge, Undecodable) as error:
            faults[place] = str(error)
            continue
        bodies.append(_texts(states))
        places.append(place)
        size += len(text)
        if size >= _GROUP:
            yield group()
            bodies, places, size = [], [], 0
    if bodies:
        yield group()


def _texts(states: list[State]) -> list[pa.Array]:
    # At once for each body, while its objects are in the processor's cache, and gone before the next body needs theirs.
    return [
        pa.array([state.entity_id for state in states], pa.string()),
        pa.array([state.state for state in states], pa.string()),
        pa.array([state.last_changed for state in states], pa.string()),
        pa.array([state.last_updated for state in states], pa.string()),
        _lines(states),
    ]


def _lines(states: list[State]) -> pa.LargeBinaryArray:
    """Write the attributes' JSON text, a line for each state."""
    raws = [state.attributes for state in states]
    # One copy of them all costs a third of a copy of each. A line end inside one stands between its tokens.
    text = _write.encode_lines(raws)
    if text.count(b"\n") != len(raws):
        text = b"".join([bytes(raw).replace(b"\n", b"") + b"\n" for raw in raws])
    return _cut(text)


def _cut(text: bytes) -> pa.LargeBinaryArray:
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    offsets = np.zeros(len(ends) + 1, np.int64)
    offsets[1:] = ends + 1
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def _attributes(
    lines: pa.LargeBinaryArray, settings: RequestSettings
) -> tuple[npt.NDArray[np.bool_], pa.Int32Array, list[Any]]:
    """Read lines of attributes, each different one once. Returns which can be read, each line's place, and what is there."""
    unique = lines.dictionary_encode()
    attributes = _read_lines(unique.dictionary, settings.max_json_depth - _ABOVE)
    readable = np.array([found is not None for found in attributes], np.bool_)
    return readable[unique.indices.to_numpy()], unique.indices, attributes


def _read_lines(lines: pa.LargeBinaryArray, allowed: int) -> list[Any]:
    _, offsets, data = lines.buffers()
    starts = np.frombuffer(offsets, np.int64, len(lines) + 1)
    text = memoryview(data)[: starts[-1]]
    # Few brackets cannot be deep. All lines at once, because one at a time costs more than the reading.
    brackets = np.flatnonzero(np.frombuffer(text, np.uint8) | 0x20 == ord("{"))
    suspicious = np.diff(np.searchsorted(brackets, starts)) > allowed
    if not suspicious.any():
        try:
            return read_lines(text)
        except ValueError:
            pass
    return [_read_shallow(line, allowed) for line in lines.to_pylist()]


def _is_readable(raw: bytes, allowed: int) -> bool:
    """Return whether attributes can be read. An object whose keys hold no escape always can: it is not read to find out."""
    shallow = len(raw) <= 2 * allowed or raw.count(b"{") + raw.count(b"[") <= allowed
    if shallow and raw.startswith(b"{") and b"\\" not in raw:
        return True
    return _read_shallow(raw + b"\n", allowed) is not None


def _read_shallow(line: bytes, allowed: int) -> Any:
    """Read a line's attributes; None if it is no object, or nests deeper than allowed. Few brackets cannot be deep."""
    if line.count(b"{") + line.count(b"[") > allowed and depth_of(line) > allowed:
        return None
    try:
        return read_attributes(b"{}" if line == b"null\n" else line)
    except ValueError:
        return None


def _batch(texts: list[pa.Array], settings: RequestSettings) -> tuple[pa.RecordBatch, npt.NDArray[np.bool_]]:
    """Make the columns of the records among the states, and tell which of the states are records."""
    kept, places, attributes = _attributes(texts[-1], settings)
    columns = [*texts[:-1], places]
    if not kept.all():
        columns = [column.filter(pa.array(kept)) for column in columns]
    entity_id, state, last_changed, last_updated, places = columns
    ids = entity_id.dictionary_encode()
    identities = [identify(uploaded) for uploaded in ids.dictionary.to_pylist()]
    named = {
        "entity_id": pa.array([name for _, name in identities], pa.string()).take(ids.indices),
        "type": pa.array([kind for kind, _ in identities], pa.string()).take(ids.indices),
        "state": state,
        "value": read_numbers(state),
        "unit": pa.array([getattr(found, "unit_of_measurement", None) for found in attributes], pa.string()).take(places),
        "device_class": pa.array([getattr(found, "device_class", None) for found in attributes], pa.string()).take(places),
        "last_changed": timestamps(last_changed),
        "last_updated": timestamps(last_updated),
        "attributes": pc.ascii_rtrim(_cut(_write.encode_lines(attributes)).cast(pa.string()), "\n").take(places),
    }
    return pa.RecordBatch.from_arrays([named[name] for name in RECORDS.names], schema=RECORDS), kept

"""Makes rows of the lake from entries of a topic, and finds out which members their records have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP, read_times
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.collections.member_names import values_of
from smarthouse_api.collections.model import Collection, TopicEntry, read_entry
from smarthouse_api.collections.record_times import read_instant
from smarthouse_api.collections.table import RECORDS

_DIGEST_BYTES: Final = 8
MOST_FIELDS: Final = 1000
_MOST_NAME_BYTES: Final = 256 << 10
_TYPES: Final = {type(None): "null", bool: "bool", int: "int", float: "float", str: "string"}
_PERHAPS_LARGE: Final = "[0-9]{19}"


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """Pairs an entry of a topic with its sequence, and with its identity. batch: the identity, whatever the sequence."""

    sequence: int
    batch: str
    entry: TopicEntry

    @property
    def received_us(self) -> int:
        """When the entry came, in microseconds since 1970."""
        return microseconds(self.entry.received_at)


class Fields:
    """Collects the names and types of the members that records have. They become the columns of a table.

    types: name -> `null`, `bool`, `int` (of 64 bits with a sign), `float`, `string`, or `json` for what is nested or mixed,
    in the order in which the names first came. It has the first `MOST_FIELDS` names, or fewer if they are very long.
    """

    def __init__(self, types: dict[str, str] | None = None) -> None:
        self.types = dict(types or {})
        self._bytes = sum(map(len, self.types))
        self._seen = set[tuple[tuple[str, ...], tuple[type, ...]]]()

    @classmethod
    def decoded(cls, value: bytes) -> Fields:
        """Read fields from their document."""
        return cls(msgspec.json.decode(value, type=dict[str, str]))

    def encoded(self) -> bytes:
        """Write the fields as their document."""
        return msgspec.json.encode(self.types)

    def note(self, records: Iterable[dict[str, Any]], *, with_large: bool) -> None:
        """Add the members of records. with_large: an integer may have more than 64 bits."""
        seen = self._seen
        for record in records:
            signature = tuple(record), tuple(map(type, record.values()))
            if with_large:
                for name, value in record.items():
                    self._add(name, _type_of(value))
            elif signature not in seen:
                seen.add(signature)
                for name, kind in zip(*signature, strict=True):
                    self._add(name, _TYPES.get(kind, "json"))

    def note_texts(self, texts: pa.StringArray) -> None:
        """Add the members of records that are given as JSON."""
        self.note(map(orjson.loads, texts.to_pylist()), with_large=_perhaps_large(texts))

    def merged(self, other: Fields) -> Fields:
        """Return these members and the other's together."""
        whole = Fields(self.types)
        for name, type_ in other.types.items():
            whole._add(name, type_)
        return whole

    def _add(self, name: str, type_: str) -> None:
        before = self.types.get(name)
        if before is not None:
            self.types[name] = _of_both(before, type_)
        elif len(self.types) < MOST_FIELDS and self._bytes + len(name) <= _MOST_NAME_BYTES:
            self.types[name] = type_
            self._bytes += len(name)


def read_logged(sequence: int, value: bytes) -> LoggedEntry:
    """Read an entry of a topic, and name its batch. Raises `msgspec.DecodeError` if the value is no entry.

    The batch is the request's id and a digest of the entry, and the key of its home if it names one. Two different entries have
    different batches; an entry that is moved keeps its batch.
    """
    entry = read_entry(value)
    batch = f"{entry.id}.{blake2b(value, digest_size=_DIGEST_BYTES).hexdigest()}"
    return LoggedEntry(sequence, batch if entry.home is None else f"{batch}.{entry.home}", entry)


def to_rows(collection: Collection, logged: Sequence[LoggedEntry], fields: Fields) -> pa.Table:
    """Make rows (schema `RECORDS`) of the records of entries, in order. fields: the members of the records are added to it.

    Raises `ValueError` or `TypeError` if a record is no JSON object.
    """
    raws = list(map(bytes, chain.from_iterable(one.entry.records for one in logged)))
    counts = np.array([len(one.entry.records) for one in logged], np.int64)
    texts = _texts(raws)
    with_large, times = _perhaps_large(texts), list[Any]()
    for one in logged:  # a few at a time, which spares the collector of garbage
        records = _parsed(one.entry.records)
        fields.note(records, with_large=with_large)
        field = collection.timestamp_field
        times += [None] * len(records) if field is None else values_of(records, field)

    def of_entry(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
        return pa.array(values, type_).take(pa.array(np.repeat(np.arange(len(logged)), counts)))

    received = of_entry([one.received_us for one in logged], pa.int64()).cast(TIMESTAMP)
    columns = {
        "collection": pa.repeat(pa.scalar(collection.key, pa.string()), len(raws)),
        "day": received.cast(pa.date32()),
        "sequence": of_entry([one.sequence for one in logged], pa.int64()),
        "position": pa.array(np.arange(len(raws)) - np.repeat(np.cumsum(counts) - counts, counts), pa.int32()),
        "batch": of_entry([one.batch for one in logged], pa.string()),
        "received": received,
        "time": pc.coalesce(_times(times), received),
        "record": texts,
        "fault": _faults(logged, len(raws)),
    }
    return pa.table([columns[name] for name in RECORDS.names], schema=RECORDS)


def _parsed(raws: Sequence[msgspec.Raw]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = orjson.loads(b"[" + b",".join(raws) + b"]")
    if len(records) != len(raws) or not all(type(record) is dict for record in records):
        raise ValueError("a record is no object")
    return records


def _texts(raws: Sequence[bytes]) -> pa.StringArray:
    offsets: npt.NDArray[np.int32] = np.zeros(len(raws) + 1, np.int32)
    np.cumsum(list(map(len, raws)), out=offsets[1:])
    return pa.StringArray.from_buffers(len(raws), pa.py_buffer(offsets), pa.py_buffer(b"".join(raws)))


def _faults(logged: Sequence[LoggedEntry], count: int) -> pa.Array:
    if not any(one.entry.faults for one in logged):
        return pa.nulls(count, pa.string())
    told = (one.entry.faults.get(str(index)) for one in logged for index in range(len(one.entry.records)))
    return pa.array(told, pa.string(), size=count)


def _times(values: Sequence[Any]) -> pa.TimestampArray:
    """Times in UTC; null for what is none."""
    try:
        texts = pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # other values than texts
        return pa.array(map(read_instant, values), pa.int64()).cast(TIMESTAMP)
    return read_times(texts, read_instant)


def _perhaps_large(texts: pa.StringArray) -> bool:
    """Whether JSON texts may hold an integer of more than 64 bits."""
    return bool(pc.any(pc.match_substring_regex(texts, _PERHAPS_LARGE)).as_py())


def _type_of(value: Any) -> str:
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        return "json"
    return _TYPES.get(type(value), "json")


def _of_both(one: str, other: str) -> str:
    """The type that values of either have."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    return "float" if {one, other} == {"int", "float"} else "json"

"""Records as entries of a topic, each small enough for the state store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from smarthouse_api.errors import TooLarge

_ENTRY_BYTES: Final = 512 << 10

Record = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What the entries of one request have in common. id: the request's. collection: its id."""

    id: str
    collection: str
    at: datetime
    message_id: str | None = None


def entries(request: Request, records: Sequence[Record], faults: Mapping[int, str], record_bytes: int) -> Iterator[bytes]:
    """`Entry`s as JSON that hold the records. faults: by index in `records`.

    Raises `TooLarge` for a record of more than `record_bytes`.
    """
    if not records:
        return
    whole = _encoded(request, records, faults)
    if len(whole) <= min(_ENTRY_BYTES, record_bytes):
        yield whole
    elif len(records) == 1:
        check_size(records[0], record_bytes)
        yield whole
    else:
        half = len(records) // 2
        yield from entries(request, records[:half], faults, record_bytes)
        yield from entries(request, records[half:], {at - half: told for at, told in faults.items()}, record_bytes)


def check_size(record: Record, record_bytes: int) -> bytes:
    """The record as JSON. Raises `TooLarge`."""
    encoded = msgspec.json.encode(record)
    if len(encoded) > record_bytes:
        raise TooLarge(f"data: a record has {len(encoded)} bytes as JSON; at most {record_bytes} are taken")
    return encoded


def _encoded(request: Request, records: Sequence[Record], faults: Mapping[int, str]) -> bytes:
    entry: dict[str, Any] = {"id": request.id, "collection": request.collection, "received_at": request.at, "records": records}
    if request.message_id is not None:
        entry["msgid"] = request.message_id
    if some := {str(at): told for at, told in faults.items() if 0 <= at < len(records)}:
        entry["faults"] = some
    return msgspec.json.encode(entry)

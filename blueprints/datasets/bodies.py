"""What the requests of datasets hold: Obsrv's envelope around a request, or around data."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

from blueprints import envelope
from blueprints.bodies import read_json, read_records
from blueprints.datasets.validation import Shape, fault_of, fault_of_event
from smarthouse_api.collections.fast_path import UniformReader
from smarthouse_api.errors import Invalid

Records = TypeVar("Records")


class _Events(msgspec.Struct, Generic[Records], forbid_unknown_fields=True):
    """Reads the usual form of a batch quickly. `read_json` reads any other form."""

    id: str
    ver: str
    ts: str
    params: dict[str, str]
    data: Records


_EVENTS: Final = UniformReader(_Events)


def request_in(body: bytes, shape: Shape) -> dict[str, Any]:
    """Read the `request` in a body; empty if there is no body, and the shape requires none. Raises `Invalid`."""
    if not body and "required" not in shape:
        return {}
    sent = read_json(body)
    envelope.note_message(sent)
    if (fault := fault_of(sent, shape)) is not None:
        raise Invalid(fault)
    return dict(sent.get("request", {}))


def data_of(body: bytes) -> tuple[Any, str]:
    """Read the data in a body, a record or a batch, and the request's `msgid`. Raises `Invalid` for the first fault."""
    sent = read_records(body, _EVENTS)
    envelope.note_message(sent)
    if (fault := fault_of_event(sent)) is not None:
        raise Invalid(fault)
    return sent["data"], sent["params"]["msgid"]

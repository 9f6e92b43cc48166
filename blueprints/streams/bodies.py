"""What the requests of streams hold: settings of a stream or session, metadata, packets."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from blueprints.bodies import read_json, text_body
from blueprints.current_request import house
from smarthouse_api.errors import Invalid, InvalidData, TooLarge
from smarthouse_api.states.payload.repair import words_of
from smarthouse_api.streams.model import LARGEST_INDEX, NewPacket, StreamRetention

Count = Annotated[int, Meta(gt=0, le=LARGEST_INDEX)]
Seconds = Annotated[float, Meta(gt=0, le=1e12)]
Read = TypeVar("Read")


class _Kept(Struct, forbid_unknown_fields=True):
    """Reads a stream's retention from a body."""

    packets: Count | None = None
    bytes: Count | None = None
    seconds: Seconds | None = None


class _Stream(Struct, forbid_unknown_fields=True):
    """Reads the settings of a stream from a body."""

    retention: _Kept | UnsetType | None = UNSET


class _Open(Struct, forbid_unknown_fields=True, rename="camel"):
    """Reads the settings of an open session from a body."""

    timeout_seconds: Seconds | None = None


class _Line(Struct, forbid_unknown_fields=True):
    """Reads one packet from a line of a batch."""

    data: bytes
    index: Annotated[int, Meta(ge=0, le=LARGEST_INDEX)] | None = None


_BLANKS = b" \t\r\n"
_LINE = msgspec.json.Decoder(_Line)
for _kind in (_Stream, _Open):
    # At import: threads that are the first to read a kind may crash the process together.
    msgspec.json.Decoder(_kind)


def new_retention() -> StreamRetention | None:
    """Read what a stream is to keep, everything if that is null; None if the body does not say."""
    kept = _optional(_Stream).retention
    if kept is UNSET:
        return None
    return StreamRetention() if kept is None else StreamRetention(kept.packets, kept.bytes, kept.seconds)


def timeout_seconds() -> float | None:
    """Read the seconds that a session stays open without a sign of its owner; None if the body does not say."""
    return _optional(_Open).timeout_seconds


def noted_content() -> dict[str, Any]:
    """Read the metadata of a packet, a JSON object. Raises `Invalid` for anything else."""
    content = read_json(text_body())
    if not isinstance(content, dict):
        raise Invalid("The body is not a JSON object, such as {}")
    return content


def new_bounds(body: bytes) -> tuple[int, int]:
    """Read the first and last index of a new session. Raises `Invalid`, `InvalidData`."""
    sent = read_json(body)
    start, stop = (sent.get("start"), sent.get("stop")) if isinstance(sent, dict) else (None, None)
    # Of JSON's true, Python says that it is an integer.
    if type(start) is not int or type(stop) is not int:
        raise InvalidData("The body must be an object with the integers start and stop", reason="INVALID_DATA")
    return start, stop


def new_packets(body: bytes, is_batch: bool, index: int | None) -> list[NewPacket]:
    """Read the packets in a body: one in each line of a batch, else the whole body. Raises `Invalid`, `TooLarge`."""
    if is_batch and index is not None:
        raise Invalid("index: a batch names the index of a packet in its line, not in the query")
    if is_batch:
        return _batch(body)
    if not body:
        raise Invalid("The body is empty; a packet has at least one byte")
    return [NewPacket(body, index)]


def _batch(body: bytes) -> list[NewPacket]:
    limit = house().settings.streams.batch_packets
    # Before they are decoded: a short body may decompress to more lines than the memory has room for packets.
    if body.count(b"\n") >= limit and (count := sum(1 for line in BytesIO(body) if line.strip(_BLANKS))) > limit:
        raise TooLarge(f"The batch has {count} packets; at most {limit} are taken at once")
    lines = _at_once(body) or _one_by_one(body)
    if not lines:
        raise Invalid("The batch is empty; send a line for each packet")
    return [NewPacket(line.data, line.index) for line in lines]


def _at_once(body: bytes) -> list[_Line]:
    """Decode all lines in one call, a third of the time; empty if a line is faulty or blank, which `_one_by_one` handles."""
    try:
        lines = _LINE.decode_lines(body)
    except ValueError:
        return []
    is_line_by_line = len(lines) == body.count(b"\n") + (not body.endswith(b"\n")) and b"\n\n" not in body
    return lines if is_line_by_line and all(line.data for line in lines) else []


def _one_by_one(body: bytes) -> list[_Line]:
    return [_line(number, text) for number, text in enumerate(BytesIO(body), 1) if text.strip(_BLANKS)]


def _line(number: int, text: bytes) -> _Line:
    try:
        line = _LINE.decode(text)
    except ValueError as fault:
        raise Invalid(
            f'Line {number}: {words_of(fault, text)}; a line is {{"data": "<base64>"}}, and may have an "index"'
        ) from fault
    if not line.data:
        raise Invalid(f"Line {number}: the data is empty; a packet has at least one byte")
    return line


def _optional(kind: type[Read]) -> Read:
    """Read a body of this kind; without a body, all members are absent. Raises `Invalid`."""
    body = text_body()
    sent = read_json(body) if body.strip() else {}
    try:
        return msgspec.convert(sent, kind)
    except msgspec.ValidationError as fault:
        raise Invalid(f"The body does not fit: {fault}") from fault

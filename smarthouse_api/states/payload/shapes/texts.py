"""Text that is no one JSON value: an event stream, lines of JSON, CSV of the history page, lines of MQTT.

Two texts stay raw, and are only recognised: InfluxDB's lines, in which a text stands for the unit or for the entity id, and
Prometheus text, which has no times.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from smarthouse_api.states.payload.compression import Undecodable
from smarthouse_api.states.payload.content import Content, Reason, State
from smarthouse_api.states.payload.repair import repair
from smarthouse_api.states.payload.shapes.raw_json import kind_of
from smarthouse_api.states.payload.shapes.recognition import WRAPPINGS, Reader
from smarthouse_api.states.payload.shapes.states import Series

_KEPT_RAW: Final = (
    (
        re.compile(rb"#\s*(HELP|TYPE)\s|homeassistant_\w+\{"),
        "Prometheus text is kept raw: it has no times. Send states, such as GET /api/states or GET /api/history/period give.",
    ),
    (
        re.compile(rb"[^\n]*,(domain|entity_id)=[^\n]* [^\n]*=[^\n]* \d{10,19}\r?(\n|\Z)"),
        "InfluxDB lines are kept raw: a unit and an entity id look the same. Send what GET /api/history/period gives.",
    ),
    (
        re.compile(rb"<(template TemplateState\(<)?state "),
        "A printed state is kept raw. Send states as JSON, such as GET /api/states gives.",
    ),
)
_EVENT_STREAM: Final = re.compile(rb"(data|event|id|retry)?:")
_CSV: Final = re.compile(rb"\"?entity_id\"?,\"?state\"?,\"?last_(changed|updated)\"?[,\r\n]")
_MQTT_LINE: Final = re.compile(rb"(\S+/[a-z_]+/[a-z0-9_]+/\S+) ([^\r\n]*)\r?\n?")
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,15})(\.\d{1,17})?")

_encode = msgspec.json.Encoder().encode


def read_text(text: bytes, content: Content, why: str) -> None:
    """Read text that is no JSON value. Raises `Undecodable`, with the reason if the text has no known look, and `TooLarge`."""
    for look, detail in _KEPT_RAW:
        if look.match(text):
            raise Undecodable(detail, "structure")
    if _CSV.match(text):
        return _read_csv(text, content)
    reader = Reader(content)
    if _EVENT_STREAM.match(text):
        _read_values(_streamed(text), reader, content)
    elif _MQTT_LINE.match(text):
        _read_messages(text, reader, content)
    elif _is_value(first := _first_line(text)) and len(first) < len(text.strip()):
        _read_values(_lines(text), reader, content)
    else:
        raise Undecodable(why, "structure")
    return reader.finish()


def _read_values(lines: Iterator[bytes], reader: Reader, content: Content) -> None:
    for line in lines:
        try:
            reader.read(line)
        except (msgspec.DecodeError, RecursionError):
            _read_repaired(line, reader, content)


def _read_repaired(line: bytes, reader: Reader, content: Content) -> None:
    content.is_repaired = True
    try:
        reader.read(repair(line, content.settings.max_json_depth + WRAPPINGS))
    except (msgspec.DecodeError, RecursionError):
        content.ignore(Reason.NO_LINE)


def _read_messages(text: bytes, reader: Reader, content: Content) -> None:
    for line in _lines(text):
        found = _MQTT_LINE.fullmatch(line)
        if found is None or not reader.statestream.read(found[1].decode(), found[2].decode()):
            content.ignore(Reason.NO_LINE)


def _read_csv(text: bytes, content: Content) -> None:
    rows = csv.reader(io.StringIO(text.decode(), newline=""))
    try:
        header = next(rows)
        for row in rows:
            if row:
                _read_row(header, row, content)
    except csv.Error:
        content.ignore(Reason.NO_LINE)


def _read_row(header: list[str], row: list[str], content: Content) -> None:
    # Rows may be shorter than the header: the page leaves out the columns that an entity has not.
    cells = {name: cell for name, cell in zip(header, row, strict=False) if cell}
    if len(row) < 3 or len(row) > len(header):
        content.ignore(Reason.NO_LINE)
        return
    entity_id, state = row[:2]
    times = cells.pop("last_changed", None), cells.pop("last_updated", None)
    attributes = {name: _number(cell) for name, cell in cells.items() if name not in ("entity_id", "state")}
    Series(content).add([State(state, entity_id, msgspec.Raw(_encode(attributes)), *times)])


def _number(cell: str) -> msgspec.Raw | str:
    return msgspec.Raw(cell.encode()) if _NUMBER.fullmatch(cell) else cell


def _streamed(text: bytes) -> Iterator[bytes]:
    """The data of an event stream that is JSON; a ping is none."""
    for line in _lines(text):
        if line.startswith(b"data:") and (value := line[5:].strip()) and value[:1] in b"{[":
            yield value


def _lines(text: bytes) -> Iterator[bytes]:
    return (line for line in io.BytesIO(text) if line.strip())


def _first_line(text: bytes) -> bytes:
    return text[: text.find(b"\n")].strip() if b"\n" in text else text.strip()


def _is_value(line: bytes) -> bool:
    if kind_of(line) not in ("{", "["):
        return False
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True

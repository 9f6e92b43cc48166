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

_PROMETHEUS: Final = re.compile(rb"#\s*(HELP|TYPE)\s|homeassistant_\w+\{")
_INFLUX_TAG: Final = re.compile(rb",(domain|entity_id)=")
_INFLUX_TIME: Final = re.compile(rb" \d{10,19}\Z")
_PRINTED: Final = re.compile(rb"<(template TemplateState\(<)?state ")
_EVENT_STREAM: Final = re.compile(rb"(data|event|id|retry)?:")
_CSV: Final = re.compile(rb"\"?entity_id\"?,\"?state\"?,\"?last_(changed|updated)\"?[,\r\n]")
_LONGEST_LOOK: Final = 8192
_MOST_REPAIRS: Final = 1000
"""Lines that are repaired in one body: a repair takes a hundred times as long as reading a line."""

_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,15})(\.\d{1,17})?")

_encode = msgspec.json.Encoder().encode


def read_text(text: bytes, content: Content, why: str) -> None:
    """Read text that is no JSON value. Raises `Undecodable`, with the reason if the text has no known look, and `TooLarge`."""
    first = _first_line(text)
    if (kept := _kept_raw(first)) is not None:
        raise Undecodable(kept, "structure")
    if _CSV.match(text):
        return _read_csv(text, content)
    reader = Reader(content)
    if _EVENT_STREAM.match(text):
        _read_values(_streamed(text, content), reader, content)
    elif reader.statestream.knows(_message(first)[0]):
        _read_messages(_lines(text, content), reader, content)
    elif len(first) < len(text.strip()) and _is_value(first):
        _read_values(_lines(text, content), reader, content)
    else:
        raise Undecodable(why, "structure")
    return reader.finish()


def _kept_raw(line: bytes) -> str | None:
    """Say why text with such a first line stays raw; None if it does not."""
    line = line[:_LONGEST_LOOK]
    if _PROMETHEUS.match(line):
        return "Prometheus text is kept raw: it has no times. Send what GET /api/states or GET /api/history/period gives."
    if _INFLUX_TAG.search(line) and _INFLUX_TIME.search(line):
        return "InfluxDB lines are kept raw: a unit and an entity id look the same. Send what GET /api/history/period gives."
    if _PRINTED.match(line):
        return "A printed state is kept raw. Send JSON, such as GET /api/states gives."
    return None


def _read_values(lines: Iterator[bytes], reader: Reader, content: Content) -> None:
    repairs = 0
    for line in lines:
        try:
            reader.read(line)
        except (msgspec.DecodeError, RecursionError):
            repairs += 1
            if repairs > _MOST_REPAIRS or not _read_repaired(line, reader, content):
                content.ignore(Reason.NO_LINE)


def _read_repaired(line: bytes, reader: Reader, content: Content) -> bool:
    content.is_repaired = True
    try:
        reader.read(repair(line, content.settings.max_json_depth + WRAPPINGS))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _read_messages(lines: Iterator[bytes], reader: Reader, content: Content) -> None:
    for line in lines:
        if not reader.statestream.read(*_message(line)):
            content.ignore(Reason.NO_LINE)


def _message(line: bytes) -> tuple[str, str]:
    """The topic and the payload of a line of `mosquitto_sub -v`."""
    topic, _, payload = line.rstrip(b"\r\n").decode().partition(" ")
    return topic, payload


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


def _streamed(text: bytes, content: Content) -> Iterator[bytes]:
    """The data of an event stream that is JSON; a ping is none."""
    for line in _lines(text, content):
        if line.startswith(b"data:") and (value := line[5:].strip()) and value[:1] in (b"{", b"["):
            yield value


def _lines(text: bytes, content: Content) -> Iterator[bytes]:
    """Yield the lines that are not blank, at most as many as records. Raises `TooLarge`."""
    lines = filter(None, map(bytes.strip, io.BytesIO(text)))
    for number, line in enumerate(lines, 1):
        content.check(number)
        yield line


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

"""Reading of a body's text: the integration's object of arrays at once, any other shape piece by piece.

The integration uploads `{entity_id: [state, ...]}`. Text of another shape is read again by `shapes`, where each entry may fail
by itself. Text that is not quite JSON is repaired first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Final

import msgspec
import numpy as np

from config.groups import RequestSettings
from smarthouse_api.errors import TooLarge
from smarthouse_api.states.payload.attributes import lines_of
from smarthouse_api.states.payload.compression import Undecodable
from smarthouse_api.states.payload.content import Content, State
from smarthouse_api.states.payload.repair import count_members, entries_of, repair
from smarthouse_api.states.payload.shapes.recognition import TELLTALES, WRAPPINGS, Reader
from smarthouse_api.states.payload.shapes.states import Series, has_time
from smarthouse_api.states.payload.shapes.texts import read_text

_SMALLEST: Final = len('{"state":""},')


class UsualState(State, kw_only=True, gc=False):
    """Holds a state with every member that the integration sends."""

    entity_id: str
    attributes: msgspec.Raw
    last_updated: str


class TimedState(msgspec.Struct, gc=False):
    """Holds what counts a usual state. Its time is decoded, which proves that it can be read."""

    state: str
    entity_id: str
    attributes: msgspec.Raw
    last_updated: datetime


_usual_body = msgspec.json.Decoder(dict[str, list[UsualState]]).decode
_timed_body = msgspec.json.Decoder(dict[str, list[TimedState]]).decode
_body = msgspec.json.Decoder(dict[str, list[State]]).decode
_raw_attributes = attrgetter("attributes")


def count_usual(text: bytes, settings: RequestSettings) -> Counter[bytes] | None:
    """Count the states of a usual body by their attributes; None if the body is another shape, or a time cannot be read.

    Raises `TooLarge`.
    """
    if _may_be_wide(text, settings):
        return None
    try:
        body = _timed_body(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    counts = Counter(map(bytes, map(_raw_attributes, chain.from_iterable(body.values()))))
    if not counts or _is_other(text, body, sum(count * raw.count(b"[") for raw, count in counts.items())):
        return None
    Content(settings).check(counts.total())
    return counts


def read(text: bytes, settings: RequestSettings) -> Content:
    """Read what a body's text holds. Attributes stay unread. Raises `TooLarge` and `Undecodable`."""
    if _may_be_wide(text, settings) and entries_of(text) > 2 * settings.max_records:
        raise TooLarge(f"The body holds more than {settings.max_records} records.")
    return _read_usual(text, settings) or _read_lists(text, settings) or _read_shape(text, settings)


def _may_be_wide(text: bytes, settings: RequestSettings) -> bool:
    # A body may take up many times its size once decoded, so a suspicious one is counted before.
    return len(text) > settings.max_records * _SMALLEST


def _read_usual(text: bytes, settings: RequestSettings) -> Content | None:
    """Read an object of arrays of usual states at once; None if the text is another shape."""
    try:
        body = _usual_body(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    states = list(chain.from_iterable(body.values()))
    content = Content(settings)
    content.lines = lines_of([state.attributes for state in states])
    if _is_other(text, body, _brackets(content.lines)):
        return None
    content.tells_clock = True
    content.add(states)
    return content


def _read_lists(text: bytes, settings: RequestSettings) -> Content | None:
    """Read an object of arrays of states that may lack members; None if the text is another shape."""
    try:
        body = _body(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    states = list(chain.from_iterable(body.values()))
    is_odd = b'_ts"' in text or not all(map(has_time, states))
    if is_odd or _is_other(text, body, _brackets(lines_of([state.attributes for state in states]))):
        return None
    content = Content(settings)
    content.tells_clock = True
    for key, found in body.items():
        Series(content, key).add(found)
    return content


def _is_other(text: bytes, body: Mapping[str, object], brackets: int) -> bool:
    """Return whether a body that reads as an object of arrays is another shape, or has lost a name that came twice.

    brackets: how many arrays open in the attributes of its states.
    """
    if not TELLTALES.isdisjoint(body):
        return True
    # Each array opens once. More brackets may be a lost array, or stand in a text: then the members are counted.
    return len(body) + brackets != _brackets(text) and count_members(text) != len(body)


def _brackets(text: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("[")))


def _read_shape(text: bytes, settings: RequestSettings) -> Content:
    try:
        return _read_value(text, Content(settings))
    except (msgspec.DecodeError, RecursionError):
        pass
    content = Content(settings)
    content.is_repaired = True
    try:
        return _read_value(repair(text, settings.max_json_depth + WRAPPINGS), content)
    except msgspec.DecodeError as error:
        content = Content(settings)
        read_text(text, content, f"The body is not JSON: {error}.")
        return content


def _read_value(text: bytes, content: Content) -> Content:
    text = text.strip()
    if text[:1] not in (b"{", b"["):
        msgspec.json.decode(text, type=msgspec.Raw)
        raise Undecodable("The JSON is neither an object nor an array.", "structure")
    reader = Reader(content)
    reader.read(text)
    reader.finish()
    return content

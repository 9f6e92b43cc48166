"""Any JSON value that Home Assistant gives, known by its tell-tale members and read by the module of its family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from smarthouse_api.states.payload.content import Content, Reason
from smarthouse_api.states.payload.shapes import events, recorder, statistics
from smarthouse_api.states.payload.shapes.raw_json import all_members, entries, kind_of, members, text_of
from smarthouse_api.states.payload.shapes.states import Series, read_compressed, read_list, read_whole
from smarthouse_api.states.payload.shapes.statestream import Statestream

Members = Mapping[str, msgspec.Raw]

WRAPPINGS: Final = 8
"""How deep wrappings are looked into: a websocket's message, its event, its list."""

_TIMES: Final = frozenset({"last_changed", "last_updated", "last_changed_ts", "last_updated_ts"})

TELLTALES: Final = frozenset(
    {"a", "c", "r", "changed_states", "entity_id", "event", "result", "s", "service_response", "state", "states", "statistics"}
)
"""Members that no object of arrays has: these names are no entity ids."""


class Reader:
    """Reads the values of one body into its content. Call `finish` after the last."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._subscription = events.Subscription(content)
        self.statestream = Statestream(content)

    def read(self, raw: msgspec.Raw | bytes) -> None:
        """Read a value. Raises `msgspec.DecodeError`, `RecursionError` and `TooLarge`."""
        if kind_of(raw) == "{":
            found = members(raw, self._content)
            if not self._object(found, 0):
                self._entities(all_members(raw, self._content))
                self._content.tells_clock = True
        else:
            self._list(raw, 0)

    def finish(self) -> None:
        """Add what waited for more. Raises `TooLarge`."""
        self.statestream.finish()

    def _list(self, raw: msgspec.Raw | bytes, depth: int, key: str | None = None) -> None:
        """Read a list: of states, of lists of states, of messages. key: the entity that its states are of."""
        series = Series(self._content, key)
        if (states := read_list(raw)) is not None:
            series.add(states)
            return
        for entry in entries(raw, self._content):
            self._entry(entry, series, depth + 1, key)

    def _entry(self, raw: msgspec.Raw, series: Series, depth: int, key: str | None) -> None:
        kind = kind_of(raw)
        if kind == "[" and key is None and depth < WRAPPINGS:
            if not self._pair(raw):
                self._list(raw, depth, key)
        elif kind == "{" and (state := read_whole(raw) or read_compressed(raw)) is not None:
            series.add([state])
        elif kind != "{" or not self._object(members(raw, self._content), depth, key):
            self._content.ignore(Reason.NO_STATE)

    def _object(self, found: Members, depth: int, key: str | None = None) -> bool:
        """Read an object of a shape that its members tell; False if they tell none."""
        if depth >= WRAPPINGS:
            return False
        return self._state(found, key) or self._message(found, depth) or self._collection(found, depth)

    def _state(self, found: Members, key: str | None) -> bool:
        """Read a single state, or a single period of a statistic."""
        if statistics.is_statistic(found):
            statistics.read_statistic(_encode(found), self._content, {}, key)
            return True
        if "state" in found and ("entity_id" in found or _TIMES & found.keys()):
            state = read_whole(_encode(found))
        elif "s" in found and ("lu" in found or "lc" in found):
            state = read_compressed(_encode(found))
        else:
            return False
        if state is None:
            self._content.ignore(Reason.NO_STATE)
        else:
            Series(self._content, key).add([state])
        return True

    def _message(self, found: Members, depth: int) -> bool:
        """Read a message of the websocket, of the event stream, or of MQTT."""
        if events.is_event(found):
            events.read_event(found, self._content)
        elif events.is_subscription(found):
            self._subscription.read(found)
        elif "event" in found and kind_of(found["event"]) == "{":
            return self._object(members(found["event"], self._content), depth + 1)
        elif "topic" in found and "payload" in found:
            return self.statestream.read(text_of(found["topic"]) or "", payload_of(found["payload"]))
        elif "type" in found and "id" in found and text_of(found["type"]) in ("result", "pong", "auth_ok", "auth_required"):
            self._container(found.get("result"), depth)
        else:
            return False
        return True

    def _collection(self, found: Members, depth: int) -> bool:
        """Read what holds states of several entities: a service's answer, a part of a history, tables."""
        if "changed_states" in found or "service_response" in found:
            self._container(found.get("changed_states"), depth)
            self._container(found.get("service_response"), depth)
        elif recorder.are_tables(found):
            recorder.read_tables(found, self._content)
        elif "states" in found and kind_of(found["states"]) == "{":
            self._entities(all_members(found["states"], self._content))
        elif "statistics" in found and kind_of(found["statistics"]) == "{":
            self._entities(all_members(found["statistics"], self._content))
        else:
            return False
        return True

    def _container(self, raw: msgspec.Raw | None, depth: int) -> None:
        """Read what a wrapping holds; an acknowledgement holds nothing."""
        kind = "" if raw is None else kind_of(raw)
        if raw is None or kind not in "[{" or depth >= WRAPPINGS:
            return
        if kind == "[":
            self._list(raw, depth + 1)
        elif not self._object(members(raw, self._content), depth + 1):
            self._entities(all_members(raw, self._content))

    def _entities(self, found: Iterable[tuple[str, msgspec.Raw]]) -> None:
        """Read an object of entities: each has a list of its states, or its one state."""
        for key, raw in found:
            kind = kind_of(raw)
            if kind == "[":
                self._list(raw, 1, key)
            elif kind != "{" or not self._state(members(raw, self._content), key):
                self._content.ignore(Reason.NO_STATE)

    def _pair(self, raw: msgspec.Raw) -> bool:
        """Read a pair of topic and payload; False for any other list."""
        try:
            topic, payload = _two(raw)
        except msgspec.DecodeError:
            return False
        return self.statestream.read(topic, payload_of(payload))


def payload_of(raw: msgspec.Raw) -> str:
    """A payload as the text that was sent: a program may have made a number of it."""
    text = text_of(raw)
    return bytes(raw).decode() if text is None else text


_two = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode
_encoder = msgspec.json.Encoder()


def _encode(found: Members) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(found))

"""Messages of MQTT statestream: `homeassistant/sensor/kitchen/state` and, beside it, a topic for each time and attribute.

They come as pairs of topic and payload, as objects with these two members, or as lines of `mosquitto_sub -v`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import msgspec

from smarthouse_api.states.payload.content import Content, Reason, State
from smarthouse_api.states.payload.shapes.states import Series
from smarthouse_api.states.vocabulary.facts import domains

_OBJECT_ID: Final = re.compile(r"[a-z0-9_]+")
_TIMES: Final = ("last_changed", "last_updated")

_value = msgspec.json.Decoder(msgspec.Raw).decode
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Pending:
    """Gathers what came of one state: its own topic, and those around it."""

    state: str | None = None
    times: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, msgspec.Raw] = field(default_factory=dict)


class Statestream:
    """Puts the messages of each entity together: a state lasts until the next message of a state's own topic.

    Topics that are retained may come before their state's, in any order.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._pending: dict[str, _Pending] = {}
        self._series: dict[str, Series] = {}

    def knows(self, topic: str) -> bool:
        """Return whether a topic is one of statestream's."""
        *_, domain, object_id, name = ["", "", "", *topic.split("/")]
        return domain in domains() and bool(_OBJECT_ID.fullmatch(object_id)) and bool(name)

    def read(self, topic: str, payload: str) -> bool:
        """Take in a message; False if its topic is not one of statestream's. Raises `TooLarge`."""
        if not self.knows(topic):
            return False
        domain, object_id, name = topic.split("/")[-3:]
        entity_id = f"{domain}.{object_id}"
        if name == "state":
            self._begin(entity_id, payload)
        elif name in _TIMES:
            self._of(entity_id).times[name] = payload.strip('"')
        else:
            self._of(entity_id).attributes[name] = _json(payload)
        return True

    def finish(self) -> None:
        """Add the last state of each entity. Raises `TooLarge`."""
        for entity_id in self._pending:
            self._add(entity_id)
        self._pending.clear()

    def _of(self, entity_id: str) -> _Pending:
        return self._pending.setdefault(entity_id, _Pending())

    def _begin(self, entity_id: str, state: str) -> None:
        if self._of(entity_id).state is not None:
            self._add(entity_id)
            self._pending[entity_id] = _Pending()
        self._of(entity_id).state = state

    def _add(self, entity_id: str) -> None:
        pending = self._pending[entity_id]
        if pending.state is None:
            self._content.ignore(Reason.NO_STATE, len(pending.times) + len(pending.attributes))
            return
        state = State(pending.state)
        state.last_changed, state.last_updated = (pending.times.get(name) for name in _TIMES)
        if pending.attributes:
            state.attributes = msgspec.Raw(_encode(pending.attributes))
        self._series.setdefault(entity_id, Series(self._content, entity_id)).add([state])


def _json(payload: str) -> msgspec.Raw:
    """The payload as JSON, which the payload of an attribute is; other text as a JSON text."""
    try:
        return msgspec.Raw(bytes(_value(payload)))
    except (msgspec.DecodeError, RecursionError):
        return msgspec.Raw(_encode(payload))

"""Messages of a running Home Assistant: events of changed states, and the changes that a page subscribes to.

An event is `{event_type: "state_changed", data: {entity_id, old_state, new_state}}`. Its old state is not read: an earlier
event told it. A subscription's message is `{a: {id: state}, c: {id: {"+": members, "-": {a: [names]}}}, r: [ids]}`: what was
added, changed and removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from smarthouse_api.states.payload.content import Content, Reason, State
from smarthouse_api.states.payload.shapes.raw_json import entries, kind_of, members, text_of, time_of
from smarthouse_api.states.payload.shapes.states import Series, read_whole

Members = Mapping[str, msgspec.Raw]

_SUBSCRIPTION: Final = {"a": "{", "c": "{", "r": "["}
_encode = msgspec.json.Encoder().encode


def is_event(found: Members) -> bool:
    """Whether the members of an object are those of an event."""
    return "event_type" in found and "data" in found


def is_subscription(found: Members) -> bool:
    """Whether the members of an object are those of a subscription's message."""
    return bool(found) and all(kind_of(raw) == _SUBSCRIPTION.get(name) for name, raw in found.items())


def read_event(found: Members, content: Content) -> None:
    """Read the new state of an event. Raises `TooLarge`."""
    data = members(found["data"], content) if kind_of(found["data"]) == "{" else {}
    new_state = data.get("new_state")
    if text_of(found["event_type"]) != "state_changed" or new_state is None:
        content.ignore(Reason.NO_STATE)
    elif bytes(new_state) == b"null":
        content.ignore(Reason.REMOVED)
    elif (state := read_whole(new_state)) is None:
        content.ignore(Reason.NO_STATE)
    else:
        Series(content, text_of(data.get("entity_id"))).add([state])


class _Entity:
    """Remembers an entity of a subscription as its last message left it."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.attributes: dict[str, msgspec.Raw] = {}
        self.last_changed: str | None = None
        self.last_updated: str | None = None

    def apply(self, found: Members, content: Content) -> None:
        """Take over the members that a message adds or changes. A change of the state has one time for both."""
        self.state = text_of(found.get("s")) if "s" in found else self.state
        if self.state is not None and "a" in found and kind_of(found["a"]) == "{":
            self.attributes = {**self.attributes, **members(found["a"], content)}
        changed, updated = time_of(found.get("lc")), time_of(found.get("lu"))
        self.last_changed = changed or self.last_changed or updated
        self.last_updated = updated or changed or self.last_updated


class Subscription:
    """Follows the messages of a subscription. A message tells only what is new."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._entities: dict[str, _Entity] = {}

    def read(self, found: Members) -> None:
        """Read one message. Raises `TooLarge`."""
        for entity_id, raw in self._members(found.get("a")).items():
            self._entities[entity_id] = _Entity()
            self._apply(entity_id, self._members(raw))
        for entity_id, raw in self._members(found.get("c")).items():
            self._change(entity_id, self._members(raw))
        for raw in entries(found["r"], self._content) if "r" in found else []:
            self._entities.pop(text_of(raw) or "", None)
            self._content.ignore(Reason.REMOVED)

    def _change(self, entity_id: str, found: Members) -> None:
        entity = self._entities.setdefault(entity_id, _Entity())
        removed = self._members(found.get("-")).get("a")
        for raw in entries(removed, self._content) if removed is not None and kind_of(removed) == "[" else []:
            entity.attributes.pop(text_of(raw) or "", None)
        self._apply(entity_id, self._members(found.get("+")))

    def _apply(self, entity_id: str, found: Members) -> None:
        entity = self._entities[entity_id]
        entity.apply(found, self._content)
        if entity.state is None:
            self._content.ignore(Reason.NO_START)
            return
        attributes = msgspec.Raw(_encode(entity.attributes))
        self._content.repeat(len(bytes(attributes)))
        times = entity.last_changed, entity.last_updated
        Series(self._content, entity_id).add([State(entity.state, None, attributes, *times)])

    def _members(self, raw: msgspec.Raw | None) -> Members:
        return members(raw, self._content) if raw is not None and kind_of(raw) == "{" else {}

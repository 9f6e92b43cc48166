"""States one by one and in lists: whole, minimal, compressed, and rows of the recorder's table.

A whole state is `{entity_id, state, attributes, last_changed, last_updated}`. In a minimal history, later states of a list
have `state` and `last_changed` alone. A compressed state is `{s, a, lc, lu}`; a time that equals the other is left out.
A row has `last_changed_ts` and `last_updated_ts`; the first is null if both are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from smarthouse_api.states.payload.content import ABSENT, Content, Reason, State
from smarthouse_api.states.payload.repair import NOT_A_CHARACTER, marked
from smarthouse_api.states.payload.shapes.raw_json import kind_of, text_of, time_of

_INHERITED: Final = ("unit_of_measurement", "device_class", "state_class")
_LONGEST_INHERITED: Final = 255
_EMPTY: Final = msgspec.Raw(b"{}")
NULL: Final = msgspec.Raw(b"null")
_UNREADABLE: Final = msgspec.Raw(b"[]")


class WholeState(msgspec.Struct, gc=False):
    """Reads a whole or minimal state, or a row of the recorder, whose members may be of any kind."""

    state: msgspec.Raw
    entity_id: str | None = None
    attributes: msgspec.Raw = ABSENT
    shared_attrs: str | None = None
    last_changed: msgspec.Raw = NULL
    last_updated: msgspec.Raw = NULL
    last_changed_ts: msgspec.Raw = NULL
    last_updated_ts: msgspec.Raw = NULL
    metadata_id: int | None = None
    attributes_id: int | None = None


class CompressedState(msgspec.Struct, gc=False):
    """Reads a compressed state, whose times may be of any kind."""

    s: str
    a: msgspec.Raw = ABSENT
    lc: msgspec.Raw = NULL
    lu: msgspec.Raw = NULL


_states = msgspec.json.Decoder(list[State]).decode
_whole_states = msgspec.json.Decoder(list[WholeState]).decode
_compressed_states = msgspec.json.Decoder(list[CompressedState]).decode
_whole_state = msgspec.json.Decoder(WholeState).decode
_compressed_state = msgspec.json.Decoder(CompressedState).decode
_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode

Read = Callable[[msgspec.Raw], State]


class Series:
    """Completes the states of one list and adds them to the content: all but the first may be minimal.

    key: the entity id of states that name none. Without it, that is the last id that the list named before. A state without
    attributes takes unit, device class and state class of the first state of its entity in the list that has attributes.
    """

    def __init__(self, content: Content, key: str | None = None) -> None:
        self._content, self._key = content, key
        self._named: str | None = key
        self._owner: str | None = None
        self._inherited = _EMPTY
        self._has_first = False

    def add(self, states: Sequence[State]) -> None:
        """Add states in the order of the list. Raises `TooLarge`."""
        self._content.add([state for state in states if self._complete(state)])

    def _complete(self, state: State) -> bool:
        is_named = state.entity_id is not None
        if state.entity_id is None:
            if self._named is None:
                self._content.ignore(Reason.NO_ENTITY)
                return False
            state.entity_id = self._named
            self._content.repeat(len(self._named))
        elif self._key is None:
            self._named = state.entity_id
        if state.attributes is not ABSENT:
            self._remember(state)
        elif self._has_first and (not is_named or state.entity_id == self._owner):
            state.attributes = self._inherited
            self._content.repeat(len(bytes(self._inherited)))
        if self._content.is_repaired and _is_marked(state):
            self._content.ignore(Reason.NO_STATE)
            return False
        return True

    def _remember(self, state: State) -> None:
        if not self._has_first or state.entity_id != self._owner:
            self._has_first, self._owner = True, state.entity_id
            self._inherited = inherited(state.attributes)


def inherited(attributes: msgspec.Raw) -> msgspec.Raw:
    """The attributes that a state of the same entity has, too, if it has none of its own: unit and classes."""
    try:
        found = _attributes(attributes)
    except msgspec.DecodeError:
        return _EMPTY
    texts = {name: text_of(found.get(name)) for name in _INHERITED}
    kept = {name: text for name, text in texts.items() if text is not None and len(text) <= _LONGEST_INHERITED}
    return msgspec.Raw(_encode(kept))


def read_list(raw: msgspec.Raw | bytes) -> Sequence[State] | None:
    """Read a list if all its entries are states of one form; None for any other list."""
    for read in (_states, _read_whole, _read_compressed):
        try:
            states = read(raw)
        except (msgspec.DecodeError, RecursionError):
            continue
        if read is not _states or all(map(_is_usual, states)):
            return states
    return None


def _is_usual(state: State) -> bool:
    """Whether the quick way has read all of a state: a row has its times, or its attributes, in another form."""
    return has_time(state) and kind_of(state.attributes) != '"'


def has_time(state: State) -> bool:
    """Whether a state has a time, readable or not."""
    return state.last_updated is not None or state.last_changed is not None


def read_whole(raw: msgspec.Raw) -> State | None:
    """Read a whole or minimal state, or a row; None if it is none."""
    try:
        return whole(_whole_state(raw))
    except (msgspec.DecodeError, RecursionError):
        return None


def read_compressed(raw: msgspec.Raw) -> State | None:
    """Read a compressed state; None if it is none."""
    try:
        return _compressed(_compressed_state(raw))
    except (msgspec.DecodeError, RecursionError):
        return None


def whole(found: WholeState) -> State | None:
    """Make a state of what was read as one. A row's times and attributes have names of their own."""
    text = text_of(found.state)
    if text is None:
        return None
    changed, updated = time_of(found.last_changed), time_of(found.last_updated)
    changed = time_of(found.last_changed_ts) if changed is None else changed
    if updated is None and (updated := time_of(found.last_updated_ts)) is not None:
        changed = updated if changed is None else changed
    return State(text, found.entity_id, _row_attributes(found), changed, updated)


def _row_attributes(found: WholeState) -> msgspec.Raw:
    text = found.shared_attrs if found.shared_attrs is not None else text_of(found.attributes)
    return found.attributes if text is None else attributes_of(text)


def attributes_of(text: str) -> msgspec.Raw:
    """The attributes that a row has as text; of text that is no JSON object, an array, which no attributes are."""
    try:
        _attributes(text.encode())
    except (msgspec.DecodeError, RecursionError):
        return _UNREADABLE
    return msgspec.Raw(text.encode())


def _compressed(found: CompressedState) -> State:
    changed, updated = time_of(found.lc), time_of(found.lu)
    return State(found.s, None, found.a, updated if changed is None else changed, changed if updated is None else updated)


def _read_whole(raw: msgspec.Raw | bytes) -> list[State]:
    states = [whole(found) for found in _whole_states(raw)]
    if None in states:
        raise msgspec.ValidationError("a state is no text")
    return [state for state in states if state is not None]


def _read_compressed(raw: msgspec.Raw | bytes) -> list[State]:
    return [_compressed(found) for found in _compressed_states(raw)]


def _is_marked(state: State) -> bool:
    return NOT_A_CHARACTER in state.state or NOT_A_CHARACTER in (state.entity_id or "") or marked(bytes(state.attributes))

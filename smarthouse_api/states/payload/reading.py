"""Reading of a body's JSON text as states. A state that cannot be read costs only itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Final

import msgspec

from config.groups import RequestSettings
from smarthouse_api.errors import TooLarge
from smarthouse_api.states.payload.compression import Undecodable
from smarthouse_api.states.payload.repair import NOT_A_CHARACTER, entries_of, marked, repair

_SMALLEST: Final = len('{"state":""},')


class State(msgspec.Struct, gc=False):
    """Reads one state as Home Assistant sends it; its attributes stay JSON text."""

    state: str
    entity_id: str | None = None
    attributes: msgspec.Raw = msgspec.Raw(b"{}")
    last_changed: str | None = None
    last_updated: str | None = None


class _LooseState(msgspec.Struct, gc=False):
    """Reads a state that `State` refuses, because a time of it is no text."""

    state: str
    entity_id: str | None = None
    attributes: msgspec.Raw = msgspec.Raw(b"{}")
    last_changed: msgspec.Raw = msgspec.Raw(b"null")
    last_updated: msgspec.Raw = msgspec.Raw(b"null")


_body = msgspec.json.Decoder(dict[str, list[State]]).decode
_entity_id = attrgetter("entity_id")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_states = msgspec.json.Decoder(list[State]).decode
_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_loose_state = msgspec.json.Decoder(_LooseState).decode
_time = msgspec.json.Decoder(str | None).decode


def read_states(text: bytes, settings: RequestSettings) -> tuple[list[State], int]:
    """Read a body's text: its states, each with its entity id, and the number of values that are no states.

    Attributes stay unread. Raises `TooLarge` and `Undecodable`.
    """
    # A body may take up many times its size once decoded, so a suspicious one is counted before.
    if len(text) > settings.max_records * _SMALLEST and entries_of(text) > 2 * settings.max_records:
        raise _too_many(settings)
    try:
        body, ignored = _body(text), 0
    except (msgspec.DecodeError, RecursionError):
        body, ignored = _read_piecewise(text, settings)
    states = list(chain.from_iterable(body.values()))
    if len(states) + ignored > settings.max_records:
        raise _too_many(settings)
    if None in map(_entity_id, states):
        if sum(len(key) * len(found) for key, found in body.items()) > settings.max_decoded_bytes:
            raise TooLarge(
                f"The entity ids of the body's states have more than {settings.max_decoded_bytes} characters in all."
            )
        for key, found in body.items():
            for state in found:
                state.entity_id = key if state.entity_id is None else state.entity_id
    return states, ignored


def _read_piecewise(text: bytes, settings: RequestSettings) -> tuple[dict[str, list[State]], int]:
    """Read a body that cannot be read at once: entity by entity, then state by state, so that a fault costs one state."""
    if entries_of(text) > 2 * settings.max_records:
        raise _too_many(settings)
    try:
        members = _members(repair(text, settings.max_json_depth))
    except msgspec.ValidationError:
        raise Undecodable("The JSON is not an object of entities, each with an array of states.", "structure") from None
    except msgspec.DecodeError as error:
        raise Undecodable(f"The body is not JSON: {error}.", "structure") from None
    body: dict[str, list[State]] = {}
    ignored = 0
    for key, value in members.items():
        try:
            found: Sequence[State | None] = _states(value)
        except msgspec.DecodeError:
            found = _read_apart(value)
        body[key] = [state for state in found if state is not None and not _is_marked(state, key)]
        ignored += len(found) - len(body[key])
    return body, ignored


def _read_apart(value: msgspec.Raw) -> list[State | None]:
    try:
        entries = _entries(value)
    except msgspec.DecodeError:
        return [None]
    return [_read_alone(entry) for entry in entries]


def _read_alone(entry: msgspec.Raw) -> State | None:
    try:
        found = _loose_state(entry)
    except msgspec.DecodeError:
        return None
    times = []
    for raw in (found.last_changed, found.last_updated):
        try:
            times.append(_time(raw))
        except msgspec.DecodeError:
            times.append(None)
    return State(found.state, found.entity_id, found.attributes, *times)


def _is_marked(state: State, key: str) -> bool:
    named = key if state.entity_id is None else state.entity_id
    return NOT_A_CHARACTER in state.state or NOT_A_CHARACTER in named or marked(bytes(state.attributes))


def _too_many(settings: RequestSettings) -> TooLarge:
    return TooLarge(f"The body holds more than {settings.max_records} records.")

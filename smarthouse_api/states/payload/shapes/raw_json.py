"""Pieces of JSON text, decoded a level at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from smarthouse_api.states.payload.content import Content
from smarthouse_api.states.payload.repair import count_members, entries_of, split_members

_LONGEST_NUMBER: Final = 40

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


def kind_of(raw: msgspec.Raw | bytes) -> str:
    """The first character of a JSON value: `{`, `[`, `"`, a digit, or another."""
    return chr(memoryview(raw)[0]) if raw else ""


def members(raw: msgspec.Raw | bytes, content: Content) -> dict[str, msgspec.Raw]:
    """The members of an object; of a name that comes twice, the last. Raises `msgspec.DecodeError` and `TooLarge`."""
    _check_width(raw, content)
    return _members(raw)


def all_members(raw: msgspec.Raw | bytes, content: Content) -> Iterable[tuple[str, msgspec.Raw]]:
    """The members of an object, and every one of a name that comes twice. Raises as `members` does."""
    found = members(raw, content)
    text = bytes(raw)
    if count_members(text) == len(found):
        return found.items()
    return (member for piece in split_members(text) for member in _members(piece).items())


def entries(raw: msgspec.Raw | bytes, content: Content) -> list[msgspec.Raw]:
    """The entries of an array. Raises as `members` does."""
    _check_width(raw, content)
    return _entries(raw)


def text_of(raw: msgspec.Raw | None) -> str | None:
    """The text that a value is; None if it is no text."""
    if raw is None or kind_of(raw) != '"':
        return None
    try:
        return _text(raw)
    except msgspec.DecodeError:
        return None


def time_of(raw: msgspec.Raw | None) -> str | None:
    """A time as text: what was text, or the digits of a number. None for anything else."""
    if raw is not None and kind_of(raw) in "-0123456789" and len(bytes(raw)) <= _LONGEST_NUMBER:
        return bytes(raw).decode()
    return text_of(raw)


def _check_width(raw: msgspec.Raw | bytes, content: Content) -> None:
    # A list of ones takes forty times its size once decoded, so a suspicious one is counted before.
    limit = 2 * content.settings.max_records
    text = memoryview(raw)
    if text.nbytes > 2 * limit and entries_of(bytes(text), 1) > limit:
        content.check(limit)

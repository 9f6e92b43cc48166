"""Messages about faults: what is wrong with a schema or a record, and where."""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema_rs

MASK: Final = "\ufffc"
"""The library writes this in place of a value; `words` replaces it."""


def under(place: str, *names: str) -> str:
    return "/".join((place, *(name.replace("~", "~0").replace("/", "~1") for name in names)))


def complaint(error: ValueError) -> str:
    """Say why a schema is invalid."""
    if not isinstance(error, jsonschema_rs.ValidationError):
        return f"schema: {_cut(str(error), 200)}"
    if error.message.endswith(' is not a "regex"'):
        return (
            f"schema: {quoted(error.instance)}{at(_pointer(error, 0))} is no pattern here: a regular expression "
            "without lookaround and backreferences, and without large repetitions (`maxLength` bounds a text)"
        )
    return f"schema: {words(error, 0)}"


def words(error: jsonschema_rs.ValidationError, above: int) -> str:
    """Say what is wrong with a value, and where. above: how many steps of the path lead to the value that is checked."""
    message = error.message
    if error.kind.name == "falseSchema":
        message = f"{MASK} is not allowed"
    elif error.kind.name == "propertyNames":
        message = f"the name {message}"
    elif error.schema_path and error.schema_path[-1] == "maxContains":
        message = f"{MASK} has too many items of the kind that it should contain"
    if MASK in message:
        message = message.replace(MASK, quoted(error.instance), 1)
    return _cut(message, 200) + at(_pointer(error, above))


def _pointer(error: jsonschema_rs.ValidationError, above: int) -> str:
    return under("", *map(str, error.instance_path[above:])) if len(error.instance_path) > above else ""


def at(place: str) -> str:
    return f" at {_cut(place, 90)}" if place else ""


def quoted(value: Any) -> str:
    """Write a value as JSON, shortened if it is long."""
    if isinstance(value, dict | list) and len(value) > 8:
        return "{…}" if isinstance(value, dict) else "[…]"
    text = json.dumps(value[:100] if isinstance(value, str) else value, ensure_ascii=False, default=str)
    if isinstance(value, dict | list) and len(text) > 100:
        return "{…}" if isinstance(value, dict) else "[…]"
    return text if len(text) <= 100 else f'{text[:98]}…"' if isinstance(value, str) else _cut(text, 100)


def _cut(text: str, length: int) -> str:
    """At most so many characters of a text, and none of them invisible."""
    short = text if len(text) <= length else f"{text[: length - 1]}…"
    if short.isprintable():
        return short
    return _cut("".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in short), length)

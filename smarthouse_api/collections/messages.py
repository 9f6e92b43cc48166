"""Messages about schemas and records: they say in words what is wrong, and where."""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema_rs

MASK: Final = "\ufffc"
"""The library writes it in place of a value."""


def under(place: str, *names: str) -> str:
    """Extends a place, which is a JSON Pointer, by the names that lead further in."""
    return "/".join((place, *(name.replace("~", "~0").replace("/", "~1") for name in names)))


def complaint(error: ValueError) -> str:
    """Says why a JSON value is no schema that is taken here."""
    if not isinstance(error, jsonschema_rs.ValidationError):
        return f"schema: {cut(str(error), 200)}"
    if error.message.endswith(' is not a "regex"'):
        return (
            f"schema: {quoted(error.instance)}{at(_pointer(error, 0))} is no pattern here: a regular expression "
            "without lookaround and backreferences, and without large repetitions (`maxLength` bounds a text)"
        )
    return f"schema: {words(error, 0)}"


def words(error: jsonschema_rs.ValidationError, above: int) -> str:
    """Says what is wrong with a record and where. above: how many steps of the error's path lead to the record."""
    message = error.message
    if error.kind.name == "falseSchema":
        message = f"{MASK} is not allowed"
    elif error.kind.name == "propertyNames":
        message = f"the name {message}"
    elif error.schema_path and error.schema_path[-1] == "maxContains":
        message = f"{MASK} has too many items of the kind that it should contain"
    if MASK in message:
        message = message.replace(MASK, quoted(error.instance), 1)
    return cut(message, 200) + at(_pointer(error, above))


def _pointer(error: jsonschema_rs.ValidationError, above: int) -> str:
    return under("", *map(str, error.instance_path[above:])) if len(error.instance_path) > above else ""


def at(place: str) -> str:
    """Names a place at the end of a message; nothing for the root."""
    return f" at {cut(place, 90)}" if place else ""


def quoted(value: Any) -> str:
    """Writes a value as JSON, in at most 100 characters."""
    if isinstance(value, dict | list) and len(value) > 8:
        return "{…}" if isinstance(value, dict) else "[…]"
    text = json.dumps(value[:100] if isinstance(value, str) else value, ensure_ascii=False, default=str)
    if isinstance(value, dict | list) and len(text) > 100:
        return "{…}" if isinstance(value, dict) else "[…]"
    return text if len(text) <= 100 else f'{text[:98]}…"' if isinstance(value, str) else cut(text, 100)


def cut(text: str, length: int) -> str:
    """Cuts a text to so many characters, and makes invisible ones visible."""
    short = text if len(text) <= length else f"{text[: length - 1]}…"
    if short.isprintable():
        return short
    return cut("".join(sign if sign.isprintable() else f"\\u{ord(sign):04x}" for sign in short), length)

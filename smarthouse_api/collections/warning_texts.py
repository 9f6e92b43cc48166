"""Parts of the warnings about records: names and values of any length, cut short and printable."""

from __future__ import annotations

import json
from typing import Any, Final

_KINDS: Final = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "an array",
    dict: "an object",
}
MOST_NAMED: Final = 3
"""So many records, or members of one, are named; the others are counted."""


def and_more(count: int) -> str:
    """Say that a warning names one record and stands for `count` records."""
    return f" and {count - 1} more" if count > 1 else ""


def kind_of(value: Any) -> str:
    """Name the kind of a JSON value."""
    return _KINDS[type(value)]


def quoted(value: Any) -> str:
    """Write a value as short JSON; an object or an array without what is in it."""
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    return short(json.dumps(value[:50] if isinstance(value, str) else value, ensure_ascii=False, default=str))


def short(text: str) -> str:
    """Cut a text to 50 characters, all of them printable."""
    cut = text if len(text) <= 50 else f"{text[:49]}…"
    return cut if cut.isprintable() else "".join(sign if sign.isprintable() else "�" for sign in cut)

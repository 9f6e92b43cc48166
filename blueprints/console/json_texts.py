"""JSON that a person types: read by the rules of the APIs, and a fault told by its line and column."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from flask_babel import gettext

from blueprints.bodies import read_json
from smarthouse_api.errors import Invalid


def read_object(text: str) -> dict[str, Any]:
    """Read a JSON object. Raises `Invalid`, which tells the line and the column where the fault is known."""
    if not text.strip():
        raise Invalid(gettext("There is no text; it must be a JSON object"))
    try:
        found = read_json(text.encode())
    except Invalid as fault:
        raise Invalid(_placed(text) or fault.detail.replace("The body", "The text")) from None
    if not isinstance(found, dict):
        raise Invalid(gettext("This is JSON, but no object: it must begin with { and end with }"))
    return found


def pretty(value: Any, most: int | None = None) -> str:
    """Write JSON over several lines; at most so many characters of it."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return text if most is None or len(text) <= most else f"{text[:most]}…"


def one_line(value: Any, most: int) -> str:
    """Write JSON in one line, as it is sent; at most so many characters of it."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= most else f"{text[:most]}…"


def _placed(text: str) -> str | None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as fault:
        told = gettext("Line %(line)s, column %(column)s:", line=fault.lineno, column=fault.colno)
        return f"{told} {fault.msg}"
    return None

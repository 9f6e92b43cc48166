"""The header `Home-UUID`: the home whose data a request brings."""

from __future__ import annotations

from typing import Any, Final

from flask import request

from blueprints.current_request import house
from blueprints.openapi import header_parameter
from smarthouse_api.errors import Invalid
from smarthouse_api.states.homes import normalised_uuid

# A pattern: of `format: uuid` openapi-python-client makes an object that it then cannot send in a header.
UUID: Final = {"type": "string", "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"}
EXAMPLE: Final = "6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11"

NAMED_HOME: Final[dict[str, Any]] = header_parameter(
    "Home-UUID",
    "UUID of the home that all records of the request are of. `DELETE /api/ingest/data` then erases them with the home. The "
    "UUID is not stored. `Home_UUID` is accepted too.",
    schema=UUID,
    example=EXAMPLE,
)


def sent_uuid() -> str | None:
    """Read the normalised UUID of the home that a request names; None if it names none. Raises `Invalid`.

    Both spellings of the header reach WSGI as one, joined by a comma if both were sent.
    """
    given = request.headers.get("Home-UUID")
    if given is None:
        return None
    named = {normalised_uuid(text) for text in given.split(",")}
    if len(named) > 1:
        raise Invalid("Home-UUID and Home_UUID name different homes; send one of them, or the same in both")
    return named.pop()


def sent_home() -> str | None:
    """Name the home that a request names, without telling its UUID; None if it names none. Raises `Invalid`."""
    uuid = sent_uuid()
    return None if uuid is None else house().states.homes.tag(uuid)

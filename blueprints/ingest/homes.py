"""The home that sends a request to Ingest, by its UUID."""

from __future__ import annotations

from flask import request

from blueprints.current_request import house
from blueprints.ingest.receipts import admit
from smarthouse_api.errors import Invalid
from smarthouse_api.states.homes import normalised_uuid


def counted_home() -> str:
    """Read the normalised UUID of the home that sends the request, and count the request.

    The key is looked at first, so that a stranger learns nothing of a home. Raises `Invalid`, `TooMany`, `Unauthorized`,
    `Forbidden`.

    Both spellings of the header reach WSGI as one, joined by a comma if both were sent.
    """
    admit()
    given = request.headers.get("Home-UUID")
    if given is None:
        raise Invalid("The header Home-UUID (or Home_UUID) is missing; it must hold the home's UUID")
    named = {normalised_uuid(text) for text in given.split(",")}
    if len(named) > 1:
        raise Invalid("Home-UUID and Home_UUID name different homes; send one of them, or the same in both")
    uuid = named.pop()
    house().rates.count("home", house().states.homes.tag(uuid))
    return uuid

"""The home that sends a request to Ingest, by its UUID."""

from __future__ import annotations

from blueprints.current_request import house
from blueprints.home_uuid import sent_uuid
from blueprints.ingest.receipts import admit
from smarthouse_api.errors import Invalid


def counted_home() -> str:
    """Read the normalised UUID of the home that sends the request, and count the request.

    The key is looked at first, so that a stranger learns nothing of a home. Raises `Invalid`, `TooMany`, `Unauthorized`,
    `Forbidden`.
    """
    admit()
    if (uuid := sent_uuid()) is None:
        raise Invalid("The header Home-UUID (or Home_UUID) is missing; it must hold the home's UUID")
    house().rates.count("home", house().states.homes.tag(uuid))
    return uuid

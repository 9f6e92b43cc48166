"""The home that sends a request to Ingest, by its UUID."""

from __future__ import annotations

from blueprints.current_request import count_request, house
from blueprints.home_uuid import sent_uuid
from blueprints.ingest.receipts import admit
from smarthouse_api.errors import Invalid


def counted_home(*, asks_for_a_right: bool = False) -> str:
    """Read the normalised UUID of the home that sends the request, and count the request.

    The key is looked at first, so that a stranger learns nothing of a home. asks_for_a_right: what is asked for costs more than
    an upload, known or not, and is counted by itself, too. Raises `Invalid`, `TooMany`, `Unauthorized`, `Forbidden`.
    """
    admit()
    if asks_for_a_right:
        count_request("rights")
    if (uuid := sent_uuid()) is None:
        raise Invalid("The header Home-UUID (or Home_UUID) is missing; it must hold the home's UUID")
    house().rates.count("home", house().states.homes.tag(uuid))
    return uuid

"""Rate limits: what one address may ask of an API in a while."""

from __future__ import annotations

from flask import request

from blueprints.current import house


def count_request(api: str) -> None:
    """Counts the current request against the limit of its address. Raises `TooMany`.

    The API is a name that the rates know, such as `export`.
    """
    house().rates.count(api, request.remote_addr or "")

"""The current request: the house that serves it, how often its address may ask, and what its key opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from flask import current_app, request

from smarthouse_api.access.addresses import network_of
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.collections.model import Collection
from smarthouse_api.errors import NotFound
from smarthouse_api.house import House


def house() -> House:
    """Return the house of the application that serves the current request."""
    return cast(House, current_app.extensions["smarthouse"])


def count_request(api: str) -> None:
    """Count the current request against the limit of its client's address. Raises `TooMany`.

    The API is a name that the rates know, such as `export`.
    """
    house().rates.count(api, client_network())


def client_network() -> str:
    """Tell what is counted as the client of the current request: its address, or its network if that is IPv6."""
    return network_of(request.remote_addr or "")


def authenticate() -> KeyRecord:
    """Find out whose key the request shows in `Authorization`. Raises `Unauthorized`."""
    return house().access.authenticate(request.headers.get("Authorization"))


def granted(principal: KeyRecord, name: str, unknown: Callable[[], NotFound]) -> Collection:
    """Get a collection for the holder of a key. The name is its id or its alias; `unknown` makes the API's own error.

    Raises `Forbidden` if the key does not open it. A client without such a key does not learn whether the collection exists.
    """
    collection = house().collections.catalogue.get(name)
    house().access.require_collection(principal, collection.id if collection else None)
    if collection is None:
        raise unknown()
    return collection


def readable(name: str, unknown: Callable[[], NotFound]) -> Collection:
    """Get a collection to read from: a public one for every client, any other as `granted` does."""
    collection = house().collections.catalogue.get(name)
    return collection if collection is not None and collection.public else granted(authenticate(), name, unknown)

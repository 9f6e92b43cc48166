"""Authorization: whose key a request shows, and which collection it may use with that."""

from __future__ import annotations

from collections.abc import Callable

from flask import request

from blueprints.current import house
from smarthouse_api.access.keys import Principal
from smarthouse_api.collections.model import Collection
from smarthouse_api.errors import NotFound


def authenticate() -> Principal:
    """Finds out whose key the request shows in `Authorization`. Raises `Unauthorized`."""
    return house().access.authenticate(request.headers.get("Authorization"))


def granted(principal: Principal, name: str, unknown: Callable[[], NotFound]) -> Collection:
    """Gets a collection for the holder of a key. The name is its id or its alias; `unknown` makes the API's own error.

    Raises `Forbidden` where the key does not open it. A key that could not open it does not learn whether it exists.
    """
    collection = house().collections.catalogue.get(name)
    house().access.require_collection(principal, collection.id if collection else None)
    if collection is None:
        raise unknown()
    return collection


def readable(name: str, unknown: Callable[[], NotFound]) -> Collection:
    """Gets a collection to read from: a public one for anybody, any other as `granted` does."""
    collection = house().collections.catalogue.get(name)
    return collection if collection is not None and collection.public else granted(authenticate(), name, unknown)

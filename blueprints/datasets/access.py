"""Access to datasets: which dataset a path names, and whether the client may manage, write or read it."""

from __future__ import annotations

from typing import Final

from flask import request

from blueprints import authorization
from blueprints.authorization import authenticate
from blueprints.current import house
from blueprints.datasets.refusals import unknown, without_topic
from blueprints.idempotency import sent_key
from smarthouse_api.access.keys import Principal
from smarthouse_api.collections.model import Collection
from smarthouse_api.errors import Forbidden, Unauthorized

_NOBODY: Final = ""


def admit_operator() -> Principal:
    """Lets only an operator's key manage datasets. Raises `Unauthorized`, and `Forbidden` for any other key."""
    principal = authenticate()
    house().access.require_admin(principal)
    return principal


def granted(name: str) -> tuple[Collection, str]:
    """Gets the dataset for the holder of a key that opens it, and the id of that holder.

    Raises `Unauthorized`, `Forbidden`, `NotFound`.
    """
    principal = authenticate()
    return authorization.granted(principal, name.strip(), unknown), principal.owner.id


def readable(name: str) -> Collection:
    """Gets the dataset to read from: a public one for anybody, any other for the holder of a key that opens it."""
    return authorization.readable(name.strip(), unknown)


def writable(name: str) -> tuple[Collection, str]:
    """Gets the dataset to send data to, and the id of the key's holder; an empty id if no key is needed.

    Raises `Unauthorized`, `Forbidden`, `NotFound`.
    """
    if house().settings.access.datasets_require_token:
        collection, owner_id = granted(name)
        return _with_topic(collection), owner_id
    collection = _known(name)
    owner_id = _owner_id(collection) if collection.requires_token else _NOBODY
    return _with_topic(collection), owner_id


def sender() -> str:
    """Says who sends data without a need for a key: the id of the key's holder if a key is shown, else the address.

    Only the repeat of a request needs this, so that it is looked up only then.
    """
    if sent_key() is None:
        return _NOBODY
    try:
        return authenticate().owner.id
    except Unauthorized:
        return f"address {request.remote_addr}"


def _known(name: str) -> Collection:
    collection = house().collections.catalogue.get(name.strip())
    if collection is None:
        raise unknown()
    return collection


def _owner_id(collection: Collection) -> str:
    """Whose key opens it. Without such a key, a collection that takes no data is unknown: no data source shows here."""
    try:
        principal = authenticate()
        house().access.require_collection(principal, collection.id)
    except (Unauthorized, Forbidden):
        if collection.entry_topic is None:
            raise unknown() from None
        raise
    return principal.owner.id


def _with_topic(collection: Collection) -> Collection:
    if collection.entry_topic is None:
        raise without_topic()
    return collection

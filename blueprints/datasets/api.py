"""The API of datasets: its blueprint, how its views are documented, and who may manage, write or read a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flask import request
from flask_smorest import Blueprint
from marshmallow import Schema

from blueprints import current_request, path_segments
from blueprints.current_request import authenticate, count_request, house
from blueprints.datasets.schemas import in_envelope
from blueprints.dialects import problems
from blueprints.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADERS, sent_key
from blueprints.openapi import BEARER
from blueprints.parameters import refuse_unknown
from smarthouse_api.access.keys import KeyRecord
from smarthouse_api.collections.model import Collection
from smarthouse_api.errors import Forbidden, NotFound, Unauthorized

blueprint = Blueprint(
    "Datasets", __name__, url_prefix="/v2", description="Manage datasets; send data to them; consume it, and read it back"
)
blueprint.before_request(partial(count_request, "collections"))
blueprint.before_request(refuse_unknown)

route = partial(path_segments.route, blueprint)
"""Route a view of this API."""


def refuses(
    operation_id: str, *statuses: int, security: Any = BEARER, **described: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Document a view's name in clients, whether it needs a key, and which refusals are its own."""
    return problems(blueprint, operation_id, *statuses, **described, security=security)


def answers(
    operation_id: str,
    result: type[Schema],
    *statuses: int,
    repeatable: bool = False,
    headers: Sequence[dict[str, Any]] = (),
    **described: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Document a view: its name and its refusals as in `refuses`, and its result in the envelope.

    A repeatable view recognises a repeated request by its `Idempotency-Key`. headers: others that the request may have.
    """
    taken = [*headers, *([IDEMPOTENCY_KEY] if repeatable else [])]
    refusing = refuses(operation_id, *statuses, **({"parameters": taken} if taken else {}), **described)
    answering = blueprint.response(200, in_envelope(result), headers=REPLAYED_HEADERS if repeatable else None)
    return lambda view: answering(refusing(view))


def admit_operator() -> KeyRecord:
    """Let only an operator's key manage datasets. Raises `Unauthorized`, and `Forbidden` for any other key."""
    principal = authenticate()
    house().access.require_admin(principal)
    return principal


def granted(name: str) -> tuple[Collection, str]:
    """Get the dataset for the holder of a key that opens it, and the id of that holder.

    Raises `Unauthorized`, `Forbidden`, `NotFound`.
    """
    principal = authenticate()
    return current_request.granted(principal, name.strip(), _unknown), principal.owner.id


def readable(name: str) -> Collection:
    """Get the dataset to read from: a public one for every client, any other for the holder of a key that opens it."""
    return current_request.readable(name.strip(), _unknown)


def writable(name: str) -> tuple[Collection, str]:
    """Get the dataset to send data to, and the id of the key's holder; an empty id if no key is needed.

    Raises `Unauthorized`, `Forbidden`, `NotFound`.
    """
    if house().settings.access.datasets_require_token:
        collection, owner_id = granted(name)
    else:
        found = house().collections.catalogue.get(name.strip())
        if found is None:
            raise _unknown()
        collection, owner_id = found, _owner_id(found) if found.requires_token else ""
    if collection.entry_topic is None:
        raise NotFound("Entry topic is not defined", reason="TOPIC_NOT_FOUND")
    return collection, owner_id


def sender() -> str:
    """Say who sends data that needs no key: the id of the key's holder if the request shows a key, else the address.

    Only a request with an `Idempotency-Key` needs this, so it is looked up only then.
    """
    if sent_key() is None:
        return ""
    try:
        return authenticate().owner.id
    except Unauthorized:
        return f"address {request.remote_addr}"


def _owner_id(collection: Collection) -> str:
    """Return the id of the key's holder. Only a valid key lets a client learn of a collection that is no dataset."""
    try:
        principal = authenticate()
        house().access.require_collection(principal, collection.id)
    except (Unauthorized, Forbidden):
        if collection.entry_topic is None:
            raise _unknown() from None
        raise
    return principal.owner.id


def _unknown() -> NotFound:
    return NotFound("Dataset with id not found", reason="DATASET_NOT_FOUND")

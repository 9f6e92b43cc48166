"""The way in: which dataset is meant, and whether whoever asks may do that with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import request
from flask_smorest import Blueprint

from blueprints import envelope
from blueprints.bodies import plain_body, read_json
from blueprints.current import house
from blueprints.datasets.validation import Shape, fault_of
from blueprints.dialects import problems
from smarthouse_api.access.keys import Principal
from smarthouse_api.collections.model import Collection
from smarthouse_api.errors import Forbidden, Invalid, NotFound, Unauthorized

SECURITY: list[dict[str, list[str]]] = [{"Bearer": []}]
PERHAPS: list[dict[str, list[str]]] = [*SECURITY, {}]
"""Whether a key is needed is for the dataset to say."""

_NOBODY: Final = ""

blueprint = Blueprint(
    "Datasets", __name__, url_prefix="/v2", description="Manage datasets; send data to them; consume it, and read it back"
)


@blueprint.before_request
def count() -> None:
    house().rates.count("collections", request.remote_addr or "")


def route(rule: str, **options: Any) -> Callable[[Any], Any]:
    """A route of this API. Two slashes stand for an empty name, which nothing has."""
    routed: Callable[[Any], Any] = blueprint.route(rule, merge_slashes=False, **options)
    return routed


def answers(*statuses: int, **described: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Document a view: it may refuse with these, and with what every view here refuses with."""
    return problems(blueprint, *sorted({400, 429, 500, 503, *statuses}), **described)


def _principal() -> Principal:
    return house().access.authenticate(request.headers.get("Authorization"))


def admit_operator() -> Principal:
    """Raises `Unauthorized`, and `Forbidden` for any key but an operator's."""
    found = _principal()
    house().access.require_admin(found)
    return found


def given(shape: Shape, body: bytes) -> dict[str, Any]:
    """What the request's body says. Raises `Invalid` for the first fault in it."""
    sent = read_json(body)
    envelope.note_message(sent)
    if (fault := fault_of(sent, shape)) is not None:
        raise Invalid(fault)
    return dict(sent)


def asked(shape: Shape) -> dict[str, Any]:
    """The `request` in the request's body; empty if there is none and there need not be. Raises `Invalid`."""
    body = plain_body()
    return dict(given(shape, body).get("request", {})) if body or "required" in shape else {}


def granted(name: str) -> tuple[Collection, str]:
    """The dataset, for whoever shows a key that opens it, and the id of whose key that is.

    Raises `Unauthorized`, `Forbidden`, `NotFound`.
    """
    found = _principal()
    collection = _get(name)
    house().access.require_collection(found, collection.id if collection else None)
    return _there(collection), found.owner.id


def readable(name: str) -> Collection:
    """The same, or a public one for anybody."""
    collection = _get(name)
    return collection if collection is not None and collection.public else granted(name)[0]


def writable(name: str) -> tuple[Collection, str]:
    """The dataset that data may be sent to, and the id of whose key allows it, if that is needed.

    Raises `Unauthorized`, `Forbidden`, `NotFound`.
    """
    if house().settings.access.datasets_require_token:
        collection, owner_id = granted(name)
        return _with_topic(collection), owner_id
    collection = _there(_get(name))
    owner_id = _owner_id(collection) if collection.requires_token else _NOBODY
    return _with_topic(collection), owner_id


def _owner_id(collection: Collection) -> str:
    """Whose key opens it. Who has none does not learn of what no data can be sent to, so that no data source shows here."""
    try:
        found = _principal()
        house().access.require_collection(found, collection.id if collection else None)
    except (Unauthorized, Forbidden):
        if collection.entry_topic is None:
            raise _unknown() from None
        raise
    return found.owner.id


def sender() -> str:
    """Whoever asks, where no key is needed: the id of the key that is shown all the same, or the address.

    Of no use, and not looked up, but where a repeat is to be known again.
    """
    if "Idempotency-Key" not in request.headers:
        return _NOBODY
    try:
        return _principal().owner.id
    except Unauthorized:
        return f"address {request.remote_addr}"


def _get(name: str) -> Collection | None:
    return house().collections.catalogue.get(name.strip())


def _there(collection: Collection | None) -> Collection:
    if collection is None:
        raise _unknown()
    return collection


def _unknown() -> NotFound:
    return NotFound("Dataset with id not found", reason="DATASET_NOT_FOUND")


def _with_topic(collection: Collection) -> Collection:
    if collection.entry_topic is None:
        raise NotFound("Entry topic is not defined", reason="TOPIC_NOT_FOUND")
    return collection

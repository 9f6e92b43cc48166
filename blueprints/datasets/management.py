"""Datasets, managed by the operator."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

from flask import Response

from blueprints import envelope
from blueprints.bodies import plain_body
from blueprints.current import house
from blueprints.datasets.access import admit_operator
from blueprints.datasets.api import SECURITY, answers, blueprint, route
from blueprints.datasets.bodies import request_in, sent_request
from blueprints.datasets.definitions import Members, chosen, dataset_object, members_of, version_key, warnings_of
from blueprints.datasets.openapi import (
    ALIAS_EXAMPLE,
    CREATE_EXAMPLE,
    DATASET_ID,
    LIST_EXAMPLE,
    UPDATE_EXAMPLE,
    json_body,
)
from blueprints.datasets.refusals import (
    alias_exists,
    alias_missing,
    alias_unnamed,
    nothing_to_change,
    outdated,
    unknown_fields,
    unknown_to_change,
    unknown_to_describe,
)
from blueprints.datasets.request_schemas import ALIAS, CREATE, LIST, UPDATE
from blueprints.datasets.schemas import (
    AliasedSchema,
    CreatedSchema,
    DatasetSchema,
    DatasetsSchema,
    ReadSchema,
    UpdatedSchema,
    enveloped,
)
from blueprints.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADERS, replayed_header, request_key
from smarthouse_api.collections.catalogue import Settled
from smarthouse_api.collections.definitions import define
from smarthouse_api.collections.model import Collection
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import NotFound


@route("/datasets/create", methods=["POST"])
@blueprint.response(200, enveloped(CreatedSchema), headers=REPLAYED_HEADERS)
@answers(
    *(401, 403, 409, 413, 415),
    parameters=[IDEMPOTENCY_KEY],
    requestBody=json_body(CREATE, CREATE_EXAMPLE),
    security=SECURITY,
)
def create() -> Response:
    """Create a dataset. It is live at once."""
    operator = admit_operator()
    body = plain_body()
    request = request_in(body, CREATE)
    made = house().collections.catalogue.create(define(members_of(request)), request_key(operator.owner.id, body))
    told = {"id": made.collection.id, "version_key": version_key(made.collection), **_warned(request)}
    return _told(told, made)


@route("/datasets/read/<segment:dataset_id>", parameters=[DATASET_ID])
@blueprint.arguments(ReadSchema(), location="query", error_status_code=400)
@blueprint.response(200, enveloped(DatasetSchema))
@answers(401, 403, 404, security=SECURITY)
def read(query: dict[str, Any], dataset_id: str) -> Response:
    """Read a dataset's definition."""
    admit_operator()
    found = _known(dataset_id, unknown_to_describe)
    return envelope.response(_only(dataset_object(found), query.get("names")))


@route("/datasets/list", methods=["POST"])
@blueprint.response(200, enveloped(DatasetsSchema))
@answers(401, 403, 413, 415, requestBody=json_body(LIST, LIST_EXAMPLE), security=SECURITY)
def list_() -> Response:
    """List datasets."""
    admit_operator()
    some = chosen(house().collections.catalogue.everything(), sent_request(LIST))
    return envelope.response({"data": list(map(dataset_object, some)), "count": len(some)})


@route("/datasets/update", methods=["PATCH"])
@blueprint.response(200, enveloped(UpdatedSchema))
@answers(401, 403, 404, 409, 413, 415, requestBody=json_body(UPDATE, UPDATE_EXAMPLE), security=SECURITY)
def update() -> Response:
    """Change a dataset's definition. The change applies to later records."""
    admit_operator()
    request = sent_request(UPDATE)
    after = _updated(request)
    told = {"message": "Dataset is updated successfully", "id": after.id, "version_key": version_key(after)}
    return envelope.response(told | _warned(request))


@route("/datasets/alias", methods=["POST"])
@blueprint.response(200, enveloped(AliasedSchema), headers=REPLAYED_HEADERS)
@answers(
    *(401, 403, 404, 409, 413, 415),
    parameters=[IDEMPOTENCY_KEY],
    requestBody=json_body(ALIAS, ALIAS_EXAMPLE),
    security=SECURITY,
)
def alias() -> Response:
    """Attach an alias to a dataset, or detach it."""
    operator = admit_operator()
    body = plain_body()
    request = request_in(body, ALIAS)
    done = _aliased(request, request_key(operator.owner.id, body))
    words = f"Dataset alias name '{done.collection.alias or done.alias_before}' {request['action']}ed successfully"
    return _told({"message": words, "dataset_id": done.collection.id}, done)


def _updated(request: Members) -> Collection:
    """The dataset as the request changes it. Raises `Invalid`, `NotFound`, `InUse`."""
    if not request.keys() - {"dataset_id", "version_key"}:
        raise nothing_to_change()
    before = _known(request["dataset_id"], unknown_to_change)
    if request.get("version_key", version_key(before)) != version_key(before):
        raise outdated()
    changes, seen = members_of(request, before), before if "version_key" in request else None
    return house().collections.catalogue.update(before.id, changes, seen=seen).collection if changes else before


def _aliased(request: Members, repeat: RequestKey | None) -> Settled:
    """What became of the alias, now or when the same request came before. Raises `Invalid`, `NotFound`, `InUse`."""
    catalogue = house().collections.catalogue
    if (earlier := catalogue.earlier(repeat)) is not None:
        return earlier
    before = _known(request["dataset_id"], unknown_to_change)
    alias = _attached(before, request.get("alias_name")) if request["action"] == "attach" else _detached(before)
    return catalogue.update(before.id, {"alias": alias}, seen=before, request_key=repeat)


def _told(result: Members, done: Settled) -> Response:
    """The answer to what was done, which is the same bytes for the same request."""
    one = done.collection
    digest = sha256(f"{one.key} {version_key(one)}".encode()).digest()
    id_ = str(UUID(bytes=digest[:16], version=4))
    return envelope.response(result, replayed_header(done.replayed), id_=id_, at=one.updated_at)


def _known(name: str, unknown: Callable[[str], NotFound]) -> Collection:
    found = house().collections.catalogue.get(name.strip())
    if found is None:
        raise unknown(name)
    return found


def _attached(one: Collection, name: str | None) -> str:
    if name is None:
        raise alias_unnamed()
    if one.alias is not None:
        raise alias_exists(one.alias)
    return name


def _detached(one: Collection) -> str | None:
    if one.alias is None:
        raise alias_missing(one.id)
    return None


def _only(told: Members, fields: str | None) -> Members:
    """The members of a dataset that were asked for, by names parted by commas."""
    if not fields:
        return told
    names = fields.split(",")
    if unknown := [name for name in names if name not in told]:
        raise unknown_fields(unknown)
    return {name: told[name] for name in names}


def _warned(request: Members) -> Members:
    warnings = warnings_of(request)
    return {"warnings": warnings} if warnings else {}

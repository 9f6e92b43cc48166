"""Datasets, managed by the operator."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from flask import Response

from blueprints import envelope
from blueprints.bodies import plain_body
from blueprints.current import house
from blueprints.datasets.access import SECURITY, admit_operator, answers, asked, blueprint, given, route
from blueprints.datasets.definitions import Members, chosen, dataset_object, members_of, version_key, warnings_of
from blueprints.datasets.openapi import (
    ALIAS_EXAMPLE,
    CREATE_EXAMPLE,
    DATASET_ID,
    LIST_EXAMPLE,
    UPDATE_EXAMPLE,
    json_body,
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
from blueprints.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADERS, repeated, replay
from smarthouse_api.collections.catalogue import Settled
from smarthouse_api.collections.definitions import define
from smarthouse_api.collections.model import Collection
from smarthouse_api.errors import InUse, Invalid, NotFound

_NO_FIELDS: Final = "Provide at least one member besides dataset_id and version_key, to say what is to change"
_OUTDATED: Final = "The dataset was changed since it was read; read it again, and send its new version_key"


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
    request = given(CREATE, body)["request"]
    made = house().collections.catalogue.create(define(members_of(request)), repeated(operator.owner.id, body))
    one = made.collection
    told = {"id": one.id, "version_key": version_key(one), **_warned(request)}
    return _told(told, made)


@route("/datasets/read/<segment:dataset_id>", parameters=[DATASET_ID])
@blueprint.arguments(ReadSchema(), location="query", error_status_code=400)
@blueprint.response(200, enveloped(DatasetSchema))
@answers(401, 403, 404, security=SECURITY)
def read(query: dict[str, Any], dataset_id: str) -> Response:
    """Read a dataset's definition."""
    admit_operator()
    if (found := house().collections.catalogue.get(dataset_id.strip())) is None:
        words = f"Dataset with the given dataset_id:{_shown(dataset_id)} not found"
        raise NotFound(words, "NOT_FOUND", reason="DATASET_NOT_FOUND")
    return envelope.told(_only(dataset_object(found), query.get("names")))


@route("/datasets/list", methods=["POST"])
@blueprint.response(200, enveloped(DatasetsSchema))
@answers(401, 403, 413, 415, requestBody=json_body(LIST, LIST_EXAMPLE), security=SECURITY)
def list_() -> Response:
    """List datasets."""
    admit_operator()
    some = chosen(house().collections.catalogue.everything(), asked(LIST))
    return envelope.told({"data": list(map(dataset_object, some)), "count": len(some)})


@route("/datasets/update", methods=["PATCH"])
@blueprint.response(200, enveloped(UpdatedSchema))
@answers(401, 403, 404, 409, 413, 415, requestBody=json_body(UPDATE, UPDATE_EXAMPLE), security=SECURITY)
def update() -> Response:
    """Change a dataset's definition. The change applies to later records."""
    admit_operator()
    request = asked(UPDATE)
    if not request.keys() - {"dataset_id", "version_key"}:
        raise Invalid(_NO_FIELDS, reason="DATASET_UPDATE_NO_FIELDS")
    before = _known(request["dataset_id"])
    if request.get("version_key", version_key(before)) != version_key(before):
        raise InUse(_OUTDATED, reason="DATASET_OUTDATED")
    changes, seen = members_of(request, before), before if "version_key" in request else None
    after = house().collections.catalogue.update(before.id, changes, seen=seen).collection if changes else before
    told = {"message": "Dataset is updated successfully", "id": after.id, "version_key": version_key(after)}
    return envelope.told(told | _warned(request))


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
    request = given(ALIAS, body)["request"]
    catalogue, request_key = house().collections.catalogue, repeated(operator.owner.id, body)
    if (done := catalogue.earlier(request_key)) is None:
        before = _known(request["dataset_id"])
        name = _attached(before, request.get("alias_name")) if request["action"] == "attach" else _detached(before)
        done = catalogue.update(before.id, {"alias": name}, seen=before, request_key=request_key)
    words = f"Dataset alias name '{done.collection.alias or done.alias_before}' {request['action']}ed successfully"
    return _told({"message": words, "dataset_id": done.collection.id}, done)


def _told(result: Members, done: Settled) -> Response:
    """The answer to what was done, which is the same bytes for the same request."""
    one = done.collection
    digest = sha256(f"{one.key} {version_key(one)}".encode()).digest()
    id_ = str(UUID(bytes=digest[:16], version=4))
    return envelope.told(result, replay(done.replayed), id_=id_, at=one.updated_at)


def _known(name: str) -> Collection:
    found = house().collections.catalogue.get(name.strip())
    if found is None:
        raise NotFound(f"Dataset does not exists with id:{_shown(name)}", reason="DATASET_NOT_EXISTS")
    return found


def _shown(name: str) -> str:
    """A name out of a path, which may hold what is no character."""
    return name[:100].encode(errors="replace").decode()


def _attached(one: Collection, name: str | None) -> str:
    if name is None:
        raise Invalid("#properties/request/then/required should have required property 'alias_name'")
    if one.alias is not None:
        raise InUse(
            f"Dataset already has alias '{one.alias}' associated with it; detach it first", reason="DATASET_ALIAS_EXISTS"
        )
    return name


def _detached(one: Collection) -> str | None:
    if one.alias is None:
        raise NotFound(f"Dataset '{one.id}' does not have any alias associated with it", reason="DATASET_ALIAS_NOT_EXISTS")
    return None


def _only(told: Members, fields: str | None) -> Members:
    """The members of a dataset that were asked for, by names parted by commas."""
    if not fields:
        return told
    names = fields.split(",")
    if unknown := [name for name in names if name not in told]:
        raise Invalid(f"The specified fields [{','.join(unknown)[:100]}] in the dataset cannot be found.")
    return {name: told[name] for name in names}


def _warned(request: Members) -> Members:
    warnings = warnings_of(request)
    return {"warnings": warnings} if warnings else {}

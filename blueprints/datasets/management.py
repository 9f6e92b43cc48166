"""Management of datasets by the operator. Refusals have Obsrv's own words and codes, which its clients know."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from flask import Response

from blueprints import envelope
from blueprints.bodies import text_body
from blueprints.current_request import house
from blueprints.datasets import openapi, schemas
from blueprints.datasets.api import admit_operator, answers, blueprint, route
from blueprints.datasets.bodies import request_in
from blueprints.datasets.body_schemas import ALIAS, CREATE, LIST, UPDATE
from blueprints.datasets.descriptions import chosen, dataset_object, version_key
from blueprints.datasets.kept import Members
from blueprints.datasets.translation import members_of, warnings_of
from blueprints.idempotency import replayed_header, request_key
from smarthouse_api.collections.catalogue import SavedCollection
from smarthouse_api.collections.model import Collection, define
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import InUse, Invalid, NotFound

_DONE: Final = {"attach": "attached", "detach": "detached", None: "updated"}


@route("/datasets/create", methods=["POST"])
@answers("createDataset", schemas.CreatedSchema, 409, requestBody=openapi.CREATE_BODY, repeatable=True)
def create() -> Response:
    """Create a dataset. It is live at once."""
    operator = admit_operator()
    body = text_body()
    request = request_in(body, CREATE)
    made = _created(request, request_key(operator.owner.id, body))
    told = {"id": made.collection.id, "version_key": version_key(made.collection), **warnings_of(request)}
    return _settled(told, made)


@route("/datasets/read/<segment:dataset_id>", parameters=[openapi.DATASET_ID])
@blueprint.arguments(schemas.ReadSchema(), location="query", error_status_code=400)
@answers("readDataset", schemas.DatasetSchema)
def read(query: dict[str, Any], dataset_id: str) -> Response:
    """Read a dataset's definition."""
    admit_operator()
    names = _members_in(query.get("names", ""))
    found = house().collections.catalogue.get(dataset_id.strip())
    if found is None:
        words = f"Dataset with the given dataset_id:{_shown(dataset_id)} not found"
        raise NotFound(words, "NOT_FOUND", reason="DATASET_NOT_FOUND")
    told = dataset_object(found)
    return envelope.response({name: told[name] for name in names or told})


@route("/datasets/list", methods=["POST"])
@answers("listDatasets", schemas.DatasetListSchema, requestBody=openapi.LIST_BODY)
def list_() -> Response:
    """List datasets."""
    admit_operator()
    some = chosen(house().collections.catalogue.everything(), request_in(text_body(), LIST))
    return envelope.response({"data": list(map(dataset_object, some)), "count": len(some)})


@route("/datasets/update", methods=["PATCH"])
@answers("updateDataset", schemas.UpdatedSchema, 404, 409, requestBody=openapi.UPDATE_BODY)
def update() -> Response:
    """Change a dataset's definition. The change applies to later records."""
    admit_operator()
    request = request_in(text_body(), UPDATE)
    after = _updated(request)
    told = {"message": "Dataset is updated successfully", "id": after.id, "version_key": version_key(after)}
    return envelope.response(told | warnings_of(request))


@route("/datasets/alias", methods=["POST"])
@answers("aliasDataset", schemas.AliasedSchema, 404, 409, requestBody=openapi.ALIAS_BODY, repeatable=True)
def alias() -> Response:
    """Attach an alias to a dataset, detach it or, without an action, replace it."""
    operator = admit_operator()
    body = text_body()
    request = request_in(body, ALIAS)
    done = _aliased(request, request_key(operator.owner.id, body))
    name = done.alias_before if request.get("action") == "detach" else done.collection.alias
    words = f"Dataset alias name '{name}' {_DONE[request.get('action')]} successfully"
    return _settled({"message": words, "dataset_id": done.collection.id}, done)


def _created(request: Members, repeat: RequestKey | None) -> SavedCollection:
    """Create the dataset, or find what the same request created before. Raises `Invalid`, `InUse`."""
    catalogue = house().collections.catalogue
    if catalogue.earlier(repeat) is None and catalogue.get(request["dataset_id"]) is not None:
        raise InUse(f"Dataset Already exists with id:{_shown(request['dataset_id'])}", reason="EXISTS")
    fields = [one["denorm_out_field"] for one in request.get("denorm_config", {}).get("denorm_fields", ())]
    if len(fields) > len({*fields}):
        raise Invalid("Duplicate denorm output fields found.", reason="DATASET_DUPLICATE_DENORM_KEY")
    return catalogue.create(define(members_of(request)), repeat)


def _updated(request: Members) -> Collection:
    """Change the dataset as the request asks. Raises `Invalid`, `NotFound`, `InUse`."""
    if not request.keys() - {"dataset_id", "version_key"}:
        words = "Provide atleast one field in addition to the dataset_id to update the dataset"
        raise Invalid(words, reason="DATASET_UPDATE_NO_FIELDS")
    before = _to_change(request["dataset_id"])
    if request.get("version_key", version_key(before)) != version_key(before):
        words = "The dataset is outdated. Please try to fetch latest changes of the dataset and perform the updates"
        raise InUse(words, reason="DATASET_OUTDATED")
    seen = before if "version_key" in request else None
    return house().collections.catalogue.update(before.id, partial(members_of, request), seen=seen).collection


def _aliased(request: Members, repeat: RequestKey | None) -> SavedCollection:
    """Change the alias, or find what the same request did before. Raises `Invalid`, `NotFound`, `InUse`."""
    catalogue = house().collections.catalogue
    if (earlier := catalogue.earlier(repeat)) is not None:
        return earlier
    before = _to_change(request["dataset_id"])
    return catalogue.update(before.id, {"alias": _alias_after(request, before)}, seen=before, request_key=repeat)


def _settled(result: Members, done: SavedCollection) -> Response:
    """Answer with what was done, in the same bytes for the same request."""
    one = done.collection
    digest = sha256(f"{one.key} {version_key(one)}".encode()).digest()
    id_ = str(UUID(bytes=digest[:16], version=4))
    return envelope.response(result, replayed_header(done.replayed), id_=id_, at=one.updated_at)


def _to_change(name: str) -> Collection:
    found = house().collections.catalogue.get(name.strip())
    if found is None:
        raise NotFound(f"Dataset does not exists with id:{_shown(name)}", reason="DATASET_NOT_EXISTS")
    return found


def _alias_after(request: Members, one: Collection) -> str | None:
    """Find the alias that the dataset is to have. Raises `Invalid`, `NotFound`, `InUse`."""
    if "table_name" in request:
        raise NotFound(f"Table does not exists with name:{_shown(request['table_name'])}", reason="TABLE_NOT_EXISTS")
    if request.get("action") == "detach":
        if one.alias is None:
            words = f"Dataset '{one.id}' does not have any alias associated with it"
            raise NotFound(words, reason="DATASET_ALIAS_NOT_EXISTS")
        return None
    if "alias_name" not in request:
        raise Invalid("#properties/request/required should have required property 'alias_name'")
    if "action" in request and one.alias is not None:
        words = f"Dataset already has alias '{one.alias}' associated with it. Please detach the existing alias and try again"
        raise InUse(words, reason="DATASET_ALIAS_EXISTS")
    return str(request["alias_name"])


def _members_in(fields: str) -> list[str]:
    """Read which members of a dataset are asked for; empty for all. Raises `Invalid` for one that no dataset has."""
    names = fields.split(",") if fields else []
    known = schemas.DatasetSchema().fields
    if unknown := [name for name in names if name not in known]:
        raise Invalid(f"The specified fields [{','.join(unknown)[:100]}] in the dataset cannot be found.")
    return names


def _shown(name: str) -> str:
    """Shorten a name from a path for a message. Bytes of it that are not UTF-8 become `?`."""
    return name[:100].encode(errors="replace").decode()

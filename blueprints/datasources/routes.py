"""Data sources: records go in, and can be read back."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Generic, TypeVar

import msgspec
from flask import Response
from flask_smorest import Blueprint

from blueprints.bodies import read_records, text_body
from blueprints.current_request import authenticate, count_request, granted, house, readable
from blueprints.datasources.schemas import BODY, DATASOURCE_ID, READ, InsertedSchema
from blueprints.dialects import problems
from blueprints.home_uuid import NAMED_HOME, sent_home
from blueprints.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADERS, replayed_header, request_key
from blueprints.openapi import BEARER, OPTIONAL_BEARER
from blueprints.parameters import refuse_unknown
from blueprints.path_segments import route
from blueprints.records import HEADERS, RecordsSchema, records_response
from blueprints.responses import json_response
from smarthouse_api.collections.fast_path import UniformReader
from smarthouse_api.errors import Invalid, NotFound

blueprint = Blueprint(
    "Datasources", __name__, url_prefix="/restapi/datasource", description="Insert records into a data source; read them back"
)

Records = TypeVar("Records")


class _Insert(msgspec.Struct, Generic[Records], forbid_unknown_fields=True):
    """Reads the usual form of an insertion quickly. `read_json` reads any other form."""

    datasource_id: str
    data: Records


_INSERTS: Final = UniformReader(_Insert)


blueprint.before_request(partial(count_request, "collections"))
blueprint.before_request(refuse_unknown)


@blueprint.route("/insert", methods=["POST"])
@blueprint.response(200, InsertedSchema, headers=REPLAYED_HEADERS)
@problems(
    blueprint,
    "insertRecords",
    *(404, 410, 422),
    parameters=[NAMED_HOME, IDEMPOTENCY_KEY],
    requestBody=BODY,
    security=BEARER,
)
def insert() -> Response:
    """Insert records into a data source: all of them are stored durably, or none."""
    principal = authenticate()
    body = text_body()
    given, home = _object(body), sent_home()
    collection = granted(principal, _id(given), _unknown)
    accepted = house().collections.accepting.accept(
        collection,
        _records(given),
        refuse_faulty=True,
        request_key=request_key(principal.owner.id, body),
        home=home,
    )
    told: dict[str, Any] = {"message": "Data successfully inserted", "inserted_rows": accepted.stored}
    if accepted.warnings:
        told["warnings"] = accepted.warnings
    return json_response(told, headers=replayed_header(accepted.replayed))


@route(blueprint, "/<segment:datasource_id>/records", parameters=[DATASOURCE_ID])
@blueprint.arguments(RecordsSchema(), location="query", error_status_code=400)
@blueprint.doc(responses={"200": {"description": "The records", "content": READ, "headers": HEADERS}})
@problems(blueprint, "readRecords", security=OPTIONAL_BEARER)
def records(query: dict[str, Any], datasource_id: str) -> Response:
    """Read records back, in the order of their arrival.

    A public data source needs no token.
    """
    collection = readable(datasource_id, _unknown)
    before = b'{"datasource_id":' + msgspec.json.encode(collection.id) + b","
    return records_response(collection, query, before)


def _object(body: bytes) -> dict[str, Any]:
    given = read_records(body, _INSERTS)
    if not isinstance(given, dict):
        raise Invalid('The body is not a JSON object, such as {"datasource_id": "67890", "data": [{"value": 21.2}]}')
    return given


def _id(given: dict[str, Any]) -> str:
    id_ = given.get("datasource_id")
    if not isinstance(id_, str) or not id_.strip():
        what = "is missing" if "datasource_id" not in given else "is blank" if isinstance(id_, str) else "is not a text"
        raise Invalid(f"datasource_id: {what}; it must be the id of a data source, as a text")
    return id_


def _records(given: dict[str, Any]) -> list[Any]:
    records = given.get("data")
    if not isinstance(records, list) or not records:
        what = "is missing" if "data" not in given else "is empty" if records == [] else "is not an array"
        raise Invalid(f"data: {what}; it must be an array of one or more JSON objects")
    return records


def _unknown() -> NotFound:
    return NotFound("This data source does not exist; an operator can create it with `smarthouse collections create`")

"""Translate Obsrv's words for a dataset into a collection's definition, and back."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final

from blueprints.current_request import house
from blueprints.datasets.body_schemas import USED
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.collections.model import MESSAGE_ID, OFF, STRICT, Collection

Members = dict[str, Any]

_ORDERS: Final = {"created_date": "created_at", "updated_date": "updated_at", "name": "name", "dataset_id": "id"}
"""What the names in `body_schemas.SORTED_BY` are here."""


def members_of(request: Members, before: Collection | None = None) -> Members:
    """Translate a request into the members of a definition that it names.

    before: the dataset that the request updates; None if it creates one.
    """
    dataset, router = request.get("dataset_config", {}), request.get("router_config", {})
    keys = dataset.get("keys_config", {})
    if not router.get("topic"):
        router = {}  # Obsrv's own default for it is an empty text
    given: Members = {
        **{name: request[name] for name in ("name", "alias", "requires_token", "public", "retention") if name in request},
        **_first("timestamp_field", (request, "timestamp_field"), (keys, "timestamp_key"), (dataset, "timestamp_key")),
        **_deduplication(request, before),
        **_first("entry_topic", (request, "entry_topic"), (dataset, "entry_topic"), (router, "topic")),
        **_schema(request, before),
    }
    if before is None:
        # As with Obsrv, whose requests name no topic, and whose datasets are validated unless they say otherwise.
        given = {"id": request["dataset_id"], "entry_topic": request["dataset_id"], **given}
        given.setdefault("mode", STRICT if given.get("schema") else OFF)
    elif given.get("schema") and before.schema is None:
        given.setdefault("mode", STRICT)
    return given


def warnings_of(request: Members) -> Members:
    """Name the members of a request that are not used here, as the member `warnings` of the answer; empty if there are none."""
    told = [f"{name} is not used here" for name in request if name not in (*USED, "dataset_id", "version_key", "type")]
    if "drop_duplicates" in request.get("dedup_config", {}) and "extraction_config" in request:
        told.append("extraction_config.dedup_config is not used beside dedup_config")
    if _misplaced(request.get("data_schema")):
        told.append("data_schema.properties.required is no schema; it was left out")
    return {"warnings": told} if told else {}


def _first(member: str, *places: tuple[Members, str]) -> Members:
    """Take the member from the first place that names it; an empty text becomes None."""
    return next(({member: place[name] or None} for place, name in places if name in place), {})


def _deduplication(request: Members, before: Collection | None) -> Members:
    config = request.get("dedup_config", {})
    extraction = request.get("extraction_config", {}).get("dedup_config", {})
    period = {"dedup_seconds": config["dedup_period"]} if config.get("dedup_period") else {}
    if "drop_duplicates" in config:
        return {"dedup_key": _key(request, config, before) if config["drop_duplicates"] else None, **period}
    if "drop_duplicates" in extraction:
        return {"dedup_key": MESSAGE_ID if extraction["drop_duplicates"] else None, **period}
    return period


def _key(request: Members, config: Members, before: Collection | None) -> str:
    key = config.get("dedup_key", MESSAGE_ID)
    properties = (request.get("data_schema", before and before.schema) or {}).get("properties")
    is_member = isinstance(properties, dict) and "msgid" in properties
    # Obsrv puts the request's beside each record under this name.
    return MESSAGE_ID if key == "msgid" and not is_member else str(key)


def _schema(request: Members, before: Collection | None) -> Members:
    given: Members = {}
    validation = request.get("validation_config", {})
    if "data_schema" in request:
        given["schema"] = _mended(request["data_schema"])
    if validation.get("mode") == "IgnoreNewFields":
        schema = given.get("schema", before and before.schema)
        given |= {"schema": {**schema, "additionalProperties": True}} if schema else {}
    if "mode" in request:
        given["mode"] = request["mode"]
    elif "validate" in validation:
        given["mode"] = STRICT if validation["validate"] else OFF
    return given


def _mended(schema: Members | None) -> Members | None:
    """Remove a misplaced `required` from the schema: Obsrv's examples have a list of names where a member's schema belongs."""
    if schema is None or not _misplaced(schema):
        return schema
    return {**schema, "properties": {name: one for name, one in schema["properties"].items() if name != "required"}}


def _misplaced(schema: Members | None) -> bool:
    properties = (schema or {}).get("properties")
    return isinstance(properties, dict) and isinstance(properties.get("required"), list)


def dataset_object(one: Collection) -> Members:
    """Describe a dataset as Obsrv does, with the members that go beyond Obsrv.

    `stream` is the Redis stream that its topic can be read from; null elsewhere.
    """
    return {
        "id": one.id,
        "dataset_id": one.id,
        "name": one.name,
        "alias": one.alias,
        "type": "event",
        "status": "Live",
        "tags": [],
        "version": 1,
        "api_version": "v2",
        "version_key": version_key(one),
        "data_schema": one.schema,
        "validation_config": {"validate": one.mode != OFF, "mode": "Strict"},
        "dedup_config": {
            "drop_duplicates": one.dedup_key is not None,
            "dedup_key": one.dedup_key,
            "dedup_period": int(one.dedup_seconds) if one.dedup_seconds.is_integer() else one.dedup_seconds,
        },
        "dataset_config": {"keys_config": {"timestamp_key": one.timestamp_field or ""}, "entry_topic": one.entry_topic},
        "router_config": {"topic": one.entry_topic or ""},
        "entry_topic": one.entry_topic,
        "mode": one.mode,
        "timestamp_field": one.timestamp_field,
        "requires_token": one.requires_token,
        "public": one.public,
        "retention": {"seconds": one.retention.seconds, "bytes": one.retention.bytes},
        "stream": house().collections.topic.stream_name(one),
        "created_date": one.created_at.isoformat(timespec="milliseconds"),
        "updated_date": one.updated_at.isoformat(timespec="milliseconds"),
    }


def version_key(one: Collection) -> str:
    """Return the key that changes with every change of the dataset."""
    return str(microseconds(one.updated_at))


def chosen(some: Iterable[Collection], request: Members) -> list[Collection]:
    """Filter, sort and cut the datasets as a list request asks."""
    filters = {name: {*one} if isinstance(one, list) else {one} for name, one in request.get("filters", {}).items()}
    passing = [one for one in some if all(_facts(one)[name] & wanted for name, wanted in filters.items())]
    for by in reversed(request.get("sortBy", [])):
        name = _ORDERS[by.get("field") or by.get("column") or "dataset_id"]
        passing.sort(key=attrgetter(name), reverse=by["order"] == "desc")
    offset, limit = request.get("offset", 0), request.get("limit")
    return passing[offset : None if limit is None else offset + limit]


def _facts(one: Collection) -> dict[str, set[str | None]]:
    return {
        "status": {"Live"},
        "type": {"event", "dataset"},
        "dataset_id": {one.id},
        "alias": {one.alias},
        "name": {one.name},
    }

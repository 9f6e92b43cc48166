"""Translate Obsrv's words for a dataset into a collection's definition."""

from __future__ import annotations

from blueprints.datasets.kept import Members, kept_of, unused_in
from smarthouse_api.collections.model import DEDUP_SECONDS, MESSAGE_ID, OFF, STRICT, Collection


def members_of(request: Members, before: Collection | None = None) -> Members:
    """Translate a request into the members of a definition that it names.

    before: the dataset that the request updates; None if it creates one.
    """
    dataset, router = request.get("dataset_config", {}), request.get("router_config", {})
    keys = dataset.get("keys_config", {})
    if router.get("topic") == "":
        router = {}  # Obsrv's own default for it
    given: Members = {
        **{name: request[name] for name in ("name", "alias", "requires_token", "public") if name in request},
        **({"retention": request["retention"] or {}} if "retention" in request else {}),
        **_first("timestamp_field", (request, "timestamp_field"), (keys, "timestamp_key"), (dataset, "timestamp_key")),
        **_deduplication(request, before),
        **_extraction(request),
        **_first("entry_topic", (request, "entry_topic"), (dataset, "entry_topic"), (router, "topic")),
        **_schema(request, before),
    }
    kept = kept_of(request, None if before is None else before.kept)
    if kept != (before.kept if before else {}):
        given["kept"] = kept
    if before is None:
        # As with Obsrv, whose requests name no topic, and whose datasets are validated unless they say otherwise.
        given = {"id": request["dataset_id"], "entry_topic": request["dataset_id"], **given}
        given.setdefault("mode", STRICT if given.get("schema") else OFF)
    elif given.get("schema") and before.schema is None:
        given.setdefault("mode", STRICT)
    return given


def warnings_of(request: Members) -> Members:
    """Name what of a request is not used here, as the member `warnings` of the answer; empty if there is nothing."""
    told = [f"{name} is kept, but not used here" for name in unused_in(request)]
    if "drop_duplicates" in request.get("dedup_config", {}) and "dedup_config" in _single(request):
        told.append("extraction_config.dedup_config is not used beside dedup_config")
    extraction = request.get("extraction_config", {})
    if extraction.get("is_batch_event") and extraction.get("extraction_key") == "":
        told.append("extraction_config.extraction_key is empty; `events` holds the events of a batch")
    if _misplaced(request.get("data_schema")):
        told.append("data_schema.properties.required is no schema; it was left out")
    return {"warnings": told} if told else {}


def _first(member: str, *places: tuple[Members, str]) -> Members:
    """Take the member from the first place that names it; an empty text becomes None."""
    return next(({member: place[name] or None} for place, name in places if name in place), {})


def _extraction(request: Members) -> Members:
    """Say how batch events are taken apart. Obsrv's pipeline has the default keys."""
    if "extraction_config" not in request:
        return {}
    config = request["extraction_config"]
    if not config.get("is_batch_event"):
        return {"extraction": None}
    dedup = config.get("dedup_config", {})
    key = (dedup.get("dedup_key") or config.get("batch_id") or "id") if dedup.get("drop_duplicates") else None
    extraction = {"key": config.get("extraction_key") or "events", "dedup_key": MESSAGE_ID if key == "msgid" else key}
    period = {"dedup_seconds": float(dedup["dedup_period"])} if dedup.get("dedup_period") else {}
    return {"extraction": extraction | period}


def _deduplication(request: Members, before: Collection | None) -> Members:
    config = request.get("dedup_config", {})
    extraction = _single(request).get("dedup_config", {})
    period = {"dedup_seconds": config["dedup_period"] or DEDUP_SECONDS} if "dedup_period" in config else {}
    if "drop_duplicates" in config:
        return {"dedup_key": _key(request, config, before) if config["drop_duplicates"] else None, **period}
    if "drop_duplicates" in extraction:
        return {"dedup_key": MESSAGE_ID if extraction["drop_duplicates"] else None, **period}
    return period


def _single(request: Members) -> Members:
    """The `extraction_config` of a request for a dataset without batch events; empty for one with them."""
    config: Members = request.get("extraction_config", {})
    return {} if config.get("is_batch_event") else config


def _key(request: Members, config: Members, before: Collection | None) -> str:
    key = config.get("dedup_key")
    if key is None:
        return MESSAGE_ID
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

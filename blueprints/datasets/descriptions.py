"""Describe collections as Obsrv describes its datasets."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from blueprints.current_request import house
from blueprints.datasets.kept import Members
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.collections.model import MESSAGE_ID, OFF, Collection

_ORDERS: Final = {"created_date": "created_at", "updated_date": "updated_at", "name": "name", "dataset_id": "id"}
"""What the names in `body_schemas.SORTED_BY` are here."""


def dataset_object(one: Collection) -> Members:
    """Describe a dataset as Obsrv does: what is in force, and what was kept of its definition.

    `stream` is the Redis stream that its topic can be read from; null elsewhere.
    """
    kept = one.kept
    return {
        "id": one.id,
        "dataset_id": one.id,
        "name": one.name,
        "alias": one.alias,
        "type": kept.get("type", "event"),
        "status": "Live",
        "tags": kept.get("tags", []),
        "version": 1,
        "api_version": "v2",
        "version_key": version_key(one),
        "data_schema": one.schema,
        "validation_config": {"validate": one.mode != OFF, "mode": kept.get("validation_config", {}).get("mode", "Strict")},
        "dedup_config": _dedup_config(kept.get("dedup_config", {}), one.dedup_key, one.dedup_seconds),
        "extraction_config": _extraction_config(one),
        "denorm_config": kept.get("denorm_config", {"denorm_fields": []}),
        "transformations_config": kept.get("transformations_config", []),
        "connectors_config": kept.get("connectors_config", []),
        "sample_data": kept.get("sample_data", {}),
        "client_state": kept.get("client_state", {}),
        "dataset_config": _dataset_config(one),
        "router_config": {"topic": one.entry_topic or ""},
        "entry_topic": one.entry_topic,
        "mode": one.mode,
        "timestamp_field": one.timestamp_field,
        "requires_token": one.requires_token,
        "public": one.public,
        "retention": {"seconds": one.retention.seconds, "bytes": one.retention.bytes},
        "stream": house().collections.topic.stream_name(one),
        "created_by": "SYSTEM",
        "updated_by": "SYSTEM",
        "created_date": one.created_at.isoformat(timespec="milliseconds"),
        "updated_date": one.updated_at.isoformat(timespec="milliseconds"),
    }


def _dedup_config(kept: Members, key: str | None, seconds: float) -> Members:
    """Describe a deduplication: by its key in force, in the words that were sent for it."""
    sent = kept.get("dedup_key")
    is_as_sent = key is None or (key == MESSAGE_ID and sent == "msgid")
    period = int(seconds) if seconds.is_integer() else seconds
    return {"drop_duplicates": key is not None, "dedup_key": sent if is_as_sent else key, "dedup_period": period}


def _extraction_config(one: Collection) -> Members:
    kept = one.kept.get("extraction_config", {})
    if one.extraction is None:
        return {**kept, "is_batch_event": False}
    dedup = _dedup_config(kept.get("dedup_config", {}), one.extraction.dedup_key, one.extraction.dedup_seconds)
    return {**kept, "is_batch_event": True, "extraction_key": one.extraction.key, "dedup_config": dedup}


def _dataset_config(one: Collection) -> Members:
    kept = one.kept.get("dataset_config", {})
    time = {"timestamp_key": one.timestamp_field or ""}
    older = time if "timestamp_key" in kept else {}
    return {**kept, **older, "keys_config": {**kept.get("keys_config", {}), **time}, "entry_topic": one.entry_topic}


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
    type_ = one.kept.get("type", "event")
    return {
        "status": {"Live"},
        "type": {type_, "dataset"} if type_ == "event" else {type_},
        "dataset_id": {one.id},
        "alias": {one.alias},
        "name": {one.name},
    }

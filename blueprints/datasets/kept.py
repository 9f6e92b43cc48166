"""What of Obsrv's definitions is kept and given back: as it was sent, though this service does not use all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

Members = dict[str, Any]

_REPLACED: Final = (
    "type",
    "sample_data",
    "client_state",
    "validation_config",
    "dedup_config",
    "extraction_config",
)
_LISTS: Final = {"tags": None, "transformations_config": "field_key", "connectors_config": "connector_id"}
"""Lists that an update changes value by value, and the member that identifies a value."""

_UNUSED: Final = ("denorm_config", "transformations_config", "connectors_config")
_USED_CONFIG: Final = {"keys_config", "timestamp_key", "entry_topic"}


def kept_of(request: Members, before: Members | None) -> Members:
    """Find what is kept after a request. before: what was kept before an update; None for a creation."""
    kept: Members = {**(before or {}), **{name: request[name] for name in _REPLACED if name in request}}
    if "dataset_config" in request:
        kept["dataset_config"] = {**kept.get("dataset_config", {}), **request["dataset_config"]}
    if before is None:
        return kept | {name: request[name] for name in (*_LISTS, "denorm_config") if name in request}
    for name, key in _LISTS.items():
        if request.get(name):
            kept[name] = _changed(kept.get(name, []), request[name], key)
    if request.get("denorm_config", {}).get("denorm_fields"):
        config = kept.get("denorm_config", {})
        fields = _changed(config.get("denorm_fields", []), request["denorm_config"]["denorm_fields"], "denorm_out_field")
        kept["denorm_config"] = {**config, "denorm_fields": fields}
    return kept


def unused_in(request: Members) -> Iterator[str]:
    """Name what of a request is kept, but not used here."""
    if request.get("type", "event") not in ("event", "dataset"):
        yield "type"
    for name in _UNUSED:
        config = request.get(name)
        if config.get("denorm_fields") if isinstance(config, dict) else config:
            yield name
    config = request.get("dataset_config", {})
    yield from (f"dataset_config.{name}" for name, value in config.items() if value and name not in _USED_CONFIG)
    keys = config.get("keys_config", {})
    yield from (f"dataset_config.keys_config.{name}" for name, value in keys.items() if value and name != "timestamp_key")
    extraction = request.get("extraction_config", {})
    dedup = extraction.get("dedup_config", {})
    if extraction.get("batch_id") and (dedup.get("dedup_key") or not dedup.get("drop_duplicates")):
        yield "extraction_config.batch_id"


def _changed(before: list[Any], changes: list[Members], key: str | None) -> list[Any]:
    """Put values into a list, each in the place of its like, and take values out, as Obsrv does."""

    def identity(value: Any) -> Any:
        return value if key is None else value.get(key)

    after = {identity(one): one for one in before}
    for change in changes:
        if change["action"] == "remove":
            after.pop(identity(change["value"]), None)
    return [*(after | {identity(one["value"]): one["value"] for one in changes if one["action"] == "upsert"}).values()]

"""JSON Schemas of the parts of a dataset's definition, as Obsrv's own requests have them: of a creation, and of an update.

`x-rules` are rules that generated clients need not know. `x-when` stands for Obsrv's `if` and `then`: if the member is true,
the others are required. `x-upsert` requires members of a value that is put in.
"""

from __future__ import annotations

from typing import Any, Final

from blueprints.datasets.validation import Shape
from blueprints.openapi import FREE_OBJECT
from smarthouse_api.collections.model import MESSAGE_ID

DOTS: Final = "Dots may be part of a member's name (`PM2.5`), or separate the names of a path (`meta.id`)"
SECONDS: Final[Shape] = {"type": "number", "minimum": 0, "exclusiveMinimum": True, "nullable": True}
KEPT: Final = "Kept and given back, but not used here"


def text(description: str, **more: Any) -> Shape:
    return {"type": "string", "description": description, **more}


def switch(description: str) -> Shape:
    return {"type": "boolean", "description": description}


def free(description: str) -> Shape:
    return {**FREE_OBJECT, "description": description}


def open_object(description: str, required: tuple[str, ...] = (), /, **properties: Shape) -> Shape:
    shape: Shape = {"type": "object", "description": description, "properties": properties}
    return {**shape, "required": list(required)} if required else shape


def closed(description: str, required: tuple[str, ...] = (), /, **properties: Shape) -> Shape:
    return {**open_object(description, required, **properties), "additionalProperties": False}


def listed(description: str, items: Shape) -> Shape:
    return {"type": "array", "items": items, "description": description}


def _some(description: str = "") -> Shape:
    return text(description, minLength=1) if description else {"type": "string", "minLength": 1}


_PERIOD: Final[Shape] = {**SECONDS, "description": "For how many seconds; default: 604800"}

VALIDATION: Final = closed(
    "Whether records must pass the schema: `validate` true is `mode: strict`, false is `mode: off`",
    validate=switch("Records that fail the schema become dead letters; default: true"),
    mode=text("`IgnoreNewFields` sets the schema's `additionalProperties` to true", enum=["Strict", "IgnoreNewFields"]),
)
DEDUP: Final = closed(
    "Which records are stored once",
    drop_duplicates=switch("Whether records with a repeated key are left out"),
    dedup_key=text(
        f"`{MESSAGE_ID}`, the request's own `msgid`, or a member of each record. `msgid` means the request's too, if the "
        f"schema has no such member. {DOTS}",
        nullable=True,
    ),
    dedup_period=_PERIOD,
)
EXTRACTION: Final = closed(
    "How batch events are taken apart: objects with an array of events. Each event becomes a record",
    is_batch_event=switch("Whether there are batch events; default: false. If not, `dedup_config` is of each `msgid`"),
    extraction_key=text(f"Member that holds the events; default: `events`. {DOTS}"),
    batch_id=text("Member that identifies a batch; used if `dedup_config` names none"),
    dedup_config=closed(
        "Which batches are stored once. An array of events is a batch too, known by its `msgid`",
        drop_duplicates=switch("Whether batches with a repeated key are left out"),
        dedup_key=text(
            "`msgid`, the request's own, or a member of the batch event; default: `batch_id`, else `id`", nullable=True
        ),
        dedup_period=_PERIOD,
    ),
)
DATA_SCHEMA: Final[Shape] = {
    **free("JSON Schema, draft 2020-12, of each record; with `type` and `properties`"),
    "nullable": True,
    "x-rules": {
        "required": ["type", "properties"],
        "properties": {
            "$schema": _some(),
            "type": _some(),
            "required": {"type": "array"},
            "properties": {**free("The members"), "minProperties": 1},
            "additionalProperties": {"type": "boolean"},
        },
    },
}
ROUTER: Final = closed("Obsrv's; only the topic is used", topic=text("As `entry_topic`", nullable=True))
_OF_V1: Final = {
    "timestamp_key": text("As `timestamp_field`; older clients send it here"),
    "entry_topic": text("As `entry_topic`", nullable=True),
    **{name: text(KEPT) for name in ("data_key", "timestamp_format", "redis_db_host")},
    **{name: {"type": "integer", "description": KEPT} for name in ("redis_db_port", "redis_db")},
    "exclude_fields": listed(KEPT, {"type": "string"}),
    "index_data": switch(KEPT),
}
"""What the configurations of Obsrv's first version have."""
DATASET_CONFIG: Final = closed(
    "Obsrv's; only the time and the topic are used. The rest is kept and given back",
    keys_config=closed(
        "The keys",
        timestamp_key=text("As `timestamp_field`"),
        data_key=text(KEPT),
        partition_key=text(KEPT),
        timestamp_format={**_some(KEPT)},
    ),
    indexing_config=closed(
        KEPT, **{name: switch(KEPT) for name in ("olap_store_enabled", "lakehouse_enabled", "cache_enabled")}
    ),
    file_upload_path=listed(KEPT, _some()),
    dataset_tz=text(KEPT),
    cache_config=free(KEPT),
    **_OF_V1,
)

_CONDITION = closed("When the function applies", ("type", "expr"), type=_some(), expr=_some())
_FUNCTION = closed(
    "What becomes of the member",
    ("type", "expr"),
    type=_some(),
    expr=_some(),
    condition=_CONDITION,
    datatype={"type": "string"},
    category={"type": "string", "enum": ["pii", "transform", "derived"]},
)
_TRANSFORMATION: Final[dict[str, Shape]] = {
    "field_key": _some(),
    "transformation_function": _FUNCTION,
    "mode": {"type": "string", "enum": ["Strict", "Lenient"]},
}
_DENORM: Final[dict[str, Shape]] = {
    name: _some() for name in ("dataset_id", "denorm_key", "denorm_out_field", "jsonata_expr")
} | {"redis_db": {"type": "integer"}}
_CONNECTOR: Final[dict[str, Shape]] = {
    "id": _some(),
    "connector_id": _some(),
    "connector_config": free("The connector's own settings"),
    "operations_config": free("The connector's own settings"),
    "version": {"type": "string"},
}


def _changes(of: Shape, needed: tuple[str, ...] = ()) -> Shape:
    """The changes of a list: each value is put in, or taken out."""
    action = text("`upsert` puts the value in, in the place of its like; `remove` takes it out", enum=["upsert", "remove"])
    shape = closed("A change", ("value", "action"), value=of, action=action)
    return {**shape, "x-upsert": list(needed)} if needed else shape


CREATED: Final[dict[str, Shape]] = {
    "validation_config": VALIDATION,
    "dedup_config": DEDUP,
    "extraction_config": EXTRACTION,
    "denorm_config": closed(
        KEPT,
        ("denorm_fields",),
        denorm_fields=listed("The fields", closed("A field", ("dataset_id", "denorm_out_field"), **_DENORM)),
        redis_db_host=text(KEPT),
        redis_db_port={"type": "integer", "description": KEPT},
    ),
    "transformations_config": listed(
        KEPT, closed("A transformation", ("field_key", "transformation_function", "mode"), **_TRANSFORMATION)
    ),
    "connectors_config": listed(
        f"{KEPT}. Leave secrets out", closed("A connector", ("id", "connector_id", "connector_config", "version"), **_CONNECTOR)
    ),
    "tags": listed("Words for people; kept and given back", _some()),
}
UPDATED: Final[dict[str, Shape]] = {
    "validation_config": {**VALIDATION, "required": ["validate"], "x-when": {"validate": ["mode"]}},
    "dedup_config": {**DEDUP, "required": ["drop_duplicates"], "x-when": {"drop_duplicates": ["dedup_key"]}},
    "extraction_config": {
        **EXTRACTION,
        "required": ["is_batch_event"],
        "x-when": {"is_batch_event": ["extraction_key"]},
    },
    "denorm_config": open_object(
        KEPT,
        denorm_fields=listed(
            "Known by `denorm_out_field`", _changes(closed("A field", **_DENORM), ("dataset_id", "denorm_out_field"))
        ),
    ),
    "transformations_config": listed(
        f"{KEPT}. Known by `field_key`",
        _changes(closed("A transformation", ("field_key",), **_TRANSFORMATION), ("transformation_function", "mode")),
    ),
    "connectors_config": listed(
        f"{KEPT}. Known by `connector_id`. Leave secrets out",
        _changes(closed("A connector", **_CONNECTOR), ("connector_id", "connector_config")),
    ),
    "tags": listed("Words for people; kept and given back", _changes(_some())),
}

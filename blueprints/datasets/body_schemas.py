"""JSON Schemas of the requests that manage datasets: Obsrv's own, and what goes beyond them."""

from __future__ import annotations

from typing import Any, Final

from blueprints.datasets.validation import Shape
from smarthouse_api.collections.model import MESSAGE_ID, MODES

STATUSES: Final = ["Draft", "Live", "ReadyToPublish", "Retired", "Purged"]
SORTED_BY: Final = ["created_date", "updated_date", "name", "dataset_id"]
_UNUSED: Final = "Obsrv's; accepted, but not used"


def _object(description: str, required: tuple[str, ...] = (), /, **properties: Shape) -> Shape:
    shape: Shape = {"type": "object", "description": description, "properties": properties}
    return {**shape, "required": list(required)} if required else shape


def _text(description: str, **more: Any) -> Shape:
    return {"type": "string", "description": description, **more}


def _switch(description: str) -> Shape:
    return {"type": "boolean", "description": description}


def _unused(kind: str = "object") -> Shape:
    shape: Shape = {"type": kind, "description": _UNUSED}
    return {**shape, "items": {}} if kind == "array" else shape


def _one_or_more(shape: Shape) -> Shape:
    return {"anyOf": [{"type": "array", "items": shape}, shape]}


_ID = _text("Id of the dataset: 1 to 100 letters, digits, dots, underscores, colons and hyphens", minLength=1, example="trips")
_SECONDS: Shape = {"type": "number", "minimum": 0, "exclusiveMinimum": True, "nullable": True}
_DEDUP: Final = {
    "drop_duplicates": _switch("Whether records with a repeated key are left out"),
    "dedup_key": _text(
        f"`{MESSAGE_ID}`, the request's own `msgid`, or the path of a member of each record, joined by dots. `msgid` means the "
        "request's too, if the schema has no such member",
        minLength=1,
    ),
    "dedup_period": {**_SECONDS, "description": "For how many seconds; default: 604800"},
}
_MEMBERS: Final[dict[str, Shape]] = {
    "name": _text("Name for people; default: the id", minLength=1, example="Trips of the fleet"),
    "alias": _text("Another name of the dataset", nullable=True, minLength=1),
    "data_schema": {"type": "object", "nullable": True, "description": "JSON Schema, draft 2020-12, of each record"},
    "validation_config": _object(
        "Whether records must pass the schema: `validate` true is `mode: strict`, false is `mode: off`",
        validate=_switch("Records that fail the schema become dead letters; default: true"),
        mode=_text("`IgnoreNewFields` sets the schema's `additionalProperties` to true", enum=["Strict", "IgnoreNewFields"]),
    ),
    "mode": _text(
        "Beyond Obsrv; overrides `validation_config`. `off`: the schema is not checked. `warn`: a record that fails is stored "
        "and marked. `strict`: it becomes a dead letter",
        enum=list(MODES),
    ),
    "dedup_config": _object("Which records are stored once", **_DEDUP),
    "extraction_config": _object(
        "Its `dedup_config` stores each `msgid` once, unless `dedup_config` is given too",
        dedup_config=_object("Deduplication of a batch by its `msgid`", drop_duplicates=_DEDUP["drop_duplicates"]),
    ),
    "dataset_config": _object(
        "Obsrv's; only the time and the topic are used",
        keys_config=_object("The keys", timestamp_key=_text("As `timestamp_field`")),
        timestamp_key=_text("As `timestamp_field`; older clients send it here"),
        entry_topic=_text("As `entry_topic`", nullable=True),
    ),
    "router_config": _object("Obsrv's; only the topic is used", topic=_text("As `entry_topic`", nullable=True)),
    "entry_topic": _text(
        "Name of the entry topic; default: the dataset's id. null: none; the collection takes records only as a data source",
        nullable=True,
    ),
    "timestamp_field": _text("Beyond Obsrv: the member that holds a record's own time; null: none", nullable=True, minLength=1),
    "requires_token": _switch("Beyond Obsrv: whether writing requires a key"),
    "public": _switch("Beyond Obsrv: whether records can be read without a key"),
    "retention": _object(
        "Beyond Obsrv: how much the entry topic keeps of what the lake already holds; null: the installation's setting",
        seconds={**_SECONDS, "description": "Largest age in seconds"},
        bytes={"type": "integer", "description": "Largest size in bytes", "minimum": 0, "nullable": True},
    ),
    "type": _text(_UNUSED, enum=["event", "transaction", "master", "dataset", "master-dataset"]),
    "denorm_config": _unused(),
    "transformations_config": _unused("array"),
    "connectors_config": _unused("array"),
    "tags": _unused("array"),
    "sample_data": _unused(),
}
USED: Final = frozenset(_MEMBERS) - {name for name, shape in _MEMBERS.items() if shape.get("description") == _UNUSED}
"""The members of a definition that mean something here."""


def _request(api: str, request: Shape) -> Shape:
    """Describe a whole request to an API of Obsrv's."""
    msgid = _text("Id of the request; the answer repeats it", example="4a7f14c3-d61e-4d4f-be78-181834eeff6d")
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "ver", "ts", "params", "request"],
        "properties": {
            "id": _text("Name of the API", enum=[api], example=api),
            "ver": _text("Version of the API", example="v2"),
            "ts": _text("The time of the request", example="2024-04-10T16:10:50+05:30"),
            "params": {"type": "object", "additionalProperties": False, "required": ["msgid"], "properties": {"msgid": msgid}},
            "request": request,
        },
    }


CREATE: Final = _request("api.datasets.create", _object("The new dataset", ("dataset_id",), dataset_id=_ID, **_MEMBERS))
UPDATE: Final = _request(
    "api.datasets.update",
    _object(
        "The members to change; the others stay",
        ("dataset_id",),
        dataset_id=_ID,
        version_key=_text("As it was read; if the dataset has changed since, the answer is 409. Absent: always change it"),
        **_MEMBERS,
    ),
)
_NAMES = _one_or_more({"type": "string"})
LIST: Final = _request(
    "api.datasets.list",
    _object(
        "Which datasets",
        filters={
            **_object(
                "All filters must match",
                status={"description": "Every dataset here is `Live`", **_one_or_more({"type": "string", "enum": STATUSES})},
                type={**_NAMES, "description": "Every dataset here is an `event`"},
                dataset_id={**_NAMES, "description": "One of these ids"},
                alias={**_NAMES, "description": "Beyond Obsrv: one of these aliases"},
                name={**_NAMES, "description": "Beyond Obsrv: one of these names"},
            ),
            "additionalProperties": False,
        },
        sortBy={
            "type": "array",
            "items": {
                "type": "object",
                "required": ["order"],
                "properties": {
                    "field": _text("Member to sort by; `column` means the same", enum=SORTED_BY),
                    "column": _text("Member to sort by", enum=SORTED_BY),
                    "order": _text("Ascending or descending", enum=["asc", "desc"]),
                },
            },
        },
        offset={"type": "integer", "minimum": 0, "description": "Number of datasets to skip"},
        limit={"type": "integer", "minimum": 0, "description": "Largest number of datasets; absent: all"},
    ),
)
ALIAS: Final = _request(
    "api.datasets.alias",
    _object(
        "The change of the alias",
        ("action", "dataset_id"),
        action=_text("What to do with the alias", enum=["attach", "detach"]),
        dataset_id=_ID,
        alias_name=_text("The alias; not needed for `detach`", minLength=1, example="journeys"),
    ),
)
FIX: Final[Shape] = {
    "type": "object",
    "required": ["request"],
    "properties": {
        "request": _object(
            "The corrected record", ("record",), record={"type": "object", "description": "The record without its faults"}
        )
    },
}
REPLAY: Final[Shape] = {
    "type": "object",
    "properties": {
        "request": _object(
            "Which records",
            ids={"type": "array", "items": {"type": "string"}, "description": "Ids of records; absent: all of them"},
            after=_text("Only those after this id: `next` of an earlier answer"),
        )
    },
}

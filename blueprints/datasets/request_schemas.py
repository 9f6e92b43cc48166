"""The shapes of requests that manage datasets: Obsrv's own, and what goes beyond them."""

from __future__ import annotations

from typing import Any, Final

from blueprints.datasets.validation import Shape
from smarthouse_api.collections.model import MESSAGE_ID, MODES

STATUSES: Final = ("Draft", "Live", "ReadyToPublish", "Retired", "Purged")
SORTED_BY: Final = ("created_date", "updated_date", "name", "dataset_id")
_UNUSED: Final = "Obsrv's; taken, and not used"


def _object(description: str, required: tuple[str, ...] = (), /, **properties: Shape) -> Shape:
    shape: Shape = {"type": "object", "description": description, "properties": properties}
    return {**shape, "required": list(required)} if required else shape


def _text(description: str, **more: Any) -> Shape:
    return {"type": "string", "description": description, **more}


def _switch(description: str) -> Shape:
    return {"type": "boolean", "description": description}


def _amount(kind: str, description: str) -> Shape:
    return {"type": kind, "description": description, "minimum": 0, "nullable": True}


def _unused(kind: str = "object") -> Shape:
    shape: Shape = {"type": kind, "description": _UNUSED}
    return {**shape, "items": {}} if kind == "array" else shape


_ID = _text("Id of the dataset: 1 to 100 letters, digits, dots, underscores, colons and hyphens", minLength=1, example="trips")
_SECONDS: Shape = {"type": "number", "minimum": 0, "exclusiveMinimum": True, "nullable": True}
_DEDUP: Final = {
    "drop_duplicates": _switch("Whether what repeats the key is left out"),
    "dedup_key": _text(
        f"`{MESSAGE_ID}`, the request's own `msgid` (also `msgid`, where the schema knows no such member), or the path of a "
        "member of each record, its names joined by dots",
        minLength=1,
    ),
    "dedup_period": {**_SECONDS, "description": "For how many seconds; 604800 unless given"},
}
_MEMBERS: Final[dict[str, Shape]] = {
    "name": _text("For people; the id unless given", minLength=1, example="Trips of the fleet"),
    "alias": _text("Another id for it", nullable=True, minLength=1),
    "data_schema": {"type": "object", "nullable": True, "description": "JSON Schema, draft 2020-12, of each record"},
    "validation_config": _object(
        "Whether records must pass the schema: `validate` is `mode: strict`, without it `mode: off`",
        validate=_switch("Set aside the records that fail the schema; they do unless this says otherwise"),
        mode=_text("`IgnoreNewFields`: the schema's `additionalProperties` is true", enum=["Strict", "IgnoreNewFields"]),
    ),
    "mode": _text(
        "Beyond Obsrv, and before `validation_config`. What becomes of a record that fails the schema: nothing (`off`), it is "
        "kept and marked (`warn`), it is set aside (`strict`)",
        enum=list(MODES),
    ),
    "dedup_config": _object("Which records are stored once", **_DEDUP),
    "extraction_config": _object(
        "Its `dedup_config` asks for each `msgid` to be stored once, where there is no other",
        dedup_config=_object("What the batch is known by: its `msgid`", drop_duplicates=_DEDUP["drop_duplicates"]),
    ),
    "dataset_config": _object(
        "Obsrv's; of it, the time and the topic are used",
        keys_config=_object("The keys", timestamp_key=_text("As `timestamp_field`")),
        timestamp_key=_text("As `timestamp_field`, where older clients say it"),
        entry_topic=_text("As `entry_topic`", nullable=True),
    ),
    "router_config": _object("Obsrv's; of it, the topic is used", topic=_text("As `entry_topic`", nullable=True)),
    "entry_topic": _text(
        "The topic that data come in by; the dataset's id unless given. null: none, and it is written as a data source only",
        nullable=True,
    ),
    "timestamp_field": _text("Beyond Obsrv: the member that is a record's own time; null: none", nullable=True, minLength=1),
    "requires_token": _switch("Beyond Obsrv: whether data come in with a key only"),
    "public": _switch("Beyond Obsrv: whether its records may be read without a key"),
    "retention": _object(
        "Beyond Obsrv: what the entry topic keeps at most of what the lake holds already; null: what the installation says",
        seconds={**_SECONDS, "description": "No older than this"},
        bytes=_amount("integer", "No more than this"),
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
    """The shape of a whole request to an API of Obsrv's."""
    msgid = _text("Of the request; the answer repeats it", example="4a7f14c3-d61e-4d4f-be78-181834eeff6d")
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "ver", "ts", "params", "request"],
        "properties": {
            "id": _text("Of the API", enum=[api], example=api),
            "ver": _text("Of the API", example="v2"),
            "ts": _text("The time of the request", example="2024-04-10T16:10:50+05:30"),
            "params": {"type": "object", "additionalProperties": False, "required": ["msgid"], "properties": {"msgid": msgid}},
            "request": request,
        },
    }


CREATE: Final = _request("api.datasets.create", _object("The dataset to be", ("dataset_id",), dataset_id=_ID, **_MEMBERS))
UPDATE: Final = _request(
    "api.datasets.update",
    _object(
        "What is to change; the rest stays",
        ("dataset_id",),
        dataset_id=_ID,
        version_key=_text("As it was read: whoever changed the dataset since is not overwritten. Absent: whatever it is now"),
        **_MEMBERS,
    ),
)
_NAMES: Shape = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
LIST: Final = _request(
    "api.datasets.list",
    _object(
        "Which datasets",
        filters={
            **_object(
                "All of which must hold",
                status={
                    "description": "Every dataset here is `Live`",
                    "anyOf": [
                        {"type": "array", "items": {"type": "string", "enum": list(STATUSES)}},
                        {"type": "string", "enum": list(STATUSES)},
                    ],
                },
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
                    "field": _text("What to order by; `column` is the same", enum=list(SORTED_BY)),
                    "column": _text("What to order by", enum=list(SORTED_BY)),
                    "order": _text("Which first", enum=["asc", "desc"]),
                },
            },
        },
        offset={"type": "integer", "minimum": 0, "description": "How many to leave out"},
        limit={"type": "integer", "minimum": 0, "description": "How many to give at most; absent: all"},
    ),
)
ALIAS: Final = _request(
    "api.datasets.alias",
    _object(
        "What to do",
        ("action", "dataset_id"),
        action=_text("With the alias", enum=["attach", "detach"]),
        dataset_id=_ID,
        alias_name=_text("The alias; for `detach` it need not be named", minLength=1, example="journeys"),
    ),
)
FIX: Final[Shape] = {
    "type": "object",
    "required": ["request"],
    "properties": {
        "request": _object(
            "What to put in its place", ("record",), record={"type": "object", "description": "The record as it should be"}
        )
    },
}
REPLAY: Final[Shape] = {
    "type": "object",
    "properties": {
        "request": _object(
            "Which records",
            ids={"type": "array", "items": {"type": "string"}, "description": "Ids of records; absent: all of them"},
            after=_text("Only those after this id: the `next` of an earlier answer"),
        )
    },
}

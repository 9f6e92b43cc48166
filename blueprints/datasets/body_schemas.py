"""JSON Schemas of the requests that manage datasets: Obsrv's own, and what goes beyond them."""

from __future__ import annotations

from typing import Final

from blueprints.datasets.config_schemas import (
    CREATED,
    DATA_SCHEMA,
    DATASET_CONFIG,
    DOTS,
    ROUTER,
    SECONDS,
    UPDATED,
    closed,
    free,
    switch,
    text,
)
from blueprints.datasets.validation import Shape
from smarthouse_api.collections.model import MODES

STATUSES: Final = ["Draft", "Live", "ReadyToPublish", "Retired", "Purged"]
SORTED_BY: Final = ["created_date", "updated_date", "name", "dataset_id"]
TYPES: Final = ["event", "transaction", "master", "dataset", "master-dataset"]


def _one_or_more(shape: Shape) -> Shape:
    return {"anyOf": [{"type": "array", "items": shape}, shape]}


_ID = text("Id of the dataset: 1 to 100 letters, digits, dots, underscores, colons and hyphens", minLength=1, example="trips")
_MEMBERS: Final[dict[str, Shape]] = {
    "name": text("Name for people; default: the id", minLength=1, example="Trips of the fleet"),
    "alias": text("Another name of the dataset", nullable=True, minLength=1),
    "data_schema": DATA_SCHEMA,
    "mode": text(
        "Beyond Obsrv; overrides `validation_config`. `off`: the schema is not checked. `warn`: a record that fails is stored "
        "and marked. `strict`: it becomes a dead letter",
        enum=list(MODES),
    ),
    "dataset_config": DATASET_CONFIG,
    "router_config": ROUTER,
    "entry_topic": text(
        "Name of the entry topic; default: the dataset's id. null: none; the collection takes records only as a data source",
        nullable=True,
    ),
    "timestamp_field": text(
        f"Beyond Obsrv: the member that holds a record's own time; null: none. {DOTS}", nullable=True, minLength=1
    ),
    "requires_token": switch("Beyond Obsrv: whether writing requires a key"),
    "public": switch("Beyond Obsrv: whether records can be read without a key"),
    "retention": {
        **closed(
            "Beyond Obsrv: how much the entry topic keeps of what the lake already holds; null: the installation's setting",
            seconds={**SECONDS, "description": "Largest age in seconds"},
            bytes={"type": "integer", "description": "Largest size in bytes", "minimum": 0, "nullable": True},
        ),
        "nullable": True,
    },
    "type": text("Kept and given back; every dataset here is served as an `event`", enum=TYPES),
    "sample_data": free("An example of a record; kept and given back"),
    "client_state": free("The client's own; kept and given back"),
}


def _request(api: str, request: Shape) -> Shape:
    """Describe a whole request to an API of Obsrv's."""
    msgid = text("Id of the request; the answer repeats it", example="4a7f14c3-d61e-4d4f-be78-181834eeff6d")
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "ver", "ts", "params", "request"],
        "properties": {
            "id": text("Name of the API", enum=[api], example=api),
            "ver": text("Version of the API", example="v2"),
            "ts": text("The time of the request", example="2024-04-10T16:10:50+05:30"),
            "params": {"type": "object", "additionalProperties": False, "required": ["msgid"], "properties": {"msgid": msgid}},
            "request": request,
        },
    }


CREATE: Final = _request(
    "api.datasets.create", closed("The new dataset", ("dataset_id",), dataset_id=_ID, **_MEMBERS, **CREATED)
)
UPDATE: Final = _request(
    "api.datasets.update",
    closed(
        "The members to change; the others stay",
        ("dataset_id",),
        dataset_id=_ID,
        version_key=text("As it was read; if the dataset has changed since, the answer is 409. Absent: always change it"),
        **_MEMBERS,
        **UPDATED,
    ),
)
_NAMES = _one_or_more({"type": "string"})
LIST: Final = _request(
    "api.datasets.list",
    closed(
        "Which datasets",
        filters=closed(
            "All filters must match",
            status={"description": "Every dataset here is `Live`", **_one_or_more({"type": "string", "enum": STATUSES})},
            type={**_NAMES, "description": "One of these types"},
            dataset_id={**_NAMES, "description": "One of these ids"},
            alias={**_NAMES, "description": "Beyond Obsrv: one of these aliases"},
            name={**_NAMES, "description": "Beyond Obsrv: one of these names"},
        ),
        sortBy={
            "type": "array",
            "items": {
                "type": "object",
                "required": ["order"],
                "properties": {
                    "field": text("Member to sort by; `column` means the same", enum=SORTED_BY),
                    "column": text("Member to sort by", enum=SORTED_BY),
                    "order": text("Ascending or descending", enum=["asc", "desc"]),
                },
            },
        },
        offset={"type": "integer", "minimum": 0, "description": "Number of datasets to skip"},
        limit={"type": "integer", "minimum": 0, "description": "Largest number of datasets; absent: all"},
    ),
)
ALIAS: Final = _request(
    "api.datasets.alias",
    closed(
        "The change of the alias",
        ("dataset_id",),
        action=text(
            "`attach`: for a dataset without an alias. `detach`: remove the alias. Absent: replace the alias, if there is one",
            enum=["attach", "detach"],
        ),
        dataset_id=_ID,
        alias_name=text("The alias; not needed for `detach`", minLength=1, example="journeys"),
        table_name=text("Obsrv's; refused, because datasets have no tables here", minLength=1),
    ),
)
FIX: Final[Shape] = {
    "type": "object",
    "required": ["request"],
    "properties": {"request": closed("The corrected record", ("record",), record=free("The record without its faults"))},
}
REPLAY: Final[Shape] = {
    "type": "object",
    "properties": {
        "request": closed(
            "Which records",
            ids={"type": "array", "items": {"type": "string"}, "description": "Ids of records; absent: all of them"},
            after=text("Only those after this id: `next` of an earlier answer"),
        )
    },
}

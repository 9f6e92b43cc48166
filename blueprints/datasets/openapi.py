"""Parameters and bodies of datasets, as their document describes them."""

from __future__ import annotations

from typing import Any

from blueprints.datasets.body_schemas import ALIAS, CREATE, FIX, LIST, REPLAY, UPDATE
from blueprints.datasets.validation import LONGEST_MSGID, Shape
from blueprints.openapi import FREE_OBJECT, json_body, path_parameter
from blueprints.records import RECORDS, documented_content

_MSGID = "e180ecac-8f41-4f21-9a21-0b3a1a368917"
_MSGID_SHAPE = {"type": "string", "maxLength": LONGEST_MSGID, "description": "Id of the request; the answer repeats it"}


def _body(shape: Shape, api: str, **request: Any) -> dict[str, Any]:
    head = {"id": api, "ver": "v2", "ts": "2024-04-10T16:10:50+05:30", "params": {"msgid": _MSGID}}
    return json_body(shape, {**head, "request": request})


DATASET_ID = path_parameter("dataset_id", "Id or alias of the dataset", "example")
RECORD_ID = path_parameter("record_id", "Id of a dead letter", "0006189c2b1d4e00-9a44ac5b-000000")

EVENT_BODY = json_body(
    {
        "type": "object",
        "required": ["id", "ver", "ts", "params", "data"],
        "properties": {
            "id": {"type": "string", "enum": ["api.data.in"]},
            "ver": {"type": "string", "example": "v2"},
            "ts": {"type": "string", "description": "The time of the request, in milliseconds since 1970"},
            "params": {
                "type": "object",
                "required": ["msgid"],
                "additionalProperties": False,
                "properties": {"msgid": _MSGID_SHAPE},
            },
            "data": {
                "description": "A record, or an array of records; or batch events, if the dataset takes them apart",
                "oneOf": [FREE_OBJECT, {"type": "array", "items": FREE_OBJECT}],
            },
        },
    },
    {
        "id": "api.data.in",
        "ver": "v2",
        "ts": "1711966306164",
        "params": {"msgid": _MSGID},
        "data": {"eid": "INTERACT", "date": "2022-01-01", "ver": "3.0", "syncts": 1668591949682, "ets": 1668591949682},
    },
)
CREATE_BODY = _body(
    CREATE,
    "api.datasets.create",
    dataset_id="trips",
    name="Trips of the fleet",
    type="event",
    data_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"eid": {"type": "string"}, "ets": {"type": "integer"}},
        "required": ["eid"],
        "additionalProperties": True,
    },
    validation_config={"validate": True, "mode": "Strict"},
    dedup_config={"drop_duplicates": True, "dedup_key": "msgid"},
    dataset_config={"keys_config": {"timestamp_key": "ets"}},
)
UPDATE_BODY = _body(UPDATE, "api.datasets.update", dataset_id="trips", name="Trips", requires_token=True)
LIST_BODY = _body(LIST, "api.datasets.list", filters={"status": ["Live"]}, limit=50)
ALIAS_BODY = _body(ALIAS, "api.datasets.alias", action="attach", dataset_id="trips", alias_name="journeys")

FIX_BODY = json_body(FIX, {"request": {"record": {"eid": "INTERACT"}}})
REPLAY_BODY = json_body(REPLAY, {"request": {}}, required=False)

_PARAMS = ("status", "msgid", "resmsgid")
READ = documented_content(
    {
        **{name: {"type": "string"} for name in ("id", "ver", "ts", "responseCode")},
        "params": {"type": "object", "properties": {name: {"type": "string"} for name in _PARAMS}},
        "result": {"type": "object", "properties": RECORDS},
    }
)
"""What a reading answers, by media type."""

"""What the tests of data sources and datasets share: collections, keys to them, and requests as their clients send them."""

from __future__ import annotations

import json
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from smarthouse_api.collections.model import Collection, define
from tests.conftest import house_of

SCHEMA = {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]}
MSGID = "e180ecac-8f41-4f21-9a21-0b3a1a368917"
EVENT: dict[str, Any] = {
    "id": "api.data.in",
    "ver": "v2",
    "ts": "1711966306164",
    "params": {"msgid": MSGID},
    "data": {"eid": "INTERACT", "date": "2022-01-01", "ver": "3.0", "syncts": 1668591949682, "ets": 1668591949682},
}
"""The seed's own."""


def made(client: FlaskClient, id_: str, **members: Any) -> Collection:
    """A collection that was made with these members."""
    return house_of(client).collections.catalogue.create(define({"id": id_, **members})).collection


def bearer(client: FlaskClient, **grants: Any) -> dict[str, str]:
    """The header of a new key with these grants."""
    _, key = house_of(client).access.create("test", **grants)
    return {"Authorization": f"Bearer {key}"}


def of(*ids: str) -> dict[str, Any]:
    """The grants of a key to these data sources."""
    return {"datasources": ids}


def operator(client: FlaskClient) -> dict[str, str]:
    return bearer(client, admin=True)


def stored(client: FlaskClient, id_: str) -> list[dict[str, Any]]:
    """The records that a collection holds, as they are read back."""
    headers = operator(client)
    answer = client.get(f"/restapi/datasource/{id_}/records?format=jsonl&meta=false", headers=headers, buffered=True)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def event(data: Any, msgid: str = MSGID, **members: Any) -> dict[str, Any]:
    return {**EVENT, "params": {"msgid": msgid}, "data": data, **members}


def managed(api: str, /, **request: Any) -> dict[str, Any]:
    """A request to one of Obsrv's APIs that manage datasets."""
    head = {"id": f"api.datasets.{api}", "ver": "v2", "ts": "2024-04-10T16:10:50+05:30", "params": {"msgid": MSGID}}
    return {**head, "request": request}


def json_of(answer: TestResponse) -> Any:
    """What the answer says; it has to be JSON."""
    assert answer.mimetype == "application/json", answer.text
    return json.loads(answer.data)

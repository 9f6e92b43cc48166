"""The header `Home-UUID` of data sources and datasets: what it takes, and that nobody is told of it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.collecting import bearer, event, house_of, json_of, made, of, operator, stored
from tests.conftest import HOME, OTHER_HOME, Environment

INGEST = "/api/ingest/data"


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """What is HTTP's alone does not depend on the stores."""
    return memory_pair


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    one = make_client()
    made(one, "meters", entry_topic="meters")
    return one


def inserted(client: FlaskClient, record: Any, **headers: str) -> TestResponse:
    body = {"datasource_id": "meters", "data": [record]}
    return client.post("/restapi/datasource/insert", json=body, headers={**bearer(client, **of("meters")), **headers})


def sent(client: FlaskClient, record: Any, **headers: str) -> TestResponse:
    return client.post("/v2/data/in/meters", json=event(record), headers=headers)


@pytest.mark.parametrize("push", [inserted, sent])
def test_records_that_name_a_home_are_forgotten_with_it_in_both_dialects(client: FlaskClient, push: Any) -> None:
    for value, headers in enumerate(({"Home-UUID": HOME.upper()}, {"Home_UUID": HOME}, {"Home-UUID": OTHER_HOME}, {})):
        assert push(client, {"value": value}, **headers).status_code == 200
    assert stored(client, "meters") == [{"value": value} for value in range(4)]
    assert client.delete(INGEST, headers={"Home-UUID": HOME}).status_code == 200
    assert stored(client, "meters") == [{"value": 2}, {"value": 3}]
    page = json_of(client.get("/v2/data/out/meters", headers=operator(client)))["result"]
    assert [one["event"]["value"] for one in page["events"]] == [2, 3]


@pytest.mark.parametrize("push", [inserted, sent])
def test_the_answer_and_what_is_read_do_not_tell_that_a_home_was_named(client: FlaskClient, push: Any) -> None:
    plain, named, again = (push(client, {"value": 1}, **headers) for headers in ({}, *[{"Home-UUID": HOME}] * 2))
    same = {"message": "Data successfully inserted", "inserted_rows": 1}
    for answer in (plain, named, again):
        told = json_of(answer)
        assert (told if push is inserted else told["result"]) == (same if push is inserted else plain.json["result"])
        assert dict(answer.headers).keys() == dict(plain.headers).keys()
    tag, key = house_of(client).states.homes.tag(HOME), operator(client)
    (named_home,) = house_of(client).collections.homes.of(tag)
    texts = [
        client.get(f"/restapi/datasource/meters/records?format={name}", headers=key, buffered=True).data
        for name in ("json", "jsonl", "csv", "parquet")
    ]
    texts.append(client.get("/v2/data/out/meters", headers=key).data)
    for mark in (HOME, tag, named_home.key):
        assert not [text for text in texts if mark.encode() in text]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "8-4-4-4-12"),
        (HOME.replace("-", ""), "8-4-4-4-12"),
        (f"{{{HOME}}}", "8-4-4-4-12"),
        (f"{HOME},{OTHER_HOME}", "different homes"),
    ],
)
def test_a_malformed_home_is_refused_in_the_dialect_and_nothing_is_kept(client: FlaskClient, given: str, words: str) -> None:
    refused = inserted(client, {"value": 1}, **{"Home-UUID": given})
    assert refused.status_code == 400
    told = json_of(refused)
    assert told["error"] == "validation_error"
    assert words in told["message"]
    refused = sent(client, {"value": 1}, **{"Home-UUID": given})
    assert refused.status_code == 400
    told = json_of(refused)
    assert told["params"]["msgid"] == event({})["params"]["msgid"]
    assert words in json.dumps(told)
    assert HOME not in json.dumps(told)
    assert stored(client, "meters") == []


def test_a_home_can_take_its_records_though_it_never_uploaded(client: FlaskClient) -> None:
    by_home = {"Home-UUID": HOME}
    inserted(client, {"value": 1}, **by_home)
    inserted(client, {"value": 2}, **{"Home-UUID": OTHER_HOME})
    (told,) = taken(client)
    assert (told["collection"], told["record"]) == ("meters", {"value": 1})
    assert json_of(client.get(f"{INGEST}?summary=true", headers=by_home))["collections"] == 1
    sent(client, {"value": 3}, **by_home)
    assert [one["record"]["value"] for one in taken(client)] == [1, 3]
    assert [info.key for info in house_of(client).objects.list("archives/")] != []
    client.delete(INGEST, headers=by_home)
    assert [info.key for info in house_of(client).objects.list("archives/")] == []
    assert taken(client) == []


def taken(client: FlaskClient) -> list[Any]:
    """The records in the home's archive."""
    answer = client.get(INGEST, headers={"Home-UUID": HOME}, buffered=True)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        return [json.loads(line) for line in archive.read("records.jsonl").splitlines()]


@pytest.mark.parametrize("push", [inserted, sent])
def test_records_that_name_a_home_which_has_objected_are_refused(client: FlaskClient, push: Any) -> None:
    by_home = {"Home-UUID": HOME}
    assert push(client, {"value": 1}, **by_home).status_code == 200
    assert client.delete(f"{INGEST}?stop=true", headers=by_home).status_code == 200
    refused = push(client, {"value": 2}, **by_home)
    assert refused.status_code == 410
    assert "objected" in json.dumps(json_of(refused))
    assert push(client, {"value": 3}).status_code == 200
    assert client.put("/api/ingest/consent", json={"terms": "1.0", "tier": "rows"}, headers=by_home).status_code == 200
    assert push(client, {"value": 4}, **by_home).status_code == 200
    assert stored(client, "meters") == [{"value": 3}, {"value": 4}]


def test_the_documents_name_the_header(client: FlaskClient) -> None:
    paths = json_of(client.get("/docs/openapi.json"))["paths"]
    for path in ("/restapi/datasource/insert", "/v2/data/in/{dataset_id}"):
        named = [one for one in paths[path]["post"]["parameters"] if one.get("name") == "Home-UUID"]
        assert [(one["in"], one["required"]) for one in named] == [("header", False)]

"""Who may upload and delete: anyone, or holders of a key with that grant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from smarthouse_api.access import keys
from tests.conftest import HOME, OTHER_HOME, Environment, house_of, payload, state
from tests.test_export_access import key_of
from tests.test_ingest import assert_problem

Clients = Callable[..., FlaskClient]
PATH = "/api/ingest/data"


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: the keys have their own tests."""
    return memory_pair


def sent(client: FlaskClient, method: str = "POST", home: str = HOME, **headers: str) -> Any:
    return client.open(PATH, method=method, data=payload(state()), headers={"Home-UUID": home, **headers})


def test_an_open_house_asks_for_no_key_and_looks_at_none(client: FlaskClient) -> None:
    assert sent(client, Authorization="Bearer x").status_code == 200


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_without_a_key_it_is_a_401_and_with_another_a_403_the_same_for_each_home(make_client: Clients, method: str) -> None:
    client = make_client(ingest_access="key")
    assert sent(client, **key_of(client, ingest=True)).status_code == 200  # of a home that is known from now on
    for home in (HOME, OTHER_HOME, "no home"):
        nobody = sent(client, method, home)
        assert_problem(nobody, 401, "A key is needed")
        assert nobody.headers["WWW-Authenticate"] == "Bearer"
        assert_problem(sent(client, method, home, **key_of(client, export=True)), 403, "The key does not open uploads")
    assert len(house_of(client).states.uploads.pending()) == 1


@pytest.mark.parametrize("grants", [{"ingest": True}, {"admin": True}])
def test_a_key_with_the_grant_and_an_operators_upload_and_delete(make_client: Clients, grants: Any) -> None:
    client = make_client(ingest_access="key")
    headers = key_of(client, **grants)
    assert [sent(client, method, **headers).status_code for method in ("POST", "DELETE")] == [200, 200]


def test_the_grant_opens_nothing_else(make_client: Clients) -> None:
    client = make_client(export_access="key")
    assert client.get("/api/export/csv", headers=key_of(client, ingest=True)).status_code == 403


def test_a_key_that_was_made_before_the_grant_existed_is_still_read(client: FlaskClient) -> None:
    record, _ = house_of(client).access.create("old", datasets=["example"])
    kept = msgspec.json.decode(keys.KeyDocument(record, b"", b"", record.created_at).encoded())
    del kept["record"]["ingest"]
    assert keys.decoded(msgspec.json.encode(kept)).record == record
    assert not record.ingest


def test_the_document_tells_the_optional_key(client: FlaskClient) -> None:
    spec = client.get("/api/ingest/openapi.json").get_json()
    for method in ("post", "delete"):
        found = spec["paths"][PATH][method]
        assert found["security"] == [{"Bearer": []}, {}]
        assert {"401", "403"} <= found["responses"].keys()
    assert "Bearer" in spec["components"]["securitySchemes"]

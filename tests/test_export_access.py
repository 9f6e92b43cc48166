"""Who may download rows: anyone, holders of a key with that grant, or an operator alone; and what the log then says."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from backends.ports import StoreUnavailable
from smarthouse_api.access import keys
from tests.conftest import HOME, Environment, house_of, payload, state, unzipped
from tests.test_ingest import assert_problem

Clients = Callable[..., FlaskClient]


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: the keys have their own tests."""
    return memory_pair


def key_of(client: FlaskClient, **grants: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {house_of(client).access.create('anna', **grants)[1]}"}


def filled(client: FlaskClient) -> FlaskClient:
    client.post("/api/ingest/data", data=payload(state(unit_of_measurement="K")), headers={"Home-UUID": HOME})
    return client


def test_an_open_lake_asks_for_no_key_and_looks_at_none(client: FlaskClient) -> None:
    filled(client)
    assert client.get("/api/export/csv", buffered=True).status_code == 200
    assert client.get("/api/export/csv", headers={"Authorization": "Basic x"}, buffered=True).status_code == 200


@pytest.mark.parametrize("path", ["/api/export/csv", "/api/export/dataset?formats=csv"])
def test_without_a_key_where_one_is_asked_for_it_is_a_401_with_a_challenge(make_client: Clients, path: str) -> None:
    answer = filled(make_client(export_access="key")).get(path)
    assert_problem(answer, 401, "A key is needed")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("access", ["key", "tiers"])
@pytest.mark.parametrize("grants", [{"export": True}, {"admin": True}])
def test_a_key_with_the_grant_and_an_operators_open_the_rows(make_client: Clients, access: str, grants: Any) -> None:
    client = filled(make_client(export_access=access))
    assert client.get("/api/export/csv", headers=key_of(client, **grants), buffered=True).status_code == 200


@pytest.mark.parametrize("access", ["key", "tiers"])
def test_a_key_without_the_grant_is_a_403(make_client: Clients, access: str) -> None:
    client = filled(make_client(export_access=access))
    answer = client.get("/api/export/csv", headers=key_of(client, homes=[1], datasets=["example"]))
    assert_problem(answer, 403, "The key does not open exports")


def test_rows_without_a_key_are_a_403_that_says_why_where_there_are_tiers(make_client: Clients) -> None:
    assert_problem(filled(make_client(export_access="tiers")).get("/api/export/csv"), 403, "Rows need a key")


@pytest.mark.parametrize("access", ["key", "tiers"])
def test_a_key_that_does_not_exist_is_a_401(make_client: Clients, access: str) -> None:
    headers = {"Authorization": f"Bearer shk_{'0' * 12}_{'0' * 64}"}
    assert_problem(make_client(export_access=access).get("/api/export/csv", headers=headers), 401, "unknown")


@pytest.mark.parametrize("access", ["open", "key", "tiers"])
def test_raw_rows_are_for_an_operators_key_alone(make_client: Clients, access: str) -> None:
    client = filled(make_client(export_access=access, export_privacy="raw"))
    assert client.get("/api/export/csv").status_code == 401
    assert client.get("/api/export/csv", headers=key_of(client, export=True)).status_code == 403
    assert client.get("/api/export/csv", headers=key_of(client, admin=True), buffered=True).status_code == 200


def test_anyone_may_ask_for_the_formats(make_client: Clients) -> None:
    assert make_client(export_access="key").get("/api/export/formats").status_code == 200


def test_the_log_says_whose_key_had_which_rows_and_no_secret(make_client: Clients, caplog: pytest.LogCaptureFixture) -> None:
    client = filled(make_client(export_access="key"))
    headers = key_of(client, export=True)
    _, id_, secret = headers["Authorization"].split("_")
    with caplog.at_level(logging.INFO, "smarthouse.export"):
        client.get(f"/api/export/csv?types=sensor&units={HOME},K", headers=headers, buffered=True)
        client.get("/api/export/csv?types=light", headers=headers, buffered=True)
        client.head("/api/export/csv", headers=headers, buffered=True)
    first, empty, head = [one.getMessage() for one in caplog.records if one.name == "smarthouse.export"]
    assert f"key {id_}: /api/export/csv?types=sensor&units={{uuid}}%2CK: 1 rows, whole" in first
    assert "types=light: 0 rows, whole" in empty
    assert "broken off" in head
    assert secret not in caplog.text
    assert HOME not in caplog.text


def test_a_download_by_key_is_noted_for_the_operator_without_naming_a_home(
    make_client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = filled(make_client(export_access="key"))
    house, headers = house_of(client), key_of(client, export=True)
    id_ = headers["Authorization"].split("_")[1]
    rows = client.get("/api/export/jsonl?metadata=false", headers=headers, buffered=True)
    pseudonym = re.search(rb"home_[0-9a-f]{16}", unzipped(rows.data)["jsonl"])
    assert pseudonym is not None
    home = pseudonym[0].decode()
    client.get(f"/api/export/csv?homes={home},home_{'0' * 16}&types=sensor&homes[]={home}", headers=headers, buffered=True)
    client.get(f"/api/export/csv?types={HOME}", headers=headers, buffered=True)
    first, named, empty = house.downloads.since(0)
    assert (first.key, first.name, first.rows, first.is_whole) == (id_, "anna", 1, True)
    assert (named.path, named.query, named.rows) == ("/api/export/csv", "types=sensor&homes=%283%29", 1)
    assert (empty.query, empty.rows) == ("types={uuid}", 0)
    assert list(house.downloads.since(empty.at)) == [empty]
    assert list(house.downloads.since(0, "0" * 12)) == []
    kept = b"".join(document.value for _, document in house.state.scan_all("downloads"))
    assert home.encode() not in kept
    monkeypatch.setattr(house.downloads, "_state", SimpleNamespace(put=fail))
    assert client.get("/api/export/csv", headers=headers, buffered=True).status_code == 200


def test_a_download_of_a_kept_file_tells_what_it_was_made_for(make_client: Clients) -> None:
    client = filled(make_client(export_access="key"))
    house, headers = house_of(client), key_of(client, export=True)
    asked = client.post("/api/export/jobs?formats=csv&types=sensor&date_from=2020-01-01", headers=headers).get_json()
    while house.states.jobs.maker.work():
        pass
    url = f"/api/export/jobs/{asked['id']}/file"
    assert client.get(url, headers=headers, buffered=True).status_code == 200
    assert client.get(url, headers={**headers, "Range": "bytes=0-9"}, buffered=True).status_code == 206
    whole, part = house.downloads.since(0)
    assert whole.query == part.query == "formats=csv&date_from=2020-01-01&types=sensor"
    assert [(one.rows, one.is_whole, one.is_part) for one in (whole, part)] == [(1, True, False), (1, True, True)]


def fail(*_: object, **__: object) -> None:
    raise StoreUnavailable("no note is kept")


def test_no_download_is_noted_where_that_is_off_or_needs_no_key(make_client: Clients) -> None:
    for settings in ({"export_access": "key", "download_log_days": 0}, {}):
        client = filled(make_client(**settings))
        client.get("/api/export/csv", headers=key_of(client, export=True), buffered=True)
        assert not list(house_of(client).downloads.since(0))


def test_a_key_that_was_made_before_the_grant_existed_is_still_read(client: FlaskClient) -> None:
    record, _ = house_of(client).access.create("old", datasets=["example"])
    kept = msgspec.json.decode(keys.KeyDocument(record, b"", b"", record.created_at).encoded())
    del kept["record"]["export"]
    assert keys.decoded(msgspec.json.encode(kept)).record == record
    assert not record.export


def test_the_document_tells_the_optional_key(client: FlaskClient) -> None:
    spec = client.get("/api/export/openapi.json").get_json()
    for path in ("/api/export/{format}", "/api/export/dataset"):
        found = spec["paths"][path]["get"]
        assert found["security"] == [{"Bearer": []}, {}]
        assert {"401", "403"} <= found["responses"].keys()
    assert "Bearer" in spec["components"]["securitySchemes"]

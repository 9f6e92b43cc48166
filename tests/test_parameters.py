"""No operation of our own ignores a parameter: one that is unknown, repeated or empty is refused in the dialect of its API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from blueprints.parameters import ORIGINALS
from tests.conftest import HOME, Environment, house_of
from tests.test_ingest import assert_problem

ORIGINAL_OPERATIONS = {
    ("POST", "/api/ingest/data"),
    ("POST", "/restapi/datasource/insert"),
    ("POST", "/v2/data/in/<dataset_id>"),
    ("GET", "/homes/<homeId>/smartModules/<moduleId>/streams"),
    ("GET", "/homes/<homeId>/smartModules/<moduleId>/streams/<streamName>"),
    ("GET", "/homes/<homeId>/smartModules/<moduleId>/streams/<streamName>/status"),
    ("GET", "/homes/<homeId>/smartModules/<moduleId>/streams/<streamName>/sessions"),
    ("POST", "/homes/<homeId>/smartModules/<moduleId>/streams/<streamName>/sessions"),
    ("GET", "/homes/<homeId>/smartModules/<moduleId>/streams/<streamName>/sessions/<sessionId>"),
    ("DELETE", "/homes/<homeId>/smartModules/<moduleId>/streams/<streamName>/sessions/<sessionId>"),
    ("GET", "/homes/<homeId>/smartModules/<moduleId>/streams/<streamName>/metadata"),
    ("GET", "/homes/<homeId>/smartModules/<moduleId>/streams/<streamName>/data"),
}
"""The operations of the original servers, Export's apart: these ignore a parameter that they do not know."""

PAGES = re.compile(r"/.+/(ui|openapi\.json)")
"""The originals served such pages too, and a page is no operation."""


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: none is asked."""
    return memory_pair


def operations(client: FlaskClient) -> Iterator[tuple[str, str, str]]:
    """Method, path and endpoint of each operation, the pages about the APIs left out."""
    for rule in client.application.url_map.iter_rules():
        path = re.sub(r"<\w+:", "<", rule.rule)
        if path == "/docs/openapi.json" or not PAGES.fullmatch(path):
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                yield method, path, rule.endpoint


def asked(client: FlaskClient, method: str, path: str, query: str) -> Any:
    key = house_of(client).access.create("operator", admin=True)[1]
    url = re.sub(r"<\w+>", "1", path)
    return client.open(f"{url}?{query}", method=method, headers={"Authorization": f"Bearer {key}"}, buffered=True)


def test_each_operation_is_strict_or_an_originals_own(client: FlaskClient) -> None:
    refusing, ignoring = set(), set()
    for method, path, _ in operations(client):
        answer = asked(client, method, path, "nonsense=1")
        is_refused = answer.status_code == 400 and "nonsense: is not a parameter here" in answer.text
        (refusing if is_refused else ignoring).add((method, path))
    assert ignoring == ORIGINAL_OPERATIONS
    assert {("GET", "/metrics"), ("GET", "/api/export/<format>"), ("GET", "/docs"), ("POST", "/v2/datasets/create")} <= refusing


def test_every_original_is_an_endpoint_that_exists(client: FlaskClient) -> None:
    there_are = {(method, endpoint) for method, _, endpoint in operations(client)}
    assert {(method, endpoint) for endpoint, methods in ORIGINALS.items() for method in methods} <= there_are


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_head_is_as_strict_as_a_get(client: FlaskClient, method: str) -> None:
    assert client.open("/api/export/csv?type=sensor", method=method).status_code == 400


def test_a_browser_may_ask_first_with_any_query(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(cors_export="https://example.org")
    origin = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
    assert client.options("/api/export/csv?type=sensor", headers=origin).status_code == 204


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("type=sensor", "type: is not a parameter here"),
        ("home=home_x", "home: is not a parameter here"),
        ("limit=5", "limit: is not a parameter here"),
        ("date=2026-01-01", "date: is not a parameter here"),
        ("Types=sensor", "Types: is not a parameter here"),
        ("metadata[]=false", "metadata[]: is not a parameter here"),
        ("nothing", "nothing: is not a parameter here"),
        ("=1", "(no name): is not a parameter here"),
        ("date_from=2026-01-01&date_from=2026-01-02", "date_from: is repeated"),
        ("date_from=2026-01-01&date_from=2026-01-01", "date_from: is repeated"),
        ("metadata=true&metadata=false", "metadata: is repeated"),
        ("units=", "units: is empty"),
        ("units", "units: is empty"),
        ("units=,", "units: is empty"),
        ("units=K&units=", "units: is empty"),
        ("units[]=", "units[]: is empty"),
        ("types[]=%20", "types[]: is empty"),
    ],
)
def test_export_names_the_fault_and_the_parameters_that_there_are(client: FlaskClient, query: str, told: str) -> None:
    answer = client.get(f"/api/export/csv?{query}")
    assert_problem(answer, 400, told)
    for name in ("date_from", "date_to", "types", "units", "time_field", "metadata"):
        assert_problem(answer, 400, name)


def test_all_parameters_that_do_not_exist_are_told_together(client: FlaskClient) -> None:
    answer = client.get("/api/export/csv?type=sensor&limit=5")
    assert_problem(answer, 400, "type: is not")
    assert_problem(answer, 400, "limit: is not")


def test_a_uuid_that_a_client_gives_as_a_parameter_is_not_repeated(client: FlaskClient) -> None:
    answer = client.get(f"/api/export/csv?date_from={HOME}")
    assert (answer.status_code, "{uuid}" in answer.text, HOME in answer.text) == (400, True, False)


def test_a_very_long_name_is_not_repeated_in_full(client: FlaskClient) -> None:
    assert len(client.get(f"/api/export/csv?{'9' * 5000}=1").data) < 500


def test_an_operation_without_parameters_says_so(client: FlaskClient) -> None:
    assert_problem(client.get("/health/live?verbose=1"), 400, "it takes no parameters")


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        ("/restapi/datasource/67890/records", "form=2026-01-01", "the parameters are from, to, limit, cursor, format, meta"),
        ("/restapi/datasource/67890/records", "limit=1&limit=1", "limit: is repeated"),
        ("/v2/datasets/read/example", "fields=", "fields: is empty"),
        ("/v2/data/out/example", "before=1", "the parameters are after, limit"),
        ("/v2/datasets/failed/example", "after=", "after: is empty"),
    ],
)
def test_other_apis_refuse_in_their_own_dialect(client: FlaskClient, path: str, query: str, told: str) -> None:
    answer = asked(client, "GET", path, query)
    assert answer.status_code == 400
    found = answer.json["error"] if path.startswith("/v2") else answer.json
    assert told in found["message"]


def test_who_shows_no_key_is_told_nothing_of_a_streams_parameters(client: FlaskClient) -> None:
    assert client.post("/homes/1/smartModules/sds/streams/camera/data?nonsense=1").status_code == 401

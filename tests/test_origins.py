"""Pages of other origins: which may call an API, what they may read, and that no other page changes anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from smarthouse_api.errors import StoreUnavailable
from tests.conftest import HOME, Environment, house_of, payload, state

APP, ELSEWHERE = "https://app.example", "https://elsewhere.example"
ENVELOPE = {"id": "api.data.in", "ver": "v2", "ts": "1", "params": {"msgid": "m"}}
EVENT = {**ENVELOPE, "data": {"eid": "x"}}
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
STREAM = "/homes/1/smartModules/sds/streams/camera"

Call = tuple[str, str, dict[str, Any]]
WRITES: dict[str, list[Call]] = {
    "ingest": [
        ("POST", "/api/ingest/data", {"data": payload(state()), "headers": {"Home-UUID": HOME}}),
        ("DELETE", "/api/ingest/data", {"headers": {"Home-UUID": HOME}}),
    ],
    "datasources": [("POST", "/restapi/datasource/insert", {"json": {"datasource_id": "67890", "data": [{"a": 1}]}})],
    "streams": [
        ("PUT", STREAM, {}),
        ("POST", f"{STREAM}/data", {"data": b"packet"}),
        ("DELETE", STREAM, {}),
    ],
    "datasets": [
        ("POST", "/v2/data/in/example", {"json": EVENT}),
        ("POST", "/v2/datasets/create", {"json": {**ENVELOPE, "id": "api.datasets.create", "request": {"dataset_id": "new"}}}),
    ],
}
PATHS = {
    "ingest": "/api/ingest/data",
    "export": "/api/export/csv",
    "datasources": "/restapi/datasource/67890/records",
    "streams": STREAM,
    "datasets": "/v2/datasets/records/example",
}
OPEN = {f"cors_{api}": APP for api in PATHS}
EACH_API = pytest.mark.parametrize("api", PATHS)
EACH_WRITE = pytest.mark.parametrize(
    ("api", "call"), [(api, call) for api, calls in WRITES.items() for call in calls], ids=lambda one: str(one)[:40]
)


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """What a browser is told does not depend on the stores."""
    return memory_pair


def ask_first(client: FlaskClient, path: str, origin: str = APP, method: str = "GET", names: str = "") -> TestResponse:
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": names}
    return client.options(path, headers=headers)


def send(client: FlaskClient, call: Call, **headers: str) -> TestResponse:
    method, path, options = call
    _, key = house_of(client).access.create("operator", admin=True)
    headers = {"Authorization": f"Bearer {key}", **options.get("headers", {}), **headers}
    return client.open(path, method=method, **{**options, "headers": headers})


def cross_origin(answer: TestResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


def told(answer: TestResponse) -> str:
    """The words of an error, in any dialect."""
    body = answer.get_json()
    return str(body.get("detail") or body.get("message") or body.get("error", {}).get("message"))


@EACH_API
def test_no_page_is_let_in_by_default(client: FlaskClient, api: str) -> None:
    answer = client.get(PATHS[api], headers={"Origin": APP})
    assert (cross_origin(answer), answer.headers.get("Vary")) == ({}, None)
    refused = ask_first(client, PATHS[api])
    assert (refused.status_code, cross_origin(refused)) == (403, {})
    assert told(refused) == (
        f"Origin: pages of {APP} may not call this; the operator of the service names the origins that may "
        f"in SMARTHOUSE_CORS_{api.upper()}"
    )


@EACH_API
def test_a_setting_opens_one_api_alone(make_client: Callable[..., FlaskClient], api: str) -> None:
    client = make_client(**{f"cors_{api}": f"http://192.168.1.5:3000, {APP}"})
    assert {other for other, path in PATHS.items() if ask_first(client, path).status_code == 204} == {api}
    answer = client.get(PATHS[api], headers={"Origin": APP})
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (APP, "Origin")
    assert "Access-Control-Allow-Credentials" not in answer.headers
    exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed >= {"Content-Disposition", "ETag", "Location", "Retry-After", "X-Request-ID", "Idempotency-Replayed"}
    assert exposed >= {"vnd.tinkermode.range", "X-As-Of", "X-Empty-Reason", "Accept-Ranges", "Content-Range"}
    assert cross_origin(client.get(PATHS[api], headers={"Origin": ELSEWHERE})) == {}


@EACH_API
def test_a_cache_keeps_the_answers_to_two_origins_apart(make_client: Callable[..., FlaskClient], api: str) -> None:
    client = make_client(**OPEN)
    assert {client.get(PATHS[api], headers=sent).headers["Vary"] for sent in ({}, {"Origin": ELSEWHERE})} == {"Origin"}


@EACH_API
def test_a_preflight_needs_no_key_on_any_path(make_client: Callable[..., FlaskClient], api: str) -> None:
    client = make_client(**OPEN)
    for path in (PATHS[api], f"{PATHS[api]}/nothing/at/all?what=1"):
        answer = ask_first(client, path, method="DELETE", names="authorization,home-uuid,content-encoding,idempotency-key")
        assert (answer.status_code, answer.text, answer.headers["Vary"]) == (204, "", "Origin")
        assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Access-Control-Allow-Methods"]) == (APP, METHODS)
        assert answer.headers["Access-Control-Max-Age"] == "7200"
        allowed = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
        assert allowed >= {"Authorization", "Home-UUID", "Content-Type", "Content-Encoding", "Idempotency-Key"}
        assert allowed >= {"Last-Event-ID", "Range", "If-Range", "If-None-Match", "X-Request-ID"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", STREAM, 401),
        ("GET", "/homes/1/nothing", 401),
        ("GET", "/v2/nothing", 404),
        ("GET", "/restapi/datasource/insert", 405),
        ("GET", "/api/export/pdf", 400),
        ("GET", "/api/export//formats", 308),
        ("POST", "/api/ingest/data", 400),
    ],
)
def test_a_page_can_read_why_it_was_refused(
    make_client: Callable[..., FlaskClient], method: str, path: str, status: int
) -> None:
    answer = make_client(**OPEN).open(path, method=method, headers={"Origin": APP})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, APP)
    assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(("fault", "status"), [(StoreUnavailable("down"), 503), (RuntimeError("bug"), 500)])
def test_a_page_can_read_that_the_service_failed(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise fault

    client = make_client(**OPEN)
    monkeypatch.setattr(house_of(client).state, "get", fail)
    answer = client.get(STREAM, headers={"Origin": APP, "Authorization": f"Bearer shk_{'a' * 12}_{'b' * 64}"})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, APP)


def test_a_page_can_read_a_limit(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(cors_ingest=APP, max_body_bytes=1000, max_decoded_bytes=1000, ingest_rate_home="1/hour")
    headers = {"Origin": APP, "Home-UUID": HOME}
    answers = [client.post("/api/ingest/data", data=body, headers=headers) for body in (b"x" * 1001, b"{}", b"{}")]
    assert [answer.headers["Access-Control-Allow-Origin"] for answer in answers] == [APP] * 3
    assert {413, 429} <= {answer.status_code for answer in answers}


@EACH_WRITE
@pytest.mark.parametrize(
    "setting", ["", "https://elsewhere.example.org,http://elsewhere.example,https://elsewhere.example:8443"]
)
@pytest.mark.parametrize("origin", [ELSEWHERE, "null"])
def test_a_page_of_another_site_changes_nothing(
    make_client: Callable[..., FlaskClient], api: str, call: Call, origin: str, setting: str
) -> None:
    client = make_client(**dict.fromkeys(OPEN, setting))
    house_of(client).collections.begin()
    answer = send(client, call, Origin=origin)
    assert (answer.status_code, cross_origin(answer)) == (403, {})
    assert f"pages of {origin} may not" in told(answer)
    assert f"SMARTHOUSE_CORS_{api.upper()}" in told(answer)


@EACH_API
def test_a_page_of_a_named_origin_may_write(make_client: Callable[..., FlaskClient], api: str) -> None:
    client = make_client(**OPEN)
    house_of(client).collections.begin()
    for call in WRITES.get(api, []):
        answer = send(client, call, **{"Origin": APP, "Sec-Fetch-Site": "cross-site"})
        assert answer.status_code in (200, 201, 204), answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_what_browsers_send_without_a_preflight_is_refused_too(client: FlaskClient, kind: str) -> None:
    house_of(client).collections.begin()
    url, body = "/v2/data/in/example", json.dumps(EVENT)
    assert client.post(url, data=body, content_type=kind, headers={"Origin": ELSEWHERE}).status_code == 403
    assert client.post(url, data=body, content_type=kind, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post(url, data=body, content_type=kind).status_code == 200
    events = send(client, ("GET", "/v2/data/out/example", {})).get_json()["result"]["events"]
    assert len(events) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://service.example:8000"}, 200),
        ({"Origin": "https://service.example:8000"}, 200),  # TLS may end in front of the service
        ({"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "same-origin"}, 200),  # a proxy may change Host
        ({"Origin": "http://service.example:8000", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://service.example:8000", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://service.example"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://service.example:8000.elsewhere.example"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({}, 200),
    ],
)
def test_the_services_own_pages_may_write_also_behind_a_proxy(
    client: FlaskClient, headers: dict[str, str], status: int
) -> None:
    house_of(client).collections.begin()
    sent = {"Host": "service.example:8000", **headers}
    below = {"SCRIPT_NAME": "/sub", "PATH_INFO": "/v2/data/in/example"}
    assert client.post("/sub/v2/data/in/example", json=EVENT, headers=sent, environ_overrides=below).status_code == status


def test_every_origin_may_read_exports_if_the_operator_says_so(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(cors_export="*")
    answer = client.get("/api/export/csv", headers={"Origin": ELSEWHERE})
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers.get("Vary")) == ("*", None)
    assert ask_first(client, "/api/export/csv", ELSEWHERE).status_code == 204


@pytest.mark.parametrize("path", ["/docs", "/health/live", "/metrics", "/nothing"])
def test_a_page_elsewhere_reads_nothing_of_the_rest(make_client: Callable[..., FlaskClient], path: str) -> None:
    client = make_client(**OPEN)
    assert cross_origin(client.get(path, headers={"Origin": APP})) == {}
    refused = client.post(path, headers={"Origin": APP})
    assert (refused.status_code, told(refused)) == (403, f"Origin: pages of {APP} may not call this")

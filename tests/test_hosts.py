"""Hosts: no answer builds a URL from a host that is not ours, and a request for another host is refused."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient

from config.settings import Settings, SettingsError
from tests.conftest import HOME, Environment, Server, house_of
from tests.streams.caller import Caller

EVIL = "evil.example"
FOUND = "/homes/1/smartModules/sds/streams/camera/download?"
OURS = "lake.example.org,.homes.example:8443,127.0.0.1,localhost"
EACH_API = {
    "/api/ingest/receipts/key": "detail",
    "/api/export/formats": "detail",
    "/restapi/datasource/67890/records": "error",
    "/homes/1/smartModules/sds/streams": "reason",
    "/v2/data/out/example": "responseCode",
}
"""A path of each API, and a member of its errors."""


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: none is asked who is asked."""
    return memory_pair


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    """Of a service that knows its hosts."""
    return make_client(allowed_hosts=OURS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server that knows its hosts."""
    one = Server({"SMARTHOUSE_DATA_DIR": str(tmp_path_factory.mktemp("data")), "SMARTHOUSE_ALLOWED_HOSTS": OURS}).start()
    yield one
    one.kill()


def asked(server: Server, path: str, host: str, **headers: str) -> tuple[int, Any]:
    """The status and the JSON that a client gets who names this host."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Host": host, **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null") if answer.status >= 400 else None


def located(client: FlaskClient, host: str, **headers: str) -> str:
    """Where a client is sent for packets who names this host."""
    caller = Caller.with_key(client)
    caller.put("/camera")
    caller.post("/camera/data?index=0", data=b"x")
    answer = caller.get("/camera/data?start=0&stop=0", headers={"Host": host, **headers})
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


@pytest.mark.parametrize(("path", "member"), EACH_API.items())
def test_a_foreign_host_is_a_400_of_each_api_over_a_socket(server: Server, path: str, member: str) -> None:
    for host in (EVIL, f"{EVIL}:80", "127.0.0.1.evil.example", "evil.example@127.0.0.1", "xlake.example.org"):
        status, told = asked(server, path, host)
        assert (status, member in told) == (400, True), host
    status, told = asked(server, path, f"127.0.0.1:{server.port}")
    assert status in (200, 401, 403, 405)


def test_probes_may_name_any_host(server: Server) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert asked(server, path, "10.1.2.3:8000")[0] == 200
    for path in ("/health//live", "/health/", "/docs", "/nothing"):
        assert asked(server, path, "10.1.2.3:8000")[0] == 400


@pytest.mark.parametrize(
    "host",
    ["lake.example.org", "LAKE.example.org:8443", "homes.example", "north.homes.example", "a.b.homes.example:1", "127.0.0.1"],
)
def test_a_host_of_ours_is_answered_on_any_port(client: FlaskClient, host: str) -> None:
    assert client.get("/api/export/formats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", [EVIL, "", "lake.example.org.evil.example", "xhomes.example", "lake example.org", "[::1]"])
def test_any_other_host_is_refused_and_is_told_the_setting(client: FlaskClient, host: str) -> None:
    answer = client.get("/api/export/formats", environ_overrides={"HTTP_HOST": host})
    assert answer.status_code == 400
    assert "SMARTHOUSE_ALLOWED_HOSTS" in answer.get_json()["detail"]


def test_a_foreign_host_changes_nothing_and_asks_for_no_key(client: FlaskClient) -> None:
    headers = {"Host": EVIL, "Home-UUID": HOME}
    assert client.post("/api/ingest/data", data=b"{}", headers=headers).status_code == 400
    assert client.get("/homes/1/nothing", headers=headers).status_code == 400
    assert client.get("/homes/1/smartModules/sds/streams", headers=headers).status_code == 400
    assert house_of(client).states.homes.find(HOME) is None


def test_a_url_is_built_from_a_host_of_ours(client: FlaskClient) -> None:
    assert located(client, "lake.example.org:8443").startswith(f"http://lake.example.org:8443{FOUND}")


@pytest.mark.parametrize("host", [EVIL, "192.168.1.5:8000", "localhost.evil.example", "[::1]:8000"])
def test_without_the_setting_a_url_names_no_host_that_only_the_request_named(
    make_client: Callable[..., FlaskClient], host: str
) -> None:
    client = make_client()
    location = located(client, host)
    assert location.startswith(FOUND)
    assert client.get(location).data == b"x"
    assert located(client, "localhost:8000").startswith(f"http://localhost:8000{FOUND}")


@pytest.mark.parametrize(("proxies", "is_believed"), [(0, False), (1, True)])
def test_a_forwarded_host_counts_only_behind_a_trusted_proxy(
    make_client: Callable[..., FlaskClient], proxies: int, is_believed: bool
) -> None:
    client = make_client(allowed_hosts="lake.example.org", trusted_proxies=proxies)
    for host, forwarded, status in (
        (EVIL, "lake.example.org", 200 if is_believed else 400),
        ("lake.example.org", EVIL, 400 if is_believed else 200),
    ):
        answer = client.get("/api/export/formats", headers={"Host": host, "X-Forwarded-Host": forwarded})
        assert answer.status_code == status


def test_no_answer_of_any_path_names_the_host_of_its_request(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client()
    caller = Caller.with_key(client, admin=True).filled(b"x")
    rules = [rule.rule for rule in client.application.url_map.iter_rules() if "GET" in (rule.methods or ())]
    names = {"homeId": "1", "moduleId": "sds", "streamName": "camera", "dataset_id": "example", "datasource_id": "67890"}
    tried = 0
    for rule in rules:
        path = "/".join(
            names.get(part.rpartition(":")[2].strip("<>"), "0") if "<" in part else part for part in rule.split("/")
        )
        for spelled in (path, f"/{path}", path.replace("/", "//")):
            answer = client.get(f"{spelled}?start=0&stop=0", headers={"Host": EVIL, "Authorization": f"Bearer {caller.key}"})
            assert EVIL not in str(answer.headers), spelled
            assert EVIL not in answer.text, spelled
            tried += answer.status_code < 400
    assert tried > 15


def test_a_path_with_too_many_slashes_leads_to_no_other_host(make_client: Callable[..., FlaskClient]) -> None:
    for path in ("//docs", "///docs", "//evil.example//docs", "/docs//openapi.json"):
        location = make_client().get(path, headers={"Host": EVIL}).headers.get("Location")
        assert location is None or location.startswith(("/docs", "/evil.example/docs")), path


def test_a_refusal_keeps_its_words_where_a_redirect_would_follow(client: FlaskClient) -> None:
    for headers, status, word in (({"Host": EVIL}, 400, "Host"), ({"Origin": f"https://{EVIL}"}, 403, "Origin")):
        answer = client.post("/api/ingest//data", data=b"{}", headers=headers)
        assert (answer.status_code, answer.headers.get("Location")) == (status, None)
        assert answer.get_json()["detail"].startswith(f"{word}: ")
    assert client.get("/api/export//csv").headers["Location"] == "/api/export/csv"


@pytest.mark.parametrize(
    "text",
    [
        *("*", "https://lake.example.org", "lake.example.org/x", "[::1]", ".", "Lake.example.org", "a b", "a:b"),
        *("lake..example.org", f"{'a' * 64}.example", "my_lake"),
    ],
)
def test_what_is_no_host_is_refused_at_the_start(memory_pair: Environment, text: str) -> None:
    with pytest.raises(
        SettingsError, match=r"SMARTHOUSE_ALLOWED_HOSTS: .* is not a host that can be named; write lake.example"
    ):
        Settings.from_env({**memory_pair, "SMARTHOUSE_ALLOWED_HOSTS": text})

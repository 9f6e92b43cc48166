"""Names in paths: whatever they hold, they arrive as they are, and go back into URLs."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from flask import Flask, request, url_for
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from blueprints import path_segments
from tests.conftest import Environment, Server
from tests.each import each
from tests.streams.caller import Caller, assert_refused, json_of, key_of
from tests.test_server import answers, gunicorn
from tests.waiting import soon

NAMES = [
    "a/b",
    "/",
    "//",
    "/a/",
    "a%2Fb",
    "%",
    "%25",
    "100%",
    "a.b",
    "...",
    ".hidden",
    "a b",
    "a+b",
    "a?b#c",
    "a;b=c,d",
    "a&b",
    "höhe",
    "温度",
    "🏠",
    "e\u0301",
    "x" * 300,
    "🏠" * 100,
    "status",
    "sessions",
    "'\"<>\\",
    "a:b@c",
    "http://x/y",
    "\u2028",
]


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: the names are digests to it."""
    return memory_pair


@pytest.fixture
def caller(client: FlaskClient) -> Caller:
    return Caller.with_key(client)


def quoted(name: str) -> str:
    return quote(name, safe="")


# As the world writes them


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_may_have_any_name(caller: Caller, name: str) -> None:
    made = caller.put(f"/{quoted(name)}")
    assert (made.status_code, json_of(made)["name"]) == (201, name)
    assert made.headers["Location"] == f"{caller.prefix}/{quoted(name)}"
    assert json_of(caller.get(f"/{quoted(name)}/status")) == {"packetIndex": -1}
    assert [one["name"] for one in json_of(caller.get())] == [name]


@each("name", NAMES)
def test_a_module_may_have_any_name(caller: Caller, name: str) -> None:
    there = caller.at(module=name)
    assert json_of(there.put("/camera"))["moduleId"] == name
    assert there.get("/camera").status_code == 200


@each("name", NAMES)
def test_a_download_finds_the_stream_whatever_its_name(caller: Caller, name: str) -> None:
    assert caller.put(f"/{quoted(name)}").status_code == 201
    assert caller.post(f"/{quoted(name)}/data", data=b"x").status_code == 201
    assert caller.client.get(caller.located("start=0&stop=0", quoted(name)), buffered=True).data == b"x"


@pytest.mark.parametrize("name", ["a/b", "%", "open", "..", "🏠", "x" * 300])
def test_a_session_may_be_asked_for_by_any_id(caller: Caller, name: str) -> None:
    caller.filled()
    assert_refused(caller.get(f"/camera/sessions/{quoted(name)}"), 404, "SESSION_NOT_FOUND")


def test_names_that_differ_in_their_encoding_only_are_the_same(caller: Caller) -> None:
    assert caller.put("/camera").status_code == 201
    assert caller.put("/%63am%65ra").status_code == 200


def test_names_that_look_alike_once_decoded_too_often_are_different(caller: Caller) -> None:
    spellings = ["a%2Fb", "a%252Fb", "a%25252Fb"]
    assert [caller.put(f"/{one}").status_code for one in spellings] == [201, 201, 201]
    assert {one["name"] for one in json_of(caller.get())} == {"a/b", "a%2Fb", "a%252Fb"}


@each("path", ["/%2E%2E", "/%2E", "/..", "/.", "/%00", "/a%0Ab", "/%7F", f"/{'x' * 513}", "/%C2%85"])
def test_a_name_that_nothing_can_have_is_a_400(caller: Caller, path: str) -> None:
    assert_refused(caller.put(path), 400, "INVALID_PARAMETER", "streamName: ")


@each("bad", ["%FF", "a%FFb", "%ED%A0%80", "%C3", "%2F%FF", "%F0%9F%8F", "%25%FF"])
def test_a_name_that_is_no_utf_8_is_a_400_after_key_and_home(caller: Caller, bad: str) -> None:
    assert_refused(caller.get(f"/{bad}", headers={"Authorization": ""}), 401, "UNAUTHORIZED")
    for method in ("GET", "PUT", "DELETE"):
        assert_refused(caller.call(method, f"/{bad}"), 400, "INVALID_PARAMETER", "streamName: it is not UTF-8")
    other = f"/homes/2/smartModules/{bad}/streams"
    assert_refused(caller.client.get(other, headers={"Authorization": f"Bearer {caller.key}"}), 403, "FORBIDDEN")


def test_a_home_that_is_no_utf_8_is_a_404(caller: Caller) -> None:
    assert_refused(caller.at("%FF").get(), 404, "NOT_FOUND")


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", "\u2028", "a%0Ab", "\x1b[31m", "🏠"])
def test_the_log_keeps_a_path_on_one_line(caller: Caller, caplog: pytest.LogCaptureFixture, name: str) -> None:
    with caplog.at_level("INFO", "smarthouse.access"):
        caller.get(f"/{quoted(name)}")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "smarthouse.access"]
    assert line.isascii()
    assert line.isprintable()


KEYS = [f"shk_{'0' * 12}_{'ab' * 32}", f"shk_{'0' * 12}_{'ab' * 31}", "shk_abab"]


@pytest.mark.parametrize("key", KEYS, ids=["whole", "cut", "begun"])
@pytest.mark.parametrize("around", ["{}", "x-{}", "{}.1"])
def test_a_key_for_a_request_id_is_neither_logged_nor_repeated(
    caller: Caller, caplog: pytest.LogCaptureFixture, key: str, around: str
) -> None:
    with caplog.at_level("INFO"):
        answer = caller.get(headers={"X-Request-ID": around.format(key)})
    assert "abab" not in answer.headers["X-Request-ID"]
    assert answer.headers["X-Request-ID"] in caplog.text
    assert "abab" not in caplog.text


@pytest.mark.parametrize("key", [KEYS[0], KEYS[2]], ids=["whole", "begun"])
@pytest.mark.parametrize("path", ["/homes/{}", "/homes/1/smartModules/{}/streams", "/homes/1/smartModules/sds/streams/{}/data"])
def test_a_key_in_a_path_is_not_logged(caller: Caller, caplog: pytest.LogCaptureFixture, path: str, key: str) -> None:
    with caplog.at_level("INFO"):
        for spelled in (key, f"x{key}y", key.replace("_", "%5F"), key.replace("s", "%73", 1)):
            caller.client.get(path.format(spelled), headers={"Authorization": f"Bearer {caller.key}"})
    assert len([record for record in caplog.records if record.name == "smarthouse.access"]) == 4
    assert "{key}" in caplog.text
    assert "abab" not in caplog.text


# As servers tell of them


@pytest.fixture
def echo() -> Flask:
    app = Flask("echo")
    path_segments.register(app, "/homes")

    @app.get("/homes/<segment:home>/<segment:name>", merge_slashes=False)
    def named(home: str, name: str) -> Any:
        return {"names": [home, name], "url": url_for("named", home=home, name=name), "path": request.path}

    @app.get("/other/<name>")
    def other(name: str) -> Any:
        return {"names": [name]}

    return app


def answered(app: Flask, path_info: str, **environ: str | None) -> tuple[int, Any]:
    """What the application says to a server's decoded path, and what else the server told."""
    builder = EnvironBuilder(path="/")
    made = builder.get_environ() | {"PATH_INFO": path_info.encode().decode("latin-1")}
    made |= {name: told for name, told in environ.items() if told is not None}
    for name in [name for name, told in environ.items() if told is None]:
        made.pop(name, None)
    body, status, _ = run_wsgi_app(app, made)
    text = b"".join(body)
    return int(status.split()[0]), json.loads(text) if status.startswith("200") else text


@each(
    "raw, script_name",
    [
        ("/homes/1/a%2Fb", ""),
        ("/homes/1/a%2fb?q=%2F/x", ""),
        ("/homes/1/a%2Fb#f", ""),
        ("http://here:80/homes/1/a%2Fb?x", ""),
        ("HTTPS://user@here/homes/1/a%2Fb", ""),
        ("/%68omes/1/a%2Fb", ""),
        ("/smart/homes/1/a%2Fb", "/smart"),
        ("/smart/house/homes/1/a%2Fb", "/smart/house"),
        ("http://here/smart/homes/1/a%2Fb", "/smart"),
        ("/homes/1/a%2Fb", "/smart"),
    ],
)
@each("variable", ["RAW_URI", "REQUEST_URI"])
def test_the_raw_path_tells_a_slash_in_a_name(echo: Flask, raw: str, script_name: str, variable: str) -> None:
    others = {"RAW_URI": None, "REQUEST_URI": None, variable: raw}
    status, told = answered(echo, "/homes/1/a/b", SCRIPT_NAME=script_name, **others)
    assert (status, told["names"], told["url"]) == (200, ["1", "a/b"], f"{script_name}/homes/1/a%2Fb")


@each("raw", [None, "", "*", "/homes/1/x%2Fy", "/rewritten/a%2Fb", "/homes/1"])
def test_without_a_raw_path_of_this_request_the_decoded_one_has_to_do(echo: Flask, raw: str | None) -> None:
    assert answered(echo, "/homes/1/50%25", RAW_URI=raw, REQUEST_URI=raw)[1]["names"] == ["1", "50%25"]
    assert answered(echo, "/homes/1/a/b", RAW_URI=raw, REQUEST_URI=raw)[0] == 404


def test_a_server_that_has_replaced_what_is_no_utf_8_is_understood(echo: Flask) -> None:
    status, told = answered(echo, "/homes/1/a\ufffd/b", RAW_URI="/homes/1/a%FF%2Fb")
    assert (status, told["path"]) == (200, "/homes/1/a%FF%2Fb")


@each("slashes", ["/", "//", "///"])
def test_slashes_in_front_do_not_change_a_name(echo: Flask, slashes: str) -> None:
    assert answered(echo, f"{slashes}homes/1/%2F", RAW_URI=f"{slashes}homes/1/%252F")[1]["names"] == ["1", "%2F"]


@each("path", ["/homes//1", "/homes/1/", "/homes//1/x"])
def test_an_empty_name_is_none_and_leads_nowhere(echo: Flask, path: str) -> None:
    assert answered(echo, path, RAW_URI=path)[0] == 404


def test_other_paths_are_left_alone(echo: Flask) -> None:
    assert answered(echo, "/other/50%", RAW_URI="/other/50%25")[1]["names"] == ["50%"]


LONGEST = ["x" * 512, "ü" * 512, "🏠" * 256, "€" * 341 + "x"]


@each("name", LONGEST)
def test_a_name_may_have_512_characters_and_1024_bytes(caller: Caller, name: str) -> None:
    there = caller.at(module=name)
    assert there.put(f"/{quoted(name)}").status_code == 201
    assert there.post(f"/{quoted(name)}/data", data=b"x").status_code == 201
    assert caller.client.get(there.located("start=0&stop=0", quoted(name)), buffered=True).data == b"x"


@each("name", ["x" * 513, "ü" * 511 + "€", "🏠" * 256 + "x"])
def test_a_name_of_more_is_a_400(caller: Caller, name: str) -> None:
    assert_refused(caller.put(f"/{quoted(name)}"), 400, "INVALID_PARAMETER", "streamName: ")
    assert_refused(caller.at(module=name).put("/camera"), 400, "INVALID_PARAMETER", "moduleId: ")


# Over a socket


@pytest.fixture(scope="module")
def authorization(shared_server: Server) -> dict[str, str]:
    return {"Authorization": f"ModeCloud {key_of(shared_server.environment)}"}


def exchanged(server: Server, method: str, path: str, headers: dict[str, str]) -> tuple[int, str | None, Any]:
    """Status, location and JSON of the answer to these very characters."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": "here.example", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, answer.headers["Location"], json.loads(text) if text else None


@each("name", NAMES)
def test_a_name_arrives_over_a_socket_as_it_is(shared_server: Server, authorization: dict[str, str], name: str) -> None:
    path = f"/homes/1/smartModules/{quoted(name)}/streams/{quoted(name)}"
    status, location, told = exchanged(shared_server, "PUT", path, authorization)
    assert (status, location) == (201, path)
    assert (told["moduleId"], told["name"]) == (name, name)
    assert exchanged(shared_server, "GET", path, authorization)[2] == told


def test_a_path_may_come_with_its_host(shared_server: Server, authorization: dict[str, str]) -> None:
    path = "http://here.example/homes/1/smartModules/absolute/streams/a%2Fb"
    assert exchanged(shared_server, "PUT", path, authorization)[2]["name"] == "a/b"
    assert exchanged(shared_server, "GET", f"{path}?x=/", authorization)[2]["name"] == "a/b"


@each(
    "name, status, reason",
    [
        ("%FF", 400, "INVALID_PARAMETER"),
        ("%2E%2E", 404, "STREAM_NOT_FOUND"),
        ("..", 404, "STREAM_NOT_FOUND"),
        ("", 404, "NOT_FOUND"),
    ],
)
def test_a_name_that_is_none_is_refused_over_a_socket_too(
    shared_server: Server, authorization: dict[str, str], name: str, status: int, reason: str
) -> None:
    answered = exchanged(shared_server, "GET", f"/homes/1/smartModules/sds/streams/{name}/status", authorization)
    assert (answered[0], answered[2]["reason"]) == (status, reason)


def test_names_and_downloads_work_below_a_path_and_behind_a_proxy(embedded_pair: Environment) -> None:
    hosts = {"SMARTHOUSE_ALLOWED_HOSTS": "house.example,127.0.0.1"}
    server = Server({**embedded_pair, **hosts, "SMARTHOUSE_TRUSTED_PROXIES": "1"}).start()
    try:
        proxied = {"X-Forwarded-Prefix": "/smart", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "house.example:8443"}
        headers = {"Authorization": f"Bearer {key_of(embedded_pair)}", **proxied}
        path = "/homes/1/smartModules/sds/streams/a%2Fb"
        assert exchanged(server, "PUT", path, headers)[:2] == (201, f"/smart{path}")
        requests.post(f"{server.url}{path}/data", data=b"x", headers=headers, timeout=30)
        location = exchanged(server, "GET", f"{path}/data?start=0&stop=0", headers)[1]
        assert location is not None
        assert location.startswith(f"https://house.example:8443/smart{path}/download?")
        found = urlsplit(location)
        answer = requests.get(f"{server.url}{found.path.removeprefix('/smart')}?{found.query}", timeout=30)
        assert (answer.status_code, answer.content) == (200, b"x")
    finally:
        server.kill()


def test_names_work_where_the_server_is_told_its_path(embedded_pair: Environment) -> None:
    with gunicorn({**embedded_pair, "SCRIPT_NAME": "/smart"}) as (_, port):
        soon(lambda: answers(f"http://127.0.0.1:{port}/smart/health/live"))
        headers = {"Authorization": f"Bearer {key_of(embedded_pair)}"}
        path = "/smart/homes/1/smartModules/s%2Fd%25/streams/a%2Fb%25"
        status, location, told = exchanged(Server({}, port), "PUT", path, headers)
        assert (status, location, told["moduleId"], told["name"]) == (201, path, "s/d%", "a/b%")


@pytest.mark.parametrize("digits", [62, 63, 65, 90])
def test_a_key_in_a_path_that_was_mistyped_is_not_logged(caller: Caller, caplog: pytest.LogCaptureFixture, digits: int) -> None:
    key = f"shk_{'0' * 12}_{('ab' * 64)[:digits]}"
    with caplog.at_level("INFO"):
        caller.get(f"/{key}")
    assert "{key}" in caplog.text
    assert "abab" not in caplog.text

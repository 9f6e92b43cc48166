"""What the Stream Data Store does with parameters and bodies that are not as they should be, and in whose words."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from blueprints.streams.bodies import new_packets
from tests.conftest import Environment, house_of
from tests.each import each
from tests.streams.caller import Caller, assert_refused, json_of

NDJSON = "application/x-ndjson"
LARGEST, LARGEST_INDEX = 2**63 - 1, 2**53 - 1
NO_NUMBERS = [
    "",
    "-1",
    "-0",
    "+1",
    "1.0",
    " 1",
    "1 ",
    "1_000",
    "1e3",
    "0x1",
    "true",
    "١",
    "１",
    str(2**63),
    "9" * 5000,
    "1\n",
    "1,2",
]
NO_JSON = [
    b"",
    b" ",
    b"{",
    b"{'a': 1}",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": 1e999}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\udc00x"}',
    b'{"\\ud800": 1}',
    b'{"a": "\xff"}',
    b"{} {}",
    b"\x00",
    b'{"a": %s}' % (b"[" * 100_000),
    b'{"a":' * 100_000,
    b"[" * 65 + b"]" * 65,
]


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: none is asked."""
    return memory_pair


@pytest.fixture
def caller(client: FlaskClient) -> Caller:
    return Caller.with_key(client).filled(b"a", b"b", b"c")


# Numbers


@each("value", NO_NUMBERS)
@each("path", ["/camera/sessions", "/camera/metadata", "/camera/data"])
@each("bad, good", [("start", "stop"), ("stop", "start")])
def test_an_end_of_a_range_that_is_no_number_is_a_400_that_names_it(
    caller: Caller, path: str, bad: str, good: str, value: str
) -> None:
    answer = caller.get(path, query_string={bad: value, good: "1"})
    assert_refused(answer, 400, "INVALID_PARAMETER", f"{bad}: ")
    assert str(LARGEST) in json_of(answer)["message"]
    assert f"{good}: " not in json_of(answer)["message"]


@each("path", ["/camera/sessions", "/camera/metadata", "/camera/data", "/camera/data?follow=false"])
def test_a_range_needs_both_ends(caller: Caller, path: str) -> None:
    assert_refused(caller.get(path), 400, "INVALID_PARAMETER", "start: is missing; give a whole number from 0")
    assert_refused(caller.get(f"{path}{'&' if '?' in path else '?'}start=0"), 400, "INVALID_PARAMETER", "stop: is missing")


@each("path", ["/camera/sessions", "/camera/metadata", "/camera/data"])
def test_a_range_must_not_be_reversed(caller: Caller, path: str) -> None:
    assert_refused(caller.get(f"{path}?start=2&stop=1"), 400, "INVALID_PARAMETER", "start: 2 is above stop, 1")


@each("path", ["/camera/sessions", "/camera/metadata", "/camera/data"])
def test_a_parameter_is_given_once_or_with_one_value(caller: Caller, path: str) -> None:
    assert_refused(caller.get(f"{path}?start=0&start=1&stop=2"), 400, "INVALID_PARAMETER", "start: is given with different")
    assert caller.get(f"{path}?start=0&start=0&stop=2").status_code in (200, 302)


@each("path", ["/camera/sessions", "/camera/metadata", "/camera/data"])
def test_a_range_may_be_as_wide_as_63_bits(caller: Caller, path: str) -> None:
    assert caller.get(f"{path}?start=0&stop={LARGEST}").status_code in (200, 302)


@each("value", NO_NUMBERS)
@each("name", ["skip", "limit"])
@each("path", ["", "/camera/sessions?start=0&stop=1", "/camera/metadata?start=0&stop=1"])
def test_a_part_of_a_list_that_is_no_number_is_a_400(caller: Caller, path: str, name: str, value: str) -> None:
    query = [("start", "0"), ("stop", "1"), (name, value)]
    answer = caller.get(path.partition("?")[0], query_string=query)
    assert_refused(answer, 400, "INVALID_PARAMETER", f"{name}: ")


@each("value", ["-1", "+1", "1.0", "%201", "x", str(2**63), "1_000", "%D9%A1"])
@each("method", ["GET", "PUT"])
def test_an_index_in_the_path_that_is_no_number_is_a_400(caller: Caller, method: str, value: str) -> None:
    assert_refused(caller.call(method, f"/camera/metadata/{value}", json={}), 400, "INVALID_PARAMETER", "packetIndex: ")


@each("value", [*NO_NUMBERS, str(LARGEST_INDEX + 1)])
def test_an_index_of_a_packet_that_cannot_be_is_a_400(caller: Caller, value: str) -> None:
    answer = caller.post("/camera/data", query_string={"index": value}, data=b"x")
    assert_refused(answer, 400, "INVALID_PARAMETER", f"index: {value[:40]!r} is not a whole number from 0 to {LARGEST_INDEX}")


@each("value", ["", "csv", "octet", "octets,zip"])
def test_a_format_that_there_is_not_is_a_400_that_names_those_there_are(caller: Caller, value: str) -> None:
    answer = caller.get("/camera/data", query_string={"start": 0, "stop": 1, "format": value})
    assert_refused(answer, 400, "INVALID_PARAMETER", "octets, ndjson, zip")


@each("value", ["", "maybe", "2"])
def test_whether_to_follow_is_yes_or_no(caller: Caller, value: str) -> None:
    answer = caller.get("/camera/data", query_string={"follow": value})
    assert_refused(answer, 400, "INVALID_PARAMETER", "follow: must be true or false")


@each("value", ["-1", "x", "", "1.0"])
def test_an_event_to_go_on_after_is_a_number(caller: Caller, value: str) -> None:
    answer = caller.get("/camera/data?follow=true", headers={"Last-Event-ID": value})
    assert_refused(answer, 400, "INVALID_PARAMETER", "Last-Event-ID: ")


@each("key", ["", "x" * 256])
@each("path", ["/camera/data", "/camera/sessions"])
def test_an_idempotency_key_has_1_to_255_characters(caller: Caller, path: str, key: str) -> None:
    answer = caller.post(path, data=b'{"start": 0, "stop": 1}', headers={"Idempotency-Key": key})
    assert_refused(answer, 400, "INVALID_PARAMETER", "Idempotency-Key: must be 1 to 255 characters")


def test_what_is_asked_wrongly_is_a_400_before_it_is_a_404(caller: Caller) -> None:
    assert_refused(caller.get("/nothing/data?start=x&stop=1"), 400, "INVALID_PARAMETER")
    assert_refused(caller.post("/nothing/data", data=b""), 400, "INVALID_PARAMETER")


# JSON


@each("body", NO_JSON)
@each("method, path", [("POST", "/camera/sessions"), ("PUT", "/camera/metadata/0")])
def test_a_body_that_is_no_json_is_a_400(caller: Caller, method: str, path: str, body: bytes) -> None:
    assert_refused(caller.call(method, path, data=body), 400, "INVALID_PARAMETER", "The body ")


@each("body", [body for body in NO_JSON if body.strip()])
@each("method, path", [("PUT", "/camera"), ("POST", "/camera/sessions/open")])
def test_a_body_that_may_be_left_out_is_json_where_it_is_not(caller: Caller, method: str, path: str, body: bytes) -> None:
    assert_refused(caller.call(method, path, data=body), 400, "INVALID_PARAMETER", "The body ")


@each("body", ["[]", "null", "1", '"x"', "true"])
def test_metadata_that_is_no_object_is_a_400(caller: Caller, body: str) -> None:
    assert_refused(caller.put("/camera/metadata/0", data=body), 400, "INVALID_PARAMETER", "not a JSON object")


@each("content", [{}, {"": None}, {"a": 2**80}, {"a": [[]] * 200}, {"é": "\u0000\U0001f600"}, {"a": 1e-300}])
def test_metadata_comes_back_as_it_was(caller: Caller, content: dict[str, Any]) -> None:
    answer = caller.put("/camera/metadata/0", data=json.dumps(content), content_type="text/plain")
    assert json_of(answer)["content"] == content
    assert json_of(caller.get("/camera/metadata/0"))["content"] == content


def test_metadata_nests_as_deep_as_the_limit(make_client: Callable[..., FlaskClient]) -> None:
    caller = Caller.with_key(make_client(max_json_depth=3)).filled(b"a")
    assert caller.put("/camera/metadata/0", data=b'{"a": [[], [], []]}').status_code == 201
    answer = caller.put("/camera/metadata/0", data=b'{"a": [[{}]], "b": [], "c": "[[["}')
    assert_refused(answer, 400, "INVALID_PARAMETER", "deeper than the 3 levels")


@pytest.mark.parametrize(
    "kept",
    [
        {"packets": 0},
        {"packets": -1},
        {"packets": 1.5},
        {"packets": True},
        {"packets": "1"},
        {"bytes": 0},
        {"bytes": 2**80},
        {"seconds": 0},
        {"seconds": -0.5},
        {"seconds": "1"},
        {"seconds": 1e300},
        {"hours": 1},
        [],
        1,
        "x",
    ],
)
def test_what_a_stream_cannot_keep_is_a_400(caller: Caller, kept: Any) -> None:
    answer = caller.put("/camera", json={"retention": kept})
    assert_refused(answer, 400, "INVALID_PARAMETER", "retention")


@pytest.mark.parametrize("body", [{"name": "x"}, [], None, 1])
def test_a_stream_is_told_nothing_else(caller: Caller, body: Any) -> None:
    assert_refused(caller.put("/camera", data=json.dumps(body)), 400, "INVALID_PARAMETER", "The body does not fit")


@pytest.mark.parametrize(
    "body", [{"timeoutSeconds": 0}, {"timeoutSeconds": "60"}, {"timeoutSeconds": 1e300}, {"timeout": 1}, []]
)
def test_a_time_that_no_session_has_is_a_400(caller: Caller, body: Any) -> None:
    assert_refused(caller.post("/camera/sessions/open", json=body), 400, "INVALID_PARAMETER")


# Packets


@each("content_type", [None, "application/octet-stream", "application/json"])
def test_a_packet_has_a_byte(caller: Caller, content_type: str | None) -> None:
    assert_refused(caller.post("/camera/data", content_type=content_type), 400, "INVALID_PARAMETER", "at least one byte")


@each("body", [b"", b"\n", b" \r\n\t\n"])
def test_a_batch_has_a_line(caller: Caller, body: bytes) -> None:
    assert_refused(caller.post("/camera/data", data=body, content_type=NDJSON), 400, "INVALID_PARAMETER", "batch is empty")


@each(
    "line, words",
    [
        (b"x", "malformed"),
        (b"{}", "data"),
        (b"[]", "object"),
        (b'{"data": ""}', "at least one byte"),
        (b'{"data": "YQ"}', "base64"),
        (b'{"data": "-_=="}', "base64"),
        (b'{"data": 1}', "data"),
        (b'{"data": null}', "data"),
        (b'{"data": "YQ==", "index": -1}', "index"),
        (b'{"data": "YQ==", "index": 1.0}', "index"),
        (b'{"data": "YQ==", "index": true}', "index"),
        (b'{"data": "YQ==", "index": 9007199254740992}', "index"),
        (b'{"data": "YQ==", "time": 1}', "time"),
        (b'{"data": "YQ=="} {"data": "YQ=="}', "malformed"),
        (b'{"data": "YQ==", "\xff": 1}', "UTF-8"),
        (b'{"data": ' + b"[" * 100_000, "data"),
        (b'{"x": ' + b"[" * 100_000, "x"),
    ],
)
def test_a_bad_line_of_a_batch_is_named(caller: Caller, line: bytes, words: str) -> None:
    body = b'{"data": "YQ=="}\n\n' + line + b'\n{"data": "YQ=="}\n'
    answer = caller.post("/camera/data", data=body, content_type=NDJSON)
    assert_refused(answer, 400, "INVALID_PARAMETER", "Line 3: ")
    assert words in json_of(answer)["message"]


def test_a_packet_is_one_line(caller: Caller) -> None:
    answer = caller.post("/camera/data", data=b'{"data":\n"YQ=="}', content_type=NDJSON)
    assert_refused(answer, 400, "INVALID_PARAMETER", "Line 1: ")


def test_a_batch_has_no_index_in_the_query(caller: Caller) -> None:
    answer = caller.post("/camera/data?index=7", data=b'{"data": "YQ=="}', content_type=NDJSON)
    assert_refused(answer, 400, "INVALID_PARAMETER", "index: ")


def test_a_session_that_is_named_has_a_name(caller: Caller) -> None:
    assert_refused(caller.post("/camera/data?session=", data=b"x"), 400, "INVALID_PARAMETER", "session: is empty")


@pytest.mark.parametrize("packet", [b"\x1f\x8b\x08", b"x\x9c", b"\x28\xb5\x2f\xfd"])
def test_a_packet_is_left_as_it_is_whatever_it_looks_like(caller: Caller, packet: bytes) -> None:
    assert caller.post("/camera/data", data=packet, headers={"Content-Encoding": "identity"}).status_code == 201
    assert caller.client.get(caller.located("start=3&stop=3")).data == packet


# Limits


def test_a_body_over_the_limit_is_a_413(make_client: Callable[..., FlaskClient]) -> None:
    caller = Caller.with_key(make_client(max_body_bytes=1000)).filled()
    assert_refused(caller.post("/camera/data", data=b"x" * 1001), 413, "REQUEST_ENTITY_TOO_LARGE", "1000 bytes")
    assert caller.post("/camera/data", data=b"x" * 1000).status_code == 201


def test_a_batch_over_the_limit_is_a_413(make_client: Callable[..., FlaskClient]) -> None:
    caller = Caller.with_key(make_client(stream_batch_packets=3)).filled()
    lines = b'{"data": "YQ=="}\n' * 4
    answer = caller.post("/camera/data", data=lines, content_type=NDJSON)
    assert_refused(answer, 413, "REQUEST_ENTITY_TOO_LARGE", "at most 3")
    assert caller.post("/camera/data", data=lines[:-17], content_type=NDJSON).status_code == 201


def test_a_packet_or_metadata_over_the_limit_is_a_413(make_client: Callable[..., FlaskClient]) -> None:
    caller = Caller.with_key(make_client(stream_packet_bytes=10, stream_metadata_bytes=20)).filled(b"x" * 10)
    assert_refused(caller.post("/camera/data", data=b"x" * 11), 413, "REQUEST_ENTITY_TOO_LARGE", "10")
    assert_refused(caller.put("/camera/metadata/0", json={"a": "x" * 30}), 413, "REQUEST_ENTITY_TOO_LARGE", "20")


@pytest.mark.alone
def test_a_thousand_lines_are_read_in_milliseconds(caller: Caller) -> None:
    body = b"\n".join(b'{"data":"%b"}' % base64.b64encode(bytes([n % 256]) * 1024) for n in range(1000))
    seconds = []
    with caller.client.application.test_request_context():
        for _ in range(5):
            began = time.perf_counter()
            assert len(new_packets(body, True, None)) == 1000
            seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.02


# The framework's own


def test_an_unknown_path_is_a_404_after_the_key(caller: Caller) -> None:
    for path in ("/camera/nothing", "/camera/", "//status", "/camera/sessions//hold"):
        assert_refused(caller.get(path), 404, "NOT_FOUND", "/docs")
        assert_refused(caller.get(path, headers={"Authorization": ""}), 401, "UNAUTHORIZED")


@each("path", ["/homes", "/homes/", "/homes/1", "/homes//smartModules"])
def test_every_path_below_homes_speaks_this_dialect(caller: Caller, path: str) -> None:
    assert_refused(caller.client.get(path, headers={"Authorization": f"Bearer {caller.key}"}), 404, "NOT_FOUND")


def test_a_path_that_only_begins_alike_does_not(caller: Caller) -> None:
    assert caller.client.get("/homestead").content_type == "application/problem+json"


def test_a_method_that_is_not_there_is_a_405_after_the_key(caller: Caller) -> None:
    answer = caller.call("PATCH", "/camera")
    assert_refused(answer, 405, "METHOD_NOT_ALLOWED", "PATCH")
    assert "PUT" in answer.headers["Allow"]
    assert_refused(caller.call("PATCH", "/camera", headers={"Authorization": ""}), 401, "UNAUTHORIZED")


def test_a_fault_of_ours_is_a_500_that_tells_nothing(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("the secret")

    monkeypatch.setattr(type(house_of(caller.client).streams.catalogue), "get", fail)
    answer = caller.get("/camera")
    assert_refused(answer, 500, "INTERNAL_ERROR", "X-Request-ID")
    assert "secret" not in answer.text


def test_no_browser_of_another_origin_is_let_in(caller: Caller) -> None:
    answer = caller.get(headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118

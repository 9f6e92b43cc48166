"""The Stream Data Store over HTTP: its endpoints, line by line, on every pair of stores."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from backends.ports import StoreUnavailable
from smarthouse_api.access import grants as access
from tests.conftest import house_of
from tests.each import each
from tests.streams.caller import HOME, MODULE, OTHER_HOME, RANGE, Caller, assert_refused, json_of

SESSION = "0" * 32
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

LISTS = ["", "/camera/sessions?start=0&stop=9", "/camera/metadata?start=0&stop=9"]
SINGLES = [
    ("GET", "/camera"),
    ("DELETE", "/camera"),
    ("GET", "/camera/status"),
    ("POST", "/camera/sessions"),
    ("GET", f"/camera/sessions/{SESSION}"),
    ("DELETE", f"/camera/sessions/{SESSION}"),
    ("POST", "/camera/sessions/open"),
    ("POST", f"/camera/sessions/{SESSION}/close"),
    ("PUT", f"/camera/sessions/{SESSION}/hold"),
    ("DELETE", f"/camera/sessions/{SESSION}/hold"),
    ("GET", "/camera/metadata/0"),
    ("PUT", "/camera/metadata/0"),
    ("GET", "/camera/data?start=0&stop=9"),
    ("GET", "/camera/data?follow=true"),
    ("POST", "/camera/data"),
    ("POST", "/camera/follow"),
]
ENDPOINTS = [("PUT", "/camera"), *SINGLES, *(("GET", path) for path in LISTS)]
BODIES = {"/camera/sessions": b'{"start": 0, "stop": 0}', "/camera/metadata/0": b"{}", "/camera/data": b"x"}


@pytest.fixture
def caller(client: FlaskClient) -> Caller:
    return Caller.with_key(client)


@pytest.fixture
def filled(caller: Caller) -> Caller:
    """A caller whose stream has packets 0 to 4."""
    return caller.filled(b"a", b"b", b"c", b"d", b"e")


def owner_of(caller: Caller) -> dict[str, str]:
    return {"type": "user", "id": caller.key_id, "name": "test"}


def added(caller: Caller, start: int, stop: int) -> dict[str, Any]:
    answer = caller.post("/camera/sessions", json={"start": start, "stop": stop})
    assert answer.status_code == 201
    found: dict[str, Any] = json_of(answer)
    return found


# Keys


@each("method, path", ENDPOINTS)
def test_every_endpoint_wants_a_good_key_before_anything_else(client: FlaskClient, method: str, path: str) -> None:
    nobody = Caller(client, "")
    for given in (
        {"Authorization": ""},
        {"Authorization": f"Bearer shk_{'0' * 12}_{'0' * 64}"},
        {"Authorization": "Basic eDp5"},
    ):
        answer = nobody.at("nonsense").call(method, path.replace("0", "x"), headers=given, data=b"{" * 200)
        assert_refused(answer, 401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == "ModeCloud, Bearer"


@each("method, path", ENDPOINTS)
def test_every_endpoint_refuses_another_home_before_it_looks_at_the_request(caller: Caller, method: str, path: str) -> None:
    answer = caller.at(OTHER_HOME).call(method, path.replace("0", "x"), data=b"{" * 200)
    assert_refused(answer, 403, "FORBIDDEN", "does not open this home")


@each("home", ["-1", "1.0", "01", "+1", "%201", "1%0A", "one", str(2**63), "9" * 40, "١", "%D9%A1", "0x1"])
def test_what_is_no_home_is_a_404_for_whoever_has_a_key(caller: Caller, home: str) -> None:
    assert_refused(caller.at(home).get(), 404, "NOT_FOUND", "id of a home")


@each("home", ["0", str(2**63 - 1)])
def test_a_home_may_be_any_number_of_63_bits(client: FlaskClient, home: str) -> None:
    answer = Caller.with_key(client, admin=True).at(home).get()
    assert (answer.status_code, answer.data) == (200, b"[]")


@each("scheme", ["ModeCloud", "Bearer", "modecloud", "BEARER"])
def test_a_key_may_come_in_either_scheme(caller: Caller, scheme: str) -> None:
    assert replace(caller, scheme=scheme).get().status_code == 200


def test_a_key_of_a_project_opens_its_homes_only(client: FlaskClient) -> None:
    house_of(client).access.assign([HOME], "ours")
    caller = Caller.with_key(client, project="ours")
    assert caller.get().status_code == 200
    assert_refused(caller.at(OTHER_HOME).get(), 403, "FORBIDDEN")


def test_a_revoked_key_is_worthless(caller: Caller) -> None:
    house_of(caller.client).access.revoke(caller.key_id)
    assert_refused(caller.get(), 401, "UNAUTHORIZED", "revoked")


def test_an_expired_key_is_worthless(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller.with_key(client, homes=[HOME], expires_seconds=60)
    assert caller.get().status_code == 200
    monkeypatch.setattr(access, "_now", lambda: datetime.now(UTC) + timedelta(seconds=61))
    assert_refused(caller.get(), 401, "UNAUTHORIZED", "expired")


# What is not there


@each("path", LISTS)
@each("home, module", [(HOME, MODULE), (HOME, "unknown"), (77, MODULE)])
def test_a_list_of_what_nobody_knows_is_empty(client: FlaskClient, path: str, home: int, module: str) -> None:
    answer = Caller.with_key(client, admin=True).at(home, module).get(path)
    assert (answer.status_code, json_of(answer), answer.headers[RANGE]) == (200, [], "*/0")


@each("method, path", SINGLES)
def test_anything_of_a_stream_that_is_not_there_is_a_404(caller: Caller, method: str, path: str) -> None:
    assert_refused(caller.call(method, path, data=BODIES.get(path, b"")), 404, "STREAM_NOT_FOUND")


@each("method", ["GET", "DELETE"])
def test_a_session_that_is_not_there_is_a_404(filled: Caller, method: str) -> None:
    assert_refused(filled.call(method, f"/camera/sessions/{SESSION}"), 404, "SESSION_NOT_FOUND")


def test_metadata_that_is_not_there_is_a_404(filled: Caller) -> None:
    assert_refused(filled.get("/camera/metadata/0"), 404, "METADATA_NOT_FOUND")
    assert_refused(filled.get(f"/camera/metadata/{2**63 - 1}"), 404, "METADATA_NOT_FOUND")


# Streams


def test_a_new_stream_is_a_201_with_its_location_and_a_200_again(caller: Caller) -> None:
    first, again = caller.put("/camera"), caller.put("/camera")
    assert (first.status_code, again.status_code) == (201, 200)
    assert json_of(first) == json_of(again) == {"homeId": HOME, "moduleId": MODULE, "name": "camera"}
    assert caller.client.get(first.headers["Location"], headers={"Authorization": f"Bearer {caller.key}"}).json == first.json


def test_streams_are_listed_by_name_as_they_are(caller: Caller) -> None:
    for name in ("c", "a", "b"):
        caller.filled(name=name)
    assert json_of(caller.get()) == [{"homeId": HOME, "moduleId": MODULE, "name": name} for name in "abc"]


def test_a_stream_says_what_it_keeps_and_the_list_does_not(caller: Caller) -> None:
    caller.put("/camera", json={"retention": {"packets": 7, "seconds": 1.5}})
    assert json_of(caller.get("/camera"))["retention"] == {"packets": 7, "seconds": 1.5}
    assert json_of(caller.get()) == [{"homeId": HOME, "moduleId": MODULE, "name": "camera"}]


def test_what_a_stream_keeps_changes_only_when_it_is_said(caller: Caller) -> None:
    caller.put("/camera", json={"retention": {"bytes": 7}})
    assert json_of(caller.put("/camera"))["retention"] == {"bytes": 7}
    assert json_of(caller.put("/camera", json={"retention": {"packets": 8}}))["retention"] == {"packets": 8}
    assert "retention" not in json_of(caller.put("/camera", json={"retention": {}}))


@pytest.mark.parametrize("lifted", [None, {}, {"packets": None, "bytes": None, "seconds": None}])
def test_a_retention_is_lifted_by_null(caller: Caller, lifted: dict[str, None] | None) -> None:
    assert caller.put("/camera", json={"retention": {"packets": 1}}).status_code == 201
    answer = caller.put("/camera", json={"retention": lifted})
    assert (answer.status_code, "retention" in json_of(answer)) == (200, False)
    assert "retention" not in json_of(caller.get("/camera"))
    assert caller.put("/other", json={"retention": lifted}).status_code == 201


def test_a_deleted_stream_is_gone_and_its_name_is_free(filled: Caller) -> None:
    answer = filled.delete("/camera")
    assert (answer.status_code, answer.data, answer.content_type) == (204, b"", None)
    assert_refused(filled.get("/camera"), 404, "STREAM_NOT_FOUND")
    assert filled.put("/camera").status_code == 201
    assert json_of(filled.get("/camera/status")) == {"packetIndex": -1}


def test_modules_and_homes_have_streams_of_their_own(client: FlaskClient) -> None:
    caller = Caller.with_key(client, homes=[HOME, OTHER_HOME]).filled()
    assert_refused(caller.at(module="other").get("/camera"), 404, "STREAM_NOT_FOUND")
    assert_refused(caller.at(OTHER_HOME).get("/camera"), 404, "STREAM_NOT_FOUND")


# Status


def test_the_status_of_a_stream_tells_its_highest_index_and_when_it_came(filled: Caller) -> None:
    status = json_of(filled.get("/camera/status"))
    assert set(status) == {"packetIndex", "lastPacketReceivedAt"}
    assert status["packetIndex"] == 4
    assert TIME.fullmatch(status["lastPacketReceivedAt"])


def test_the_status_tells_who_has_a_session_open_and_since_when(filled: Caller) -> None:
    session = filled.opened()
    status = json_of(filled.get("/camera/status"))
    assert (status["openPacketIndex"], status["streamOwner"]) == (5, owner_of(filled))
    filled.post(f"/camera/sessions/{session}/close")
    assert "streamOwner" not in json_of(filled.get("/camera/status"))


# Sessions


def test_a_session_is_a_201_with_its_location_and_the_whole_object(filled: Caller) -> None:
    answer = filled.post("/camera/sessions", json={"start": 1, "stop": 3})
    assert answer.status_code == 201
    session = json_of(answer)
    assert session == {"id": session["id"], "start": 1, "stop": 3, "author": owner_of(filled)}
    assert answer.headers["Location"].endswith(f"/streams/camera/sessions/{session['id']}")
    assert json_of(filled.get(f"/camera/sessions/{session['id']}")) == session


@each(
    "bounds",
    [
        {"start": 0, "stop": 5},
        {"start": 3, "stop": 2},
        {"start": -1, "stop": 2},
        {"start": 0},
        {"start": True, "stop": 2},
        {"start": 0, "stop": 2.0},
        {"start": "0", "stop": 2},
        {"start": None, "stop": 2},
        {"start": 0, "stop": 2**70},
        [0, 2],
        None,
        "x",
    ],
)
def test_a_session_of_what_cannot_be_is_a_403(filled: Caller, bounds: Any) -> None:
    assert_refused(filled.post("/camera/sessions", data=json.dumps(bounds)), 403, "INVALID_DATA", "start and stop")


def test_sessions_are_given_where_they_meet_the_range(filled: Caller) -> None:
    sessions = [added(filled, *bounds) for bounds in ((0, 1), (1, 2), (3, 4))]
    found = json_of(filled.get("/camera/sessions?start=2&stop=3"))
    assert found == sessions[1:]


def test_a_session_that_is_deleted_is_gone(filled: Caller) -> None:
    session = added(filled, 0, 1)["id"]
    assert filled.delete(f"/camera/sessions/{session}").status_code == 204
    assert_refused(filled.get(f"/camera/sessions/{session}"), 404, "SESSION_NOT_FOUND")


def test_a_session_that_is_held_cannot_be_deleted(filled: Caller) -> None:
    session = added(filled, 0, 1)["id"]
    assert filled.put(f"/camera/sessions/{session}/hold").status_code == 204
    assert_refused(filled.delete(f"/camera/sessions/{session}"), 409, "SESSION_HELD")
    assert filled.delete(f"/camera/sessions/{session}/hold").status_code == 204
    assert filled.delete(f"/camera/sessions/{session}").status_code == 204


def test_a_session_whose_packets_are_being_downloaded_cannot_be_deleted(filled: Caller) -> None:
    session = added(filled, 0, 1)["id"]
    with filled.client.get(filled.located("start=1&stop=1")):
        assert_refused(filled.delete(f"/camera/sessions/{session}"), 409, "SESSION_DOWNLOADED")
    assert filled.delete(f"/camera/sessions/{session}").status_code == 204


def test_an_open_session_says_so_and_has_no_stop_before_a_packet(filled: Caller) -> None:
    answer = filled.post("/camera/sessions/open")
    session = json_of(answer)
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/sessions/{session['id']}")
    assert session == {"id": session["id"], "start": 5, "author": owner_of(filled), "open": True}
    filled.post("/camera/data", data=b"f")
    assert json_of(filled.get(f"/camera/sessions/{session['id']}")) == {**session, "stop": 5}


def test_a_session_that_is_opened_again_by_its_owner_is_renewed(filled: Caller) -> None:
    session = filled.opened(timeoutSeconds=30)
    again = filled.post("/camera/sessions/open", json={"timeoutSeconds": 40})
    assert (again.status_code, json_of(again)["id"]) == (200, session)
    assert "Location" not in again.headers


def test_an_open_session_keeps_others_out(filled: Caller) -> None:
    session, other = filled.opened(), Caller.with_key(filled.client)
    assert_refused(other.post("/camera/data", data=b"x"), 409, "STREAM_OWNED")
    assert_refused(other.post("/camera/sessions/open"), 409, "STREAM_OWNED")
    assert_refused(other.post(f"/camera/sessions/{session}/close"), 409, "STREAM_OWNED")
    assert_refused(filled.delete(f"/camera/sessions/{session}"), 409, "SESSION_OPEN")


def test_a_closed_session_lets_others_in(filled: Caller) -> None:
    session, other = filled.opened(), Caller.with_key(filled.client)
    filled.post("/camera/data", data=b"f")
    closed = filled.post(f"/camera/sessions/{session}/close")
    assert closed.status_code == 200
    assert json_of(closed) == {"id": session, "start": 5, "stop": 5, "author": owner_of(filled)}
    assert other.post("/camera/data", data=b"x").status_code == 201


def test_a_session_that_never_had_a_packet_leaves_nothing(filled: Caller) -> None:
    session = filled.opened()
    answer = filled.post(f"/camera/sessions/{session}/close")
    assert (answer.status_code, answer.data) == (204, b"")
    assert_refused(filled.get(f"/camera/sessions/{session}"), 404, "SESSION_NOT_FOUND")


def test_packets_may_be_tied_to_a_session(filled: Caller) -> None:
    session = filled.opened()
    assert filled.post(f"/camera/data?session={session}", data=b"f").status_code == 201
    filled.post(f"/camera/sessions/{session}/close")
    assert_refused(filled.post(f"/camera/data?session={session}", data=b"g"), 409, "SESSION_NOT_OPEN")


# Metadata


def test_metadata_is_a_201_and_a_200_when_it_is_replaced(filled: Caller) -> None:
    first, second = filled.put("/camera/metadata/2", json={"a": [1]}), filled.put("/camera/metadata/2", json={"b": {}})
    assert (first.status_code, second.status_code) == (201, 200)
    old, new = json_of(first), json_of(second)
    assert new == json_of(filled.get("/camera/metadata/2"))
    assert set(new) == {"packetIndex", "content", "receivedAt", "updatedAt", "source"}
    assert (new["packetIndex"], new["content"], new["source"]) == (2, {"b": {}}, owner_of(filled))
    assert (new["receivedAt"], new["updatedAt"] >= old["updatedAt"]) == (old["receivedAt"], True)
    assert TIME.fullmatch(new["receivedAt"])
    assert TIME.fullmatch(new["updatedAt"])


def test_metadata_is_given_of_a_range(filled: Caller) -> None:
    for index in (0, 2, 4):
        filled.put(f"/camera/metadata/{index}", json={"of": index})
    found = json_of(filled.get("/camera/metadata?start=1&stop=4"))
    assert [(one["packetIndex"], one["content"]) for one in found] == [(2, {"of": 2}), (4, {"of": 4})]


# Appending


def test_a_body_is_a_packet_at_the_next_index(caller: Caller) -> None:
    caller.filled(b"first")
    assert json_of(caller.post("/camera/data", data=b"\x00\xff", content_type="image/jpeg")) == {"start": 1, "stop": 1}
    assert caller.client.get(caller.located("start=0&stop=9")).data == b"first\x00\xff"


def test_a_packet_may_leave_a_gap(filled: Caller) -> None:
    assert json_of(filled.post("/camera/data?index=9", data=b"x")) == {"start": 9, "stop": 9}
    assert_refused(filled.get("/camera/data?start=5&stop=8"), 404, "NO_PACKETS")


def test_the_same_packet_again_is_fine_and_another_is_a_409(filled: Caller) -> None:
    assert json_of(filled.post("/camera/data?index=1", data=b"b")) == {"start": 1, "stop": 1}
    assert_refused(filled.post("/camera/data?index=1", data=b"B"), 409, "INDEX_TAKEN")


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "Application/X-NDJSON; charset=utf-8"])
def test_a_batch_is_stored_whole(filled: Caller, content_type: str) -> None:
    body = b'{"data": "Zg=="}\r\n\n \t\n{"data": "Zw==", "index": 8}\n{"index": null, "data": "aA=="}'
    assert json_of(filled.post("/camera/data", data=body, content_type=content_type)) == {"start": 5, "stop": 9}
    assert filled.client.get(filled.located("start=5&stop=9")).data == b"fgh"


def test_a_batch_with_a_bad_line_is_not_stored_at_all(filled: Caller) -> None:
    body = b'{"data": "Zg=="}\n{"data": "?"}\n'
    assert_refused(
        filled.post("/camera/data", data=body, content_type="application/x-ndjson"), 400, "INVALID_PARAMETER", "Line 2"
    )
    assert json_of(filled.get("/camera/status"))["packetIndex"] == 4


def test_an_append_with_a_key_is_made_once(filled: Caller) -> None:
    key = {"Idempotency-Key": "once"}
    first, again = filled.post("/camera/data", data=b"x", headers=key), filled.post("/camera/data", data=b"x", headers=key)
    assert json_of(first) == json_of(again) == {"start": 5, "stop": 5}
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert_refused(filled.post("/camera/data", data=b"y", headers=key), 409, "IDEMPOTENCY_KEY_REUSED")
    assert_refused(filled.post("/camera/data?index=5", data=b"x", headers=key), 409, "IDEMPOTENCY_KEY_REUSED")


def test_a_session_with_a_key_is_made_once(filled: Caller) -> None:
    key = {"Idempotency-Key": "once"}
    bounds = {"start": 0, "stop": 1}
    first, again = (filled.post("/camera/sessions", json=bounds, headers=key) for _ in range(2))
    assert (first.json, first.headers["Location"]) == (again.json, again.headers["Location"])
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert len(json_of(filled.get("/camera/sessions?start=0&stop=9"))) == 1
    assert_refused(filled.post("/camera/sessions", json={"start": 0, "stop": 2}, headers=key), 409, "IDEMPOTENCY_KEY_REUSED")


def test_a_key_is_one_senders_for_one_purpose_and_stream(filled: Caller) -> None:
    key = {"Idempotency-Key": "once"}
    filled.filled(name="other")
    filled.post("/camera/data", data=b"x", headers=key)
    answers = [
        Caller.with_key(filled.client).post("/camera/data", data=b"y", headers=key),
        filled.post("/camera/sessions", json={"start": 0, "stop": 1}, headers=key),
        filled.post("/other/data", data=b"z", headers=key),
    ]
    assert [(answer.status_code, "Idempotency-Replayed" in answer.headers) for answer in answers] == [(201, False)] * 3


# Lists in part


def test_a_list_is_given_in_part(caller: Caller) -> None:
    for name in "badec":
        caller.filled(name=name)
    for query, names, told in (
        ("", "abcde", "0-4/5"),
        ("?skip=0&limit=0", "abcde", "0-4/5"),
        ("?limit=2", "ab", "0-1/5"),
        ("?skip=1&limit=2", "bc", "1-2/5"),
        ("?skip=4", "e", "4-4/5"),
        ("?skip=4&limit=9", "e", "4-4/5"),
        ("?skip=5", "", "*/5"),
        (f"?skip={2**63 - 1}&limit={2**63 - 1}", "", "*/5"),
    ):
        answer = caller.get(query)
        assert ("".join(one["name"] for one in json_of(answer)), answer.headers[RANGE]) == (names, told), query


def test_sessions_and_metadata_are_given_in_part(filled: Caller) -> None:
    for index in range(5):
        added(filled, index, index)
        filled.put(f"/camera/metadata/{index}", json={})
    for path, member in (("sessions", "start"), ("metadata", "packetIndex")):
        answer = filled.get(f"/camera/{path}?start=1&stop=4&skip=1&limit=2")
        assert ([one[member] for one in json_of(answer)], answer.headers[RANGE]) == ([2, 3], "1-2/4")


# Outages


def test_a_store_that_does_not_answer_is_a_503_with_a_time(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app().test_client()
    caller = Caller.with_key(client)

    def down(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("connection refused")

    monkeypatch.setattr(house_of(client).state, "get", down)
    answer = caller.get("/camera")
    assert_refused(answer, 503, "UNAVAILABLE", "repeat the request later")
    assert int(answer.headers["Retry-After"]) > 0

"""Ingest over HTTP: its answers, in its dialect."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from flask.testing import FlaskClient

from backends.ports import StoreFull, StoreUnavailable
from tests.conftest import HOME, OTHER_HOME, house_of, on_every_pair, on_pair, payload, state

environment = on_pair("memory_pair")

URL = "/api/ingest/data"
BY_HOME = {"Home-UUID": HOME}
REAL_UPLOAD = (Path(__file__).parent / "data" / "home-assistant-upload.json").read_bytes()


def assert_problem(answer: Any, status: int, words: str) -> None:
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    body = answer.get_json(force=True)
    assert set(body) == {"type", "title", "status", "detail"}
    assert body["status"] == status
    assert words in body["detail"]
    assert HOME not in answer.text


@on_every_pair
def test_a_real_upload_is_counted_however_it_is_packed(client: FlaskClient) -> None:
    for number, pack in enumerate((zlib.compress, gzip.compress, zstandard.compress, bytes)):
        home = {"Home-UUID": f"{number}{HOME[1:]}"}
        answer = client.post(URL, data=pack(REAL_UPLOAD), headers=home)
        assert answer.status_code == 200
        assert answer.json is not None
        assert {name: answer.json[name] for name in ("records", "ignored", "duplicate")} == {
            "records": 4,
            "ignored": 0,
            "duplicate": False,
        }
        assert set(answer.json) == {"message", "id", "records", "ignored", "duplicate"}


@pytest.mark.parametrize(
    "content_type", ["application/octet-stream", "application/x-www-form-urlencoded", "text/plain", "", "x"]
)
def test_any_content_type_is_taken(client: FlaskClient, content_type: str) -> None:
    answer = client.post(URL, data=payload(state()), headers=BY_HOME, content_type=content_type)
    assert answer.json is not None
    assert answer.json["records"] == 1


def test_an_encoding_that_a_proxy_added_is_undone(client: FlaskClient) -> None:
    answer = client.post(URL, data=gzip.compress(payload(state())), headers={**BY_HOME, "Content-Encoding": "gzip"})
    assert answer.json is not None
    assert answer.json["records"] == 1


@on_every_pair
def test_an_undecodable_body_is_kept_with_the_reason(client: FlaskClient) -> None:
    answer = client.post(URL, data=b"\xff\x00", headers=BY_HOME)
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["records"] == 0
    assert answer.json["detail"]


def test_a_strict_house_refuses_it(make_client: Callable[..., FlaskClient]) -> None:
    answer = make_client(ingest_strict=True).post(URL, data=b"\xff\x00", headers=BY_HOME)
    assert answer.status_code == 400
    assert answer.get_json(force=True)["title"] == "Bad ingest decoding"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "holds no states"),
        (b'[{"entity_id": "sensor.a", "state": "1", "last_changed": "soon"}]', "1 state has no readable time"),
        (b'{"sensor.a": [{"state": "1", "last_changed": 1735776000.5}, 3]}', "1 value is no state"),
        (b"# HELP homeassistant_sensor_temperature_celsius State", "Prometheus text is kept raw"),
    ],
)
def test_a_strict_house_refuses_what_gives_no_record_or_has_no_time(
    make_client: Callable[..., FlaskClient], body: bytes, words: str
) -> None:
    answer = make_client(ingest_strict=True).post(URL, data=body, headers=BY_HOME)
    assert_problem(answer, 400, words)
    assert answer.get_json(force=True)["title"] == "Bad JSON structure"


def test_a_strict_house_takes_numbers_for_times_and_statistics(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(ingest_strict=True)
    states = client.post(URL, data=b'{"sensor.a": [{"s": "1", "lu": 1735776000.5}]}', headers=BY_HOME).get_json()
    statistics = client.post(URL, data=b'{"sensor.a": [{"start": 1735776000000, "mean": 1.5}]}', headers=BY_HOME).get_json()
    assert (states["records"], statistics["records"], statistics["statistics"]) == (1, 0, 1)


@pytest.mark.parametrize("is_strict", [True, False])
def test_no_hostile_body_of_any_shape_is_a_fault_of_the_service(
    make_client: Callable[..., FlaskClient], is_strict: bool
) -> None:
    client, chance = make_client(ingest_strict=is_strict, ingest_rate_home=""), random.Random(5)
    for path in sorted((Path(__file__).parent / "data" / "shapes").iterdir()):
        text = path.read_bytes()
        for _ in range(6):
            start, end = sorted(chance.choices(range(len(text)), k=2))
            for body in (text[:end], text[start:], text[:start] + text[end:], text[:end] + b"[" * 3000 + text[end:]):
                assert client.post(URL, data=body or b" ", headers=BY_HOME).status_code in (200, 400, 413)


def test_an_empty_body_is_a_400(client: FlaskClient) -> None:
    assert_problem(client.post(URL, headers=BY_HOME), 400, "empty")


@pytest.mark.parametrize("method", ["post", "delete"])
def test_no_home_is_a_400_that_names_both_spellings(client: FlaskClient, method: str) -> None:
    answer = getattr(client, method)(URL, data=b"x")
    assert_problem(answer, 400, "Home-UUID (or Home_UUID)")


@pytest.mark.parametrize("given", ["nonsense", f"{{{HOME}}}", f"urn:uuid:{HOME}", HOME.replace("-", ""), ""])
def test_what_is_no_uuid_is_a_400(client: FlaskClient, given: str) -> None:
    assert_problem(client.post(URL, data=b"x", headers={"Home-UUID": given}), 400, "8-4-4-4-12")


@pytest.mark.parametrize("spelling", ["Home-UUID", "home_uuid", "HOME-uuid"])
def test_both_spellings_name_a_home(client: FlaskClient, spelling: str) -> None:
    assert client.post(URL, data=payload(state()), headers={spelling: HOME}).status_code == 200


def test_both_spellings_at_once_may_agree(client: FlaskClient) -> None:
    assert client.post(URL, data=payload(state()), headers={"Home-UUID": f"{HOME},{HOME.upper()}"}).status_code == 200


def test_both_spellings_at_once_must_not_differ(client: FlaskClient) -> None:
    assert_problem(client.post(URL, data=b"x", headers={"Home-UUID": f"{HOME},{OTHER_HOME}"}), 400, "different homes")


@on_every_pair
def test_a_body_over_the_limit_is_a_413_and_not_kept(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(max_body_bytes=1000)
    assert_problem(client.post(URL, data=b"x" * 1001, headers=BY_HOME), 413, "1000 bytes")
    assert client.get("/api/export/json").status_code == 204


def test_a_bomb_is_a_413(client: FlaskClient) -> None:
    assert_problem(client.post(URL, data=zlib.compress(bytes(64 << 20), 9), headers=BY_HOME), 413, "times its size")


def test_too_many_records_are_a_413(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(max_records=3)
    assert_problem(client.post(URL, data=payload(*[state()] * 4), headers=BY_HOME), 413, "3 records")


@on_every_pair
def test_a_repeat_under_a_key_is_replayed(client: FlaskClient) -> None:
    first, second = (client.post(URL, data=payload(state()), headers={**BY_HOME, "Idempotency-Key": "k"}) for _ in range(2))
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.data == second.data


@on_every_pair
def test_a_key_with_another_body_is_a_409(client: FlaskClient) -> None:
    headers = {**BY_HOME, "Idempotency-Key": "k"}
    client.post(URL, data=payload(state(value="1")), headers=headers)
    assert_problem(client.post(URL, data=payload(state(value="2")), headers=headers), 409, "new key")


@on_every_pair
def test_forgetting_answers_the_same_whether_the_home_was_known(client: FlaskClient) -> None:
    client.post(URL, data=payload(state()), headers=BY_HOME)
    known, unknown = client.delete(URL, headers=BY_HOME), client.delete(URL, headers=BY_HOME)
    assert (known.status_code, unknown.status_code) == (200, 200)
    assert known.json.keys() == unknown.json.keys()
    assert known.json["message"] == unknown.json["message"]
    assert len(known.data) == len(unknown.data)


@on_every_pair
def test_asking_too_often_is_a_429_that_says_when(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(ingest_rate_home="2/hour")
    for _ in range(2):
        client.delete(URL, headers=BY_HOME)
    answer = client.delete(URL, headers=BY_HOME)
    assert_problem(answer, 429, "2 per 1 hour")
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    assert client.delete(URL, headers={"Home-UUID": OTHER_HOME}).status_code == 200


def test_one_address_is_counted_over_all_its_homes(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(ingest_rate_address="1/hour")
    client.delete(URL, headers=BY_HOME)
    assert_problem(client.delete(URL, headers={"Home-UUID": OTHER_HOME}), 429, "address")


def test_what_costs_more_than_an_upload_is_counted_by_itself(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(rights_rate_address="3/hour")
    other = {"Home-UUID": OTHER_HOME}
    assert client.get(f"{URL}?summary=true", headers=BY_HOME).status_code == 200
    consent = client.put("/api/ingest/consent", json={"terms": "1.0", "tier": "rows"}, headers=other)
    assert (consent.status_code, client.delete(URL, headers=BY_HOME).status_code) == (200, 200)
    for answer in (
        client.get(f"{URL}?summary=true", headers=other),
        client.get(URL, headers=other),
        client.put("/api/ingest/consent", json={"terms": "1.0", "tier": "rows"}, headers=other),
        client.delete(URL, headers=other),
    ):
        assert_problem(answer, 429, "3 per 1 hour for this address")
    assert client.post(URL, data=payload(state()), headers=other).status_code == 200


@pytest.mark.parametrize("fault", [StoreUnavailable("down"), StoreFull("full")])
def test_a_storage_outage_is_a_503_that_says_when(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(house_of(client).state, "commit", fail)
    answer = client.post(URL, data=payload(state()), headers=BY_HOME)
    assert_problem(answer, 503, "repeat")
    assert answer.headers["Retry-After"]


def test_an_unexpected_fault_tells_no_secret(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(f"/srv/secret/path {HOME}")

    monkeypatch.setattr(house_of(client).states.uploads, "receive", fail)
    answer = client.post(URL, data=payload(state()), headers=BY_HOME)
    assert_problem(answer, 500, "X-Request-ID")
    assert "/srv" not in answer.text


@pytest.mark.parametrize("path", ["/api/ingest", "/api/ingest/", "/api/ingest/nothing", "/nothing"])
def test_an_unknown_path_is_a_404_in_the_dialect(client: FlaskClient, path: str) -> None:
    assert_problem(client.get(path), 404, "/docs")


def test_a_wrong_method_is_a_405_that_names_the_right_ones(client: FlaskClient) -> None:
    answer = client.patch(URL)
    assert_problem(answer, 405, "POST")
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["Allow"].split(", "))


def test_a_sane_request_id_is_returned_and_another_replaced(client: FlaskClient) -> None:
    assert client.delete(URL, headers={**BY_HOME, "X-Request-ID": "night-1"}).headers["X-Request-ID"] == "night-1"
    assert len(client.delete(URL, headers={**BY_HOME, "X-Request-ID": "a b\t<>"}).headers["X-Request-ID"]) == 32
    for part in (OTHER_HOME[:-1], OTHER_HOME[:23], OTHER_HOME[19:].upper()):  # also without a home's header
        assert len(client.get("/health/live", headers={"X-Request-ID": part}).headers["X-Request-ID"]) == 32


@pytest.mark.parametrize(
    "request_id",
    [
        HOME,
        HOME.upper(),
        HOME.replace("-", "."),
        HOME[:-1],
        HOME[:6],
        f"night-{HOME[9:18]}",
        "01234567-89ab-4cde-8f01-23456789abcd",
    ],
)
@pytest.mark.parametrize("given", [HOME, f"{HOME},{HOME}"])
def test_a_request_id_that_is_a_uuid_or_a_part_of_the_homes_is_replaced(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, request_id: str, given: str
) -> None:
    with caplog.at_level("INFO"):
        answer = client.delete(URL, headers={"Home-UUID": given, "X-Request-ID": request_id})
    assert answer.headers["X-Request-ID"] != request_id
    assert request_id not in caplog.text


@on_every_pair
def test_the_same_states_twice_in_one_upload_are_all_counted(client: FlaskClient) -> None:
    body = json.dumps({"sensor.a": [state("sensor.a")] * 3}).encode()
    answer = client.post(URL, data=body, headers=BY_HOME)
    assert answer.json is not None
    assert answer.json["records"] == 3

"""Datasets over HTTP: what Obsrv's clients and connectors send and get."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from smarthouse_api.collections.accepting import Accepting
from smarthouse_api.errors import StoreUnavailable
from tests.collecting import EVENT, MSGID, SCHEMA, bearer, event, json_of, made, managed, of, operator, stored
from tests.conftest import house_of, on_every_pair, on_pair

ID = "example"
IN = f"/v2/data/in/{ID}"
OUT = f"/v2/data/out/{ID}"
FAILED = f"/v2/datasets/failed/{ID}"
REPLAY = f"/v2/datasets/replay/{ID}"
RECORDS = f"/v2/datasets/records/{ID}"
MANY = [{"eid": "INTERACT", "date": "2022-01-01", "where": "the room at the end of the hall", "ets": at} for at in range(300)]
INVALID = "DATA_INGESTION_INVALID_INPUT"


environment = on_pair("memory_pair")


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    """Of a service with the dataset of the seed."""
    one = make_client()
    made(one, ID, entry_topic=ID)
    return one


@pytest.fixture
def headers(client: FlaskClient) -> dict[str, str]:
    """Of a key to the dataset."""
    return bearer(client, datasets=[ID])


def sent(client: FlaskClient, body: Any = EVENT, path: str = IN, **options: Any) -> TestResponse:
    return client.post(path, data=json.dumps(body), content_type="application/json", **options)


def error_of(answer: TestResponse) -> tuple[int, str, str, str]:
    """Status, response code, code and message of a request that was not done; the rest has to be as it always is."""
    told = json_of(answer)
    assert list(told) == ["id", "ver", "ts", "params", "responseCode", "result", "error"]
    assert (told["params"]["status"], told["result"], list(told["error"])) == ("FAILED", {}, ["code", "message", "trace"])
    assert told["error"]["trace"] == ""
    return answer.status_code, told["responseCode"], told["error"]["code"], told["error"]["message"]


def result_of(answer: TestResponse) -> Any:
    told = json_of(answer)
    assert (answer.status_code, told["responseCode"], told["params"]["status"]) == (200, "OK", "SUCCESS"), told
    return told["result"]


def shown(answer: TestResponse) -> str:
    """The answer's text, its time and the id that is made for each put into words."""
    text = re.sub(r'"ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"', '"ts":"TIME"', answer.text)
    return re.sub(r'"resmsgid":"[0-9a-f-]{36}"', '"resmsgid":"ID"', text)


# The seed's examples


@pytest.mark.parametrize("data", [EVENT["data"], [EVENT["data"], EVENT["data"]]], ids=["one", "batch"])
@on_every_pair
def test_data_are_answered_byte_for_byte_as_in_the_seed(client: FlaskClient, data: Any) -> None:
    answer = sent(client, {**EVENT, "data": data})
    assert answer.status_code == 200
    assert shown(answer) == (
        '{"id":"api.data.in","ver":"v2","ts":"TIME","params":{"status":"SUCCESS",'
        '"msgid":"e180ecac-8f41-4f21-9a21-0b3a1a368917","resmsgid":"ID"},"responseCode":"OK",'
        '"result":{"message":"Data ingested successfully"}}'
    )


def test_a_bad_request_is_answered_byte_for_byte_as_in_the_seed(client: FlaskClient) -> None:
    answer = sent(client, {})
    assert answer.status_code == 400
    assert shown(answer) == (
        '{"id":"api.data.in","ver":"v2","ts":"TIME","params":{"status":"FAILED","resmsgid":"ID"},'
        '"responseCode":"BAD_REQUEST","result":{},"error":{"code":"DATA_INGESTION_INVALID_INPUT",'
        '"message":"#required should have required property \'id\'","trace":""}}'
    )


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("unknown", "DATASET_NOT_FOUND", "Dataset with id not found"),
        ("mute", "TOPIC_NOT_FOUND", "Entry topic is not defined"),
    ],
)
def test_what_is_not_found_is_answered_byte_for_byte_as_in_the_seed(
    client: FlaskClient, name: str, code: str, message: str
) -> None:
    made(client, "mute")
    answer = sent(client, path=f"/v2/data/in/{name}")
    assert answer.status_code == 404
    assert shown(answer) == (
        '{"id":"api.data.in","ver":"v2","ts":"TIME","params":{"status":"FAILED",'
        '"msgid":"e180ecac-8f41-4f21-9a21-0b3a1a368917","resmsgid":"ID"},"responseCode":"BAD_REQUEST","result":{},'
        f'"error":{{"code":"{code}","message":"{message}","trace":""}}}}'
    )


def test_each_answer_has_an_id_and_a_time_of_its_own(client: FlaskClient) -> None:
    first, second = (json_of(sent(client)) for _ in range(2))
    ids = {one["params"]["resmsgid"] for one in (first, second)}
    assert {UUID(one).version for one in ids} == {4}
    assert len(ids) == 2
    assert datetime.fromisoformat(first["ts"]).utcoffset() is not None


# Sending data


@on_every_pair
def test_one_record_and_a_batch_are_stored(client: FlaskClient) -> None:
    sent(client, event({"eid": "one"}))
    sent(client, event([{"eid": "two"}, {"eid": "three"}]))
    assert stored(client, ID) == [{"eid": "one"}, {"eid": "two"}, {"eid": "three"}]


@on_every_pair
def test_a_record_is_kept_with_all_its_members(client: FlaskClient) -> None:
    record = {"eid": "INTERACT", "obsrv_meta": {"syncts": 1, "flags": {}}, "id": 12345678901234567890, "nested": [[1.5, None]]}
    sent(client, event(record))
    assert stored(client, ID) == [record]


def test_an_empty_batch_is_done_with_at_once_as_in_obsrv(client: FlaskClient) -> None:
    assert result_of(sent(client, event([]))) == {"message": "Data ingested successfully"}
    assert stored(client, ID) == []


@pytest.mark.parametrize("members", [{"more": 1}, {"signature": None}])
def test_members_that_obsrv_does_not_know_are_let_through_beside_its_own(client: FlaskClient, members: dict[str, Any]) -> None:
    assert sent(client, {**EVENT, **members}).status_code == 200


@pytest.mark.parametrize("ts", ["", "yesterday", "2024-04-10T16:10:50+05:30"])
def test_any_text_is_a_time(client: FlaskClient, ts: str) -> None:
    assert sent(client, {**EVENT, "ts": ts}).status_code == 200


def without(name: str) -> dict[str, Any]:
    return {one: value for one, value in EVENT.items() if one != name}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "#type should be object"),
        ("text", "#type should be object"),
        (None, "#type should be object"),
        (without("id"), "#required should have required property 'id'"),
        (without("ver"), "#required should have required property 'ver'"),
        (without("ts"), "#required should have required property 'ts'"),
        (without("params"), "#required should have required property 'params'"),
        (without("data"), "#required should have required property 'data'"),
        ({**EVENT, "id": 5}, "#/properties/id/type should be string"),
        ({**EVENT, "id": "api.data.out"}, "#/properties/id/enum should be equal to one of the allowed values"),
        ({**EVENT, "ver": None}, "#/properties/ver/type should be string"),
        ({**EVENT, "ts": 1711966306164}, "#/properties/ts/type should be string"),
        ({**EVENT, "params": "text"}, "#/properties/params/type should be object"),
        ({**EVENT, "params": {}}, "#/properties/params/required should have required property 'msgid'"),
        ({**EVENT, "params": {"msgid": 5}}, "#/properties/params/properties/msgid/type should be string"),
        (
            {**EVENT, "params": {"msgid": MSGID, "more": 1}},
            "#/properties/params/additionalProperties should NOT have additional properties",
        ),
        ({**EVENT, "data": None}, "#/properties/data/oneOf/0/type should be object"),
        ({**EVENT, "data": "text"}, "#/properties/data/oneOf/0/type should be object"),
        ({**EVENT, "data": [{}, 5]}, "#/properties/data/oneOf/1/items/type should be object (data[1])"),
        ({"id": "api.data.in"}, "#required should have required property 'ver'"),
        ({"ver": 5}, "#required should have required property 'id'"),
        ({"id": 5}, "#/properties/id/type should be string"),
        ({"id": "api.data.in", "ver": "v2", "ts": 5}, "#/properties/ts/type should be string"),
        ({**without("data"), "params": {}}, "#/properties/params/required should have required property 'msgid'"),
    ],
)
def test_the_first_fault_is_told_in_ajvs_words(client: FlaskClient, body: Any, message: str) -> None:
    assert error_of(sent(client, body)) == (400, "BAD_REQUEST", INVALID, message)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty"),
        (b"{", "The body is not JSON"),
        (b'{"id": "\xff"}', "UTF-8"),
        (b'{"data": {"value": NaN}}', "The body is not JSON"),
        (b'{"data": {"value": -Infinity}}', "The body is not JSON"),
        (b'{"data": {"value": "\\udc00"}}', "The body is not JSON"),
        (b'{"data":' * 10_000, "deeper than the 64 levels"),
    ],
)
def test_what_is_no_json_is_the_same_bad_request(client: FlaskClient, body: bytes, words: str) -> None:
    status, response_code, code, message = error_of(client.post(IN, data=body, content_type="application/json"))
    assert (status, response_code, code) == (400, "BAD_REQUEST", INVALID)
    assert words in message


@pytest.mark.parametrize("index", [0, 3, 6])
def test_one_bad_record_is_named_and_none_of_its_batch_is_stored(client: FlaskClient, index: int) -> None:
    records: list[Any] = [{"eid": str(one)} for one in range(7)]
    records[index] = ["no object"]
    assert f"data[{index}]" in error_of(sent(client, event(records)))[3]
    assert stored(client, ID) == []


@pytest.mark.parametrize("msgid", [5, None, {"a": 1}])
def test_a_msgid_that_is_no_text_is_not_repeated(client: FlaskClient, msgid: Any) -> None:
    assert "msgid" not in json_of(sent(client, {**EVENT, "params": {"msgid": msgid}}))["params"]


def test_the_msgid_is_repeated_whatever_else_is_wrong(client: FlaskClient) -> None:
    assert json_of(sent(client, {"params": {"msgid": "mine"}}))["params"]["msgid"] == "mine"


def test_the_msgid_of_one_request_is_in_no_others_answer(client: FlaskClient) -> None:
    sent(client)
    assert "msgid" not in json_of(client.post(IN, data=b"{"))["params"]


def test_the_body_is_looked_at_before_the_dataset(client: FlaskClient) -> None:
    assert error_of(sent(client, {}, "/v2/data/in/unknown"))[2] == INVALID


@on_every_pair
def test_an_alias_and_blanks_around_the_name_lead_to_the_same_dataset(client: FlaskClient) -> None:
    made(client, "trips", alias="journeys", entry_topic="trips")
    for name in ("trips", "journeys", "%20trips%20"):
        assert sent(client, path=f"/v2/data/in/{name}").status_code == 200
    assert len(stored(client, "trips")) == 3


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", None])
def test_whatever_the_content_type_the_body_is_json(client: FlaskClient, content_type: str | None) -> None:
    assert client.post(IN, data=json.dumps(EVENT), content_type=content_type).status_code == 200


@on_every_pair
def test_a_msgid_that_came_before_is_stored_once_where_the_dataset_asks_for_that(client: FlaskClient) -> None:
    made(client, "once", entry_topic="once", dedup_key="params.msgid")
    answers = [sent(client, path="/v2/data/in/once") for _ in range(2)]
    assert [result_of(one) for one in answers] == [{"message": "Data ingested successfully"}] * 2
    sent(client, event({"eid": "another"}, "another"), "/v2/data/in/once")
    assert stored(client, "once") == [EVENT["data"], {"eid": "another"}]


@on_every_pair
def test_what_the_schema_refuses_is_answered_as_what_it_takes(client: FlaskClient) -> None:
    made(client, "strict", entry_topic="strict", schema=SCHEMA, mode="strict")
    answer = sent(client, event([{"value": 1}, {"value": "much"}]), "/v2/data/in/strict")
    assert result_of(answer) == {"message": "Data ingested successfully"}
    assert stored(client, "strict") == [{"value": 1}]


@on_every_pair
def test_a_batch_event_becomes_one_record_for_each_event(client: FlaskClient) -> None:
    config = {"is_batch_event": True, "extraction_key": "events", "batch_id": "id"}
    result_of(create(client, dataset_id="b1", extraction_config=config))
    batch = event({"id": "x", "events": [{"a": 1}, {"a": 2}]}, "m")
    answers = [sent(client, batch, "/v2/data/in/b1", headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert result_of(answers[0]) == {"message": "Data ingested successfully"}
    assert stored(client, "b1") == [{"a": 1}, {"a": 2}]
    assert result_of(sent(client, event({"id": "y", "events": 5}), "/v2/data/in/b1")) == result_of(answers[0])
    failed = result_of(client.get("/v2/datasets/failed/b1", headers=operator(client)))["records"]
    assert [(one["record"], one["reason"]) for one in failed] == [
        ({"id": "y", "events": 5}, "events is a number; it must be an array of objects, the events of the batch")
    ]


@on_every_pair
def test_an_empty_name_of_the_events_is_warned_of(client: FlaskClient) -> None:
    answer = create(client, dataset_id="b2", extraction_config={"is_batch_event": True, "extraction_key": ""})
    assert result_of(answer)["warnings"] == ["extraction_config.extraction_key is empty; `events` holds the events of a batch"]
    assert read(client, "b2", "?fields=extraction_config")["extraction_config"]["extraction_key"] == "events"


def test_a_batch_is_stored_once_by_its_own_deduplication(client: FlaskClient) -> None:
    dedup = {"drop_duplicates": True, "dedup_key": "id", "dedup_period": 60}
    config = {"is_batch_event": True, "extraction_key": "payload.list", "dedup_config": dedup}
    create(client, dataset_id="b1", extraction_config=config)
    for id_ in ("x", "x", "y"):
        sent(client, event({"id": id_, "payload": {"list": [{"of": id_}]}}, "m"), "/v2/data/in/b1")
    assert stored(client, "b1") == [{"of": "x"}, {"of": "y"}]


@pytest.mark.parametrize(
    ("dedup", "key"),
    [
        ({}, None),
        ({"dedup_config": {"drop_duplicates": False, "dedup_key": "mid"}}, None),
        ({"dedup_config": {"drop_duplicates": True, "dedup_key": "mid"}, "batch_id": "b"}, "mid"),
        ({"dedup_config": {"drop_duplicates": True}, "batch_id": "b"}, "b"),
        ({"dedup_config": {"drop_duplicates": True}}, "id"),
        ({"dedup_config": {"drop_duplicates": True, "dedup_key": "msgid"}}, "params.msgid"),
    ],
)
def test_the_key_of_a_batch_is_what_the_extraction_says(client: FlaskClient, dedup: dict[str, Any], key: str | None) -> None:
    create(client, dataset_id="b1", extraction_config={"is_batch_event": True, **dedup})
    found = house_of(client).collections.catalogue.find("b1")
    assert found.extraction is not None
    assert (found.extraction.key, found.extraction.dedup_key, found.dedup_key) == ("events", key, None)


def test_batches_are_taken_apart_until_an_update_says_otherwise(client: FlaskClient) -> None:
    create(client, dataset_id="b1", extraction_config={"is_batch_event": True, "extraction_key": "list"})
    change(client, dataset_id="b1", name="other")
    sent(client, event({"list": [{"a": 1}]}), "/v2/data/in/b1")
    change(client, dataset_id="b1", extraction_config={"is_batch_event": False})
    sent(client, event({"list": [{"a": 2}]}), "/v2/data/in/b1")
    assert stored(client, "b1") == [{"a": 1}, {"list": [{"a": 2}]}]


@on_every_pair
def test_a_repeat_under_the_same_key_is_answered_with_the_same_bytes_and_stored_once(client: FlaskClient) -> None:
    first, second = (sent(client, headers={"Idempotency-Key": "one"}) for _ in range(2))
    assert first.data == second.data
    assert [one.headers.get("Idempotency-Replayed") for one in (first, second)] == [None, "true"]
    assert len(stored(client, ID)) == 1


def test_the_same_key_with_another_body_is_refused(client: FlaskClient) -> None:
    sent(client, headers={"Idempotency-Key": "one"})
    answer = sent(client, event({}), headers={"Idempotency-Key": "one"})
    assert error_of(answer)[:3] == (400, "BAD_REQUEST", "IDEMPOTENCY_KEY_REUSED")


def test_the_same_key_of_two_callers_is_two_keys(client: FlaskClient) -> None:
    callers = [bearer(client, datasets=[ID]), bearer(client, datasets=["other"]), {}]
    for number, headers in enumerate(callers):
        answer = sent(client, event({"number": number}), headers={**headers, "Idempotency-Key": "one"})
        assert answer.status_code == 200
    assert [one["number"] for one in stored(client, ID)] == [0, 1, 2]


def test_a_message_id_may_not_be_longer_than_it_is_kept(client: FlaskClient) -> None:
    assert sent(client, event({}, msgid="m" * 512)).status_code == 200
    status, _, code, told = error_of(sent(client, event({}, msgid="m" * 513)))
    assert (status, code) == (400, INVALID)
    assert told == "#/properties/params/properties/msgid/maxLength should NOT be longer than 512 characters"


def test_a_message_id_that_is_empty_is_echoed(client: FlaskClient) -> None:
    assert json_of(sent(client, event({}, msgid="")))["params"]["msgid"] == ""


def test_a_schema_that_comes_later_is_held_to_unless_the_request_says_otherwise(client: FlaskClient) -> None:
    for more, mode in (({}, "strict"), ({"mode": "off"}, "off")):
        house_of(client).collections.catalogue.update(ID, {"schema": None, "mode": "off"})
        body = managed("update", dataset_id=ID, data_schema=SCHEMA, **more)
        assert client.patch("/v2/datasets/update", json=body, headers=operator(client)).status_code == 200
        assert house_of(client).collections.catalogue.find(ID).mode == mode


def test_a_schema_that_is_none_is_told_beside_a_deduplication_by_message(client: FlaskClient) -> None:
    wanted = managed(
        "create", dataset_id="bad", data_schema={"properties": 5}, dedup_config={"drop_duplicates": True, "dedup_key": "msgid"}
    )
    answer = client.post("/v2/datasets/create", json=wanted, headers=operator(client))
    assert error_of(answer)[0] == 400


# Who may send


def test_a_dataset_that_requires_a_token_is_written_with_one(client: FlaskClient) -> None:
    made(client, "closed", entry_topic="closed", requires_token=True)
    path = "/v2/data/in/closed"
    answer = sent(client, path=path)
    assert error_of(answer)[:3] == (401, "UNAUTHORIZED", "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert error_of(sent(client, path=path, headers=bearer(client, **of("another"))))[:3] == (403, "FORBIDDEN", "FORBIDDEN")
    for grants in ({"datasets": ["closed"]}, {"datasources": ["closed"]}, {"admin": True}):
        assert sent(client, path=path, headers=bearer(client, **grants)).status_code == 200


def test_a_key_that_nobody_asks_for_is_not_looked_at(client: FlaskClient) -> None:
    assert sent(client, headers={"Authorization": "Basic obsrv"}).status_code == 200


def test_nobody_learns_here_of_a_data_source_that_is_closed(client: FlaskClient) -> None:
    made(client, "source", requires_token=True)
    wanted = (404, "BAD_REQUEST", "DATASET_NOT_FOUND", "Dataset with id not found")
    assert error_of(sent(client, path="/v2/data/in/source")) == wanted
    assert error_of(sent(client, path="/v2/data/in/source", headers=bearer(client, **of("another")))) == wanted
    granted = sent(client, path="/v2/data/in/source", headers=bearer(client, **of("source")))
    assert error_of(granted)[2] == "TOPIC_NOT_FOUND"


def test_the_installation_may_ask_for_a_key_before_it_says_which_datasets_there_are(
    make_client: Callable[..., FlaskClient],
) -> None:
    client = make_client(datasets_require_token="true")
    made(client, ID, entry_topic=ID)
    assert error_of(sent(client, {}))[2] == INVALID
    assert sent(client).status_code == sent(client, path="/v2/data/in/unknown").status_code == 401
    other = bearer(client, **of("another"))
    known, unknown = (sent(client, path=f"/v2/data/in/{one}", headers=other) for one in (ID, "unknown"))
    assert known.status_code == 403
    assert shown(known) == shown(unknown)
    assert sent(client, headers=bearer(client, datasets=[ID])).status_code == 200


# Consuming


@on_every_pair
def test_what_came_is_consumed_in_order_page_by_page(client: FlaskClient, headers: dict[str, str]) -> None:
    sent(client, event([{"n": one} for one in range(5)], "first"))
    sent(client, event({"n": 5}, "second"))
    found, after = list[Any](), "0"
    while events := (page := result_of(client.get(f"{OUT}?after={after}&limit=2", headers=headers)))["events"]:
        found, after = found + events, page["next"]
    assert [one["event"] for one in found] == [{"n": one} for one in range(6)]
    assert [one["msgid"] for one in found] == ["first"] * 5 + ["second"]
    assert {frozenset(one) for one in found} == {frozenset({"position", "received_at", "msgid", "event"})}
    assert page["next"] == found[-1]["position"]
    sent(client, event({"n": 6}))
    (last,) = result_of(client.get(f"{OUT}?after={after}", headers=headers))["events"]
    assert last["event"] == {"n": 6}


def test_what_is_marked_is_consumed_with_its_fault(client: FlaskClient) -> None:
    made(client, "warn", entry_topic="warn", schema=SCHEMA, mode="warn")
    sent(client, event({"value": "much"}), "/v2/data/in/warn")
    (one,) = result_of(client.get("/v2/data/out/warn", headers=operator(client)))["events"]
    assert one["fault"]


def test_consuming_needs_a_key_with_the_grant_unless_the_dataset_is_public(client: FlaskClient) -> None:
    assert error_of(client.get(OUT))[:2] == (401, "UNAUTHORIZED")
    other = bearer(client, **of("another"))
    assert error_of(client.get(OUT, headers=other))[:2] == (403, "FORBIDDEN")
    assert error_of(client.get("/v2/data/out/unknown", headers=other))[:2] == (403, "FORBIDDEN")
    assert error_of(client.get("/v2/data/out/unknown", headers=operator(client)))[2] == "DATASET_NOT_FOUND"
    made(client, "open", entry_topic="open", public=True)
    assert result_of(client.get("/v2/data/out/open"))["events"] == []


def test_where_there_is_no_topic_there_is_nothing_to_consume(client: FlaskClient) -> None:
    made(client, "mute")
    answer = client.get("/v2/data/out/mute", headers=operator(client))
    assert error_of(answer) == (404, "BAD_REQUEST", "TOPIC_NOT_FOUND", "Entry topic is not defined")


@pytest.mark.parametrize("query", ["after=x", "after=", "after=1", "limit=0", "limit=10001", "limit=x", "after=0&after=1-0"])
def test_a_parameter_that_cannot_be_is_named(client: FlaskClient, headers: dict[str, str], query: str) -> None:
    status, _, code, message = error_of(client.get(f"{OUT}?{query}", headers=headers))
    assert (status, code) == (400, "DATA_OUT_INVALID_INPUT")
    assert query.partition("=")[0] in message


# Reading back


@on_every_pair
def test_records_come_back_in_the_envelope(client: FlaskClient, headers: dict[str, str]) -> None:
    sent(client, event([{"n": one} for one in range(3)]))
    answer = client.get(f"{RECORDS}?limit=2", headers=headers, buffered=True)
    assert list(json_of(answer)) == ["id", "ver", "ts", "params", "responseCode", "result"]
    assert json_of(answer)["id"] == "api.datasets.records"
    found = result_of(answer)
    assert [one["n"] for one in found["records"]] == [0, 1]
    assert found["next"] == answer.headers["X-Next-Cursor"]
    rest = client.get(f"{RECORDS}?meta=false&cursor={found['next']}", headers=headers, buffered=True)
    assert result_of(rest) == {"records": [{"n": 2}], "next": None}


@pytest.mark.parametrize("record", [{"at.utc": "2025-01-01T12:00:00Z"}, {"at": {"utc": "2025-01-01T12:00:00Z"}}])
def test_records_are_selected_by_a_time_under_a_name_with_a_dot(client: FlaskClient, record: dict[str, Any]) -> None:
    made(client, "dotted", entry_topic="dotted", timestamp_field="at.utc", public=True)
    sent(client, event([record, {"other": 1}]), "/v2/data/in/dotted")
    path = "/v2/datasets/records/dotted?meta=false&format=jsonl&from=2025-01-01&to=2025-01-01"
    assert [json.loads(line) for line in client.get(path, buffered=True).text.splitlines()] == [record]


def test_other_formats_come_without_it(client: FlaskClient, headers: dict[str, str]) -> None:
    sent(client, event({"n": 1}))
    assert client.get(f"{RECORDS}?format=jsonl&meta=false", headers=headers, buffered=True).text == '{"n":1}\n'


def test_reading_needs_a_key_with_the_grant_unless_the_dataset_is_public(client: FlaskClient) -> None:
    assert error_of(client.get(RECORDS))[:2] == (401, "UNAUTHORIZED")
    assert error_of(client.get(RECORDS, headers=bearer(client, **of("another"))))[:2] == (403, "FORBIDDEN")
    made(client, "open", entry_topic="open", public=True)
    assert result_of(client.get("/v2/datasets/records/open", buffered=True))["records"] == []


def test_a_wrong_parameter_of_a_reading_is_named(client: FlaskClient, headers: dict[str, str]) -> None:
    status, _, code, message = error_of(client.get(f"{RECORDS}?from=x", headers=headers))
    assert (status, code) == (400, "DATASET_RECORDS_INVALID_INPUT")
    assert message.startswith("from:")


# What the schema refused


@pytest.fixture
def refused(client: FlaskClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Two records that were refused, as they are listed."""
    house_of(client).collections.catalogue.update(ID, {"schema": SCHEMA, "mode": "strict"})
    sent(client, event([{"value": "much"}, {"value": 1}, {"other": 2}]))
    found: list[dict[str, Any]] = result_of(client.get(FAILED, headers=headers))["records"]
    assert len(found) == 2
    return found


def test_refused_records_are_listed_with_their_reason(refused: list[dict[str, Any]]) -> None:
    assert [one["record"] for one in refused] == [{"value": "much"}, {"other": 2}]
    assert [set(one) for one in refused] == [{"id", "reason", "received_at", "msgid", "record"}] * 2
    assert all(one["reason"] for one in refused)
    assert {one["msgid"] for one in refused} == {MSGID}


def test_refused_records_are_listed_page_by_page(
    client: FlaskClient, headers: dict[str, str], refused: list[dict[str, Any]]
) -> None:
    found, query = list[Any](), "limit=1"
    for _ in range(3):
        page = result_of(client.get(f"{FAILED}?{query}", headers=headers))
        found += page["records"]
        if page["next"] is None:
            break
        query = f"limit=1&after={page['next']}"
    assert (found, page["next"]) == (refused, None)


@on_every_pair
def test_a_refused_record_is_fixed_and_replayed(
    client: FlaskClient, headers: dict[str, str], refused: list[dict[str, Any]]
) -> None:
    fixed = client.put(f"{FAILED}/{refused[0]['id']}", json={"request": {"record": {"value": 2}}}, headers=headers)
    assert result_of(fixed)["record"] == {"value": 2}
    assert result_of(client.post(REPLAY, headers=headers)) == {"stored": 1, "left": 1, "next": None}
    assert stored(client, ID) == [{"value": 1}, {"value": 2}]
    assert [one["id"] for one in result_of(client.get(FAILED, headers=headers))["records"]] == [refused[1]["id"]]


def test_those_that_are_named_are_replayed(client: FlaskClient, headers: dict[str, str], refused: list[dict[str, Any]]) -> None:
    house_of(client).collections.catalogue.update(ID, {"mode": "off"})
    body = managed("replay", ids=[refused[1]["id"]])
    answer = client.post(REPLAY, json=body, headers=headers)
    assert result_of(answer) == {"stored": 1, "left": 0, "next": None}
    assert json_of(answer)["params"]["msgid"] == MSGID
    assert stored(client, ID) == [{"value": 1}, {"other": 2}]


@on_every_pair
def test_a_refused_record_is_discarded(client: FlaskClient, headers: dict[str, str], refused: list[dict[str, Any]]) -> None:
    path = f"{FAILED}/{refused[0]['id']}"
    assert result_of(client.delete(path, headers=headers))["id"] == refused[0]["id"]
    assert error_of(client.delete(path, headers=headers))[:3] == (404, "NOT_FOUND", "RECORD_NOT_FOUND")
    put = client.put(path, json={"request": {"record": {}}}, headers=headers)
    assert error_of(put)[:3] == (404, "NOT_FOUND", "RECORD_NOT_FOUND")
    named = client.post(REPLAY, json={"request": {"ids": [refused[0]["id"]]}}, headers=headers)
    assert error_of(named)[:3] == (404, "NOT_FOUND", "RECORD_NOT_FOUND")


@on_every_pair
def test_a_replay_under_the_same_key_is_done_once(
    client: FlaskClient, headers: dict[str, str], refused: list[dict[str, Any]]
) -> None:
    house_of(client).collections.catalogue.update(ID, {"mode": "off"})
    answers = [client.post(REPLAY, headers={**headers, "Idempotency-Key": "one"}) for _ in range(2)]
    assert [result_of(one) for one in answers] == [{"stored": 2, "left": 0, "next": None}] * 2
    assert answers[1].headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "#required should have required property 'request'"),
        ({"request": {}}, "#properties/request/required should have required property 'record'"),
        ({"request": {"record": []}}, "#properties/request/properties/record/type should be object"),
        ({"request": {"record": {}, "x": 1}}, "#properties/request/additionalProperties should NOT have additional properties"),
        ([], "#type should be object"),
    ],
)
def test_a_fix_must_be_a_record(
    client: FlaskClient, headers: dict[str, str], refused: list[dict[str, Any]], body: Any, message: str
) -> None:
    answer = client.put(f"{FAILED}/{refused[0]['id']}", json=body, headers=headers)
    assert error_of(answer) == (400, "BAD_REQUEST", "DATASET_FAILED_INVALID_INPUT", message)


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ({"afer": "x"}, "#properties/request/additionalProperties should NOT have additional properties"),
        ({"after": "x"}, "after: 'x' is not the id of a dead letter; give `next` of an earlier answer"),
    ],
)
def test_a_replay_that_is_not_understood_stores_nothing(
    client: FlaskClient, headers: dict[str, str], refused: list[dict[str, Any]], which: Any, message: str
) -> None:
    house_of(client).collections.catalogue.update(ID, {"mode": "off"})
    answer = client.post(REPLAY, json={"request": which}, headers=headers)
    assert error_of(answer) == (400, "BAD_REQUEST", "DATASET_REPLAY_INVALID_INPUT", message)
    assert result_of(client.get(FAILED, headers=headers))["records"] == refused


def test_what_was_refused_is_for_those_with_the_grant_though_the_dataset_be_public(client: FlaskClient) -> None:
    house_of(client).collections.catalogue.update(ID, {"public": True})
    other = bearer(client, **of("another"))
    for method, path in (("GET", FAILED), ("PUT", f"{FAILED}/x"), ("DELETE", f"{FAILED}/x"), ("POST", REPLAY)):
        assert error_of(client.open(path, method=method))[:2] == (401, "UNAUTHORIZED")
        assert error_of(client.open(path, method=method, headers=other))[:2] == (403, "FORBIDDEN")


# Managing


def create(client: FlaskClient, **request: Any) -> TestResponse:
    return client.post("/v2/datasets/create", json=managed("create", **request), headers=operator(client))


def read(client: FlaskClient, name: str, query: str = "") -> Any:
    return result_of(client.get(f"/v2/datasets/read/{name}{query}", headers=operator(client)))


def change(client: FlaskClient, **request: Any) -> TestResponse:
    return client.patch("/v2/datasets/update", json=managed("update", **request), headers=operator(client))


def listed(client: FlaskClient, **request: Any) -> list[str]:
    answer = client.post("/v2/datasets/list", json=managed("list", **request), headers=operator(client))
    found = result_of(answer)
    assert found["count"] == len(found["data"])
    return [one["dataset_id"] for one in found["data"]]


def renamed(client: FlaskClient, **request: Any) -> TestResponse:
    return client.post("/v2/datasets/alias", json=managed("alias", **request), headers=operator(client))


MISPLACED = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"eid": {"type": "string"}, "ver": {"type": "string"}, "required": ["eid"]},
    "additionalProperties": True,
}
"""The schema in Obsrv's own examples, which is none: its list of names stands among the members."""
OBSRVS = {
    "dataset_id": "sb-ddd",
    "type": "event",
    "name": "sb-telemetry2",
    "validation_config": {"validate": True, "mode": "Strict"},
    "dedup_config": {"drop_duplicates": True, "dedup_key": "msgid"},
    "data_schema": MISPLACED,
    "denorm_config": {"denorm_fields": [{"denorm_key": "actor.id", "denorm_out_field": "userdata", "dataset_id": "trips"}]},
    "dataset_config": {
        "indexing_config": {"olap_store_enabled": False, "lakehouse_enabled": True, "cache_enabled": False},
        "keys_config": {"timestamp_key": "ets"},
        "file_upload_path": ["telemetry.json"],
    },
    "tags": [],
}


def test_a_request_of_obsrvs_own_makes_a_dataset_that_data_can_be_sent_to(client: FlaskClient) -> None:
    answer = create(client, **OBSRVS)
    assert json_of(answer)["id"] == "api.datasets.create"
    assert set(result_of(answer)) == {"id", "version_key", "warnings"}
    assert result_of(answer)["id"] == "sb-ddd"
    assert {one.partition(" ")[0] for one in result_of(answer)["warnings"]} == {
        "denorm_config",
        "dataset_config.indexing_config",
        "dataset_config.file_upload_path",
        "data_schema.properties.required",
    }
    found = read(client, "sb-ddd")
    assert (found["name"], found["status"], found["mode"]) == ("sb-telemetry2", "Live", "strict")
    assert (found["dedup_config"]["dedup_key"], found["dedup_config"]["dedup_period"]) == ("msgid", 604800)
    assert house_of(client).collections.catalogue.find("sb-ddd").dedup_key == "params.msgid"
    assert (found["timestamp_field"], found["entry_topic"]) == ("ets", "sb-ddd")
    assert sent(client, path="/v2/data/in/sb-ddd").status_code == 200


def test_a_dataset_needs_only_an_id(client: FlaskClient) -> None:
    assert set(result_of(create(client, dataset_id="bare"))) == {"id", "version_key"}
    found = read(client, "bare")
    assert found["name"] == "bare"
    assert (found["mode"], found["data_schema"], found["dedup_config"]["drop_duplicates"]) == ("off", None, False)
    assert (found["requires_token"], found["public"], found["alias"]) == (False, False, None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data_schema": SCHEMA}, {"mode": "strict", "data_schema": SCHEMA}),
        ({"data_schema": SCHEMA, "validation_config": {"validate": False}}, {"mode": "off"}),
        ({"data_schema": SCHEMA, "mode": "warn"}, {"mode": "warn"}),
        (
            {"data_schema": {**SCHEMA, "additionalProperties": False}, "validation_config": {"mode": "IgnoreNewFields"}},
            {"data_schema": {**SCHEMA, "additionalProperties": True}},
        ),
        ({"dedup_config": {"drop_duplicates": True, "dedup_key": "mid", "dedup_period": 60}}, {"dedup": ("mid", 60)}),
        ({"dedup_config": {"drop_duplicates": False, "dedup_key": "mid"}}, {"dedup": (None, 604800)}),
        ({"dedup_config": {"drop_duplicates": True}}, {"dedup": ("params.msgid", 604800)}),
        (
            {
                "dedup_config": {"drop_duplicates": True, "dedup_key": "msgid"},
                "data_schema": {"type": "object", "properties": {"msgid": {}}},
            },
            {"dedup": ("msgid", 604800)},
        ),
        (
            {"extraction_config": {"dedup_config": {"drop_duplicates": True, "dedup_key": "id"}}},
            {"dedup": ("params.msgid", 604800)},
        ),
        ({"dataset_config": {"data_key": "", "timestamp_key": "ets"}}, {"timestamp_field": "ets"}),
        ({"dataset_config": {"keys_config": {"timestamp_key": ""}}}, {"timestamp_field": None}),
        ({"timestamp_field": None}, {"timestamp_field": None}),
        ({}, {"timestamp_field": "timestamp", "entry_topic": "made"}),
        ({"entry_topic": "of-its-own"}, {"entry_topic": "of-its-own"}),
        ({"entry_topic": None}, {"entry_topic": None}),
        ({"dataset_config": {"entry_topic": "local"}}, {"entry_topic": "local"}),
        ({"router_config": {"topic": "local"}}, {"entry_topic": "local"}),
        ({"router_config": {"topic": ""}}, {"entry_topic": "made"}),
        ({"requires_token": True, "public": True}, {"requires_token": True, "public": True}),
        ({"retention": {"seconds": 60, "bytes": None}}, {"retention": {"seconds": 60.0, "bytes": None}}),
        ({"alias": "other-name"}, {"alias": "other-name"}),
    ],
)
def test_each_member_of_a_definition_means_what_is_read_back(
    client: FlaskClient, given: dict[str, Any], told: dict[str, Any]
) -> None:
    assert result_of(create(client, dataset_id="made", **given))["id"] == "made"
    found = read(client, "made")
    found["dedup"] = (
        house_of(client).collections.catalogue.find("made").dedup_key,
        found["dedup_config"]["dedup_period"],
    )
    assert {name: found[name] for name in told} == told


@pytest.mark.parametrize(
    ("setting", "member", "default"),
    [
        ({"retention": {"seconds": 60, "bytes": 1}}, "retention", {"seconds": None, "bytes": None}),
        ({"dedup_config": {"drop_duplicates": True, "dedup_key": "id", "dedup_period": 5}}, "dedup_config", None),
        ({"alias": "other-name"}, "alias", None),
        ({"data_schema": SCHEMA}, "data_schema", None),
        ({"timestamp_field": "ets"}, "timestamp_field", None),
        ({"entry_topic": "of-its-own"}, "entry_topic", None),
        ({"router_config": {"topic": "of-its-own"}}, "entry_topic", None),
        ({"dataset_config": {"entry_topic": "of-its-own"}}, "entry_topic", None),
    ],
)
def test_what_may_be_null_is_lifted_by_it(client: FlaskClient, setting: dict[str, Any], member: str, default: Any) -> None:
    create(client, dataset_id="made", **setting)
    assert read(client, "made")[member] != default
    null: Any = {name: {**one, list(one)[-1]: None} if name.endswith("_config") else None for name, one in setting.items()}
    answer = client.patch("/v2/datasets/update", json=managed("update", dataset_id="made", **null), headers=operator(client))
    found = read(client, "made")
    assert (answer.status_code, json_of(answer)["result"].get("warnings")) == (200, None), answer.text
    assert found[member] == default if member != "dedup_config" else found[member]["dedup_period"] == 604800


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"dataset_id": 7}, "#properties/request/properties/dataset_id/type should be string"),
        ({"dataset_id": ""}, "#properties/request/properties/dataset_id/minLength should NOT be shorter than 1 characters"),
        ({}, "#properties/request/required should have required property 'dataset_id'"),
        (
            {"dataset_id": "a", "type": "other"},
            "#properties/request/properties/type/enum should be equal to one of the allowed",
        ),
        ({"dataset_id": "a", "public": "yes"}, "#properties/request/properties/public/type should be boolean"),
        ({"dataset_id": "a", "retention": {"bytes": True}}, "#properties/request/properties/retention/properties/bytes/type"),
        ({"dataset_id": "a", "retention": {"bytes": -1}}, "properties/bytes/minimum should be >= 0"),
        ({"dataset_id": "a", "retention": {"seconds": 0}}, "properties/seconds/minimum should be > 0"),
        ({"dataset_id": "a b"}, "id: must be"),
        ({"dataset_id": "a", "data_schema": {"type": "nothing"}}, ""),
        ({"dataset_id": "a", "alias": "a"}, "alias"),
    ],
)
def test_what_is_no_definition_is_refused_in_words(client: FlaskClient, request_: dict[str, Any], message: str) -> None:
    status, response_code, code, told = error_of(create(client, **request_))
    assert (status, response_code, code) == (400, "BAD_REQUEST", "DATASET_INVALID_INPUT")
    assert message in told


@pytest.mark.parametrize("name", ["id", "ver", "ts", "params", "request"])
def test_what_a_request_must_have_is_asked_for_in_ajvs_words(client: FlaskClient, name: str) -> None:
    body = {one: value for one, value in managed("create", dataset_id="a").items() if one != name}
    answer = client.post("/v2/datasets/create", json=body, headers=operator(client))
    assert error_of(answer)[3] == f"#required should have required property '{name}'"


def test_more_than_that_is_refused(client: FlaskClient) -> None:
    body = {**managed("create", dataset_id="a"), "more": 1}
    answer = client.post("/v2/datasets/create", json=body, headers=operator(client))
    assert error_of(answer)[3] == "#additionalProperties should NOT have additional properties"


def test_a_dataset_is_made_once(client: FlaskClient) -> None:
    wanted = (409, "CONFLICT", "DATASET_EXISTS", f"Dataset Already exists with id:{ID}")
    assert error_of(create(client, dataset_id=ID)) == wanted
    assert error_of(create(client, dataset_id="other", alias=ID))[:3] == (409, "CONFLICT", "DATASET_EXISTS")


@on_every_pair
def test_a_creation_under_the_same_key_is_answered_with_the_same_bytes(client: FlaskClient) -> None:
    headers = {**operator(client), "Idempotency-Key": "one"}
    body = managed("create", dataset_id="made")
    answers = [client.post("/v2/datasets/create", json=body, headers=headers) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert (answers[0].status_code, answers[1].headers["Idempotency-Replayed"]) == (200, "true")


def test_a_definition_is_read_by_id_or_alias_whole_or_in_part(client: FlaskClient) -> None:
    create(client, dataset_id="trips", alias="journeys")
    assert read(client, "journeys") == read(client, "trips")
    assert read(client, "trips", "?fields=name,status") == {"name": "trips", "status": "Live"}
    assert read(client, "trips", "?mode=edit")["name"] == "trips"


@on_every_pair
def test_a_definition_says_which_stream_consumers_read(client: FlaskClient) -> None:
    house = house_of(client)
    collection = house.collections.catalogue.find(ID)
    assert read(client, ID)["stream"] == house.collections.topic.stream_name(collection)


def test_what_cannot_be_read_is_told(client: FlaskClient) -> None:
    headers = operator(client)
    answer = client.get("/v2/datasets/read/unknown", headers=headers)
    assert error_of(answer)[:3] == (404, "NOT_FOUND", "DATASET_NOT_FOUND")
    answer = client.get(f"/v2/datasets/read/{ID}?fields=name,nothing", headers=headers)
    status, _, code, message = error_of(answer)
    assert (status, code) == (400, "DATASET_INVALID_FIELDS")
    assert message == "The specified fields [nothing] in the dataset cannot be found."
    answer = client.get("/v2/datasets/read/unknown?fields=nothing", headers=headers)
    assert error_of(answer)[:3] == (400, "BAD_REQUEST", "DATASET_INVALID_FIELDS")


def test_every_member_of_a_definition_can_be_asked_for_by_its_name(client: FlaskClient) -> None:
    whole = read(client, ID)
    assert read(client, ID, f"?fields={','.join(whole)}") == whole


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({}, ["a", "b", "c", ID]),
        ({"filters": {}}, ["a", "b", "c", ID]),
        ({"filters": {"status": "Live"}}, ["a", "b", "c", ID]),
        ({"filters": {"status": ["Live", "Draft"]}}, ["a", "b", "c", ID]),
        ({"filters": {"status": "Draft"}}, []),
        ({"filters": {"type": "event"}}, ["a", "b", "c", ID]),
        ({"filters": {"type": "master"}}, []),
        ({"filters": {"dataset_id": "b"}}, ["b"]),
        ({"filters": {"dataset_id": ["b", "c", "none"]}}, ["b", "c"]),
        ({"filters": {"alias": "see"}}, ["c"]),
        ({"filters": {"name": "z"}}, ["a"]),
        ({"filters": {"dataset_id": "b", "alias": "see"}}, []),
        ({"limit": 2}, ["a", "b"]),
        ({"limit": 2, "offset": 3}, [ID]),
        ({"limit": 0}, []),
        ({"offset": 9}, []),
        ({"sortBy": [{"field": "name", "order": "desc"}]}, ["a", "b", "c", ID]),
        ({"sortBy": [{"column": "created_date", "order": "desc"}]}, ["c", "b", "a", ID]),
    ],
)
def test_a_list_has_what_is_asked_for(client: FlaskClient, request_: dict[str, Any], wanted: list[str]) -> None:
    for id_, name in (("a", "z"), ("b", "y"), ("c", "x")):
        create(client, dataset_id=id_, name=name, **({"alias": "see"} if id_ == "c" else {}))
    assert listed(client, **request_) == wanted


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"filters": {"status": ["Ready"]}}, "filters/properties/status/anyOf/0/items/enum should be equal"),
        ({"filters": {"status": 5}}, "filters/properties/status/anyOf/0/type should be array"),
        ({"filters": {"dataset_id": {}}}, "filters/properties/dataset_id/anyOf/0/type should be array"),
        ({"filters": {"color": "red"}}, "filters/additionalProperties should NOT have additional properties"),
        ({"limit": "many"}, "limit/type should be integer"),
        ({"limit": -1}, "limit/minimum should be >= 0"),
        ({"sortBy": [{"field": "color", "order": "asc"}]}, "sortBy/items/properties/field/enum should be equal"),
        ({"sortBy": [{"field": "name"}]}, "sortBy/items/required should have required property 'order'"),
    ],
)
def test_a_list_that_cannot_be_asked_for_is_refused(client: FlaskClient, request_: dict[str, Any], message: str) -> None:
    answer = client.post("/v2/datasets/list", json=managed("list", **request_), headers=operator(client))
    status, _, code, told = error_of(answer)
    assert (status, code) == (400, "DATASET_LIST_INPUT_INVALID")
    assert message in told


def test_a_change_changes_what_it_names(client: FlaskClient) -> None:
    create(client, dataset_id="trips", name="Trips", data_schema=SCHEMA)
    before = read(client, "trips")
    told = result_of(change(client, dataset_id="trips", requires_token=True))
    assert (told["message"], told["id"]) == ("Dataset is updated successfully", "trips")
    after = read(client, "trips")
    assert after["version_key"] == told["version_key"] != before["version_key"]
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {"requires_token", "version_key", "updated_date"}


def test_a_change_of_obsrvs_own_is_taken(client: FlaskClient) -> None:
    create(client, dataset_id="trips")
    tags = [{"value": "tag1", "action": "upsert"}]
    fields = [{"value": one, "action": "upsert"} for one in OBSRVS["denorm_config"]["denorm_fields"]]
    changes = {**OBSRVS, "dataset_id": "trips", "tags": tags, "denorm_config": {"denorm_fields": fields}}
    told = result_of(change(client, **changes))
    assert "denorm_config is kept, but not used here" in told["warnings"]
    assert (read(client, "trips")["mode"], read(client, "trips")["tags"]) == ("strict", ["tag1"])


def test_new_members_are_let_through_from_a_change_on(client: FlaskClient) -> None:
    create(client, dataset_id="trips", data_schema={**SCHEMA, "additionalProperties": False})
    change(client, dataset_id="trips", validation_config={"validate": True, "mode": "IgnoreNewFields"})
    assert read(client, "trips")["data_schema"]["additionalProperties"] is True


def test_a_change_that_only_names_what_is_not_used_changes_nothing(client: FlaskClient) -> None:
    before = read(client, ID)
    assert result_of(change(client, dataset_id=ID, tags=[]))["version_key"] == before["version_key"]


WHOLE: dict[str, Any] = {
    "type": "master",
    "name": "Trips",
    "tags": ["fleet", "trips"],
    "validation_config": {"validate": True, "mode": "IgnoreNewFields"},
    "dedup_config": {"drop_duplicates": True, "dedup_key": "msgid", "dedup_period": 60},
    "extraction_config": {
        "is_batch_event": True,
        "extraction_key": "list",
        "batch_id": "b",
        "dedup_config": {"drop_duplicates": False, "dedup_key": "id", "dedup_period": 30},
    },
    "data_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"eid": {"type": "string"}},
        "additionalProperties": True,
    },
    "dataset_config": {
        "keys_config": {"timestamp_key": "ets", "data_key": "eid", "partition_key": "p", "timestamp_format": "epoch"},
        "indexing_config": {"olap_store_enabled": False, "lakehouse_enabled": True, "cache_enabled": False},
        "file_upload_path": ["telemetry.json"],
        "dataset_tz": "UTC",
        "cache_config": {"redis_db": 3},
    },
    "denorm_config": {"denorm_fields": [{"denorm_key": "a.id", "denorm_out_field": "user", "dataset_id": "users"}]},
    "transformations_config": [
        {"field_key": "eid", "transformation_function": {"type": "mask", "expr": "eid", "category": "pii"}, "mode": "Strict"}
    ],
    "connectors_config": [{"id": "1", "connector_id": "kafka", "connector_config": {"topic": "t"}, "version": "v1"}],
    "sample_data": {"eid": "INTERACT"},
    "client_state": {"page": 3},
}
"""Everything that Obsrv's schema of a creation knows."""


@on_every_pair
def test_a_definition_comes_back_as_it_was_sent(client: FlaskClient) -> None:
    told = result_of(create(client, dataset_id="trips", **WHOLE))
    found = read(client, "trips")
    assert found["dataset_config"].pop("entry_topic") == "trips"
    assert {name: found[name] for name in WHOLE} == WHOLE
    assert [one.partition(" is kept")[0] for one in told["warnings"]] == [
        "type",
        "denorm_config",
        "transformations_config",
        "connectors_config",
        *(f"dataset_config.{name}" for name in ("indexing_config", "file_upload_path", "dataset_tz", "cache_config")),
        *(f"dataset_config.keys_config.{name}" for name in ("data_key", "partition_key", "timestamp_format")),
        "extraction_config.batch_id",
    ]
    assert listed(client, filters={"type": "master"}) == ["trips"]


def test_obsrvs_own_reading_of_a_definition_is_answered(client: FlaskClient) -> None:
    query = "?fields=name,version,connectors_config,transformations_config"
    wanted = {"name": "Example dataset", "version": 1, "connectors_config": [], "transformations_config": []}
    house_of(client).collections.catalogue.update(ID, {"name": "Example dataset"})
    assert json.dumps(read(client, ID, query)) == json.dumps(wanted)


def test_what_is_in_force_is_told_whatever_was_sent(client: FlaskClient) -> None:
    create(client, dataset_id="trips", **WHOLE)
    changes = {"timestamp_field": "at", "dedup_key": "eid", "mode": "off", "extraction": None}
    house_of(client).collections.catalogue.update("trips", changes)
    found = read(client, "trips")
    assert found["dataset_config"]["keys_config"] == {**WHOLE["dataset_config"]["keys_config"], "timestamp_key": "at"}
    assert (found["dedup_config"]["dedup_key"], found["validation_config"]["validate"]) == ("eid", False)
    assert found["extraction_config"]["is_batch_event"] is False


def test_an_update_puts_values_into_lists_and_takes_them_out(client: FlaskClient) -> None:
    create(client, dataset_id="trips", **WHOLE)

    def some(action: str, *values: Any) -> list[dict[str, Any]]:
        return [{"value": value, "action": action} for value in values]

    (mask,), (field,) = WHOLE["transformations_config"], WHOLE["denorm_config"]["denorm_fields"]
    kafka = dict(WHOLE["connectors_config"][0])
    other = {**mask, "mode": "Lenient"}
    change(
        client,
        dataset_id="trips",
        tags=some("remove", "fleet") + some("upsert", "new", "trips"),
        transformations_config=some("upsert", other),
        denorm_config={"denorm_fields": some("remove", field) + some("upsert", {**field, "denorm_out_field": "x"})},
        connectors_config=some("remove", {"id": "1", "connector_id": "kafka"}),
        dataset_config={"dataset_tz": "CET"},
        sample_data={},
    )
    found = read(client, "trips")
    assert (found["tags"], found["transformations_config"], found["connectors_config"]) == (["trips", "new"], [other], [])
    assert found["denorm_config"] == {"denorm_fields": [{**field, "denorm_out_field": "x"}]}
    assert (found["dataset_config"]["dataset_tz"], found["sample_data"]) == ("CET", {})
    assert found["dataset_config"]["file_upload_path"] == ["telemetry.json"]
    del kafka["id"]  # as in Obsrv's own collection of requests
    change(client, dataset_id="trips", connectors_config=some("upsert", kafka))
    assert read(client, "trips")["connectors_config"] == [kafka]


def test_a_definition_that_is_too_long_is_refused(client: FlaskClient) -> None:
    answer = create(client, dataset_id="trips", tags=["a"], sample_data={"text": "x" * 70_000})
    assert "sample_data: what is kept of a definition may have 65536 bytes" in error_of(answer)[3]


def test_two_denormalised_fields_may_not_have_one_name(client: FlaskClient) -> None:
    field = WHOLE["denorm_config"]["denorm_fields"][0]
    answer = create(client, dataset_id="trips", denorm_config={"denorm_fields": [field, field]})
    wanted = (400, "BAD_REQUEST", "DATASET_DUPLICATE_DENORM_KEY", "Duplicate denorm output fields found.")
    assert error_of(answer) == wanted


def test_a_dataset_from_before_definitions_were_kept_is_read_and_changed(client: FlaskClient) -> None:
    state = house_of(client).state
    document = state.get("collections", f"id/{ID}")
    assert document is not None
    members = json.loads(document.value)
    del members["kept"], members["extraction"]
    state.put("collections", f"id/{ID}", json.dumps(members).encode())
    found = read(client, ID)
    assert (found["type"], found["tags"], found["extraction_config"]) == ("event", [], {"is_batch_event": False})
    result_of(change(client, dataset_id=ID, tags=[{"value": "a", "action": "upsert"}]))
    assert read(client, ID)["tags"] == ["a"]


REFUSED_CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"dataset_config": {"new": 1}}, "dataset_config/additionalProperties should NOT have additional properties"),
    ({"data_schema": {"a": ""}}, "data_schema/required should have required property 'type'"),
    ({"data_schema": {"type": "object"}}, "data_schema/required should have required property 'properties'"),
    ({"data_schema": {"type": "object", "properties": {}}}, "minProperties should NOT have fewer than 1 properties"),
    ({"data_schema": {**SCHEMA, "additionalProperties": {}}}, "additionalProperties/type should be boolean"),
    ({"dataset_config": {"keys_config": {"key": "a"}}}, "keys_config/additionalProperties should NOT have"),
    ({"dataset_config": {"indexing_config": {"cache_enabled": 1}}}, "cache_enabled/type should be boolean"),
    ({"dataset_config": {"file_upload_path": [""]}}, "file_upload_path/items/minLength should NOT be shorter than 1"),
    ({"extraction_config": {"is_batch_event": True}}, "then/required should have required property 'extraction_key'"),
    ({"extraction_config": {"extraction_key": "a"}}, "required should have required property 'is_batch_event'"),
    ({"extraction_config": {"is_batch_event": False, "more": 1}}, "extraction_config/additionalProperties should NOT"),
    ({"dedup_config": {"drop_duplicates": True}}, "dedup_config/then/required should have required property 'dedup_key'"),
    ({"dedup_config": {"dedup_key": "a"}}, "required should have required property 'drop_duplicates'"),
    ({"validation_config": {"validate": True}}, "validation_config/then/required should have required property 'mode'"),
    ({"tags": ["a"]}, "tags/items/type should be object"),
    ({"tags": [{"value": "a"}]}, "tags/items/required should have required property 'action'"),
    ({"tags": [{"value": "a", "action": "update"}]}, "action/enum should be equal to one of the allowed values"),
    ({"denorm_config": {"denorm_fields": [{"denorm_key": "a"}]}}, "items/required should have required property 'value'"),
    (
        {"denorm_config": {"denorm_fields": [{"value": {"denorm_key": "a"}, "action": "upsert"}]}},
        "items/then/properties/value/required should have required property 'dataset_id'",
    ),
    ({"transformations_config": [{"value": {"field_key": "a"}, "action": "upsert"}]}, "property 'transformation_function'"),
    ({"connectors_config": [{"value": {"id": "a"}, "action": "upsert"}]}, "property 'connector_id'"),
    ({"transformation_config": []}, "#properties/request/additionalProperties should NOT have additional properties"),
    ({"type": "events"}, "type/enum should be equal to one of the allowed values"),
    ({"sample_data": []}, "sample_data/type should be object"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED_CHANGES)
def test_a_change_that_obsrv_refuses_is_refused_in_its_words(
    client: FlaskClient, changes: dict[str, Any], message: str
) -> None:
    before = read(client, ID)
    status, _, code, told = error_of(change(client, dataset_id=ID, **changes))
    assert (status, code) == (400, "DATASET_UPDATE_INPUT_INVALID")
    assert told.startswith("#properties/request/")
    assert message in told
    assert read(client, ID) == before


@pytest.mark.parametrize("member", ["dataset_config", "extraction_config", "retention", "more"])
def test_a_creation_with_members_that_nobody_knows_is_refused(client: FlaskClient, member: str) -> None:
    request = {member: {"new": 1} if member != "more" else 1}
    message = error_of(create(client, dataset_id="trips", **request))[3]
    assert message.endswith("additionalProperties should NOT have additional properties")


@on_every_pair
def test_who_read_an_older_definition_does_not_overwrite_a_newer_one(client: FlaskClient) -> None:
    key = read(client, ID)["version_key"]
    assert result_of(change(client, dataset_id=ID, version_key=key, name="one"))
    outdated = change(client, dataset_id=ID, version_key=key, name="two")
    assert error_of(outdated)[:3] == (409, "CONFLICT", "DATASET_OUTDATED")
    assert read(client, ID)["name"] == "one"


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({"dataset_id": ID}, (400, "BAD_REQUEST", "DATASET_UPDATE_NO_FIELDS")),
        ({"dataset_id": ID, "version_key": "1"}, (400, "BAD_REQUEST", "DATASET_UPDATE_NO_FIELDS")),
        ({"dataset_id": "unknown", "name": "x"}, (404, "NOT_FOUND", "DATASET_NOT_EXISTS")),
        ({"dataset_id": ID, "name": 5}, (400, "BAD_REQUEST", "DATASET_UPDATE_INPUT_INVALID")),
        ({"dataset_id": ID, "name": "\n"}, (400, "BAD_REQUEST", "DATASET_UPDATE_INPUT_INVALID")),
        ({"dataset_id": ID, "alias": "taken"}, (409, "CONFLICT", "DATASET_ALIAS_NOT_UNIQUE")),
    ],
)
def test_a_change_that_cannot_be_is_refused(
    client: FlaskClient, request_: dict[str, Any], wanted: tuple[int, str, str]
) -> None:
    made(client, "taken")
    assert error_of(change(client, **request_))[:3] == wanted


@on_every_pair
def test_an_alias_is_attached_and_detached(client: FlaskClient) -> None:
    told = result_of(renamed(client, dataset_id=ID, action="attach", alias_name="sample"))
    assert told == {"message": "Dataset alias name 'sample' attached successfully", "dataset_id": ID}
    assert sent(client, path="/v2/data/in/sample").status_code == 200
    told = result_of(renamed(client, dataset_id=ID, action="detach"))
    assert told == {"message": "Dataset alias name 'sample' detached successfully", "dataset_id": ID}
    assert sent(client, path="/v2/data/in/sample").status_code == 404


@on_every_pair
def test_an_alias_without_an_action_replaces_the_alias(client: FlaskClient) -> None:
    for name in ("first", "second", "second"):
        told = result_of(renamed(client, dataset_id=ID, alias_name=name))
        assert told == {"message": f"Dataset alias name '{name}' updated successfully", "dataset_id": ID}
    assert [sent(client, path=f"/v2/data/in/{name}").status_code for name in ("first", "second")] == [404, 200]
    assert listed(client, filters={"alias": "second"}) == [ID]
    result_of(renamed(client, dataset_id=ID, action="detach"))
    assert listed(client, filters={"alias": "second"}) == []


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({"dataset_id": "b", "alias_name": "first"}, (409, "CONFLICT", "DATASET_ALIAS_NOT_UNIQUE")),
        ({"dataset_id": "b"}, (400, "BAD_REQUEST", "DATASET_ALIAS_INPUT_INVALID")),
        ({"dataset_id": "c", "alias_name": "x"}, (404, "NOT_FOUND", "DATASET_NOT_EXISTS")),
        ({"dataset_id": "b", "alias_name": "x", "table_name": "t"}, (404, "NOT_FOUND", "TABLE_NOT_EXISTS")),
        ({"dataset_id": "b", "action": "attach", "alias_name": ID}, (409, "CONFLICT", "DATASET_ALIAS_NOT_UNIQUE")),
        ({"dataset_id": "a", "action": "attach", "alias_name": "more"}, (409, "CONFLICT", "DATASET_ALIAS_EXISTS")),
        ({"dataset_id": "b", "action": "detach"}, (404, "NOT_FOUND", "DATASET_ALIAS_NOT_EXISTS")),
        ({"dataset_id": "c", "action": "detach"}, (404, "NOT_FOUND", "DATASET_NOT_EXISTS")),
        ({"dataset_id": "b", "action": "attach"}, (400, "BAD_REQUEST", "DATASET_ALIAS_INPUT_INVALID")),
        ({"dataset_id": "b", "action": "list"}, (400, "BAD_REQUEST", "DATASET_ALIAS_INPUT_INVALID")),
        ({"dataset_id": "b", "action": "attach", "alias_name": "a b"}, (400, "BAD_REQUEST", "DATASET_ALIAS_INPUT_INVALID")),
    ],
)
def test_an_alias_that_cannot_be_is_refused(
    client: FlaskClient, request_: dict[str, Any], wanted: tuple[int, str, str]
) -> None:
    made(client, "a", alias="first")
    made(client, "b")
    assert error_of(renamed(client, **request_))[:3] == wanted


MANAGEMENT = (
    ("POST", "/v2/datasets/create", "api.datasets.create"),
    ("GET", f"/v2/datasets/read/{ID}", "api.datasets.read"),
    ("POST", "/v2/datasets/list", "api.datasets.list"),
    ("PATCH", "/v2/datasets/update", "api.datasets.update"),
    ("POST", "/v2/datasets/alias", "api.datasets.alias"),
)


@pytest.mark.parametrize(("method", "path", "api"), MANAGEMENT)
def test_managing_is_for_the_operator(client: FlaskClient, method: str, path: str, api: str) -> None:
    # The key is asked for before the body is looked at.
    for headers, wanted in (({}, 401), (bearer(client, datasets=[ID]), 403)):
        answer = client.open(path, method=method, data=b"no JSON", headers=headers)
        assert error_of(answer)[0] == wanted
        assert json_of(answer)["id"] == api


# Limits and faults


@pytest.mark.parametrize(
    ("limit", "data"),
    [
        ({"max_body_bytes": 300, "max_decoded_bytes": 300}, {"value": "x" * 300}),
        ({"collection_records": 2}, [{}, {}, {}]),
        ({"collection_record_bytes": 50}, {"value": "x" * 50}),
    ],
)
def test_what_passes_a_limit_is_refused(make_client: Callable[..., FlaskClient], limit: dict[str, int], data: Any) -> None:
    client = make_client(**limit)
    made(client, ID, entry_topic=ID)
    assert error_of(sent(client, event(data)))[:3] == (413, "REQUEST_ENTITY_TOO_LARGE", "REQUEST_ENTITY_TOO_LARGE")
    assert stored(client, ID) == []


def test_who_asks_too_often_is_told_when_to_come_back(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(collection_rate_address="1/hour")
    made(client, ID, entry_topic=ID)
    assert sent(client).status_code == 200
    answer = sent(client)
    assert error_of(answer)[:3] == (429, "TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS")
    assert int(answer.headers["Retry-After"]) > 0


@on_every_pair
def test_a_large_request_of_one_shape_is_one_like_all(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [sent(client, event(MANY, "m")).status_code for _ in range(2)] == [200, 200]
    monkeypatch.setattr(Accepting, "_look_into", None)  # which records that are known to be of one shape are spared
    answer = sent(client, event(MANY, "another"))
    assert (answer.status_code, json_of(answer)["params"]["msgid"]) == (200, "another")
    assert stored(client, ID) == MANY * 3
    out = json_of(client.get(f"{OUT}?limit=1000", headers=operator(client)))["result"]["events"]
    assert [one["msgid"] for one in out] == ["m"] * 600 + ["another"] * 300


@on_every_pair
def test_an_outage_is_told_with_when_to_come_back(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(house_of(client).state, "commit", fail)
    answer = sent(client)
    assert error_of(answer)[:3] == (503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE")
    assert json_of(answer)["params"]["msgid"] == MSGID
    assert int(answer.headers["Retry-After"]) > 0


def test_a_fault_of_ours_is_told_in_the_envelope_and_tells_nothing(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blueprints.datasets.data.request_key", lambda *_: 1 / 0)
    answer = sent(client)
    assert error_of(answer)[:3] == (500, "INTERNAL_SERVER_ERROR", "INTERNAL_SERVER_ERROR")
    assert "division" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", IN, (405, "METHOD_NOT_ALLOWED", "METHOD_NOT_ALLOWED")),
        ("DELETE", "/v2/datasets/list", (405, "METHOD_NOT_ALLOWED", "METHOD_NOT_ALLOWED")),
        ("GET", "/v2", (404, "NOT_FOUND", "ROUTE_NOT_FOUND")),
        ("POST", "/v2/data/in", (404, "NOT_FOUND", "ROUTE_NOT_FOUND")),
        ("POST", "/v2/data/in/", (404, "NOT_FOUND", "ROUTE_NOT_FOUND")),
        ("POST", "/v2/data/in/a/b", (404, "NOT_FOUND", "ROUTE_NOT_FOUND")),
        ("GET", "/v2/template/list", (404, "NOT_FOUND", "ROUTE_NOT_FOUND")),
    ],
)
def test_the_frameworks_own_refusals_speak_the_dialect(
    client: FlaskClient, method: str, path: str, wanted: tuple[int, str, str]
) -> None:
    answer = client.open(path, method=method)
    assert error_of(answer)[:3] == wanted
    assert ("Allow" in answer.headers) == (wanted[0] == 405)


@pytest.mark.parametrize("name", ["%2F", "%25", "%00", "%FF", "%ED%A0%80", "%F0%9F%98%80", "a%2Fb", "..", "x" * 10_000, "%20"])
def test_a_name_that_nothing_can_have_is_no_dataset(client: FlaskClient, name: str) -> None:
    assert error_of(sent(client, path=f"/v2/data/in/{name}"))[:3] == (404, "BAD_REQUEST", "DATASET_NOT_FOUND")
    headers = operator(client)
    for path in ("data/out", "datasets/records", "datasets/read", "datasets/failed"):
        assert error_of(client.get(f"/v2/{path}/{name}", headers=headers))[2] == "DATASET_NOT_FOUND"
    assert error_of(client.delete(f"{FAILED}/{name}", headers=headers))[2] == "RECORD_NOT_FOUND"


def test_who_guesses_names_of_datasets_is_slowed_down_before_the_data_is_read(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(collection_rate_unknown="2/hour")
    made(client, ID, entry_topic=ID)
    for body in ({}, EVENT):
        assert sent(client, body, "/v2/data/in/guessed").status_code in (400, 404)
    refused = sent(client, {}, "/v2/data/in/guessed")
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
    assert sent(client).status_code == 200

"""Data sources over HTTP: what Madevo's clients send and get."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from smarthouse_api.collections.accepting import Accepting
from smarthouse_api.collections.records import RecordsAnswer
from smarthouse_api.errors import StoreUnavailable
from tests.collecting import SCHEMA, bearer, json_of, made, of, operator, stored
from tests.conftest import house_of, on_every_pair, on_pair

ID = "67890"
INSERT = "/restapi/datasource/insert"
RECORDS = f"/restapi/datasource/{ID}/records"
SEED = {"datasource_id": ID, "data": [{"timestamp": "2025-01-01T12:00:00Z", "metric": "temperature", "value": 22.5}]}
MANY = [{"timestamp": "2025-01-01T12:00:00.250Z", "metric": "temperature in °C", "value": 20.5 + at} for at in range(300)]
DONE = "Data successfully inserted"
HOURLY = [{"timestamp": f"2025-01-{day:02}T12:00:00Z", "value": day} for day in range(1, 11)]


environment = on_pair("memory_pair")


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    """Of a service with the data source of the seed."""
    one = make_client()
    made(one, ID)
    return one


@pytest.fixture
def headers(client: FlaskClient) -> dict[str, str]:
    """Of a key to the data source."""
    return bearer(client, **of(ID))


def inserted(client: FlaskClient, headers: dict[str, str], *records: Any, **options: Any) -> TestResponse:
    return client.post(INSERT, json={"datasource_id": ID, "data": list(records)}, headers=headers, **options)


def read(client: FlaskClient, headers: dict[str, str], query: str = "") -> TestResponse:
    return client.get(f"{RECORDS}{query}", headers=headers, buffered=True)


# Inserting


@on_every_pair
def test_a_large_request_of_one_shape_is_one_like_all(
    client: FlaskClient, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [json_of(inserted(client, headers, *MANY)) for _ in range(2)] == [{"message": DONE, "inserted_rows": len(MANY)}] * 2
    monkeypatch.setattr(Accepting, "_look_into", None)  # which records that are known to be of one shape are spared
    first, repeat = (inserted(client, {**headers, "Idempotency-Key": "once"}, *MANY) for _ in range(2))
    assert [json_of(first), json_of(repeat)] == [{"message": DONE, "inserted_rows": len(MANY)}] * 2
    assert repeat.headers["Idempotency-Replayed"] == "true"
    assert stored(client, ID) == MANY * 3


def test_a_large_request_of_one_shape_keeps_to_the_limits(
    make_client: Callable[..., FlaskClient], client: FlaskClient, headers: dict[str, str]
) -> None:
    for _ in range(3):
        assert "too large" in json_of(inserted(client, headers, *MANY, {**MANY[0], "value": 10**400}))["message"]
    flat = make_client(max_json_depth=2)
    made(flat, ID)
    for _ in range(3):
        assert "deeper than the 2 levels" in json_of(inserted(flat, bearer(flat, datasources=[ID]), *MANY))["message"]


@on_every_pair
def test_the_seeds_example_is_stored_as_it_stands(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post(INSERT, json=SEED, headers=headers)
    assert (answer.status_code, json_of(answer)) == (200, {"message": "Data successfully inserted", "inserted_rows": 1})
    assert stored(client, ID) == SEED["data"]


@on_every_pair
def test_a_batch_is_stored_in_its_order(client: FlaskClient, headers: dict[str, str]) -> None:
    assert json_of(inserted(client, headers, *HOURLY))["inserted_rows"] == len(HOURLY)
    assert stored(client, ID) == HOURLY


def test_an_offset_is_brought_to_utc_and_a_naive_time_is_taken_as_utc_with_a_warning(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    answer = inserted(client, headers, {"timestamp": "2025-01-01T12:00:00+05:30"}, {"timestamp": "2025-01-01T12:00:00"})
    assert answer.status_code == 200
    (warning,) = json_of(answer)["warnings"]
    assert "data[1]" in warning
    assert "UTC" in warning
    assert [one["timestamp"] for one in stored(client, ID)] == ["2025-01-01T06:30:00Z", "2025-01-01T12:00:00Z"]


def test_records_of_different_shapes_are_stored_with_a_warning(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = inserted(client, headers, {"value": 1}, {"other": "text"})
    assert answer.status_code == 200
    assert json_of(answer)["warnings"]
    assert len(stored(client, ID)) == 2


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_whatever_the_content_type_the_body_is_json(
    client: FlaskClient, headers: dict[str, str], content_type: str | None
) -> None:
    answer = client.post(INSERT, data=json.dumps(SEED), headers=headers, content_type=content_type)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty"),
        (b"{", "The body is not JSON"),
        (b'{"datasource_id": "\xff"}', "UTF-8"),
        (b'{"datasource_id": "67890", "data": [{"value": NaN}]}', "The body is not JSON"),
        (b'{"datasource_id": "67890", "data": [{"value": Infinity}]}', "The body is not JSON"),
        (b'{"datasource_id": "67890", "data": [{"value": 1e999}]}', "a number is too large for JSON readers"),
        (b'{"datasource_id": "67890", "data": [{"value": "\\ud800"}]}', "The body is not JSON"),
        (b'{"datasource_id": "67890", "data": [{"value": ' + b"9" * 5000 + b"}]}", "The body is not JSON"),
        (b'{"datasource_id": "67890", "data": [{"value": ' + b"9" * 309 + b"}]}", "too large"),
        (b'{"datasource_id": "67890", "data": [{"value": -1' + b"0" * 400 + b"}]}", "too large"),
        (b"[" * 100_000, "deeper than the 64 levels"),
        (b'{"data":' + b"[" * 64 + b"]" * 64 + b"}", "deeper than the 64 levels"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "datasource_id: is missing"),
        (b'{"datasource_id": 67890, "data": [{}]}', "datasource_id: is not a text"),
        (b'{"datasource_id": " ", "data": [{}]}', "datasource_id: is blank"),
        (b'{"datasource_id": "67890"}', "data: is missing"),
        (b'{"datasource_id": "67890", "data": []}', "data: is empty"),
        (b'{"datasource_id": "67890", "data": {}}', "data: is not an array"),
        (b'{"datasource_id": "67890", "data": null}', "data: is not an array"),
    ],
)
def test_what_is_no_payload_is_refused_in_words(client: FlaskClient, headers: dict[str, str], body: bytes, words: str) -> None:
    answer = client.post(INSERT, data=body, headers=headers, content_type="application/json")
    assert answer.status_code == 400
    assert set(json_of(answer)) == {"error", "message"}
    assert json_of(answer)["error"] == "validation_error"
    assert words in json_of(answer)["message"]


@pytest.mark.parametrize("index", [0, 5, 9])
def test_one_bad_record_is_named_and_none_is_stored(client: FlaskClient, headers: dict[str, str], index: int) -> None:
    records: list[Any] = [*HOURLY]
    records[index] = "no object"
    answer = inserted(client, headers, *records)
    assert answer.status_code == 400
    assert f"data[{index}]" in json_of(answer)["message"]
    assert stored(client, ID) == []


@pytest.mark.parametrize("value", [10**307, 2**64, -(2**64), 1.7e308, "9" * 5000, 1e-320])
def test_a_number_that_any_reader_takes_is_kept_as_it_is(client: FlaskClient, headers: dict[str, str], value: Any) -> None:
    assert inserted(client, headers, {"value": value}).status_code == 200
    assert stored(client, ID) == [{"value": value}]


def test_records_deep_within_the_limit_are_taken_however_many_there_are(client: FlaskClient, headers: dict[str, str]) -> None:
    nested: Any = {"value": 1}
    for _ in range(60):
        nested = {"within": nested}
    assert inserted(client, headers, *([nested] * 100)).status_code == 200


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer nonsense", f"Bearer shk_{'0' * 12}_{'0' * 64}", "Basic abc"]
)
def test_without_a_good_token_nobody_gets_in(client: FlaskClient, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    # The token is asked for before the body is looked at.
    answer = client.post(INSERT, data=b"no JSON", headers=headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert json_of(answer)["error"] == "unauthorized"


def test_a_revoked_token_is_worthless(client: FlaskClient) -> None:
    access = house_of(client).access
    record, key = access.create("test", **of(ID))
    access.revoke(record.id)
    assert inserted(client, {"Authorization": f"Bearer {key}"}, {}).status_code == 401


def test_nobody_learns_which_data_sources_there_are(client: FlaskClient) -> None:
    headers = bearer(client, **of("another"))
    known, unknown = (
        client.post(INSERT, json={"datasource_id": id_, "data": "not looked at"}, headers=headers) for id_ in (ID, "unknown")
    )
    assert (known.status_code, unknown.status_code) == (403, 403)
    assert json_of(known)["error"] == "forbidden"
    assert known.data == unknown.data


def test_whoever_could_make_a_data_source_learns_that_there_is_none(client: FlaskClient) -> None:
    answer = client.post(INSERT, json={"datasource_id": "unknown", "data": [{}]}, headers=operator(client))
    assert (answer.status_code, json_of(answer)["error"]) == (404, "not_found")


def test_an_alias_and_a_datasets_grant_are_as_good(client: FlaskClient) -> None:
    made(client, "other", alias="sonst")
    headers = bearer(client, datasets=["other"])
    assert client.post(INSERT, json={**SEED, "datasource_id": "sonst"}, headers=headers).status_code == 200
    assert len(stored(client, "other")) == 1


@on_every_pair
def test_in_strict_mode_what_breaks_the_schema_is_refused_and_none_is_stored(client: FlaskClient) -> None:
    made(client, "strict", schema=SCHEMA, mode="strict")
    body = {"datasource_id": "strict", "data": [{"value": 1}, {"value": "much"}]}
    answer = client.post(INSERT, json=body, headers=bearer(client, **of("strict")))
    assert (answer.status_code, json_of(answer)["error"]) == (422, "validation_error")
    assert "data[1]" in json_of(answer)["message"]
    assert stored(client, "strict") == []


def test_otherwise_it_is_stored_with_a_warning(client: FlaskClient) -> None:
    made(client, "warn", schema=SCHEMA, mode="warn")
    body = {"datasource_id": "warn", "data": [{"value": "much"}]}
    answer = client.post(INSERT, json=body, headers=bearer(client, **of("warn")))
    assert answer.status_code == 200
    assert any("data[0]" in warning for warning in json_of(answer)["warnings"])
    assert stored(client, "warn") == [{"value": "much"}]


@on_every_pair
def test_a_repeat_under_the_same_key_is_answered_with_the_same_bytes_and_stored_once(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    first, second = (inserted(client, {**headers, "Idempotency-Key": "one"}, {"timestamp": "2025-01-01"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.data == second.data
    assert [one.headers.get("Idempotency-Replayed") for one in (first, second)] == [None, "true"]
    assert len(stored(client, ID)) == 1


def test_the_same_key_with_another_body_is_refused(client: FlaskClient, headers: dict[str, str]) -> None:
    keyed = {**headers, "Idempotency-Key": "one"}
    inserted(client, keyed, {"value": 1})
    answer = inserted(client, keyed, {"value": 2})
    assert (answer.status_code, json_of(answer)["error"]) == (400, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_idempotency_key_must_be_one(client: FlaskClient, headers: dict[str, str], key: str) -> None:
    answer = inserted(client, {**headers, "Idempotency-Key": key}, {})
    assert answer.status_code == 400
    assert "Idempotency-Key" in json_of(answer)["message"]


def test_two_who_use_the_same_idempotency_key_do_not_meet(client: FlaskClient) -> None:
    for value in (1, 2):
        headers = {**bearer(client, **of(ID)), "Idempotency-Key": "one"}
        assert inserted(client, headers, {"value": value}).status_code == 200
    assert len(stored(client, ID)) == 2


# Limits and faults


@pytest.mark.parametrize(
    ("limit", "records"),
    [
        ({"max_body_bytes": 100, "max_decoded_bytes": 100}, [{"value": "x" * 100}]),
        ({"collection_records": 2}, [{}, {}, {}]),
        ({"collection_record_bytes": 50}, [{"value": "x" * 50}]),
    ],
)
def test_what_passes_a_limit_is_refused(
    make_client: Callable[..., FlaskClient], limit: dict[str, int], records: list[Any]
) -> None:
    client = make_client(**limit)
    made(client, ID)
    answer = inserted(client, bearer(client, **of(ID)), *records)
    assert (answer.status_code, json_of(answer)["error"]) == (413, "payload_too_large")
    assert stored(client, ID) == []


def test_who_asks_too_often_is_told_when_to_come_back(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(collection_rate_address="1/hour")
    made(client, ID)
    headers = bearer(client, **of(ID))
    assert inserted(client, headers, {}).status_code == 200
    answer = inserted(client, headers, {})
    assert (answer.status_code, json_of(answer)["error"]) == (429, "too_many_requests")
    assert int(answer.headers["Retry-After"]) > 0


@on_every_pair
def test_an_outage_is_told_with_when_to_come_back(
    client: FlaskClient, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(house_of(client).state, "commit", fail)
    answer = inserted(client, headers, {})
    assert (answer.status_code, json_of(answer)["error"]) == (503, "service_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_fault_of_ours_is_told_in_the_dialect_and_tells_nothing(
    client: FlaskClient, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blueprints.datasources.routes.request_key", lambda *_: 1 / 0)
    answer = inserted(client, headers, {})
    assert (answer.status_code, json_of(answer)["error"]) == (500, "internal_server_error")
    assert "division" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", INSERT, 405), ("PUT", RECORDS, 405), ("GET", "/restapi/datasource", 404), ("GET", f"{INSERT}/more", 404)],
)
def test_the_frameworks_own_refusals_speak_the_dialect(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert set(json_of(answer)) == {"error", "message"}
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("name", ["%2F", "%25", "%00", "%FF", "%ED%A0%80", "%F0%9F%98%80", "a%2Fb", "..", "x" * 10_000, "%20"])
def test_a_name_that_nothing_can_have_is_no_data_source(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/restapi/datasource/{name}/records", headers=operator(client))
    assert answer.status_code == 404
    assert set(json_of(answer)) == {"error", "message"}


def test_no_token_is_logged(client: FlaskClient, headers: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        inserted(client, headers, {})
        inserted(client, {"Authorization": f"{headers['Authorization']}0"}, {})
    assert headers["Authorization"].partition("_")[2] not in caplog.text


# Reading back


@pytest.fixture
def filled(client: FlaskClient, headers: dict[str, str]) -> FlaskClient:
    assert inserted(client, headers, *HOURLY[:6]).status_code == 200
    assert inserted(client, headers, *HOURLY[6:]).status_code == 200
    return client


def values(answer: TestResponse) -> list[Any]:
    assert answer.status_code == 200, answer.text
    return [one["value"] for one in json_of(answer)["records"]]


def test_records_come_back_as_json_with_what_is_known_of_each(filled: FlaskClient, headers: dict[str, str]) -> None:
    answer = read(filled, headers)
    assert set(json_of(answer)) == {"datasource_id", "records", "next"}
    assert (json_of(answer)["datasource_id"], json_of(answer)["next"]) == (ID, None)
    assert values(answer) == list(range(1, 11))
    first = json_of(answer)["records"][0]
    assert set(first) == {"_position", "_received_at", "timestamp", "value"}


def test_without_meta_a_record_is_what_was_sent(filled: FlaskClient, headers: dict[str, str]) -> None:
    assert json_of(read(filled, headers, "?meta=false"))["records"] == HOURLY


def test_a_data_source_without_records_gives_none(client: FlaskClient, headers: dict[str, str]) -> None:
    assert json_of(read(client, headers)) == {"datasource_id": ID, "records": [], "next": None}


@on_every_pair
def test_each_format_has_the_same_records(filled: FlaskClient, headers: dict[str, str]) -> None:
    lines = read(filled, headers, "?format=jsonl&meta=false")
    assert [json.loads(line) for line in lines.text.splitlines()] == HOURLY
    table = read(filled, headers, "?format=csv&meta=false")
    assert table.mimetype == "text/csv"
    assert [row["value"] for row in csv.DictReader(io.StringIO(table.text))] == [str(one) for one in range(1, 11)]
    columns = read(filled, headers, "?format=parquet&meta=false")
    assert pq.read_table(io.BytesIO(columns.data))["value"].to_pylist() == list(range(1, 11))
    assert columns.headers["Content-Disposition"] == f"attachment; filename={ID}.parquet"


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        ("text/csv", "text/csv"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("application/x-ndjson", "application/jsonl"),
        ("application/x-jsonlines; charset=utf-8", "application/jsonl"),
        ("application/json-lines, */*;q=0.1", "application/jsonl"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("text/csv, application/json", "application/json"),
        ("text/html", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_accept_names_the_format_where_it_names_one(
    filled: FlaskClient, headers: dict[str, str], accept: str, mimetype: str
) -> None:
    assert read(filled, {**headers, "Accept": accept}).mimetype == mimetype


def test_the_query_names_it_before_accept_does(filled: FlaskClient, headers: dict[str, str]) -> None:
    assert read(filled, {**headers, "Accept": "text/csv"}, "?format=json").mimetype == "application/json"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("from=2025-01-09", [9, 10]),
        ("to=2025-01-02", [1, 2]),
        ("from=2025-01-04&to=2025-01-05", [4, 5]),
        ("from=2025-01-02T12:00:00Z&to=2025-01-03T12:00:00Z", [2, 3]),
        ("from=2025-01-02T12:00:00.000001Z&to=2025-01-03T11:59:59.999999Z", []),
        ("from=2025-01-09T17:30:00%2B05:30", [9, 10]),
        ("from=2025-01-09T17:30:00+05:30", [9, 10]),
        ("from=2025-01-05&to=2025-01-04", []),
        ("from=0001-01-01&to=9999-12-31", list(range(1, 11))),
    ],
)
def test_from_and_to_bound_a_records_own_time(
    filled: FlaskClient, headers: dict[str, str], query: str, wanted: list[int]
) -> None:
    assert values(read(filled, headers, f"?{query}")) == wanted


@on_every_pair
def test_pages_of_any_size_have_every_record_once(filled: FlaskClient, headers: dict[str, str]) -> None:
    for limit in (1, 3, 5, 10, 11):
        found, cursor = list[int](), ""
        for _ in range(11):
            answer = read(filled, headers, f"?limit={limit}{cursor}")
            found += values(answer)
            following = answer.headers.get("X-Next-Cursor")
            assert json_of(answer)["next"] == following
            if following is None:
                break
            cursor = f"&cursor={following}"
        assert found == list(range(1, 11))


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=",
        "to=2025-02-30",
        "to=2025-01-01T00:00:00",
        "from=0001-01-01T00:00:00%2B23:59x",
        "limit=0",
        "limit=-1",
        "limit=100001",
        "limit=many",
        "limit=1_0",
        "cursor=",
        "cursor=1",
        "cursor=1-x",
        "format=xml",
        "meta=perhaps",
        "limit=1&limit=2",
    ],
)
def test_a_parameter_that_cannot_be_is_named(client: FlaskClient, headers: dict[str, str], query: str) -> None:
    answer = read(client, headers, f"?{query}")
    assert (answer.status_code, json_of(answer)["error"]) == (400, "validation_error")
    assert query.partition("=")[0] in json_of(answer)["message"]


def test_reading_needs_a_token_with_the_grant(filled: FlaskClient) -> None:
    assert read(filled, {}).status_code == 401
    other = bearer(filled, **of("another"))
    known, unknown = read(filled, other), filled.get("/restapi/datasource/unknown/records", headers=other)
    assert (known.status_code, unknown.status_code) == (403, 403)
    assert known.data == unknown.data
    assert filled.get("/restapi/datasource/unknown/records").status_code == 401


def test_whoever_likes_may_read_a_public_data_source(client: FlaskClient) -> None:
    made(client, "open", public=True)
    body = {"datasource_id": "open", "data": [{"value": 1}]}
    assert client.post(INSERT, json=body, headers=operator(client)).status_code == 200
    assert values(client.get("/restapi/datasource/open/records", buffered=True)) == [1]
    assert client.post(INSERT, json=body).status_code == 401


def test_a_head_request_has_no_body(filled: FlaskClient, headers: dict[str, str]) -> None:
    answer = filled.head(RECORDS, headers=headers)
    assert (answer.status_code, answer.data) == (200, b"")


def test_a_fault_in_the_middle_breaks_the_answer_off(
    filled: FlaskClient, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunks(_: RecordsAnswer) -> Iterator[bytes]:
        yield b"{}"
        raise StoreUnavailable("down")

    monkeypatch.setattr(RecordsAnswer, "chunks", property(chunks))
    with pytest.raises(ConnectionResetError):
        read(filled, headers, "?format=jsonl")


def test_a_fault_before_the_first_byte_is_answered(
    filled: FlaskClient, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunks(_: RecordsAnswer) -> Iterator[bytes]:
        raise StoreUnavailable("down")
        yield b""

    monkeypatch.setattr(RecordsAnswer, "chunks", property(chunks))
    answer = read(filled, headers, "?format=jsonl")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    monkeypatch.undo()
    assert read(filled, headers, "?format=jsonl").status_code == 200


def test_the_data_source_of_the_document_is_the_one_of_the_seed(client: FlaskClient) -> None:
    spec = json_of(client.get("/restapi/datasource/openapi.json"))
    example = spec["paths"]["/restapi/datasource/insert"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert example == SEED


# Paths that Madevo has, and this service has not


@pytest.mark.parametrize(
    "path", ["/restapi/login", "/restapi/refresh-token", "/restapi/assistant/query", "/restapi/datasource/x"]
)
def test_what_madevo_has_besides_is_a_404_in_its_words(client: FlaskClient, path: str) -> None:
    answer = client.post(path, json={})
    assert (answer.status_code, sorted(json_of(answer))) == (404, ["error", "message"])
    assert json_of(answer)["error"] == "not_found"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/api/v1/secure/datasource/insert", "/api/v1/secure/datasource", "/api/v1/secure/", "/api/v1/login", "/api/v1"]
)
def test_clients_of_madevos_newer_api_take_no_answer_for_a_success(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(path, method=method, headers={"Authorization": "Bearer token"}, json={})
    told = json_of(answer)
    assert (answer.status_code, told["error"], sorted(told)) == (404, True, ["error", "message"])
    assert "POST /restapi/datasource/insert" in told["message"]

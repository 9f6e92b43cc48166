"""Bodies of every API that takes JSON: compressed, with a byte order mark, damaged, too large, not quite JSON."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import zstandard
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.collecting import EVENT, SCHEMA, bearer, event, json_of, made, managed, stored
from tests.conftest import HOME, Environment
from tests.streams.caller import Caller

BOM = b"\xef\xbb\xbf"
STREAM = "/homes/1/smartModules/sds/streams/camera"
NDJSON = "application/x-ndjson"
LINES = b'{"data": "YQ=="}\n{"data": "Yg=="}\n'
INSERT = {"datasource_id": "example", "data": [{"value": 1}]}


class Taker(NamedTuple):
    """An operation that takes JSON, with a body that it takes."""

    method: str
    path: str
    body: Any
    status: int = 200
    kind: str = "application/json"


TAKERS = [
    Taker("PUT", "/api/ingest/consent", {"terms": "1.0", "tier": "rows"}),
    Taker("POST", "/restapi/datasource/insert", INSERT),
    Taker("POST", "/v2/data/in/{dataset_id}", EVENT),
    Taker("POST", "/v2/datasets/create", managed("create", dataset_id="new")),
    Taker("PATCH", "/v2/datasets/update", managed("update", dataset_id="example", name="Example")),
    Taker("POST", "/v2/datasets/list", managed("list")),
    Taker("POST", "/v2/datasets/alias", managed("alias", action="attach", dataset_id="example", alias_name="sample")),
    Taker("POST", "/v2/datasets/replay/{dataset_id}", {"request": {}}),
    Taker("PUT", "/v2/datasets/failed/{dataset_id}/{record_id}", {"request": {"record": {"value": 1}}}),
    Taker("PUT", STREAM, {"retention": {"packets": 9}}),
    Taker("POST", f"{STREAM}/data", LINES, 201, NDJSON),
    Taker("PUT", f"{STREAM}/metadata/0", {"light": "on"}, 201),
    Taker("POST", f"{STREAM}/sessions", {"start": 0, "stop": 0}, 201),
    Taker("POST", f"{STREAM}/sessions/open", {"timeoutSeconds": 5}, 201),
]


def named(taker: Taker) -> str:
    return f"{taker.method} {taker.path}"


each_taker = pytest.mark.parametrize("taker", TAKERS, ids=named)


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    """One pair of stores is enough: none is asked how a body was sent."""
    return memory_pair


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return prepared(make_client())


def prepared(client: FlaskClient) -> FlaskClient:
    """The same client, of a service with a stream, and with a dataset that holds a dead letter."""
    made(client, "example", entry_topic="example", schema=SCHEMA, mode="strict", public=True)
    Caller.with_key(client).filled(b"a")
    return client


def sent(client: FlaskClient, taker: Taker, body: bytes, **headers: str) -> TestResponse:
    """The answer to such a request with this body."""
    path = taker.path.replace("{dataset_id}", "example")
    if "{record_id}" in path:
        client.post("/v2/data/in/example", json=event({"value": "no number"}))
        letters = client.get("/v2/datasets/failed/example", headers=bearer(client, admin=True))
        path = path.replace("{record_id}", json_of(letters)["result"]["records"][0]["id"])
    home = {"Home-UUID": HOME} if path.startswith("/api/ingest/") else {}
    given = {**bearer(client, admin=True), **home, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.open(path, method=taker.method, data=body, headers=given, content_type=taker.kind)


def text_of(taker: Taker) -> bytes:
    return taker.body if isinstance(taker.body, bytes) else json.dumps(taker.body).encode()


def told_by(answer: TestResponse) -> str:
    """The message of an error, in whichever dialect."""
    told = json.loads(answer.data)
    return str(told["error"]["message"] if isinstance(told.get("error"), dict) else told.get("message", told.get("detail")))


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def test_every_operation_that_takes_a_body_is_tried(client: FlaskClient) -> None:
    documented = {
        (method.upper(), path)
        for path, operations in json_of(client.get("/docs/openapi.json"))["paths"].items()
        for method, operation in operations.items()
        if method != "parameters" and "requestBody" in operation
    }
    names = {
        "/homes/1/": "/homes/{homeId}/",
        "/sds/": "/{moduleId}/",
        "/camera": "/{streamName}",
        "/metadata/0": "/metadata/{packetIndex}",
    }
    tried = set()
    for taker in TAKERS:
        path = taker.path
        for here, there in names.items():
            path = path.replace(here, there)
        tried.add((taker.method, path))
    assert documented - {("POST", "/api/ingest/data")} == tried


@each_taker
def test_a_body_may_be_compressed_and_begin_with_a_byte_order_mark(client: FlaskClient, taker: Taker) -> None:
    answer = sent(client, taker, gzip.compress(BOM + text_of(taker)), Content_Encoding="gzip")
    assert answer.status_code == taker.status, answer.text


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("X-GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("zstd", zstandard.compress),
        ("identity", bytes),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        ("deflate, identity, gzip", lambda body: gzip.compress(zlib.compress(body))),
    ],
)
def test_a_body_may_be_compressed_as_uploads_are(client: FlaskClient, coding: str, compress: Callable[[bytes], bytes]) -> None:
    answer = sent(client, TAKERS[0], compress(text_of(TAKERS[0])), Content_Encoding=coding)
    assert answer.status_code == 200, answer.text


@each_taker
def test_a_text_body_may_begin_with_a_byte_order_mark(client: FlaskClient, taker: Taker) -> None:
    assert sent(client, taker, BOM + text_of(taker)).status_code == taker.status


@each_taker
def test_a_coding_that_is_not_known_is_a_415_that_names_those_that_are(client: FlaskClient, taker: Taker) -> None:
    answer = sent(client, taker, text_of(taker), Content_Encoding="br")
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "gzip, deflate, zstd")
    assert "'br' is not understood; accepted: gzip, deflate, zstd, identity" in told_by(answer)


@each_taker
def test_a_body_that_does_not_fit_its_coding_is_a_400(client: FlaskClient, taker: Taker) -> None:
    gzipped, zstd = gzip.compress(b"{}" * 100), zstandard.compress(b"{}" * 100)
    for coding, body in (
        ("gzip", b"{}"),
        ("gzip", gzipped[:-9]),
        ("gzip", gzipped + b"more"),
        ("deflate", b"{}"),
        ("zstd", zstd[:-3]),
        ("gzip, gzip", gzipped),
        ("gzip," * 5, b"{}"),
    ):
        answer = sent(client, taker, body, Content_Encoding=coding)
        assert (answer.status_code, "Content-Encoding" in told_by(answer)) == (400, True), coding


@each_taker
def test_a_body_that_decompresses_beyond_the_limit_is_a_413(make_client: Callable[..., FlaskClient], taker: Taker) -> None:
    client = prepared(make_client(max_body_bytes=1000, max_decoded_bytes=2000))
    answer = sent(client, taker, gzip.compress(b" " * 2001), Content_Encoding="gzip")
    assert (answer.status_code, told_by(answer)) == (413, "The decompressed body exceeds 2000 bytes.")


def test_a_body_that_decompresses_to_many_times_its_size_is_a_413(client: FlaskClient) -> None:
    for taker in TAKERS[0], TAKERS[1], TAKERS[-4]:
        answer = sent(client, taker, gzip.compress(b" " * (5 << 20)), Content_Encoding="gzip")
        assert (answer.status_code, told_by(answer)) == (413, "The body decompresses to more than 200 times its size.")


@pytest.mark.parametrize(
    ("path", "kind", "start", "unit"),
    [
        ("/v2/data/in/example", "application/json", b'{"id": "api.data.in", "data": [', b"{},"),
        ("/restapi/datasource/insert", "application/json", b'{"data": [', b"[[]],"),
        (f"{STREAM}/metadata/0", "application/json", b"[", b"1.5,"),
        (f"{STREAM}/data", NDJSON, b"", b'{"data":"YQ=="}\n'),
    ],
)
def test_a_small_body_does_not_decompress_to_more_values_than_there_is_memory_for(
    make_client: Callable[..., FlaskClient], path: str, kind: str, start: bytes, unit: bytes
) -> None:
    client = prepared(
        make_client(max_compression_ratio=2000, max_body_bytes=1 << 18, max_decoded_bytes=1 << 21, stream_batch_packets=1000)
    )
    text = start + unit * ((3 << 19) // len(unit))
    taker, body = Taker("PUT" if "metadata" in path else "POST", path, None, kind=kind), gzip.compress(text)
    peaks = []
    for _ in range(3):  # the first imports what it needs, and other threads may work meanwhile
        tracemalloc.start()
        answer = sent(client, taker, body, Content_Encoding="gzip")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert answer.status_code == 413, answer.text
    assert min(peaks) < 3 * len(text)


def test_a_packet_is_what_is_left_when_its_coding_is_undone(client: FlaskClient) -> None:
    caller = Caller.with_key(client)
    uncoded = gzip.compress(b"x")  # its header bears a time: two made in turn may differ
    for packet, coding in ((gzip.compress(BOM + b"x"), {"Content-Encoding": "gzip"}), (uncoded, {})):
        assert caller.post("/camera/data", data=packet, headers=coding).status_code == 201
    assert client.get(caller.located("start=1&stop=1")).data == BOM + b"x"
    assert client.get(caller.located("start=2&stop=2")).data == uncoded


@pytest.mark.parametrize("coding", [{}, {"Content-Encoding": "gzip"}])
def test_a_request_is_the_same_however_it_is_compressed(client: FlaskClient, coding: dict[str, str]) -> None:
    headers = {**bearer(client, admin=True), "Idempotency-Key": "once"}
    text = json.dumps(INSERT).encode()
    first = client.post("/restapi/datasource/insert", data=BOM + text, headers=headers, content_type="application/json")
    again = client.post(
        "/restapi/datasource/insert",
        data=gzip.compress(text, mtime=1) if coding else text,
        headers={**headers, **coding},
        content_type="application/json",
    )
    assert (first.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert stored(client, "example") == INSERT["data"]


LONE_SURROGATES = [
    (b'{"data": "\\ud83d"}', 10),
    (b'{"\\ud83d": "a"}', 2),
    (b'{"data": "\\\\\\ud83d", "b": 1}', 12),
    (b'{"data": "\\ud83d\\ude00 \\ud83d\\u0041"}', 23),
    (b'{"data": "\\ude00 and more text than a whole escape takes"}', 10),
    (b'{"data": "\\ud83d and more text than a whole escape takes"}', 10),
]


@pytest.mark.parametrize("taker", [one for one in TAKERS if one.kind != NDJSON], ids=named)
def test_what_is_no_text_is_called_that_and_its_place_is_told(client: FlaskClient, taker: Taker) -> None:
    for text, where in LONE_SURROGATES:
        answer = sent(client, taker, text)
        told = f"{text[where : where + 6].decode()} at byte {where} is only half of a surrogate pair"
        assert (answer.status_code, told in told_by(answer)) == (400, True), told_by(answer)
    assert "it is not UTF-8 text: byte 10 fits no character" in told_by(sent(client, taker, b'{"data": "\xff"}'))
    for text in (b'{"data": "\\\\ud83d', b'{"data": "\\ud83d', b'{"data": "\\ud83d\\ude', b'{"data": "a"'):
        assert "truncated" in told_by(sent(client, taker, text)), text


def test_a_lone_surrogate_in_a_line_is_called_one(client: FlaskClient) -> None:
    answer = Caller.with_key(client).post("/camera/data", data=LINES + b'{"data": "\\ud83d"}', content_type=NDJSON)
    assert answer.status_code == 400
    assert told_by(answer).startswith("Line 3: \\ud83d at byte 10 is only half of a surrogate pair")


@pytest.mark.parametrize(
    "kind",
    [
        *("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl", "application/jsonlines"),
        *("application/x-jsonlines", "application/x-json-lines", "application/json-lines", "text/jsonl", "text/x-ndjson"),
        *("Application/JSONL; charset=utf-8", "application/x-ldjson", "application/vnd.example+x-ndjson"),
    ],
)
def test_a_batch_is_one_by_any_of_its_names(client: FlaskClient, kind: str) -> None:
    answer = Caller.with_key(client).post("/camera/data", data=LINES, content_type=kind)
    assert (answer.status_code, json_of(answer)) == (201, {"start": 1, "stop": 2})


@pytest.mark.parametrize("kind", ["application/json-seq", "application/geo+json-seq", "application/stream+json"])
def test_a_sequence_of_another_kind_is_a_415_and_never_one_packet(client: FlaskClient, kind: str) -> None:
    answer = Caller.with_key(client).post("/camera/data", data=b"\x1e" + LINES, content_type=kind)
    assert answer.status_code == 415
    assert "send a batch as application/x-ndjson or application/jsonl" in told_by(answer)


@pytest.mark.parametrize("kind", ["application/json", "application/ld+json", "application/octet-stream", "image/jpeg", ""])
def test_a_body_of_any_other_type_is_one_packet(client: FlaskClient, kind: str) -> None:
    answer = Caller.with_key(client).post("/camera/data", data=LINES, content_type=kind)
    assert (answer.status_code, json_of(answer)) == (201, {"start": 1, "stop": 1})

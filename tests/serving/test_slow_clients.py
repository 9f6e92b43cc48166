"""Clients that are slow, over real sockets: they hold no thread, and are cut."""

from __future__ import annotations

import json
import re
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from statistics import median

import pytest
import requests

from config.settings import Settings
from smarthouse_api.house import House
from tests.conftest import HOME, OTHER_HOME, Server, payload, state
from tests.test_server import answer_on, post_head, socket_to

HELD_SECONDS = 0.5
HALF = b"GET /api/export/formats HTTP/1.1\r\nHost: x\r\nX-"
CHUNKED = b"POST /v2/data/in/example HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFF\r\nx"
TO_STREAMS = b"POST /homes/1/smartModules/m/streams/s/data HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n%s\r\n\r\n1"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a single thread, which cuts a client after two seconds."""
    folder = str(tmp_path_factory.mktemp("narrow"))
    limits = {"SMARTHOUSE_WORKERS": "1", "SMARTHOUSE_THREADS": "1", "SMARTHOUSE_RECEIVE_SECONDS": "2"}
    one = Server({"SMARTHOUSE_DATA_DIR": folder, "SMARTHOUSE_PURGE_ANSWER_SECONDS": str(HELD_SECONDS), **limits}).start()
    yield one
    one.kill()


@pytest.fixture(scope="module")
def authorization(narrow: Server) -> str:
    with closing(House(Settings.from_env(narrow.environment))) as house:
        return f"Bearer {house.access.create('operator', admin=True)[1]}"


def said(one: socket.socket) -> tuple[int, dict[str, object]]:
    """The status and the error of the next answer, after which the connection ends."""
    status, headers, body = answer_on(one)
    assert headers["connection"] == "close"
    assert one.recv(1) == b""
    return status, json.loads(body)


def metrics(one: Server) -> str:
    return requests.get(f"{one.url}/metrics", timeout=10).text


@pytest.mark.alone
def test_slow_clients_hold_up_nobody_and_are_cut_in_the_dialect_that_they_speak(narrow: Server, authorization: str) -> None:
    with ExitStack() as held:
        slow = {begun: [held.enter_context(socket_to(narrow.port)) for _ in range(12)] for begun in (
            post_head(100_000) + b"x", HALF, CHUNKED, TO_STREAMS % f"Authorization: {authorization}".encode(),
        )}  # fmt: skip
        for begun, ones in slow.items():
            for one in ones:
                one.sendall(begun)
        began = time.monotonic()
        assert requests.get(f"{narrow.url}/health/live", timeout=5).ok
        assert narrow.upload(HOME, payload(state())).status_code == 200
        assert time.monotonic() - began < 1.9  # before the first of them is cut
        bodies, heads, chunks, appends = ([said(one) for one in ones] for ones in slow.values())
        assert time.monotonic() - began < 6
    assert {status for status, _ in [*bodies, *heads, *chunks, *appends]} == {408}
    assert all("within 2 seconds" in str(told["detail"]) for _, told in bodies + heads)
    assert all(told["responseCode"] == "REQUEST_TIMEOUT" for _, told in chunks)
    assert all(told["reason"] == "REQUEST_TIMEOUT" for _, told in appends)


def test_large_bodies_that_come_slowly_are_not_all_waited_for(narrow: Server) -> None:
    large = post_head(16_000_000) + bytes(15_400_000)
    with ExitStack() as held:
        slow = [held.enter_context(socket_to(narrow.port)) for _ in range(6)]
        for one in slow:
            one.sendall(large)
        began = time.monotonic()
        assert narrow.upload(HOME, payload(state(value="beside"))).status_code == 200
        assert time.monotonic() - began < 1.9  # before the first of them is cut
        told = [answer_on(one) for one in slow]
    assert {status for status, _, _ in told} == {408, 503}
    crowded = next((headers, json.loads(body)) for status, headers, body in told if status == 503)
    assert "Too many large requests arrive slowly" in crowded[1]["detail"]
    assert "retry-after" in crowded[0]
    counted = dict(re.findall(r'^smarthouse_cut_requests_total{reason="(\w+)"} (\d+)', metrics(narrow), re.MULTILINE))
    statuses = [status for status, _, _ in told]
    assert int(counted["late"]) >= statuses.count(408)
    assert int(counted["crowded"]) == statuses.count(503)


def test_other_uploads_are_taken_while_more_comes_than_is_gathered(narrow: Server) -> None:
    with ThreadPoolExecutor(12) as clients:
        large = [clients.submit(narrow.upload, HOME, bytes([number]) * 12_000_000) for number in range(10)]
        others = [narrow.upload(OTHER_HOME, bytes([number]) * 200_000).status_code for number in range(10)]
        statuses = {one.result().status_code for one in large}
    assert others == [200] * 10
    assert 200 in statuses
    assert statuses <= {200, 503}


def test_a_client_that_asks_whether_it_may_send_is_told_so_once(narrow: Server) -> None:
    body = payload(state(value="asked"))
    with socket_to(narrow.port) as one:
        one.sendall(post_head(len(body)).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert one.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.sendall(body)
        assert one.recv(1 << 16, socket.MSG_PEEK).startswith(b"HTTP/1.1 200 ")
        assert answer_on(one)[0] == 200


def test_a_head_that_never_ends_is_refused(narrow: Server) -> None:
    with socket_to(narrow.port) as one:
        one.sendall(HALF + b"Many: " + b"x" * 100_000)
        assert answer_on(one)[0] == 431


def test_health_answers_while_no_thread_is_free(narrow: Server, authorization: str) -> None:
    stream, headers = f"{narrow.url}/homes/1/smartModules/m/streams/s", {"Authorization": authorization}
    assert requests.put(stream, headers=headers, timeout=10).status_code == 201
    with closing(requests.get(f"{stream}/data?follow=true", headers=headers, stream=True, timeout=10)) as followed:
        assert next(followed.iter_content(None))
        with pytest.raises(requests.Timeout):
            requests.get(f"{narrow.url}/api/export/formats", timeout=0.3)
        for ask in (requests.get, requests.head):
            assert ask(f"{narrow.url}/health/live", timeout=10).status_code == 200


def seconds_to_erase(server: Server, home: str) -> float:
    began = time.monotonic()
    answer = requests.delete(f"{server.url}/api/ingest/data", headers={"Home-UUID": home}, timeout=30)
    assert answer.status_code == 200
    assert {name: len(value) for name, value in answer.json().items()} == {"message": 25, "receipt": 116}
    return time.monotonic() - began


@pytest.mark.alone
def test_a_deletion_takes_as_long_for_a_known_home_as_for_an_unknown(narrow: Server) -> None:
    known, unknown = list[float](), list[float]()
    for _ in range(3):
        assert narrow.upload(HOME, payload(state())).status_code == 200
        known.append(seconds_to_erase(narrow, HOME))
        unknown.append(seconds_to_erase(narrow, OTHER_HOME))
    assert min(known + unknown) >= HELD_SECONDS
    assert 0.9 < median(known) / median(unknown) < 1.1


@pytest.mark.alone
def test_answers_that_are_held_back_hold_no_thread(narrow: Server) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        held = [pool.submit(seconds_to_erase, narrow, str(uuid.uuid4())) for _ in range(12)]
        assert narrow.upload(HOME, payload(state())).status_code == 200
        assert time.monotonic() - began < HELD_SECONDS
        assert min(one.result() for one in held) >= HELD_SECONDS
    assert time.monotonic() - began < 6 * HELD_SECONDS  # one after another would take twelve times as long


def test_a_connection_goes_on_after_an_answer_that_was_held_back(narrow: Server) -> None:
    with socket_to(narrow.port) as one:
        erase = b"DELETE /api/ingest/data HTTP/1.1\r\nHost: x\r\nHome-UUID: %s\r\n\r\n" % OTHER_HOME.encode()
        for request in (erase, HALF + b"Y: z\r\n\r\n", erase):
            one.sendall(request)
            assert answer_on(one)[0] == 200


def test_a_client_that_leaves_before_its_answer_is_missed_by_nobody(narrow: Server) -> None:
    with pytest.raises(requests.Timeout):
        requests.delete(f"{narrow.url}/api/ingest/data", headers={"Home-UUID": HOME}, timeout=HELD_SECONDS / 2)
    assert seconds_to_erase(narrow, OTHER_HOME) >= HELD_SECONDS

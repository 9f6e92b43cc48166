"""Clients that are slow, over real sockets: they hold no thread, and are cut."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import requests

from config.settings import Settings
from smarthouse_api.house import House
from tests.conftest import HOME, Server, payload, state
from tests.test_server import answer_on, post_head, socket_to

HALF = b"GET /api/export/formats HTTP/1.1\r\nHost: x\r\nX-"
CHUNKED = b"POST /v2/data/in/example HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFF\r\nx"
TO_STREAMS = b"POST /homes/1/smartModules/m/streams/s/data HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n%s\r\n\r\n1"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a single thread, which cuts a client after two seconds."""
    folder = str(tmp_path_factory.mktemp("narrow"))
    limits = {"SMARTHOUSE_WORKERS": "1", "SMARTHOUSE_THREADS": "1", "SMARTHOUSE_RECEIVE_SECONDS": "2"}
    one = Server({"SMARTHOUSE_DATA_DIR": folder, **limits}).start()
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

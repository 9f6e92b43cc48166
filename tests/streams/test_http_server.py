"""Streams under gunicorn: downloads and followers that last, and what ends them."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote, urlsplit

import pytest
import requests

from tests.conftest import Environment, Server
from tests.streams.caller import key_of

PACKETS, PACKET_BYTES = 20, 999_999


class Streams:
    """The streams of one home on a running server, to whoever has its key."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.headers = {"Authorization": f"Bearer {key_of(server.environment)}"}

    def call(self, method: str, path: str, module: str = "sds", **options: object) -> requests.Response:
        url = f"{self.server.url}/homes/1/smartModules/{quote(module, safe='')}/streams{path}"
        return requests.request(method, url, headers=self.headers, timeout=30, **options)  # type: ignore[arg-type]

    def located(self, name: str, count: int) -> str:
        """Path and query of a download."""
        answer = self.call("GET", f"/{name}/data?start=0&stop={count - 1}", allow_redirects=False)
        assert answer.status_code == 302
        found = urlsplit(answer.headers["Location"])
        return f"{found.path}?{found.query}"


@pytest.fixture(scope="module")
def running(shared_server: Server) -> Streams:
    return Streams(shared_server)


# Downloads


@contextmanager
def slow_reader(server: Server, path: str) -> Iterator[socket.socket]:
    """A client that has asked for the path, and takes little at a time."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(20)
        one.connect(("127.0.0.1", server.port))
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield one


def until_the_end(one: socket.socket, most: int) -> bytes:
    """What still comes, up to so much."""
    parts, size = list[bytes](), 0
    try:
        while size < most and (part := one.recv(1 << 16)):
            parts.append(part)
            size += len(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def filled(streams: Streams, name: str) -> str:
    """Where a stream with more in it than any buffer between us and the server can be downloaded."""
    assert streams.call("PUT", f"/{name}").status_code == 201
    for number in range(PACKETS):
        assert streams.call("POST", f"/{name}/data", data=bytes([number]) * PACKET_BYTES).status_code == 201
    return streams.located(name, PACKETS)


def test_a_download_is_broken_off_when_its_stream_is_deleted(
    capfd: pytest.CaptureFixture[str], embedded_pair: Environment
) -> None:
    server = Server(embedded_pair).start()
    try:
        streams = Streams(server)
        with slow_reader(server, filled(streams, "camera")) as one:
            begun = one.recv(4096)
            assert begun.startswith(b"HTTP/1.1 200")
            assert b"Content-Length: %d\r\n" % (PACKETS * PACKET_BYTES) in begun
            assert streams.call("DELETE", "/camera").status_code == 204
            assert len(until_the_end(one, PACKETS * PACKET_BYTES)) < PACKETS * PACKET_BYTES - 8192
        told = ""
        deadline = time.monotonic() + 10
        while "a download was broken off" not in told and time.monotonic() < deadline:
            told += capfd.readouterr().err
            time.sleep(0.02)
        server.stop()
        told += capfd.readouterr().err
    finally:
        server.kill()
    assert "a download was broken off" in told
    assert "Traceback" not in told
    assert "Error handling request" not in told


def test_a_reader_may_be_slow(running: Streams) -> None:
    with slow_reader(running.server, filled(running, "slow")) as one:
        head, _, body = one.recv(4096).partition(b"\r\n\r\n")
        body += until_the_end(one, PACKETS * PACKET_BYTES - len(body))
    assert head.startswith(b"HTTP/1.1 200")
    assert re.sub(rb"(.)\1*", rb"\1", body, flags=re.DOTALL) == bytes(range(PACKETS))
    assert len(body) == PACKETS * PACKET_BYTES


@pytest.mark.parametrize("letter", ["ü", "🏠", "x"])
def test_a_stream_with_the_longest_names_is_written_and_downloaded(running: Streams, letter: str) -> None:
    name = letter * min(512, 1024 // len(letter.encode()))
    path = f"/{quote(name, safe='')}"
    assert running.call("PUT", path, name).json()["name"] == name
    assert running.call("POST", f"{path}/data", name, data=b"packet").status_code == 201
    fetched = running.call("GET", f"{path}/data?start=0&stop=0", name)
    assert (fetched.status_code, fetched.content, len(fetched.history)) == (200, b"packet", 1)


# Followers


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_follower_holds_up_no_stop(embedded_pair: Environment, end: signal.Signals) -> None:
    server = Server(embedded_pair).start()
    try:
        streams = Streams(server)
        assert streams.call("PUT", "/camera").status_code == 201
        with closing(streams.call("GET", "/camera/data?follow=true", stream=True)) as followed:
            assert next(followed.iter_content(None)) == b"retry: 1000\n\n"
            assert server.process is not None
            server.process.send_signal(end)
            assert server.process.wait(10) == 0
    finally:
        server.kill()


def test_a_follower_gets_a_whole_answer_when_the_service_stops(embedded_pair: Environment) -> None:
    server = Server({**embedded_pair, "SMARTHOUSE_WORKERS": "1"}).start()
    try:
        streams = Streams(server)
        assert streams.call("PUT", "/camera").status_code == 201
        with closing(streams.call("GET", "/camera/data?follow=true", stream=True)) as followed:
            parts = followed.iter_content(None)
            assert next(parts) == b"retry: 1000\n\n"
            assert server.process is not None
            server.process.terminate()
            assert b"".join(parts) == b""  # raises if the end of the answer is missing
    finally:
        server.kill()


def test_a_follower_holds_up_no_stop_by_the_terminal(embedded_pair: Environment) -> None:
    """Ctrl-C reaches all processes, and the master tells the workers once more."""
    server = Server(embedded_pair).start()
    try:
        streams = Streams(server)
        assert streams.call("PUT", "/camera").status_code == 201
        with closing(streams.call("GET", "/camera/data?follow=true", stream=True)) as followed:
            assert next(followed.iter_content(None)) == b"retry: 1000\n\n"
            assert server.process is not None
            for _ in range(5):  # the second may come while the first one is heeded, and an impatient user presses it again
                os.killpg(server.process.pid, signal.SIGINT)
                time.sleep(0.05)
            assert server.process.wait(20) == 0  # held up, it would be the time for requests under way: 30 s
    finally:
        server.kill()

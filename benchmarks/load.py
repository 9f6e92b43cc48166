"""The load generator: a process of its own that posts prepared uploads over a few kept-alive connections.

`python -m benchmarks.load`, with a `Load` as JSON on its standard input; the answer is an `Outcome` as JSON.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.homes import Payload
from benchmarks.paths import ROOT
from benchmarks.server import HOST

CONNECTIONS: Final = 16
ANSWER_SECONDS: Final = 60


@dataclass(frozen=True)
class Load:
    """Post `uploads` (UUID and file) until they or the `seconds` have run out; with `again`, from the start once they have."""

    port: int
    seconds: float
    uploads: list[tuple[str, str]]
    connections: int = CONNECTIONS
    again: bool = False


@dataclass(frozen=True)
class Outcome:
    """good: answers 200 with records and no duplicate. busy: the share of a core that the generator itself took."""

    answers: int
    good: int
    seconds: float
    median_ms: float
    p99_ms: float
    busy: float
    faults: list[str] = field(default_factory=list)

    @property
    def a_second(self) -> float:
        return self.answers / self.seconds


def run(port: int, payloads: Sequence[Payload], seconds: float, *, again: bool = False) -> Outcome:
    """Post `payloads` from a process of its own; `again` for a server that does not look for duplicates."""
    load = Load(port, seconds, [(payload.home, str(payload.path)) for payload in payloads], again=again)
    command = [sys.executable, "-m", "benchmarks.load"]
    done = subprocess.run(
        command, input=json.dumps(asdict(load)), text=True, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=seconds + 300
    )
    outcome = Outcome(**json.loads(done.stdout))
    if outcome.good != outcome.answers:
        raise RuntimeError(f"{outcome.answers - outcome.good} of {outcome.answers} uploads went wrong: {outcome.faults}")
    return outcome


def _request(home: str, path: str) -> bytes:
    body = Path(path).read_bytes()
    head = (
        f"POST /api/ingest/data HTTP/1.1\r\nHost: {HOST}\r\nHome-UUID: {home}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection:
    """One socket with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection((HOST, self.port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        self.received = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def answer(self) -> bytes | None:
        """The whole answer once it is here."""
        some = self.socket.recv(65536)
        if not some:
            raise ConnectionError("the server closed a connection without an answer")
        self.received += some
        head, gap, body = self.received.partition(b"\r\n\r\n")
        return self.received if gap and len(body) >= _content_length(head) else None


def _content_length(head: bytes) -> int:
    start = head.lower().index(b"content-length:") + 15
    return int(head[start:].split(b"\r\n", 1)[0])


def _post(load: Load, requests: list[bytes]) -> tuple[list[bytes], list[float], float]:
    """Every answer, every latency in seconds, and the time until the last answer."""
    selector = selectors.DefaultSelector()
    waiting = itertools.cycle(requests) if load.again else iter(requests)
    answers: list[bytes] = []
    latencies: list[float] = []
    started = time.perf_counter()
    until, finished = started + load.seconds, started
    for connection, request in zip([_Connection(load.port) for _ in range(load.connections)], waiting, strict=False):
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(request)
    while selector.get_map():
        events = selector.select(ANSWER_SECONDS)
        if not events:
            raise TimeoutError(f"no answer for {ANSWER_SECONDS} s")
        for key, _ in events:
            connection = key.data
            answer = connection.answer()
            if answer is None:
                continue
            finished = time.perf_counter()
            answers.append(answer)
            latencies.append(finished - connection.sent_at)
            _next(selector, connection, answer, next(waiting, None) if finished < until else None)
    return answers, latencies, finished - started


def _next(selector: selectors.BaseSelector, connection: _Connection, answer: bytes, request: bytes | None) -> None:
    closed = b"connection: close" in answer[:1024].lower()
    if request is None or closed:
        selector.unregister(connection.socket)
        connection.socket.close()
    if request is None:
        return
    if closed:
        connection.connect()
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    connection.send(request)


def _fault(answer: bytes) -> str | None:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].decode(errors="replace")
    if not status.startswith("HTTP/1.1 200"):
        return f"{status}: {body[:200]!r}"
    said = json.loads(body)
    return None if said["records"] > 0 and said["duplicate"] is False else f"records {said['records']}, {said['duplicate']=}"


def main() -> None:
    load = Load(**json.load(sys.stdin))
    requests = [_request(home, path) for home, path in load.uploads]
    used = time.process_time()
    answers, latencies, seconds = _post(load, requests)
    used = time.process_time() - used
    faults = Counter(filter(None, map(_fault, answers)))
    centiles = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
    outcome = Outcome(
        answers=len(answers),
        good=len(answers) - faults.total(),
        seconds=seconds,
        median_ms=centiles[49] * 1000,
        p99_ms=centiles[98] * 1000,
        busy=used / seconds,
        faults=[f"{count} times {fault}" for fault, count in faults.most_common(3)],
    )
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()

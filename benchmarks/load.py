"""The load generator: a process of its own that posts prepared requests over a few kept-alive connections.

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
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.homes import Payload
from benchmarks.paths import ROOT
from benchmarks.server import HOST

CONNECTIONS: Final = 16
ANSWER_SECONDS: Final = 60
FRESH_SECONDS: Final = 2
"""The service closes a connection that was idle for a few seconds. An older one is opened anew before it is used."""


@dataclass(frozen=True)
class Load:
    """Post `requests`, each a head without its length and the file of the body, until they or the `seconds` have run out; with
    `again`, from the start once they have; with `pinned`, each connection one of them all the time.

    good: the answer that is wanted, one of `GOOD`. a_second: how many requests are due each second, no matter how slow the
    answers are, and a latency begins when its request was due; None for as many as the connections bear.
    """

    port: int
    seconds: float
    requests: list[tuple[str, str]]
    good: str
    connections: int = CONNECTIONS
    again: bool = False
    pinned: bool = False
    a_second: float | None = None


@dataclass(frozen=True)
class Outcome:
    """good: answers as they are wanted. busy: the share of a core that the generator itself took."""

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


def run(
    port: int,
    payloads: Sequence[Payload],
    seconds: float,
    *,
    again: bool = False,
    a_second: float | None = None,
    connections: int = CONNECTIONS,
) -> Outcome:
    """Post `payloads` from a process of its own; `again` for a server that does not look for duplicates."""
    headers = {"Content-Type": "application/octet-stream"}
    requests = [
        (post_head("/api/ingest/data", {"Home-UUID": payload.home, **headers}), str(payload.path)) for payload in payloads
    ]
    return post(Load(port, seconds, requests, "upload", connections, again, a_second=a_second))


def post_head(path: str, headers: dict[str, str]) -> str:
    """The head of a POST, except for the length of its body."""
    told = "".join(f"{name}: {value}\r\n" for name, value in {"Host": HOST, **headers}.items())
    return f"POST {path} HTTP/1.1\r\n{told}"


def post(load: Load) -> Outcome:
    """Post from a process of its own. RuntimeError unless all answers are as they are wanted."""
    command = [sys.executable, "-m", "benchmarks.load"]
    done = subprocess.run(
        command,
        input=json.dumps(asdict(load)),
        text=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=load.seconds + 300,
    )
    outcome = Outcome(**json.loads(done.stdout))
    if outcome.good != outcome.answers:
        raise RuntimeError(f"{outcome.answers - outcome.good} of {outcome.answers} requests went wrong: {outcome.faults}")
    return outcome


def _request(begun: str, path: str) -> bytes:
    body = Path(path).read_bytes()
    return f"{begun}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Connection:
    """One socket with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.port, self.sent_at = port, time.perf_counter()
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection((HOST, self.port), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def send(self, request: bytes) -> None:
        self.received, self.left = b"", memoryview(request)
        self.sent_at = time.perf_counter()
        self.push()

    def push(self) -> None:
        """Send as much of the rest as the server takes now: it is not to keep the other connections waiting."""
        with suppress(BlockingIOError):
            while self.left:
                self.left = self.left[self.socket.send(self.left) :]

    @property
    def awaits(self) -> int:
        return selectors.EVENT_READ | selectors.EVENT_WRITE if self.left else selectors.EVENT_READ

    def answer(self) -> bytes | None:
        """The whole answer once it is here."""
        some = self.socket.recv(65536)
        if not some:
            raise ConnectionError("the server closed a connection without an answer")
        self.received += some
        head, gap, body = self.received.partition(b"\r\n\r\n")
        return self.received if gap and len(body) >= _content_length(head) else None


def _content_length(head: bytes) -> int:
    """Of the body behind this head. An answer with status 204 has none, and need not say so."""
    if head.startswith(b"HTTP/1.1 204 "):
        return 0
    start = head.lower().index(b"content-length:") + 15
    return int(head[start:].split(b"\r\n", 1)[0])


def _post(load: Load, requests: list[bytes]) -> tuple[list[bytes], list[float], float]:
    """Every answer, every latency in seconds, and the time until the last answer."""
    selector = selectors.DefaultSelector()
    answers: list[bytes] = []
    latencies: list[float] = []
    waiting = dict(zip([_Connection(load.port) for _ in range(load.connections)], _sources(load, requests), strict=True))
    started = time.perf_counter()
    until, finished = started + load.seconds, started
    for connection, source in waiting.items():
        if (request := next(source, None)) is not None:
            _begin(selector, connection, request)
    while selector.get_map():
        events = selector.select(ANSWER_SECONDS)
        if not events:
            raise TimeoutError(f"no answer for {ANSWER_SECONDS} s")
        for key, mask in events:
            connection = key.data
            if mask & selectors.EVENT_WRITE:
                connection.push()
                selector.modify(connection.socket, connection.awaits, connection)
            answer = connection.answer() if mask & selectors.EVENT_READ else None
            if answer is None:
                continue
            finished = time.perf_counter()
            answers.append(answer)
            latencies.append(finished - connection.sent_at)
            _next(selector, connection, answer, next(waiting[connection], None) if finished < until else None)
    return answers, latencies, finished - started


def _keep_pace(load: Load, requests: list[bytes]) -> tuple[list[bytes], list[float], float]:
    """Likewise, with requests that are sent when they are due. One that no connection is free for waits, and its time runs."""
    assert load.a_second is not None
    selector = selectors.DefaultSelector()
    answers: list[bytes] = []
    latencies: list[float] = []
    free = [_Connection(load.port) for _ in range(load.connections)]
    waiting, due_at = deque(requests[: int(load.a_second * load.seconds)]), time.perf_counter()
    due_of = dict[_Connection, float]()
    started = due_at
    while waiting or due_of:
        while waiting and free and time.perf_counter() >= due_at:
            connection = free.pop()
            if time.perf_counter() > connection.sent_at + FRESH_SECONDS:
                connection.socket.close()
                connection.connect()
            due_of[connection], due_at = due_at, due_at + 1 / load.a_second
            _begin(selector, connection, waiting.popleft())
        is_next_due = waiting and free
        events = selector.select(max(0.0, due_at - time.perf_counter()) if is_next_due else ANSWER_SECONDS)
        if not events and not is_next_due:
            raise TimeoutError(f"no answer for {ANSWER_SECONDS} s")
        for key, mask in events:
            connection = key.data
            if mask & selectors.EVENT_WRITE:
                connection.push()
                selector.modify(connection.socket, connection.awaits, connection)
            if (answer := connection.answer() if mask & selectors.EVENT_READ else None) is not None:
                latencies.append(time.perf_counter() - due_of.pop(connection))
                answers.append(answer)
                selector.unregister(connection.socket)
                if b"connection: close" in answer[:1024].lower():
                    connection.socket.close()
                    connection.connect()
                free.append(connection)
    return answers, latencies, time.perf_counter() - started


def _sources(load: Load, requests: list[bytes]) -> list[Iterator[bytes]]:
    """Where each connection gets its requests from."""
    if load.pinned:
        return [itertools.repeat(requests[number % len(requests)]) for number in range(load.connections)]
    return [itertools.cycle(requests) if load.again else iter(requests)] * load.connections


def _begin(selector: selectors.BaseSelector, connection: _Connection, request: bytes) -> None:
    connection.send(request)
    selector.register(connection.socket, connection.awaits, connection)


def _next(selector: selectors.BaseSelector, connection: _Connection, answer: bytes, request: bytes | None) -> None:
    closed = b"connection: close" in answer[:1024].lower()
    if request is not None and not closed:
        connection.send(request)
        if connection.left:
            selector.modify(connection.socket, connection.awaits, connection)
        return
    selector.unregister(connection.socket)
    connection.socket.close()
    if request is not None:
        connection.connect()
        _begin(selector, connection, request)


GOOD: Final[dict[str, tuple[int, Callable[[Any], bool]]]] = {
    "upload": (200, lambda said: said["records"] > 0 and said["duplicate"] is False),
    "packet": (201, lambda said: said["stop"] == said["start"]),
    "batch": (201, lambda said: said["stop"] > said["start"]),
    "madevo": (200, lambda said: said["inserted_rows"] > 0 and "warnings" not in said),
    "obsrv": (200, lambda said: said["responseCode"] == "OK"),
    "lines": (204, lambda said: said is None),
}
"""What an answer is to be: its status, and what must hold of the JSON in it; None when it has no body."""


def _fault(answer: bytes, good: str) -> str | None:
    begun, _, body = answer.partition(b"\r\n\r\n")
    status = begun.split(b"\r\n", 1)[0].decode(errors="replace")
    wanted, is_good = GOOD[good]
    is_wanted = status.startswith(f"HTTP/1.1 {wanted} ") and is_good(json.loads(body) if body else None)
    return None if is_wanted else f"{status}: {body[:200]!r}"


def main() -> None:
    load = Load(**json.load(sys.stdin))
    requests = [_request(*told) for told in load.requests]
    used = time.process_time()
    answers, latencies, seconds = _post(load, requests) if load.a_second is None else _keep_pace(load, requests)
    used = time.process_time() - used
    faults = Counter(filter(None, (_fault(answer, load.good) for answer in answers)))
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

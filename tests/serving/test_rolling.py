"""APIs behind nginx, as docs/production.md has it, that are restarted one after another under load."""

from __future__ import annotations

import http.client
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Environment, Server, payload, state
from tests.nginx import nginx_before
from tests.waiting import soon


class Load:
    """Clients that ask and upload without a pause, and what they were answered: (method, status or the fault's name)."""

    def __init__(self, port: int, threads: int) -> None:
        self.answers: Counter[tuple[str, object]] = Counter()
        self._port, self._stop = port, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        connection, count = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30), 0
        while not self._stop.is_set():
            count += 1
            try:
                if count % 2:
                    method, path, body = "POST", "/lake/api/ingest/data", payload(state(value=f"{number}-{count}"))
                else:
                    method, path, body = "GET", "/lake/api/export/formats", None
                connection.request(method, path, body, {"Home-UUID": f"00000000-0000-4000-8000-{number:012x}"})
                answer = connection.getresponse()
                answer.read()
                self.answers[method, answer.status] += 1
            except (OSError, http.client.HTTPException) as fault:
                connection.close()
                self.answers[method, type(fault).__name__] += 1
        connection.close()


def restart(api: Server) -> None:
    assert api.process is not None
    api.process.send_signal(signal.SIGTERM)
    assert api.process.wait(60) == 0
    api.start()


def rolled(apis: list[Server], folder: Path, rounds: int, threads: int = 4) -> Counter[tuple[str, object]]:
    """What clients were answered while each API in turn was restarted, so many times."""
    with nginx_before([api.port for api in apis], folder) as port, Load(port, threads) as load:
        for _ in range(rounds):
            for api in apis:
                before = load.answers.total()
                restart(api)
                soon(lambda least=before + 100: load.answers.total() > least)
    return load.answers


@pytest.fixture
def apis(embedded_pair: Environment) -> Iterator[list[Server]]:
    rates = {
        f"SMARTHOUSE_{name}": ""
        for name in ("INGEST_RATE_HOME", "INGEST_RATE_ADDRESS", "RIGHTS_RATE_ADDRESS", "EXPORT_RATE_ADDRESS")
    }
    ones = [Server({**embedded_pair, **rates, "SMARTHOUSE_TRUSTED_PROXIES": "1"}).start() for _ in range(2)]
    yield ones
    for one in ones:
        one.kill()


def test_apis_that_are_restarted_in_turn_behind_nginx_lose_no_request(apis: list[Server], tmp_path: Path) -> None:
    answers = rolled(apis, tmp_path, rounds=1)
    assert answers.keys() <= {("GET", 200), ("POST", 200)}, answers

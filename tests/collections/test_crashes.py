"""The service killed while programs push: what was acknowledged is read back, once, whatever died when."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from smarthouse_api.collections.model import MESSAGE_ID, define
from smarthouse_api.house import House
from tests.conftest import Environment, Server

WRITERS = 4
KILLS = 3


@pytest.fixture(params=["embedded_pair", "production_pair"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    environment: Environment = {**request.getfixturevalue(request.param), "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.2"}
    one = Server(environment)
    yield one
    one.kill()


@pytest.fixture
def key(server: Server) -> str:
    """Of an administrator; three collections stand beside it."""
    from config.settings import Settings

    house = House(Settings.from_env(server.environment))
    house.collections.catalogue.create(define({"id": "meters", "entry_topic": "in"}))
    house.collections.catalogue.create(define({"id": "once", "entry_topic": "in", "dedup_key": MESSAGE_ID}))
    house.collections.catalogue.create(define({"id": "batches", "entry_topic": "in", "extraction": {"dedup_key": "id"}}))
    _, text = house.access.create("tests", admin=True)
    house.close()
    return text


def message(msgid: str, *records: Any) -> bytes:
    told = {"id": "api.data.in", "ver": "v2", "ts": "1711966306164", "params": {"msgid": msgid}, "data": list(records)}
    return json.dumps(told).encode()


def push(server: Server, collection: str, body: bytes, patience_seconds: float = 30) -> None:
    """Send it until it is acknowledged."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        try:
            if requests.post(f"{server.url}/v2/data/in/{collection}", data=body, timeout=30).ok:
                return
        except requests.RequestException:
            threading.Event().wait(0.05)  # the service is dead, or on its way up
    raise AssertionError("nothing was acknowledged any more")


def read_back(server: Server, collection: str, key: str) -> list[Any]:
    answer = requests.get(
        f"{server.url}/v2/datasets/records/{collection}",
        params={"format": "jsonl", "meta": "false"},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    answer.raise_for_status()
    return [json.loads(line) for line in answer.text.splitlines()]


def test_no_acknowledged_record_is_lost_or_doubled_by_kills(server: Server, key: str) -> None:
    server.start()
    over, acknowledged = threading.Event(), list[tuple[int, int, int]]()

    def write(writer: int) -> None:
        number = 0
        while not over.is_set():
            records = [{"writer": writer, "number": number, "part": part} for part in range(5)]
            # A repeat of what was never answered must not be stored twice: the message tells, or the batch's id.
            if number % 2:
                push(server, "once", message(f"{writer}-{number}", *records))
            else:
                push(server, "batches", message("m", {"id": f"{writer}-{number}", "events": records}))
            acknowledged.extend((writer, number, part) for part in range(5))
            number += 1

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for one in writers:
        one.start()
    for _ in range(KILLS):
        threading.Event().wait(1.0)
        server.kill()
        server.start()
    threading.Event().wait(0.5)
    over.set()
    for one in writers:
        one.join()
    records = [*read_back(server, "once", key), *read_back(server, "batches", key)]
    found = Counter((one["writer"], one["number"], one["part"]) for one in records)
    assert found == Counter(acknowledged)


def test_what_was_acknowledged_right_before_a_kill_is_read_back(server: Server, key: str) -> None:
    server.start()
    for number in range(3):
        push(server, "meters", message(str(number), {"number": number}))
        server.kill()
        server.start()
    assert [one["number"] for one in read_back(server, "meters", key)] == [0, 1, 2]


def test_the_same_message_to_two_processes_at_once_is_stored_once(server: Server, key: str) -> None:
    server.start()
    assert len(server.workers()) > 1
    bodies = [message(str(number), {"number": number}) for number in range(20)]

    def write() -> None:
        for body in bodies:
            push(server, "once", body)

    writers = [threading.Thread(target=write) for _ in range(6)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert sorted(one["number"] for one in read_back(server, "once", key)) == [*range(20)]

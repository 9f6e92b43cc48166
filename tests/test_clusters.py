"""Collections and streams on a Redis Cluster, where each of them may be on another server, apart from its home."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from flask.testing import FlaskClient

from smarthouse_api.collections.model import Collection
from tests.collections.conftest import NUMBERS, Keeper
from tests.conftest import house_of, on_pairs
from tests.redis_cluster import Cluster
from tests.streams.caller import Caller, assert_refused
from tests.streams.test_http_downloads import packets_of

environment = on_pairs("production_pair")
"""But for the state's URL."""

T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    one = Cluster(tmp_path_factory.mktemp("cluster"))
    one.start()
    yield one
    one.kill()


@pytest.fixture
def client(cluster: Cluster, make_client: Callable[..., FlaskClient], tmp_path: Path) -> FlaskClient:
    return make_client(state_url=f"{cluster.url}?prefix={tmp_path.name}")


def spread(client: FlaskClient, cluster: Cluster, kind: str, make: Callable[[int], T]) -> list[T]:
    """What was made, so many that each server has the space of one. kind: what these spaces begin with."""
    made: list[T] = []
    owners: set[int] = set()
    while len(owners) < len(cluster.primaries):
        made.append(make(len(made)))
        spaces = [one for one in house_of(client).state.spaces() if one.startswith(kind)]
        assert len(spaces) == len(made)
        owners = {cluster.owner(f"{{{space}}}").port for space in spaces}
    return made


def test_records_are_pushed_curated_and_read_back_and_dead_letters_replayed(cluster: Cluster, client: FlaskClient) -> None:
    keeper = Keeper(house_of(client))

    def create(number: int) -> Collection:
        one = keeper.create(f"meter-{number}", schema=NUMBERS, mode="strict", entry_topic="in")
        keeper.accept(one, {"value": "words"})
        return one

    made = spread(client, cluster, "collection/", create)
    headers = {"Authorization": f"Bearer {keeper.house.access.create('operator', admin=True)[1]}"}

    def push(one: Collection, *records: object) -> int:
        body = {"datasource_id": one.id, "data": list(records)}
        answer = client.post("/restapi/datasource/insert", json=body, headers={**headers, "Idempotency-Key": f"{records}"})
        return answer.status_code

    def read_back(one: Collection) -> list[object]:
        answer = client.get(f"/restapi/datasource/{one.id}/records?format=jsonl", headers=headers, buffered=True)
        assert answer.status_code == 200, answer.text
        return [json.loads(line)["value"] for line in answer.text.splitlines()]

    for number, one in enumerate(made):
        assert [push(one, {"value": number}, {"value": -number}) for _ in range(2)] == [200, 200]
    while keeper.house.housekeeper.keep():
        pass
    for number, one in enumerate(made):
        assert push(one, {"value": 100 + number}) == 200
        assert read_back(one) == [number, -number, 100 + number]
        [(letter, record)] = keeper.dead_letters(one).items()
        assert record == {"value": "words"}
        keeper.house.collections.dead_letters.fix(one, letter, {"value": 7})
        assert keeper.house.collections.dead_letters.replay(one).stored == 1
        assert read_back(one) == [number, -number, 100 + number, 7]
        assert keeper.dead_letters(one) == {}


def test_packets_are_appended_within_a_session_followed_and_downloaded(cluster: Cluster, client: FlaskClient) -> None:
    gateway, stranger = Caller.with_key(client), Caller.with_key(client)

    def fill(number: int) -> str:
        gateway.filled(b"zero", name=f"camera-{number}")
        return f"camera-{number}"

    names = spread(client, cluster, "stream-", fill)
    for name in names:
        session = gateway.opened(name)
        assert_refused(stranger.post(f"/{name}/data", data=b"no"), 409, "STREAM_OWNED")
        with gateway.get(f"/{name}/data?follow=true") as answer:
            parts = answer.iter_encoded()
            assert next(parts) == b"retry: 1000\n\n"
            sent = {"data": name.encode(), "headers": {"Idempotency-Key": "once"}}
            told = [gateway.post(f"/{name}/data?session={session}", **sent).get_json() for _ in range(2)]
            assert told == [{"start": 1, "stop": 1}] * 2
            assert packets_of(next(part for part in parts if b"data" in part)) == [(1, name.encode())]
        assert gateway.post(f"/{name}/sessions/{session}/close").get_json()["stop"] == 1
    while house_of(client).housekeeper.keep():
        pass
    for name in names:
        assert stranger.post(f"/{name}/data", data=b"two").get_json() == {"start": 2, "stop": 2}
        assert client.get(gateway.located("start=0&stop=2", name), buffered=True).data == b"zero" + name.encode() + b"two"
        assert gateway.delete(f"/{name}").status_code == 204

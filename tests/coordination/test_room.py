"""Room: what clients send is refused before the stores are full."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from backends.ports import StoreUnavailable
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import NoRoom
from smarthouse_api.house import House
from tests.conftest import HOME, house_of, payload, state

MUCH = 1 << 60


def assert_refused(answer: object, status: int = 503) -> None:
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "300")  # type: ignore[attr-defined]
    assert "bytes free" in answer.text  # type: ignore[attr-defined]


def test_with_little_room_nothing_new_is_taken_and_forgetting_works(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    house = house_of(client)
    house.collections.begin()
    assert client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}).status_code == 200
    _, key = house.access.create("test", admin=True)
    monkeypatch.setattr(house.state, "free_bytes", lambda: 1)
    house.room._looks_at = 0
    assert_refused(client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}))
    assert client.get("/api/export/csv", buffered=True).status_code == 200  # else the forget waits for it
    bearer = {"Authorization": f"Bearer {key}"}
    assert_refused(
        client.post("/restapi/datasource/insert", json={"datasource_id": "67890", "data": [{"a": 1}]}, headers=bearer)
    )
    assert client.put("/homes/7/smartModules/m/streams/s", json={}, headers=bearer).status_code in (200, 201)
    assert_refused(client.post("/homes/7/smartModules/m/streams/s/data", data=b"packet", headers=bearer))
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200


@pytest.mark.parametrize("environment", ["memory_pair"], indirect=True)
def test_a_store_that_does_not_answer_or_tell_refuses_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise StoreUnavailable("down")

    monkeypatch.setattr(house.state, "free_bytes", fail)
    Room(house.state, house.objects, MUCH).check()


@pytest.mark.parametrize("environment", ["memory_pair"], indirect=True)
def test_the_stores_are_asked_once_a_second(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(house.objects, "free_bytes", lambda: asked.append(1) or 5)
    room = Room(house.state, house.objects, 10)
    for _ in range(3):
        with pytest.raises(NoRoom):
            room.check()
    assert len(asked) == 1
    room._looks_at = 0
    monkeypatch.setattr(house.objects, "free_bytes", lambda: 10)
    room.check()

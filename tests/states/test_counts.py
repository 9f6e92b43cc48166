"""Counts of what is kept raw, and the quotas on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from backends.ports import Change, Put, StoreUnavailable
from smarthouse_api.errors import HOME_QUOTA
from smarthouse_api.house import House
from smarthouse_api.states import counts
from smarthouse_api.states.counts import COUNTED, Kept
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.receipts import receipt_name
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, house_of, payload, state

BODY, OTHER = payload(state()), payload(state(value="7"), state(value="8"))
ADDRESS = "192.0.2.7"
AT = datetime(2026, 3, 1, tzinfo=UTC)


def send(house: House, body: bytes = BODY, uuid: str = HOME, address: str | None = ADDRESS, **at: Any) -> Any:
    return house.states.uploads.receive(Upload(uuid, body, address=address), **at)


def key_of(house: House, uuid: str = HOME) -> str:
    home = house.states.homes.find(uuid)
    assert home is not None
    return home.key


def kept_of(house: House, uuid: str = HOME) -> Kept:
    return house.states.counts.of([key_of(house, uuid)])[0]


def make_old(house: House) -> None:
    """Leave what an earlier version would have left of the uploads: no counts, and receipts without a size."""
    space = dict(house.state.scan_all(SPACE))
    counts = [name for name in space if name.partition("/")[0] in ("kept", "kept-in-all", "first", "last", COUNTED)]
    old = {name: msgspec.json.decode(document.value) for name, document in space.items() if name.startswith("upload/")}
    puts = [Put(name, msgspec.json.encode({k: v for k, v in told.items() if k != "bytes"})) for name, told in old.items()]
    house.state.commit(SPACE, Change(puts=tuple(puts), deletes=tuple(counts)))


def test_what_is_kept_is_counted_once_for_each_home_and_in_all(house: House) -> None:
    for body in (BODY, OTHER, BODY, b"\xff"):
        send(house, body, received_at=AT + timedelta(seconds=len(body)))
    send(house, uuid=OTHER_HOME)
    assert kept_of(house).uploads == 3
    assert (kept_of(house).bytes, kept_of(house).records) == (len(BODY) + len(OTHER) + 1, 3)
    in_all = house.states.counts.in_all()
    assert (in_all.bytes, in_all.uploads, in_all.records) == (2 * len(BODY) + len(OTHER) + 1, 4, 4)
    last = AT + timedelta(seconds=1)
    assert kept_of(house).last_us == last.timestamp() * 1e6
    assert kept_of(house).first_us is not None
    keys = {key_of(house): kept_of(house), key_of(house, OTHER_HOME): kept_of(house, OTHER_HOME)}
    assert house.states.counts.by_home() == keys


def test_a_forgotten_home_takes_its_counts_along(house: House) -> None:
    send(house)
    send(house, uuid=OTHER_HOME)
    key = key_of(house)
    house.forgetting.forget(HOME)
    assert house.states.counts.in_all() == Kept(len(BODY), 1, 1)
    assert not [name for name, _ in house.state.scan_all(SPACE) if key in name and not name.startswith("unbroken/")]


def test_uploads_of_an_earlier_version_are_counted_though_the_count_is_killed_at_any_step(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.counting_old._AT_ONCE", 1)
    for body in (BODY, OTHER, b"\xff"):
        send(house, body)
    send(house, uuid=OTHER_HOME)
    before = [kept_of(house), kept_of(house, OTHER_HOME), house.states.counts.in_all()]
    make_old(house)
    commit, steps = house.state.commit, 0

    def die_after(change: Any) -> bool:
        return bool(change.adds) and steps % 2 == 1

    def commit_or_die(space: str, change: Any) -> Any:
        nonlocal steps
        made, steps = commit(space, change), steps + 1
        if die_after(change):
            raise StoreUnavailable("killed")
        return made

    monkeypatch.setattr(house.state, "commit", commit_or_die)
    while house.state.get(SPACE, COUNTED) is None:
        try:
            house.states.chores.count(lambda: True)
        except StoreUnavailable:
            house.states.uploads.counting_old._left = None  # another process begins
    found = [kept_of(house), kept_of(house, OTHER_HOME), house.states.counts.in_all()]
    assert [(one.bytes, one.uploads, one.records) for one in found] == [(one.bytes, one.uploads, one.records) for one in before]
    assert [one.last_us for one in found] == [one.last_us for one in before]


def test_what_is_uploaded_while_old_uploads_are_counted_counts_once(house: House) -> None:
    send(house)
    make_old(house)
    send(house, OTHER)
    house.states.chores.count(lambda: False)
    assert kept_of(house).uploads == 2
    assert kept_of(house).bytes == len(BODY) + len(OTHER)
    assert list(house.states.uploads.counting_old.steps()) == []


def test_a_home_over_its_quota_is_refused_and_its_repeats_are_not(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(quota_home_bytes=len(BODY) + 10)
    house, told = house_of(client), list[str]()
    monkeypatch.setattr(counts.log, "warning", lambda words, *args: told.append(words % args))
    assert client.post("/api/ingest/data", data=BODY, headers={"Home-UUID": HOME}).status_code == 200
    for _ in range(2):
        answer = client.post("/api/ingest/data", data=OTHER, headers={"Home-UUID": HOME})
        assert (answer.status_code, "bytes of uploads of one home" in answer.text) == (413, True)
        assert answer.json is not None
        assert answer.json["title"] == HOME_QUOTA
    repeated = client.post("/api/ingest/data", data=BODY, headers={"Home-UUID": HOME})
    assert repeated.json is not None
    assert repeated.json["duplicate"] is True
    assert client.post("/api/ingest/data", data=BODY, headers={"Home-UUID": OTHER_HOME}).status_code == 200
    assert len(list(house.objects.list("raw/"))) == 2
    assert house.states.counts.in_all().uploads == 2
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert client.post("/api/ingest/data", data=BODY, headers={"Home-UUID": HOME}).status_code == 200
    assert told == ["Uploads are refused, since they would pass the quota of one home"]


def test_an_address_over_its_quota_of_the_day_is_told_when_to_come_again(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(quota_address_bytes=len(BODY) + 10)

    def post(address: str, uuid: str) -> Any:
        environ = {"REMOTE_ADDR": address}
        return client.post("/api/ingest/data", data=BODY, headers={"Home-UUID": uuid}, environ_base=environ)

    assert post("2001:db8::1", HOME).status_code == 200
    refused = post("2001:db8::2", OTHER_HOME)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 86400
    assert post("2001:db8:0:1::1", OTHER_HOME).status_code == 200
    assert "2001:" not in str(house_of(client).state.scan(SPACE))
    assert post("2001:db8::3", str(uuid.uuid4())).status_code == 429
    assert len(house_of(client).states.homes.known()) == 2, "a home whose upload is refused is not added"


def test_all_homes_over_the_quota_are_refused_until_one_is_forgotten(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(quota_bytes=len(BODY) + 10)
    assert client.post("/api/ingest/data", data=BODY, headers={"Home-UUID": HOME}).status_code == 200
    refused = client.post("/api/ingest/data", data=BODY, headers={"Home-UUID": OTHER_HOME})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "300")
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert client.post("/api/ingest/data", data=BODY, headers={"Home-UUID": OTHER_HOME}).status_code == 200


@pytest.mark.parametrize("environment", ["memory_pair"], indirect=True)
def test_an_upload_asks_the_stores_no_oftener_for_its_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    send(house)
    send(house, OTHER)  # after which it is known that the home has a first upload
    asked = []
    for name in ("get", "get_many", "scan", "commit"):
        ask = getattr(house.state, name)
        monkeypatch.setattr(house.state, name, lambda *given, ask=ask, name=name: asked.append(name) or ask(*given))
    send(house, payload(state(value="9")))
    assert asked == ["commit"]


@pytest.mark.parametrize("environment", ["memory_pair"], indirect=True)
def test_a_receipt_of_an_earlier_version_is_read(house: House) -> None:
    send(house)
    make_old(house)
    assert send(house).duplicate
    (name,) = [name for name, _ in house.state.scan_all(SPACE, receipt_name(key_of(house), ""))]
    assert b'"bytes"' not in (house.state.get(SPACE, name) or pytest.fail("gone")).value

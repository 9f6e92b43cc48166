"""The report on an installation: exact, from any process, and without a name of any home."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import msgspec
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from backends.ports import StoreUnavailable
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.house import House
from smarthouse_api.states.raw import raw_name
from smarthouse_api.states.uploads import Upload
from smarthouse_api.status.faults import Faults
from tests.collecting import SCHEMA, event, made
from tests.conftest import HOME, OTHER_HOME, house_of, payload, state
from tests.waiting import soon


def gauges(client: FlaskClient) -> dict[tuple[str, ...], float]:
    text = client.get("/metrics").text
    samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
    return {(one.name.removeprefix("smarthouse_"), *one.labels.values()): one.value for one in samples}


def upload(house: House, home: str, *values: str) -> None:
    house.states.uploads.receive(Upload(home, payload(*(state(value=value) for value in values))))


def test_it_tells_what_waits_and_what_the_lake_holds(house: House) -> None:
    upload(house, HOME, "1", "2")
    upload(house, OTHER_HOME, "3")
    before = house.status.report()
    assert (before.homes.known, before.waiting.uploads, before.tables) == (2, 2, {})
    assert before.waiting.uploads_since == pytest.approx(time.time(), abs=60)
    house.states.chores.flush()
    after = house.status.report()
    assert (after.waiting.uploads, after.waiting.uploads_since) == (0, None)
    assert (after.tables["states"].rows, after.tables["states"].files > 0) == (3, True)
    assert after.readiness.ready


def test_it_tells_which_homes_are_active_and_how_many_are_silent(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> tuple[int, ...]:
        return msgspec.structs.astuple(house.status.report().homes)

    upload(house, HOME, "1")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2 * 86400)
    assert told() == (1, 0, 1, 0)
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86400)
    assert told() == (1, 0, 0, 1)
    upload(house, OTHER_HOME, "2")
    house.forgetting.forget(HOME)
    assert told()[0] == 1


def test_it_tells_of_homes_that_wait_to_be_erased(make_house: Callable[..., House]) -> None:
    house = make_house(purge_delay_seconds=3600)
    upload(house, HOME, "1")
    house.forgetting.forget(HOME)
    waiting = house.status.report().waiting
    assert (waiting.erasing, house.status.report().homes.known) == (1, 0)
    assert waiting.erasing_since == pytest.approx(time.time(), abs=60)


def test_it_counts_what_is_stored_once_the_census_was_taken(house: House) -> None:
    upload(house, HOME, "1")
    assert house.status.report().storage is None
    for _ in range(100):  # one object a turn
        house.housekeeper.census.go_on(lambda: True)
    storage = house.status.report().storage
    assert storage is not None
    kept = sum(info.size_bytes for info in house.objects.list("raw/"))
    assert (storage.kinds["raw uploads"].objects, storage.kinds["raw uploads"].bytes) == (1, kept)
    assert storage.rows is not None
    assert (storage.rows.objects, storage.rows.bytes) == (0, 0)
    upload(house, OTHER_HOME, "2")
    house.housekeeper.census.go_on(lambda: False)
    again = house.status.report().storage
    assert again == storage, "it is taken once an hour"


def test_it_tells_who_works_and_what_went_wrong(house: House) -> None:
    house.watch.start()
    house.watch.look()
    (process,) = house.status.report().processes
    assert (process.kind, process.keeps_house) == ("api", False)


def test_it_tells_when_the_last_verification_ended_and_what_it_found(house: House) -> None:
    upload(house, HOME, "1")
    assert list(house.verifying.run(1, lambda *_: None)) == []
    last = house.status.report().milestones["verify"]
    assert last.figures == {"problems": 0, "percent": 100}
    assert last.at == pytest.approx(time.time(), abs=60)


def test_it_counts_dead_letters_and_topics_that_wait(client: FlaskClient) -> None:
    made(client, "meters", schema=SCHEMA, mode="strict", entry_topic="meters", public=True)
    for data in ({"value": 1}, {"value": "much"}, {"value": "more"}):
        assert client.post("/v2/data/in/meters", json=event(data, msgid=str(data))).status_code == 200
    house = house_of(client)
    assert (house.status.report().dead_letters, house.status.report().waiting.topics) == (2, 1)
    house.collections.chores.flush(house.collections.catalogue.find("meters"))
    assert house.status.report().waiting.topics == 0


def test_it_names_no_home(house: House) -> None:
    upload(house, HOME, "1")
    home = house.states.homes.find(HOME)
    assert home is not None
    text = msgspec.json.encode(house.status.report()).decode()
    assert HOME not in text
    assert home.key not in text
    assert json.loads(text)["homes"]["known"] == 1


def test_metrics_tell_the_same(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    house = house_of(client)
    upload(house, HOME, "1")
    faults = Faults(house.state)
    faults.emit(logging.LogRecord("smarthouse_api.x", logging.WARNING, "", 0, "a chore failed", (), None))
    faults.save()
    monkeypatch.setattr(house.objects, "free_bytes", lambda: None)
    told = gauges(client)
    assert told["last_fault_timestamp_seconds", "warning"] == pytest.approx(time.time(), abs=60)
    assert told["free_bytes_known", "objects"] == 0
    assert ("free_bytes", "objects") not in told
    assert told["quota_used_bytes", "home"] == told["uploads_kept_bytes",] > 0
    assert told["quota_bytes", "home"] == 10 << 30
    assert ("quota_bytes", "records") not in told
    assert (told["homes",], told["uploads_waiting",], told["ready",], told["stores_readable",]) == (1, 1, 1, 1)
    assert 0 <= told["uploads_waiting_seconds",] < 60


def test_metrics_of_an_outage_say_only_that(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(house_of(client).installation, "check", fail)
    told = gauges(client)
    assert told["stores_readable",] == 0
    assert ("homes",) not in told


def test_homes_that_the_state_has_lost_are_told(house: House) -> None:
    upload(house, HOME, "1")
    key, body = "0" * 32, b"[]"
    house.objects.put(raw_name(key, "1" * 32, 1_772_366_400_000_000, body, None), [body])

    def counted() -> str:
        house.leases.prolong("census", 0.001)
        soon(lambda: not house.state.get("leases", "claimed/census"))
        house.housekeeper.census.go_on(lambda: False)
        return house.health()[0]["homes"]

    assert counted().startswith("warning: the state store does not know 1 homes")
    house.forgetting.note([digest_of(key)])  # what a forgotten home's last upload has left is swept
    assert counted() == "all that have raw uploads are known"

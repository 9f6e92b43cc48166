"""What is uploaded: all that the recorder gives, once, in bodies that the service takes."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder.history import get_significant_states
from homeassistant.components.recorder.statistics import async_import_statistics
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.smarthouse import sending, upload
from custom_components.smarthouse.client import ServiceError
from tests.conftest import (
    HOME,
    NAMES_KEY,
    Service,
    Set,
    coordinator_of,
    entry_for,
    problem,
    set_up,
    states_sent,
    temperature_statistics,
)


async def test_all_that_the_recorder_gives_is_sent_once_and_scrubbed(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    began = dt_util.utcnow() - timedelta(minutes=1)
    for number in range(25):
        temperature(20 + number / 10)
    temperature(99, "sensor.maria_silva_temperature")
    hass.states.async_set("person.maria", "home", {"latitude": 41.149612})
    hass.states.async_set("text.note", "call 912345678")
    hass.states.async_set("sensor.zorbax", "Rua das Flores 12")
    await coordinator_of(entry).upload_now()

    (payload,) = service.payloads
    kitchen = payload["sensor.kitchen_temperature"]
    recorded = await hass.async_add_executor_job(
        lambda: get_significant_states(hass, began, None, ["sensor.kitchen_temperature"], None, False, False)
    )
    told = [(state.state, state.last_updated.isoformat()) for state in recorded["sensor.kitchen_temperature"]]
    sent = [(row["state"], dt_util.as_utc(dt_util.parse_datetime(row["last_updated"])).isoformat()) for row in kitchen]
    assert sent == told
    assert len(sent) == 25
    assert kitchen[0]["attributes"] == {"unit_of_measurement": "°C", "device_class": "temperature"}
    assert payload["sensor.x" + _token("zorbax")][0]["state"] == "redacted"
    words = json.dumps(payload, ensure_ascii=False)
    for planted in ("maria", "Maria", "41.149612", "91234", "Flores", "note", "zorbax", HOME):
        assert planted not in words

    await coordinator_of(entry).upload_now()
    assert len(service.distinct) == 27
    _, _, headers = service.requests[-1]
    assert headers["Home-UUID"] == HOME
    assert len({key for key, _ in service.uploads}) == len({body for _, body in service.uploads})


def _token(word: str) -> str:

    return hmac.new(bytes.fromhex(NAMES_KEY), word.encode(), hashlib.sha256).hexdigest()[:10]


async def test_a_body_that_is_too_large_is_halved(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_FEWEST", 4)
    service.most_rows = 3
    for number in range(20):
        temperature(number)
    await coordinator_of(entry).upload_now()
    assert states_sent(service) == [str(number) for number in range(20)]
    assert max(sum(map(len, payload.values())) for payload in service.payloads) <= 3
    service.most_rows = 0
    service.requests.clear()
    for number in range(20, 40):
        temperature(number)
    with pytest.raises(ServiceError, match="too_large"):
        await coordinator_of(entry).upload_now()
    # It begins with the size that was taken before, and that is too small to be halved.
    assert [method for method, *_ in service.requests].count("POST") == 1


async def test_a_break_in_the_middle_goes_on_where_it_was(
    hass: HomeAssistant, service: Service, temperature: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custom_components.smarthouse.upload.ROWS", 4)
    monkeypatch.setattr("custom_components.smarthouse.upload._GROUP", 2)
    entry = await set_up(hass, entry_for(service))
    for number in range(5):
        for room in ("attic", "bathroom", "cellar", "kitchen", "office"):
            temperature(number, f"sensor.{room}_temperature")
    await async_wait_recording_done(hass)
    service.faults = []
    coordinator = coordinator_of(entry)
    send = coordinator.client.upload
    sent = []

    async def third_fails(body: bytes, key: str) -> Any:
        sent.append(key)
        if len(sent) == 3:
            service.faults = [problem(503)]
        return await send(body, key)

    monkeypatch.setattr(coordinator.client, "upload", third_fails)
    with pytest.raises(ServiceError):
        await coordinator.upload_now()
    assert coordinator.progress.window is not None
    begun = (coordinator.progress.window.start, coordinator.progress.window.end)

    # As after a crash: another process reads what is on the disk.
    await hass.config_entries.async_reload(entry.entry_id)
    coordinator = coordinator_of(entry)
    assert coordinator.progress.window is not None
    assert (coordinator.progress.window.start, coordinator.progress.window.end) == begun
    await coordinator.upload_now()
    for room in ("attic", "bathroom", "cellar", "kitchen", "office"):
        assert states_sent(service, f"sensor.{room}_temperature") == ["0", "1", "2", "3", "4"]


async def test_an_entity_that_is_removed_loses_no_row(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    temperature(1)
    await coordinator_of(entry).upload_now()
    temperature(2)
    hass.states.async_remove("sensor.kitchen_temperature")
    await coordinator_of(entry).upload_now()
    assert states_sent(service) == ["1", "2"]


async def test_an_entity_that_came_and_went_between_uploads_loses_no_row(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    await coordinator_of(entry).upload_now()
    temperature(1)
    hass.states.async_set("person.maria", "home")
    await hass.async_block_till_done()
    hass.states.async_remove("sensor.kitchen_temperature")
    await hass.config_entries.async_reload(entry.entry_id)
    coordinator_of(entry).retries.cancel()
    await coordinator_of(entry).upload_now()
    assert {row["entity_id"] for row in service.rows} == {"sensor.kitchen_temperature"}
    assert coordinator_of(entry).progress.known == []


async def test_the_past_is_brought_along(hass: HomeAssistant, service: Service, temperature: Set) -> None:
    temperature(1)
    await async_wait_recording_done(hass)
    nothing = await set_up(hass, entry_for(service))
    await coordinator_of(nothing).upload_now()
    recorded = states_sent(service)
    await hass.config_entries.async_remove(nothing.entry_id)
    again = await set_up(hass, entry_for(service, past="recorded"))
    await coordinator_of(again).upload_now()
    assert states_sent(service) == ["1"]
    assert recorded == []


async def test_what_was_removed_before_is_sent_with_the_past(hass: HomeAssistant, service: Service, temperature: Set) -> None:
    registry = er.async_get(hass)
    attic = registry.async_get_or_create("sensor", "demo", "attic", suggested_object_id="attic_temperature").entity_id
    for entity_id in (attic, "sensor.cellar_temperature", "sensor.kitchen_temperature"):
        temperature(5, entity_id)
    await async_wait_recording_done(hass)
    registry.async_remove(attic)
    hass.states.async_remove(attic)
    async_import_statistics(hass, temperature_statistics("sensor.cellar_temperature"), [])
    hass.states.async_remove("sensor.cellar_temperature")
    await async_wait_recording_done(hass)

    # Where a removed entity was is not known any more, and something of an area is left out here.
    area = ar.async_get(hass).async_create("Somewhere")
    entry = await set_up(hass, entry_for(service, past="recorded", areas=[area.id]))
    assert await _previewed(entry) == {"sensor.kitchen_temperature"}
    hass.config_entries.async_update_entry(entry, options={**entry.options, "areas": []})
    assert await _previewed(entry) == {attic, "sensor.cellar_temperature", "sensor.kitchen_temperature"}
    await coordinator_of(entry).upload_now()
    for entity_id in (attic, "sensor.cellar_temperature", "sensor.kitchen_temperature"):
        assert states_sent(service, entity_id) == ["5"]
    assert coordinator_of(entry).progress.known == ["sensor.kitchen_temperature"]

    # The service has lost it all.
    service.uploads.clear()
    coordinator_of(entry).send_again()
    await hass.async_block_till_done(wait_background_tasks=True)
    assert states_sent(service, attic) == states_sent(service, "sensor.cellar_temperature") == ["5"]


async def _previewed(entry: MockConfigEntry) -> set[str]:
    chunk = await coordinator_of(entry).preview()
    assert chunk is not None
    return {row.entity_id for row in chunk.rows}


async def test_entities_are_read_fifty_at_a_time_and_share_bodies(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    read = upload.read_states

    def watched(*arguments: Any) -> Any:
        nonlocal largest
        rows = read(*arguments)
        largest = max(largest, len(arguments[3]))
        return rows

    monkeypatch.setattr(upload, "read_states", watched)
    monkeypatch.setattr(upload, "ROWS", 200)
    for number in range(300):
        temperature(number, f"sensor.power_{number}")
    await coordinator_of(entry).upload_now()
    assert len(service.distinct) == 300
    assert largest == 50
    assert [sum(map(len, payload.values())) for payload in service.payloads] == [200, 100]


@pytest.mark.parametrize("is_taken", [False, True], ids=["its rows are moved", "another had the new id"])
async def test_an_entity_that_is_renamed_has_each_row_once(
    hass: HomeAssistant, service: Service, temperature: Set, freezer: FrozenDateTimeFactory, is_taken: bool
) -> None:
    freezer.move_to("2026-11-01T12:00:00+00:00")
    entry = await set_up(hass, entry_for(service))
    old, new, again = "sensor.kitchen_temperature", "sensor.attic_temperature", "sensor.cellar_temperature"
    registry = er.async_get(hass)
    if is_taken:  # by an entity that is gone
        temperature(0, new)
        hass.states.async_remove(new)
    registered = registry.async_get_or_create("sensor", "demo", "1", suggested_object_id="kitchen_temperature").entity_id
    assert registered == old
    expected = {(new, "0")} if is_taken else set()
    for number, (before, after) in enumerate([(old, new), (new, again), (again, old)], start=1):
        freezer.tick(5)
        temperature(number, before)
        expected.add((before, str(number)))
        await coordinator_of(entry).upload_now()
        freezer.tick(1)
        temperature(number + 10, before)
        expected.add((before, str(number + 10)))
        freezer.tick(1)
        registry.async_update_entity(before, new_entity_id=after)
        hass.states.async_remove(before)
        freezer.tick(1)
        temperature(number + 20, after)
        expected.add((after, str(number + 20)))
        freezer.tick(1)
        await coordinator_of(entry).upload_now()
        await hass.config_entries.async_reload(entry.entry_id)
        entry.runtime_data.retries.cancel()
    assert sorted((row["entity_id"], row["state"]) for row in map(json.loads, service.distinct)) == sorted(expected)
    # All of it once more is the same rows.
    coordinator_of(entry).send_again()
    await hass.async_block_till_done(wait_background_tasks=True)
    assert sorted((row["entity_id"], row["state"]) for row in map(json.loads, service.distinct)) == sorted(expected)


async def test_an_entity_that_is_renamed_during_an_upload_loses_no_row(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "ROWS", 2)
    monkeypatch.setattr(upload, "_GROUP", 1)
    registry = er.async_get(hass)
    office = registry.async_get_or_create("sensor", "demo", "1", suggested_object_id="office_temperature").entity_id
    for room in ("bathroom", "kitchen", "office"):
        for number in range(4):
            temperature(number, f"sensor.{room}_temperature")
    await async_wait_recording_done(hass)
    send, sent = coordinator_of(entry).client.upload, 0

    async def renames(body: bytes, key: str) -> Any:
        nonlocal sent
        sent += 1
        if sent == 4:
            registry.async_update_entity(office, new_entity_id="sensor.attic_temperature")
            hass.states.async_remove(office)
            await async_wait_recording_done(hass)
        return await send(body, key)

    monkeypatch.setattr(coordinator_of(entry).client, "upload", renames)
    await coordinator_of(entry).upload_now()
    for room in ("bathroom", "kitchen", "office"):
        assert states_sent(service, f"sensor.{room}_temperature") == ["0", "1", "2", "3"]
    assert states_sent(service, "sensor.attic_temperature") == []

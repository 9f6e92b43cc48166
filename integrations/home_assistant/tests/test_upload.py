"""What is uploaded, and that nothing is lost, whatever the service answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder.history import get_significant_states
from homeassistant.components.recorder.statistics import async_import_statistics
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.smarthouse.client import Fault, ServiceError
from custom_components.smarthouse.coordinator import SmartHouseCoordinator
from tests.conftest import HOME, Answer, Service, entry_for, fails, hang, problem, reset, set_up, temperature_statistics

Set = Callable[..., None]


def coordinator_of(entry: MockConfigEntry) -> SmartHouseCoordinator:
    coordinator: SmartHouseCoordinator = entry.runtime_data
    return coordinator


def states_sent(service: Service, entity_id: str = "sensor.kitchen_temperature") -> list[str]:
    """The different rows of an entity, in the order of their times."""
    rows = [json.loads(row) for row in service.distinct]
    return [row["state"] for row in sorted(rows, key=lambda row: row["last_updated"]) if row["entity_id"] == entity_id]


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
    import hashlib
    import hmac

    from tests.conftest import NAMES_KEY

    return hmac.new(bytes.fromhex(NAMES_KEY), word.encode(), hashlib.sha256).hexdigest()[:10]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (problem(400), Fault.REJECTED),
        (problem(401), Fault.KEY_NEEDED),
        (problem(403, title="Consent is required"), Fault.CONSENT),
        (problem(410), Fault.OBJECTED),
        (problem(429, **{"Retry-After": "900"}), Fault.BUSY),
        (problem(503, **{"Retry-After": "5"}), Fault.UNAVAILABLE),
        (problem(500), Fault.UNAVAILABLE),
        (problem(404), Fault.NOT_SMARTHOUSE),
        (reset, Fault.BROKEN),
        (hang, Fault.TIMEOUT),
    ],
)
async def test_the_mark_stays_until_a_200(
    hass: HomeAssistant,
    service: Service,
    entry: MockConfigEntry,
    temperature: Set,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    fault: Fault,
) -> None:
    if answer is hang:
        monkeypatch.setattr("custom_components.smarthouse.client._TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    coordinator = coordinator_of(entry)
    mark = coordinator.progress.mark
    temperature(20)
    service.faults = [answer]
    with pytest.raises(ServiceError) as caught:
        await coordinator.upload_now()
    assert caught.value.fault == fault
    saved = await coordinator.store.load()
    assert saved is not None
    assert (saved.mark, saved.fault) == (mark, str(fault))
    assert (coordinator.data.fault, coordinator.data.last_upload) == (str(fault), None)
    monkeypatch.undo()
    await coordinator.upload_now()
    assert states_sent(service) == ["20"]
    assert (coordinator.data.fault, coordinator.data.waiting) == (None, 0)
    assert coordinator.progress.mark > mark


async def test_a_fault_is_tried_again_when_the_service_asks_for_it(
    hass: HomeAssistant, service: Service, temperature: Set, freezer: FrozenDateTimeFactory
) -> None:
    entry = await set_up(hass, entry_for(service))
    temperature(20)
    freezer.tick(1)
    service.faults = [problem(429, **{"Retry-After": "900"})]
    with pytest.raises(ServiceError):
        await coordinator_of(entry).upload_now()
    freezer.tick(890)
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)
    assert service.uploads == []
    freezer.tick(30)
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)
    assert states_sent(service) == ["20"]


async def test_a_body_that_is_too_large_is_halved(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    service.most_rows = 3
    for number in range(20):
        temperature(number)
    await coordinator_of(entry).upload_now()
    assert states_sent(service) == [str(number) for number in range(20)]
    assert max(sum(map(len, payload.values())) for payload in service.payloads) <= 3
    service.most_rows = 0
    temperature(21)
    with pytest.raises(ServiceError, match="too_large"):
        await coordinator_of(entry).upload_now()


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


async def test_an_outage_of_weeks_is_caught_up_in_order(
    hass: HomeAssistant, service: Service, temperature: Set, freezer: FrozenDateTimeFactory
) -> None:
    entry = await set_up(hass, entry_for(service))
    coordinator = coordinator_of(entry)
    service.down = problem(503)
    for day in range(30):
        temperature(day)
        freezer.tick(86400)
        if day % 10 == 0:
            await fails(entry)
    service.down = None
    await async_wait_recording_done(hass)
    await coordinator.upload_now()
    assert states_sent(service) == [str(day) for day in range(30)]
    order = [row["last_updated"] for payload in service.payloads for rows in payload.values() for row in rows]
    assert order == sorted(order)
    assert coordinator.data.waiting == 0


async def test_a_week_with_restarts_an_outage_and_the_end_of_daylight_saving(
    hass: HomeAssistant, service: Service, temperature: Set, freezer: FrozenDateTimeFactory
) -> None:
    await hass.config.async_set_time_zone("Europe/Lisbon")
    freezer.move_to("2026-10-22T12:00:00+00:00")
    entry = await set_up(hass, entry_for(service))
    faults = [problem(400), problem(413), problem(429), problem(503), reset]
    for hour in range(0, 7 * 24, 4):
        temperature(hour)
        hass.states.async_set("light.kitchen", "on" if hour % 8 else "off")
        freezer.tick(4 * 3600)
        service.down = faults[hour // 4 % len(faults)] if 48 <= hour < 96 else None
        if hour % 24 == 0:
            await (fails(entry) if service.down else entry.runtime_data.upload_now())
        if hour in (60, 120):
            await hass.config_entries.async_reload(entry.entry_id)
            entry.runtime_data._cancel_retry()
    await entry.runtime_data.upload_now()
    assert states_sent(service) == [str(hour) for hour in range(0, 7 * 24, 4)]
    assert len(states_sent(service, "light.kitchen")) == 42


async def test_a_clock_that_is_set_back_loses_nothing(
    hass: HomeAssistant, service: Service, temperature: Set, freezer: FrozenDateTimeFactory
) -> None:
    temperature(0)
    await async_wait_recording_done(hass)
    freezer.tick(7200)
    entry = await set_up(hass, entry_for(service))
    temperature(1)
    freezer.tick(60)
    await async_wait_recording_done(hass)
    await coordinator_of(entry).upload_now()
    await hass.config_entries.async_unload(entry.entry_id)
    freezer.tick(-7080)  # soon after what was recorded before the home joined
    await hass.config_entries.async_setup(entry.entry_id)
    temperature(2)
    freezer.tick(60)
    await async_wait_recording_done(hass)
    await coordinator_of(entry).upload_now()
    assert set(states_sent(service)) == {"1", "2"}


async def test_the_clock_of_the_home_is_told_on_both_sides_of_daylight_saving(
    hass: HomeAssistant, service: Service, temperature: Set, freezer: FrozenDateTimeFactory
) -> None:
    await hass.config.async_set_time_zone("Europe/Lisbon")
    freezer.move_to("2026-10-25T00:30:00+00:00")
    entry = await set_up(hass, entry_for(service))
    for hour in range(3):
        temperature(hour)
        freezer.tick(3600)
    await async_wait_recording_done(hass)
    await coordinator_of(entry).upload_now()
    rows = sorted(service.rows, key=lambda row: dt_util.parse_datetime(row["last_updated"]))
    assert [row["last_updated"][11:16] + row["last_updated"][-6:] for row in rows] == [
        "01:30+01:00",
        "01:30+00:00",
        "02:30+00:00",
    ]


async def test_what_the_owner_leaves_out_stays(hass: HomeAssistant, service: Service, temperature: Set) -> None:
    from homeassistant.helpers import label_registry as lr

    area = ar.async_get(hass).async_create("Bedroom")
    label = lr.async_get(hass).async_create("Private")
    registry = er.async_get(hass)
    in_area = registry.async_get_or_create("sensor", "demo", "1", suggested_object_id="bedroom_temperature")
    registry.async_update_entity(in_area.entity_id, area_id=area.id)
    labelled = registry.async_get_or_create("sensor", "demo", "2", suggested_object_id="office_temperature")
    registry.async_update_entity(labelled.entity_id, labels={label.label_id})
    options = {"areas": [area.id], "labels": [label.label_id], "entities": ["sensor.attic_temperature"], "domains": ["light"]}
    entry = await set_up(hass, entry_for(service, **options))
    for room in ("bedroom", "office", "attic", "kitchen"):
        temperature(20, f"sensor.{room}_temperature")
    hass.states.async_set("light.kitchen", "on")
    hass.states.async_set("person.maria", "Rua das Flores")
    await coordinator_of(entry).upload_now()
    sent = set(service.payloads[0])
    assert "sensor.kitchen_temperature" in sent
    assert {entity_id.partition(".")[0] for entity_id in sent} == {"sensor", "person"}
    assert not {"sensor.bedroom_temperature", "sensor.office_temperature", "sensor.attic_temperature"} & sent
    assert [row["state"] for row in service.rows if row["entity_id"].startswith("person.")] == ["not_home"]


async def test_an_entity_that_is_removed_loses_no_row(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    temperature(1)
    await coordinator_of(entry).upload_now()
    temperature(2)
    hass.states.async_remove("sensor.kitchen_temperature")
    await coordinator_of(entry).upload_now()
    assert states_sent(service) == ["1", "2"]


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


async def test_entities_are_read_fifty_at_a_time_and_share_bodies(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    from custom_components.smarthouse import upload

    largest = 0
    read = upload.read_states

    def watched(*arguments: Any) -> Any:
        nonlocal largest
        rows = read(*arguments)
        largest = max(largest, len(arguments[2]))
        return rows

    monkeypatch.setattr(upload, "read_states", watched)
    monkeypatch.setattr(upload, "ROWS", 200)
    for number in range(300):
        temperature(number, f"sensor.power_{number}")
    await coordinator_of(entry).upload_now()
    assert len(service.distinct) == 300
    assert largest == 50
    assert [sum(map(len, payload.values())) for payload in service.payloads] == [200, 100]


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


async def test_forgetting_does_not_wait_for_all_that_is_to_be_uploaded(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custom_components.smarthouse.upload.ROWS", 2)
    coordinator = coordinator_of(entry)
    for number in range(20):
        temperature(number)
    began, may_end = asyncio.Event(), asyncio.Event()
    send = coordinator.client.upload

    async def slow(body: bytes, key: str) -> Any:
        began.set()
        await may_end.wait()
        return await send(body, key)

    monkeypatch.setattr(coordinator.client, "upload", slow)
    upload = hass.async_create_task(coordinator.upload_now())
    await began.wait()
    assert await coordinator.preview() is not None
    forgetting = hass.async_create_task(coordinator.forget(stop=False))
    await asyncio.sleep(0)
    may_end.set()
    await forgetting
    await upload
    assert [method for method, *_ in service.requests] == ["POST", "DELETE"]


async def test_an_upload_goes_on_if_the_home_cannot_be_forgotten(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    service.faults = [problem(503)]
    with pytest.raises(ServiceError):
        await coordinator_of(entry).forget(stop=False)
    assert coordinator_of(entry)._retry is not None
    coordinator_of(entry)._cancel_retry()


async def test_a_clock_that_is_set_back_during_an_upload_loses_nothing(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = coordinator_of(entry)
    temperature(1)
    send = coordinator.client.upload

    async def set_back(body: bytes, key: str) -> Any:
        monkeypatch.undo()
        before = dt_util.utcnow().timestamp() - 3600
        told = {"unit_of_measurement": "°C", "device_class": "temperature"}
        hass.states.async_set("sensor.kitchen_temperature", "2", told, timestamp=before)
        coordinator._uploader.rewind(before)
        return await send(body, key)

    monkeypatch.setattr(coordinator.client, "upload", set_back)
    await coordinator.upload_now()
    assert set(states_sent(service)) == {"1", "2"}
    assert coordinator.data.last_upload is not None


async def test_a_fault_of_the_recorder_is_shown_and_tried_again(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("malformed database")

    monkeypatch.setattr("custom_components.smarthouse.upload.read_states", broken)
    temperature(1)
    with pytest.raises(ServiceError, match="internal"):
        await coordinator_of(entry).upload_now()
    assert coordinator_of(entry).data.fault == "internal"
    assert coordinator_of(entry)._retry is not None
    monkeypatch.undo()
    await coordinator_of(entry).upload_now()
    assert states_sent(service) == ["1"]


async def test_an_entity_that_came_and_went_between_uploads_loses_no_row(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    await coordinator_of(entry).upload_now()
    temperature(1)
    hass.states.async_set("person.maria", "home")
    await hass.async_block_till_done()
    hass.states.async_remove("sensor.kitchen_temperature")
    await hass.config_entries.async_reload(entry.entry_id)
    coordinator_of(entry)._cancel_retry()
    await coordinator_of(entry).upload_now()
    assert {row["entity_id"] for row in service.rows} == {"sensor.kitchen_temperature"}
    assert coordinator_of(entry).progress.known == []


async def test_the_schedule_waits_as_long_as_the_service_asks(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    temperature(1)
    service.faults = [problem(503, **{"Retry-After": "900"})]
    with pytest.raises(ServiceError):
        await coordinator_of(entry).upload_now()
    coordinator_of(entry)._on_time(dt_util.utcnow())
    await hass.async_block_till_done(wait_background_tasks=True)
    assert service.uploads == []
    coordinator_of(entry)._cancel_retry()
    coordinator_of(entry)._on_time(dt_util.utcnow())
    await hass.async_block_till_done(wait_background_tasks=True)
    assert len(service.uploads) == 1


@pytest.mark.parametrize("platform", ["proximity", "mobile_app", "withings"])
async def test_what_tells_of_persons_is_never_sent(
    hass: HomeAssistant, service: Service, temperature: Set, platform: str
) -> None:
    registry = er.async_get(hass)
    of_person = [
        registry.async_get_or_create("sensor", platform, str(number), suggested_object_id=f"kitchen_{number}").entity_id
        for number in (1, 2)
    ]
    for entity_id in (*of_person, "sensor.kitchen_temperature"):
        temperature(5, entity_id)
    await async_wait_recording_done(hass)
    registry.async_remove(of_person[0])
    hass.states.async_remove(of_person[0])
    entry = await set_up(hass, entry_for(service, past="recorded"))
    temperature(6, of_person[1])
    await coordinator_of(entry).upload_now()
    assert {row["entity_id"] for row in service.rows} == {"sensor.kitchen_temperature"}


async def test_an_upload_that_was_broken_off_is_tried_soon_after_a_start(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    await coordinator_of(entry).upload_now()
    await hass.config_entries.async_reload(entry.entry_id)
    assert coordinator_of(entry)._retry is None
    temperature(1)
    service.faults = [problem(503)]
    await fails(entry)
    await hass.config_entries.async_reload(entry.entry_id)
    assert coordinator_of(entry)._retry is not None
    coordinator_of(entry)._cancel_retry()

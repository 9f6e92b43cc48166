"""Nothing is lost, whatever the service answers, and it is tried again when that makes sense."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.smarthouse.client import Fault, ServiceError
from custom_components.smarthouse.const import DOMAIN
from tests.conftest import (
    Answer,
    Service,
    Set,
    coordinator_of,
    entry_for,
    fails,
    hang,
    problem,
    reset,
    set_up,
    states_sent,
)


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
    coordinator_of(entry).retries.cancel()
    coordinator_of(entry)._on_time(dt_util.utcnow())
    await hass.async_block_till_done(wait_background_tasks=True)
    assert len(service.uploads) == 1


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


async def test_an_upload_that_was_broken_off_is_tried_soon_after_a_start(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Set
) -> None:
    await coordinator_of(entry).upload_now()
    await hass.config_entries.async_reload(entry.entry_id)
    assert not coordinator_of(entry).retries.is_pending
    temperature(1)
    service.faults = [problem(503)]
    await fails(entry)
    await hass.config_entries.async_reload(entry.entry_id)
    assert coordinator_of(entry).retries.is_pending
    coordinator_of(entry).retries.cancel()


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
    assert coordinator_of(entry).retries.is_pending
    monkeypatch.undo()
    await coordinator_of(entry).upload_now()
    assert states_sent(service) == ["1"]


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
    assert coordinator_of(entry).retries.is_pending
    coordinator_of(entry).retries.cancel()


@pytest.mark.parametrize(
    "refusal",
    [
        problem(413, "It keeps 10 bytes of one home", "The home's quota is reached"),
        problem(413, "The service keeps at most 10 bytes of uploads of one home", "Request Entity Too Large"),
    ],
    ids=["by its title", "by the words of an older service"],
)
async def test_a_quota_is_told_once_and_tried_once_a_day(
    hass: HomeAssistant, service: Service, temperature: Set, freezer: FrozenDateTimeFactory, refusal: Answer
) -> None:
    entry = await set_up(hass, entry_for(service, pace="hourly"))
    for number in range(300):
        temperature(number)
    freezer.tick(1)
    service.down = refusal
    with pytest.raises(ServiceError, match="quota"):
        await coordinator_of(entry).upload_now()
    told = ir.async_get(hass).async_get_issue(DOMAIN, f"quota_{entry.entry_id}")
    assert told is not None
    assert told.translation_placeholders is not None
    assert "10 bytes" in told.translation_placeholders["detail"]
    for hours in (1, 22):
        freezer.tick(timedelta(hours=hours))
        async_fire_time_changed(hass)
        await hass.async_block_till_done(wait_background_tasks=True)
    assert [method for method, *_ in service.requests] == ["POST"]
    service.down = None
    freezer.tick(timedelta(hours=1, minutes=1))
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)
    assert len(states_sent(service)) == 300
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"quota_{entry.entry_id}") is None

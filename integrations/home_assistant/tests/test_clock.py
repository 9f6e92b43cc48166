"""Clocks: the end of daylight saving time, and a clock that is set back."""

from __future__ import annotations

from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from tests.conftest import (
    Service,
    Set,
    coordinator_of,
    entry_for,
    fails,
    problem,
    reset,
    set_up,
    states_sent,
)


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
            entry.runtime_data.retries.cancel()
    await entry.runtime_data.upload_now()
    assert states_sent(service) == [str(hour) for hour in range(0, 7 * 24, 4)]
    assert len(states_sent(service, "light.kitchen")) == 42


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

"""Long-term statistics: brought once, from the oldest on, and gone on with after a break."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from homeassistant.components.recorder.statistics import async_import_statistics
from homeassistant.core import HomeAssistant
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from tests.conftest import Service, entry_for, fails, problem, set_up, temperature_statistics

BEGIN = datetime(2019, 5, 1, tzinfo=UTC)
ROOMS = ("attic", "cellar", "kitchen")


async def with_years(hass: HomeAssistant, service: Service, temperature: Any) -> MockConfigEntry:
    """A home with three hours in 2019, and three five years later, of each room and of a sensor that is left out."""
    for room in (*ROOMS, "office"):
        entity_id = f"sensor.{room}_temperature"
        temperature(20, entity_id)
        hours = [BEGIN + timedelta(hours=hour) for hour in (0, 1, 2, 50_000, 50_001, 50_002)]
        told: Any = [{"start": hour, "mean": float(number), "min": 0.0, "max": 9.0} for number, hour in enumerate(hours)]
        async_import_statistics(hass, temperature_statistics(entity_id), told)
    await async_wait_recording_done(hass)
    return await set_up(hass, entry_for(service, past="statistics", entities=["sensor.office_temperature"]))


async def test_statistics_are_brought_once_and_gone_on_with(
    hass: HomeAssistant, service: Service, temperature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custom_components.smarthouse.upload.ROWS", 5)
    entry = await with_years(hass, service, temperature)
    coordinator, sent = entry.runtime_data, 0
    upload = coordinator.client.upload

    async def fourth_fails(body: bytes, key: str) -> Any:
        nonlocal sent
        sent += 1
        if sent == 4:
            service.faults = [problem(503)]
        return await upload(body, key)

    monkeypatch.setattr(coordinator.client, "upload", fourth_fails)
    await fails(entry)
    assert coordinator.progress.backfill is not None
    assert coordinator.progress.backfill.after == "sensor.attic_temperature"
    await hass.config_entries.async_reload(entry.entry_id)
    await entry.runtime_data.upload_now()
    assert entry.runtime_data.progress.backfill is None

    entries = [(entity, row) for payload in service.payloads for entity in payload for row in payload[entity]]
    rows = {(entity, row["start"]): row for entity, row in entries if "start" in row}
    assert sorted(rows) == sorted(
        (f"sensor.{room}_temperature", int((BEGIN + timedelta(hours=hour)).timestamp() * 1000))
        for room in ROOMS
        for hour in (0, 1, 2, 50_000, 50_001, 50_002)
    )
    assert rows["sensor.attic_temperature", int(BEGIN.timestamp() * 1000)] == {
        "start": int(BEGIN.timestamp() * 1000),
        "end": int(BEGIN.timestamp() * 1000) + 3_600_000,
        "mean": 0.0,
        "min": 0.0,
        "max": 9.0,
        "unit_of_measurement": "°C",
    }

    service.uploads.clear()
    await entry.runtime_data.upload_now()
    assert [row for row in service.rows if "start" in row] == []

"""A service that has lost what it took."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.recorder.statistics import async_import_statistics
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.smarthouse.const import DOMAIN
from tests.conftest import Service, entry_for, fails, problem, set_up, states_sent, temperature_statistics


async def test_what_a_service_has_lost_is_sent_again(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Any
) -> None:
    temperature(20)
    await entry.runtime_data.upload_now()
    began = service.rows
    issues, lost = ir.async_get(hass), f"lost_{entry.entry_id}"
    await entry.runtime_data.upload_now()
    service.requests.clear()
    await entry.runtime_data.upload_now()
    assert [method for method, *_ in service.requests if method == "GET"] == []  # it was asked just now
    assert issues.async_get_issue(DOMAIN, lost) is None
    service.down = problem(503)
    temperature(21)
    await fails(entry)
    service.down = None
    service.uploads.clear()
    await entry.runtime_data.upload_now()
    told = issues.async_get_issue(DOMAIN, lost)
    assert told is not None
    assert told.is_persistent
    began += service.rows
    service.uploads.clear()
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "again"})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {})
    await hass.async_block_till_done(wait_background_tasks=True)
    assert flow["type"] is FlowResultType.CREATE_ENTRY
    assert {json.dumps(row) for row in began} <= {json.dumps(row) for row in service.rows}
    assert issues.async_get_issue(DOMAIN, lost) is None
    assert entry.runtime_data.progress.began == pytest.approx(entry.runtime_data.progress.mark, abs=60)


async def _with_days(
    hass: HomeAssistant, service: Service, temperature: Any, freezer: FrozenDateTimeFactory, **options: Any
) -> MockConfigEntry:
    """A home that has uploaded four days, each in a body of its own, with an entity that was removed on the third."""
    freezer.move_to("2026-11-01T12:00:00+00:00")
    entry = await set_up(hass, entry_for(service, **options))
    for day in range(4):
        temperature(day)
        if day == 2:
            registry = er.async_get(hass)
            attic = registry.async_get_or_create("sensor", "demo", "1", suggested_object_id="attic_temperature").entity_id
            temperature(day, attic)
            await hass.async_block_till_done()
            registry.async_remove(attic)
            hass.states.async_remove(attic)
        freezer.tick(timedelta(hours=23))
        await entry.runtime_data.upload_now()
        entry.runtime_data._uploader.losses._look_from = 0.0  # the clock of the next day
    return entry


async def test_a_service_that_was_restored_without_its_last_days_is_sent_them_again(
    hass: HomeAssistant, service: Service, temperature: Any, freezer: FrozenDateTimeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    entry = await _with_days(hass, service, temperature, freezer)
    before = service.distinct
    assert (len(service.uploads), states_sent(service)) == (4, ["0", "1", "2", "3"])
    await entry.runtime_data.upload_now()  # a look at a service that is well
    assert len(service.uploads) == 4
    del service.uploads[2:]
    service.expired = 1  # what expires is not lost
    temperature(4)
    freezer.tick(60)
    # A restart in between changes nothing: what was seen is on the disk.
    await hass.config_entries.async_reload(entry.entry_id)
    entry.runtime_data.retries.cancel()
    await entry.runtime_data.upload_now()
    assert states_sent(service) == ["0", "1", "2", "3", "4"]
    assert before <= service.distinct
    assert states_sent(service, "sensor.attic_temperature") == ["2"]
    assert "lost 2 uploads" in caplog.text
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"lost_{entry.entry_id}") is None
    # The first day is not sent again, and nothing more with the next look.
    assert [row["state"] for row in service.rows].count("0") == 1
    bodies = len(service.uploads)
    entry.runtime_data._uploader.losses._look_from = 0.0
    await entry.runtime_data.upload_now()
    assert caplog.text.count("has lost") == 1
    assert len(service.uploads) <= bodies + 1


async def test_uploads_after_the_restore_do_not_hide_what_was_lost(
    hass: HomeAssistant, service: Service, temperature: Any, freezer: FrozenDateTimeFactory
) -> None:
    entry = await _with_days(hass, service, temperature, freezer)
    await entry.runtime_data.upload_now()
    del service.uploads[3:]
    temperature(4)
    freezer.tick(60)
    await entry.runtime_data.upload_now()  # it asked just now, and does not look
    assert states_sent(service) == ["0", "1", "2", "4"]
    temperature(5)
    freezer.tick(60)
    entry.runtime_data._uploader.losses._look_from = 0.0
    await entry.runtime_data.upload_now()
    assert states_sent(service) == ["0", "1", "2", "3", "4", "5"]


async def test_a_home_that_somebody_had_erased_is_not_sent_again_by_itself(
    hass: HomeAssistant, service: Service, temperature: Any, freezer: FrozenDateTimeFactory
) -> None:
    entry = await _with_days(hass, service, temperature, freezer)
    await entry.runtime_data.upload_now()
    service.uploads.clear()
    temperature(4)
    freezer.tick(60)
    await entry.runtime_data.upload_now()
    service.first = "2026-12-04T03:00:00Z"
    entry.runtime_data._uploader.losses._look_from = 0.0
    await entry.runtime_data.upload_now()
    assert states_sent(service) == ["4"]
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"lost_{entry.entry_id}") is not None


async def test_statistics_that_were_lost_are_sent_again(
    hass: HomeAssistant, service: Service, temperature: Any, freezer: FrozenDateTimeFactory
) -> None:
    freezer.move_to("2026-11-01T12:00:00+00:00")
    temperature(1)
    await async_wait_recording_done(hass)
    hour = {"start": datetime(2024, 5, 1, tzinfo=UTC), "mean": 7.0, "min": 7.0, "max": 7.0}
    async_import_statistics(hass, temperature_statistics("sensor.kitchen_temperature"), [hour])
    await async_wait_recording_done(hass)
    freezer.tick(60)
    entry = await set_up(hass, entry_for(service, past="statistics"))
    await entry.runtime_data.upload_now()
    assert [row["mean"] for row in service.rows if "mean" in row] == [7.0]
    entry.runtime_data._uploader.losses._look_from = 0.0
    await entry.runtime_data.upload_now()
    service.uploads.pop()
    entry.runtime_data._uploader.losses._look_from = 0.0
    service.down = problem(503)
    temperature(2)
    freezer.tick(60)
    await fails(entry)
    service.down = None
    await entry.runtime_data.upload_now()
    assert [row["mean"] for row in service.rows if "mean" in row] == [7.0]
    assert {row["state"] for row in service.rows if "state" in row} == {"1", "2"}

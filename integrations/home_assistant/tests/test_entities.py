"""What the owner sees: sensors, buttons, repairs, diagnostics, the preview."""

from __future__ import annotations

import json
import zlib
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.components.repairs import RepairsFlow
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry, async_fire_time_changed

from custom_components.smarthouse.client import ServiceError
from custom_components.smarthouse.const import DOMAIN
from custom_components.smarthouse.diagnostics import async_get_config_entry_diagnostics
from custom_components.smarthouse.repairs import async_create_fix_flow
from tests.conftest import HOME, NAMES_KEY, RECEIPT, Service, entry_for, fails, problem, set_up


async def press(hass: HomeAssistant, name: str) -> None:
    await hass.services.async_call("button", "press", {"entity_id": f"button.smarthouse_{name}"}, blocking=True)


async def dialogue(hass: HomeAssistant, issue_id: str) -> RepairsFlow:
    issue = ir.async_get(hass).async_get_issue(DOMAIN, issue_id)
    assert issue is not None
    assert issue.is_fixable
    flow = await async_create_fix_flow(hass, issue_id, issue.data)
    flow.hass, flow.handler, flow.flow_id, flow.context = hass, DOMAIN, "1", {}
    return flow


def issues(hass: HomeAssistant) -> set[str]:
    return {issue_id.partition("_")[0] for domain, issue_id in ir.async_get(hass).issues if domain == DOMAIN}


async def test_the_sensors_follow_the_uploads(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Any
) -> None:
    def shown(name: str) -> str:
        state = hass.states.get(f"sensor.smarthouse_{name}")
        assert state is not None
        return str(state.state)

    assert (shown("last_upload"), shown("rows_sent"), shown("last_fault")) == ("unknown", "0", "none")
    temperature(1)
    service.faults = [problem(503)]
    with pytest.raises(HomeAssistantError, match="down at the moment"):
        await press(hass, "upload_now")
    assert (shown("rows_sent"), shown("last_fault")) == ("0", "unavailable")
    entry.runtime_data.retries.cancel()
    temperature(2)
    async_fire_time_changed(hass, dt_util.utcnow() + timedelta(minutes=16))
    await hass.async_block_till_done()
    assert shown("waiting") == "2"
    await press(hass, "upload_now")
    assert (shown("rows_sent"), shown("last_fault"), shown("waiting")) == ("2", "none", "0")
    assert shown("last_upload") != "unknown"
    (device,) = dr.async_entries_for_config_entry(dr.async_get(hass), entry.entry_id)
    assert device.entry_type is dr.DeviceEntryType.SERVICE


async def test_the_preview_is_exactly_what_is_sent_next(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        temperature(number)
    told = await hass.services.async_call(DOMAIN, "preview", {}, blocking=True, return_response=True)
    assert service.uploads == []
    await entry.runtime_data.upload_now()
    (_, body), *_ = service.uploads
    assert told is not None
    assert zlib.decompress(body).decode() == told["json"]
    assert (len(body), sum(map(len, json.loads(told["json"]).values()))) == (told["bytes"], told["rows"])
    with pytest.raises(ServiceValidationError):
        await hass.services.async_call(DOMAIN, "preview", {"config_entry_id": "x"}, blocking=True, return_response=True)
    monkeypatch.setattr("custom_components.smarthouse.upload.read_states", Mock(side_effect=RuntimeError("malformed database")))
    temperature(11)
    with pytest.raises(HomeAssistantError, match="could not read its own recorder"):
        await hass.services.async_call(DOMAIN, "preview", {}, blocking=True, return_response=True)


async def test_a_service_that_is_gone_for_a_day_is_a_repair_that_heals(
    hass: HomeAssistant, service: Service, freezer: FrozenDateTimeFactory
) -> None:
    entry = await set_up(hass, entry_for(service))
    hass.states.async_set("light.kitchen", "on")
    service.down = problem(503)
    for hours in (1, 23, 2):
        freezer.tick(timedelta(hours=hours))
        await fails(entry)
        assert issues(hass) == ({"gone"} if hours == 2 else set())
    service.down = None
    await entry.runtime_data.upload_now()
    assert issues(hass) == set()


@pytest.mark.parametrize(("status", "title", "name"), [(403, "Consent is required", "consent"), (410, "Gone", "objected")])
async def test_a_consent_that_is_missing_is_a_repair_that_asks_for_it(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, status: int, title: str, name: str
) -> None:
    hass.states.async_set("light.kitchen", "on")
    service.faults = [problem(status, 'a body such as {"terms": "2.0", "tier": "rows"}', title=title)]
    with pytest.raises(ServiceError):
        await entry.runtime_data.upload_now()
    assert issues(hass) == {name}
    flow = await dialogue(hass, f"{name}_{entry.entry_id}")
    service.terms = ("2.0",)
    told = await flow.async_step_init({"issue_id": name})
    assert told["step_id"] == "agree"
    # Who objected knows a version. The one in the service's words is an example then.
    assert told["data_schema"]({"agree": True})["terms"] == ("2.0" if name == "consent" else "1.0")
    told = await flow.async_step_agree({"terms": "2.0", "agree": False})
    assert (told["errors"], service.consents) == ({"agree": "not_agreed"}, [])
    told = await flow.async_step_agree({"terms": "1.0", "agree": True})
    assert told["errors"] == {"terms": "terms"}
    consented_at = entry.data["consented_at"]
    told = await flow.async_step_agree({"terms": "2.0", "agree": True})
    await hass.async_block_till_done(wait_background_tasks=True)
    assert told["type"] == "create_entry"
    assert (service.consents[-1]["terms"], entry.data["terms"]) == ("2.0", "2.0")
    assert entry.data["consented_at"] != consented_at
    assert len(service.uploads) == 1
    assert issues(hass) == set()


async def test_a_refusal_is_a_repair_at_once(hass: HomeAssistant, service: Service, entry: MockConfigEntry) -> None:
    hass.states.async_set("light.kitchen", "on")
    service.faults = [problem(400, "Bad JSON structure")]
    with pytest.raises(ServiceError):
        await entry.runtime_data.upload_now()
    issue = ir.async_get(hass).async_get_issue(DOMAIN, f"refused_{entry.entry_id}")
    assert issue is not None
    assert issue.translation_placeholders == {"url": service.url, "detail": "Bad JSON structure"}


async def test_forgetting_asks_twice_and_shows_the_receipt(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Any
) -> None:
    await press(hass, "forget_this_home")
    assert [method for method, *_ in service.requests if method == "DELETE"] == []
    flow = await dialogue(hass, f"forget_{entry.entry_id}")
    assert (await flow.async_step_init({"issue_id": "forget"}))["step_id"] == "leave"
    assert (await flow.async_step_leave({"stop": True}))["step_id"] == "sure"
    assert (await flow.async_step_sure({"sure": False}))["errors"] == {"sure": "not_sure"}
    told = await flow.async_step_sure({"sure": True})
    assert told["description_placeholders"]["receipt"] == RECEIPT
    assert service.requests[-1][:2] == ("DELETE", "/api/ingest/data?stop=true")
    assert hass.states.get("sensor.smarthouse_last_fault").state == "left"
    temperature(1)
    await entry.runtime_data.upload_now()
    assert await entry.runtime_data.preview() is None
    assert service.uploads == []
    await press(hass, "forget_this_home")
    told = await (await dialogue(hass, f"forget_{entry.entry_id}")).async_step_init({"issue_id": "forget"})
    assert (told["step_id"], told["description_placeholders"]["receipt"]) == ("receipt", RECEIPT)
    # Also if the progress is lost, as in a power cut.
    await entry.runtime_data.store.remove()
    await hass.config_entries.async_reload(entry.entry_id)
    assert entry.runtime_data.data.left
    await entry.runtime_data.upload_now()
    assert service.uploads == []
    await hass.config_entries.async_remove(entry.entry_id)
    assert "removed" not in issues(hass)


async def test_removing_the_entry_offers_to_forget(hass: HomeAssistant, service: Service, entry: MockConfigEntry) -> None:
    await hass.config_entries.async_remove(entry.entry_id)
    assert issues(hass) == {"removed"}
    issue = ir.async_get(hass).async_get_issue(DOMAIN, f"removed_{entry.entry_id}")
    assert set(issue.data) == {"url", "home_uuid", "api_key"}
    flow = await dialogue(hass, f"removed_{entry.entry_id}")
    await flow.async_step_leave({"stop": False})
    assert (await flow.async_step_sure({"sure": True}))["step_id"] == "receipt"
    method, path, headers = service.requests[-1]
    assert (method, path, headers["Home-UUID"]) == ("DELETE", "/api/ingest/data", HOME)


async def test_diagnostics_and_logs_hold_no_secret(
    hass: HomeAssistant, service: Service, temperature: Any, caplog: pytest.LogCaptureFixture
) -> None:
    entry = await set_up(hass, entry_for(service, key="the-key"))
    temperature(1)
    service.faults = [problem(400, f"Home {HOME} is bad")]
    with pytest.raises(ServiceError):
        await entry.runtime_data.upload_now()
    told = json.dumps(await async_get_config_entry_diagnostics(hass, entry), default=str)
    for secret in (HOME, NAMES_KEY, "the-key", "kitchen"):
        assert secret not in told
    assert HOME not in caplog.text
    assert "the-key" not in caplog.text


async def test_it_uploads_every_night_at_its_own_minute(
    hass: HomeAssistant, service: Service, freezer: FrozenDateTimeFactory
) -> None:
    entry = await set_up(hass, entry_for(service))
    await hass.config.async_set_time_zone("Europe/Lisbon")
    progress = entry.runtime_data.progress
    assert 0 <= progress.hour < 6
    hass.states.async_set("light.kitchen", "on")
    freezer.move_to("2027-01-10T12:00:00+00:00")
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)
    service.uploads.clear()
    hass.states.async_set("light.kitchen", "off")
    freezer.move_to(f"2027-01-11T{progress.hour:02}:{progress.minute:02}:{progress.second:02}.6+00:00")
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)
    assert service.rows[-1]["state"] == "off"


async def test_two_entries_can_be_told_apart(hass: HomeAssistant, service: Service, entry: MockConfigEntry) -> None:
    other = entry_for(service)
    hass.config_entries.async_update_entry(entry, unique_id="another")
    await set_up(hass, other)
    with pytest.raises(ServiceValidationError):
        await hass.services.async_call(DOMAIN, "preview", {}, blocking=True, return_response=True)
    chosen = {"config_entry_id": other.entry_id}
    assert await hass.services.async_call(DOMAIN, "preview", chosen, blocking=True, return_response=True)


async def test_it_is_found_by_its_manifest(hass: HomeAssistant) -> None:
    assert await async_setup_component(hass, DOMAIN, {})
    assert hass.services.has_service(DOMAIN, "preview")


async def test_rows_that_are_ignored_are_told(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service.ignored = 1
    temperature(1)
    temperature(2)
    await entry.runtime_data.upload_now()
    status = entry.runtime_data.data
    assert (status.rows_sent, status.rows_ignored) == (1, 1)
    assert "ignored 1 of its rows" in caplog.text


async def test_a_home_that_left_counts_nothing(hass: HomeAssistant, entry: MockConfigEntry, temperature: Any) -> None:
    temperature(1)
    await hass.async_block_till_done()
    assert entry.runtime_data.progress.waiting == 1
    await entry.runtime_data.forget(stop=False)
    temperature(2)
    await hass.async_block_till_done()
    assert entry.runtime_data.progress.waiting == 0


async def test_a_home_that_is_gone_on_with_is_not_offered_to_be_erased(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    await hass.config_entries.async_remove(entry.entry_id)
    assert issues(hass) == {"removed"}
    await set_up(hass, entry_for(service))
    assert issues(hass) == set()

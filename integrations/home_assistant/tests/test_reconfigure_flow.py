"""The dialogues of an entry that there is: another address, another key, joining again."""

from __future__ import annotations

from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.smarthouse.client import ServiceError
from tests.conftest import (
    HOME,
    Service,
    entry_for,
    problem,
    set_up,
)
from tests.dialogues import go_on


async def test_the_address_is_changed(hass: HomeAssistant, service: Service, entry: MockConfigEntry) -> None:
    flow = await entry.start_reconfigure_flow(hass)
    flow = await go_on(hass, flow, {"url": "http://127.0.0.1:1"})
    assert flow["errors"] == {"url": "refused"}
    # Another service needs consent, and learns the UUID, which may erase the home, only with it.
    service.requests.clear()
    flow = await go_on(hass, flow, {"url": f"{service.url}/lake/"})
    assert flow["step_id"] == "consent"
    assert HOME not in {headers.get("Home-UUID") for _, _, headers in service.requests}
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": True})
    assert service.consents == [{"terms": "1.0", "tier": "rows"}]
    await hass.async_block_till_done()
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    assert entry.unique_id == f"{service.url.removeprefix('http://')}/lake"
    assert entry.data["home_uuid"] == HOME


async def test_an_entry_may_not_be_moved_to_the_service_of_another(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    other = entry_for(service)
    hass.config_entries.async_update_entry(entry, unique_id="another")
    await set_up(hass, other)
    flow = await entry.start_reconfigure_flow(hass)
    flow = await go_on(hass, flow, {"url": service.url})
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "already_configured")


async def test_a_new_key_at_the_same_address_needs_no_other_consent(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    service.key = "new"
    flow = await entry.start_reconfigure_flow(hass)
    flow = await go_on(hass, flow, {"url": service.url, "api_key": "new"})
    await hass.async_block_till_done()
    assert (flow["reason"], entry.data["api_key"], service.consents) == ("reconfigure_successful", "new", [])


async def test_a_home_that_left_joins_again_as_a_new_one(hass: HomeAssistant, service: Service, temperature: Any) -> None:
    entry = await set_up(hass, entry_for(service, past="recorded"))
    temperature(0)
    await async_wait_recording_done(hass)
    await entry.runtime_data.forget(stop=True)
    flow = await entry.start_reconfigure_flow(hass)
    flow = await go_on(hass, flow, {"url": service.url})
    assert flow["step_id"] == "consent"
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": True})
    await hass.async_block_till_done()
    assert flow["reason"] == "reconfigure_successful"
    assert entry.data["home_uuid"] != HOME
    assert not entry.runtime_data.data.left
    # Its rows of before would tell which home it was.
    entry.runtime_data.retries.cancel()
    await entry.runtime_data.upload_now()
    assert "0" not in {row["state"] for row in service.rows}
    temperature(1)
    await entry.runtime_data.upload_now()
    assert "1" in {row["state"] for row in service.rows}


async def test_the_question_for_a_key_goes_once_an_upload_works(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    hass.states.async_set("light.kitchen", "on")
    service.faults = [problem(401)]
    with pytest.raises(ServiceError, match="key_needed"):
        await entry.runtime_data.upload_now()
    await hass.async_block_till_done()
    assert len(hass.config_entries.flow.async_progress()) == 1
    await entry.runtime_data.upload_now()
    assert hass.config_entries.flow.async_progress() == []


async def test_a_key_is_asked_for_again(hass: HomeAssistant, service: Service) -> None:
    entry = await set_up(hass, entry_for(service, key="old"))
    service.key = "new"
    hass.states.async_set("light.kitchen", "on")
    with pytest.raises(ServiceError, match="key_wrong"):
        await entry.runtime_data.upload_now()
    await hass.async_block_till_done()
    (flow,) = hass.config_entries.flow.async_progress()
    told = await go_on(hass, flow, {"api_key": "newer"})
    assert told["errors"] == {"api_key": "key_wrong"}
    told = await go_on(hass, flow, {"api_key": "new"})
    assert told["reason"] == "reauth_successful"
    assert entry.data["api_key"] == "new"

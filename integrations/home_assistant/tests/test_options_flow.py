"""The dialogue of the options: what to leave out, the preview, the code, leaving."""

from __future__ import annotations

from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry

from tests.conftest import (
    HOME,
    NAMES_KEY,
    RECEIPT,
    Service,
    entry_for,
    problem,
)
from tests.dialogues import CHOICE


async def test_the_options_of_an_entry_that_does_not_run_say_so(hass: HomeAssistant, service: Service) -> None:
    entry = entry_for(service)
    entry.add_to_hass(hass)
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "not_loaded")


async def test_options_change_what_is_left_out(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    assert flow["menu_options"] == ["choice", "preview", "again", "home", "leave"]
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], CHOICE)
    await hass.async_block_till_done()
    assert flow["type"] is FlowResultType.CREATE_ENTRY
    assert entry.options == CHOICE
    assert entry.runtime_data.config_entry.options["pace"] == "hourly"


async def test_domains_are_named_as_in_home_assistant(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    hass.states.async_set("light.kitchen", "on")
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    (domains,) = [field for name, field in flow["data_schema"].schema.items() if name == "domains"]
    assert {"value": "device_tracker", "label": "Device tracker"} in domains.config["options"]
    assert {"value": "light", "label": "Light"} in domains.config["options"]


async def test_options_show_the_home_and_the_next_upload(hass: HomeAssistant, entry: MockConfigEntry, temperature: Any) -> None:
    temperature(21)
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "home"})
    shown = {str(field): field.default() for field in flow["data_schema"].schema}
    assert shown == {"home_uuid": HOME, "home_code": f"{HOME}.{NAMES_KEY}"}
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "preview"})
    (field,) = flow["data_schema"].schema
    assert "sensor.kitchen_temperature" in field.default()
    assert flow["description_placeholders"]["rows"] == "1"


async def test_a_home_leaves_by_the_options(hass: HomeAssistant, service: Service, entry: MockConfigEntry) -> None:
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "leave"})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"stop": False})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"sure": False})
    assert flow["errors"] == {"sure": "not_sure"}
    service.faults = [problem(503)]
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"sure": True})
    assert flow["errors"] == {"base": "unavailable"}
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"sure": True})
    assert flow["description_placeholders"]["receipt"] == RECEIPT
    assert service.requests[-1][:2] == ("DELETE", "/api/ingest/data")
    await hass.config_entries.options.async_configure(flow["flow_id"], {})
    assert entry.runtime_data.data.left
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "leave"})
    assert (flow["step_id"], flow["description_placeholders"]["receipt"]) == ("receipt", RECEIPT)

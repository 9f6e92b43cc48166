"""A service that has lost what it took."""

from __future__ import annotations

import json
from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.smarthouse.const import DOMAIN
from tests.conftest import Service, fails, problem


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

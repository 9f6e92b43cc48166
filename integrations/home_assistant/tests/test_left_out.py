"""What is left out stays in the house: by the owner's choice, or since it tells of persons."""

from __future__ import annotations

from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers import label_registry as lr
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.smarthouse.client import ServiceError
from custom_components.smarthouse.const import DOMAIN
from tests.conftest import Service, Set, coordinator_of, entry_for, set_up
from tests.dialogues import CHOICE


async def test_what_the_owner_leaves_out_stays(hass: HomeAssistant, service: Service, temperature: Set) -> None:
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


async def test_what_is_left_out_stays_left_out_under_another_name(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Any
) -> None:
    registry = er.async_get(hass)
    registered = registry.async_get_or_create("sensor", "demo", "1", suggested_object_id="bedroom_temperature")
    given = {**CHOICE, "entities": [registered.entity_id, "sensor.attic_temperature"]}
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    await hass.config_entries.options.async_configure(flow["flow_id"], given)
    await hass.async_block_till_done()
    entry.runtime_data.retries.cancel()
    registry.async_update_entity(registered.entity_id, new_entity_id="sensor.kitchen_humidity")
    for entity_id in ("sensor.kitchen_humidity", "sensor.attic_temperature", "sensor.cellar_temperature"):
        temperature(20, entity_id)
    await entry.runtime_data.upload_now()
    assert {row["entity_id"] for row in service.rows} == {"sensor.cellar_temperature"}
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    (shown,) = [field.default() for field in flow["data_schema"].schema if field == "entities"]
    assert shown == ["sensor.kitchen_humidity", "sensor.attic_temperature"]


async def test_nothing_is_sent_once_an_area_that_is_left_out_is_gone(
    hass: HomeAssistant, service: Service, temperature: Any
) -> None:
    areas, registry = ar.async_get(hass), er.async_get(hass)
    area = areas.async_create("Bedroom")
    bedroom = registry.async_get_or_create("sensor", "demo", "1", suggested_object_id="bedroom_temperature").entity_id
    registry.async_update_entity(bedroom, area_id=area.id)
    entry = await set_up(hass, entry_for(service, areas=[area.id]))
    for entity_id in (bedroom, "sensor.kitchen_temperature"):
        temperature(20, entity_id)
    areas.async_delete(area.id)
    with pytest.raises(ServiceError, match="left_out"):
        await entry.runtime_data.upload_now()
    assert service.uploads == []
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"left_out_{entry.entry_id}") is not None
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    (shown,) = [field.default() for field in flow["data_schema"].schema if field == "areas"]
    assert shown == []
    await hass.config_entries.options.async_configure(flow["flow_id"], {**CHOICE, "entities": [bedroom]})
    await hass.async_block_till_done()
    await entry.runtime_data.upload_now()
    assert {row["entity_id"] for row in service.rows} == {"sensor.kitchen_temperature"}
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"left_out_{entry.entry_id}") is None


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

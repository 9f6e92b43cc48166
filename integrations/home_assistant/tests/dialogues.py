"""Goes through the dialogue that sets an entry up."""

from __future__ import annotations

from typing import Any

from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant

from custom_components.smarthouse.const import DOMAIN

CHOICE = {"domains": ["person"], "entities": [], "areas": [], "labels": [], "pace": "hourly"}


async def begin(hass: HomeAssistant, url: str, key: str | None = None) -> dict[str, Any]:
    flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    given = {"url": url} | ({} if key is None else {"api_key": key})
    return await hass.config_entries.flow.async_configure(flow["flow_id"], given)


async def go_on(hass: HomeAssistant, flow: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return await hass.config_entries.flow.async_configure(flow["flow_id"], given)

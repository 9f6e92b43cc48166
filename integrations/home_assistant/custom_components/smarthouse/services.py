"""The service `smarthouse.preview`: exactly what the next upload would hold."""

from __future__ import annotations

from typing import Final

import voluptuous as vol
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant, ServiceCall, ServiceResponse, SupportsResponse, callback
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import config_validation as cv

from .const import DOMAIN
from .coordinator import SmartHouseEntry

PREVIEW: Final = "preview"
ATTR_ENTRY: Final = "config_entry_id"
_SCHEMA: Final = vol.Schema({vol.Optional(ATTR_ENTRY): cv.string})


@callback
def async_setup_services(hass: HomeAssistant) -> None:
    """Register the service."""
    hass.services.async_register(DOMAIN, PREVIEW, _preview, schema=_SCHEMA, supports_response=SupportsResponse.ONLY)


async def _preview(call: ServiceCall) -> ServiceResponse:
    """Return the JSON of the next body; the bytes are this text, compressed."""
    entry = _entry(call.hass, call.data.get(ATTR_ENTRY))
    try:
        chunk = await entry.runtime_data.preview()
    except Exception as fault:  # of any kind, as in an upload
        raise HomeAssistantError(translation_domain=DOMAIN, translation_key="unreadable") from fault
    if chunk is None:
        return {"rows": 0, "bytes": 0, "json": ""}
    return {"rows": len(chunk.rows), "bytes": len(chunk.body), "json": chunk.text}


def _entry(hass: HomeAssistant, entry_id: str | None) -> SmartHouseEntry:
    """Return the entry that is named, or the only one."""
    entries = [entry for entry in hass.config_entries.async_entries(DOMAIN) if entry_id in (None, entry.entry_id)]
    if len(entries) != 1:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="which_entry")
    entry: SmartHouseEntry = entries[0]
    if entry.state is not ConfigEntryState.LOADED:
        raise ServiceValidationError(translation_domain=DOMAIN, translation_key="not_loaded")
    return entry

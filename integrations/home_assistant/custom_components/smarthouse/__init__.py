"""Uploads what this home records to a SmartHouse service, scrubbed, and lets its owner leave again."""

from __future__ import annotations

from typing import Final

from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.helpers import config_validation as cv
from homeassistant.helpers.typing import ConfigType

from . import issues
from .const import CONF_HOME, CONF_LEFT, CONF_TAKEN_OVER, DOMAIN, OLD_DOMAIN
from .coordinator import SmartHouseCoordinator, SmartHouseEntry
from .progress import ProgressStore
from .services import async_setup_services

CONFIG_SCHEMA: Final = cv.config_entry_only_config_schema(DOMAIN)
_PLATFORMS: Final = [Platform.BUTTON, Platform.SENSOR]


async def async_setup(hass: HomeAssistant, config: ConfigType) -> bool:
    """Register the services."""
    async_setup_services(hass)
    return True


async def async_setup_entry(hass: HomeAssistant, entry: SmartHouseEntry) -> bool:
    """Set up an entry. The service need not answer: what cannot be uploaded now waits in the recorder."""
    coordinator = SmartHouseCoordinator(hass, entry)
    await coordinator.async_config_entry_first_refresh()
    entry.runtime_data = coordinator
    issues.withdraw_offer(hass, entry.data[CONF_HOME])
    await hass.config_entries.async_forward_entry_setups(entry, _PLATFORMS)
    coordinator.start()
    await _remove_taken_over(hass, entry)
    return True


async def async_unload_entry(hass: HomeAssistant, entry: SmartHouseEntry) -> bool:
    """Unload an entry. An upload under way is broken off, and goes on after the next start."""
    if is_unloaded := await hass.config_entries.async_unload_platforms(entry, _PLATFORMS):
        coordinator = entry.runtime_data
        if not coordinator.is_ended:
            await coordinator.store.save(coordinator.progress)
    return is_unloaded


async def async_remove_entry(hass: HomeAssistant, entry: SmartHouseEntry) -> None:
    """Remove what an entry kept, and offer to erase the home at the service unless it was erased."""
    await ProgressStore(hass, entry.entry_id).remove()
    if CONF_LEFT not in entry.data:
        issues.offer_to_forget(hass, entry)


async def _remove_taken_over(hass: HomeAssistant, entry: SmartHouseEntry) -> None:
    """Remove the entry of the 2022 integration whose home this entry goes on with."""
    if (old_id := entry.data.get(CONF_TAKEN_OVER)) is None:
        return
    old = hass.config_entries.async_get_entry(old_id)
    if old is not None and old.domain == OLD_DOMAIN:
        await hass.config_entries.async_remove(old_id)

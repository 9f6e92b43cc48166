"""Buttons: upload now, and forget everything."""

from __future__ import annotations

from typing import Final

from homeassistant.components.button import ButtonEntity, ButtonEntityDescription
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from . import issues
from .client import ServiceError
from .const import DOMAIN
from .coordinator import SmartHouseEntry
from .entity import SmartHouseEntity

PARALLEL_UPDATES: Final = 1

UPLOAD: Final = ButtonEntityDescription(key="upload", translation_key="upload", entity_category=EntityCategory.CONFIG)
FORGET: Final = ButtonEntityDescription(key="forget", translation_key="forget", entity_category=EntityCategory.CONFIG)


async def async_setup_entry(
    hass: HomeAssistant, entry: SmartHouseEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the buttons of an entry."""
    async_add_entities([UploadButton(entry.runtime_data, UPLOAD), ForgetButton(entry.runtime_data, FORGET)])


class UploadButton(SmartHouseEntity, ButtonEntity):
    """Uploads at once."""

    async def async_press(self) -> None:
        """Upload, and say so if that fails."""
        try:
            await self.coordinator.upload_now()
        except ServiceError as fault:
            raise HomeAssistantError(
                translation_domain=DOMAIN,
                translation_key=str(fault.fault),
                translation_placeholders={"detail": fault.detail},
            ) from None


class ForgetButton(SmartHouseEntity, ButtonEntity):
    """Asks whether the home is to be erased. A press alone erases nothing."""

    async def async_press(self) -> None:
        """Ask in a repair."""
        issues.ask_to_forget(self.hass, self.coordinator.config_entry)

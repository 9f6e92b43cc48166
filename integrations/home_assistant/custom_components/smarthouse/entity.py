"""What all entities have in common."""

from __future__ import annotations

from homeassistant.const import CONF_URL
from homeassistant.helpers.device_registry import DeviceEntryType, DeviceInfo
from homeassistant.helpers.entity import EntityDescription
from homeassistant.helpers.update_coordinator import CoordinatorEntity

from .const import DOMAIN
from .coordinator import SmartHouseCoordinator


class SmartHouseEntity(CoordinatorEntity[SmartHouseCoordinator]):
    """Belongs to the service that an entry uploads to."""

    _attr_has_entity_name = True

    def __init__(self, coordinator: SmartHouseCoordinator, description: EntityDescription) -> None:
        super().__init__(coordinator)
        self.entity_description = description
        entry = coordinator.config_entry
        self._attr_unique_id = f"{entry.entry_id}_{description.key}"
        self._attr_device_info = DeviceInfo(
            entry_type=DeviceEntryType.SERVICE,
            identifiers={(DOMAIN, entry.entry_id)},
            name="SmartHouse",
            model=entry.title,
            configuration_url=entry.data[CONF_URL],
        )

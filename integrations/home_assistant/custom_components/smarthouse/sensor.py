"""Sensors: the last upload, the rows sent, what waits, and the last fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from homeassistant.components.sensor import SensorDeviceClass, SensorEntity, SensorEntityDescription, SensorStateClass
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .client import Fault
from .coordinator import SmartHouseEntry
from .entity import SmartHouseEntity
from .progress import Status

PARALLEL_UPDATES: Final = 0
NO_FAULT: Final = "none"
LEFT: Final = "left"


@dataclass(frozen=True, kw_only=True)
class StatusDescription(SensorEntityDescription):
    """Says which part of the status a sensor shows."""

    shown: Callable[[Status], datetime | int | str | None]


SENSORS: Final = (
    StatusDescription(
        key="last_upload",
        translation_key="last_upload",
        device_class=SensorDeviceClass.TIMESTAMP,
        entity_category=EntityCategory.DIAGNOSTIC,
        shown=lambda status: status.last_upload,
    ),
    StatusDescription(
        key="rows_sent",
        translation_key="rows_sent",
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_category=EntityCategory.DIAGNOSTIC,
        shown=lambda status: status.rows_sent,
    ),
    StatusDescription(
        key="rows_ignored",
        translation_key="rows_ignored",
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_category=EntityCategory.DIAGNOSTIC,
        entity_registry_enabled_default=False,
        shown=lambda status: status.rows_ignored,
    ),
    StatusDescription(
        key="waiting",
        translation_key="waiting",
        state_class=SensorStateClass.MEASUREMENT,
        entity_category=EntityCategory.DIAGNOSTIC,
        shown=lambda status: status.waiting,
    ),
    StatusDescription(
        key="last_fault",
        translation_key="last_fault",
        device_class=SensorDeviceClass.ENUM,
        options=[NO_FAULT, LEFT, *map(str, Fault)],
        entity_category=EntityCategory.DIAGNOSTIC,
        shown=lambda status: LEFT if status.left else status.fault or NO_FAULT,
    ),
)


async def async_setup_entry(
    hass: HomeAssistant, entry: SmartHouseEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the sensors of an entry."""
    async_add_entities(StatusSensor(entry.runtime_data, description) for description in SENSORS)


class StatusSensor(SmartHouseEntity, SensorEntity):
    """Shows a part of the status."""

    entity_description: StatusDescription

    @property
    def native_value(self) -> datetime | int | str | None:
        """Return the part."""
        return self.entity_description.shown(self.coordinator.data)

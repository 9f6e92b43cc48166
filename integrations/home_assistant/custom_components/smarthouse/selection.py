"""Which entities of a home are uploaded: all that the owner does not leave out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import label_registry as lr

from .const import CONF_AREAS, CONF_DOMAINS, CONF_ENTITIES, CONF_LABELS, DOMAIN, LEFT_OUT_AT_FIRST, OF_PERSONS
from .scrub import Scrubber

_NEVER: Final = OF_PERSONS | {DOMAIN}


@dataclass(frozen=True)
class LeftOut:
    """What the owner leaves out. entities: as `remembered` keeps them."""

    entities: frozenset[str]
    domains: frozenset[str]
    areas: frozenset[str]
    labels: frozenset[str]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> LeftOut:
        """Read it from an entry's options."""
        return cls(
            frozenset(options.get(CONF_ENTITIES, ())),
            frozenset(options.get(CONF_DOMAINS, LEFT_OUT_AT_FIRST)),
            frozenset(options.get(CONF_AREAS, ())),
            frozenset(options.get(CONF_LABELS, ())),
        )


class Selection:
    """Tells which entities the owner does not leave out, as the registries are now."""

    def __init__(self, hass: HomeAssistant, scrubber: Scrubber, left_out: LeftOut) -> None:
        self._hass, self._scrubber, self._left_out = hass, scrubber, left_out
        self._named = frozenset(entity_ids_of(hass, left_out.entities))
        self._entities, self._devices, self._areas = er.async_get(hass), dr.async_get(hass), ar.async_get(hass)

    def is_sure(self) -> bool:
        """Tell whether all areas and labels that are left out are still there: a deleted one does not tell what was in it."""
        labels = lr.async_get(self._hass)
        areas_are_there = all(self._areas.async_get_area(area_id) is not None for area_id in self._left_out.areas)
        return areas_are_there and all(labels.async_get_label(label_id) is not None for label_id in self._left_out.labels)

    def takes(self, entity_id: str) -> bool:
        """Tell whether an entity is uploaded."""
        domain = entity_id.partition(".")[0]
        if domain in self._left_out.domains or entity_id in self._named or not self._scrubber.may_send(entity_id):
            return False
        if (entry := self._entities.async_get(entity_id)) is None:
            return True
        if entry.platform in _NEVER:
            return False
        device = self._devices.async_get(entry.device_id) if entry.device_id else None
        area_id = entry.area_id or (device.area_id if device else None)
        area = self._areas.async_get_area(area_id) if area_id else None
        labels = entry.labels | (device.labels if device else set()) | (area.labels if area else set())
        return area_id not in self._left_out.areas and not labels & self._left_out.labels

    def listed(self, known: Iterable[str] = ()) -> list[str]:
        """List the entities to upload, in the order of their ids.

        known: others that may have rows to upload: those that were selected before, and those that are removed.
        """
        return sorted(filter(self.takes, {*_entity_ids(self._hass), *known}))

    def removed(self, measured: Iterable[str]) -> set[str]:
        """List entities that Home Assistant has removed. The recorder may still hold rows of them.

        measured: entities that have long-term statistics. The areas and labels of what is removed are not known any more.
        So there is nothing for an owner who leaves out areas or labels.
        """
        if self._left_out.areas or self._left_out.labels:
            return set()
        deleted = self._entities.deleted_entities.values()
        never = {entry.entity_id for entry in deleted if entry.platform in _NEVER}
        return {*measured, *(entry.entity_id for entry in deleted)} - never - _entity_ids(self._hass)


def there(registered: Collection[str], chosen: Iterable[str]) -> list[str]:
    """Return those of the chosen areas or labels that are still there."""
    return [each for each in chosen if each in registered]


def remembered(hass: HomeAssistant, entity_ids: Iterable[str]) -> list[str]:
    """Return what the options keep of entities: the registry's ids, which no renaming changes, or else the entities' own."""
    registered = er.async_get(hass)
    return [entry.id if (entry := registered.async_get(each)) else each for each in entity_ids]


def entity_ids_of(hass: HomeAssistant, kept: Iterable[str]) -> list[str]:
    """Return the entities that `remembered` stands for, as they are called now."""
    registered = er.async_get(hass)
    names = {entry.id: entry.entity_id for entry in registered.deleted_entities.values()}
    names |= {entry.id: entry.entity_id for entry in registered.entities.values()}
    return [names.get(each, each) for each in kept]


def sendable_domains(hass: HomeAssistant, scrubber: Scrubber) -> list[str]:
    """List the domains of this home that may be sent at all, in the order of the alphabet."""
    domains = {entity_id.partition(".")[0] for entity_id in _entity_ids(hass)}
    return sorted((domains | set(LEFT_OUT_AT_FIRST)) & scrubber.domains)


def _entity_ids(hass: HomeAssistant) -> set[str]:
    """List the entities that have a state, and those that are registered and have none now."""
    return {*hass.states.async_entity_ids(), *er.async_get(hass).entities}

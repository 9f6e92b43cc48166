"""Which entities of a home are uploaded: all that the owner does not leave out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import entity_registry as er

from .const import CONF_AREAS, CONF_DOMAINS, CONF_ENTITIES, CONF_LABELS, DOMAIN, LEFT_OUT_AT_FIRST
from .scrub import Scrubber


@dataclass(frozen=True)
class LeftOut:
    """What the owner leaves out."""

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


def removed(hass: HomeAssistant, left_out: LeftOut, measured: Iterable[str]) -> set[str]:
    """List entities that Home Assistant has removed. The recorder may still hold rows of them.

    measured: entities that have long-term statistics. The area and the labels of a removed entity are not known any more. So there
    are none for an owner who leaves out areas or labels.
    """
    if left_out.areas or left_out.labels:
        return set()
    deleted = er.async_get(hass).deleted_entities.values()
    return {*measured, *(entry.entity_id for entry in deleted if entry.platform != DOMAIN)} - _entity_ids(hass)


def sendable_domains(hass: HomeAssistant, scrubber: Scrubber) -> list[str]:
    """List the domains of this home that may be sent at all, in the order of the alphabet."""
    domains = {entity_id.partition(".")[0] for entity_id in _entity_ids(hass)}
    return sorted((domains | set(LEFT_OUT_AT_FIRST)) & scrubber.domains)


def selected(hass: HomeAssistant, scrubber: Scrubber, left_out: LeftOut, known: Iterable[str] = ()) -> list[str]:
    """List the entities to upload, in the order of their ids.

    known: others that may have rows to upload: those that were selected before, and those that are removed.
    """
    registered, devices, areas = er.async_get(hass), dr.async_get(hass), ar.async_get(hass)

    def is_taken(entity_id: str) -> bool:
        domain = entity_id.partition(".")[0]
        if domain in left_out.domains or entity_id in left_out.entities or not scrubber.may_send(entity_id):
            return False
        if (entry := registered.async_get(entity_id)) is None:
            return True
        if entry.platform == DOMAIN:
            return False
        device = devices.async_get(entry.device_id) if entry.device_id else None
        area_id = entry.area_id or (device.area_id if device else None)
        area = areas.async_get_area(area_id) if area_id else None
        labels = entry.labels | (device.labels if device else set()) | (area.labels if area else set())
        return area_id not in left_out.areas and not labels & left_out.labels

    return sorted(entity_id for entity_id in {*_entity_ids(hass), *known} if is_taken(entity_id))


def _entity_ids(hass: HomeAssistant) -> set[str]:
    """List the entities that have a state, and those that are registered and have none now."""
    return {*hass.states.async_entity_ids(), *er.async_get(hass).entities}

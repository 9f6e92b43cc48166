"""The forms of the dialogues that set an entry up and change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import voluptuous as vol
from homeassistant.const import CONF_API_KEY, CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import label_registry as lr
from homeassistant.helpers import selector
from homeassistant.helpers.translation import async_get_translations

from .const import (
    CONF_AREAS,
    CONF_DOMAINS,
    CONF_ENTITIES,
    CONF_HOME,
    CONF_LABELS,
    CONF_PACE,
    CONF_PAST,
    CONF_TERMS,
    LEFT_OUT_AT_FIRST,
    PACE_NIGHTLY,
    PACES,
    PAST_RECORDED,
    PASTS,
    TERMS,
)
from .scrub import Scrubber
from .selection import entity_ids_of, remembered, sendable_domains, there

CONF_AGREE: Final = "agree"

_SECRET: Final = selector.TextSelector(selector.TextSelectorConfig(type=selector.TextSelectorType.PASSWORD))
_ADDRESS: Final = selector.TextSelector(selector.TextSelectorConfig(type=selector.TextSelectorType.URL))
_LINES: Final = selector.TextSelector(selector.TextSelectorConfig(multiline=True))

KEY: Final = vol.Schema({vol.Optional(CONF_API_KEY): _SECRET})
HOME: Final = vol.Schema({vol.Optional(CONF_HOME): str})


def address(known: Mapping[str, Any]) -> vol.Schema:
    """Return the form of the service's address and its API key."""
    told = {"suggested_value": known.get(CONF_URL)}
    return vol.Schema(
        {
            vol.Required(CONF_URL, description=told): _ADDRESS,
            vol.Optional(CONF_API_KEY, description={"suggested_value": known.get(CONF_API_KEY)}): _SECRET,
        }
    )


def consent(terms: str = TERMS) -> vol.Schema:
    """Return the form of the consent."""
    return vol.Schema({vol.Required(CONF_TERMS, default=terms): str, vol.Required(CONF_AGREE, default=False): bool})


async def choice(hass: HomeAssistant, scrubber: Scrubber, known: Mapping[str, Any]) -> vol.Schema:
    """Return the form of what to leave out, and how often to upload."""
    left_out = list(known.get(CONF_DOMAINS, LEFT_OUT_AT_FIRST))
    domains = await _titled(hass, {*sendable_domains(hass, scrubber), *left_out})
    entities = entity_ids_of(hass, known.get(CONF_ENTITIES, ()))
    return vol.Schema(
        {
            vol.Optional(CONF_DOMAINS, default=left_out): _some_of(domains),
            vol.Optional(CONF_ENTITIES, default=entities): selector.EntitySelector(
                selector.EntitySelectorConfig(multiple=True)
            ),
            vol.Optional(CONF_AREAS, default=there(ar.async_get(hass).areas, known.get(CONF_AREAS, ()))): selector.AreaSelector(
                selector.AreaSelectorConfig(multiple=True)
            ),
            vol.Optional(
                CONF_LABELS, default=there(lr.async_get(hass).labels, known.get(CONF_LABELS, ()))
            ): selector.LabelSelector(selector.LabelSelectorConfig(multiple=True)),
            vol.Required(CONF_PACE, default=known.get(CONF_PACE, PACE_NIGHTLY)): _one_of(PACES, CONF_PACE),
        }
    )


def chosen(hass: HomeAssistant, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for what was given in the form of `choice`."""
    return {**given, CONF_ENTITIES: remembered(hass, given.get(CONF_ENTITIES, ()))}


def past() -> vol.Schema:
    """Return the form of how far back to upload."""
    return vol.Schema({vol.Required(CONF_PAST, default=PAST_RECORDED): _one_of(PASTS, CONF_PAST)})


def shown(**texts: str) -> vol.Schema:
    """Return a form that only shows texts, so that they can be copied."""
    return vol.Schema({vol.Optional(name, default=text): _LINES for name, text in texts.items()})


def _one_of(options: tuple[str, ...], key: str) -> selector.SelectSelector:
    config = selector.SelectSelectorConfig(options=list(options), translation_key=key, mode=selector.SelectSelectorMode.LIST)
    return selector.SelectSelector(config)


async def _titled(hass: HomeAssistant, domains: set[str]) -> list[selector.SelectOptionDict]:
    """Name domains as Home Assistant's own pages do."""
    titles = await async_get_translations(hass, hass.config.language, "title", domains)
    options = [
        selector.SelectOptionDict(value=domain, label=titles.get(f"component.{domain}.title", domain)) for domain in domains
    ]
    return sorted(options, key=lambda option: option["label"].casefold())


def _some_of(options: list[selector.SelectOptionDict]) -> selector.SelectSelector:
    config = selector.SelectSelectorConfig(
        options=options, multiple=True, custom_value=True, mode=selector.SelectSelectorMode.DROPDOWN
    )
    return selector.SelectSelector(config)

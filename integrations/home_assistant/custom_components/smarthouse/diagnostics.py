"""Diagnostics: what helps to find a fault, without a secret and without a name of an entity."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from homeassistant.components.diagnostics import async_redact_data
from homeassistant.const import CONF_API_KEY
from homeassistant.core import HomeAssistant

from .const import CONF_HOME, CONF_NAMES_KEY, CONF_PACE, CONF_TAKEN_OVER
from .coordinator import SmartHouseEntry
from .selection import LeftOut, Selection

_SECRETS: Final = {CONF_HOME, CONF_NAMES_KEY, CONF_API_KEY, CONF_TAKEN_OVER}


async def async_get_config_entry_diagnostics(hass: HomeAssistant, entry: SmartHouseEntry) -> dict[str, Any]:
    """Return the entry and its progress. Entities are counted and not named."""
    coordinator, left_out = entry.runtime_data, LeftOut.of(entry.options)
    progress = asdict(coordinator.progress)
    progress |= {name: len(progress[name]) for name in ("known", "renames", "trail")}
    for name in ("window", "backfill"):
        if progress[name] is not None:
            del progress[name]["after"]
    return {
        "data": async_redact_data(dict(entry.data), _SECRETS),
        "pace": entry.options.get(CONF_PACE),
        "left_out": {name: len(chosen) for name, chosen in asdict(left_out).items()},
        "selected": len(Selection(hass, coordinator.scrubber, left_out).listed()),
        "progress": progress,
    }

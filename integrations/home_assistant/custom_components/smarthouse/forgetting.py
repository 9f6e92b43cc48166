"""The two questions before a home is erased, and the receipt after it. The options and the repairs ask them alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import voluptuous as vol
from homeassistant.components import persistent_notification
from homeassistant.core import HomeAssistant, callback

from .client import ServiceError
from .const import DOMAIN

CONF_STOP: Final = "stop"
CONF_SURE: Final = "sure"

QUESTION: Final = vol.Schema({vol.Required(CONF_STOP, default=False): bool})
SURE: Final = vol.Schema({vol.Required(CONF_SURE, default=False): bool})

Forget = Callable[[bool], Awaitable[str]]


async def erase(forget: Forget, stop: bool, given: dict[str, Any]) -> tuple[str | None, dict[str, str]]:
    """Erase if the owner is sure. Returns the receipt's id, or what was wrong."""
    if not given[CONF_SURE]:
        return None, {CONF_SURE: "not_sure"}
    try:
        return await forget(stop), {}
    except ServiceError as fault:
        return None, {"base": str(fault.fault)}


@callback
def keep_receipt(hass: HomeAssistant, receipt: str, url: str) -> None:
    """Leave the receipt where it is found again: a home that is erased has no other trace here."""
    persistent_notification.async_create(
        hass,
        f"{url}/api/ingest/receipts/{receipt}",
        title="SmartHouse",
        notification_id=f"{DOMAIN}_receipt_{receipt[:16]}",
    )

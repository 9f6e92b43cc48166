"""The dialogues of the repairs: agree again, erase the home, erase the home of an entry that was removed."""

from __future__ import annotations

import re
from typing import Any, Final

import voluptuous as vol
from homeassistant.components.repairs import RepairsFlow
from homeassistant.const import CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResult
from homeassistant.util import dt as dt_util

from . import forms, issues
from .client import Fault, ServiceError
from .const import CONF_CONSENTED_AT, CONF_LEFT, CONF_TERMS, TERMS, TIER
from .coordinator import SmartHouseCoordinator, SmartHouseEntry
from .forgetting import CONF_STOP, QUESTION, SURE, erase, keep_receipt
from .homes import client_of

_NAMED_TERMS: Final = re.compile(r'"terms": "([^"]{1,64})"')
"""Where a service that misses a consent names the version of its terms."""


class ConsentFlow(RepairsFlow):
    """Agrees to the terms again, for a service that asks for that, or for an owner who objected."""

    def __init__(self, entry: SmartHouseEntry) -> None:
        self._entry = entry

    async def async_step_init(self, user_input: dict[str, Any] | None = None) -> FlowResult:
        """Begin. What is given here names the issue."""
        return await self.async_step_agree()

    async def async_step_agree(self, user_input: dict[str, Any] | None = None) -> FlowResult:
        """Ask for consent to a version of the terms."""
        coordinator: SmartHouseCoordinator | None = getattr(self._entry, "runtime_data", None)
        errors, detail = dict[str, str](), "" if coordinator is None else coordinator.progress.detail
        is_named = coordinator is not None and coordinator.progress.fault == Fault.CONSENT
        named = _NAMED_TERMS.search(detail) if is_named else None
        terms = named[1] if named else self._entry.data.get(CONF_TERMS, TERMS)
        if user_input is not None:
            terms = user_input[CONF_TERMS].strip()
            errors, detail = await self._agree(terms, user_input[forms.CONF_AGREE])
            if not errors:
                return self.async_create_entry(data={})
        return self.async_show_form(
            step_id="agree",
            data_schema=forms.consent(terms),
            errors=errors,
            description_placeholders={"url": self._entry.data[CONF_URL], "detail": detail},
        )

    async def _agree(self, terms: str, is_agreed: bool) -> tuple[dict[str, str], str]:
        """Tell the service, and upload. Returns what is wrong, and the service's words."""
        if not is_agreed:
            return {forms.CONF_AGREE: "not_agreed"}, ""
        try:
            await client_of(self.hass, self._entry.data).consent(terms, TIER)
        except ServiceError as fault:
            return {CONF_TERMS: str(fault.fault)}, fault.detail
        data = {**self._entry.data, CONF_TERMS: terms, CONF_CONSENTED_AT: dt_util.utcnow().isoformat()}
        self.hass.config_entries.async_update_entry(self._entry, data=data)
        coordinator: SmartHouseCoordinator | None = getattr(self._entry, "runtime_data", None)
        if coordinator is not None:
            coordinator.request_upload()
        return {}, ""


class ForgetFlow(RepairsFlow):
    """Erases a home after two questions, and shows the receipt."""

    def __init__(self, url: str, entry: SmartHouseEntry | None, data: dict[str, Any]) -> None:
        """entry: None if it was removed; then `data` is what it held."""
        self._url, self._entry, self._held = url, entry, data
        self._stop, self._receipt = False, ""

    async def async_step_init(self, user_input: dict[str, Any] | None = None) -> FlowResult:
        """Begin. What is given here names the issue. A home that has left is shown its receipt."""
        if self._entry is not None and (receipt := self._entry.data.get(CONF_LEFT)) is not None:
            self._receipt = receipt
            return await self.async_step_receipt()
        return await self.async_step_leave()

    async def async_step_leave(self, user_input: dict[str, Any] | None = None) -> FlowResult:
        """Ask the first question: whether to object, too."""
        if user_input is not None:
            self._stop = user_input[CONF_STOP]
            return await self.async_step_sure()
        return self.async_show_form(step_id="leave", data_schema=QUESTION, description_placeholders={"url": self._url})

    async def async_step_sure(self, user_input: dict[str, Any] | None = None) -> FlowResult:
        """Ask the second question, and erase."""
        errors: dict[str, str] = {}
        if user_input is not None:
            receipt, errors = await erase(self._forget, self._stop, user_input)
            if receipt is not None:
                self._receipt = receipt
                keep_receipt(self.hass, receipt, self._url)
                return await self.async_step_receipt()
        return self.async_show_form(
            step_id="sure", data_schema=SURE, errors=errors, description_placeholders={"url": self._url}
        )

    async def async_step_receipt(self, user_input: dict[str, Any] | None = None) -> FlowResult:
        """Show the receipt."""
        if user_input is not None:
            return self.async_create_entry(data={})
        return self.async_show_form(
            step_id="receipt",
            data_schema=vol.Schema({}),
            description_placeholders={"url": self._url, "receipt": self._receipt},
        )

    async def _forget(self, stop: bool) -> str:
        if self._entry is None:
            return await client_of(self.hass, self._held).forget(stop=stop)
        return await self._entry.runtime_data.forget(stop=stop)


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: dict[str, str | int | float | None] | None
) -> RepairsFlow:
    """Return the dialogue of an issue."""
    held: dict[str, Any] = dict(data or {})
    name = issue_id.partition("_")[0]
    if name == issues.REMOVED:
        return ForgetFlow(held[CONF_URL], None, held)
    entry: SmartHouseEntry | None = hass.config_entries.async_get_entry(held["entry_id"])
    if entry is None:
        raise ValueError(f"The entry of {issue_id} is gone")
    return ForgetFlow(entry.data[CONF_URL], entry, {}) if name == issues.FORGET else ConsentFlow(entry)

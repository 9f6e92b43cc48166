"""The dialogue of the options: what to leave out, the home's code, the preview, and leaving."""

from __future__ import annotations

from typing import Any, Final

import voluptuous as vol
from homeassistant.config_entries import ConfigFlowResult, OptionsFlow
from homeassistant.const import CONF_URL

from . import forms
from .coordinator import SmartHouseCoordinator
from .forgetting import CONF_STOP, QUESTION, SURE, erase, keep_receipt
from .homes import Home

_MOST_SHOWN: Final = 20_000


class SmartHouseOptionsFlow(OptionsFlow):
    """Shows a menu."""

    def __init__(self) -> None:
        self._stop, self._receipt = False, ""

    @property
    def _coordinator(self) -> SmartHouseCoordinator:
        coordinator: SmartHouseCoordinator = self.config_entry.runtime_data
        return coordinator

    async def async_step_init(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the menu."""
        if getattr(self.config_entry, "runtime_data", None) is None:
            return self.async_abort(reason="not_loaded")
        return self.async_show_menu(step_id="init", menu_options=["choice", "preview", "again", "home", "leave"])

    async def async_step_choice(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Change what to leave out, and how often to upload."""
        if user_input is not None:
            options = forms.chosen(self.hass, user_input)
            self.hass.config_entries.async_update_entry(self.config_entry, options=options)
            self.hass.config_entries.async_schedule_reload(self.config_entry.entry_id)
            return self.async_create_entry(data=options)
        form = await forms.choice(self.hass, self._coordinator.scrubber, self.config_entry.options)
        return self.async_show_form(step_id="choice", data_schema=form)

    async def async_step_preview(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show what the next upload would hold."""
        if user_input is not None:
            return await self.async_step_init()
        chunk = await self._coordinator.preview()
        text = "" if chunk is None else chunk.text
        told = {"rows": str(0 if chunk is None else len(chunk.rows)), "bytes": str(0 if chunk is None else len(chunk.body))}
        return self.async_show_form(
            step_id="preview", data_schema=forms.shown(body=text[:_MOST_SHOWN]), description_placeholders=told
        )

    async def async_step_again(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask whether to upload all once more, and do it."""
        if user_input is not None:
            self._coordinator.send_again()
            return self.async_create_entry(data=dict(self.config_entry.options))
        return self.async_show_form(step_id="again", data_schema=vol.Schema({}), description_placeholders=self._told)

    async def async_step_home(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the home's UUID and its code."""
        if user_input is not None:
            return await self.async_step_init()
        home = Home.of(self.config_entry)
        form = forms.shown(home_uuid=home.uuid, home_code=home.code)
        return self.async_show_form(step_id="home", data_schema=form)

    async def async_step_leave(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask the first question before the home is erased."""
        if user_input is not None:
            self._stop = user_input[CONF_STOP]
            return await self.async_step_sure()
        if (receipt := self._coordinator.progress.left) is not None:
            self._receipt = receipt
            return await self.async_step_receipt()
        return self.async_show_form(step_id="leave", data_schema=QUESTION, description_placeholders=self._told)

    async def async_step_sure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask the second question, and erase."""
        errors: dict[str, str] = {}
        if user_input is not None:
            receipt, errors = await erase(lambda stop: self._coordinator.forget(stop=stop), self._stop, user_input)
            if receipt is not None:
                self._receipt = receipt
                keep_receipt(self.hass, receipt, self.config_entry.data[CONF_URL])
                return await self.async_step_receipt()
        return self.async_show_form(step_id="sure", data_schema=SURE, errors=errors, description_placeholders=self._told)

    async def async_step_receipt(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the receipt."""
        if user_input is not None:
            return self.async_create_entry(data=dict(self.config_entry.options))
        return self.async_show_form(step_id="receipt", data_schema=vol.Schema({}), description_placeholders=self._told)

    @property
    def _told(self) -> dict[str, str]:
        return {"url": self.config_entry.data[CONF_URL], "receipt": self._receipt}

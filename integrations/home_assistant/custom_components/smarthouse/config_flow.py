"""The dialogue that sets an entry up, and those that change its address or its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry, ConfigFlow, ConfigFlowResult
from homeassistant.const import CONF_API_KEY, CONF_URL
from homeassistant.core import callback
from homeassistant.util import dt as dt_util
from yarl import URL

from . import forms
from .client import Fault, ServiceError, identity, normalised
from .const import (
    CONF_CONSENTED_AT,
    CONF_HOME,
    CONF_LEFT,
    CONF_PAST,
    CONF_TAKEN_OVER,
    CONF_TERMS,
    DOMAIN,
    PAST_NOTHING,
    TERMS,
    TIER,
)
from .coordinator import SmartHouseEntry
from .homes import Home, client_of, old_entry
from .options_flow import SmartHouseOptionsFlow
from .scrub import Scrubber, load_vocabulary

_OF_KEY: Final = (Fault.KEY_NEEDED, Fault.KEY_WRONG)
_TOLD: Final = {"detail": "", "example": "`https://lake.example.org`"}
"""Two texts of faults hold the service's own words, which only the consent can cause."""


class SmartHouseConfigFlow(ConfigFlow, domain=DOMAIN):
    """Asks for the address, the home, the consent, what to leave out, and how far back to upload."""

    VERSION = 1

    def __init__(self) -> None:
        self._data: dict[str, Any] = Home().data
        self._options: dict[str, Any] = {}

    @staticmethod
    @callback
    def async_get_options_flow(config_entry: ConfigEntry[Any]) -> SmartHouseOptionsFlow:
        """Return the dialogue of the options."""
        return SmartHouseOptionsFlow()

    async def async_step_user(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the address, and try it."""
        errors: dict[str, str] = {}
        if user_input is not None:
            errors = await self._try_address(user_input)
            if not errors:
                await self.async_set_unique_id(identity(self._data[CONF_URL]))
                self._abort_if_unique_id_configured()
                return await self.async_step_home()
        form = forms.address(user_input or {})
        return self.async_show_form(step_id="user", data_schema=form, errors=errors, description_placeholders=_TOLD)

    async def async_step_home(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask whether to go on with a home that there is already."""
        errors: dict[str, str] = {}
        old = old_entry(self.hass)
        if user_input is not None:
            given = str(user_input.get(CONF_HOME, "")).strip()
            home = Home.read(given) if given else Home()
            if home is None:
                errors[CONF_HOME] = "home"
            else:
                if any(entry.data.get(CONF_HOME) == home.uuid for entry in self._async_current_entries()):
                    return self.async_abort(reason="home_configured")
                self._data |= home.data
                if old is not None and old[1].uuid == home.uuid:
                    self._data[CONF_TAKEN_OVER] = old[0].entry_id
                return await self.async_step_consent()
        suggested = user_input or ({} if old is None else {CONF_HOME: old[1].uuid})
        form = self.add_suggested_values_to_schema(forms.HOME, suggested)
        return self.async_show_form(step_id="home", data_schema=form, errors=errors)

    async def async_step_consent(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for consent, and tell the service."""
        errors, detail, terms = dict[str, str](), "", TERMS
        if user_input is not None:
            terms = user_input[CONF_TERMS].strip()
            if not user_input[forms.CONF_AGREE]:
                errors[forms.CONF_AGREE] = "not_agreed"
            else:
                errors, detail = await self._try_to_agree(terms)
            if not errors:
                self._data |= {CONF_TERMS: terms, CONF_CONSENTED_AT: dt_util.utcnow().isoformat()}
                return await self._after_consent()
        return self.async_show_form(
            step_id="consent",
            data_schema=forms.consent(terms),
            errors=errors,
            description_placeholders={"url": self._data[CONF_URL], "detail": detail},
        )

    async def async_step_choice(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask what to leave out, and how often to upload."""
        if user_input is not None:
            self._options = forms.chosen(self.hass, user_input)
            return await self.async_step_past()
        vocabulary = await self.hass.async_add_executor_job(load_vocabulary)
        form = await forms.choice(self.hass, Scrubber(vocabulary, b""), {})
        return self.async_show_form(step_id="choice", data_schema=form)

    async def async_step_past(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask how far back to upload."""
        if user_input is None:
            return self.async_show_form(step_id="past", data_schema=forms.past())
        title = URL(self._data[CONF_URL]).host or DOMAIN
        return self.async_create_entry(title=title, data={**self._data, **user_input}, options=self._options)

    async def async_step_reconfigure(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Change the address or the key. A home that was erased begins now, as a new one. Another service needs consent."""
        entry: SmartHouseEntry = self._get_reconfigure_entry()
        errors: dict[str, str] = {}
        if user_input is not None:
            self._data = {**entry.data}
            errors = await self._try_address(user_input)
            if not errors:
                unique_id = identity(self._data[CONF_URL])
                found = await self.async_set_unique_id(unique_id)
                if found is not None and found.entry_id != entry.entry_id:
                    return self.async_abort(reason="already_configured")
                has_left = self._data.pop(CONF_LEFT, None) is not None
                if has_left:
                    # Its rows of before would tell which home it was.
                    self._data |= {**Home().data, CONF_PAST: PAST_NOTHING}
                if has_left or unique_id != entry.unique_id:
                    return await self.async_step_consent()
                return self.async_update_reload_and_abort(entry, unique_id=unique_id, data=self._data)
        form = forms.address(user_input or entry.data)
        return self.async_show_form(step_id="reconfigure", data_schema=form, errors=errors, description_placeholders=_TOLD)

    async def async_step_reauth(self, entry_data: Mapping[str, Any]) -> ConfigFlowResult:
        """Begin to ask for another key."""
        return await self.async_step_reauth_confirm()

    async def async_step_reauth_confirm(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask for the key, and try it."""
        entry: SmartHouseEntry = self._get_reauth_entry()
        errors: dict[str, str] = {}
        if user_input is not None:
            self._data = {**entry.data, CONF_API_KEY: user_input.get(CONF_API_KEY, "").strip()}
            errors = await self._ask_service(self._data, is_known=True)
            if not errors:
                return self.async_update_reload_and_abort(entry, data=self._data)
        return self.async_show_form(
            step_id="reauth_confirm",
            data_schema=forms.KEY,
            errors=errors,
            description_placeholders={"url": entry.data[CONF_URL], **_TOLD},
        )

    async def _after_consent(self) -> ConfigFlowResult:
        if self.source != "reconfigure":
            return await self.async_step_choice()
        entry: SmartHouseEntry = self._get_reconfigure_entry()
        if CONF_LEFT in entry.data:
            await entry.runtime_data.begin_anew()
        return self.async_update_reload_and_abort(entry, unique_id=identity(self._data[CONF_URL]), data=self._data)

    async def _try_address(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Take in an address and a key that work. Returns what is wrong with them."""
        try:
            self._data[CONF_URL] = normalised(given[CONF_URL])
        except ServiceError as fault:
            return {CONF_URL: str(fault.fault)}
        self._data[CONF_API_KEY] = given.get(CONF_API_KEY, "").strip()
        # The UUID may erase the home. So it goes to no service before the owner agrees to that.
        return await self._ask_service({**self._data, **Home().data})

    async def _ask_service(self, data: Mapping[str, Any], *, is_known: bool = False) -> dict[str, str]:
        client = client_of(self.hass, data)
        try:
            if not is_known:
                await client.check()
            await client.held()
        except ServiceError as fault:
            return {CONF_API_KEY if fault.fault in _OF_KEY else "base" if is_known else CONF_URL: str(fault.fault)}
        return {}

    async def _try_to_agree(self, terms: str) -> tuple[dict[str, str], str]:
        try:
            await client_of(self.hass, self._data).consent(terms, TIER)
        except ServiceError as fault:
            is_of_terms = fault.fault in (Fault.TERMS, Fault.REJECTED)
            return {CONF_TERMS if is_of_terms else "base": str(fault.fault)}, fault.detail
        return {}, ""

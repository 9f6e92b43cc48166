"""Repairs: what the owner is asked to do when the service refuses, or is gone for a day. They heal by themselves."""

from __future__ import annotations

from typing import Any, Final

from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntry
from homeassistant.const import CONF_API_KEY, CONF_URL
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers import issue_registry as ir

from .client import Fault, ServiceError
from .const import CONF_HOME, DOMAIN

CONSENT, OBJECTED, REFUSED, QUOTA, GONE, LEFT_OUT = "consent", "objected", "refused", "quota", "gone", "left_out"
FORGET, REMOVED, LOST = "forget", "removed", "lost"
_HEALING: Final = (CONSENT, OBJECTED, REFUSED, QUOTA, GONE, LEFT_OUT)
_GONE_SECONDS: Final = 86400.0
_AT_ONCE: Final = {
    Fault.CONSENT: CONSENT,
    Fault.TERMS: CONSENT,
    Fault.OBJECTED: OBJECTED,
    Fault.REJECTED: REFUSED,
    Fault.TOO_LARGE: REFUSED,
    Fault.QUOTA: QUOTA,
    Fault.LEFT_OUT: LEFT_OUT,
}
_FIXABLE: Final = {CONSENT, OBJECTED}


@callback
def tell(hass: HomeAssistant, entry: ConfigEntry[Any], fault: ServiceError, failing_seconds: float) -> None:
    """Ask the owner for what mends a fault, if it is one that the owner can mend, or one that lasts."""
    if fault.fault in (Fault.KEY_NEEDED, Fault.KEY_WRONG):
        _remove_repairs(hass, entry)
        entry.async_start_reauth(hass)
        return
    name = _AT_ONCE.get(fault.fault)
    if name is None and failing_seconds >= _GONE_SECONDS:
        name = GONE
    for other in _HEALING:
        if other != name:
            ir.async_delete_issue(hass, DOMAIN, f"{other}_{entry.entry_id}")
    if name is None:
        return
    ir.async_create_issue(
        hass,
        DOMAIN,
        f"{name}_{entry.entry_id}",
        data={"entry_id": entry.entry_id},
        is_fixable=name in _FIXABLE,
        severity=ir.IssueSeverity.ERROR if name in (REFUSED, QUOTA, GONE) else ir.IssueSeverity.WARNING,
        translation_key=name,
        translation_placeholders={"url": entry.data[CONF_URL], "detail": fault.detail},
    )


@callback
def heal(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Remove what an upload that worked, or the end of uploading, has made needless: repairs, and the question for a key."""
    for flow in list(entry.async_get_active_flows(hass, {SOURCE_REAUTH})):
        hass.config_entries.flow.async_abort(flow["flow_id"])
    _remove_repairs(hass, entry)


def _remove_repairs(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    for name in _HEALING:
        ir.async_delete_issue(hass, DOMAIN, f"{name}_{entry.entry_id}")


@callback
def tell_of_loss(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Tell that the service holds nothing of what it took. An upload does not heal that, nor a restart."""
    ir.async_create_issue(
        hass,
        DOMAIN,
        f"{LOST}_{entry.entry_id}",
        is_fixable=False,
        is_persistent=True,
        severity=ir.IssueSeverity.WARNING,
        translation_key=LOST,
        translation_placeholders={"url": entry.data[CONF_URL]},
    )


@callback
def withdraw_loss(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Remove what `tell_of_loss` told: all is sent again, or nothing more."""
    ir.async_delete_issue(hass, DOMAIN, f"{LOST}_{entry.entry_id}")


@callback
def ask_to_forget(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Ask whether the home is really to be erased. The answer is given in the repair."""
    ir.async_create_issue(
        hass,
        DOMAIN,
        f"{FORGET}_{entry.entry_id}",
        data={"entry_id": entry.entry_id},
        is_fixable=True,
        severity=ir.IssueSeverity.WARNING,
        translation_key=FORGET,
        translation_placeholders={"url": entry.data[CONF_URL]},
    )


@callback
def withdraw_offer(hass: HomeAssistant, home: str) -> None:
    """Remove the offer to erase a home that an entry goes on with: nobody may erase it behind that entry's back."""
    found = [issue for (domain, _), issue in ir.async_get(hass).issues.items() if domain == DOMAIN]
    for issue in found:
        if issue.translation_key == REMOVED and (issue.data or {}).get(CONF_HOME) == home:
            ir.async_delete_issue(hass, DOMAIN, issue.issue_id)


@callback
def offer_to_forget(hass: HomeAssistant, entry: ConfigEntry[Any]) -> None:
    """Offer to erase a home whose entry was removed. The offer lasts until Home Assistant is restarted."""
    heal(hass, entry)
    withdraw_loss(hass, entry)
    ir.async_delete_issue(hass, DOMAIN, f"{FORGET}_{entry.entry_id}")
    ir.async_create_issue(
        hass,
        DOMAIN,
        f"{REMOVED}_{entry.entry_id}",
        data={name: entry.data.get(name) for name in (CONF_URL, CONF_HOME, CONF_API_KEY)},
        is_fixable=True,
        severity=ir.IssueSeverity.WARNING,
        translation_key=REMOVED,
        translation_placeholders={"url": entry.data[CONF_URL]},
    )

"""The home that an entry uploads for: its UUID, and the key that makes tokens of words in entity ids."""

from __future__ import annotations

import re
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_API_KEY, CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession

from .client import Client
from .const import CONF_HOME, CONF_NAMES_KEY, OLD_DOMAIN

_CODE: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.([0-9a-f]{32}))?", re.ASCII)


@dataclass(frozen=True)
class Home:
    """A home. With the UUID alone, a new installation goes on with it; with the key, too, its entities keep their names."""

    uuid: str = field(default_factory=lambda: str(uuid.uuid4()), repr=False)
    names_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    @property
    def code(self) -> str:
        """Return both as one text, that can be copied and given again."""
        return f"{self.uuid}.{self.names_key}"

    @property
    def data(self) -> dict[str, str]:
        """Return both as an entry holds them."""
        return {CONF_HOME: self.uuid, CONF_NAMES_KEY: self.names_key}

    @classmethod
    def of(cls, entry: ConfigEntry[Any]) -> Home:
        """Return the home of an entry."""
        return cls(entry.data[CONF_HOME], entry.data[CONF_NAMES_KEY])

    @classmethod
    def read(cls, given: str) -> Home | None:
        """Read a UUID or a home's code; None if it is neither."""
        if (found := _CODE.fullmatch(given.strip().lower())) is None:
            return None
        return cls(found[1], found[2]) if found[2] else cls(found[1])


def old_entry(hass: HomeAssistant) -> tuple[ConfigEntry[Any], Home] | None:
    """Return the entry of the 2022 integration, with its home; None if there is none that has a UUID."""
    for entry in hass.config_entries.async_entries(OLD_DOMAIN):
        for held in (entry.data, entry.options):
            if (home := Home.read(str(held.get("uuid", "")))) is not None:
                return entry, home
    return None


def client_of(hass: HomeAssistant, data: Any) -> Client:
    """Return the client for what an entry, or a flow, holds."""
    return Client(async_get_clientsession(hass), data[CONF_URL], data[CONF_HOME], data.get(CONF_API_KEY) or None)

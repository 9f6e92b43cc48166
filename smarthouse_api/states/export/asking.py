"""What is asked for, as this installation publishes it: filters made ready, and the secret behind the pseudonyms."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from config.groups import ExportSettings
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.errors import Invalid
from smarthouse_api.states.consents import Consents
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.privacy import home_name


class Asking:
    """Makes filters ready for the lake: what is never published is left out, and homes are found by their pseudonyms."""

    def __init__(self, homes: Homes, consents: Consents, keyring: Keyring, settings: ExportSettings) -> None:
        self._homes, self._consents, self._keyring, self._settings = homes, consents, keyring, settings

    def consents(self) -> Mapping[str, int]:
        """Count the homes by the version of the terms that they agreed to, for the documents of an export.

        Under `strict`, a version of few homes is not told.
        """
        return self._consents.by_terms(self._settings.min_homes if self._settings.privacy == "strict" else 1)

    def enrolled(self) -> frozenset[str]:
        """Return the homes that `strict` privacy may count, by internal keys, if they have sent data for long enough, too."""
        if self._settings.privacy != "strict":
            return frozenset()
        return self._homes.agreed(self._settings.enrolled_after_days)

    @property
    def has_lasting_names(self) -> bool:
        """Tell whether a home has one pseudonym in all answers."""
        return self._settings.pseudonyms != "rotating"

    def secret(self) -> bytes:
        """Return what decides the pseudonyms of one answer."""
        return self._keyring.key("export") if self.has_lasting_names else secrets.token_bytes(32)

    def ready(self, filters: Filters) -> Filters | None:
        """Make filters ready; None if no row can pass them. Raises `Invalid` if homes cannot be asked for."""
        level = self._settings.privacy
        asked = filters if level == "raw" else filters.publishable(strict=level == "strict")
        if asked is None or (asked.since or date.min) > (asked.until or date.max):
            return None
        if not asked.homes:
            return asked
        if not self.has_lasting_names:
            raise Invalid("homes: each export has pseudonyms of its own here, so that no home can be asked for")
        named, secret = set(asked.homes), self.secret()
        keys = sorted(home.key for home in self._homes.everyone() if home_name(secret, home.key) in named)
        return replace(asked, keys=tuple(keys)) if keys else None

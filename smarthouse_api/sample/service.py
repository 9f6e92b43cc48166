"""Loads sample homes into an installation, and removes them again.

They upload as any home does, and are forgotten as any home is. Their UUIDs are made from the installation's secret: so nothing
is stored that says which homes are samples, and nobody else can name them.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property

import msgspec

from config.groups import ConsentSettings
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.sample.days import HOMES, uploads
from smarthouse_api.states.homes import Home
from smarthouse_api.states.records.privacy import home_name
from smarthouse_api.states.service import States
from smarthouse_api.states.uploads import Upload

_TERMS = "sample"


class Samples:
    """Loads and removes the sample homes of an installation."""

    def __init__(self, states: States, forgetting: Forgetting, keyring: Keyring, settings: ConsentSettings) -> None:
        self._states, self._forgetting, self._keyring, self._settings = states, forgetting, keyring, settings

    def homes(self) -> list[Home]:
        """List the sample homes that are there."""
        return self._states.homes.all_tagged(self._tags)

    def names(self) -> list[str]:
        """List the pseudonyms of the sample homes that are there, as exports have them unless each has others."""
        secret = self._keyring.key("export")
        return sorted(home_name(secret, home.key) for home in self.homes())

    def load(self, now: datetime | None = None) -> None:
        """Load the sample homes: a week that ends now. Homes that are there stay as they are. Raises what an upload raises."""
        there = {home.tag for home in self.homes()}
        for number, (id_, tag) in enumerate(zip(self._uuids, self._tags, strict=True)):
            if tag not in there:
                self._load(number, id_, now or datetime.now(UTC))
        self._states.chores.flush()

    def remove(self) -> None:
        """Forget the sample homes. Repeatable. Raises what `Forgetting.forget` raises."""
        for home in self.homes():
            self._forgetting.forget_tagged(home.tag)

    def _load(self, number: int, id_: str, now: datetime) -> None:
        if self._settings.required:
            terms = self._settings.terms[-1] if self._settings.terms else _TERMS
            self._states.consents.give(id_, terms, "rows")
        for one in uploads(number, now):
            self._states.uploads.receive(Upload(id_, msgspec.json.encode(one.states)), one.at)

    @cached_property
    def _uuids(self) -> list[str]:
        return [str(uuid.UUID(bytes=digest[:16], version=4)) for digest in self._digests()]

    @cached_property
    def _tags(self) -> list[str]:
        return [self._states.homes.tag(id_) for id_ in self._uuids]

    def _digests(self) -> Iterator[bytes]:
        secret = self._keyring.key("sample")
        return (hmac.digest(secret, b"%d" % number, "sha256") for number in range(HOMES))

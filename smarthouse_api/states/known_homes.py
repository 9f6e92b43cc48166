"""Homes that upload, as an operator sees them: by pseudonym, never by UUID."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.errors import NotFound
from smarthouse_api.states.counts import Counts, Kept
from smarthouse_api.states.homes import Home, Homes
from smarthouse_api.states.records.privacy import home_name


@dataclass(frozen=True, slots=True)
class CountedHome:
    """Describes a home that uploads. pseudonym: as in exports, unless each export has others. kept: what is kept raw of it."""

    pseudonym: str
    home: Home
    kept: Kept

    @property
    def silent_seconds(self) -> float | None:
        """How long ago the home uploaded last; None if that is not known."""
        return None if self.kept.last_us is None else max(0.0, time.time() - self.kept.last_us / 1e6)


class KnownHomes:
    """Lists and finds homes that upload."""

    def __init__(self, homes: Homes, counts: Counts, keyring: Keyring) -> None:
        self._homes, self._counts, self._keyring = homes, counts, keyring

    def list(self, silent_seconds: float | None = None) -> list[CountedHome]:
        """List the homes that are not hidden, by pseudonym. silent_seconds: only those without an upload for so long."""
        kept, secret = self._counts.by_home(), self._keyring.key("export")
        found = (CountedHome(home_name(secret, one.key), one, kept.get(one.key, Kept())) for one in self._homes.everyone())
        wanted = (one for one in found if silent_seconds is None or (one.silent_seconds or 0.0) >= silent_seconds)
        return sorted(wanted, key=lambda one: one.pseudonym)

    def silent_first(self, skip: int, limit: int) -> tuple[Sequence[CountedHome], int]:
        """List some of the homes, those first that uploaded last the longest ago, and count all.

        Where the last upload is not known, the home comes last. Only the homes that are given are named: that takes time.
        """
        kept, secret = self._counts.by_home(), self._keyring.key("export")
        everyone = [(one, kept.get(one.key, Kept())) for one in self._homes.everyone()]
        order = sorted(everyone, key=lambda pair: (pair[1].last_us is None, pair[1].last_us or 0, pair[0].key))
        return [CountedHome(home_name(secret, one.key), one, told) for one, told in order[skip : skip + limit]], len(order)

    def find(self, pseudonym: str) -> CountedHome:
        """Find a home by its pseudonym. Raises `NotFound`."""
        secret = self._keyring.key("export")
        for home in self._homes.everyone():
            if home_name(secret, home.key) == pseudonym:
                return CountedHome(pseudonym, home, self._counts.of([home.key])[0])
        raise NotFound(f"There is no home {pseudonym}; `smarthouse homes list` lists those that upload")

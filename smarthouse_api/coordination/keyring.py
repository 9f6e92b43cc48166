"""The keyring: the secret from which every pseudonym and signature of this installation is derived."""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress

from backends.ports import ABSENT, Conflict, StateStore

SPACE = "installation"


class Keyring:
    """Derives every key that the installation signs or makes pseudonyms with, from one random secret.

    The secret is made once, and kept in the state store beside what depends on it.
    """

    def __init__(self, state: StateStore) -> None:
        self._state, self._secret = state, b""
        self._keys: dict[str, bytes] = {}

    def key(self, purpose: str) -> bytes:
        """Derive 32 bytes for one purpose, the same in every process and after every restart."""
        if purpose not in self._keys:
            self._secret = self._secret or self._kept()
            self._keys[purpose] = hmac.digest(self._secret, purpose.encode(), "sha256")
        return self._keys[purpose]

    def _kept(self) -> bytes:
        with suppress(Conflict):
            self._state.put(SPACE, "secret", secrets.token_bytes(32), expect=ABSENT)
        kept = self._state.get(SPACE, "secret")
        if kept is None:
            raise RuntimeError("the installation's secret vanished from the state store")
        return kept.value

"""The keys that sign receipts: Ed25519, made at random, and replaced when an operator says so.

They are a document of the state store beside the installation's secret, so that a backup and a copy have them. Of a key that
was replaced only the public half stays: what it signed can still be checked.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backends.ports import ABSENT, Conflict, StateStore
from smarthouse_api.coordination.keyring import SPACE
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.mending import Mender, removing
from smarthouse_api.coordination.notes import Notes, digest_of

_NAME: Final = "signing"


class SigningKey(msgspec.Struct, frozen=True):
    """Holds a key. public, seed: in hexadecimal; no seed if the key was replaced. since, until: seconds since 1970."""

    public: str
    seed: str
    since: int
    until: int | None = None

    @property
    def id(self) -> str:
        return key_id(bytes.fromhex(self.public))

    def replaced(self) -> SigningKey:
        """Return what is left of a key once another has replaced it."""
        return self if self.until is not None else SigningKey(self.public, "", self.since, int(time.time()))


_keys = msgspec.json.Decoder(list[SigningKey]).decode


class SigningKeys:
    """Signs with the newest key of an installation, and lists the public halves of all. The first key is made when needed."""

    def __init__(self, state: StateStore, notes: Notes) -> None:
        self._state, self._notes = state, notes

    def sign(self, message: bytes) -> tuple[str, str]:
        """Sign a message: the id of the key, and the signature in hexadecimal."""
        key = self.all()[0]
        return key.id, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key.seed)).sign(message).hex()

    def all(self) -> list[SigningKey]:
        """List the keys, the newest first: that one signs."""
        while True:
            found = self._state.get(SPACE, _NAME)
            if found is not None:
                return _keys(found.value)
            self._put([_new_key()], ABSENT)

    def rotate(self) -> SigningKey:
        """Sign with a new key from now on. A restored backup does not bring the earlier one back."""
        while True:
            found = self._state.get(SPACE, _NAME)
            earlier = _keys(found.value) if found is not None else []
            self._notes.leave(_digest(key) for key in earlier if key.seed)
            keys = [_new_key(), *(key.replaced() for key in earlier)]
            if self._put(keys, found.version if found is not None else ABSENT):
                return keys[0]

    def retire_noted(self, noted: Collection[str]) -> int:
        """Replace the key again that was replaced after a backup; how many."""
        found = self._state.get(SPACE, _NAME)
        if found is None or not any(key.seed and _digest(key) in noted for key in _keys(found.value)):
            return 0
        self.rotate()
        return 1

    def mender(self) -> Mender:
        """Return what mends a damaged document of keys: it is removed, and a new key is made."""
        return Mender(SPACE, _NAME, removing(self._state))

    def _put(self, keys: list[SigningKey], expect: int) -> bool:
        with suppress(Conflict):  # another process did the same
            # It expires in the end: a full store takes only what expires.
            self._state.put(SPACE, _NAME, msgspec.json.encode(keys), expect=expect, ttl_seconds=FOR_GOOD_SECONDS)
            return True
        return False


def key_id(public: bytes) -> str:
    """Name a public key: by the beginning of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def _digest(key: SigningKey) -> str:
    return digest_of(f"signing/{key.id}")


def _new_key() -> SigningKey:
    key = Ed25519PrivateKey.generate()
    return SigningKey(key.public_key().public_bytes_raw().hex(), key.private_bytes_raw().hex(), int(time.time()))

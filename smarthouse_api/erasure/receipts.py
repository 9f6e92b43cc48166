"""Receipts of erasure: what a `DELETE` of a home gives, and what became of the home since.

Nothing is kept for a receipt. Its id says, encrypted, when it was asked for, until when the home was hidden, and the note of
`smarthouse_api.erasure.checking`. So a stranger fills no store with receipts, and a receipt says of a home that was never known
the same as of any other: when `smarthouse_api.erasure.rounds` had everything erased that was hidden then.
"""

from __future__ import annotations

import re
import secrets
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from backends.ports import ObjectStore
from smarthouse_api.arrow.times import DAY_US, time_of, time_text
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.erasure.checking import SALT_BYTES, canonical, jwk_of, note_for
from smarthouse_api.erasure.rounds import Rounds, microseconds_of
from smarthouse_api.erasure.signing import SigningKeys
from smarthouse_api.errors import NotFound

_VERSION: Final = 1
_TIME_BYTES: Final = 7
_ID: Final = re.compile(r"[0-9a-f]{116}", re.ASCII)
_UNKNOWN: Final = "There is no such receipt, or not any more"
_EMPTYING: Final = 1.1
"""A bin is waited for so much longer than its interval: emptying it takes some time, too."""


class Receipts:
    """Gives receipts, and tells what they say now, signed.

    kinds: what holds the state and the objects, such as `redis` and `minio`. kept_days: how long a receipt is answered.
    """

    def __init__(
        self,
        objects: ObjectStore,
        keyring: Keyring,
        rounds: Rounds,
        keys: SigningKeys,
        kinds: tuple[str, str],
        kept_days: int,
    ) -> None:
        self._keyring, self._rounds, self._keys = keyring, rounds, keys
        self._kinds, self._kept_us = kinds, kept_days * DAY_US
        self._bin_us = microseconds_of(objects.bin_seconds * _EMPTYING)

    def now(self) -> int:
        """Return the time by which receipts are asked for."""
        return self._rounds.now()

    def seconds(self) -> tuple[float, float]:
        """Return how long after its deletion a receipt says `erased` at the earliest: now, and while no erasure was slow."""
        bin_seconds = self._bin_us / microseconds_of(1)
        now, least = self._rounds.told_after_seconds()
        return now + bin_seconds, least + bin_seconds

    def are_awaited(self) -> bool:
        """Tell whether a receipt was given whose home is not known to be erased yet."""
        return self._rounds.is_awaited()

    def give(self, uuid: str, asked: int, hidden: int) -> str:
        """Give a receipt for a home that was hidden by then; its id. asked: when the request began."""
        self._rounds.ask(hidden)
        salt = secrets.token_bytes(SALT_BYTES)
        times = b"".join(at.to_bytes(_TIME_BYTES, "big") for at in (asked, hidden))
        return (salt + self._cipher().encrypt(times + note_for(salt, uuid), [salt])).hex()

    def read(self, id_: str) -> dict[str, Any]:
        """Return a receipt as it stands now, unsigned. Raises `NotFound`."""
        asked, hidden, note = self._opened(id_)
        return self._receipt(id_, asked, hidden, note)

    def tell(self, id_: str) -> bytes:
        """Return a receipt as it stands now, signed, as canonical JSON. Raises `NotFound`."""
        receipt = self.read(id_)
        key, signature = self._keys.sign(canonical(receipt))
        return canonical({"receipt": receipt, "signature": signature, "key": key})

    def public_keys(self) -> dict[str, Any]:
        """Return the public keys as a set of JSON Web Keys, the one that signs first."""
        keys = self._keys.all()
        told = [{**jwk_of(bytes.fromhex(key.public)), "since": key.since, "until": key.until} for key in keys]
        return {"keys": told}

    def _receipt(self, id_: str, asked: int, hidden: int, note: bytes) -> dict[str, Any]:
        now, found = self._rounds.now(), self._rounds.find(hidden)
        erased = None if found is None or found.told_at(asked) > now else found.told_at(asked)
        until = None if erased is None else erased + self._bin_us
        if erased is None or until is None:
            state, told = "hidden", now
        else:
            state, told = ("pending", now) if now < until else ("erased", until)
        of_state, of_objects = self._kinds
        return {
            "version": _VERSION,
            "id": id_,
            "installation": self._keyring.key("installation").hex()[:16],
            "note": note.hex(),
            "state": state,
            "asked_at": _text(asked),
            "told_at": _text(told),
            "expires_at": _text(asked + self._kept_us),
            "stores": [
                _store("state", of_state, erased, None, now),
                _store("objects", of_objects, erased, until, now),
                _store("lake", of_objects, erased, until, now),
            ],
        }

    def _opened(self, id_: str) -> tuple[int, int, bytes]:
        if not _ID.fullmatch(id_):
            raise NotFound(_UNKNOWN)
        token = bytes.fromhex(id_)
        salt = token[:SALT_BYTES]
        try:
            data = self._cipher().decrypt(token[SALT_BYTES:], [salt])
        except InvalidTag:
            raise NotFound(_UNKNOWN) from None
        asked, hidden = (int.from_bytes(data[at : at + _TIME_BYTES], "big") for at in (0, _TIME_BYTES))
        if asked + self._kept_us <= self._rounds.now():
            raise NotFound(_UNKNOWN)
        return asked, hidden, data[2 * _TIME_BYTES :]

    def _cipher(self) -> AESSIV:
        return AESSIV(self._keyring.key("receipt"))


def _store(name: str, kind: str, erased: int | None, bin_until: int | None, now: int) -> dict[str, Any]:
    """Tell of one store. bin_until: when its bin is empty, if it has one."""
    bin_until = None if bin_until == erased else bin_until
    waits_for = "purge" if erased is None else "bin" if bin_until is not None and now < bin_until else None
    return {
        "store": name,
        "kind": kind,
        "waits_for": waits_for,
        "erased_at": None if erased is None else _text(erased),
        "bin_empty_at": None if bin_until is None else _text(bin_until),
    }


def _text(us: int) -> str:
    return time_text(time_of(us))

"""Sessions of people at the console. In the state store, in the space of the keys: `session/<digest of the token>`.

A browser holds the token. What a session says is encrypted with it, so that neither the store nor a backup of it tells who was
there, and what is left of a session of an erased home can be read by nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backends.ports import Change, Conflict, StateStore
from smarthouse_api.access.projects import SPACE

IDLE_SECONDS: Final = 1800.0
LONGEST_SECONDS: Final = 8 * 3600.0
_PREFIX: Final = "session/"
_NONCE_BYTES: Final = 12
_RENEWED_SECONDS: Final = 60.0


class Said(msgspec.Struct, frozen=True):
    """Says whose a session is. who: of a kind, such as the tag of a home. proof: what it ends with, such as its internal key.

    form_token: what each form of the session sends along. begun, at: when it began and was last renewed, in seconds since 1970.
    key: what else it ends with, if anything: the id of a key, and what proves that it was this one.
    """

    kind: str
    who: str
    proof: str
    form_token: str
    begun: float
    at: float
    key: tuple[str, str] | None = None


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Said).decode


@dataclass(frozen=True)
class Session:
    """Is a session that goes on. token: the browser's."""

    token: str
    said: Said

    def sent(self, form_token: str | None) -> bool:
        """Tell whether a form of this session sent a request, by the token that came with it."""
        return form_token is not None and hmac.compare_digest(form_token.encode(), self.said.form_token.encode())


class Sessions:
    """Begins, finds and ends sessions. One ends half an hour after the last request of a person, or after eight hours."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def begin(self, kind: str, who: str, proof: str, key: tuple[str, str] | None = None) -> Session:
        """Begin a session. Its parts are those of `Said`."""
        now = self._state.now()
        session = Session(secrets.token_urlsafe(32), Said(kind, who, proof, secrets.token_urlsafe(24), now, now, key))
        self._put(session)
        return session

    def find(self, kind: str, token: str, *, goes_on: bool = True) -> Session | None:
        """Find the session of a browser; None if it has ended, or never began. goes_on: have it last longer."""
        if (found := self._state.get(SPACE, _name(token))) is None:
            return None
        nonce, sealed = found.value[:_NONCE_BYTES], found.value[_NONCE_BYTES:]
        try:
            said = _decode(_cipher(token).decrypt(nonce, sealed, kind.encode()))
        except (InvalidTag, ValueError):
            return None
        session, seconds = Session(token, said), self._state.now() - said.at
        if seconds > IDLE_SECONDS or self._state.now() - said.begun > LONGEST_SECONDS:
            return None
        if goes_on and seconds > _RENEWED_SECONDS:
            session = Session(token, msgspec.structs.replace(said, at=self._state.now()))
            self._put(session, found.version)
        return session

    def end(self, token: str) -> None:
        """End a session. Repeatable."""
        self._state.commit(SPACE, Change(deletes=(_name(token),)))

    def _put(self, session: Session, expect: int | None = None) -> None:
        nonce, said = secrets.token_bytes(_NONCE_BYTES), session.said
        sealed = nonce + _cipher(session.token).encrypt(nonce, _encode(said), said.kind.encode())
        with suppress(Conflict):  # it has ended, or another request has renewed it
            self._state.put(SPACE, _name(session.token), sealed, expect=expect, ttl_seconds=IDLE_SECONDS)


def _name(token: str) -> str:
    return f"{_PREFIX}{hashlib.sha256(token.encode()).hexdigest()}"


def _cipher(token: str) -> AESGCM:
    return AESGCM(hashlib.sha256(b"session\0" + token.encode()).digest())

"""A key: its text, `shk_<id>_<secret>`, its document in the state store, and whoever shows it."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

import msgspec

from smarthouse_api.arrow.times import EPOCH
from smarthouse_api.errors import Unauthorized

_SCHEMES = ("modecloud", "bearer")
_ID = re.compile(r"[0-9a-f]{12}")
_KEY = re.compile(r"shk_([0-9a-f]{12})_([0-9a-f]{64})")
_HOW = "send `Authorization: Bearer <key>` or `Authorization: ModeCloud <key>`"
_SHAPE = "shk_, 12 hexadecimal digits, _ and 64 hexadecimal digits, in lower case"


class Owner(msgspec.Struct, frozen=True):
    """Whoever wrote something: the holder of a key. type: `user`, `project` or `admin`. id, name: of the key; no secret."""

    type: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever shows a key. homes: those that the key itself names; its project's are known to `Access.require_home`."""

    owner: Owner
    homes: frozenset[int]
    project: str | None
    is_admin: bool
    datasources: frozenset[str]
    datasets: frozenset[str]


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key and may be shown: nothing of its secret. Times are UTC; `expires_at` None: never."""

    id: str
    name: str
    project: str | None = None
    homes: tuple[int, ...] = ()
    datasources: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    admin: bool = False
    created_at: datetime
    expires_at: datetime | None = None

    @property
    def kind(self) -> str:
        """`admin`, `project` or `user`."""
        return "admin" if self.admin else "user" if self.project is None else "project"

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def principal(self) -> Principal:
        return Principal(
            owner=Owner(type=self.kind, id=self.id, name=self.name),
            homes=frozenset(self.homes),
            project=self.project,
            is_admin=self.admin,
            datasources=frozenset(self.datasources),
            datasets=frozenset(self.datasets),
        )


class KeyDocument(msgspec.Struct, frozen=True):
    """What is stored of a key. old_digest: of the secret before the last rotation, which works until `old_until`.

    A secret has 256 random bits: nobody guesses it, so that a plain SHA-256 guards it as well as a slow hash would.
    """

    record: KeyRecord
    digest: bytes
    old_digest: bytes
    old_until: datetime

    def __repr__(self) -> str:
        return f"KeyDocument({self.record!r})"

    def opens(self, secret: str, now: datetime) -> bool:
        """Whether the secret is the key's, and good now; the time that this takes does not tell how nearly it was."""
        given = digest(secret)
        is_new, is_old = hmac.compare_digest(given, self.digest), hmac.compare_digest(given, self.old_digest)
        return (is_new or (is_old and now < self.old_until)) and not self.record.is_expired(now)

    def rotated(self, secret: str, old_until: datetime) -> KeyDocument:
        """The key with another secret; its present one works until then."""
        return KeyDocument(self.record, digest(secret), self.digest, old_until)

    def encoded(self) -> bytes:
        return msgspec.json.encode(self)


_document = msgspec.json.Decoder(KeyDocument).decode


def document(record: KeyRecord, secret: str) -> KeyDocument:
    return KeyDocument(record, digest(secret), bytes(32), record.created_at)


def decoded(value: bytes) -> KeyDocument:
    return _document(value)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def new_id() -> str:
    return secrets.token_hex(6)


def new_secret() -> str:
    return secrets.token_hex(32)


def text(id_: str, secret: str) -> str:
    return f"shk_{id_}_{secret}"


def is_id(given: str) -> bool:
    return _ID.fullmatch(given) is not None


def id_in(given: str) -> str | None:
    """The id in an id or in a key's whole text; None if it is neither."""
    found = _KEY.fullmatch(given)
    return found[1] if found else given if is_id(given) else None


def key_in(authorization: str | None) -> tuple[str, str]:
    """Id and secret in the value of an `Authorization` header. Raises `Unauthorized`, which repeats nothing of it."""
    scheme, _, key = (authorization or "").strip(" ").partition(" ")
    if not scheme:
        raise Unauthorized(f"A key is needed: {_HOW}")
    if scheme.lower() not in _SCHEMES:
        raise Unauthorized(f"The header Authorization does not begin with a scheme that is known here: {_HOW}")
    found = _KEY.fullmatch(key.lstrip(" "))
    if found is None:
        raise Unauthorized(f"The key is malformed; it is {_SHAPE}")
    return found[1], found[2]


NOBODYS = KeyDocument(
    KeyRecord(id="0" * 12, name="nobody", created_at=EPOCH, expires_at=EPOCH), bytes(32), bytes(32), EPOCH
).encoded()
"""The document of a key that opens nothing."""

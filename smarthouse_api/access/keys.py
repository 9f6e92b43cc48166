"""API keys: what a key opens, its text `shk_<id>_<secret>`, and its document in the state store."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import datetime

import msgspec

from smarthouse_api.arrow.times import EPOCH
from smarthouse_api.errors import Unauthorized

_SCHEMES = ("modecloud", "bearer")
_ID = re.compile(r"[0-9a-f]{12}")
_KEY = re.compile(r"shk_([0-9a-f]{12})_([0-9a-f]{62}(?:[0-9a-f]{2})?)")
"""Keys of earlier versions have 64 digits."""

_HOW = "send `Authorization: Bearer <key>` or `Authorization: ModeCloud <key>`"


class Owner(msgspec.Struct, frozen=True):
    """Names the holder of a key as the author of something. type: `user`, `project` or `admin`. id, name: the key's."""

    type: str
    id: str
    name: str


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Says what a key opens. All of it may be shown: it holds nothing of the secret.

    homes: those that the key itself names; `Access.require_home` knows its project's. export: whether it opens the rows of
    exports. ingest: whether it lets homes upload and delete. expires_at: in UTC; None: never.
    """

    id: str
    name: str
    project: str | None = None
    homes: tuple[int, ...] = ()
    datasources: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    admin: bool = False
    export: bool = False
    ingest: bool = False
    created_at: datetime
    expires_at: datetime | None = None

    @property
    def owner(self) -> Owner:
        """Name the holder of the key, as the author of what they write."""
        kind = "admin" if self.admin else "user" if self.project is None else "project"
        return Owner(type=kind, id=self.id, name=self.name)

    def is_expired(self, now: datetime) -> bool:
        """Tell whether the key has expired by then."""
        return self.expires_at is not None and self.expires_at <= now

    def names_collection(self, collection_id: str) -> bool:
        """Tell whether the key names the collection: a data source and a dataset with one id are the same collection."""
        return collection_id in self.datasources or collection_id in self.datasets


class KeyDocument(msgspec.Struct, frozen=True):
    """Holds a key as the state store keeps it. old_digest: of the secret before the last rotation; it works until `old_until`.

    A secret has 248 random bits: nobody guesses it, so that a plain SHA-256 guards it as well as a slow hash would.
    """

    record: KeyRecord
    digest: bytes
    old_digest: bytes
    old_until: datetime

    def __repr__(self) -> str:
        return f"KeyDocument({self.record!r})"

    def opens(self, secret: str, now: datetime) -> bool:
        """Tell whether the secret is the key's and works now. The time that this takes does not tell how much was right."""
        given = digest(secret)
        return self.is_working(lambda kept: hmac.compare_digest(given, kept), now)

    def is_working(self, is_it: Callable[[bytes], bool], now: datetime) -> bool:
        """Tell whether it is the digest of a secret that works now."""
        is_new, is_old = is_it(self.digest), is_it(self.old_digest)
        return (is_new or (is_old and now < self.old_until)) and not self.record.is_expired(now)

    def rotated(self, secret: str, old_until: datetime) -> KeyDocument:
        """Give the key another secret; its present one works until then."""
        return KeyDocument(self.record, digest(secret), self.digest, old_until)

    def without(self, is_ended: Callable[[bytes], bool]) -> KeyDocument:
        """End the secrets that must not work any more. is_ended: tells it from the digest of a secret."""
        digest, old_digest = (bytes(32) if is_ended(one) else one for one in (self.digest, self.old_digest))
        return KeyDocument(self.record, digest, old_digest, self.old_until)

    def encoded(self) -> bytes:
        """Encode the document, as `decoded` reads it."""
        return msgspec.json.encode(self)


decoded = msgspec.json.Decoder(KeyDocument).decode


def digest(secret: str) -> bytes:
    """Hash a secret: only this digest of it is stored."""
    return hashlib.sha256(secret.encode()).digest()


def new_id() -> str:
    """Make a key's id."""
    return secrets.token_hex(6)


def new_secret() -> str:
    """Make a key's secret: so long that the key fits a line of 80 columns."""
    return secrets.token_hex(31)


def text(id_: str, secret: str) -> str:
    """Write a key as its holder shows it."""
    return f"shk_{id_}_{secret}"


def is_id(given: str) -> bool:
    """Tell whether a text has the form of a key's id."""
    return _ID.fullmatch(given) is not None


def id_in(given: str) -> str | None:
    """Find the id in an id or in a key's whole text; None if the text is neither."""
    found = _KEY.fullmatch(given)
    return found[1] if found else given if is_id(given) else None


def key_in(authorization: str | None) -> tuple[str, str]:
    """Find id and secret in the value of an `Authorization` header. Raises `Unauthorized`, which repeats nothing of it."""
    scheme, _, key = (authorization or "").strip(" ").partition(" ")
    if not scheme:
        raise Unauthorized(f"A key is needed: {_HOW}")
    if scheme.lower() not in _SCHEMES:
        raise Unauthorized(f"The header Authorization does not begin with a scheme that is known here: {_HOW}")
    if (found := _KEY.fullmatch(key.lstrip(" "))) is None:
        raise Unauthorized(
            "The key is malformed; it is shk_, 12 hexadecimal digits, _ and 62 hexadecimal digits, in lower case"
        )
    return found[1], found[2]


def digest_in(authorization: str | None) -> bytes:
    """Hash the secret in the value of an `Authorization` header. Raises `Unauthorized`."""
    return digest(key_in(authorization)[1])


NOBODYS = KeyDocument(
    KeyRecord(id="0" * 12, name="nobody", created_at=EPOCH, expires_at=EPOCH), bytes(32), bytes(32), EPOCH
).encoded()
"""The document of a key that opens nothing: it is read in place of one that does not exist."""

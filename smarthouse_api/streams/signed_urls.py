"""Signed URLs: the query of such a URL is a permission, until it expires."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Final

from backends.ports import StateStore
from smarthouse_api.coordination.keyring import Keyring
from smarthouse_api.errors import Forbidden

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
ALTERED: Final = "INVALID_SIGNATURE"
_SIGNATURE, _EXPIRES = "signature", "expires"


class UrlSigner:
    """Signs queries for one purpose. A signature covers the parameters of these names, and when the URL expires.

    A `secret` that is signed too stands nowhere in the query: only who knows it can check the signature.
    """

    def __init__(self, state: StateStore, keyring: Keyring, purpose: str, *names: str) -> None:
        """state: URLs expire by its clock, so that a machine's clock that is set back gives none new life."""
        self._state, self._keyring, self._purpose, self._names = state, keyring, purpose, (*names, _EXPIRES)

    def signed(self, query: Mapping[str, str], seconds: float, secret: bytes = b"") -> dict[str, str]:
        """Return the query with its signature. It is good for so many seconds from now."""
        whole = {**query, _EXPIRES: str(int(self._state.now() + seconds) + 1)}
        return {**whole, _SIGNATURE: self._signature(whole, secret)}

    def is_signed(self, query: Mapping[str, str], secret: bytes = b"") -> bool:
        """Tell whether `signed` made this query with this secret, at whatever time."""
        given = query.get(_SIGNATURE, "")
        return hmac.compare_digest(self._signature(query, secret).encode(), given.encode(errors="replace"))

    def check(self, query: Mapping[str, str]) -> None:
        """Refuse a query that is not signed, or expired. Raises `Forbidden`."""
        if not self.is_signed(query):
            raise Forbidden("The URL is not as it was made; ask the stream for a new one", reason=ALTERED)
        self.check_expiry(query)

    def check_expiry(self, query: Mapping[str, str]) -> None:
        """Refuse a query that is signed and has expired. Raises `Forbidden`."""
        if not _NUMBER.fullmatch(query[_EXPIRES]) or int(query[_EXPIRES]) < self._state.now():
            raise Forbidden("The URL has expired; ask the stream for a new one", reason="URL_EXPIRED")

    def _signature(self, query: Mapping[str, str], secret: bytes) -> str:
        told = "\n".join(query.get(name, "") for name in self._names).encode(errors="replace")
        return hmac.digest(self._keyring.key(self._purpose), told + secret, "sha256").hex()

"""Traces: bytes by which an erased home shows in a store. They are looked for in whatever comes in chunks.

An installation does not know the homes that it has forgotten. It has a digest of the random internal key of each, 32
hexadecimal digits. So each run of such digits that stands anywhere is digested, and looked up among the digests. A home's
UUID is looked for if somebody gives it, in every spelling that we know of.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from itertools import product
from typing import Final
from uuid import UUID

OWN: Final = "uuid"
"""Stands for the UUID that was given, among the internal keys that are found."""

_DIGITS: Final = 32
_HEX: Final = re.compile(rb"[0-9a-f]{32,}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{43,}")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_OVERLAP: Final = 256
_SEPARATOR: Final = rb"(?:[-_:.\s]|%2[dD]|\\u002[dD])?"
_MOST_SEEN: Final = 200_000


class Traces:
    """Finds traces in bytes: internal keys that have one of the digests, and a UUID. What was digested once is remembered."""

    def __init__(self, digests: Collection[str], uuid: str | None = None) -> None:
        self._digests, self._seen = set(digests), dict[bytes, bool]()
        self._spelt: re.Pattern[bytes] | None = None
        self._needles = frozenset[bytes]()
        if uuid is not None:
            self._spelt, self._needles = _forms_of(uuid)

    def add(self, digests: Collection[str]) -> None:
        """Look for more internal keys from now on."""
        self._digests.update(digests)
        self._seen.clear()

    def begin(self) -> Scan:
        """Begin to look through bytes that come in chunks."""
        return Scan(self)

    def among(self, data: bytes) -> set[str]:
        """Return what is found in these bytes: internal keys, and `OWN`."""
        found = set(self._keys(data))
        for run in _BASE64.findall(data):
            found.update(self._encoded(run.translate(_URL_SAFE)))
        if self._has_uuid(data):
            found.add(OWN)
        if b"\0" in data:  # as UTF-16 and UTF-32 have it between the characters
            plain = data.translate(None, b"\0")
            found.update(self._keys(plain))
            if self._has_uuid(plain):
                found.add(OWN)
        return found

    def masked(self, text: str) -> str:
        """Return a text without the UUID."""
        if self._spelt is None:
            return text
        return self._spelt.sub(b"{uuid}", text.encode(errors="replace")).decode(errors="replace")

    def _has_uuid(self, data: bytes) -> bool:
        if self._spelt is None:
            return False
        return self._spelt.search(data) is not None or any(needle in data for needle in self._needles)

    def _keys(self, data: bytes) -> Iterator[str]:
        for run in _HEX.findall(data):
            # Digests, and columns of keys one after another, are long and many.
            step = 1 if len(run) % _DIGITS else _DIGITS
            for start in range(0, len(run) - _DIGITS + 1, step):
                token = run[start : start + _DIGITS]
                if self._is_key(token):
                    yield token.decode()

    def _encoded(self, run: bytes) -> Iterator[str]:
        for start in range(4):
            part = run[start : len(run) - ((len(run) - start) % 4 == 1)]  # one digit alone says nothing
            yield from self._keys(base64.b64decode(part + b"=" * (-len(part) % 4)))

    def _is_key(self, token: bytes) -> bool:
        if (known := self._seen.get(token)) is not None:
            return known
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        known = self._seen[token] = sha256(token).hexdigest() in self._digests
        return known


class Scan:
    """Looks through the chunks of one thing. found: what was found so far."""

    def __init__(self, traces: Traces) -> None:
        self._traces, self._tail = traces, b""
        self.found = set[str]()

    def feed(self, chunk: bytes) -> None:
        """Look through the next chunk, and what lies across its beginning."""
        if not self._tail and not chunk.strip(b"\0"):
            return  # of a file that keeps room aside
        data = self._tail + chunk
        self.found |= self._traces.among(data)
        self._tail = data[-_OVERLAP:].lstrip(b"\0")


def _forms_of(uuid: str) -> tuple[re.Pattern[bytes], frozenset[bytes]]:
    """Return how a UUID may be spelt as text, and the bytes that are it in binary, and either in base64."""
    one = UUID(uuid)
    text = str(one)
    spelt = re.compile(_SEPARATOR.join(part.encode() for part in text.split("-")), re.IGNORECASE)
    texts = [form.encode() for plain in (text, one.hex, text.replace("-", "_")) for form in (plain, plain.upper())]
    needles = {needle for form in (*texts, one.bytes, one.bytes_le) for needle in _in_base64(form)}
    return spelt, frozenset(needles | {one.bytes, one.bytes_le})


def _in_base64(data: bytes) -> Iterable[bytes]:
    """Write bytes in base64 wherever they may stand among others: without the digits that these others change."""
    for before, encode in product(range(3), (base64.b64encode, base64.urlsafe_b64encode)):
        text = encode(bytes(before) + data)
        first = -(-before * 4 // 3)
        yield text[first : (before + len(data)) * 4 // 3]

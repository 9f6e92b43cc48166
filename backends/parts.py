"""The parts of a state store that have checksums: each document, and each entry of a log.

A checksum covers the space, the name, the version or the sequence, the expiry and the value. So a row shows that was exchanged
with another, too. It is made of a CRC-32 of the names, an Adler-32 of the value, and the numbers, modulo a prime near 2**32:
Redis makes that of counters and of versions within a script, and Lua has no CRC.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from isal import isal_zlib

_PRIME: Final = 4_294_967_291
_LARGE_BYTES: Final = 4096
_ID: Final = re.compile("[0-9a-f]{16,}(?:-[0-9a-f]{4,})*|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """Names a document, or with a sequence an entry of a log."""

    space: str
    name: str
    sequence: int | None = None

    @property
    def full_name(self) -> str:
        """The part for the operator's eyes: no log holds it, for it may have a home's key."""
        entry = "" if self.sequence is None else f" {self.sequence}"
        return "".join(one if one.isprintable() else "?" for one in f"{self.space}/{self.name}{entry}")

    @property
    def name_in_logs(self) -> str:
        """The part without the ids in its name."""
        return f"{'document' if self.sequence is None else 'entry'} {without_ids(self.full_name)}"


def without_ids(name: str) -> str:
    """Write a name without what may be a home's key or tag, or another random id."""
    return _ID.sub("…", name)


@lru_cache(1024)
def _space_sum(space: str) -> int:
    return zlib.crc32(f"{space}\0".encode())


def name_sum(space: str, name: str) -> int:
    """Begin the checksums of a document, or of all entries of a log."""
    return zlib.crc32(name.encode(), _space_sum(space))


def value_sum(value: bytes) -> int:
    """Add up a value, for its checksum."""
    return zlib.adler32(value) if len(value) < _LARGE_BYTES else int(isal_zlib.adler32(value))


def checksum(names: int, value: bytes, number: int, expires_us: int = 0) -> int:
    """Make a checksum. names: see `name_sum`. number: version or sequence. expires_us: since 1970; 0: never."""
    added = zlib.adler32(value) if len(value) < _LARGE_BYTES else int(isal_zlib.adler32(value))
    return (names + added + number + 3 * expires_us) % _PRIME

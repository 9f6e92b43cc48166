"""Durations and sizes, as operators write them: 7d, 12h, 64MB."""

from __future__ import annotations

import re
from typing import Final

UNIT_SECONDS: Final = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
UNIT_BYTES: Final = {"GiB": 1 << 30, "GB": 10**9, "MiB": 1 << 20, "MB": 10**6, "KiB": 1 << 10, "KB": 1000, "B": 1}
NO_DURATION: Final = "this is not a duration; write one such as 90d, 12h, 30m, 45s or 2w"
NO_SIZE: Final = "this is not a size; write one such as 64MB, 64MiB, 2GB or 500000"

_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])", re.ASCII)
_SIZE: Final = re.compile(r"([0-9]{1,15})([KMG]i?B|B)?", re.ASCII)


def read_duration(text: str) -> float | None:
    """Read a duration, such as 90d, in seconds; None if it is none."""
    found = _DURATION.fullmatch(text)
    return None if found is None else float(found[1]) * UNIT_SECONDS[found[2]]


def read_size(text: str) -> int | None:
    """Read a size, such as 64MB, in bytes; None if it is none."""
    found = _SIZE.fullmatch(text)
    return None if found is None else int(found[1]) * UNIT_BYTES[found[2] or "B"]


def duration_text(seconds: float) -> str:
    """Write seconds in the largest unit below a week that divides them."""
    for unit in "dhm":
        if seconds % UNIT_SECONDS[unit] == 0:
            return f"{seconds / UNIT_SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def size_text(octets: int) -> str:
    """Write bytes in the largest unit that divides them."""
    for unit, size in UNIT_BYTES.items():
        if octets and octets % size == 0:
            return f"{octets // size}{unit}"
    return f"{octets}B"

"""Units of durations and sizes: read from options, as an operator writes them, and written back."""

from __future__ import annotations

import re
from typing import Final

import click

_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_SIZE: Final = re.compile(r"([0-9]{1,15})([KMG]i?B|B)?", re.ASCII)
_UNIT_SECONDS: Final = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_UNIT_BYTES: Final = {"GiB": 1 << 30, "GB": 10**9, "MiB": 1 << 20, "MB": 10**6, "KiB": 1 << 10, "KB": 1000, "B": 1}


def seconds(_: click.Context, __: click.Parameter, given: str | None) -> float | None:
    """Reads an option that is a duration, such as 90d, in seconds."""
    if given is None:
        return None
    found = _DURATION.fullmatch(given)
    if found is None:
        raise click.BadParameter("this is not a duration; write one such as 90d, 12h, 30m, 45s or 2w")
    return float(found[1]) * _UNIT_SECONDS[found[2]]


def octets(_: click.Context, __: click.Parameter, given: str | None) -> int | None:
    """Reads an option that is a size, such as 64MB, in bytes."""
    if given is None:
        return None
    found = _SIZE.fullmatch(given)
    if found is None:
        raise click.BadParameter("this is not a size; write one such as 64MB, 64MiB, 2GB or 500000")
    return int(found[1]) * _UNIT_BYTES[found[2] or "B"]


def duration_text(seconds: float) -> str:
    """Writes seconds in the largest unit below a week that divides them."""
    for unit in "dhm":
        if seconds % _UNIT_SECONDS[unit] == 0:
            return f"{seconds / _UNIT_SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def size_text(octets: int) -> str:
    """Writes bytes in the largest unit that divides them."""
    for unit, size in _UNIT_BYTES.items():
        if octets and octets % size == 0:
            return f"{octets // size}{unit}"
    return f"{octets}B"

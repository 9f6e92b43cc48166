"""Counters: documents of whole numbers, to which a commit adds without reading them first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from backends.ports import Add, Conflict


def numbers_of(value: bytes | None) -> tuple[int, ...]:
    """Read a counter's document; none if it does not exist."""
    return tuple(map(int, (value or b"").split()))


def written(numbers: Sequence[int]) -> bytes:
    """Write a counter's document."""
    return b" ".join(b"%d" % number for number in numbers)


def added(add: Add, value: bytes | None) -> bytes:
    """Return a counter's document after `add`. Raises `Conflict` if it would pass its most."""
    sums = [one + other for one, other in zip_longest(numbers_of(value), add.amounts, fillvalue=0)]
    if add.most is not None and add.amounts[0] > 0 and sums[0] > add.most:
        raise passed(add, sums[0])
    return written(sums)


def passed(add: Add, would_be: int) -> Conflict:
    """Say which counter would pass its most."""
    return Conflict(f"the counter {add.key!r} would be {would_be}, and may be {add.most} at most")

"""Findings: what `smarthouse verify` found last, so that it can be read after the command has ended.

In the state store, space `status`, document `verify`. It holds no key of a home and no other random id, and only the first
problems; the command prints all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import msgspec

from backends.parts import without_ids
from backends.ports import PartDamaged, StateStore
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.coordination.milestones import Milestones

MOST_KEPT: Final = 100
_SPACE: Final = "status"
_DOCUMENT: Final = "verify"
_LONGEST: Final = 300
_YEAR_SECONDS: Final = 365 * 86400.0


class Finding(msgspec.Struct, frozen=True):
    """Tells one problem: the store, the name without ids, and what is wrong."""

    store: str
    name: str
    what: str


class Verified(msgspec.Struct, frozen=True):
    """Tells of one verification: when it began and ended, in seconds since 1970, and how many problems it found.

    percent: the share of files that was read. first: of the problems.
    """

    began: float
    ended: float
    percent: int
    problems: int
    first: list[Finding]


_decode = msgspec.json.Decoder(Verified).decode


class Findings:
    """Keeps what the last verification found."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def note(self, began: float, percent: int, problems: int, first: Iterable[Problem]) -> None:
        """Note a verification that ends now."""
        told = [Finding(one.store, _short(one.name), _short(one.what)) for one in first]
        value = msgspec.json.encode(Verified(began, time.time(), percent, problems, told[:MOST_KEPT]))
        self._state.put(_SPACE, _DOCUMENT, value, ttl_seconds=_YEAR_SECONDS)

    def last(self) -> Verified | None:
        """Return the last verification; None before the first. Of one of an earlier version, the problems are not known."""
        with suppress(PartDamaged):
            if (found := self._state.get(_SPACE, _DOCUMENT)) is not None:
                return _decode(found.value)
            if (noted := Milestones(self._state).last().get("verify")) is not None:
                return Verified(noted.at, noted.at, noted.figures.get("percent", 0), noted.figures.get("problems", 0), [])
        return None


def _short(text: str) -> str:
    return without_ids(text)[:_LONGEST]

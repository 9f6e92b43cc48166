"""The history: a few figures of the report, noted every five minutes, so that they can be seen over time without Prometheus.

1. Points of five minutes are kept for the last day, and points of an hour for the last 32 days. A point of an hour is made of
   those within it: of what waits the greatest, of free room the least, of all else the last.
2. Any housekeeper may note a point. It writes both documents in one commit, on the versions that it has read, so that there is
   one point for each step, however many processes try.
3. Nothing is noted while no housekeeper runs: such steps have no point.
4. What only grows is noted as its total, so that a difference is exact, also after a restart or a gap.

In the state store, space `status`: `history/hour/<n>` holds the points of an hour, `history/day/<n>` those of a day, counted
since 1970. They expire, so that there are at most 28 of an hour and 36 of a day. A damaged one costs its own points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Document, PartDamaged, Put, StateStore
from smarthouse_api.coordination.leases import Leases

_SPACE: Final = "status"
_LEASE: Final = "history"
_CLAIM_SECONDS: Final = 60.0
_GREATEST: Final = ("waiting", "jobs")
_LEAST: Final = ("free",)

Column = list[int | None]


@dataclass(frozen=True)
class Resolution:
    """Says how points are kept. name: of the documents. step_seconds: of a point. chunk_seconds: of a document.

    points: so many of the last ones can be asked for. kept_seconds: after its last point, a document expires.
    """

    name: str
    step_seconds: int
    chunk_seconds: int
    points: int
    kept_seconds: float

    def document(self, number: int) -> str:
        """Name the document of this number."""
        return f"history/{self.name}/{number}"


LAST_DAY: Final = Resolution("hour", 300, 3600, 288, 26 * 3600.0)
LAST_MONTH: Final = Resolution("day", 3600, 86400, 768, 34 * 86400.0)
_RESOLUTIONS: Final = (LAST_DAY, LAST_MONTH)


class _Chunk(msgspec.Struct):
    """Holds the points of one document. places: which steps they are of, counted from its beginning. figures: by name, a value
    for each place.
    """

    places: list[int]
    figures: dict[str, Column]


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(_Chunk).decode


@dataclass(frozen=True)
class Series:
    """Holds figures over time. begin: of the first step, in seconds since 1970. figures: by name, a value for each step."""

    begin: int
    step_seconds: int
    count: int
    figures: Mapping[str, Column]

    def values(self, name: str) -> Column:
        """Return a figure; None where it is not known."""
        return self.figures.get(name) or [None] * self.count

    def growth(self, name: str) -> Column:
        """Return by how much a total grew, in each step since the last one that is known.

        None where that is not known: in a gap, in the first step, and where the total fell, as after a restored backup.
        """
        grown, before = Column(), None
        for value in self.values(name):
            grown.append(None if value is None or before is None or value < before else value - before)
            before = before if value is None else value
        return grown


class History:
    """Notes figures over time, and tells them. read: gives the figures of now, whole numbers by their names."""

    def __init__(self, state: StateStore, leases: Leases, read: Callable[[], Mapping[str, int]]) -> None:
        self._state, self._leases, self._read = state, leases, read
        self._noted: int | None = None

    def keep(self) -> None:
        """Note a point, unless there is one of this step."""
        now = int(self._state.now())
        if (step := now // LAST_DAY.step_seconds) == self._noted:
            return
        names = [one.document(now // one.chunk_seconds) for one in _RESOLUTIONS]
        found = self._state.get_many(_SPACE, names)
        if _place(now, LAST_DAY) not in _chunk_of(found[0]).places:
            if not self._leases.claim(_LEASE, _CLAIM_SECONDS):
                return
            figures = self._read()
            expect = {name: ABSENT if one is None else one.version for name, one in zip(names, found, strict=True)}
            puts = [
                Put(name, _encode(_noted(_chunk_of(one), _place(now, kept), figures)), kept.kept_seconds)
                for name, one, kept in zip(names, found, _RESOLUTIONS, strict=True)
            ]
            with suppress(Conflict):  # another process has noted this step
                self._state.commit(_SPACE, Change(expect=expect, puts=tuple(puts)))
        self._noted = step

    def last(self, kept: Resolution) -> Series:
        """Return the last points, up to now. A document that is damaged is left out."""
        last = int(self._state.now()) // kept.step_seconds
        first, step = last - kept.points + 1, kept.step_seconds
        numbers = range(first * step // kept.chunk_seconds, last * step // kept.chunk_seconds + 1)
        told = dict[str, Column]()
        for number, chunk in self._chunks(kept, numbers):
            begin = number * kept.chunk_seconds // step - first
            for name, column in chunk.figures.items():
                values = told.setdefault(name, [None] * kept.points)
                for place, value in zip(chunk.places, column, strict=True):
                    if 0 <= begin + place < kept.points:
                        values[begin + place] = value
        return Series(first * step, step, kept.points, told)

    def _chunks(self, kept: Resolution, numbers: Iterable[int]) -> Iterator[tuple[int, _Chunk]]:
        names = {number: kept.document(number) for number in numbers}
        try:
            found = self._state.get_many(_SPACE, list(names.values()))
        except PartDamaged:
            found = [self._sound(name) for name in names.values()]
        for number, document in zip(names, found, strict=True):
            if document is not None:
                yield number, _decode(document.value)

    def _sound(self, name: str) -> Document | None:
        with suppress(PartDamaged):
            return self._state.get(_SPACE, name)
        return None


def _place(at: int, kept: Resolution) -> int:
    return at % kept.chunk_seconds // kept.step_seconds


def _chunk_of(document: Document | None) -> _Chunk:
    return _Chunk([], {}) if document is None else _decode(document.value)


def _noted(chunk: _Chunk, place: int, figures: Mapping[str, int]) -> _Chunk:
    """Add figures to a chunk, in the point of this place."""
    if place not in chunk.places:
        chunk.places.append(place)
        for column in chunk.figures.values():
            column.append(None)
    at = chunk.places.index(place)
    for name, value in figures.items():
        column = chunk.figures.setdefault(name, [None] * len(chunk.places))
        column[at] = _together(name, column[at], value)
    return chunk


def _together(name: str, before: int | None, value: int) -> int:
    """Put two values of one point together."""
    if before is None:
        return value
    if name.startswith(_GREATEST):
        return max(before, value)
    return min(before, value) if name.startswith(_LEAST) else value

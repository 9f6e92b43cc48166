"""What a filter chooses of a chunk: whole pairs where it can, else some of their details."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from smarthouse_api.states.contents.chunks import Detail, Floats, Integers, Outline
from smarthouse_api.states.contents.shelf import HeldChunk
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.sorting import distinct

Mask = npt.NDArray[np.bool_]

LAST_DAY: Final = 2_932_896
"""The last day that there is, counted since 1970."""


@dataclass(frozen=True)
class Chosen:
    """What passes of a chunk.

    pairs: the places of these, in order; None for all. details: their places, and for each its pair, unless all details of the
    pairs pass.
    """

    chunk: HeldChunk
    outline: Outline
    pairs: Numbers | None
    details: tuple[Numbers, Numbers] | None

    def rows(self) -> tuple[Integers, Integers, Integers]:
        """Return numbers of homes and of kinds, and how many rows they have together; a pair may come several times."""
        pairs: Numbers | slice = slice(None) if self.pairs is None else self.pairs
        rows = self.outline.rows
        if self.details is not None:
            places, pairs = self.details
            return self.outline.homes[pairs], self.outline.kinds[pairs], self.chunk.detail().rows[places]
        return self.outline.homes[pairs], self.outline.kinds[pairs], rows[pairs]

    def ends(self) -> tuple[Integers, Floats, Floats]:
        """Return numbers of kinds, in order, with a least and a greatest value."""
        pairs: Numbers | slice = slice(None) if self.pairs is None else self.pairs
        if self.details is None:
            return self.outline.kinds[pairs], self.outline.least[pairs], self.outline.greatest[pairs]
        (places, pairs), ends = self.details, self.chunk.ends()
        return self.outline.kinds[pairs], ends.least[places], ends.greatest[places]

    def by_day(self, name: str) -> tuple[Numbers, Numbers]:
        """Return days, and how many rows each has. name: of `DAYS`."""
        if self.pairs is None and self.details is None:
            return self.outline.days[name]
        days, place, _, rows = self.of_days(name)
        return days, np.bincount(place, rows, len(days)).astype(np.int64)

    def of_days(self, name: str) -> tuple[Numbers, Integers, Integers, Integers]:
        """Return days, and for each detail the place of its day among them, its home, and its rows. name: of `DAYS`."""
        detail, days = self.chunk.detail(), self.outline.days[name][0]
        places, pairs = self.details or _details_of(detail, self.pairs)
        place = detail.day[places] if name == "day" else np.searchsorted(days, detail.days(name, places))
        return days, place, self.outline.homes[pairs], detail.rows[places]


@dataclass(frozen=True)
class Choice:
    """Chooses from chunks.

    kinds, homes: whether those of each number pass; None for homes if all do. bounds: names of `DAYS`, each with the first and
    the last day that passes. is_told: tells of a day and the number of a kind whether rows are told of; None if all are.
    """

    kinds: Mask
    homes: Mask | None
    bounds: tuple[tuple[str, int, int], ...]
    is_told: Callable[[int, int], bool] | None

    def of(self, chunk: HeldChunk) -> Chosen | None:
        """Choose from a chunk; None if nothing passes."""
        outline, parting = chunk.outline(), list[tuple[str, int, int]]()
        if not len(outline.rows):
            return None
        for name, first, last in self.bounds:
            least, greatest = outline.span(name)
            if first > greatest or last < least:
                return None
            if first > least or last < greatest:
                parting.append((name, first, last))
        passes = self.kinds[outline.kinds]
        if self.homes is not None:
            passes &= self.homes[outline.homes]
        pairs = None if passes.all() else np.flatnonzero(passes)
        if pairs is not None and not len(pairs):
            return None
        if not parting and self.is_told is None:
            return Chosen(chunk, outline, pairs, None)
        detail = chunk.detail()
        places, of_pair = _details_of(detail, pairs)
        for name, first, last in parting:
            days = detail.days(name, places)
            passes = (days >= first) & (days <= last)
            places, of_pair = places[passes], of_pair[passes]
        if self.is_told is not None:
            code = detail.day[places].astype(np.int64) * len(self.kinds) + outline.kinds[of_pair]
            found, place = distinct(code)
            days, kinds = (part.tolist() for part in np.divmod(found, len(self.kinds)))
            own_days = detail.own_days.tolist()
            told = [self.is_told(own_days[day], kind) for day, kind in zip(days, kinds, strict=True)]
            passes = np.array(told, np.bool_)[place]
            places, of_pair = places[passes], of_pair[passes]
        return Chosen(chunk, outline, pairs, (places, of_pair)) if len(places) else None


def _details_of(detail: Detail, pairs: Numbers | None) -> tuple[Numbers, Numbers]:
    return detail.of(np.arange(len(detail.begins) - 1) if pairs is None else pairs)

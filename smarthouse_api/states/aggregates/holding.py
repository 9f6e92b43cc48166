"""What each entity's state was in an interval, weighted by the time for which it was held.

1. A state is held until the entity's next one, but no longer than a bound: after that, nothing is known.
2. A held state is cut where an interval begins. The pieces of one interval are put together.
3. An interval that is not over at the end of a window is carried over, as is the last state of each entity.

Texts are numbers here, in the order of the texts. So what belongs together lies side by side, mostly without being sorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smarthouse_api.states.aggregates.clocks import MINUTE_US, Clock
from smarthouse_api.states.aggregates.intervals import INTERVALS, STATES, of_source
from smarthouse_api.states.aggregates.texts import Texts, changed, nullable
from smarthouse_api.states.records.placement import Numbers

_MOST_PIECES: Final = 32_768
_MOST_CODES: Final = 1 << 62
_PARTS: Final = ("weight", "mean", "least", "greatest", "last", "changes")

States: TypeAlias = pa.Table
"""Columns: `TEXTS`, `time` in microseconds since 1970, and `value`; by home, entity and time. A state is a number or a word."""

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """Bounds what is put together at once. begin, end: in microseconds since 1970; no home's clock changes in between."""

    begin: int
    end: int


@dataclass
class Left:
    """Collects what is carried over from a window: states that are still held, and intervals that are not over."""

    held: list[States] = field(default_factory=list)
    open: list[pa.Table] = field(default_factory=list)


@dataclass
class _Pieces:
    """Holds pieces of intervals: of each its entity, interval, kind and word as numbers, and what is known of it."""

    key: Numbers
    index: Numbers
    kind: Numbers
    word: Numbers
    weight: Floats
    mean: Floats
    least: Floats
    greatest: Floats
    last: Floats
    changes: Numbers

    def taken(self, places: Any) -> _Pieces:
        return _Pieces(*(getattr(self, name)[places] for name in _PIECES))

    def after(self, others: _Pieces) -> _Pieces:
        return _Pieces(*(np.append(getattr(others, name), getattr(self, name)) for name in _PIECES))


_PIECES: Final = ("key", "index", "kind", "word", *_PARTS)


class Holding:
    """Puts states together, window by window. hold: the longest time for which a state is held. now: until when, at most."""

    def __init__(self, clock: Clock, hold: int, now: int) -> None:
        self._clock, self._hold, self._now = clock, hold, now

    def ended(
        self, window: Window, states: States, open_: pa.Table | None, left: Left, *, is_followed: bool = False
    ) -> Iterator[pa.Table]:
        """Yield the intervals that are over at the end of the window, in the order of their entities: of `INTERVALS`.

        states: those that were held before the window, and those of the window. open_: intervals of before that are not over.
        left: takes what is carried over. is_followed: when the window ends, the next state of the only entity begins.
        """
        texts = Texts(states) if open_ is None else Texts(open_, states)
        before = texts.count - len(states)
        order = np.argsort(texts.key[before:], kind="stable")
        key, at = texts.key[before:][order], _numbers(states, "time")[order]
        value, word = _numbers(states, "value")[order], texts.word[before:][order]
        is_last = np.append(np.diff(key) != 0, True) if len(key) else np.zeros(0, np.bool_)
        end = np.minimum(np.append(at[1:], 0) if len(at) else at, at + self._hold)
        end[is_last] = at[is_last] + self._hold
        end = np.minimum(end, min(window.end, self._now))
        begin = np.maximum(at, window.begin)
        is_told = ~np.isnan(value) | (word >= 0)
        is_held = is_told & (end > begin)
        kind = texts.kind[before:][order]
        if not is_followed:
            kept = is_last & is_told & (at + self._hold > window.end)
            left.held.append(texts.table(key[kept], kind[kept], word[kept], time=at[kept], value=value[kept]))
        offset = self._offsets(texts, before + order, window.begin)
        first = (begin + offset) // self._clock.every
        most = np.where(is_held, (end - 1 + offset) // self._clock.every, first)
        count = np.where(is_held | (at >= window.begin), most - first + 1, 0)
        pending = None if open_ is None else _opened(texts, open_)
        for begins, ends in _turns(key, count, None if pending is None else pending.key):
            rows = np.repeat(np.arange(begins[0], ends[0]), count[begins[0] : ends[0]])
            index = first[rows] + (np.arange(len(rows)) - np.repeat(*_starts(count[begins[0] : ends[0]])))
            opened = index * self._clock.every - (offset[rows] if self._clock.is_local else 0)
            weight = np.minimum(end[rows], opened + self._clock.every) - np.maximum(begin[rows], opened)
            held = is_held[rows]
            weight, number = np.where(held, weight, 0).astype(np.float64), np.where(held, value[rows], np.nan)
            is_new = (at[rows] >= window.begin) & (index == first[rows])
            pieces = _Pieces(
                key[rows],
                index,
                kind[rows],
                np.where(held, word[rows], -1),
                weight,
                number,
                number,
                number,
                number,
                is_new.astype(np.int64),
            )
            if pending is not None:
                pieces = pieces.after(pending.taken(slice(begins[1], ends[1])))
            yield from self._over(texts, _together(texts, pieces), window.end, left)

    def _offsets(self, texts: Texts, rows: Numbers, at: int) -> Any:
        if not self._clock.is_local:
            return np.int64(0)
        return self._clock.offsets(texts.homes.to_pylist(), at)[texts.home_of(rows)]

    def _over(self, texts: Texts, parts: _Pieces, until: int, left: Left) -> Iterator[pa.Table]:
        """Yield the intervals that are over, and carry the others over."""
        homes, home = texts.homes.to_pylist() if self._clock.is_local else [], parts.key // texts.width
        start, end = self._clock.bounds(homes, home, parts.index)
        if not (is_over := end <= until).all():
            some = parts.taken(~is_over)
            told = {name: getattr(some, name) for name in ("index", *_PARTS)}
            left.open.append(texts.table(some.key, some.kind, some.word, **told))
            parts, home, start, end = parts.taken(is_over), home[is_over], start[is_over], end[is_over]
        if len(start):
            yield self._intervals(texts, parts, start, end)

    def _intervals(self, texts: Texts, parts: _Pieces, start: Numbers, end: Numbers) -> pa.Table:
        """Make rows of `INTERVALS`: the parts of a series in an interval, one for its numbers and one for each word."""
        begins = changed(parts.key, parts.index, parts.kind)
        length = (end - start)[begins].astype(np.float64)
        row = np.cumsum(begins) - 1
        first = np.flatnonzero(begins)
        known = np.minimum(np.round(np.add.reduceat(parts.weight, first) / length, 9), 1.0)
        is_word = parts.word >= 0
        has_words = np.zeros(len(first), np.bool_)
        has_words[row[is_word]] = True
        offsets = np.searchsorted(row[is_word], np.arange(len(first) + 1)).astype(np.int32)
        shares = np.round(parts.weight[is_word] / length[row[is_word]], 9)
        words = texts.words.take(pa.array(parts.word[is_word]))
        ahead = None
        if self._clock.is_local:
            ahead = self._clock.shown(texts.homes.to_pylist(), parts.key[first] // texts.width, start[first]) // MINUTE_US
        figures = zip(("mean", "min", "max", "last"), ("mean", "least", "greatest", "last"), strict=True)
        return texts.table(
            parts.key[first],
            parts.kind[first],
            start=start[first],
            end=end[first],
            ahead=pa.nulls(len(first), pa.int64()) if ahead is None else ahead,
            **{name: nullable(getattr(parts, source)[first]) for name, source in figures},
            known=known,
            changes=np.add.reduceat(parts.changes, first),
            **of_source(STATES, len(first)),
            shares=pa.MapArray.from_arrays(pa.array(offsets, mask=np.append(~has_words, False)), words, pa.array(shares)),
        ).cast(INTERVALS)


def _numbers(table: pa.Table, name: str) -> Any:
    return table[name].to_numpy()


def _starts(count: Numbers) -> tuple[Numbers, Numbers]:
    """Return where the pieces of each row begin, and how many there are."""
    return np.cumsum(count) - count, count


def _opened(texts: Texts, open_: pa.Table) -> _Pieces:
    """Read open intervals as pieces."""
    count = len(open_)
    parts = (np.asarray(_numbers(open_, name)) for name in _PARTS)
    return _Pieces(texts.key[:count], _numbers(open_, "index"), texts.kind[:count], texts.word[:count], *parts)


def _turns(key: Numbers, count: Numbers, open_key: Numbers | None) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield runs of whole entities that have as many pieces as are put together at once: begins and ends of the states and of
    the open intervals.
    """
    ends = np.append(np.flatnonzero(np.diff(key)) + 1, len(key)) if len(key) else np.zeros(0, np.int64)
    pieces, begin, begun = np.cumsum(count), 0, 0
    opened = 0 if open_key is None else len(open_key)
    while begin < len(key):
        done = pieces[begin - 1] if begin else 0
        place = int(np.searchsorted(pieces[ends - 1], done + _MOST_PIECES, "right"))
        end = int(ends[max(place - 1, int(np.searchsorted(ends, begin, "right")))])
        upto = opened if end == len(key) or open_key is None else int(np.searchsorted(open_key, key[end]))
        yield (begin, begun), (end, upto)
        begin, begun = end, upto
    if begun < opened:
        yield (begin, begun), (begin, opened)


def _together(texts: Texts, pieces: _Pieces) -> _Pieces:
    """Add the pieces of one entity, interval, kind and word up, in this order."""
    if not len(pieces.key):
        return pieces
    least = int(pieces.index.min())
    indexes, words = int(pieces.index.max()) - least + 1, len(texts.words) + 1
    key = pieces.key
    if (int(key.max()) + 1) * indexes * texts.kinds * words > _MOST_CODES:
        key = np.unique(key, return_inverse=True)[1]
    code = ((key * indexes + (pieces.index - least)) * texts.kinds + pieces.kind) * words + pieces.word + 1
    if (code[1:] < code[:-1]).any():
        order = np.argsort(code, kind="stable")
        pieces, code = pieces.taken(order), code[order]
    first = np.flatnonzero(np.append(True, code[1:] != code[:-1]))
    if len(first) == len(code):
        return pieces
    is_number = ~np.isnan(pieces.mean)
    weight = np.add.reduceat(pieces.weight, first)
    smallest = np.minimum.reduceat(np.where(is_number, pieces.least, np.inf), first)
    greatest = np.maximum.reduceat(np.where(is_number, pieces.greatest, -np.inf), first)
    has_number = np.isfinite(smallest)
    of_piece = np.repeat(smallest, np.diff(np.append(first, len(code))))
    # By the distance from the least: a number that was held all the time is its own mean, to the last digit.
    above = np.add.reduceat(np.where(is_number, (pieces.mean - of_piece) * pieces.weight, 0.0), first)
    last = np.maximum.reduceat(np.where(is_number, np.arange(len(code)), -1), first)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(has_number, smallest + above / weight, np.nan)
    return _Pieces(
        pieces.key[first],
        pieces.index[first],
        pieces.kind[first],
        pieces.word[first],
        weight,
        mean,
        np.where(has_number, smallest, np.nan),
        np.where(has_number, greatest, np.nan),
        np.where(has_number, pieces.last[last], np.nan),
        np.add.reduceat(pieces.changes, first),
    )

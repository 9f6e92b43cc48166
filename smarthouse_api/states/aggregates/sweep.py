"""The sweep through time: rows come by day, home, entity and time, and the entities are put together a few at a time.

On each day all entities have their turn, in order: those that have rows on that day, and those whose last state of before is
still held. An entity whose rows come in several batches waits for the last of them, unless there are too many for memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.aggregates.clocks import DAY_US, Clock
from smarthouse_api.states.aggregates.holding import Holding, Left, States, Window
from smarthouse_api.states.aggregates.intervals import TEXT
from smarthouse_api.states.aggregates.texts import TEXTS

MOST_BEHIND: Final = 65_536
"""As many rows of one entity wait for the others of a day."""

_NO_STATES: Final = pa.schema([*(pa.field(name, TEXT) for name in TEXTS), ("time", pa.int64()), ("value", pa.float64())])
_ORDER: Final = [(name, "ascending") for name in ("home", "entity_id", "start", "unit", "device_class", "type")]

Key = tuple[str, str]


@dataclass(frozen=True)
class _Apart:
    """Remembers an entity that is put together before all its rows of a day have come. begin: of what is left of the day."""

    begin: int
    open: pa.Table | None


class Sweep:
    """Makes intervals of states, day by day."""

    def __init__(self, clock: Clock, hold: int, now: int) -> None:
        self._clock, self._holding = clock, Holding(clock, hold, now)
        self._held: pa.Table | None = None
        self._open: pa.Table | None = None
        self._left = Left()
        self._behind: States | None = None
        self._apart: _Apart | None = None
        self._day = Window(0, 0)

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is carried over to the next day."""
        return self._held is None and self._open is None

    def begin(self, day: int) -> None:
        """Begin a day. day: counted since 1970."""
        self._day = Window(day * DAY_US, (day + 1) * DAY_US)

    def take(self, states: States) -> Iterator[pa.Table]:
        """Yield the intervals of entities that are complete. states: the next ones of the day, of one or more entities."""
        cut = _begin_of_last(states)
        if cut == 0 and self._behind is not None and _key(self._behind, -1) == _key(states, 0):
            self._behind = pa.concat_tables([self._behind, states])
        else:
            if ready := [one for one in (self._behind, states.slice(0, cut)) if one is not None and len(one)]:
                yield from self._complete(pa.concat_tables(ready))
            self._behind = states.slice(cut)
        if len(self._behind) > MOST_BEHIND:
            yield from self._put_apart(self._behind)

    def end(self) -> Iterator[pa.Table]:
        """Yield what is left of the day."""
        behind, self._behind = self._behind, None
        if behind is not None:
            yield from self._complete(behind)
        yield from self._advanced(self._day, None, *self._popped(None), self._left)
        self._held, self._open, self._left = _plain(self._left.held), _plain(self._left.open), Left()

    def _complete(self, states: States) -> Iterator[pa.Table]:
        """Put entities together that have no more rows on this day."""
        if self._apart is not None:
            cut, apart, self._apart = _end_of_first(states), self._apart, None
            own, states = states.slice(0, cut), states.slice(cut)
            yield from self._advanced(Window(apart.begin, self._day.end), own, None, apart.open, self._left)
        if len(states):
            yield from self._advanced(self._day, states, *self._popped(_key(states, -1)), self._left)

    def _put_apart(self, states: States) -> Iterator[pa.Table]:
        """Put the rows of one entity together as far as they have come, except the last."""
        if self._apart is None:
            key = _key(states, 0)
            yield from self._advanced(self._day, None, *self._popped(key, is_before=True), self._left)
            begin, (held, open_) = self._day.begin, self._popped(key)
        else:
            begin, held, open_ = self._apart.begin, None, self._apart.open
        left, until = Left(), int(states["time"][-1].as_py())
        yield from self._advanced(Window(begin, until), states.slice(0, len(states) - 1), held, open_, left, is_followed=True)
        self._apart = _Apart(until, _plain(left.open))
        self._behind = states.slice(len(states) - 1)

    def _popped(self, key: Key | None, *, is_before: bool = False) -> tuple[pa.Table | None, pa.Table | None]:
        """Take from what is carried over what entities up to one have, or those before it; all for None."""
        found = []
        for name in ("_held", "_open"):
            some: pa.Table | None = getattr(self, name)
            place = 0 if some is None else len(some) if key is None else _place(some, key, is_before)
            found.append(some.slice(0, place) if some is not None and place else None)
            setattr(self, name, some.slice(place) if some is not None and place < len(some) else None)
        return found[0], found[1]

    def _advanced(
        self,
        window: Window,
        states: States | None,
        held: pa.Table | None,
        open_: pa.Table | None,
        left: Left,
        *,
        is_followed: bool = False,
    ) -> Iterator[pa.Table]:
        """Put the states of some entities together. left: takes what is carried over."""
        cuts = [window.begin, *self._clock.changes_within(window.begin, window.end), window.end]
        if len(cuts) == 2:
            if states is not None or held is not None or open_ is not None:
                yield from self._holding.ended(window, _together(held, states), open_, left, is_followed=is_followed)
            return
        found = list[pa.Table]()
        for since, until in pairwise(cuts):
            is_last = until == window.end
            own = None if states is None else states.filter(_within(states["time"], since, None if is_last else until))
            then = left if is_last else Left()
            found += self._holding.ended(
                Window(since, until), _together(held, own), open_, then, is_followed=is_last and is_followed
            )
            held, open_ = _plain(then.held), _plain(then.open)
        if found:
            yield _sorted(pa.concat_tables(found))


def _together(held: pa.Table | None, states: States | None) -> States:
    some = [one.select(_NO_STATES.names) for one in (held, states) if one is not None]
    return pa.concat_tables([one.cast(_NO_STATES) for one in some]) if some else _NO_STATES.empty_table()


def _plain(tables: list[pa.Table]) -> pa.Table | None:
    """Put tables together that are carried over, with texts of their own: none keeps the texts of all entities."""
    some = [one for one in tables if len(one)]
    if not some:
        return None
    fields = [pa.field(one.name, pa.string()) if one.name in TEXTS else one for one in some[0].schema]
    return pa.concat_tables([one.cast(pa.schema(fields)) for one in some]).combine_chunks()


def _sorted(intervals: pa.Table) -> pa.Table:
    plain = {name: intervals[name].cast(pa.string()) if name != "start" else intervals[name] for name, _ in _ORDER}
    return intervals.unify_dictionaries().combine_chunks().take(pc.sort_indices(pa.table(plain), _ORDER))


def _within(time: pa.ChunkedArray, begin: int, end: int | None) -> pa.ChunkedArray:
    after = pc.greater_equal(time, begin)
    return after if end is None else pc.and_(after, pc.less(time, end))


def _key(states: pa.Table, place: int) -> Key:
    return states["home"][place].as_py(), states["entity_id"][place].as_py()


def _place(some: pa.Table, key: Key, is_before: bool) -> int:
    """Return how many rows are of entities up to one, or before it. some: in the order of the entities."""
    least, most = 0, len(some)
    while least < most:
        middle = (least + most) // 2
        found = _key(some, middle)
        if found < key or (found == key and not is_before):
            least = middle + 1
        else:
            most = middle
    return least


def _is_of(states: States, key: Key) -> npt.NDArray[np.bool_]:
    """Tell the rows of one entity."""
    found = np.ones(len(states), np.bool_)
    for name, text in zip(("home", "entity_id"), key, strict=True):
        chunks = states[name].chunks
        found &= np.concatenate([chunk.indices.to_numpy() == chunk.dictionary.index(text).as_py() for chunk in chunks])
    return found


def _begin_of_last(states: States) -> int:
    """Return where the rows of the last entity begin."""
    others = np.flatnonzero(~_is_of(states, _key(states, -1)))
    return int(others[-1]) + 1 if len(others) else 0


def _end_of_first(states: States) -> int:
    """Return where the rows of the first entity end."""
    others = np.flatnonzero(~_is_of(states, _key(states, 0)))
    return int(others[0]) if len(others) else len(states)

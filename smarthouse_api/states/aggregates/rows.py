"""Rows of aggregates, made of the rows of an export while these are read: day after day, in bounded memory.

The rows of an export come in order of day, home, entity and time. For each day, the entities are put together a few at a time:
those that have rows on that day, and those whose last state of before is still held.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.aggregates.clocks import DAY_US, Clock
from smarthouse_api.states.aggregates.holding import SERIES, UNKNOWN, Holding, States, Window, finished

_KEY: Final = "key"


class AggregatedRows:
    """Makes rows of `AGGREGATES` of published rows. first, last: the days of the intervals, counted since 1970, inclusive.

    hold, now: see `Holding`. count: the rows made so far.
    """

    def __init__(self, rows: Iterable[pa.RecordBatch], clock: Clock, hold: int, now: int, first: int, last: int) -> None:
        self._rows, self._clock, self._first, self._last = rows, clock, first, last
        self._holding, self._hold, self._now = Holding(clock, hold, now), hold, now
        self._held: States | None = None
        self._open: pa.Table | None = None
        self._begun: tuple[pa.RecordBatch, Iterator[pa.RecordBatch]] | None = None
        self.count = 0

    def is_empty(self) -> bool:
        """Return whether there is no row. The first ones are kept, so that they are not made twice."""
        rest = self._made()
        if (first := next(rest, None)) is None:
            return True
        self._begun = first, rest
        return False

    def __iter__(self) -> Generator[pa.RecordBatch]:
        if self._begun is not None:
            (first, rest), self._begun = self._begun, None
            yield first
            yield from rest
        else:
            yield from self._made()

    def _made(self) -> Iterator[pa.RecordBatch]:
        self._held = self._open = None
        self.count = 0
        for part in self._parts():
            part = part.filter(self._is_wanted(part))
            self.count += len(part)
            yield from part.to_batches()

    def _is_wanted(self, rows: pa.Table) -> pa.ChunkedArray:
        day = rows["start"].cast(pa.int64()).to_numpy() // DAY_US
        within = pa.array((day >= self._first) & (day <= self._last))
        return pc.and_(within, pc.or_(pc.greater(rows["known"], 0.0), pc.greater(rows["changes"], 0)))

    def _parts(self) -> Iterator[pa.Table]:
        """Yield aggregates day by day."""
        day, behind = None, None  # the entity that may go on in the next batch, and those before it
        for batch in self._rows:
            for own_day, some in _days(_states_of(batch)):
                if own_day != day:
                    if day is not None:
                        yield from self._put_together(day, behind, None)
                        yield from self._days_between(day + 1, own_day)
                    day, behind = own_day, None
                some = some if behind is None else pa.concat_tables([behind, some])
                cut = _last_series(some)
                behind = some.slice(cut)
                if cut:
                    yield from self._put_together(day, some.slice(0, cut), some[_KEY][cut - 1].as_py())
        if day is not None:
            yield from self._put_together(day, behind, None)
            yield from self._days_between(day + 1, self._last + 2)

    def _days_between(self, first: int, end: int) -> Iterator[pa.Table]:
        """Yield the aggregates of days on which no state began, as long as one is held."""
        for day in range(first, end):
            if not (_count(self._held) or _count(self._open)) or day * DAY_US > self._now:
                return
            yield from self._put_together(day, None, None)

    def _put_together(self, day: int, states: States | None, last_key: str | None) -> Iterator[pa.Table]:
        """Put the states of some entities together. last_key: up to which held ones take part; None: all that are left."""
        begin, end = day * DAY_US, (day + 1) * DAY_US
        held, self._held = _up_to(self._held, last_key, begin)
        open_, self._open = _up_to(self._open, last_key, begin)
        cuts = [begin, *self._clock.changes_within(begin, end), end]
        over = list[pa.Table]()
        for since, until in pairwise(cuts):
            own = None if states is None else states.filter(_within(states["time"], since, until))
            together = _sorted([one for one in (held, own) if one is not None and len(one)])
            if together is None:
                together = _NO_STATES.empty_table()
            done, left, held = self._holding.aggregated(Window(since, until), together, _plain(open_))
            open_ = _keyed(left)
            if len(done):
                over.append(finished(done, self._clock))
        self._keep(held, open_, end)
        if over:
            yield pa.concat_tables(over).sort_by([("home", "ascending"), ("entity_id", "ascending"), ("start", "ascending")])

    def _keep(self, held: States | None, open_: pa.Table | None, end: int) -> None:
        """Carry over to the next day what was put together of this one: it is marked, so that no entity has two turns."""
        turn = pa.scalar(end, pa.int64())
        for name, some in (("_held", held), ("_open", open_)):
            if some is not None and len(some):
                marked = _with(some, "turn", pa.repeat(turn, len(some)))
                before = getattr(self, name)
                setattr(self, name, marked if before is None else pa.concat_tables([before, marked]))


_NO_STATES: Final = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in SERIES),
        pa.field("time", pa.int64()),
        pa.field("value", pa.float64()),
        pa.field("word", pa.string()),
        pa.field(_KEY, pa.string()),
    ]
)


def _states_of(batch: pa.RecordBatch) -> States:
    """Take of published rows what aggregates need: numbers, and words that tell something."""
    state, value = batch.column("state").cast(pa.string()), batch.column("value")
    tells_nothing = pc.or_(value.is_valid(), pc.is_in(state, pa.array(UNKNOWN, pa.string())))
    columns = {name: batch.column(name).cast(pa.string()) for name in SERIES}
    columns["time"] = batch.column("time").cast(pa.int64())
    columns["value"] = value.fill_null(np.nan)
    columns["word"] = pc.if_else(tells_nothing, pa.scalar(None, pa.string()), state)
    columns[_KEY] = _key_of(columns["home"], columns["entity_id"])
    return pa.table(columns, schema=_NO_STATES)


def _key_of(home: pa.Array, entity: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(home, entity, "\0")


def _days(states: States) -> Iterator[tuple[int, States]]:
    day = states["time"].to_numpy() // DAY_US
    begin = np.flatnonzero(np.diff(day, prepend=day[0] - 1)).tolist() if len(day) else []
    for first, end in pairwise([*begin, len(day)]):
        yield int(day[first]), states.slice(first, end - first)


def _last_series(states: States) -> int:
    """Return where the rows of the last entity begin."""
    other = np.flatnonzero(pc.not_equal(states[_KEY], states[_KEY][-1]).to_numpy())
    return int(other[-1]) + 1 if len(other) else 0


def _up_to(some: pa.Table | None, last_key: str | None, begin: int) -> tuple[pa.Table | None, pa.Table | None]:
    """Divide what is carried over into what takes part now and what does not, or not any more on this day."""
    if some is None or not len(some):
        return None, None
    takes_part = pc.less_equal(some["turn"], begin)
    if last_key is not None:
        takes_part = pc.and_(takes_part, pc.less_equal(some[_KEY], last_key))
    return some.filter(takes_part).drop_columns(["turn"]), some.filter(pc.invert(takes_part))


def _sorted(parts: list[States]) -> States | None:
    if not parts:
        return None
    together = pa.concat_tables(parts)
    if len(parts) == 1:
        return together
    # Stable: of states of one time, the one that came last stays last.
    order = pc.sort_indices(together.append_column("place", pa.array(np.arange(len(together)))), _ORDER)
    return together.take(order)


_ORDER: Final = [(_KEY, "ascending"), ("time", "ascending"), ("place", "ascending")]


def _within(time: pa.ChunkedArray, begin: int, end: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(time, begin), pc.less(time, end))


def _keyed(parts: pa.Table) -> pa.Table:
    return _with(parts, _KEY, _key_of(parts["home"], parts["entity_id"]))


def _plain(parts: pa.Table | None) -> pa.Table | None:
    return None if parts is None or not len(parts) else parts.drop_columns([_KEY])


def _with(some: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return some.append_column(name, values)


def _count(some: pa.Table | None) -> int:
    return 0 if some is None else len(some)

"""Cuts: rows that are too many to be sorted at once, divided at places of their order.

The whole order of `in_order` decides where a row belongs: day, published home and entity, time, and what else tells rows of one
time apart. So the sorted ranges follow each other as one sort of all rows would have it, and repeats of a state change meet in
one range. State changes without a time are repeats of one another by their day of arrival: no cut parts those of one entity.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import DAY_US
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.sorting import encoded

_SAMPLED: Final = 8192
_NEVER: Final = -1 << 62
_AFTER_ALL: Final = 1 << 62

Key = tuple[Any, ...]
Name = Callable[[pa.RecordBatch], pa.RecordBatch]


class Cuts:
    """Divides rows into consecutive ranges of about as many rows, by a sample of them.

    count: of rows. ranges: how many there may be. name: adds `home_name` and `entity_name`, and leaves out what is not
    published.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], count: int, ranges: int, name: Name) -> None:
        self._name = name
        step, before = max(1, count // _SAMPLED), 0
        keys, whole = list[Key](), set[tuple[str, str]]()
        for batch in batches:
            chosen = np.arange(-before % step, batch.num_rows, step)
            before += batch.num_rows
            keys += _keys(self._named(batch.take(pa.array(chosen))))
            whole |= _timeless(self._named(batch.filter(_has_no_time(batch))))
        keys.sort()
        places = {len(keys) * number // ranges for number in range(1, ranges)} if keys else set()
        cuts = (keys[place] for place in sorted(places))
        self._cuts = sorted({cut[:3] if cut[1:3] in whole else cut for cut in cuts})

    @property
    def ranges(self) -> int:
        """The number of ranges."""
        return len(self._cuts) + 1

    def placed(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Numbers]:
        """Return the rows of a batch that are published, and the range of each."""
        named = self._named(batch)
        rows = named.num_rows
        home, entity = named.column("home_name"), named.column("entity_name")
        homes, entities = home.dictionary.to_pylist(), entity.dictionary.to_pylist()
        times = named.column("time").cast(pa.int64()).to_numpy()
        groups = np.stack([times // DAY_US, home.indices.to_numpy(), entity.indices.to_numpy()])
        found, of_row = np.unique(groups, axis=1, return_inverse=True)
        places = np.empty(rows, np.int64)
        order = np.argsort(of_row.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(of_row.ravel(), minlength=found.shape[1]))
        for number, (day, one, other) in enumerate(found.T.tolist()):
            members = order[ends[number - 1] if number else 0 : ends[number]]
            places[members] = self._within((day, homes[one], entities[other]), members, times, named)
        return _plain(named.select(batch.schema.names)), places

    def _within(self, group: Key, members: Numbers, times: Numbers, named: pa.RecordBatch) -> Numbers:
        first, last = bisect_right(self._cuts, group), bisect_left(self._cuts, (*group, _AFTER_ALL))
        if first == last:
            return np.full(len(members), first, np.int64)
        at = np.array([cut[3] for cut in self._cuts[first:last]], np.int64)
        low, high = (first + np.searchsorted(at, times[members], side) for side in ("left", "right"))
        tied = np.flatnonzero(low != high)
        for place, key in zip(tied.tolist(), _keys(named.take(pa.array(members[tied]))), strict=True):
            low[place] = bisect_right(self._cuts, key, int(low[place]), int(high[place]))
        return low

    def _named(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = encoded([batch])
        return _nothing(batch) if rows is None else self._name(rows)


def _keys(named: pa.RecordBatch) -> list[Key]:
    """Return where rows stand in the order."""
    if not named.num_rows:
        return []
    time, changed, updated = (_numbers(named.column(name)) for name in ("time", "last_changed", "last_updated"))
    texts = ([(text is not None, text or "") for text in named.column(name).to_pylist()] for name in _TEXTS)
    home, entity, ids, states, attributes = texts
    return [
        (at // DAY_US, one[1], other[1], at, *rest)
        for at, one, other, *rest in zip(time, home, entity, ids, changed, updated, states, attributes, strict=True)
    ]


_TEXTS: Final = ("home_name", "entity_name", "entity_id", "state", "attributes")


def _timeless(named: pa.RecordBatch) -> set[tuple[str, str]]:
    """Name the homes and entities of rows."""
    if not named.num_rows:
        return set()
    return set(zip(named.column("home_name").to_pylist(), named.column("entity_name").to_pylist(), strict=True))


def _has_no_time(batch: pa.RecordBatch) -> pa.BooleanArray:
    return pc.and_(batch.column("last_changed").is_null(), batch.column("last_updated").is_null())


def _numbers(times: pa.Array) -> list[int]:
    found: list[int] = times.cast(pa.int64()).fill_null(_NEVER).to_pylist()
    return found


def _plain(rows: pa.RecordBatch) -> pa.RecordBatch:
    columns = [one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for one in rows.columns]
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)


def _nothing(batch: pa.RecordBatch) -> pa.RecordBatch:
    empty = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
    return batch.slice(0, 0).append_column("home_name", empty).append_column("entity_name", empty)

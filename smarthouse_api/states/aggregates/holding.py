"""Aggregates of states: what each entity's state was in an interval, weighted by the time for which it was held.

1. A state is held until the entity's next one, but no longer than a bound: after that, nothing is known.
2. A held state is cut where an interval begins. The pieces of one interval are put together.
3. An interval that is not over at the end of a window is carried over, as is the last state of each entity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.states.aggregates.clocks import MINUTE_US, Clock
from smarthouse_api.states.records.placement import Numbers
from smarthouse_api.states.records.rules import REDACTED
from smarthouse_api.states.records.sorting import distinct

UNKNOWN: Final = ("unknown", "unavailable", "", REDACTED)
"""States that tell nothing."""

SERIES: Final = ("home", "entity_id", "type", "unit", "device_class")

AGGREGATES: Final = pa.schema(
    [
        pa.field("home", pa.string(), nullable=False),
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("unit", pa.string()),
        pa.field("device_class", pa.string()),
        pa.field("start", TIMESTAMP, nullable=False),
        pa.field("end", TIMESTAMP, nullable=False),
        pa.field("utc_offset", pa.int32()),
        *(pa.field(name, pa.float64()) for name in ("mean", "min", "max", "last")),
        pa.field("known", pa.float64(), nullable=False),
        pa.field("changes", pa.int64(), nullable=False),
        pa.field("shares", pa.string()),
    ]
)
"""A row of aggregates: one entity in one interval.

mean: of its numbers, each weighted by the time for which it was held; null without numbers. last: the number at the end.
known: the share of the interval in which the state is known. changes: states that begin in the interval. shares: JSON text of
an object, for each word the share of the interval; null without words.
"""

_FLOATS = npt.NDArray[np.float64]
_MOST_PIECES: Final = 250_000
_FIGURES: Final = ("weight", "product", "least", "greatest", "at", "last", "changes")
_WHOLE: Final = frozenset({"at", "changes"})
_PARTS: Final = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in SERIES),
        pa.field("index", pa.int64()),
        pa.field("word", pa.string()),
        *(pa.field(name, pa.int64() if name in _WHOLE else pa.float64()) for name in _FIGURES),
    ]
)

States: TypeAlias = pa.Table
"""Columns: those of `SERIES`, `time` in microseconds since 1970, `value` and `word`; sorted by home, entity and time."""


@dataclass(frozen=True)
class Window:
    """Bounds what is put together at once. begin, end: in microseconds since 1970; no home's clock changes in between."""

    begin: int
    end: int


class Holding:
    """Puts the states of one window after the other together. hold: the longest time for which a state is held."""

    def __init__(self, clock: Clock, hold: int, now: int) -> None:
        self._clock, self._hold, self._now = clock, hold, now

    def aggregated(self, window: Window, states: States, open_: pa.Table | None) -> tuple[pa.Table, pa.Table, States]:
        """Return the intervals that are over at the end of the window, those that are not, and the states that are still held.

        states: those that were held before the window, and then those of the window. open_: intervals of before.
        """
        home = states["home"].combine_chunks().dictionary_encode()
        series = _series_of(states)
        at, end = self._held(window, states, series)
        begin = np.maximum(at, window.begin)
        offsets = self._clock.offsets(home.dictionary.to_pylist(), window.begin)[home.indices.to_numpy()] if len(states) else at
        told = _is_told(states)
        parts = [one for one in (open_,) if one is not None]
        for some in self._in_turns(begin, end, offsets, told):
            parts.append(self._pieces(states, some, begin, end, offsets))
        parts.append(self._changes(window, states, at, offsets))
        together = _together(parts)
        return *self._split(together, window.end), self._kept(window, states, series, at)

    def _held(self, window: Window, states: States, series: Numbers) -> tuple[Numbers, Numbers]:
        """Return when each state begins, and until when it is held in the window."""
        at = states["time"].to_numpy()
        following = np.append(at[1:], np.iinfo(np.int64).max) if len(at) else at
        is_last = np.append(np.diff(series) != 0, True) if len(at) else np.zeros(0, np.bool_)
        end = np.where(is_last, at + self._hold, np.minimum(following, at + self._hold))
        return at, np.minimum(end, min(window.end, self._now))

    def _in_turns(self, begin: Numbers, end: Numbers, offsets: Numbers, told: npt.NDArray[np.bool_]) -> Iterator[Numbers]:
        """Yield the places of states that are held, as many as are cut at once."""
        places = np.flatnonzero((end > begin) & told)
        if not len(places):
            return
        pieces = self._index(end[places] - 1, offsets[places]) - self._index(begin[places], offsets[places]) + 1
        turns = np.cumsum(pieces) // _MOST_PIECES
        yield from np.split(places, np.flatnonzero(np.diff(turns)) + 1)

    def _index(self, us: Numbers, offsets: Numbers) -> Numbers:
        index: Numbers = (us + offsets) // self._clock.every
        return index

    def _pieces(self, states: States, places: Numbers, begin: Numbers, end: Numbers, offsets: Numbers) -> pa.Table:
        """Cut states where an interval begins, and put the pieces of each interval together."""
        first = self._index(begin[places], offsets[places])
        count = self._index(end[places] - 1, offsets[places]) - first + 1
        row = np.repeat(places, count)
        index = np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(row))
        opened = index * self._clock.every - offsets[row]
        since = np.maximum(begin[row], opened)
        weight = (np.minimum(end[row], opened + self._clock.every) - since).astype(np.float64)
        value, word = states["value"].to_numpy()[row], states["word"].combine_chunks().take(pa.array(row))
        is_number = ~np.isnan(value)
        key, first_row, index_of = _keys(states, row, index)
        words = word.dictionary_encode()
        width = len(words.dictionary) + 1
        pair, place = distinct(key * width + words.indices.fill_null(-1).to_numpy().astype(np.int64) + 1)
        total = pa.table(
            {
                "key": place,
                "weight": weight,
                "product": pa.array(value * weight, mask=~is_number),
                "value": pa.array(value, mask=~is_number),
            }
        )
        found = (
            total.group_by("key")
            .aggregate([("weight", "sum"), ("value", "min"), ("value", "max"), ("product", "sum")])
            .sort_by("key")
        )
        last = np.empty(len(pair), np.int64)
        last[place] = np.arange(len(row))  # of equal places the last one stays, and pieces are in order of time
        of_key = pair // width
        texts = pa.array([None, *words.dictionary.to_pylist()], pa.string()).take(pa.array(pair % width))
        return _parts(
            states,
            first_row[of_key],
            index_of[of_key],
            texts,
            {
                "weight": found["weight_sum"].to_numpy(),
                "product": found["product_sum"].to_numpy(zero_copy_only=False),
                "least": found["value_min"].to_numpy(zero_copy_only=False),
                "greatest": found["value_max"].to_numpy(zero_copy_only=False),
                "at": since[last],
                "last": value[last],
                "changes": np.zeros(len(pair), np.int64),
            },
        )

    def _changes(self, window: Window, states: States, at: Numbers, offsets: Numbers) -> pa.Table:
        """Count the states that begin in each interval."""
        row = np.flatnonzero((at >= window.begin) & (at < window.end))
        key, first_row, index_of = _keys(states, row, self._index(at[row], offsets[row]))
        count = len(first_row)
        empty, nothing = np.zeros(count), np.full(count, np.nan)
        figures = {"weight": empty, "product": nothing, "least": nothing, "greatest": nothing, "last": nothing}
        figures |= {"at": np.full(count, np.iinfo(np.int64).min), "changes": np.bincount(key, minlength=count)}
        return _parts(states, first_row, index_of, pa.nulls(count, pa.string()), figures)

    def _kept(self, window: Window, states: States, series: Numbers, at: Numbers) -> States:
        """Return the last state of each entity, if it is still held at the end of the window."""
        is_last = np.append(np.diff(series) != 0, True) if len(at) else np.zeros(0, np.bool_)
        return states.filter(pa.array(is_last & (at + self._hold > window.end) & (at < window.end)))

    def _split(self, parts: pa.Table, end: int) -> tuple[pa.Table, pa.Table]:
        _, over = _bounds(parts, self._clock)
        is_over = pa.array(over <= end)
        return parts.filter(is_over), parts.filter(pc.invert(is_over))


def _bounds(parts: pa.Table, clock: Clock) -> tuple[Numbers, Numbers]:
    return clock.bounds(parts["home"].to_pylist() if clock.is_local else [], parts["index"].to_numpy())


def _series_of(states: States) -> Numbers:
    """Number the entities of homes, in their order."""
    if not len(states):
        return np.zeros(0, np.int64)
    home, entity = (states[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in ("home", "entity_id"))
    return np.cumsum(np.append(False, (np.diff(home) != 0) | (np.diff(entity) != 0))).astype(np.int64)


def _is_told(states: States) -> npt.NDArray[np.bool_]:
    """Find the states that tell a number or a word."""
    told: npt.NDArray[np.bool_] = ~np.isnan(states["value"].to_numpy()) | states["word"].is_valid().to_numpy()
    return told


def _keys(states: States, row: Numbers, index: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Number what is put together. Return each row's number, and for each number a state of its series, and its interval."""
    key = np.zeros(len(row), np.int64)
    for name in SERIES:
        codes = states[name].combine_chunks().dictionary_encode()
        of_row = codes.indices.fill_null(len(codes.dictionary)).to_numpy().astype(np.int64)[row]
        _, key = distinct(key * (len(codes.dictionary) + 1) + of_row)
    least = int(index.min(initial=0))
    _, key = distinct(key * (int(index.max(initial=0)) - least + 1) + index - least)
    count = int(key.max()) + 1 if len(key) else 0
    first = np.empty(count, np.int64)
    first[key[::-1]] = np.arange(len(key))[::-1]
    return key, row[first], index[first]


def _parts(states: States, row: Numbers, index: Numbers, word: pa.Array, figures: dict[str, Any]) -> pa.Table:
    """Make a table of parts of intervals: they are added up by `_together`."""
    taken = {name: states[name].take(pa.array(row)) for name in SERIES}
    told = {name: pa.array(figures[name], _PARTS.field(name).type, mask=_is_nan(figures[name])) for name in _FIGURES}
    return pa.table({**taken, "index": pa.array(index, pa.int64()), "word": word.cast(pa.string()), **told}, schema=_PARTS)


def _is_nan(values: Any) -> npt.NDArray[np.bool_] | None:
    return np.isnan(values) if values.dtype.kind == "f" else None


def _together(parts: list[pa.Table]) -> pa.Table:
    """Add parts of intervals up, by series, interval and word."""
    some = [one for one in parts if len(one)]
    if len(some) < 2:
        return some[0] if some else parts[-1]
    keys = [*SERIES, "index", "word"]
    sums = [("weight", "sum"), ("product", "sum"), ("least", "min"), ("greatest", "max"), ("at", "last"), ("last", "last")]
    ordered = pa.concat_tables(some).sort_by("at")
    found = ordered.group_by(keys, use_threads=False).aggregate([*sums, ("changes", "sum")])
    return found.rename_columns([*keys, *_FIGURES]).cast(_PARTS)


def _json(shares: dict[str, float] | None) -> str | None:
    return None if shares is None else msgspec.json.encode(dict(sorted(shares.items()))).decode()


def finished(parts: pa.Table, clock: Clock) -> pa.Table:
    """Make rows of `AGGREGATES` of intervals that are over."""
    begin, end = _bounds(parts, clock)
    names = (*SERIES, "index")
    encoded = [parts[name].combine_chunks().dictionary_encode() for name in names]
    code = np.zeros(len(parts), np.int64)
    for column in encoded:
        _, code = distinct(code * (len(column.dictionary) + 1) + column.indices.fill_null(-1).to_numpy().astype(np.int64) + 1)
    count = int(code.max()) + 1 if len(code) else 0
    first = np.empty(count, np.int64)
    first[code[::-1]] = np.arange(len(code))[::-1]
    length = (end - begin).astype(np.float64)
    word, weight = parts["word"], parts["weight"].to_numpy()
    is_word = word.is_valid().to_numpy()
    number = np.flatnonzero(~is_word)
    figures = {name: np.full(count, np.nan) for name in ("mean", "min", "max", "last")}
    product, seconds = parts["product"].to_numpy(), weight
    has_number = number[~np.isnan(product[number]) & (seconds[number] > 0)]
    figures["mean"][code[has_number]] = product[has_number] / seconds[has_number]
    for name, source in (("min", "least"), ("max", "greatest"), ("last", "last")):
        figures[name][code[has_number]] = parts[source].to_numpy()[has_number]
    known = np.bincount(code, weight, count)[:count] / length[first]
    changes = np.bincount(code, parts["changes"].to_numpy(), count)[:count].astype(np.int64)
    shares: list[dict[str, float] | None] = [None] * count
    for place, text in zip(np.flatnonzero(is_word).tolist(), word.filter(pa.array(is_word)).to_pylist(), strict=True):
        of_row = shares[code[place]] = shares[code[place]] or {}
        of_row[text] = round(float(weight[place] / length[place]), 9)
    taken = {name: parts[name].take(pa.array(first)) for name in SERIES}
    ahead = (clock.shown(*one) // MINUTE_US for one in zip(taken["home"].to_pylist(), begin[first].tolist(), strict=True))
    offset = pa.array(ahead, pa.int32()) if clock.is_local else pa.nulls(count, pa.int32())
    columns = {
        **taken,
        "start": pa.array(begin[first]).cast(TIMESTAMP),
        "end": pa.array(end[first]).cast(TIMESTAMP),
        "utc_offset": offset,
        **{name: pa.array(values, mask=np.isnan(values)) for name, values in figures.items()},
        "known": np.minimum(np.round(known, 9), 1.0),
        "changes": changes,
        "shares": pa.array(map(_json, shares), pa.string()),
    }
    rows = pa.table([columns[name] for name in AGGREGATES.names], schema=AGGREGATES)
    order = [(name, "ascending") for name in ("home", "entity_id", "start", "unit", "device_class", "type")]
    return rows.sort_by(order)

"""Rows of aggregates of several homes together, which tell of no home by itself.

Exact means would: if a home comes or goes, the difference of two means is its own figure, and where one home has nearly all,
the mean is. So figures are as exact as what they say of homes in general, and no more:

1. Each home's figure is moved by 0.3 to 0.7 of the deviation between homes, up or down. A home is moved in the same way in all
   intervals, that no average of them finds out. The deviation is moved likewise.
2. The result is rounded to the standard error.
3. What is the same in all homes is left out: it would tell of each.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.states.aggregates.clocks import DAY_US
from smarthouse_api.states.aggregates.holding import States

OF_HOMES: Final = pa.schema(
    [
        pa.field("start", TIMESTAMP, nullable=False),
        pa.field("end", TIMESTAMP, nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("device_class", pa.string()),
        pa.field("unit", pa.string()),
        pa.field("state", pa.string()),
        pa.field("homes", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64()) for name in ("mean", "deviation", "share")),
    ]
)
"""A row is one kind of thing in one interval, as many homes have it: their numbers in one unit, or one of their words."""

OTHERS: Final = "*"
"""Stands for several words together, if few homes had one of them."""

_KIND: Final = ["start", "end", "type", "device_class", "unit"]
_THING: Final = ["type", "device_class", "unit", "state"]
_LEAST_MOVED, _MOST_MOVED = 0.3, 0.7
"""By how much of the deviation a home's figure is moved."""

_SAME: Final = 1e-9
"""A deviation that is less of the mean is none, but what adding up leaves."""

_NOTHING: Final = 1e-300

_FIGURES: Final = ["homes", "mean", "deviation"]
_PAIRS: Final = pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))


class HomesRows:
    """Makes rows of `OF_HOMES`.

    Each home counts once, however many entities it has: by their mean, each weighted by the time in which it is known. homes:
    the pseudonyms of those that count. least: a row is made of at least so many homes. A word that was the state in fewer is
    put together with the next rarest: the shares of a thing's words are one, so that its own could be told from the others'.
    """

    schema = OF_HOMES

    def __init__(self, homes: Collection[str], least: int) -> None:
        self._homes, self._least = pa.array(sorted(homes), pa.string()), least
        self._secret, self._moves = secrets.token_bytes(32), dict[str, npt.NDArray[np.float64]]()

    def prepared(self, states: States) -> States:
        """Return the states as they are: entities come together only once their intervals are known."""
        return states

    def batches(self, intervals: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
        """Yield rows, day by day. intervals: of `INTERVALS`, by UTC, in the order of their days."""
        numbers, words, day = list[pa.Table](), list[pa.Table](), None
        for some in intervals:
            some = _named(some.filter(pc.is_in(some["home"].cast(pa.string()), self._homes)))
            if not len(some):
                continue
            if (begun := some["start"][0].as_py() // DAY_US) != day:
                yield from self._rows(numbers, words)
                numbers, words, day = [], [], begun
            numbers.append(_numbers(some))
            words.append(_words(some))
        yield from self._rows(numbers, words)

    def _rows(self, numbers: list[pa.Table], words: list[pa.Table]) -> Iterator[pa.RecordBatch]:
        if numbers:
            rows = pa.concat_tables([self._of_numbers(pa.concat_tables(numbers)), self._of_words(pa.concat_tables(words))])
            yield from rows.sort_by([(name, "ascending") for name in [*_KIND, "state"]]).to_batches()

    def _of_numbers(self, sums: pa.Table) -> pa.Table:
        """Put the numbers of homes together. sums: see `_numbers`."""
        homes = sums.group_by([*_KIND, "home"]).aggregate([("weighted", "sum"), ("known", "sum")])
        homes = homes.append_column("figure", pc.divide(homes["weighted_sum"], homes["known_sum"]))
        told = self._together(homes.append_column("state", pa.repeat("", len(homes))))
        return _table(_blurred(told.filter(_differ(told))).drop_columns("state"))

    def _of_words(self, shares: pa.Table) -> pa.Table:
        """Put the words of homes together. shares: see `_words`. A home in which a word was never the state has none of it."""
        parts = shares.group_by([*_KIND, "home", "state"]).aggregate([("share", "sum")])
        homes = parts.group_by([*_KIND, "home"]).aggregate([("share_sum", "sum")]).rename_columns([*_KIND, "home", "whole"])
        told = self._told_words(parts)
        parts = parts.join(told, [*_KIND, "state"], join_type="inner").group_by([*_KIND, "home", "told"])
        parts = parts.aggregate([("share_sum", "sum")]).rename_columns([*_KIND, "home", "state", "part"])
        words = told.group_by([*_KIND, "told"]).aggregate([]).rename_columns([*_KIND, "state"])
        each = homes.join(words, _KIND, join_type="inner").join(parts, [*_KIND, "home", "state"], join_type="left outer")
        each = each.append_column("figure", pc.divide(pc.fill_null(each["part"], 0.0), each["whole"]))
        rows = self._together(each)
        same = rows.filter(pc.invert(_differ(rows))).select(_KIND).group_by(_KIND).aggregate([])
        return _table(_shares(_blurred(rows.join(same, _KIND, join_type="left anti"))))

    def _told_words(self, parts: pa.Table) -> pa.Table:
        """Say as what each word of a thing is told: rare ones are told together with others.

        What is left of a thing as one word tells nothing, unless it has no other.
        """
        counts = parts.group_by([*_KIND, "state"]).aggregate([("home", "count")])
        rows = counts.sort_by([(name, "ascending") for name in [*_KIND, "home_count", "state"]]).to_pylist()
        found = list[dict[str, Any]]()
        for _, some in groupby(rows, lambda word: [word[name] for name in _KIND]):
            words = list(some)
            rare = bisect_left([word["home_count"] for word in words], self._least)
            together = rare + 1 if rare else 0
            if together < len(words) or not rare:
                found += [{**word, "told": OTHERS if place < together else word["state"]} for place, word in enumerate(words)]
        fields = [counts.schema.field(name) for name in (*_KIND, "state")]
        return pa.Table.from_pylist(found, pa.schema([*fields, pa.field("told", pa.string())]))

    def _together(self, rows: pa.Table) -> pa.Table:
        """Put the `figure` of each home together, of rows of `_KIND`, `state` and `home`: homes, mean, deviation, and moves."""
        for name in ("of_mean", "of_deviation"):
            rows = rows.append_column(name, self._moved(rows, name))
        deviation = pc.VarianceOptions(ddof=1)
        found = [
            ("figure", "count"),
            ("figure", "mean"),
            ("figure", "stddev", deviation),
            ("of_mean", "mean"),
            ("of_deviation", "mean"),
        ]
        told = rows.group_by([*_KIND, "state"]).aggregate(found)
        told = told.rename_columns([*_KIND, "state", *_FIGURES, "of_mean", "of_deviation"])
        is_finite = pc.and_(pc.is_finite(told["mean"]), pc.is_finite(pc.fill_null(told["deviation"], np.nan)))
        return told.filter(pc.and_(pc.greater_equal(told["homes"], self._least), is_finite))

    def _moved(self, rows: pa.Table, figure: str) -> pa.Array:
        """By how much of the deviation the figures of homes are moved: of each thing, each home's in its own way."""
        columns = [*(rows[name] for name in _THING), pa.scalar("\x1f")]
        things = pc.binary_join_element_wise(*columns).combine_chunks().dictionary_encode()
        moves = np.array([self._moves_of(f"{figure} {thing}") for thing in things.dictionary.to_pylist()])
        home = pc.index_in(rows["home"].combine_chunks(), self._homes).to_numpy()
        return pa.array(moves[things.indices.to_numpy(), home] if len(rows) else [], pa.float64())

    def _moves_of(self, thing: str) -> npt.NDArray[np.float64]:
        if thing not in self._moves:
            seed = blake2b(thing.encode(), key=self._secret, digest_size=32).digest()
            chance = np.random.default_rng(int.from_bytes(seed))
            sizes = chance.uniform(_LEAST_MOVED, _MOST_MOVED, len(self._homes))
            self._moves[thing] = sizes * chance.choice((-1.0, 1.0), len(self._homes))
        return self._moves[thing]


def _differ(told: pa.Table) -> pa.ChunkedArray:
    """Tell of which rows the homes differ."""
    least = pc.max_element_wise(pc.multiply(pc.abs(told["mean"]), _SAME), _NOTHING)
    return pc.greater(told["deviation"], least)


def _blurred(told: pa.Table) -> pa.Table:
    """Move means and deviations as the homes' figures are moved, and round them to the standard error."""
    homes, mean, deviation = (told[name].to_numpy() for name in _FIGURES)
    digit, power = _step(deviation / np.sqrt(homes))
    moved = mean + deviation * told["of_mean"].to_numpy(), deviation * (1 + told["of_deviation"].to_numpy())
    rounded = [pa.array(_rounded(figure, digit, power)) for figure in moved]
    columns = {name: told[name] for name in (*_KIND, "state", "homes")}
    return pa.table(columns | dict(zip(_FIGURES[1:], rounded, strict=True)))


def _step(error: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the largest of 1, 2 and 5 times a power of ten that is no larger: this factor, and the exponent."""
    power = np.floor(np.log10(error))
    factor = error / 10.0**power
    return np.select([factor >= 5, factor >= 2], [5.0, 2.0], 1.0), power


def _rounded(
    figures: npt.NDArray[np.float64], digit: npt.NDArray[np.float64], power: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Round to steps, so that the shortest text of a figure has no more digits than its step."""
    steps = np.rint(figures / (digit * 10.0**power)) * digit
    return np.where(power < 0, steps / 10.0 ** np.maximum(-power, 0), steps * 10.0 ** np.maximum(power, 0)) + 0.0


def _shares(told: pa.Table) -> pa.Table:
    """Make shares of means that are moved: none is less than 0 or more than 1."""
    share = pc.min_element_wise(pc.max_element_wise(told["mean"], 0.0), 1.0)
    return told.append_column("share", share).drop_columns(["mean", "deviation"])


def _named(intervals: pa.Table) -> pa.Table:
    """Make texts of what tells things apart, with the empty one for none: nothing is joined by a null."""
    columns = {name: pc.fill_null(intervals[name].cast(pa.string()), "") for name in ("home", "type", "device_class", "unit")}
    return pa.table(columns | {name: intervals[name] for name in ("start", "end", "mean", "known", "shares")})


def _numbers(intervals: pa.Table) -> pa.Table:
    """Sum the numbers of each home, weighted by the time in which they are known, and this time."""
    some = intervals.filter(pc.and_(pc.is_valid(intervals["mean"]), pc.greater(intervals["known"], 0)))
    some = some.append_column("weighted", pc.multiply(some["mean"], some["known"]))
    sums = some.group_by([*_KIND, "home"]).aggregate([("weighted", "sum"), ("known", "sum")])
    return sums.rename_columns([*_KIND, "home", "weighted", "known"])


def _words(intervals: pa.Table) -> pa.Table:
    """Sum the share of each word in each home."""
    some = intervals.filter(pc.is_valid(intervals["shares"]))
    pairs = some["shares"].cast(_PAIRS)
    told, given = some.select([*_KIND, "home"]).take(pc.list_parent_indices(pairs)), pc.list_flatten(pairs)
    for name, place in (("state", "key"), ("share", "value")):
        told = told.append_column(name, pc.struct_field(given, place))
    sums = told.group_by([*_KIND, "home", "state"]).aggregate([("share", "sum")])
    return sums.rename_columns([*_KIND, "home", "state", "share"])


def _table(told: pa.Table) -> pa.Table:
    """Give rows their columns. What they lack is null, and so is an empty text."""
    columns = list[pa.ChunkedArray]()
    for field in OF_HOMES:
        column = told[field.name] if field.name in told.column_names else pa.nulls(len(told), field.type)
        if field.name in ("device_class", "unit"):
            column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=OF_HOMES)

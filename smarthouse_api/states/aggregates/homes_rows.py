"""Rows of aggregates of several homes together, which tell of no home by itself."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Any, Final

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
        homes = homes.append_column("mean", pc.divide(homes["weighted_sum"], homes["known_sum"]))
        figures = [("mean", "count"), ("mean", "mean"), ("mean", "stddev", pc.VarianceOptions(ddof=1))]
        told = homes.group_by(_KIND).aggregate(figures).rename_columns([*_KIND, "homes", "mean", "deviation"])
        return _table(told.filter(pc.greater_equal(told["homes"], self._least)))

    def _of_words(self, shares: pa.Table) -> pa.Table:
        """Put the words of homes together. shares: see `_words`. A home in which a word was never the state has none of it."""
        parts = shares.group_by([*_KIND, "home", "state"]).aggregate([("share", "sum")])
        whole = parts.group_by([*_KIND, "home"]).aggregate([("share_sum", "sum")]).rename_columns([*_KIND, "home", "whole"])
        homes = whole.group_by(_KIND).aggregate([("home", "count")]).rename_columns([*_KIND, "homes"])
        parts = parts.join(whole, [*_KIND, "home"], join_type="inner")
        parts = parts.append_column("of_home", pc.divide(parts["share_sum"], parts["whole"]))
        told = parts.group_by([*_KIND, "state"]).aggregate([("of_home", "sum"), ("of_home", "count")])
        told = told.join(homes, _KIND, join_type="inner")
        told = told.append_column("share", pc.divide(told["of_home_sum"], pc.cast(told["homes"], pa.float64())))
        return _table(pa.Table.from_pylist(list(self._without_rare(told)), told.schema))

    def _without_rare(self, told: pa.Table) -> Iterator[dict[str, Any]]:
        """Put rare words together with others. What is left of a thing as one word tells nothing, unless it has no other."""
        order = [(name, "ascending") for name in [*_KIND, "of_home_count", "state"]]
        for _, words in groupby(told.sort_by(order).to_pylist(), lambda word: [word[name] for name in _KIND]):
            rows = list(words)
            rare = bisect_left([row["of_home_count"] for row in rows], self._least)
            if rare:
                share = sum(row["share"] for row in rows[: rare + 1])
                rows = [{**rows[0], "state": OTHERS, "share": share}, *rows[rare + 1 :]] if rare + 1 < len(rows) else []
            yield from rows


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

"""Aggregates of long-term statistics: the periods that an interval holds, put together.

1. A period counts in the interval that holds all of it. One that reaches over a border counts in none: what of it belongs to
   which side, nobody knows.
2. An interval has periods of one length: of those that cover most of it, or of the shorter ones if two lengths cover the same.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from smarthouse_api.states.aggregates.clocks import DAY_US, MINUTE_US, Clock
from smarthouse_api.states.aggregates.intervals import INTERVALS, METER, STATISTICS, of_source
from smarthouse_api.states.aggregates.texts import Texts, changed, nullable
from smarthouse_api.states.records.placement import Numbers

VALUES: Final = ("mean", "min", "max", "state", *METER)


def intervals_of(periods: pa.Table, clock: Clock, first: int, last: int) -> pa.Table:
    """Make rows of `INTERVALS`, by home, entity and start. first, last: days on which they may begin, counted since 1970.

    periods: `SERIES`, `start` and `length` in microseconds, and `VALUES`, null where a period does not tell them. Each once.
    """
    texts = Texts(periods.append_column("word", pa.nulls(len(periods), pa.string())))
    start, length = (periods[name].to_numpy() for name in ("start", "length"))
    homes, home = texts.homes.to_pylist(), texts.key // texts.width
    index = clock.indexes(homes, home, start)
    begin, end = clock.bounds(homes, home, index)
    is_within = (start >= begin) & (start + length <= end) & (length > 0)
    is_wanted = (begin // DAY_US >= first) & (begin // DAY_US <= last)
    order = np.lexsort((start, length, texts.kind, index, texts.key))
    order = order[(is_within & is_wanted)[order]]
    order = order[_of_best_length(texts, order, index, length)]
    if not len(order):
        return INTERVALS.empty_table()
    key, kind, weight = texts.key[order], texts.kind[order], length[order].astype(np.float64)
    heads = np.flatnonzero(changed(key, index[order], kind))
    value = {name: periods[name].to_numpy()[order] for name in VALUES}
    begin, end = begin[order][heads], end[order][heads]
    known = np.minimum(np.round(np.add.reduceat(weight, heads) / (end - begin), 9), 1.0)
    ahead = clock.shown(homes, key[heads] // texts.width, begin) // MINUTE_US if clock.is_local else None
    return texts.table(
        key[heads],
        kind[heads],
        start=begin,
        end=end,
        ahead=pa.nulls(len(heads), pa.int64()) if ahead is None else ahead,
        mean=nullable(_mean(value["mean"], weight, heads)),
        min=nullable(np.fmin.reduceat(value["min"], heads)),
        max=nullable(np.fmax.reduceat(value["max"], heads)),
        last=nullable(_last(value["state"], heads)),
        known=known,
        changes=pa.nulls(len(heads), pa.int64()),
        source=of_source(STATISTICS, len(heads))["source"],
        sum=nullable(_last(value["sum"], heads)),
        change=nullable(_total(value["change"], heads)),
        shares=pa.nulls(len(heads), INTERVALS.field("shares").type),
    ).cast(INTERVALS)


def _of_best_length(texts: Texts, order: Numbers, index: Numbers, length: Numbers) -> npt.NDArray[np.bool_]:
    """Choose periods of one length for each interval. order: the periods by series, interval and length."""
    if not len(order):
        return np.zeros(0, np.bool_)
    series = texts.key[order], index[order], texts.kind[order]
    of_length = changed(*series, length[order])
    heads = np.flatnonzero(of_length)
    covered = np.add.reduceat(length[order], heads)
    row = np.cumsum(changed(*series)[heads]) - 1
    best = np.lexsort((length[order][heads], -covered, row))
    is_best = np.zeros(len(heads), np.bool_)
    is_best[best[np.flatnonzero(np.diff(row[best], prepend=-1))]] = True
    chosen: npt.NDArray[np.bool_] = is_best[np.cumsum(of_length) - 1]
    return chosen


def _mean(values: Any, weight: npt.NDArray[np.float64], heads: Numbers) -> npt.NDArray[np.float64]:
    """Weigh the means that there are by their lengths. By the distance from the least, so that one mean stays as it is."""
    least = np.fmin.reduceat(values, heads)
    above = values - np.repeat(least, np.diff(np.append(heads, len(values))))
    weight = np.where(np.isnan(values), 0.0, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: npt.NDArray[np.float64] = least + np.add.reduceat(np.nan_to_num(above) * weight, heads) / np.add.reduceat(
            weight, heads
        )
    return mean


def _last(values: Any, heads: Numbers) -> npt.NDArray[np.float64]:
    place = np.maximum.reduceat(np.where(np.isnan(values), -1, np.arange(len(values))), heads)
    last: npt.NDArray[np.float64] = np.where(place < 0, np.nan, values[place])
    return last


def _total(values: Any, heads: Numbers) -> npt.NDArray[np.float64]:
    is_told = np.logical_or.reduceat(~np.isnan(values), heads)
    total: npt.NDArray[np.float64] = np.where(is_told, np.add.reduceat(np.nan_to_num(values), heads), np.nan)
    return total

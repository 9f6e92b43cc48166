"""Rows of the table of statistics, made of what payloads tell, and each period once."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from smarthouse_api.states.records.placement import placed_by_month
from smarthouse_api.states.records.schema import PERIOD_KEY, PERIODS

_AMONG_REPEATS: Final = ("received", "end", "unit", "last_reset")
_REST: Final = tuple(name for name in PERIODS.names if name not in PERIOD_KEY)


def periods_of(statistics: pa.Table, *, home: pa.Array, share: pa.Array, received: pa.Array) -> pa.Table:
    """Make rows of `PERIODS` of statistics: each with its place in the table.

    statistics: of schema `STATISTICS`. home: internal keys. share: `bucket_of` each. received: times of arrival.
    """
    columns = {name: statistics[name] for name in statistics.schema.names}
    day = placed_by_month(columns["start"].combine_chunks(), received)
    columns |= {"day": day, "bucket": share, "home": home, "received": received}
    return pa.table([columns[name] for name in PERIODS.names], schema=PERIODS)


def each_once(rows: pa.Table) -> pa.Table:
    """Sort periods by home, statistic and start, and leave out repeats.

    rows: with the columns of `PERIODS`, of one place in the table or of several. Of repeats the one that arrived first stays.
    Where it lacks the end, the unit or the last reset, the next one that has it tells it.
    """
    rows = rows.select(PERIODS.names).cast(PERIODS)  # what a delete has rewritten is of another type
    by_arrival = rows.sort_by([(name, "ascending") for name in _AMONG_REPEATS])
    first = by_arrival.group_by(list(PERIOD_KEY), use_threads=False).aggregate([(name, "first") for name in _REST])
    once = first.rename_columns([name.removesuffix("_first") for name in first.column_names])
    return once.select(PERIODS.names).cast(PERIODS).sort_by([(name, "ascending") for name in PERIOD_KEY])

"""When a state change entered the lake: a number that each commit of uploads gives to its rows, larger than any before.

1. The number is the time of the commit in microseconds, or one more than the last number, so that it only grows. The commit
   carries it as a transaction of its own: delta-rs refuses a commit whose number was made before another one's.
2. Rows keep it when they are merged, moved or rewritten. Of repeats of a state change, the least number counts.
3. It is negative for rows that were made again from raw uploads: they may have been in the lake before. It is null for rows of
   earlier versions, which entered before all others.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.states.records.placement import Numbers

ENTERED: Final = "entered"
"""The column, and the name of the transaction."""

NEW: Final = 1
"""Stands for the number of a commit that is not made yet."""

AGAIN: Final = -1
"""The same, for rows that are made again."""


def is_unnumbered(rows: pa.Table) -> bool:
    """Tell whether some rows wait for the number of their commit."""
    return bool(pc.any(_waits(rows)).as_py())


def numbered(rows: pa.Table, number: int) -> pa.Table:
    """Give rows that wait for it the number of their commit."""
    told = pc.if_else(_waits(rows), pc.multiply(rows[ENTERED], pa.scalar(number, pa.int64())), rows[ENTERED])
    return rows.set_column(rows.column_names.index(ENTERED), rows.schema.field(ENTERED), told)


def made_again(rows: pa.Table) -> pa.Table:
    """Mark rows as made again."""
    marks = pa.repeat(pa.scalar(AGAIN, pa.int64()), len(rows))
    return rows.set_column(rows.column_names.index(ENTERED), rows.schema.field(ENTERED), marks)


def of_repeats(entered: pa.Array, repeats: Numbers, begins: npt.NDArray[np.bool_]) -> pa.Array:
    """Tell the first of some repeats when their state change entered.

    repeats: rows, those of one state change side by side. begins: whether each is the first of its state change.
    """
    if not len(repeats):
        return entered
    told = entered.fill_null(0).to_numpy().copy()
    first = np.flatnonzero(begins)
    least = np.minimum.reduceat(np.abs(told[repeats]), first)
    is_again = np.logical_or.reduceat(told[repeats] < 0, first)
    told[repeats[first]] = np.where(is_again, -least, least)
    return pa.array(told, mask=told == 0)


def _waits(rows: pa.Table) -> pa.ChunkedArray:
    return pc.equal(pc.abs(rows[ENTERED]), NEW)

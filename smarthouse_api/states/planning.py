"""The plan of an export: which files can hold a wanted row, and which days are read together.

A part has about as many rows as are sorted at once. Files tell how many each has; an engine is asked only where they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from smarthouse_api.lake.planning import Bound, Shares, packed_keys, shares_of, that_can_match
from smarthouse_api.states.query import ExportPart, Filters
from smarthouse_api.states.records.placement import LATE, OWN_DAY, Numbers, buckets_of
from smarthouse_api.states.selects import OUTDATED, select_days, wanted_rows

MAX_SORTED_ROWS = 65_536
MAX_SORTED_BYTES = 6 << 20
_ROWS_PER_ROW_OF_A_UNIT = 4
"""Few rows have one of some units: so many times as many files are read at once without counting them."""

_DAY: Final = timedelta(days=1)
_EPOCH: Final = date(1970, 1, 1)


def wanted_files(files: pa.Table, filters: Filters) -> pa.Table:
    """Choose the files that can hold a wanted row. files: `files_of` a snapshot."""
    if filters.keys:
        buckets = {bucket for key in filters.keys for bucket in buckets_of(key)}
        files = files.filter(pc.is_in(files["partition.bucket"], pa.array(sorted(buckets), pa.int32())))
    old, new = _split(files, pc.less(files["partition.bucket"], OWN_DAY))
    return pa.concat_tables([old, that_can_match(new, _bounds(filters))])  # what files tell of outdated rows is no bound


def parts(files: pa.Table, filters: Filters, count: Callable[[exp.Select], tuple[Numbers, Numbers]]) -> Iterator[ExportPart]:
    """Plan the parts of a snapshot that can hold a wanted row, in the order of an export. Together they cover the filter's
    days.

    files: `files_of` the snapshot. count: runs a query such as `select_days`: the days, and how many rows each has. It is asked
    only if files do not tell that, and their rows are many.
    """
    files = wanted_files(files, filters)
    if not len(files):
        return
    bucket, is_old = files["partition.bucket"], is_outdated(files)
    daily, others = _split(files, pc.and_(pc.greater_equal(bucket, OWN_DAY), pc.less(bucket, LATE)))
    shares, left = (shares_of(some, MAX_SORTED_ROWS, MAX_SORTED_BYTES) for some in (daily, others))
    days: Numbers = daily["partition.day"].cast(pa.int32()).to_numpy().astype(np.int64)
    share, whole = left.sum(), shares.sum() + left.sum()
    if filters.units and whole <= _ROWS_PER_ROW_OF_A_UNIT:
        shares, share = shares / _ROWS_PER_ROW_OF_A_UNIT, share / _ROWS_PER_ROW_OF_A_UNIT
    if filters.are_narrow and whole > (_ROWS_PER_ROW_OF_A_UNIT if filters.units else 1):
        # Reading their columns alone costs little, and larger parts are fewer queries.
        everything = ExportPart(*filters.span, is_filed=not len(others))
        days, rows = count(select_days(filters, wanted_rows(everything, filters, outdated=is_old)))
        shares = rows * (whole / max(1, pc.sum(files["num_records"]).as_py()))
    elif share > 1:
        counted, rows = count(select_days(filters, exp.or_(OUTDATED, exp.column("bucket") >= LATE)))
        days, shares = np.append(days, counted), np.append(shares, share * rows / max(1, rows.sum()))
    elif share:
        days, shares = np.append(days, days.min() if len(days) else 0), np.append(shares, share)
    yield from (replace(part, is_filed=not len(others)) for part in _covering(filters.span, days, shares))


def _covering(span: tuple[date, date], days: Numbers, shares: Shares) -> Iterator[ExportPart]:
    """Put days together to parts that leave no day of the span out: a row of a day that was not counted is in one of them.

    A day that is too large is a part of its own. It is read home by home, so a row of another day would not be in order.
    """
    begin, held = span[0], 0.0
    least, most = ((day - _EPOCH).days for day in span)
    for first, share in packed_keys(np.clip(days, least, most), shares):
        day = _EPOCH + first * _DAY
        if (held or share > 1) and begin < day:
            yield ExportPart(begin, day - _DAY, held)
            begin = day
        held = share
        if share > 1:
            yield ExportPart(day, day, share)
            if day == span[1]:
                return
            begin, held = day + _DAY, 0.0
    yield ExportPart(begin, span[1], held)


def is_outdated(files: pa.Table) -> bool:
    """Tell whether a snapshot has rows that an earlier version wrote. files: `files_of` it."""
    return bool(pc.any(pc.less(files["partition.bucket"], OWN_DAY)).as_py())


def _split(files: pa.Table, chosen: pa.ChunkedArray) -> tuple[pa.Table, pa.Table]:
    return files.filter(chosen), files.filter(pc.invert(chosen))


def _bounds(filters: Filters) -> list[Bound]:
    """Bound the files by their statistics of the time that the days filter. Repeats may have arrived after the last day."""
    if filters.time_field == "changed":
        return []
    bounds = list[Bound]()
    name = "time" if filters.time_field == "updated" else "received"
    if filters.since is not None and name == "time":
        bounds.append(Bound("max.time", pa.scalar(filters.since, pa.date32()), is_least=True))
    if filters.until is not None:
        bounds.append(Bound(f"min.{name}", pa.scalar(filters.until, pa.date32()), is_least=False))
    return bounds

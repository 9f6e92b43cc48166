"""Days that are over: hardly a row is added to them, so their files are merged into few, sorted for reading.

1. The buckets of such a day are as many as its rows need. Those of its files that are merged already tell how many it has.
2. Shares of homes that are in the same buckets before and after are merged together: a step of the work.
3. The rows of a bucket are sorted by type, unit, home, entity and time. A reader of some types or units skips most of a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.lake.files import Crowded
from smarthouse_api.states.records.placement import (
    LATE,
    MERGED,
    MOST_SHARES,
    OWN_DAY,
    Numbers,
    merged_bucket,
    share_in,
    shares_in,
)
from smarthouse_api.states.records.sorting import in_order

_ROWS: Final = 262_144
"""Rows of a bucket, at most: about those of 250 homes. More would be too many to be sorted at once."""

_BYTES: Final = 24 << 20
"""Bytes of a bucket's file, at most, likewise."""


@dataclass(frozen=True)
class Untidy(Crowded):
    """Names buckets of a day that is over whose rows are to be merged. sources: where they lie. targets: where they belong."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def day(self) -> date:
        found: date = self.partition["day"]
        return found

    @property
    def predicate(self) -> str:
        """Choose the rows as SQL, wherever they lie. It names partitions only."""
        buckets = sorted({*self.sources, *self.targets})
        return f"day = '{self.day}' AND bucket IN ({', '.join(map(str, buckets))})"


@dataclass(frozen=True)
class _Bucket:
    number: int
    files: int
    rows: int
    size_bytes: int

    @property
    def shares(self) -> int:
        return shares_in(self.number)


def of_days_over(files: pa.Table, last: date) -> pa.ChunkedArray:
    """Tell which files hold usual rows of days that are over. files: `files_of` a snapshot. last: the last such day."""
    day, bucket = files["partition.day"], files["partition.bucket"]
    is_usual = pc.and_(pc.greater_equal(bucket, OWN_DAY), pc.less(bucket, LATE))
    return pc.and_(is_usual, pc.less_equal(day, pa.scalar(last)))


def untidy(files: pa.Table) -> list[Untidy]:
    """Find what is to be merged, the newest days first. files: of `files_of`, those `of_days_over`."""
    figures = [("size_bytes", "count"), ("num_records", "sum"), ("size_bytes", "sum")]
    days = dict[date, list[_Bucket]]()
    for one in files.group_by(["partition.day", "partition.bucket"]).aggregate(figures).to_pylist():
        found = _Bucket(one["partition.bucket"], one["size_bytes_count"], one["num_records_sum"], one["size_bytes_sum"])
        days.setdefault(one["partition.day"], []).append(found)
    return [step for day in sorted(days, reverse=True) for step in _of_day(day, days[day])]


def _of_day(day: date, buckets: list[_Bucket]) -> Iterator[Untidy]:
    shares = _shares_of_day(buckets)
    together = min(shares, *(one.shares for one in buckets))
    for number in range(together):
        some = sorted((one for one in buckets if share_in(one.number) % together == number), key=lambda one: one.number)
        if any(one.number < MERGED or one.shares != shares or one.files > 1 for one in some):
            yield Untidy(
                {"day": day},
                sum(one.rows for one in some),
                sum(one.size_bytes for one in some),
                tuple(one.number for one in some),
                tuple(merged_bucket(share, shares) for share in range(number, shares, together)),
            )


def _shares_of_day(buckets: Iterable[_Bucket]) -> int:
    """Tell into how many shares the homes of a day are divided. What is merged already stays if it fits halfway."""
    rows, size = sum(one.rows for one in buckets), sum(one.size_bytes for one in buckets)
    needed = max(rows / _ROWS, size / _BYTES)
    wanted = next((1 << power for power in range(MOST_SHARES.bit_length()) if needed <= 1 << power), MOST_SHARES)
    merged = {one.shares for one in buckets if one.number >= MERGED}
    return next((one for one in sorted(merged) if wanted <= 2 * one and one <= 2 * wanted), wanted)


def sorted_for_reading(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Sort rows by type, unit, home, entity and time, and leave out the repeats of a state change.

    rows: of one day, as `sorting.encoded` makes them, with the columns of `STATES`.
    """
    rows = in_order(rows)
    types, units = (_ranks(rows.column(name)) for name in ("type", "unit_nfkc"))
    kinds = types * (int(units.max(initial=0)) + 1) + units
    return rows.take(pa.array(np.argsort(kinds, kind="stable")))


def _ranks(column: pa.DictionaryArray) -> Numbers:
    """Return numbers in the order of the values; null is the least."""
    ranks = np.append(pc.rank(column.dictionary, tiebreaker="dense").to_numpy(), 0).astype(np.int64)
    found: Numbers = ranks[column.indices.fill_null(-1).to_numpy()]
    return found

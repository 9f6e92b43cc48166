"""Where a row lies in the tables of states and of statistics: the day and the bucket by which each is partitioned.

A state lies by its own time, so that the repeats of one state change lie together, and an export of some days reads those days.

| bucket | day | rows |
|---|---|---|
| 0 to 7 | of arrival | written before format 2; a chore brings them to their place |
| 1000 to 1007 | the row's own | usual ones as they come; a home always has the same bucket |
| 1100 to 1610 | the row's own | those of a day that is over, merged and sorted: as many buckets as the day's rows need |
| 2000 | the first of the row's month | late ones, so that a home that brings years at once writes few files |
| 3000 | 1970-01-01 | those whose time cannot be right: before 2000, or later than the day after arrival |

A day that is over has 1, 2, 4 … or 256 buckets. With n of them, the share `s` of its homes is in bucket `1099 + n + s`. So a
bucket tells how many there are, and each share of fewer buckets is the sum of some shares of more.

A period of statistics has the bucket of its home, from 0 to 7. Its day is the first of the month in which it starts, or
1970-01-01 if that cannot be right. So years of a home are few files, and its repeats lie together.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from smarthouse_api.arrow.times import DAY_US

BUCKETS: Final = 8
"""Buckets of homes in a day as its rows come."""

OWN_DAY: Final = 1000
"""The first bucket of usual rows, and the first of the present format: what lies below is to be moved."""

MERGED: Final = 1100
"""The first bucket of a day that is over."""

MOST_SHARES: Final = 256

LATE: Final = 2000
FAR: Final = 3000

LATE_DAYS: Final = 2
"""A row is late if it is of more days before its arrival. A nightly upload brings the day before, and older states again."""

_YEAR_2000: Final = 10_957
"""In days since 1970."""

Numbers = npt.NDArray[np.int64]


def share_of(home: str, shares: int) -> int:
    """Return which of so many shares of homes an internal key (hexadecimal) belongs to, counted from 0."""
    return int(home[:8], 16) % shares


def bucket_of(home: str) -> int:
    """Return the share of homes that an internal key belongs to, from 0 to 7."""
    return share_of(home, BUCKETS)


def merged_bucket(share: int, shares: int) -> int:
    """Return the bucket of a share of homes, on a day that is over. shares: into how many its homes are divided."""
    return MERGED - 1 + shares + share


def shares_in(bucket: int) -> int:
    """Tell into how many shares the homes of a day are divided, of which one has this bucket. bucket: of a usual row."""
    return BUCKETS if bucket < MERGED else 1 << ((bucket - MERGED + 1).bit_length() - 1)


def share_in(bucket: int) -> int:
    """Tell which share of homes has this bucket, counted from 0. bucket: of a usual row."""
    return bucket - OWN_DAY if bucket < MERGED else bucket - merged_bucket(0, shares_in(bucket))


def own_day_buckets_of(home: str) -> tuple[int, ...]:
    """List the buckets in which a home can have usual rows."""
    divisions = (1 << power for power in range(MOST_SHARES.bit_length()))
    return OWN_DAY + bucket_of(home), *(merged_bucket(share_of(home, shares), shares) for shares in divisions)


def buckets_of(home: str) -> tuple[int, ...]:
    """List all buckets in which a home can have rows."""
    return bucket_of(home), *own_day_buckets_of(home), LATE, FAR


def placed(time: pa.TimestampArray, received: pa.TimestampArray, share: pa.Int32Array) -> tuple[pa.Date32Array, pa.Int32Array]:
    """Return the day and the bucket of rows. time, received: without nulls. share: `bucket_of` the home."""
    day, arrival = _days(time), _days(received)
    is_far = _is_far(day, arrival)
    is_late = ~is_far & (day < arrival - LATE_DAYS)
    bucket = np.where(is_far, FAR, np.where(is_late, LATE, OWN_DAY + share.to_numpy()))
    day = np.where(is_far, 0, day)
    if is_late.any():
        day = np.where(is_late, _months(day), day)
    return _dates(day), pa.array(bucket.astype(np.int32))


def placed_by_month(start: pa.TimestampArray, received: pa.TimestampArray) -> pa.Date32Array:
    """Return the day by which periods of statistics are filed. start: null where unreadable. received: without nulls."""
    day, arrival = _days(pc.coalesce(start, received)), _days(received)
    return _dates(np.where(_is_far(day, arrival), 0, _months(day)))


def _is_far(day: Numbers, arrival: Numbers) -> npt.NDArray[np.bool_]:
    is_far: npt.NDArray[np.bool_] = (day < _YEAR_2000) | (day > arrival + 1)
    return is_far


def _months(day: Numbers) -> Numbers:
    """Return the first day of each day's month."""
    return day.astype("datetime64[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _dates(day: Numbers) -> pa.Date32Array:
    return pa.array(day.astype(np.int32)).cast(pa.date32())


def _days(times: pa.TimestampArray) -> Numbers:
    days: Numbers = times.cast(pa.int64()).to_numpy() // DAY_US
    return days

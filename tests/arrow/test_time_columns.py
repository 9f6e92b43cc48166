"""Columns of times, written and read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from smarthouse_api.arrow.time_columns import TIMESTAMP, read_times, write_times


def test_every_time_is_formatted_as_python_does():
    span = np.random.default_rng(7).integers(-62_135_596_800_000_000, 253_402_300_800_000_000, 5000)
    times = pa.array(span).cast(TIMESTAMP)
    assert write_times(times).to_pylist() == [f"{time:%Y-%m-%dT%H:%M:%S.%fZ}".zfill(27) for time in times.to_pylist()]


def test_a_time_that_rfc_3339_cannot_say_is_null():
    edges = [-62_135_596_800_000_001, 253_402_300_800_000_000, 0, None]
    assert write_times(pa.array(edges, TIMESTAMP)).to_pylist() == [None, None, "1970-01-01T00:00:00.000000Z", None]


def test_usual_times_are_read_at_once_and_each_odd_one_once() -> None:
    asked = []

    def read_odd(text: str) -> int | None:
        asked.append(text)
        return 7 if text == "seven" else None

    texts = ["1970-01-01T01:00:00.000005+01:00", "seven", None, "nothing", "seven", "1970-01-01T00:00:00Z"]
    assert read_times(pa.array(texts), read_odd).cast(pa.int64()).to_pylist() == [5, 7, None, None, 7, 0]
    assert sorted(asked) == ["nothing", "seven"]


def test_a_day_that_is_not_costs_only_itself() -> None:
    texts = ["2025-02-30T00:00:00Z", "1970-01-01T00:00:00Z"]
    assert read_times(pa.array(texts), {texts[1]: 0}.get).cast(pa.int64()).to_pylist() == [None, 0]


def test_a_time_out_of_all_years_is_null() -> None:
    texts = ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59.999999Z"]
    assert read_times(pa.array(texts), {}.get).is_null().to_pylist() == [True, True, False]

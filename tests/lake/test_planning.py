"""Planning: which files can match, and what is put together."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from smarthouse_api.lake.planning import Bound, packed_keys, packed_sequences, shares_of, that_can_match


def files(**columns: list[object]) -> pa.Table:
    return pa.table({name.replace("_of_", "."): values for name, values in columns.items()})


@pytest.mark.parametrize(
    ("since", "until", "expected"), [(None, None, 3), (5, None, 2), (None, 4, 2), (5, 4, 1), (100, None, 1)]
)
def test_a_file_is_passed_over_only_if_its_statistics_say_so(since: int | None, until: int | None, expected: int) -> None:
    some = files(min_of_n=[0, 5, None], max_of_n=[4, 9, None])
    bounds = [Bound("max.n", pa.scalar(since), is_least=True)] if since is not None else []
    bounds += [Bound("min.n", pa.scalar(until), is_least=False)] if until is not None else []
    assert that_can_match(some, bounds).num_rows == expected


def test_what_is_not_told_of_any_file_rules_none_out() -> None:
    assert that_can_match(files(n=[1, 2]), [Bound("max.n", pa.scalar(7), is_least=True)]).num_rows == 2


def test_a_time_is_held_against_a_day() -> None:
    some = pa.table({"max.time": pa.array([0, 86_400_000_000], pa.timestamp("us", tz="UTC"))})
    assert that_can_match(some, [Bound("max.time", pa.scalar(date(1970, 1, 2)), is_least=True)]).num_rows == 1


def test_a_share_is_of_rows_or_of_bytes_whichever_is_more() -> None:
    assert shares_of(files(num_records=[10, 40], size_bytes=[100, 100]), 20, 100).tolist() == [1.0, 2.0]


def packed(shares: dict[int, float]) -> list[tuple[int, float]]:
    keys, values = np.array(list(shares), np.int64), np.array(list(shares.values()), np.float64)
    return [(first, round(share, 6)) for first, share in packed_keys(keys, values)]


def test_keys_are_packed_in_order_and_a_large_one_comes_alone() -> None:
    assert packed({3: 0.5, 1: 0.5, 2: 0.5, 4: 7.0, 5: 0.1}) == [(1, 1.0), (3, 0.5), (4, 7.0), (5, 0.1)]


def test_no_keys_are_no_packs() -> None:
    assert packed({}) == []


def test_sequences_are_packed_in_growing_ranges_without_a_gap() -> None:
    found = list(packed_sequences(np.array([1]), np.array([100]), np.array([1 / 16])))
    assert found[:3] == [(1, 1), (2, 5), (6, 21)]
    assert [last + 1 for _, last in found[:-1]] == [first for first, _ in found[1:]]
    assert found[-1][1] == 100

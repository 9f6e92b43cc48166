"""The days that plots show: without the few rows that lie far from all others."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from smarthouse_api.states.contents.answers import usual_days

FIRST = date(2026, 3, 1)
MONTH = {FIRST + timedelta(days=n): 1000 for n in range(30)}
LAST = max(MONTH)


@pytest.mark.parametrize(
    ("also", "found"),
    [
        ({}, (FIRST, LAST)),
        ({date(1971, 1, 1): 1}, (FIRST, LAST)),
        ({date(1971, 1, 1): 1, date(2999, 1, 1): 3, date(1, 1, 1): 20}, (FIRST, LAST)),
        ({date(1971, 1, 1): 31}, (date(1971, 1, 1), LAST)),  # more than one in a thousand
        ({FIRST - timedelta(days=31): 1}, (FIRST - timedelta(days=31), LAST)),  # not far
        ({LAST + timedelta(days=1): 1}, (FIRST, LAST + timedelta(days=1))),
    ],
)
def test_few_rows_far_from_all_others_are_left_out(also: dict[date, int], found: tuple[date, date]) -> None:
    assert usual_days({**MONTH, **also}) == found


def test_one_day_is_all_that_there_is() -> None:
    assert usual_days({FIRST: 1}) == (FIRST, FIRST)
    assert usual_days({FIRST: 1, date(1971, 1, 1): 1}) == (date(1971, 1, 1), FIRST)

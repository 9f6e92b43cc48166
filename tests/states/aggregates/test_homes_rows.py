"""Rows of many homes together: what somebody could work out of them, who knows that all other homes stay the same."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import pyarrow as pa
import pytest

from smarthouse_api.states.aggregates.clocks import DAY_US
from smarthouse_api.states.aggregates.homes_rows import HomesRows
from smarthouse_api.states.aggregates.intervals import INTERVALS

FIGURES = (60.1, 72.4, 81.9, 78.2, 90.3, 103.8, 66.6)
DEVIATION = statistics.stdev(FIGURES)
HOMES = [f"home_{number}" for number in range(len(FIGURES))]
LEAST, DAYS, RELEASES = 5, 2, 40


def intervals(day: int, homes: Mapping[str, float | dict[str, float]]) -> pa.Table:
    """One day of some homes, which have a number or words."""
    rows = [
        {
            **dict.fromkeys(INTERVALS.names),
            "home": home,
            "type": "sensor",
            "start": day * DAY_US,
            "end": (day + 1) * DAY_US,
            "known": 1.0,
            "mean": None if isinstance(told, dict) else told,
            "shares": list(told.items()) if isinstance(told, dict) else None,
        }
        for home, told in homes.items()
    ]
    return pa.Table.from_pylist(rows, INTERVALS)


def released(of_day: Callable[[int], Mapping[str, float | dict[str, float]]]) -> list[dict[str, float]]:
    """The rows of a release of `DAYS` days."""
    rows = HomesRows(HOMES, LEAST).batches(intervals(day, of_day(day)) for day in range(DAYS))
    return [row for batch in rows for row in batch.to_pylist()]


@pytest.mark.parametrize("gone", range(len(HOMES)))
def test_the_figure_of_a_home_that_goes_is_not_the_difference(gone: int) -> None:
    def of_day(day: int) -> dict[str, float]:
        figures = dict(zip(HOMES, FIGURES, strict=True))
        if day >= DAYS // 2:
            del figures[HOMES[gone]]
        return figures

    worked_out = list[float]()
    for _ in range(RELEASES):
        before, after = released(of_day)
        assert (before["homes"], after["homes"]) == (len(HOMES), len(HOMES) - 1)
        worked_out.append(before["homes"] * before["mean"] - after["homes"] * after["mean"])
    assert statistics.pstdev(worked_out, FIGURES[gone]) > DEVIATION / 2, "whoever guesses the mean misses it by no more"


def test_what_is_released_is_right_about_homes_in_general() -> None:
    figures = dict(zip(HOMES, FIGURES, strict=True))
    means = [row["mean"] for _ in range(RELEASES) for row in released(lambda day: figures)[:1]]
    error = DEVIATION / len(HOMES) ** 0.5
    assert abs(statistics.mean(means) - statistics.mean(FIGURES)) < 0.5 * error, "no figure is moved to one side"
    assert statistics.pstdev(means, statistics.mean(FIGURES)) < error


def test_a_change_of_one_home_is_not_the_change_of_the_mean() -> None:
    figures = dict(zip(HOMES, FIGURES, strict=True))
    changes = list[float]()
    for _ in range(RELEASES):
        before, after = released(lambda day: {**figures, HOMES[3]: FIGURES[3] + day})
        changes.append(len(HOMES) * (after["mean"] - before["mean"]))
    assert sum(change == 0 for change in changes) > RELEASES * 0.7, "it is less than a step"


def test_the_word_of_a_home_that_goes_is_not_the_difference() -> None:
    shares = (0.1, 0.9, 0.3, 0.8, 0.5, 0.6, 0.2)
    words = {home: {"on": share, "off": 1 - share} for home, share in zip(HOMES, shares, strict=True)}
    missed = list[float]()
    for _ in range(RELEASES):
        rows = released(lambda day: words if day == 0 else {home: told for home, told in words.items() if home != HOMES[1]})
        on = {row["homes"]: row["share"] for row in rows if row["state"] == "on"}
        off = {row["homes"]: row["share"] for row in rows if row["state"] == "off"}
        told = {homes: (on[homes] + 1 - off[homes]) / 2 for homes in on}
        missed.append(abs(7 * told[7] - 6 * told[6] - 0.9))
    assert statistics.median(missed) > 0.1


def test_a_thing_with_a_word_that_all_homes_have_alike_is_left_out() -> None:
    shares = (0.1, 0.2, 0.3, 0.15, 0.25, 0.05, 0.4)
    words = {home: {"auto": 0.5, "heat": share, "off": 0.5 - share} for home, share in zip(HOMES, shares, strict=True)}
    assert released(lambda day: words) == [], "its share is what the others leave"
    assert released(lambda day: {home: {"on": 1.0} for home in HOMES}) == []
    assert released(lambda day: dict.fromkeys(HOMES, 21.5)) == []

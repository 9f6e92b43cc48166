"""Plots: gaps stay gaps, runs are one rectangle, texts are escaped, and any numbers can be drawn."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from smarthouse_api.plots.axes import Scale, named_columns, whole_steps
from smarthouse_api.plots.bands import Point, band
from smarthouse_api.plots.bars import bars
from smarthouse_api.plots.heat import heat
from smarthouse_api.plots.svg import Drawing


def paths(drawing: Drawing) -> dict[str, str]:
    """What is drawn, by class."""
    return {one.get("class", ""): one.get("d", "") for one in ElementTree.fromstring(drawing.marks).iter("path")}


def boxes(steps: str) -> list[tuple[float, ...]]:
    """Left, top and right of each rectangle."""
    return [tuple(map(float, found)) for found in re.findall(r"M([\d.]+) ([\d.]+)H([\d.]+)", steps)]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, (0, 5, 10)),
        (15.2, 26.9, (15, 20, 25, 30)),
        (-3, 3, (-4, -2, 0, 2, 4)),
        (0.001, 0.004, (0.001, 0.002, 0.003, 0.004)),
        (7, 7, (6, 6.5, 7, 7.5, 8)),
        (0, 0, (0, 0.5, 1)),
        (0, 1e12, (0, 5e11, 1e12)),
    ],
)
def test_a_scale_has_round_ends_around_its_numbers(low: float, high: float, ticks: tuple[float, ...]) -> None:
    scale = Scale.of(low, high, 2 if ticks[-1] in (10, 1, 1e12) else 4)
    assert scale.ticks == ticks
    assert scale.low <= low <= high <= scale.high
    assert (scale.from_above(scale.high), scale.from_above(scale.low)) == (0, 1)


def test_bars_stand_for_their_columns_and_an_empty_one_stays_empty() -> None:
    drawing = bars("Rows", ["1", "2", "3", "4"], [10, 0, 1, 20], str, data_days="a b")
    found = boxes(paths(drawing)["bar"])
    assert [int(left) for left, _, _ in found] == [0, 2, 3]
    assert found[2][1] < found[0][1] < found[1][1] < 100
    assert 'data-days="a b"' in drawing.marks
    assert bars("None", [], [], str).marks
    seen = boxes(paths(bars("Rows", ["1", "2"], [1, 1_000_000], str))["bar"])
    assert seen[0][1] <= 98.5  # one row of a million is seen


def test_a_heat_map_joins_neighbours_of_one_tone_and_leaves_gaps() -> None:
    drawing = heat("Coverage", [str(n) for n in range(400)], ["a", "b"], [[5] * 200 + [None] * 100 + [5] * 100, [5] * 400])
    tones = paths(drawing)
    assert set(tones) == {"tone0", "tone3"}
    assert [(left, right) for left, _, right in boxes(tones["tone3"])] == [(0, 200), (300, 400), (0, 400)]
    assert [(left, right) for left, _, right in boxes(tones["tone0"])] == [(200, 300)]
    assert len(drawing.marks) < 600
    different = paths(heat("Coverage", ["1", "2", "3"], ["a"], [[1, 50, 100]]))
    assert set(different) == {"tone1", "tone3", "tone5"}


def test_a_band_is_broken_where_nothing_is_known() -> None:
    points = [Point(at, at, at + 1, at + 2) for at in (0, 1, 2, 8, 9, 23)]
    drawn = paths(band("Day", points, (0, 23), 1, [(0, "00:00"), (23, "23:00")], str))
    assert drawn["line"].count("M") == drawn["band"].count("M") == 3
    assert band("Nothing", [], (0, 23), 1, [], str).marks


def test_a_stepped_line_keeps_its_height_until_the_next_one_and_begins_at_zero() -> None:
    points = [Point(at, value, value, value) for at, value in ((0, 2), (10, 2), (20, 4), (30, 4))]
    drawing = band("Four.", points, (0, 40), 15, [], str, is_stepped=True, is_from_zero=True)
    assert re.findall(r'class="line" d="([^"]*)"', str(drawing.marks)) == ["M0 50H50V0H75"]


def test_a_column_whose_count_is_not_known_is_shaded() -> None:
    drawn = str(bars("Two.", ["a", "b"], [3, 0], str, unknown=[1]).marks)
    assert re.findall(r'class="tone0" d="([^"]*)"', drawn) == ["M1 0H2V100H1Z"]
    assert "tone0" not in str(bars("Two.", ["a", "b"], [3, 0], str).marks)


def test_texts_are_escaped_and_each_drawing_is_told_in_a_sentence() -> None:
    hostile = "\"><script>&'"
    for drawing in (
        bars(hostile, [hostile], [1], lambda _: hostile),
        heat(hostile, [hostile], [hostile], [[1]]),
        band(hostile, [Point(0, 0, 1, 2)], (0, 1), 1, [(0, hostile)], lambda _: hostile),
    ):
        marks, left, below = (ElementTree.fromstring(part) for part in (drawing.marks, drawing.left, drawing.below))
        assert (marks.get("role"), marks.get("aria-label")) == ("img", hostile)
        assert hostile in [text.text for text in (*left.iter("text"), *below.iter("text"))]
        assert left.get("aria-hidden") == below.get("aria-hidden") == "true"


def test_few_of_many_columns_are_named_evenly() -> None:
    assert named_columns(["a", "b"]) == [(0.25, "a"), (0.75, "b")]
    assert [name for _, name in named_columns([str(n) for n in range(62)])] == ["0", "15", "30", "46", "61"]


def test_an_axis_of_time_is_named_at_whole_hours_and_days() -> None:
    hour = 3_600_000_000
    day = 24 * hour
    begin = 20_000 * day
    assert whole_steps(begin, begin + day) == [begin + n * 6 * hour for n in range(5)]
    assert whole_steps(begin, begin + 7 * day) == [begin + n * day for n in range(0, 8, 2)]
    assert whole_steps(begin - hour, begin + 3 * hour) == [begin + n * hour for n in range(-1, 4)]
    assert 3 <= len(whole_steps(begin, begin + 31 * day)) <= 5
    assert len(whole_steps(0, 56 * 365 * day)) <= 5
    assert whole_steps(begin + 1, begin + 2) == []

"""Whether the records of a request are of one shape."""

from __future__ import annotations

from typing import Any

import pytest

from smarthouse_api.collections.uniformity import uniformity


@pytest.mark.parametrize(
    "records",
    [
        [],
        [{}],
        [{"a": 1}],
        [{}, {}],
        [{"a": 1, "b": "x"}, {"b": "y", "a": 2}],
        [{"a": 1}, {"a": 1.5}, {"a": None}, {"a": 2}],
        [{"a": None}, {"a": "x"}, {"a": None}, {"a": "y"}],
        [{"a": {"x": 1}}, {"a": {"y": []}}],
    ],
)
def test_records_of_one_shape_give_no_warning(records: list[dict[str, Any]]) -> None:
    assert uniformity(records) == []


@pytest.mark.parametrize(
    ("records", "warning"),
    [
        ([{"a": 1, "b": 2}, {"a": 1}], 'data[1]: it has no "b", which data[0] has'),
        ([{"a": 1}, {"a": 1}, {"a": 1, "c": 1}], 'data[2]: it has "c", which data[0] has not'),
        ([{"a": 1}, {"b": 1}], 'data[1]: it has no "a", which data[0] has; it has "b", which data[0] has not'),
        ([{"a": 1}, {"a": "1"}], 'data[1]: "a" is a string, before it was a number'),
        ([{"a": None}, {"a": 1}, {"a": True}], 'data[2]: "a" is a boolean, before it was a number'),
        ([{"a": []}, {"a": {}}], 'data[1]: "a" is an object, before it was an array'),
        ([{"a": 1}, {"a": "1"}, {"a": 1}, {"a": "2"}], 'data[1] and 1 more: "a" is a string, before it was a number'),
    ],
)
def test_a_difference_is_said_with_its_place(records: list[dict[str, Any]], warning: str) -> None:
    assert uniformity(records) == [warning]


def test_at_most_five_warnings_and_the_last_counts_the_rest() -> None:
    warnings = uniformity([{"a": 1}, *({f"b{index}": 1} for index in range(1_000))])
    assert len(warnings) == 5
    assert warnings[-1] == "data[5] and 995 more: different in other ways"


def test_a_warning_stays_short_whatever_the_names_are() -> None:
    first = {f"{index}{'p' * 500}": 1 for index in range(500)}
    warnings = uniformity([first, {"\n\x00\ud800" * 500: 1}])
    assert all(len(warning) < 300 and warning.isprintable() for warning in warnings)

"""Members whose names hold dots, and paths of names."""

from __future__ import annotations

from typing import Any

import pytest

from smarthouse_api.collections.member_names import member_of, replaced, values_of
from smarthouse_api.collections.record_times import normalized
from tests.collections.conftest import Keeper

NAMED = [
    ({"PM2.5": 7}, "PM2.5", 7),
    ({"PM2": {"5": 7}}, "PM2.5", 7),
    ({"PM2.5": 7, "PM2": {"5": 8}}, "PM2.5", 7),
    ({"air": {"PM2.5": 7}}, "air.PM2.5", 7),
    ({"PM2.5": {"value": 7}}, "PM2.5.value", 7),
    ({"a.b": {"c.d": 7}}, "a.b.c.d", 7),
    ({"a": {"b": None}}, "a.b", None),
    ({"a": {"b": 1}}, "a", {"b": 1}),
]


@pytest.mark.parametrize(("record", "name", "value"), NAMED)
def test_a_name_with_dots_is_a_member_or_a_path(record: dict[str, Any], name: str, value: Any) -> None:
    assert member_of(record, name, "absent") == value
    assert values_of([record, {}], name) == [value, None]


@pytest.mark.parametrize("record", [{}, {"a": 1}, {"a": {"c": 1}}, {"a": [{"b": 1}]}, {"a": None}])
def test_what_is_not_there_is_absent(record: dict[str, Any]) -> None:
    assert member_of(record, "a.b", "absent") == "absent"


@pytest.mark.parametrize(("record", "name", "value"), NAMED)
def test_a_value_is_replaced_where_it_stands_and_nothing_else_changes(record: dict[str, Any], name: str, value: Any) -> None:
    after = replaced(record, name, "new")
    assert member_of(after, name) == "new"
    assert replaced(after, name, value) == record
    assert member_of(record, name) == value


@pytest.mark.parametrize("key", ["PM2.5", "air.PM2.5"])
def test_deduplication_takes_a_key_whose_name_holds_a_dot(keeper: Keeper, key: str) -> None:
    once = keeper.create(dedup_key=key)
    records = [{"PM2.5": 1, "air": {"PM2.5": 1}}, {"PM2.5": 1, "air": {"PM2.5": 1}}, {"PM2.5": 2, "air": {"PM2.5": 2}}]
    assert keeper.accept(once, *records).stored == 2


@pytest.mark.parametrize("record", [{"at.utc": "2025-01-01T14:00:00+02:00"}, {"at": {"utc": "2025-01-01T14:00:00+02:00"}}])
def test_times_are_found_and_converted_under_a_name_with_a_dot(record: dict[str, Any]) -> None:
    (after,), warnings = normalized([record], "at.utc")
    assert (member_of(after, "at.utc"), warnings) == ("2025-01-01T12:00:00Z", [])

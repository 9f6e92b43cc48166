"""The members that records have: which they are, in which order, and of which types."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa
import pytest

from smarthouse_api.collections import rows
from smarthouse_api.collections.rows import MOST_FIELDS, Fields


def noted(*records: dict[str, Any] | str) -> Fields:
    texts = [one if isinstance(one, str) else orjson.dumps(one).decode() for one in records]
    fields = Fields()
    fields.note_texts(pa.array(texts, pa.string()))
    return fields


def test_names_stand_in_the_order_in_which_they_first_came() -> None:
    assert list(noted({"b": 1, "a": 1}, {"c": 1, "a": 1}).types) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None], "null"),
        ([True, None], "bool"),
        ([1], "int"),
        ([1.5], "float"),
        (["a", None], "string"),
        ([{}], "json"),
        ([[1]], "json"),
        ([1, 1.5], "float"),
        ([1.5, 1], "float"),
        ([None, 1, None], "int"),
        ([True, 1], "json"),
        (["1", 1], "json"),
        ([1, "1", 2], "json"),
        ([{}, None], "json"),
    ],
)
def test_a_type_holds_all_values(values: list[Any], expected: str) -> None:
    assert noted(*({"x": value} for value in values)).types == {"x": expected}


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (str((1 << 63) - 1), "int"),
        (str(-(1 << 63)), "int"),
        (str(1 << 63), "json"),
        (str((1 << 64) - 1), "json"),
        (str(-(1 << 63) - 1), "float"),
        ("1" * 30, "float"),
    ],
)
def test_an_integer_that_64_bits_do_not_hold_is_none(number: str, expected: str) -> None:
    assert noted('{"x":1}', f'{{"x":{number}}}').types == {"x": expected}


def test_as_many_names_are_kept_as_a_table_may_have_columns() -> None:
    fields = noted({f"m{number}": 1 for number in range(MOST_FIELDS + 5)})
    assert list(fields.types) == [f"m{number}" for number in range(MOST_FIELDS)]


def test_a_name_that_is_kept_changes_its_type_when_no_other_finds_room() -> None:
    fields = noted({f"m{number}": 1 for number in range(MOST_FIELDS)}, {"m0": "text", "late": 1})
    assert fields.types["m0"] == "json"
    assert "late" not in fields.types


def test_long_names_do_not_fill_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_MOST_NAME_BYTES", 10)
    assert list(noted({"a" * 6: 1, "b" * 6: 1, "c" * 4: 1}).types) == ["a" * 6, "c" * 4]


def test_what_was_encoded_is_decoded_again() -> None:
    fields = noted({"é😀\"'": 1, "": None, "a.b": {}})
    assert Fields.decoded(fields.encoded()).types == fields.types


def test_merging_keeps_the_order_and_what_was_there() -> None:
    before, after = noted({"a": 1, "b": None}), noted({"c": "x", "b": 1, "a": 1.5})
    assert list(before.merged(after).types.items()) == [("a", "float"), ("b", "int"), ("c", "string")]
    assert before.types == {"a": "int", "b": "null"}


def test_records_of_one_shape_are_looked_at_in_the_same_way_as_of_many() -> None:
    many = [{f"m{number % 7}": number % 3 or None, "x": [None, 1, "a"][number % 3]} for number in range(100)]
    whole, apart = noted(*many), Fields()
    for one in many:
        apart = apart.merged(noted(one))
    assert whole.types == apart.types
    assert list(whole.types) == list(apart.types)

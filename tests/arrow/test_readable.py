from __future__ import annotations

import pyarrow as pa
import pytest

from smarthouse_api.arrow.readable import LONGEST_TEXT, readable, readable_json


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize("is_json", [True, False])
def test_what_is_readable_is_not_copied(kind, is_json):
    texts = pa.array(["plain", None, "", "é€ 😀\u2027\u202a", '{"a":"\\\\ \\u0001"}'], kind)
    column = readable(texts, is_json=is_json)
    assert column.equals(texts)
    assert is_json or column is texts


def test_only_the_rows_of_a_slice_are_looked_at():
    texts = pa.array(["a\0", "b", "c\u2028", "d"]).slice(1, 1)
    assert readable(texts) is texts
    assert readable_json(texts) is texts


def test_a_dictionary_is_mended_once_for_all_its_rows():
    column = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1, None]), pa.array(["a", "b\0"]))
    assert readable(column).to_pylist() == ["b\ufffd", "a", "b\ufffd", None]


def test_a_text_is_measured_in_characters():
    longest = "é" * LONGEST_TEXT
    assert readable(pa.array([longest, longest + "x"])).to_pylist() == [longest, longest[:-1] + "…"]


def test_columns_of_numbers_and_empty_columns_are_left_alone():
    for column in (pa.array([1.5]), pa.array([], pa.string()), pa.array([None], pa.string())):
        assert readable(column).equals(column)

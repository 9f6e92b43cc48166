"""Attributes as uploaded, beside those that rules may publish: whole, in their order, and JSON that every reader takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from config.groups import RequestSettings
from smarthouse_api.arrow.readable import LONGEST_TEXT
from smarthouse_api.states.payload import uploaded
from smarthouse_api.states.payload.decoding import to_table
from tests.conftest import HOME

SETTINGS = RequestSettings()


def told(*attributes: str) -> list[dict[str, Any]]:
    """The attributes of a body's states, in two columns."""
    states = (
        f'{{"entity_id": "sensor.a", "state": "1", "last_updated": "2026-03-01", "attributes": {one}}}' for one in attributes
    )
    table = to_table([(f'{{"sensor.a": [{",".join(states)}]}}'.encode(), None)], SETTINGS).table
    return table.select(["attributes", "attributes_uploaded"]).to_pylist()


def uploaded_of(attributes: str) -> str | None:
    (row,) = told(attributes)
    text: str | None = row["attributes_uploaded"]
    return text


@pytest.mark.parametrize(
    "attributes",
    [
        '{"friendly_name":"Maria\'s oven","unit_of_measurement":"W"}',
        '{"unit_of_measurement":"km_h","min":null}',
        '{"icon":"mdi:x","min":[1,2.0,-0.5,1e300,18446744073709551615],"forecast":[{"a":{"b":[]}},null,true]}',
        '{"friendly_name":"é ü 😀"}',
        '{"device_class":"power","unit_of_measurement":"W"}',
        '{"temperature":"warm"}',
    ],
    ids=["names", "mended and null", "numbers and nesting", "unicode", "another order", "another kind"],
)
def test_they_are_told_whole_and_in_their_order(attributes: str) -> None:
    assert uploaded_of(attributes) == attributes


@pytest.mark.parametrize("attributes", ["{}", "null", '{"unit_of_measurement": "W", "min": 1}', '{ "min" : 1.5 }'])
def test_what_the_lake_keeps_whole_is_not_told_again(attributes: str) -> None:
    assert uploaded_of(attributes) is None


def test_white_space_and_spellings_of_a_number_are_gone() -> None:
    assert uploaded_of('{"x": [ 1E3,\t0.10 ],\r\n "y" : "a\\u0062"}') == '{"x":[1000.0,0.1],"y":"ab"}'


def test_a_member_that_no_reader_takes_costs_itself_alone() -> None:
    first, second = told('{"x":1e400,"y":2}', '{"friendly_name":"A"}')
    assert (first["attributes_uploaded"], second["attributes_uploaded"]) == ('{"y":2}', '{"friendly_name":"A"}')


def test_a_name_that_comes_twice_tells_its_last_value() -> None:
    assert uploaded_of('{"x":1,"x":2}') == '{"x":2}'


@pytest.mark.parametrize("text", [HOME, HOME.upper(), HOME.replace("-", "\\u002d")], ids=["lower", "upper", "escaped"])
def test_no_text_holds_the_uuid_that_erases_the_home(text: str) -> None:
    assert uploaded_of(f'{{"{text}":1,"nested":[{{"uuid":"home {text}."}}]}}') == (
        '{"redacted":1,"nested":[{"uuid":"home redacted."}]}'
    )


def test_what_is_too_long_for_an_export_is_not_kept() -> None:
    long, other = told(json.dumps({"x": "x" * LONGEST_TEXT, "min": 1}), '{"x":"y","min":1}')
    assert long == {"attributes": '{"min":1}', "attributes_uploaded": None}
    assert other == {"attributes": '{"min":1}', "attributes_uploaded": '{"x":"y","min":1}'}


def test_each_state_has_its_own_however_many_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploaded, "_AT_ONCE", 100)
    attributes = [f'{{"x":"{"y" * (number * 7 % 300)}","n":{number // 2}}}' for number in range(99)]
    assert [row["attributes_uploaded"] for row in told(*attributes)] == attributes


def test_a_state_that_is_no_record_tells_nothing() -> None:
    deep = f'{{"x":{"[" * 100}{"]" * 100}}}'
    assert [row["attributes_uploaded"] for row in told('{"a":1}', deep, "[]", '{"b":2}')] == ['{"a":1}', '{"b":2}']

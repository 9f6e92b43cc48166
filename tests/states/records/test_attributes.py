"""What the lake keeps of a state's attributes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from smarthouse_api.states.records.attributes import read_attributes


def allowed_attributes(raw: bytes) -> bytes:
    """What the lake keeps of a state's attributes."""
    return msgspec.json.encode(read_attributes(raw))


def allowed(attributes: Any) -> Any:
    return json.loads(allowed_attributes(json.dumps(attributes).encode()))


def test_capabilities_and_measurements_are_kept() -> None:
    kept = {"unit_of_measurement": "°C", "min": 1, "brightness": None, "hs_color": [1.5, 2], "options": ["eco", "away"]}
    assert allowed(kept) == {name: value for name, value in kept.items() if value is not None}


DENIED = """
    user_id latitude longitude gps_accuracy ip_address ip mac ssid serial serial_number access_token entity_picture
    friendly_name icon changed_by elevation azimuth next_rising attribution media_title message forecast id source persons
"""


@pytest.mark.parametrize("key", DENIED.split())
def test_nothing_under_any_other_key_is_kept_at_any_depth(key: str) -> None:
    hidden = {"device_class": {key: "x"}, "options": [{key: "x"}], "min": [key], key: {"device_class": "x"}, "step": 2}
    assert allowed(hidden) == {"step": 2}


def test_text_has_no_place_among_the_measurements() -> None:
    assert allowed({"temperature": "Ann", "humidity": ["Ann"], "rgb_color": ["Ann"], "mode": 5, "max": 3}) == {"max": 3}


@pytest.mark.parametrize("long", ['"' + "x" * 256 + '"', "[" * 40 + "]" * 40, "1" * 5_000, "1e999", "9223372036854775808" * 2])
def test_a_value_out_of_bounds_costs_only_itself(long: str) -> None:
    raw = f'{{"device_class": {long}, "min": {long}, "options": {long}, "max": 3}}'
    assert json.loads(allowed_attributes(raw.encode())).get("max") == 3


def test_the_keys_come_in_one_order() -> None:
    assert allowed_attributes(b'{"max": 2, "min": 1}') == allowed_attributes(b'{"min":1,"max":2}') == b'{"min":1,"max":2}'


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'"x"', b"{", b'{"min": NaN}', b'{"min": 1} x'])
def test_attributes_that_are_no_object_are_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        allowed_attributes(raw)

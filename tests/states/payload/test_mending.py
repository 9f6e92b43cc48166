"""What the integration's sanitiser broke, and what no file can hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from config.groups import RequestSettings
from smarthouse_api.states.payload.decoding import to_table


def row(state: str = "1", entity_id: str = "sensor.a", **attributes: Any) -> dict[str, Any]:
    body = {"x": [{"entity_id": entity_id, "state": state, "attributes": attributes, "last_updated": "2026-03-01T00:00:00Z"}]}
    (found,) = to_table([(json.dumps(body).encode(), None)], RequestSettings()).table.to_pylist()
    return found


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("_", "%"),
        ("km_h", "km/h"),
        ("µg_m³", "µg/m³"),
        ("μg_m³", "μg/m³"),
        ("kWh_100km", "kWh/100km"),
        ("fl_ oz_", "fl. oz."),
        ("EUR_kWh", "EUR/kWh"),
        ("km/h", "km/h"),
        ("my_unit", "my_unit"),
        ("", ""),
    ],
)
def test_a_unit_is_mended_where_no_doubt_is_left(sent: str, kept: str) -> None:
    found = row(unit_of_measurement=sent, wind_speed_unit=sent)
    assert found["unit"] == kept
    assert json.loads(found["attributes"]) == {"unit_of_measurement": kept, "wind_speed_unit": kept}


@pytest.mark.parametrize(
    ("sent", "kept", "value"),
    [
        ("1e_16", "1e+16", 1e16),
        ("-2.5E_3", "-2.5E+3", -2500),
        ("2026-03-01T12:34:56.01:00", "2026-03-01T12:34:56+01:00", None),
        ("2026-03-01T12:34:56.5.01:00", "2026-03-01T12:34:56.5+01:00", None),
        ("above_horizon", "above_horizon", None),
        ("e_16", "e_16", None),
        ("1e_16 or so", "1e_16 or so", None),
    ],
)
def test_a_number_and_a_time_as_a_state_have_their_plus_again(sent: str, kept: str, value: float | None) -> None:
    found = row(sent)
    assert (found["state"], found["value"]) == (kept, value)


def test_a_nul_becomes_a_replacement_character_wherever_it_stands() -> None:
    attributes = {"unit_of_measurement": "a\0", "device_class": "\0b", "options": ["c\0", "\\u0000"], "min": 1}
    found = row("x\0y", "sensor.\0", **attributes)
    assert (found["state"], found["entity_id"], found["unit"], found["device_class"]) == (
        "x\ufffdy",
        "sensor.\ufffd",
        "a\ufffd",
        "\ufffdb",
    )
    assert json.loads(found["attributes"])["options"] == ["c\ufffd", "\\u0000"]

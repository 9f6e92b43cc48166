"""What may leave the house, value by value."""

from __future__ import annotations

from typing import Any

import pytest

from custom_components.smarthouse.scrub import REDACTED, Scrubber


@pytest.mark.parametrize(
    ("entity_id", "state", "attributes", "told"),
    [
        ("sensor.kitchen", "21.5", {"unit_of_measurement": "°C"}, "21.5"),
        ("sensor.kitchen", "-1e+16", {"device_class": "power"}, "-1e+16"),
        ("sensor.kitchen", "unavailable", {}, "unavailable"),
        ("sensor.latitude", "41.1496", {"unit_of_measurement": "°"}, REDACTED),
        ("sensor.pin", "4711", {}, REDACTED),
        ("sensor.kitchen", "72.5", {"device_class": "weight", "unit_of_measurement": "kg"}, REDACTED),
        ("sensor.phone", "912345678", {"unit_of_measurement": "Maria"}, REDACTED),
        ("sensor.ip", "192.168.1.23", {}, REDACTED),
        ("sensor.street", "Rua das Flores 12", {}, REDACTED),
        ("sensor.kitchen", "nan", {"device_class": "power"}, REDACTED),
        ("sensor.kitchen", "1_000", {"device_class": "power"}, REDACTED),
        ("sensor.next", "2026-11-30T00:00:00+00:00", {"device_class": "timestamp"}, REDACTED),
        ("light.kitchen", "on", {}, "on"),
        ("light.kitchen", "maria", {}, REDACTED),
        ("climate.hall", "heat_cool", {}, "heat_cool"),
        ("person.maria", "Hospital", {}, "not_home"),
        ("person.maria", "home", {}, "home"),
    ],
)
def test_a_state_is_a_measurement_or_a_known_word(
    scrubber: Scrubber, entity_id: str, state: str, attributes: dict[str, Any], told: str
) -> None:
    assert scrubber.state(entity_id, state, attributes) == told


def test_attributes_are_a_closed_list(scrubber: Scrubber) -> None:
    given = {
        "friendly_name": "Maria",
        "unit_of_measurement": "Maria",
        "device_class": "Maria Silva",
        "mode": "call 912345678",
        "options": ["on", "Anna +351"],
        "temperature": "Rua das Flores",
        "brightness": 120,
        "rgb_color": (1, 2, 3),
        "latitude": 41.1,
        "ip_address": "192.168.1.2",
        "access_token": "secret",
        "entity_picture": "/api/x?token=1",
        "user_id": "1",
        "uuid": "6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11",
        "voltage": {"name": "Maria"},
    }
    assert scrubber.attributes("light.kitchen", given) == {"options": ["on"], "brightness": 120, "rgb_color": [1, 2, 3]}
    assert scrubber.attributes("person.maria", given) == {}
    assert scrubber.attributes("weather.home", {"humidity": 63, "temperature": 16.4}) == {"humidity": 65, "temperature": 16}


@pytest.mark.parametrize(
    "entity_id",
    [
        "text.note",
        "sun.sun",
        "camera.door",
        "notify.maria",
        "zone.home",
        "sensor.sun_next_dawn",
        "sensor.sunset",
        "custom.thing",
    ],
)
def test_some_entities_are_never_sent(scrubber: Scrubber, entity_id: str) -> None:
    assert not scrubber.may_send(entity_id)
    assert scrubber.may_send("sensor.kitchen_temperature")


def test_only_listed_words_stay_in_an_id(scrubber: Scrubber, vocabulary: dict[str, Any]) -> None:
    told = scrubber.public_id("sensor.marias_kitchen_power_2")
    head, token, *rest = told.replace(".", "_").split("_")
    assert (head, rest) == ("sensor", ["kitchen", "power", "2"])
    assert token.startswith("x")
    assert "maria" not in token
    assert told == scrubber.public_id("sensor.marias_kitchen_power_2")
    assert told != Scrubber(vocabulary, b"another").public_id("sensor.marias_kitchen_power_2")
    assert not {"91", "23", "45"} & set(scrubber.public_id("sensor.91_23_45").replace(".", "_").split("_"))

"""A realistic home of 60 entities: what survives of it under each level of privacy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.states.records.redacting import published

SENSORS = """
grid_power 812 power W; grid_import_energy 1023.4 energy kWh; solar_power 2210 power W; solar_energy_today 9.1 energy kWh
battery_power -300 power W; battery_soc 81 battery %; ev_charger_power 7200 power W; phase_l1_voltage 231.2 voltage V
phase_l1_current 3.4 current A; mains_frequency 49.98 frequency Hz; power_factor 0.97 power_factor -; gas_meter 4012.1 gas m³
water_meter 88.2 water m³; electricity_price 0.31 - EUR/kWh; fridge_plug_power 61 power W; washing_machine_power 3 power W
joaos_pc_power 140 power W; tv_plug_energy 12.4 energy kWh; heat_pump_power 900 power W; heat_pump_cop 3.9 - %
living_room_temperature 21.4 temperature °C; living_room_humidity 48 humidity %; bedroom_temperature 19.9 temperature °C
bedroom_carbon_dioxide 712 carbon_dioxide ppm; kitchen_pm25 6 pm25 µg/m³; office_voc 120 volatile_organic_compounds µg/m³
outdoor_temperature 11.2 temperature °C; atmospheric_pressure 1013.2 atmospheric_pressure hPa
bedroom_illuminance 41 illuminance lx
hallway_noise 38 sound_pressure dB; router_signal_strength -61 signal_strength dBm; air_quality_index 31 aqi -
"""
TIMESTAMP = {"device_class": "timestamp"}
COMFORT: list[dict[str, Any]] = [
    {
        "entity_id": "climate.living_room",
        "state": "heat",
        "attributes": {"hvac_action": "heating", "current_temperature": 21.4},
    },
    {"entity_id": "climate.bedroom", "state": "off", "attributes": {"hvac_modes": ["off", "heat"], "temperature": 18}},
    {"entity_id": "water_heater.boiler", "state": "eco", "attributes": {"current_temperature": 48}},
    {"entity_id": "fan.bathroom", "state": "on", "attributes": {"percentage": 40}},
    {"entity_id": "cover.bedroom_blind", "state": "open", "attributes": {"device_class": "blind", "current_position": 80}},
    {"entity_id": "light.kitchen", "state": "on", "attributes": {"brightness": 128, "color_mode": "color_temp"}},
    {"entity_id": "switch.dishwasher_plug", "state": "off"},
    {"entity_id": "number.charge_limit", "state": "80", "attributes": {"unit_of_measurement": "%", "min": 0, "max": 100}},
    {"entity_id": "input_boolean.guest_mode", "state": "off"},
]
OCCUPANCY: list[dict[str, Any]] = [
    {"entity_id": f"binary_sensor.{place}_{kind}", "state": "on", "attributes": {"device_class": kind}}
    for place, kind in (
        ("hallway", "motion"),
        ("office", "occupancy"),
        ("front", "door"),
        ("kitchen", "window"),
        ("bed", "presence"),
    )
]
OTHERS: list[dict[str, Any]] = [
    {"entity_id": "person.maria_silva", "state": "not_home", "attributes": {"latitude": 41.1, "user_id": "maria"}},
    {"entity_id": "device_tracker.joaos_iphone", "state": "home", "attributes": {"ssid": "Silva"}},
    {"entity_id": "lock.front_door", "state": "locked", "attributes": {"changed_by": "Maria"}},
    {"entity_id": "media_player.sala", "state": "playing", "attributes": {"media_title": "Fado", "volume_level": 0.3}},
    {"entity_id": "weather.rua_das_flores", "state": "sunny", "attributes": {"temperature": 11.3}},
    {"entity_id": "alarm_control_panel.home", "state": "armed_away"},
    {"entity_id": "vacuum.robot", "state": "docked", "attributes": {"battery_level": 100}},
]
PERSONAL: list[dict[str, Any]] = [
    {"entity_id": "sensor.marias_phone_geocoded_location", "state": "Rua das Flores 12"},
    {"entity_id": "sensor.marias_phone_ssid", "state": "Silva"},
    {
        "entity_id": "sensor.marias_phone_next_alarm",
        "state": "2026-03-01T06:30:00+00:00",
        "attributes": {"device_class": "timestamp"},
    },
]
LEFT_OUT: list[dict[str, Any]] = [
    {"entity_id": "sun.sun", "state": "above_horizon"},
    {"entity_id": "sensor.sun_next_dawn", "state": "2026-03-01T06:30:00Z", "attributes": TIMESTAMP},
    {"entity_id": "select.who", "state": "Maria"},
    {"entity_id": "update.core", "state": "on"},
]


def measured() -> list[dict[str, Any]]:
    found = []
    for name, state, class_, unit in (line.split() for line in SENSORS.replace("\n", ";").split(";") if line.strip()):
        attributes = {"device_class": class_, "unit_of_measurement": unit, "state_class": "measurement"}
        kept = {key: value for key, value in attributes.items() if value != "-"}
        found.append({"entity_id": f"sensor.{name}", "state": state, "attributes": kept})
    return found


RESEARCH = [*measured(), *COMFORT, *OCCUPANCY]
WHOLE = [*RESEARCH, *OTHERS, *PERSONAL, *LEFT_OUT]


def test_the_home_has_sixty_entities() -> None:
    assert len(WHOLE) == len({row["entity_id"] for row in WHOLE}) == 60


@pytest.mark.parametrize("strict", [False, True])
def test_what_energy_comfort_and_occupancy_research_needs_survives_whole(strict: bool) -> None:
    for sent, told in zip(RESEARCH, published(*RESEARCH, strict=strict), strict=True):
        attributes = sent.get("attributes", {})
        assert told["state"] == sent["state"]
        assert json.loads(told["attributes"]) == attributes
        labels = attributes.get("unit_of_measurement"), attributes.get("device_class")
        assert (told["unit"], told["device_class"]) == labels


@pytest.mark.parametrize("strict", [False, True])
def test_all_but_the_personal_states_survive_and_four_entities_are_left_out(strict: bool) -> None:
    told = published(*WHOLE, strict=strict)
    assert len(told) == 56
    assert sum(row["state"] == "redacted" for row in told) == len(PERSONAL)
    words = json.dumps(told, default=str).lower()
    assert not any(text in words for text in ("maria", "silva", "joao", "flores", "fado", "latitude"))


def test_most_words_of_the_ids_survive() -> None:
    kept = sum(sent["entity_id"] == told["entity_id"] for sent, told in zip(RESEARCH, published(*RESEARCH), strict=True))
    assert kept >= len(RESEARCH) - 3

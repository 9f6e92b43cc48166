"""The tables of facts: what they hold, and whether they are recent."""

from __future__ import annotations

from datetime import date

import pytest

from smarthouse_api.states.vocabulary import facts
from smarthouse_api.states.vocabulary.making import repairs

OLDEST_DAYS = 275


def test_the_tables_are_of_the_last_nine_months() -> None:
    age = facts.age_days(date.today())
    assert age <= OLDEST_DAYS, (
        f"The tables are from Home Assistant {facts.version()}, {age} days old. Home Assistant adds words each month."
        " Download its newest wheel and run `smarthouse vocabulary --from WHEEL`"
    )


@pytest.mark.parametrize(
    ("mangled", "unit"),
    [
        *[("_", "%"), ("km_h", "km/h"), ("W_m²", "W/m²"), ("fl_ oz_", "fl. oz."), ("_g_m³", None), ("EUR_kWh", "EUR/kWh")],
        *[("\u00b5g_m³", "\u00b5g/m³"), ("\u03bcg_m³", "\u03bcg/m³"), ("€_m³", "€/m³"), ("kWh", None), ("EUR", None)],
    ],
)
def test_a_mangled_unit_is_mended_where_one_alone_can_be_meant(mangled: str, unit: str | None) -> None:
    assert facts.unit_repairs().get(mangled) == unit


def test_no_unit_is_taken_for_a_mangled_one() -> None:
    assert not facts.units() & facts.unit_repairs().keys()


def test_a_spelling_that_two_units_share_is_not_mended_and_a_unit_of_the_core_goes_first() -> None:
    assert repairs(["a/b", "a%b", "%"], ["#", "c/d"]) == {"_": "%", "c_d": "c/d"}


def test_both_spellings_of_micro_and_prices_are_known() -> None:
    assert {"\u00b5g/m³", "\u03bcg/m³", "°C", "EUR/kWh", "€", "VAr", "var"} <= facts.units()


@pytest.mark.parametrize(
    ("domain", "device_class", "words"),
    [
        ("binary_sensor", "door", {"on", "off"}),
        ("binary_sensor", None, {"on", "off"}),
        ("climate", None, {"heat", "cool", "off"}),
        ("cover", "blind", {"open", "closing"}),
        ("person", None, {"home", "not_home"}),
    ],
)
def test_a_domain_and_device_class_have_words_of_their_own(domain: str, device_class: str | None, words: set[str]) -> None:
    assert words <= facts.words_of(domain, device_class)
    assert "Maria" not in facts.words_of(domain, device_class)


def test_a_free_text_has_no_words() -> None:
    assert not facts.words_of("input_text") | facts.words_of("nothing")


def test_words_that_integrations_share_and_those_of_attributes_are_known() -> None:
    assert {"charging", "standby"} <= facts.shared_words("sensor")
    assert "manual" in facts.shared_words("select")
    assert "heating" in facts.attribute_words("climate", "hvac_action")
    assert "power" in facts.numeric_device_classes() <= facts.device_classes("sensor")

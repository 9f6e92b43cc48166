"""What Home Assistant knows, from the tables that `smarthouse vocabulary` makes: domains, units, device classes, words.

A table is read when it is first asked for.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final

import msgspec

TABLES: Final = Path(__file__).with_name("tables")
"""The folder of the tables, one JSON file for each."""

_JUDGED: Final = Path(__file__).with_name("judged")


@cache
def table(name: str) -> Any:
    """Read a table of facts."""
    return msgspec.json.decode((TABLES / f"{name}.json").read_bytes())


@cache
def judged(name: str) -> Any:
    """Read a table of our own: what the facts of one version cannot tell, and what may be published."""
    return msgspec.json.decode((_JUDGED / f"{name}.json").read_bytes())


def version() -> str:
    """Tell the version of Home Assistant that the facts are from, such as `2026.11.0`."""
    return str(table("source")["home_assistant"])


def age_days(today: date) -> int:
    """Tell how many days have passed since the first of the month that the version names."""
    year, month, *_ = version().split(".")
    return (today - date(int(year), int(month), 1)).days


@cache
def domains() -> frozenset[str]:
    """The domains that have entities, past ones and two that YAML alone makes included."""
    return frozenset(table("domains")["domains"]) | frozenset(judged("past")["domains"])


@cache
def units() -> frozenset[str]:
    """Every unit that Home Assistant or one of its integrations spells, in both spellings of micro, and prices for a unit."""
    facts, past = table("units"), judged("past")
    spelt = {*facts["core"], *facts["integrations"], *facts["currencies"], *facts["repairs"].values(), *past["units"]}
    return frozenset(spelt | {unit.replace("\u03bc", "\u00b5") for unit in spelt} | set(_prices().values()))


@cache
def unit_repairs() -> dict[str, str]:
    """The unit that each mangled spelling stands for, such as `km_h`: `km/h`. A spelling that could be two is not in it."""
    stored: dict[str, str] = table("units")["repairs"]
    return _prices() | stored


def _prices() -> dict[str, str]:
    prices = judged("prices")
    currencies = [*table("units")["currencies"], *prices["currencies"]]
    return {f"{currency}_{unit}": f"{currency}/{unit}" for currency, unit in product(currencies, prices["units"])}


@cache
def device_classes(domain: str) -> frozenset[str]:
    """The device classes of a domain, past ones included."""
    past = judged("past")["device_classes"]
    return frozenset(table("device_classes")["domains"].get(domain, ())) | frozenset(past.get(domain, ()))


@cache
def numeric_device_classes() -> frozenset[str]:
    """The device classes of sensors and numbers whose states are numbers."""
    return frozenset(table("device_classes")["numeric"])


@cache
def words_of(domain: str, device_class: str | None = None) -> frozenset[str]:
    """The words that a state of this domain and device class may be, but for `unknown` and `unavailable`, which any may be."""
    facts, past = table("states").get(domain, {}), judged("past")["states"]
    return frozenset(facts.get(device_class or "_", facts.get("_", ()))) | frozenset(past.get(domain, ()))


@cache
def shared_words(platform: str) -> frozenset[str]:
    """The words that two integrations or more use as states of a `sensor` of words, or of a `select`."""
    return frozenset(table("words")[platform])


@cache
def attribute_words(domain: str, attribute: str) -> frozenset[str]:
    """The words that Home Assistant translates for an attribute, such as the actions of `climate`."""
    return frozenset(table("attributes").get(domain, {}).get(attribute, ()))

"""The days of sample homes: what a dozen entities of six made-up homes said in a week.

The same time gives the same states. One home is silent for a day, and one sensor for some hours, so that gaps are seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, Final

HOMES: Final = 6
"""So many that a typical day can be drawn, which takes five."""

DAYS: Final = 7
SILENT_HOME: Final = 1
SILENT_DAY: Final = 3
"""The day on which a home is silent, counted from the first."""

_UNKNOWN_HOURS: Final = range(30, 40)
_Tell = Callable[[int, float, float], str | None]
"""Tells a state by the home's number, the days since the beginning and the hour of the day; None if it says nothing then."""


@dataclass(frozen=True)
class _Entity:
    """Is an entity of each sample home. minutes: between two states."""

    id: str
    minutes: int
    tell: _Tell
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def _wave(home: int, days: float, hour: float, highest: float) -> float:
    """Swing between -1 and 1 once a day, unlike on any other day and in any other home."""
    return 0.85 * math.cos((hour - highest) * math.pi / 12) + 0.15 * math.sin(19.7 * days + 2.3 * home)


def _measured(low: float, high: float, highest: float, digits: int = 1) -> _Tell:
    """Swing between two values. highest: the hour of the greatest."""

    def tell(home: int, days: float, hour: float) -> str:
        share = (1 + _wave(home, days, hour, highest)) / 2
        return f"{low + (high - low) * (0.3 * home / HOMES + 0.7 * share):.{digits}f}"

    return tell


def _energy(home: int, days: float, hour: float) -> str:
    return f"{1200 + 7.3 * home + (8 + home) * (days + 0.02 * math.sin(hour)):.2f}"


def _words(word: str, other: str, *spans: tuple[float, float]) -> _Tell:
    """Say `word` within spans of hours, and `other` outside."""

    def tell(home: int, days: float, hour: float) -> str:
        shift = 0.25 * ((home + int(days)) % 4)
        return word if any(first + shift <= hour < last + shift for first, last in spans) else other

    return tell


def _of(unit: str, class_: str, **more: str) -> Mapping[str, str]:
    return {"unit_of_measurement": unit, "device_class": class_, "state_class": "measurement", **more}


_ENTITIES: Final = (
    _Entity("sensor.living_room_temperature", 30, _measured(18.5, 23, 18), _of("°C", "temperature")),
    _Entity("sensor.bedroom_temperature", 30, _measured(16.5, 20, 21), _of("°C", "temperature")),
    _Entity("sensor.outdoor_temperature", 60, _measured(4, 15, 15), _of("°C", "temperature")),
    _Entity("sensor.bathroom_humidity", 60, _measured(42, 78, 8, 0), _of("%", "humidity")),
    _Entity("sensor.living_room_co2", 60, _measured(420, 1250, 22, 0), _of("ppm", "carbon_dioxide")),
    _Entity("sensor.kitchen_power", 30, _measured(60, 940, 19, 0), _of("W", "power")),
    _Entity("sensor.energy", 60, _energy, _of("kWh", "energy", state_class="total_increasing")),
    _Entity("sensor.bedroom_illuminance", 60, _measured(0, 640, 13, 0), _of("lx", "illuminance")),
    _Entity("binary_sensor.front_door", 15, _words("on", "off", (7.5, 7.75), (18, 18.25)), {"device_class": "door"}),
    _Entity("light.living_room", 15, _words("on", "off", (6.5, 8), (18, 22.5))),
    _Entity("climate.living_room", 60, _words("heat", "off", (5, 22))),
    _Entity("switch.washing_machine", 15, _words("on", "off", (10, 11.5))),
    _Entity("person.sample", 15, _words("home", "not_home", (0, 8), (17.5, 24))),
    _Entity("sun.sun", 60, _words("above_horizon", "below_horizon", (7, 18))),
)


@dataclass(frozen=True)
class SampleUpload:
    """Is what a sample home uploads at a time: its states by entity, as Home Assistant keeps them."""

    at: datetime
    states: dict[str, list[dict[str, Any]]]


def uploads(home: int, until: datetime) -> Iterator[SampleUpload]:
    """Make the uploads of a home, one for each day, the last at `until`. home: its number. until: in UTC."""
    end = until.replace(minute=until.minute - until.minute % 15, second=0, microsecond=0)
    begin = end.replace(hour=0, minute=0) - timedelta(days=DAYS - 1)
    clock = timezone(timedelta(hours=home % 2))
    for day in range(DAYS):
        first = begin + timedelta(days=day)
        last = min(first + timedelta(days=1), end)
        if first < last and (home, day) != (SILENT_HOME, SILENT_DAY):
            found = {one.id: list(_states(one, home, begin, first, last, clock)) for one in _ENTITIES}
            yield SampleUpload(last, {id_: states for id_, states in found.items() if states})


def _states(
    entity: _Entity, home: int, begin: datetime, first: datetime, last: datetime, clock: timezone
) -> Iterator[dict[str, Any]]:
    """Make the states of an entity from one time to another. A word that stays is told once a day."""
    before, at = None, first
    named = {"friendly_name": f"Sample {entity.id.partition('.')[2].replace('_', ' ')}"}
    while at < last:
        local, days = at.astimezone(clock), (at - begin) / timedelta(days=1)
        told = entity.tell(home, days, local.hour + local.minute / 60)
        if home == 0 and entity.id.endswith("co2") and int(24 * days) in _UNKNOWN_HOURS:
            told = "unavailable"
        if told is not None and (told != before or entity.attributes.get("unit_of_measurement")):
            written = local.isoformat()
            attributes = {**entity.attributes, **named}
            yield {
                "entity_id": entity.id,
                "state": told,
                "attributes": attributes,
                "last_changed": written,
                "last_updated": written,
            }
        before, at = told, at + timedelta(minutes=entity.minutes)

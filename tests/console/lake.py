"""A small lake to look at: six homes with two days of hourly temperatures, one of them with a gap, and a person."""

from __future__ import annotations

from typing import Any

from tests.conftest import HOME, payload, state

HOMES = [HOME, *(f"{number}b7c1f6e-1111-4222-8333-94445555666{number}" for number in range(1, 6))]
GAP = HOMES[1]
"""Has nothing on the second day."""

DAYS = ("2026-03-01", "2026-03-02")
PERSON = "person.zoe_quimby"
TEMPERATURE = {"unit_of_measurement": "°C", "device_class": "temperature", "friendly_name": "Zoe's oven"}


def states_of(number: int) -> list[Any]:
    """What one home has sent."""
    days = DAYS[:1] if HOMES[number] == GAP else DAYS
    hours = [f"{day}T{hour:02}:00:00+00:00" for day in days for hour in range(24)]
    found = [state("sensor.kitchen_temperature", f"{18 + number + n % 5}.5", at, **TEMPERATURE) for n, at in enumerate(hours)]
    found += [state("sensor.bath_humidity", "48", at, unit_of_measurement="%", device_class="humidity") for at in hours[::6]]
    found.append(state("binary_sensor.front_door", "on", hours[3], device_class="door"))
    found.append(state(PERSON, "home", hours[5]))
    return found


UPLOADS = {home: payload(*states_of(number)) for number, home in enumerate(HOMES)}
ROWS = sum(len(states_of(number)) for number in range(len(HOMES)))

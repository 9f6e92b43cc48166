"""Readings of sensors, the same in three dialects: Madevo's, Obsrv's, and InfluxDB's line protocol.

A batch is of `BATCH` readings of a hundred homes. No two of a run are of the same time, because InfluxDB would keep only one of
two points that differ only in their values.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

BATCH: Final = 1000
COLLECTION: Final = "readings"
"""Of the collection that Madevo's clients write to, and InfluxDB's measurement."""
DATASET: Final = "events"
MADEVO, OBSRV, LINES = "madevo", "obsrv", "lines"

HOMES: Final = 100
SENSORS: Final = (
    ("kitchen/temperature", "°C", 21.5, 2),
    ("kitchen/humidity", "%", 48.0, 1),
    ("bedroom/temperature", "°C", 18.5, 2),
    ("hall/illuminance", "lx", 240.0, 0),
    ("cellar/pressure", "hPa", 1013.0, 1),
    ("office/co2", "ppm", 620.0, 0),
    ("washer/power", "W", 480.0, 1),
    ("meter/voltage", "V", 231.0, 1),
)
_START_MS: Final = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1000)
_STEP_MS: Final = 7


@dataclass(frozen=True)
class Readings:
    """`BATCH` of them. times: milliseconds since 1970. sensors: indexes of `SENSORS`. values: as text, in the sensor's unit."""

    times: list[int]
    homes: list[int]
    sensors: list[int]
    values: list[str]
    batteries: list[int]

    def records(self) -> str:
        """A JSON array of them, as a client in Python writes it, with a space behind each comma and colon."""
        stamps = np.datetime_as_string(np.array(self.times, "datetime64[ms]")).tolist()
        rows = zip(stamps, self.homes, self.sensors, self.values, self.batteries, strict=True)
        return f"[{', '.join(_record(*row) for row in rows)}]"

    def lines(self) -> str:
        """The same as line protocol; tags: home, sensor, unit."""
        rows = zip(self.times, self.homes, self.sensors, self.values, self.batteries, strict=True)
        return "".join(_line(*row) for row in rows)


def readings(number: int) -> Readings:
    """The batch of that number; the same each time."""
    rng = np.random.default_rng((1, number))
    sensors = rng.integers(0, len(SENSORS), BATCH).tolist()
    noise = rng.normal(1, 0.05, BATCH).tolist()
    first = _START_MS + number * BATCH * _STEP_MS
    return Readings(
        times=[first + index * _STEP_MS for index in range(BATCH)],
        homes=rng.integers(0, HOMES, BATCH).tolist(),
        sensors=sensors,
        values=[f"{SENSORS[sensor][2] * factor:.{SENSORS[sensor][3]}f}" for sensor, factor in zip(sensors, noise, strict=True)],
        batteries=rng.integers(5, 101, BATCH).tolist(),
    )


def _record(stamp: str, home: int, sensor: int, value: str, battery: int) -> str:
    name, unit, *_ = SENSORS[sensor]
    return (
        f'{{"timestamp": "{stamp}Z", "home": "h-{home}", "sensor": "{name}", "unit": "{unit}", '
        f'"value": {value}, "battery": {battery}}}'
    )


def _line(time_ms: int, home: int, sensor: int, value: str, battery: int) -> str:
    name, unit, *_ = SENSORS[sensor]
    return f"{COLLECTION},home=h-{home},sensor={name},unit={unit} value={value},battery={battery}i {time_ms}000000\n"


def madevo(batch: Readings) -> str:
    return f'{{"datasource_id": "{COLLECTION}", "data": {batch.records()}}}'


def obsrv(batch: Readings) -> str:
    begun = {"id": "api.data.in", "ver": "v2", "ts": str(batch.times[0]), "params": {"msgid": str(uuid.uuid4())}}
    return f'{json.dumps(begun)[:-1]}, "data": {batch.records()}}}'


DIALECTS: Final[dict[str, Callable[[Readings], str]]] = {MADEVO: madevo, OBSRV: obsrv, LINES: Readings.lines}


def write(folder: Path, first: int, count: int) -> dict[str, list[Path]]:
    """The batches from `first` on as a file each in `folder`, by dialect; files of the same names are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    batches = [readings(number) for number in range(first, first + count)]
    return {dialect: list(_written(folder, dialect, map(make, batches))) for dialect, make in DIALECTS.items()}


def _written(folder: Path, dialect: str, bodies: Iterator[str]) -> Iterator[Path]:
    for number, body in enumerate(bodies):
        path = folder / f"{dialect}-{number}"
        path.write_text(body, encoding="utf-8")
        yield path

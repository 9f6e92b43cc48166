"""Recorder databases of each generation of Home Assistant, as its own versions made them: the same home in all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

MADE: Final = "2021-01-01 00:00:00.000001"
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
LIGHT: Final = '{"brightness":128,"friendly_name":"Hall"}'
POWER: Final = '{"unit_of_measurement":"W","device_class":"power"}'

Told = tuple[str, str | None, str, float, float]
"""Entity, state, attributes, and the seconds after noon of the last change and the last update."""

TOLD: Final[list[Told]] = [
    ("light.hall", "on", LIGHT, 0.25, 0.25),
    ("sensor.power", "5.5", POWER, 1.123456, 1.123456),
    ("light.hall", "on", LIGHT, 0.25, 2.5),
    ("sensor.power", "unavailable", POWER, 3.0, 3.0),
]


def states(told: list[Told]) -> list[dict[str, Any]]:
    """What Home Assistant's REST API says of them, without their attributes."""
    return [
        {"entity_id": entity, "state": state, "last_changed": iso(NOON + changed), "last_updated": iso(NOON + updated)}
        for entity, state, _, changed, updated in told
    ]


def iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()


def text(time: float) -> str:
    """As SQLAlchemy writes a datetime of UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def make_2019(path: Path, told: list[Told]) -> None:
    """Entity, attributes and times as text in each row. `last_changed` is always there."""
    with closing(_new(path)) as db, db:
        db.execute(
            "CREATE TABLE states (state_id INTEGER PRIMARY KEY, domain VARCHAR(64), entity_id VARCHAR(255), state VARCHAR(255),"
            " attributes TEXT, event_id INTEGER, last_changed DATETIME, last_updated DATETIME, created DATETIME,"
            " context_id VARCHAR(36), context_user_id VARCHAR(36))"
        )
        for entity, state, attributes, changed, updated in told:
            row = entity.split(".")[0], entity, state, attributes, text(NOON + changed), text(NOON + updated)
            db.execute(
                "INSERT INTO states (domain, entity_id, state, attributes, last_changed, last_updated) VALUES (?,?,?,?,?,?)",
                row,
            )


def make_2022(path: Path, told: list[Told]) -> None:
    """Attributes once, in a table of their own. `last_changed` only if it differs."""
    with closing(_new(path)) as db, db:
        _make_attributes(db, told)
        db.execute(
            "CREATE TABLE states (state_id INTEGER PRIMARY KEY, entity_id VARCHAR(255), state VARCHAR(255), attributes TEXT,"
            " event_id INTEGER, last_changed DATETIME, last_updated DATETIME, old_state_id INTEGER, attributes_id INTEGER,"
            " context_id VARCHAR(36), origin_idx SMALLINT)"
        )
        for entity, state, attributes, changed, updated in told:
            row = entity, state, None if changed == updated else text(NOON + changed), text(NOON + updated), attributes
            db.execute(
                "INSERT INTO states (entity_id, state, last_changed, last_updated, attributes_id)"
                " SELECT ?,?,?,?, attributes_id FROM state_attributes WHERE shared_attrs = ?",
                row,
            )
        _make_statistics(db, "created DATETIME, start DATETIME, last_reset DATETIME", ("start", "last_reset"), text)


def make_2023(path: Path, told: list[Told]) -> None:
    """Times as seconds since 1970; the entity is still in each row."""
    with closing(_new(path)) as db, db:
        _make_attributes(db, told)
        db.execute(
            "CREATE TABLE states (state_id INTEGER PRIMARY KEY, entity_id VARCHAR(255), state VARCHAR(255), attributes TEXT,"
            " last_changed DATETIME, last_changed_ts FLOAT, last_updated DATETIME, last_updated_ts FLOAT,"
            " attributes_id INTEGER)"
        )
        for entity, state, attributes, changed, updated in told:
            row = entity, state, None if changed == updated else NOON + changed, NOON + updated, attributes
            db.execute(
                "INSERT INTO states (entity_id, state, last_changed_ts, last_updated_ts, attributes_id)"
                " SELECT ?,?,?,?, attributes_id FROM state_attributes WHERE shared_attrs = ?",
                row,
            )
        _make_statistics(db, "start DATETIME, start_ts FLOAT, last_reset_ts FLOAT", ("start_ts", "last_reset_ts"), float)


def make_2026(path: Path, told: list[Told]) -> None:
    """Entities once, in a table of their own; the old columns are empty."""
    with closing(_new(path)) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        _make_attributes(db, told)
        db.execute("CREATE TABLE states_meta (metadata_id INTEGER PRIMARY KEY, entity_id VARCHAR(255) UNIQUE)")
        db.execute(
            "CREATE TABLE states (state_id INTEGER PRIMARY KEY, entity_id CHAR(0), state VARCHAR(255), attributes CHAR(0),"
            " last_changed CHAR(0), last_changed_ts FLOAT, last_reported_ts FLOAT, last_updated CHAR(0), last_updated_ts FLOAT,"
            " attributes_id INTEGER, metadata_id INTEGER)"
        )
        add_2026(db, told)
        _make_statistics(db, "start CHAR(0), start_ts FLOAT, last_reset_ts FLOAT", ("start_ts", "last_reset_ts"), float)


def add_2026(db: sqlite3.Connection, told: list[Told]) -> None:
    """Write on, as a running Home Assistant does."""
    for entity, state, attributes, changed, updated in told:
        db.execute("INSERT OR IGNORE INTO states_meta (entity_id) VALUES (?)", (entity,))
        db.execute(
            "INSERT INTO states (state, last_changed_ts, last_updated_ts, last_reported_ts, attributes_id, metadata_id)"
            " SELECT ?,?,?,?, attributes_id, metadata_id FROM states_meta LEFT JOIN state_attributes ON shared_attrs = ?"
            " WHERE entity_id = ?",
            (state, None if changed == updated else NOON + changed, NOON + updated, NOON + updated + 9, attributes, entity),
        )


GENERATIONS: Final[dict[str, Callable[[Path, list[Told]], None]]] = {
    "2019": make_2019,
    "2022": make_2022,
    "2023": make_2023,
    "2026": make_2026,
}


def many(count: int) -> list[Told]:
    """States of one sensor, a second apart."""
    return [("sensor.power", str(number), POWER, float(number), float(number)) for number in range(count)]


def _new(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE schema_changes (change_id INTEGER PRIMARY KEY, schema_version INTEGER, changed DATETIME)")
    db.execute("INSERT INTO schema_changes (schema_version, changed) VALUES (1, ?)", (MADE,))
    return db


def _make_attributes(db: sqlite3.Connection, told: list[Told]) -> None:
    db.execute("CREATE TABLE state_attributes (attributes_id INTEGER PRIMARY KEY, hash BIGINT, shared_attrs TEXT)")
    for attributes in dict.fromkeys(one[2] for one in told):
        db.execute("INSERT INTO state_attributes (shared_attrs) VALUES (?)", (attributes,))


def _make_statistics(
    db: sqlite3.Connection, columns: str, times: tuple[str, str], written: Callable[[float], str | float]
) -> None:
    db.execute(
        "CREATE TABLE statistics_meta (id INTEGER PRIMARY KEY, statistic_id VARCHAR(255), unit_of_measurement VARCHAR(255))"
    )
    db.execute(
        f"CREATE TABLE statistics (id INTEGER PRIMARY KEY, metadata_id INTEGER, {columns},"
        " mean FLOAT, min FLOAT, max FLOAT, state FLOAT, sum FLOAT)"
    )
    db.execute("INSERT INTO statistics_meta VALUES (7, 'sensor.power', 'W'), (8, 'utility:energy', 'kWh')")
    insert = f"INSERT INTO statistics (metadata_id, {', '.join(times)}, mean, min, max, state, sum) VALUES (?,?,?,?,?,?,?,?)"
    db.execute(insert, (7, written(NOON), None, 5.5, 5.0, 6.0, None, None))
    db.execute(insert, (8, written(NOON), written(NOON - 86400), None, None, None, 3.0, 12.5))

"""A recorder's tables, as each generation of Home Assistant made them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from smarthouse_api.recorder.database import Database
from smarthouse_api.recorder.faults import ImportFault
from smarthouse_api.recorder.tables import Table, states_of, statistics_of
from tests.recorder.databases import GENERATIONS, NOON, TOLD, make_2019, make_2022, make_2023, make_2026, states


def members(table: Table | None) -> list[dict[str, Any]]:
    assert table is not None
    return [json.loads(msgspec.json.encode(entry.member)) for entry in table.page(0, table.last(), 100)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home-assistant_v2.db"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_generation_gives_the_same_states(path: Path, generation: str) -> None:
    GENERATIONS[generation](path, TOLD)
    found = members(states_of(Database(path)))
    assert [{**one, "attributes": json.loads(told[2])} for one, told in zip(states(TOLD), TOLD, strict=True)] == found


@pytest.mark.parametrize("generation", ["2022", "2023", "2026"])
def test_every_generation_gives_the_same_statistics(path: Path, generation: str) -> None:
    GENERATIONS[generation](path, TOLD)
    start = round(NOON * 1000)
    hour = {"start": start, "end": start + 3_600_000}
    power = {"mean": 5.5, "min": 5.0, "max": 6.0, "state": None, "sum": None, "last_reset": None, "unit_of_measurement": "W"}
    energy = {"mean": None, "min": None, "max": None, "state": 3.0, "sum": 12.5, "unit_of_measurement": "kWh"}
    table = statistics_of(Database(path))
    assert members(table) == [hour | power, hour | energy | {"last_reset": start - 86_400_000}]


def test_the_oldest_recorders_kept_no_statistics(path: Path) -> None:
    make_2019(path, TOLD)
    assert statistics_of(Database(path)) is None


def test_a_migration_that_is_half_done_is_read(path: Path) -> None:
    make_2022(path, TOLD)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE states ADD last_updated_ts FLOAT")
        db.execute("ALTER TABLE states ADD last_changed_ts FLOAT")
        db.execute("ALTER TABLE states ADD metadata_id INTEGER")
        db.execute("CREATE TABLE states_meta (metadata_id INTEGER PRIMARY KEY, entity_id VARCHAR(255))")
        db.execute("INSERT INTO states_meta VALUES (1, 'light.hall')")
        db.execute(
            "UPDATE states SET metadata_id = 1, entity_id = NULL, last_updated_ts = ?, last_updated = NULL WHERE state_id = 1",
            (NOON + 0.25,),
        )
        db.execute("UPDATE states SET attributes = '{\"old\": 1}', attributes_id = NULL WHERE state_id = 2")
    found = members(states_of(Database(path)))
    assert [{name: one[name] for name in one if name != "attributes"} for one in found] == states(TOLD)
    assert found[1]["attributes"] == {"old": 1}


def test_a_removed_entity_is_no_state(path: Path) -> None:
    make_2026(path, [*TOLD, ("light.hall", None, "", 9.0, 9.0)])
    table = states_of(Database(path))
    assert [entry.name for entry in table.page(3, 9, 9)] == ["sensor.power", None]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"a": NaN, "b": 1.50}', {"a": None, "b": 1.5}),
        ('{"a": ', {}),
        ("[1]", {}),
        ("null", {}),
        ("", {}),
    ],
)
def test_attributes_that_are_no_json_cost_only_themselves(path: Path, written: str, read: dict[str, Any]) -> None:
    make_2019(path, [("light.hall", "on", written, 0, 0)])
    assert members(states_of(Database(path)))[0]["attributes"] == read


def test_text_that_is_not_utf_8_is_replaced(path: Path) -> None:
    make_2019(path, TOLD[:1])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE states SET state = CAST(x'6fff' AS TEXT)")
    assert members(states_of(Database(path)))[0]["state"] == "o\N{REPLACEMENT CHARACTER}"


def test_a_time_that_is_none_is_left_out(path: Path) -> None:
    make_2023(path, TOLD[:1])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE states SET last_updated_ts = 1e300")
    assert "last_updated" not in members(states_of(Database(path)))[0]


def test_another_database_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE invoices (id INTEGER)")
    with pytest.raises(ImportFault, match="is not a recorder's database, since it has no table states"):
        states_of(Database(path))


def test_columns_that_are_unknown_are_named(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE states (state_id INTEGER, state TEXT, whom TEXT)")
    with pytest.raises(ImportFault, match="columns of the table states are unknown: state, state_id, whom"):
        states_of(Database(path))

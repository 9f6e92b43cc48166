"""A database that is read while Home Assistant may write it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from smarthouse_api.recorder.database import Database
from smarthouse_api.recorder.faults import ImportFault
from tests.recorder.databases import TOLD, add_2026, make_2026

COUNT = "SELECT count(*) FROM states"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "home-assistant_v2.db"
    make_2026(made, TOLD)
    return made


def test_a_database_that_nobody_uses_gets_no_file_beside_it(path: Path) -> None:
    before = path.read_bytes()
    database = Database(path)
    assert database.read(COUNT) == [(4,)]
    database.close()
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_what_a_running_home_assistant_writes_is_read(path: Path) -> None:
    with closing(sqlite3.connect(path)) as writer:
        add_2026(writer, TOLD)
        writer.commit()
        database = Database(path)
        assert database.read(COUNT) == [(8,)]
        with writer:
            add_2026(writer, TOLD)
        assert database.read(COUNT) == [(12,)]
        database.close()


def test_a_home_assistant_that_starts_meanwhile_is_noticed(path: Path) -> None:
    database = Database(path)
    assert database.read(COUNT) == [(4,)]
    with closing(sqlite3.connect(path)) as writer:
        with writer:
            add_2026(writer, TOLD)
        assert database.read(COUNT) == [(8,)]
        database.close()


def test_a_home_assistant_that_came_and_went_is_noticed(path: Path) -> None:
    database = Database(path)
    assert database.read(COUNT) == [(4,)]
    with closing(sqlite3.connect(path)) as writer, writer:
        add_2026(writer, TOLD)
    assert database.read(COUNT) == [(8,)]
    database.close()


def test_no_statement_can_write(path: Path) -> None:
    with closing(sqlite3.connect(path)):
        database = Database(path)
        with pytest.raises(ImportFault, match="readonly"):
            database.read("DELETE FROM states")
        database.close()


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"<html>" * 50])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(ImportFault, match="is not a SQLite database"):
        Database(tmp_path / "x.db")


def test_a_damaged_database_is_named_so(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 4096 + whole[4196:])
    with pytest.raises(ImportFault, match="is damaged"):
        Database(path).read(COUNT)

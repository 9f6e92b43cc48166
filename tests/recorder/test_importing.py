"""An import as a whole, into a stand-in: what moves its mark, and what does not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from smarthouse_api.errors import HOME_QUOTA
from smarthouse_api.recorder.chunks import Choice
from smarthouse_api.recorder.database import Database
from smarthouse_api.recorder.faults import ImportFault
from smarthouse_api.recorder.importing import Import, Totals
from smarthouse_api.recorder.progress import Progress, name_of
from smarthouse_api.recorder.service import Service, address
from smarthouse_api.recorder.tables import states_of
from tests.conftest import HOME, OTHER_HOME
from tests.recorder.databases import Told, make_2019, many
from tests.recorder.standin import Answer, Request, StandIn, refused, stand_in, taken


def bring(folder: Path, service: StandIn, rows: int = 10) -> Totals:
    database = Database(folder / "ha.db")
    table = states_of(database)
    task = Import(Service(address(service.url), HOME, str, abs), Progress(folder, "x"), Choice(), rows)
    try:
        task.bring(table, table.last(), lambda _: None)
    finally:
        database.close()
    return task.totals


def sent(service: StandIn) -> list[list[int]]:
    """The states of each request."""
    return [[int(state["state"]) for states in one.entries.values() for state in states] for one in service.requests]


def make(folder: Path, told: list[Told]) -> None:
    (folder / "ha.db").unlink(missing_ok=True)
    make_2019(folder / "ha.db", told)


def test_the_next_run_brings_only_what_is_new(tmp_path: Path) -> None:
    make(tmp_path, many(25))
    with stand_in() as service:
        assert bring(tmp_path, service).sent == 25
        assert bring(tmp_path, service).bodies == 0
        make(tmp_path, many(27))
        assert bring(tmp_path, service).sent == 2
    assert sent(service) == [[*range(10)], [*range(10, 20)], [*range(20, 25)], [25, 26]]


def test_the_mark_moves_only_after_a_200(tmp_path: Path) -> None:
    make(tmp_path, many(25))
    with stand_in(taken(), refused(400, "no")) as service:
        with pytest.raises(ImportFault, match="no"):
            bring(tmp_path, service)
        bring(tmp_path, service)
    assert sent(service)[2:] == [[*range(10, 20)], [*range(20, 25)]]
    assert service.requests[1].headers["Idempotency-Key"] == service.requests[2].headers["Idempotency-Key"]
    assert service.requests[1].body == service.requests[2].body


def test_a_chunk_that_is_too_large_is_halved_and_the_next_ones_too(tmp_path: Path) -> None:
    make(tmp_path, many(12))

    def choose(request: Request) -> Answer:
        (states,) = request.entries.values()
        return taken(records=len(states)) if len(states) <= 3 else refused(413, "Too large")

    with stand_in(choose=choose) as service:
        assert bring(tmp_path, service) == Totals(sent=12, records=12, bodies=6)
    assert list(map(len, sent(service))) == [10, 5, 2, 2, 2, 2, 2, 2]


def test_one_row_that_is_too_large_is_named_and_never_left_out_silently(tmp_path: Path) -> None:
    make(tmp_path, many(2))
    with stand_in(choose=lambda _: refused(413, "Too large")) as service, pytest.raises(ImportFault) as fault:
        bring(tmp_path, service)
    assert str(fault.value).endswith("It was one row, of sensor.power; leave it out with --exclude sensor.power")


def test_a_quota_of_the_service_is_told_and_no_body_is_halved(tmp_path: Path) -> None:
    make(tmp_path, many(12))
    full = refused(413, "It keeps 10 bytes of one home", HOME_QUOTA)
    with stand_in(choose=lambda _: full) as service, pytest.raises(ImportFault, match=r"413: It keeps 10 bytes of one home$"):
        bring(tmp_path, service)
    assert len(service.requests) == 1


def test_a_database_that_was_replaced_is_read_from_its_beginning(tmp_path: Path) -> None:
    make(tmp_path, many(10))
    with stand_in() as service:
        bring(tmp_path, service)
        make(tmp_path, many(30)[15:])
        bring(tmp_path, service)
        make(tmp_path, many(3))
        bring(tmp_path, service)
    assert sent(service) == [[*range(10)], [*range(15, 25)], [*range(25, 30)], [0, 1, 2]]


def test_a_purge_does_not_bring_back_what_is_already_there(tmp_path: Path) -> None:
    make(tmp_path, many(10))
    with stand_in() as service:
        bring(tmp_path, service)
        make(tmp_path, many(13))
        with closing(sqlite3.connect(tmp_path / "ha.db")) as db, db:
            db.execute("DELETE FROM states WHERE state_id BETWEEN 5 AND 11")
        bring(tmp_path, service)
    assert sent(service)[1:] == [[11, 12]]


def test_rows_that_the_service_does_not_know_are_counted_and_explained(tmp_path: Path) -> None:
    make(tmp_path, many(20))
    with stand_in(taken(records=9, ignored=1), taken(records=0, ignored=10, duplicate=True, detail="why")) as service:
        totals = bring(tmp_path, service)
    assert totals == Totals(sent=20, records=9, ignored=11, bodies=2, repeated=1, detail="why")


def test_progress_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "import-x.json").write_text("{")
    with pytest.raises(ImportFault, match="delete it to begin anew"):
        Progress(tmp_path, "x")


def test_the_name_of_an_import_stands_for_the_home_and_all_else() -> None:
    names = {name_of(HOME, ("a",)), name_of(OTHER_HOME, ("a",)), name_of(HOME, ("b",)), name_of(HOME, ("a", ("*",)))}
    assert len(names) == 4
    assert name_of(HOME, ("a",)) in names
    assert not any(part in name for name in names for part in HOME.split("-"))

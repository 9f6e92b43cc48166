"""`smarthouse import`, against a running service and a database of a running Home Assistant."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path
from threading import Event

import pyarrow as pa
import pytest
import requests
from click.testing import CliRunner

from config.settings import Settings
from smarthouse_api.cli import main
from smarthouse_api.house import House
from tests.conftest import HOME, OTHER_HOME, Server, rows
from tests.recorder.databases import GENERATIONS, NOON, TOLD, add_2026, make_2026, many
from tests.recorder.standin import Answer, Request, stand_in, taken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "uuid").write_text(f"{HOME}\n")
    return tmp_path


def command(folder: Path, url: str, *options: str) -> list[str]:
    told = ["import", str(folder / "ha.db"), "--to", url, "--progress-folder", str(folder / "progress")]
    return [*told, "--uuid-file", str(folder / "uuid"), *options]


def run(folder: Path, url: str, *options: str) -> str:
    done = CliRunner().invoke(main, command(folder, url, *options))
    assert done.exit_code == 0, done.output
    assert HOME not in done.output
    return done.output


def states_of(server: Server) -> list[tuple[str, str, str]]:
    answer = server.export("json", metadata="false")
    return [(row["entity_id"], row["state"], row["last_updated"]) for row in rows(answer.content)]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_what_was_recorded_is_exported(server: Server, folder: Path, generation: str) -> None:
    GENERATIONS[generation](folder / "ha.db", TOLD)
    assert "Uploaded 4 states" in run(folder, server.url, "--no-statistics")
    told = Counter((entity, state, NOON + updated) for entity, state, _, _, updated in TOLD)
    assert Counter((name, state, datetime.fromisoformat(at).timestamp()) for name, state, at in states_of(server)) == told


def test_a_repeat_adds_no_row(server: Server, folder: Path) -> None:
    make_2026(folder / "ha.db", many(25))
    run(folder, server.url, "--rows", "10")
    assert run(folder, server.url, "--rows", "10") == "Nothing new to upload; --restart begins anew\n"
    assert "Requests that the service had already" in run(folder, server.url, "--rows", "10", "--restart")
    assert Counter(state for _, state, _ in states_of(server) if state.isdigit()) == Counter(map(str, range(25)))


def test_a_running_home_assistant_is_read_and_only_what_it_adds_is_brought(server: Server, folder: Path) -> None:
    make_2026(folder / "ha.db", TOLD)
    with closing(sqlite3.connect(folder / "ha.db")) as writer:
        with writer:
            add_2026(writer, TOLD)
        assert "Uploaded 8 states" in run(folder, server.url, "--no-statistics")
        with writer:
            add_2026(writer, many(3))
        assert "Uploaded 3 states" in run(folder, server.url, "--no-statistics")


def test_statistics_are_uploaded_in_home_assistants_own_shape(folder: Path) -> None:
    make_2026(folder / "ha.db", TOLD)
    with stand_in() as service:
        run(folder, service.url)
    (hour,) = service.requests[1].entries["utility:energy"]
    assert set(hour) == {"start", "end", "last_reset", "mean", "min", "max", "state", "sum", "unit_of_measurement"}
    assert (hour["start"], hour["end"] - hour["start"]) == (NOON * 1000, 3_600_000)


def test_statistics_become_rows_of_the_lake_once(server: Server, folder: Path) -> None:
    make_2026(folder / "ha.db", TOLD)
    run(folder, server.url)
    run(folder, server.url, "--restart", "--rows", "3")
    server.export("json")
    with closing(House(Settings.from_env(server.environment))) as house:
        snapshot = house.states.statistics.open()
        assert snapshot is not None
        hours = pa.concat_tables(house.states.statistics.periods(snapshot)).to_pylist()
    assert {(hour["start"].timestamp(), hour["period_seconds"]) for hour in hours} == {(NOON, 3600)}
    found = [(hour["statistic_id"], hour["unit"], hour["mean"], hour["sum"]) for hour in hours]
    assert found == [("sensor.power", "W", 5.5, None), ("utility:energy", "kWh", None, 12.5)]


def test_a_kill_after_the_upload_and_before_the_mark_neither_loses_nor_doubles(server: Server, folder: Path) -> None:
    make_2026(folder / "ha.db", many(50))
    is_stuck, may_end = Event(), Event()

    def choose(request: Request) -> Answer | None:
        headers = {name: request.headers[name] for name in ("Home-UUID", "Idempotency-Key")}
        answer = requests.post(f"{server.url}{request.path}", request.body, headers=headers, timeout=30)
        if len(service.requests) == 3:
            is_stuck.set()
            may_end.wait(30)
            return None
        return answer.status_code, {}, answer.content

    with stand_in(choose=choose) as service:
        told = [sys.executable, "-m", "smarthouse_api.cli", *command(folder, service.url, "--rows", "10", "--no-statistics")]
        with (folder / "out").open("wb") as out:
            process = subprocess.Popen(told, stdout=out, stderr=out)
        assert is_stuck.wait(30)
        seen = [Path(f"/proc/{process.pid}/{name}").read_text() for name in ("cmdline", "environ")]
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        may_end.set()
        assert "Uploaded 30 states" in run(folder, service.url, "--rows", "10", "--no-statistics")
    assert [service.requests[n].headers["Idempotency-Key"] for n in (2, 3)] == [
        service.requests[2].headers["Idempotency-Key"]
    ] * 2
    assert service.requests[2].body == service.requests[3].body
    assert Counter(state for _, state, _ in states_of(server)) == Counter(map(str, range(50)))
    left = [one.read_text() for one in (folder / "out", *(folder / "progress").iterdir())]
    names = [one.name for one in (folder / "progress").iterdir()]
    assert not [text for text in (*seen, *left, *names) if HOME in text]


def test_the_uuid_is_asked_for_and_not_echoed(folder: Path) -> None:
    make_2026(folder / "ha.db", TOLD)
    with stand_in() as service:
        told = [*command(folder, service.url)[:-2]]
        done = CliRunner().invoke(main, told, input=f"{OTHER_HOME}\n")
    assert done.exit_code == 0
    assert "Home-UUID: " in done.output
    assert OTHER_HOME not in done.output
    assert {request.headers["Home-UUID"] for request in service.requests} == {OTHER_HOME}


def test_another_home_has_another_progress(folder: Path) -> None:
    make_2026(folder / "ha.db", TOLD)
    with stand_in() as service:
        run(folder, service.url)
        (folder / "uuid").write_text(OTHER_HOME)
        assert "Uploaded" in run(folder, service.url)


def test_filters_choose_what_is_brought_and_have_a_progress_of_their_own(folder: Path) -> None:
    make_2026(folder / "ha.db", TOLD)
    with stand_in() as service:
        run(folder, service.url, "--no-statistics", "--entities", "light.*")
        run(folder, service.url, "--no-statistics", "--exclude", "light.*", "--until", "2026-03-01T12:00:03")
        run(folder, service.url, "--no-statistics")
    found = [[(name, len(states)) for name, states in one.entries.items()] for one in service.requests]
    assert found == [[("light.hall", 2)], [("sensor.power", 1)], [("light.hall", 2), ("sensor.power", 2)]]


def test_what_was_left_out_and_refused_is_told(folder: Path) -> None:
    make_2026(folder / "ha.db", [*TOLD, ("light.hall", None, "", 9, 9)])
    with stand_in(taken(records=3, ignored=1, detail="because")) as service:
        told = run(folder, service.url, "--no-statistics")
    assert told.splitlines() == [
        "Uploaded 4 states and hours in 1 requests; the service recognised 3",
        "Rows that hold no state, such as an entity's removal: 1",
        "Entries that the service ignored: 1",
        "The service says: because",
    ]


@pytest.mark.parametrize(
    ("uuid", "content", "message"),
    [
        (HOME[:-1], None, "This is not the UUID of a home"),
        (HOME, b"<html>", "is not a SQLite database"),
    ],
)
def test_a_fault_ends_the_command_with_a_message(folder: Path, uuid: str, content: bytes | None, message: str) -> None:
    make_2026(folder / "ha.db", TOLD)
    (folder / "uuid").write_text(uuid)
    if content is not None:
        (folder / "ha.db").write_bytes(content)
    done = CliRunner().invoke(main, command(folder, "http://127.0.0.1:1"))
    assert (done.exit_code, message in done.output, uuid in done.output) == (1, True, False)


def test_the_environments_settings_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTHOUSE_WORKERS", "no number")
    make_2026(folder / "ha.db", TOLD)
    with stand_in() as service:
        run(folder, service.url)


def test_a_key_goes_along_and_is_never_shown(folder: Path) -> None:
    make_2026(folder / "ha.db", TOLD)
    (folder / "key").write_text("shk_of_the_service\n")
    with stand_in() as one:
        assert "shk_" not in run(folder, one.url, "--key-file", str(folder / "key"))
    assert {request.headers["Authorization"] for request in one.requests} == {"Bearer shk_of_the_service"}


def test_a_key_file_without_a_key_is_refused(folder: Path) -> None:
    make_2026(folder / "ha.db", TOLD)
    (folder / "key").write_text("two\nlines")
    done = CliRunner().invoke(main, command(folder, "http://127.0.0.1:1", "--key-file", str(folder / "key")))
    assert "--key-file: the file must hold an API key" in done.output
    assert "two" not in done.output

"""`smarthouse export` and `smarthouse jobs`, as an operator runs them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from config.settings import Settings
from smarthouse_api.cli import main
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from tests import programs
from tests.conftest import HOME, Environment, begin, payload, state, unzipped


@pytest.fixture
def house(embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # as the command does
    # It would be a stream that is gone after the command.
    monkeypatch.setattr("smarthouse_api.serving.logs.log_to_stderr", lambda *_: None)
    monkeypatch.setattr("os.umask", lambda mask: mask)
    begin(embedded_pair)
    one = House(Settings.from_env(embedded_pair))
    sent = [state(f"sensor.a_{day}", str(day), f"2026-03-{day:02}T12:00:00Z", unit_of_measurement="°C") for day in range(1, 21)]
    one.states.uploads.receive(Upload(HOME, payload(*sent, state("light.hall", "on"))))
    one.close()
    return one


def run(environment: Environment, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environment)


def test_a_dataset_is_written_into_a_file(house: House, embedded_pair: Environment, tmp_path: Path) -> None:
    file = tmp_path / "sensors.zip"
    told = run(embedded_pair, "export", str(file), "--format", "jsonl", "--type", "Sensor", "--to", "2026-03-10")
    assert told.exit_code == 0, told.output
    assert "10 rows" in told.stdout
    members = unzipped(file.read_bytes())
    assert len(members["jsonl"].splitlines()) == 10
    assert told.stdout.splitlines()[1] in members["CITATION.cff"].decode()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["sensors.zip"]
    assert list(house.objects.list("jobs/")) == []
    version = told.stdout.splitlines()[1].partition("Version ")[2].partition(",")[0]
    again = run(embedded_pair, "export", str(file), "--since", version)
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (1, "Error: No record came after that version")
    file.chmod(0o640)
    (tmp_path / "link.zip").symlink_to(file)
    hourly = run(embedded_pair, "export", str(tmp_path / "link.zip"), "--every", "1d", "--no-metadata")
    assert hourly.exit_code == 0, hourly.output
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(unzipped(file.read_bytes())) == ["csv"]
    nothing = run(embedded_pair, "export", str(file), "--unit", "lx")
    assert (nothing.exit_code, nothing.stderr.splitlines()[-1]) == (1, "Error: No record passes the filters")
    for option in ("--type", "--unit", "--device-class", "--home", "--entity"):
        empty = run(embedded_pair, "export", str(file), option, " ")
        told = f"Error: {option} is empty; leave it out to take all"
        assert (empty.exit_code, empty.stderr.splitlines()[-1]) == (2, told)


def test_an_export_replaces_nothing_but_a_file(embedded_pair: Environment, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused = {"-": "nothing is written", "/dev/null": "a device", str(tmp_path / "pipe"): "a pipe", "no/x.zip": "no folder"}
    for name, words in refused.items():
        told = run(embedded_pair, "export", name)
        assert (told.exit_code, words in told.stderr) == (2, True), told.stderr
    assert Path("/dev/null").is_char_device()


def test_an_export_that_was_stopped_goes_on(
    house: House, embedded_pair: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 2)
    file, jobs = tmp_path / "all.zip", house.states.jobs
    id_ = jobs.ask(jobs.request(Filters(), ("csv",)), "operator").id
    jobs.maker.work()
    version = jobs._find(id_)[0].dataset
    assert version is not None
    jobs.maker.work(lambda: len(jobs.maker._shop.book.parts(version)) > 2)
    monkeypatch.setattr("secrets.token_hex", lambda *_: 1 / 0)  # nothing is begun anew
    told = run(embedded_pair, "export", str(file))
    assert told.exit_code == 0, (told.output, told.exception)
    assert version in told.stdout
    assert len(unzipped(file.read_bytes())["csv"].splitlines()) == 22


def test_an_operator_lists_and_cancels_jobs(house: House, embedded_pair: Environment) -> None:
    jobs = house.states.jobs
    ids = [jobs.ask(jobs.request(Filters(), (name,)), "address/me").id for name in ("csv", "json")]
    for _ in range(2):
        jobs.maker.work(only=ids[0])
    listed = run(embedded_pair, "jobs", "list").stdout.splitlines()
    assert [line.split()[:4] for line in listed[1:]] == [[ids[0], "done", "100%", "21"], [ids[1], "waiting", "0%", "0"]]
    told = [json.loads(line) for line in run(embedded_pair, "jobs", "list", "--json").stdout.splitlines()]
    assert [one["id"] for one in told] == ids
    assert "address" not in str(told)
    status = run(embedded_pair, "status").stdout
    assert "Export jobs\n  waiting  1\n  running  0\n  files    1, " in status
    for id_ in ids:
        assert run(embedded_pair, "jobs", "cancel", id_).stdout == f"{id_}: cancelled\n"
    assert run(embedded_pair, "jobs", "list").stdout.splitlines()[1:] == []
    assert run(embedded_pair, "jobs", "cancel", "x").exit_code == 1


def check_file(house: House, id_: str) -> None:
    """Look that a job is done, that its file holds what an export does, and that nothing else is kept."""
    jobs = house.states.jobs
    told = jobs.view(id_)
    assert (told.state, told.rows, told.told) == ("done", 21, None)
    jobs.sweep()
    assert {info.key for info in house.objects.list("jobs/")} == {f"jobs/{told.version}/{name}" for name in ("zip", "sums")}
    kept, export = jobs.open(id_), house.states.exports.open(("csv", "parquet"), Filters(), metadata=False)
    assert kept is not None
    assert export is not None
    members, streamed = unzipped(b"".join(kept.body())), unzipped(b"".join(export))
    kept.close()
    export.close()
    assert {name: members[name] for name in streamed} == streamed


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, no process helps")
def test_a_hand_that_dies_or_loses_its_maker_costs_its_job_nothing(house: House, embedded_pair: Environment) -> None:
    jobs = house.states.jobs
    id_ = jobs.ask(jobs.request(Filters(), ("csv", "parquet")), "address/me").id
    asked = [sys.executable, "-m", "tests.states.helped_maker", "maker", "hand"]
    settings = {**os.environ, **embedded_pair, "SMARTHOUSE_LEASE_SECONDS": "0.5", "SMARTHOUSE_JOB_PARTS_AT_ONCE": "2"}
    ended = programs.run(asked, env=settings, capture_output=True, text=True, check=True)
    lines = ended.stdout.splitlines()
    assert lines[:2] == ["a hand kills the maker", "it ended by signal 9, and 0 processes are left"], (lines, ended.stderr)
    assert set(lines[2:-2]) == {"a hand kills the hand"}, (lines, ended.stderr)
    assert lines[-2:] == ["without the keeper, there is None", "it ended by signal 0, and 0 processes are left"]
    assert "No other process helps from now on" in ended.stderr
    assert "A process that made a part of an export job has ended, and the part is made again" in ended.stderr
    check_file(house, id_)


def test_a_process_that_is_killed_in_any_phase_leaves_its_job_to_the_next(house: House, embedded_pair: Environment) -> None:
    jobs = house.states.jobs
    id_ = jobs.ask(jobs.request(Filters(), ("csv", "parquet")), "address/me").id
    phases = ["part", "file", "done"]
    asked = [sys.executable, "-m", "tests.states.dying_maker", *phases]
    settings = {**os.environ, **embedded_pair, "SMARTHOUSE_LEASE_SECONDS": "0.5", "SMARTHOUSE_JOB_PARTS_AT_ONCE": "2"}
    ended = programs.run(asked, env=settings, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [f"{phase} ended by signal 9" for phase in phases], ended.stderr
    check_file(house, id_)

"""`smarthouse worker`: who keeps house, who takes over, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from backends.ports import Change
from config.settings import Settings
from smarthouse_api.house import House
from smarthouse_api.states.pending import Pending
from tests.conftest import HOME, OTHER_HOME, ROOT, Environment, Server, payload, rows, state
from tests.programs import Program
from tests.waiting import soon

Worker = subprocess.Popen[bytes]


@pytest.fixture(params=["embedded_pair", "production_pair"])
def apart(request: pytest.FixtureRequest) -> Environment:
    """Settings of a service whose workers are processes of their own."""
    return {
        **request.getfixturevalue(request.param),
        "SMARTHOUSE_HOUSEKEEPING": "worker",
        "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.1",
        "SMARTHOUSE_LEASE_SECONDS": "1",
        "SMARTHOUSE_PURGE_DELAY_SECONDS": "0.1",
    }


@pytest.fixture
def start_worker(apart: Environment) -> Iterator[Callable[..., Worker]]:
    started: list[Worker] = []

    def start(**options: Any) -> Worker:
        command = [sys.executable, "-m", "smarthouse_api.cli", "worker"]
        started.append(Program(command, cwd=ROOT, env={**os.environ, **apart}, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.wait(30)


@pytest.fixture
def api(apart: Environment) -> Iterator[Server]:
    server = Server(apart).start()
    yield server
    server.kill()


@pytest.fixture
def watcher(apart: Environment) -> Iterator[House]:
    house = House(Settings.from_env(apart))
    yield house
    house.close()


def one(value: object) -> bytes:
    return payload(state(value=str(value), unit_of_measurement="K"))


def ready(api: Server) -> dict[str, str]:
    return requests.get(f"{api.url}/health/ready", timeout=10).json()["backends"]


def test_the_processes_that_serve_leave_the_housekeeping_to_workers(api, watcher, start_worker):
    assert "start `smarthouse worker`" in ready(api)["workers"]
    assert api.upload(HOME, one(1)).status_code == 200
    assert api.upload(OTHER_HOME, one(2)).status_code == 200
    assert requests.delete(f"{api.url}/api/ingest/data", headers={"Home-UUID": HOME}, timeout=30).status_code == 200
    time.sleep(0.5)  # several of their rounds, if they made any
    assert len(watcher.states.uploads.pending()) == 2
    assert watcher.states.homes.hidden()
    start_worker()
    soon(lambda: not watcher.states.uploads.pending() and not watcher.states.homes.hidden())
    assert soon(lambda: ready(api)["workers"] == "1 running")
    assert [row["state"] for row in rows(api.export(metadata="false").content)] == ["2"]


def test_an_export_flushes_what_no_worker_has_curated(api):
    assert api.upload(HOME, one(1)).status_code == 200
    assert [row["state"] for row in rows(api.export(metadata="false").content)] == ["1"]


@pytest.mark.alone
def test_another_takes_over_from_one_that_is_killed_or_suspended(api, watcher, start_worker):
    first, second = start_worker(), start_worker()
    soon(lambda: watcher.housekeeper.present() == 2)
    for number, strike in enumerate((signal.SIGSTOP, signal.SIGKILL)):
        first.send_signal(strike)
        while strike == signal.SIGSTOP and api.upload(HOME, one(9)).status_code == 503:
            first.send_signal(signal.SIGCONT)  # it was stopped in the middle of a commit to SQLite
            time.sleep(0.05)
            first.send_signal(strike)
        started = time.monotonic()
        assert api.upload(HOME, one(number)).status_code == 200
        soon(lambda: not watcher.states.uploads.pending(), seconds=5)
        assert time.monotonic() - started < 5
        first.send_signal(signal.SIGCONT)
    assert second.poll() is None
    assert sorted(row["state"] for row in rows(api.export(metadata="false").content)) == ["0", "1", "9"]


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_end_finishes_its_step_and_lets_go(api, watcher, start_worker, signal_):
    worker = start_worker()
    soon(watcher.housekeeper.present)
    for number in range(20):
        assert api.upload(HOME, one(number)).status_code == 200
    worker.send_signal(signal_)
    assert worker.wait(20) == 0
    assert watcher.housekeeper.present() == 0
    lease = watcher.states.table.try_write()
    assert lease is not None
    lease.release()
    assert len(rows(api.export(metadata="false").content)) == 20


def test_a_worker_whose_settings_have_faults_says_which_and_ends(apart, start_worker):
    apart["SMARTHOUSE_STATE_URL"] = "mongodb://x"
    worker = start_worker(stderr=subprocess.PIPE)
    _, told = worker.communicate(timeout=30)
    assert worker.returncode == 1
    assert b"SMARTHOUSE_STATE_URL" in told


@pytest.mark.parametrize("apart", ["embedded_pair"], indirect=True)
def test_a_worker_goes_on_when_the_store_is_back(apart, watcher, api, start_worker, tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as output:
        worker = start_worker(stderr=output)
    soon(watcher.housekeeper.present)
    data = Path(apart["SMARTHOUSE_DATA_DIR"])
    assert api.upload(HOME, one(1)).status_code == 200
    soon(lambda: not watcher.states.uploads.pending())
    (data / "objects").rename(data / "gone")
    (data / "objects").write_text("no folder")
    watcher.state.commit("homes", Change(appends=(("pending", queued_once(data)),)))
    soon(lambda: b"will be tried again" in log.read_bytes())
    (data / "objects").unlink()
    (data / "gone").rename(data / "objects")
    assert api.upload(HOME, one(2)).status_code == 200
    soon(lambda: not watcher.states.uploads.pending())
    assert worker.poll() is None


def queued_once(data: Path) -> bytes:
    """An entry of the queue for the payload that is there."""
    (raw,) = (path for path in (data / "gone/objects/raw").rglob("*") if path.is_file())
    key = raw.relative_to(data / "gone/objects").as_posix()
    return msgspec.json.encode(Pending(0, key.split("/")[1], key, 1_700_000_000_000_000, 100, None))

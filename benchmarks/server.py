"""The service as `make run` starts it, and the bare view under the same gunicorn settings."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from benchmarks.paths import ROOT
from benchmarks.stores import Stores

HOST: Final = "127.0.0.1"
CONFIG: Final = "config/gunicorn.py"
START_SECONDS: Final = 60
STOP_SECONDS: Final = 30
LIMITS: Final = {
    "SMARTHOUSE_INGEST_RATE_HOME": "1000000/minute",
    "SMARTHOUSE_INGEST_RATE_ADDRESS": "1000000/minute",
    "SMARTHOUSE_RIGHTS_RATE_ADDRESS": "1000000/minute",
    "SMARTHOUSE_COLLECTION_RATE_ADDRESS": "1000000/minute",
}
"""The limiter works as in production, it only never says no."""

Name = TypeVar("Name")


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


def service(data_dir: Path, settings: dict[str, str] | None = None) -> AbstractContextManager[Server]:
    """Our service on `data_dir`, with `settings` over the benchmark's rate limits."""
    return _gunicorn("wsgi:app", data_dir, {**LIMITS, **(settings or {})})


@contextmanager
def undisturbed(pairs: Mapping[Name, Stores]) -> Iterator[dict[Name, Server]]:
    """A service on each of the pairs, all at once. None keeps house, which on few cores would be most of what is timed."""
    with ExitStack() as stack:
        nobody = {"SMARTHOUSE_HOUSEKEEPING": "worker"}
        yield {name: stack.enter_context(service(one.data_dir, {**one.settings, **nobody})) for name, one in pairs.items()}


def bare(data_dir: Path, settings: dict[str, str] | None = None) -> AbstractContextManager[Server]:
    """The bare views; the stores that `data_dir` and the settings name are only for the one that sends objects."""
    return _gunicorn("benchmarks.bare:app", data_dir, settings or {})


@contextmanager
def _gunicorn(app: str, data_dir: Path, settings: dict[str, str]) -> Iterator[Server]:
    data_dir.mkdir(parents=True, exist_ok=True)
    port, log = _free_port(), data_dir.with_name(f"{data_dir.name}.log")
    ours = {"PORT": str(port), "HOST": HOST, "SMARTHOUSE_DATA_DIR": str(data_dir), **settings}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SMARTHOUSE_")} | ours
    command = [sys.executable, "-m", "gunicorn", "-c", CONFIG, app]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    server = Server(process, port, log)
    try:
        _wait_until_ready(server)
        yield server
    except Exception as error:
        error.add_note(f"The server's last words:\n{_tail(log)}")
        raise
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return listener.getsockname()[1]


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError("The server ended at start")
        if _ready(server):
            return
        time.sleep(0.1)
    raise RuntimeError(f"The server was not ready after {START_SECONDS} s")


def _ready(server: Server) -> bool:
    connection = http.client.HTTPConnection(HOST, server.port, timeout=10)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()

"""Houses, clients and servers that the tests share. One fixture for each pair of stores, one that lists them."""

from __future__ import annotations

import fcntl
import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from backends.ports import Change, Put
from config.settings import Settings
from smarthouse_api.app import create_app
from smarthouse_api.house import House
from smarthouse_api.states.agreements import Agreement, encoded_agreements
from tests.lake.sail import SailServer
from tests.programs import Program
from tests.servers import MinioServer, RedisServer, free_port

ROOT = Path(__file__).parent.parent
HOME = "6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11"
OTHER_HOME = "0b7c1f6e-1111-4222-8333-944455556666"
MEMORY = {"SMARTHOUSE_STATE_URL": "memory://", "SMARTHOUSE_OBJECTS_URL": "memory://", "SMARTHOUSE_WORKERS": "1"}
STORES = {"SMARTHOUSE_DATA_DIR", "SMARTHOUSE_STATE_URL", "SMARTHOUSE_OBJECTS_URL"}

Environment = dict[str, str]


def pytest_configure(config: pytest.Config) -> None:
    """Give a worker of xdist the main module that one process of pytest has: pyspark takes one without for its own doctests."""
    if hasattr(config, "workerinput"):
        sys.modules["__main__"].__spec__ = find_spec("pytest.__main__")
    # deltalake reads all authorities each time that it opens a table in a bucket, also without TLS: 8 ms of 11.
    os.environ.update(SSL_CERT_FILE=os.devnull, SSL_CERT_DIR=os.devnull)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Hide all that is loaded and collected from the garbage collector, which would look through all of it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


ALONE = re.compile(r"\[(.*-)?alone(-.*)?\]$")
"""Finds the id of a test that is marked `alone`."""
TURN = pytest.StashKey["Turn"]()


class Turn:
    """A process's turn at the machine, among the processes of xdist.

    1. Each test passes the gate. One that is alone keeps it, so that none begins after it.
    2. Each test holds the machine: one that is alone by itself, the others together.
    """

    def __init__(self, folder: Path) -> None:
        self._gate, self._machine = (folder / "gate").open("w"), (folder / "machine").open("w")
        self._is_alone = False

    def begin(self, *, is_alone: bool) -> None:
        if self._is_alone:
            return  # it has kept both since the test before
        how = fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH
        fcntl.flock(self._gate, how)
        fcntl.flock(self._machine, how)
        if not is_alone:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._is_alone = is_alone

    def close(self) -> None:
        self._gate.close()
        self._machine.close()

    def end(self) -> None:
        self._is_alone = False
        for one in (self._machine, self._gate):  # a child that was forked meanwhile has them, too
            fcntl.flock(one, fcntl.LOCK_UN)


def is_alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None


@pytest.fixture(autouse=True)
def machine() -> None:
    """Is a parameter of the tests that are alone."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have the ids tell which are alone: the process that deals the tests out knows no more."""
    if metafunc.definition.get_closest_marker("alone") is not None:
        metafunc.parametrize("machine", ["alone"], indirect=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have one process run all that are alone in one go: before each, the others would have to end what they do, and wait."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "alone" if ALONE.search(nodeid) else str(super()._split_scope(nodeid))

    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[Any]:
    """Keep the other processes of xdist from the machine while a test runs that is alone. Its timeout begins afterwards."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    if (turn := item.config.stash.get(TURN, None)) is None:
        turn = item.config.stash[TURN] = Turn(item.config._tmp_path_factory.getbasetemp().parent)  # type: ignore[attr-defined]
        item.config.add_cleanup(turn.close)
    turn.begin(is_alone=is_alone(item))
    try:
        return (yield)
    finally:
        if not (is_alone(item) and is_alone(nextitem)):
            turn.end()


@pytest.fixture
def memory_pair() -> Environment:
    return dict(MEMORY)


@pytest.fixture
def embedded_pair(tmp_path: Path) -> Environment:
    return {"SMARTHOUSE_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for tests that keep to a prefix of their own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_sail(tmp_path: Path) -> Iterator[SailServer]:
    """An engine of its own for a test that may kill it."""
    server = SailServer(tmp_path / "sail")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A server for tests that keep to a bucket or a prefix of their own."""
    # There is one for each process of pytest: one thread and rare collections take a fifth less of the processor.
    server = MinioServer(tmp_path_factory.mktemp("minio"), GOGC="400", GOMAXPROCS="1")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def production_pair(redis_server: RedisServer, minio_server: MinioServer) -> Environment:
    own = f"test-{uuid.uuid4().hex}"
    return {
        "SMARTHOUSE_STATE_URL": f"{redis_server.url}?prefix={own}",
        "SMARTHOUSE_OBJECTS_URL": minio_server.url(f"tests/{own}"),
    }


def on_pairs(*names: str) -> Any:
    """Make a fixture: the settings of these pairs of stores, in turn."""

    @pytest.fixture(name="environment", params=names)
    def environment(request: pytest.FixtureRequest) -> Any:
        return request.getfixturevalue(request.param)

    return environment


environment = on_pairs("memory_pair", "embedded_pair", "production_pair")
"""The settings of every pair of stores, in turn.

A module that is about the lake's files leaves the pair in memory out: there, they lie in a folder, as on the embedded pair.
"""


on_every_pair = pytest.mark.parametrize("environment", ["memory_pair", "embedded_pair", "production_pair"], indirect=True)
on_both_pairs = pytest.mark.parametrize("environment", ["embedded_pair", "production_pair"], indirect=True)


def on_pair(name: str) -> Any:
    """Make a fixture: the settings of this pair of stores, but of each pair that a mark above names for a test.

    For modules whose tests are mostly about what does not depend on the stores.
    """

    @pytest.fixture(name="environment")
    def environment(request: pytest.FixtureRequest) -> Any:
        return request.getfixturevalue(getattr(request, "param", name))

    return environment


@pytest.fixture
def make_house(environment: Environment) -> Iterator[Callable[..., House]]:
    """Makes a house on one pair of stores, with single settings changed (without their prefix, in lower case)."""
    houses: list[House] = []

    def make(**changes: object) -> House:
        houses.append(House(Settings.from_env(changed(environment, **changes))))
        return houses[-1]

    yield make
    for house in houses:
        house.close()


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    return make_house()


@pytest.fixture(scope="session")
def idle_apps() -> dict[frozenset[tuple[str, str]], list[Flask]]:
    """Applications that no test uses now, by their settings except the stores': making one takes as long as 200 houses."""
    return defaultdict(list)


@pytest.fixture
def app_in(idle_apps: dict[frozenset[tuple[str, str]], list[Flask]]) -> Iterator[Callable[[Environment], Flask]]:
    """Makes an application around a new house with these settings, stores and all."""
    taken: list[tuple[list[Flask], Flask]] = []

    def make(whole: Environment) -> Flask:
        settings = Settings.from_env(whole)
        idle = idle_apps[frozenset((name, value) for name, value in whole.items() if name not in STORES)]
        if idle:
            app = idle.pop()
            app.extensions["smarthouse"] = House(settings)
        else:
            app = create_app(settings)
        taken.append((idle, app))
        return app

    yield make
    for idle, app in taken:
        app.extensions["smarthouse"].close()
        idle.append(app)


@pytest.fixture
def make_app(environment: Environment, app_in: Callable[[Environment], Flask]) -> Callable[..., Flask]:
    """Makes an application around a new house, with single settings changed; for tests of HTTP alone."""
    return lambda **changes: app_in(changed(environment, **changes))


@pytest.fixture
def make_client(make_app: Callable[..., Flask]) -> Callable[..., FlaskClient]:
    return lambda **changes: make_app(**changes).test_client()


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client()


def begin(environment: Environment) -> None:
    """Make an installation in empty stores, as the service does when it starts."""
    house = House(Settings.from_env(environment))
    house.installation.settle()
    house.close()


def house_of(client: FlaskClient) -> House:
    """The house behind a client's application, for tests that look at both sides."""
    house = client.application.extensions["smarthouse"]
    assert isinstance(house, House)
    return house


def agree(house: House, *homes: str) -> None:
    """Have homes consent, long ago."""
    for home in homes:
        house.states.consents.give(home, "1.0", "rows", at=datetime(2020, 1, 1, tzinfo=UTC))


def agree_keys(house: House, keys: Iterable[str]) -> None:
    """Have homes consent long ago that are only rows in the lake. keys: internal ones."""
    value = encoded_agreements((Agreement("1.0", "rows", 0),))
    house.state.commit("homes", Change(puts=tuple(Put(f"consent/{key}", value) for key in sorted(set(keys)))))


def changed(environment: Environment, **changes: object) -> Environment:
    """An environment with single settings changed (without their prefix, in lower case)."""
    return {**environment, **{f"SMARTHOUSE_{name.upper()}": str(value) for name, value in changes.items()}}


def state(
    entity_id: str = "sensor.kitchen", value: str = "21.5", at: str = "2026-03-01T12:00:00+00:00", **attributes: object
) -> Any:
    """A state as Home Assistant writes it."""
    return {"entity_id": entity_id, "state": value, "attributes": attributes, "last_changed": at, "last_updated": at}


def payload(*states: Any) -> bytes:
    """An upload's body as the integration sends it."""
    by_entity: dict[str, list[Any]] = {}
    for one in states:
        by_entity.setdefault(one["entity_id"], []).append(one)
    return zlib.compress(json.dumps(by_entity).encode())


def unzipped(body: bytes) -> dict[str, bytes]:
    """The members of an export by the ending of their names."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        return {re.sub(r"^smarthouse_extract_\d{4}-\d\d-\d\d[._]", "", name): archive.read(name) for name in archive.namelist()}


def rows(body: bytes) -> list[dict[str, Any]]:
    """The rows of a JSON export."""
    return json.loads(unzipped(body)["json"])


@dataclass
class Server:
    """The service under gunicorn, as `make run` starts it, in a process group of its own."""

    environment: Environment
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    app: str = "wsgi:app"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Server:
        self.process = Program(
            [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", self.app],
            cwd=ROOT,
            env={**os.environ, **self.environment, "PORT": str(self.port), "HOST": "127.0.0.1"},
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if requests.get(f"{self.url}/health/ready", timeout=5).ok:
                    return self
            except requests.RequestException:
                time.sleep(0.05)
        self.kill()
        raise AssertionError("the server did not become ready")

    def workers(self) -> list[int]:
        assert self.process is not None
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def kill(self) -> None:
        """`kill -9` of the whole tree."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, how)
            self.process.wait(timeout=30)
            self.process = None

    def upload(self, home: str, body: bytes, **headers: str) -> requests.Response:
        return requests.post(f"{self.url}/api/ingest/data", data=body, headers={"Home-UUID": home, **headers}, timeout=60)

    def export(self, format_: str = "json", **query: Any) -> requests.Response:
        return requests.get(f"{self.url}/api/export/{format_}", params=query, headers=self.operator, timeout=60)

    @cached_property
    def operator(self) -> dict[str, str]:
        """The header of an operator's key, which a server with `raw` privacy asks an export for."""
        if self.environment.get("SMARTHOUSE_EXPORT_PRIVACY") != "raw":
            return {}
        house = House(Settings.from_env(self.environment))
        try:
            return {"Authorization": f"Bearer {house.access.create('operator', admin=True)[1]}"}
        finally:
            house.close()


@pytest.fixture
def server(embedded_pair: Environment) -> Iterator[Server]:
    """A running server on the embedded stores, of one test's own."""
    one = Server({**embedded_pair, "SMARTHOUSE_EXPORT_PRIVACY": "raw"}).start()
    yield one
    one.kill()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server on the embedded stores, for tests that do not mind each other's data."""
    data_dir = str(tmp_path_factory.mktemp("data"))
    one = Server({"SMARTHOUSE_DATA_DIR": data_dir, "SMARTHOUSE_EXPORT_PRIVACY": "raw"}).start()
    yield one
    one.kill()

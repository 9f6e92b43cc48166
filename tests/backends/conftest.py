"""One named fixture for each backend, then one that lists them: a new backend is one of the former and a line in the latter."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import pytest
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from backends import redis_connections, redis_servers
from backends.ports import ObjectStore, StateStore
from backends.registry import open_objects, open_state
from tests.damaging import age_redis, damage_redis, damage_sqlite
from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer, MotoServer, RedisServer

Store = TypeVar("Store", StateStore, ObjectStore)


@dataclass(frozen=True)
class Backend(Generic[Store]):
    """A store under test, and what can be done to it from outside.

    open: a further handle on the same data. open_later: one that takes whoever has written nothing since for dead. files: all
    its bytes, wherever they rest. damage: one value becomes another, and its checksum stays. age: all is as an earlier version
    wrote it, without checksums. fill and break_driver: from now on there is no room, or nothing answers; None where there
    is nothing that could fill up or break.
    """

    url: str
    open: Callable[[], Store]
    shared_between_processes: bool = True
    files: Callable[[], bytes] | None = None
    fill: Callable[[], None] | None = None
    break_driver: Callable[[], None] | None = None
    open_later: Callable[[], Store] | None = None
    damage: Callable[[bytes, bytes], None] | None = None
    age: Callable[[], None] | None = None


@pytest.fixture
def memory_state() -> Backend[StateStore]:
    store = open_state("memory://")
    return Backend("memory://", lambda: store, shared_between_processes=False)


@pytest.fixture
def sqlite_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend[StateStore]]:
    path = tmp_path / "state.db"
    handles = _Handles(open_state, f"sqlite://{path}?timeout_seconds=10")

    def fill() -> None:
        connect = sqlite3.connect

        def connect_to_a_small_disk(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.execute("PRAGMA max_page_count = 1")
            return connection

        handles.close()
        monkeypatch.setattr(sqlite3, "connect", connect_to_a_small_disk)

    def break_driver() -> None:
        handles.close()
        path.write_bytes(b"no database at all" * 1000)

    def age() -> None:
        with closing(sqlite3.connect(path)) as other:
            other.executescript("UPDATE documents SET checksum = NULL; UPDATE entries SET checksum = NULL")

    yield Backend(
        handles.url,
        handles.open,
        files=lambda: _bytes_below(tmp_path),
        fill=fill,
        break_driver=break_driver,
        damage=lambda old, new: damage_sqlite(path, old, new),
        age=age,
    )
    handles.close()


@pytest.fixture
def redis_state(redis_server: RedisServer) -> Iterator[Backend[StateStore]]:
    prefix = uuid.uuid4().hex
    handles = _Handles(open_state, f"{redis_server.url}?prefix={prefix}")
    nowhere = _Handles(open_state, "redis://127.0.0.1:1/0")
    opened = [handles]

    def fill() -> None:
        with redis_server.client() as client:
            client.config_set("maxmemory", 1)

    yield Backend(
        handles.url,
        lambda: opened[-1].open(),
        files=lambda: _bytes_below(redis_server.folder),
        fill=fill,
        break_driver=lambda: opened.append(nowhere),
        damage=lambda old, new: damage_redis(redis_server.client(), prefix, old, new),
        age=lambda: age_redis(redis_server.client(), prefix),
    )
    handles.close()
    with redis_server.client() as client:
        client.config_set("maxmemory", 0)


@pytest.fixture
def fakeredis_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend[StateStore]]:
    """Redis in this process. It keeps no files, and what is asked of a server's files is answered for it."""
    fakeredis = pytest.importorskip("fakeredis", reason="fakeredis is missing: pip install 'fakeredis[lua]'")
    server, paused, held = fakeredis.FakeServer(), threading.Lock(), list[bool]()

    class Fake(fakeredis.FakeRedis):
        def execute_command(self, *words: Any, **options: Any) -> Any:
            if words[0] == "INFO":
                return {"redis_version": "fake", "role": "master", "master_replid": "", "master_repl_offset": 0}
            if words[0] == "CLIENT PAUSE":
                return bool(held) or held.append(paused.acquire())
            if words[0] == "CLIENT UNPAUSE":
                held.clear()
                return paused.release()
            with paused if words[0].startswith("EVAL") else nullcontext():
                return super().execute_command(*words, **options)

    for place in ("connect", "client_of"):
        monkeypatch.setattr(redis_connections, place, lambda *_: Fake(server=server))
    monkeypatch.setattr(redis_servers, "client_of", lambda *_: Fake(server=server))
    handles = _Handles(open_state, "redis://fake/0")
    yield Backend(
        handles.url,
        handles.open,
        shared_between_processes=False,
        break_driver=lambda: setattr(server, "connected", False),
        damage=lambda old, new: damage_redis(Fake(server=server), "smarthouse", old, new),
    )
    handles.close()


@pytest.fixture
def memory_objects() -> Iterator[Backend[ObjectStore]]:
    store = open_objects("memory://")
    yield Backend("memory://", lambda: store, shared_between_processes=False)
    store.close()


@pytest.fixture
def file_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend[ObjectStore]]:
    root = tmp_path / "objects"
    handles = _Handles(open_objects, f"file://{root}")

    def fill() -> None:
        def write(handle: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", write)

    def break_driver() -> None:
        if root.exists():
            root.rename(tmp_path / "lost")
        root.write_bytes(b"no folder at all")

    yield Backend(
        handles.url,
        handles.open,
        files=lambda: _bytes_below(tmp_path),
        fill=fill,
        break_driver=break_driver,
        open_later=handles.open,
    )
    handles.close()


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    server = MotoServer(tmp_path_factory.mktemp("moto"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def minio_objects(minio_server: MinioServer) -> Iterator[Backend[ObjectStore]]:
    bucket = f"test-{uuid.uuid4().hex}"
    credentials = StaticProvider(ACCESS_KEY, SECRET_KEY)

    def fill() -> None:
        MinioAdmin(endpoint=minio_server.endpoint, secure=False, credentials=credentials).bucket_quota_set(bucket, 1)

    def files() -> bytes:
        """But for MinIO's trash, which it empties for the first time when it has run for five minutes."""
        system = minio_server.data / ".minio.sys"
        waiting = {path for path in (system / "tmp").iterdir() if path.name != ".trash"}
        return b"".join(map(_bytes_below, (minio_server.data / bucket, system / "multipart", *sorted(waiting))))

    yield from _s3_objects(minio_server.endpoint, f"{bucket}/smart/house", files=files, fill=fill)


@pytest.fixture
def moto_objects(moto_server: MotoServer) -> Iterator[Backend[ObjectStore]]:
    """The other S3. It keeps its bytes in memory, is never full, and says of every upload in parts that it began in 2010."""
    yield from _s3_objects(moto_server.endpoint, f"test-{uuid.uuid4().hex}", "&abandoned_after_seconds=1e9")


def _s3_objects(endpoint: str, place: str, options: str = "", **outside: Any) -> Iterator[Backend[ObjectStore]]:
    login = f"{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}"
    here, later, nowhere = (
        _Handles(open_objects, f"minio://{login}@{server}/{place}?secure=0{options}")
        for server, options in ((endpoint, options), (endpoint, "&abandoned_after_seconds=0"), ("127.0.0.1:1", options))
    )
    opened = [here]
    yield Backend(
        here.url,
        lambda: opened[-1].open(),
        break_driver=lambda: opened.append(nowhere),
        open_later=later.open,
        **outside,
    )
    for handles in (here, later, nowhere):
        handles.close()


@pytest.fixture(params=["memory_state", "sqlite_state", "fakeredis_state", "redis_state"])
def state_backend(request: pytest.FixtureRequest) -> Backend[StateStore]:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["memory_objects", "file_objects", "minio_objects", "moto_objects"])
def objects_backend(request: pytest.FixtureRequest) -> Backend[ObjectStore]:
    return request.getfixturevalue(request.param)


@pytest.fixture
def state(state_backend: Backend[StateStore]) -> StateStore:
    return state_backend.open()


@pytest.fixture
def objects(objects_backend: Backend[ObjectStore]) -> ObjectStore:
    return objects_backend.open()


@pytest.fixture
def shared_state(state_backend: Backend[StateStore]) -> Backend[StateStore]:
    """The state backends whose data several processes can reach."""
    if not state_backend.shared_between_processes:
        pytest.skip("its data belongs to one process")
    return state_backend


@pytest.fixture
def shared_objects(objects_backend: Backend[ObjectStore]) -> Backend[ObjectStore]:
    """The object backends whose data several processes can reach."""
    if not objects_backend.shared_between_processes:
        pytest.skip("its data belongs to one process")
    return objects_backend


@pytest.fixture(scope="session")
def processes() -> Any:
    """Processes that are cheap to start and inherit nothing from this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "sqlite3", "redis", "minio"])
    return context


class _Handles(Generic[Store]):
    """Every handle that a test opened, to be closed after it."""

    def __init__(self, make: Callable[[str], Store], url: str) -> None:
        self.url = url
        self._make = make
        self._opened: list[Store] = []

    def open(self) -> Store:
        self._opened.append(self._make(self.url))
        return self._opened[-1]

    def close(self) -> None:
        for store in self._opened:
            store.close()


def _bytes_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())

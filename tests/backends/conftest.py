"""One named fixture for each backend, then one that lists them: a new backend is one of the former and a line in the latter."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from backends.ports import ObjectStore, StateStore
from backends.registry import open_objects, open_state

Store = TypeVar("Store", StateStore, ObjectStore)


@dataclass(frozen=True)
class Backend(Generic[Store]):
    """A store under test, and what can be done to it from outside.

    open: a further handle on the same data. files: all its bytes, wherever they rest. fill and break_driver: from now on
    there is no room, or nothing answers; None where there is nothing that could fill up or break.
    """

    url: str
    open: Callable[[], Store]
    shared_between_processes: bool = True
    files: Callable[[], bytes] | None = None
    fill: Callable[[], None] | None = None
    break_driver: Callable[[], None] | None = None


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

    yield Backend(handles.url, handles.open, files=lambda: _bytes_below(tmp_path), fill=fill, break_driver=break_driver)
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

    yield Backend(handles.url, handles.open, files=lambda: _bytes_below(tmp_path), fill=fill, break_driver=break_driver)
    handles.close()


@pytest.fixture(params=["memory_state", "sqlite_state"])
def state_backend(request: pytest.FixtureRequest) -> Backend[StateStore]:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["memory_objects", "file_objects"])
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
    context.set_forkserver_preload(["pytest", "sqlite3"])
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

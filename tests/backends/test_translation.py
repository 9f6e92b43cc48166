"""A driver's errors around the methods of a backend: which are translated, and which pass."""

from __future__ import annotations

import errno
import gc
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from inspect import signature

import pytest
from redis.exceptions import AuthenticationError

from backends import faults
from backends.checks import NotAllowed
from backends.faults import TranslatesFaults
from backends.own_files import ShowsFiles
from backends.ports import (
    Conflict,
    KeepsReserve,
    KeepsSums,
    NamesLogs,
    ObjectStore,
    SignsUrls,
    StateStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from backends.registry import open_objects, open_state


class Driven(TranslatesFaults, ObjectStore):
    """A store whose driver raises the error that it is given, when it is told to."""

    DRIVER_ERRORS = (OSError, ValueError)

    def __init__(self, error: Exception) -> None:
        self.error, self.kept, self.closed = error, list[bytes](), 0

    def fault_of(self, error: Exception, method: str) -> StoreUnavailable:
        return StoreUnavailable(method)

    def put(self, key: str, chunks: Iterable[bytes], *, if_absent: bool = False) -> int:
        self.kept += chunks
        raise self.error

    def get(self, key: str) -> bytes:
        raise self.error

    def stream(self, key: str, start: int = 0, length: int | None = None, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        def chunks() -> Iterator[bytes]:
            try:
                yield b"begun"
                yield b"first"
                raise self.error
            finally:
                self.closed += 1

        begun = chunks()
        next(begun)
        return begun

    def list(self, prefix: str = "") -> Iterator[object]:
        raise self.error
        yield

    def delete(self, keys: Iterable[str]) -> None:
        self.kept += [key.encode() for key in keys]
        raise self.error

    def sweep(self) -> int:
        return self._refused()

    def check(self) -> str:
        return "well"

    def table_location(self, name: str):
        raise self.error

    def sweep_table(self, name: str, dead: Iterable[str] = ()) -> int:
        self.kept += [path.encode() for path in dead]
        raise self.error

    def list_table(self, name: str, prefix: str = "") -> Iterator[object]:
        raise self.error
        yield

    def stream_table(self, name: str, path: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        raise self.error

    def put_table(self, name: str, path: str, chunks: Iterable[bytes]) -> int:
        self.kept += chunks
        raise self.error

    def _refused(self) -> int:
        raise self.error


def failing(error: Exception) -> Iterator[bytes]:
    yield b"one"
    raise error


CALLS = {
    "put": lambda store: store.put("a/key", [b"x"]),
    "put if absent": lambda store: store.put("a/key", [b"x"], if_absent=True),
    "get": lambda store: store.get("a/key"),
    "stream": lambda store: [*store.stream("a/key")],
    "list": lambda store: [*store.list()],
    "delete": lambda store: store.delete(["a/key"]),
    "sweep": lambda store: store.sweep(),
    "sweep_table": lambda store: store.sweep_table("table"),
    "list_table": lambda store: [*store.list_table("table")],
    "stream_table": lambda store: [*store.stream_table("table", "file")],
    "put_table": lambda store: store.put_table("table", "file", [b"x"]),
    "table_location": lambda store: store.table_location("table"),
}


@pytest.mark.parametrize("told", CALLS)
def test_a_drivers_error_is_translated_and_stays_the_cause(told):
    error = OSError("the driver's")
    with pytest.raises(StoreUnavailable) as raised:
        CALLS[told](Driven(error))
    assert str(raised.value) == told.partition(" ")[0]
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [NotAllowed("no key"), Conflict("there is one"), RuntimeError("a fault of ours")])
@pytest.mark.parametrize("told", CALLS)
def test_what_the_backend_says_itself_passes(told, error):
    with pytest.raises(type(error)) as raised:
        CALLS[told](Driven(error))
    assert raised.value is error


@pytest.mark.parametrize(
    "ask",
    [
        lambda store, given: store.put("a/key", given),
        lambda store, given: store.put("a/key", chunks=given, if_absent=True),
        lambda store, given: store.delete(one.decode() for one in given),
        lambda store, given: store.put_table("table", "file", given),
        lambda store, given: store.sweep_table("table", dead=(one.decode() for one in given)),
    ],
)
def test_what_the_callers_own_iterator_raises_passes(ask):
    error = OSError("the caller's")
    store = Driven(OSError("the driver's"))
    with pytest.raises(OSError, match="the caller's") as raised:
        ask(store, failing(error))
    assert raised.value is error


def test_a_driver_that_fails_after_the_callers_iterator_is_translated():
    store = Driven(OSError("the driver's"))
    with pytest.raises(StoreUnavailable):
        store.put("a/key", (b"x" for _ in range(3)))
    assert store.kept == [b"x"] * 3


def test_a_stream_that_nobody_reads_is_closed_all_the_same():
    store = Driven(OSError())
    store.stream("a/key")
    gc.collect()
    assert store.closed == 1
    store.stream("a/key").close()
    assert store.closed == 2


def test_a_method_that_fails_in_nothing_gives_its_answer():
    assert Driven(OSError()).check() == "well"


def test_the_guard_knows_which_methods_take_iterables_and_which_give_iterators():
    ports = (StateStore, ObjectStore, NamesLogs, SignsUrls, KeepsReserve, KeepsSums, ShowsFiles)
    methods = [one for port in ports for base in reversed(port.__mro__[:-2]) for one in vars(base).items()]
    signatures = {name: signature(method) for name, method in methods if callable(method)}
    take = {name for name, one in signatures.items() if any("Iterable" in str(p.annotation) for p in one.parameters.values())}
    give = {name for name, one in signatures.items() if "Iterator" in str(one.return_annotation)}
    assert (take, give) == (set(faults._TAKE_ITERABLES), set(faults._GIVE_ITERATORS))


def _raised(error: Exception) -> StoreError:
    try:
        try:
            raise error
        except Exception as met:
            raise StoreUnavailable("/secret/path: 10.0.0.7 failed") from met
    except StoreError as fault:
        return fault


def _readonly() -> Exception:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA query_only = ON")
        with pytest.raises(sqlite3.OperationalError) as met:
            connection.execute("CREATE TABLE x (y)")
    return met.value


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda: StoreFull("/secret/path"), "it is full"),
        (lambda: StoreUnavailable("/secret/path"), "it failed"),
        (lambda: _raised(OSError(errno.EROFS, "read-only", "/secret/path")), "read-only file system"),
        (lambda: _raised(_readonly()), "its file or its disk is read-only"),
        (lambda: _raised(sqlite3.DatabaseError("/secret/path")), "SQLite cannot work"),
        (lambda: _raised(AuthenticationError("user x")), "authentication error"),
    ],
)
def test_why_a_store_failed_is_told_without_a_path_or_an_address(fault, words):
    assert faults.in_short(fault()) == words


@pytest.mark.parametrize(
    ("open_store", "words"),
    [
        (lambda: open_state("redis://127.0.0.1:1/0"), "connection refused"),
        (lambda: open_objects("minio://key:secret@127.0.0.1:1/bucket"), "connection refused"),
        (lambda: open_objects("file:///proc/1/nowhere"), "no such file or directory"),
        (lambda: open_state("sqlite:///proc/1/nowhere/state.db"), "no such file or directory"),
    ],
)
def test_why_a_real_store_cannot_be_reached_is_told(open_store, words):
    with closing(open_store()) as store, pytest.raises(StoreUnavailable) as met:
        store.check()
    assert faults.in_short(met.value) == words

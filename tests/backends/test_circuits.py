"""What a store that hangs costs: one time-out, and then an answer at once until it is back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest

from backends import circuits
from backends.circuits import Circuit
from backends.ports import Change, Conflict, Put, StateStore, StoreFull, StoreUnavailable
from backends.registry import open_objects, open_state
from tests.servers import MinioServer, RedisServer
from tests.sqlite_locks import locked

ONCE = Change(puts=(Put("key", b"value"),))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuits, "_HUNG_SECONDS", 0.02)
    monkeypatch.setattr(circuits, "_PAUSE_SECONDS", 0.05)


def fail(circuit: Circuit, seconds: float = 0.03, kind: type[Exception] = StoreUnavailable) -> None:
    with suppress(kind), circuit.call():
        time.sleep(seconds)
        raise kind("as it says")


def is_refused(circuit: Circuit) -> bool:
    try:
        with circuit.call():
            return False
    except StoreUnavailable:
        return True


@contextmanager
def probing(circuit: Circuit) -> Iterator[Event]:
    """A call that goes on until the event is set."""
    begun, end = Event(), Event()

    def ask() -> None:
        with circuit.call():
            begun.set()
            end.wait(10)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        begun.wait(10)
        yield end
        end.set()
        asked.result()


def test_after_a_wait_in_vain_one_call_at_a_time_asks_until_one_succeeds() -> None:
    circuit = Circuit()
    fail(circuit)
    assert is_refused(circuit)
    time.sleep(0.06)
    fail(circuit)
    assert is_refused(circuit)
    time.sleep(0.06)
    with probing(circuit):
        assert is_refused(circuit)
    assert not is_refused(circuit)


@pytest.mark.parametrize(
    ("seconds", "kind"), [(0.0, StoreUnavailable), (0.03, StoreFull), (0.03, Conflict), (0.03, ValueError)]
)
def test_an_answer_is_no_wait_in_vain(seconds: float, kind: type[Exception]) -> None:
    circuit = Circuit()
    fail(circuit, seconds, kind)
    assert not is_refused(circuit)


def test_a_call_whose_caller_failed_leaves_the_next_one_to_ask() -> None:
    circuit = Circuit()
    fail(circuit)
    time.sleep(0.06)
    fail(circuit, 0, KeyError)
    assert not is_refused(circuit)


def seconds_of(ask: object) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        ask()  # type: ignore[operator]
    return time.monotonic() - began


def first_wait(ask: object) -> float:
    """The time of the first call that fails. A server with many threads may answer another one after it was stopped."""
    for _ in range(100):
        began = time.monotonic()
        try:
            ask()  # type: ignore[operator]
        except StoreUnavailable:
            return time.monotonic() - began
    raise AssertionError("the server goes on")


def test_no_commit_waits_longer_than_the_timeout_and_the_next_none_and_readers_go_on(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(open_state(f"sqlite://{path}?timeout_seconds=0.4")) as store:
        store.commit("space", ONCE)
        with locked(path):
            with ThreadPoolExecutor(12) as pool:
                waited = list(pool.map(lambda _: seconds_of(lambda: store.commit("space", ONCE)), range(12)))
            assert max(waited) < 0.8
            assert min(seconds_of(lambda: store.commit("space", ONCE)) for _ in range(3)) < 0.2
            assert store.get("space", "key") is not None
        time.sleep(0.06)
        store.commit("space", ONCE)


def assert_quick(store: StateStore) -> None:
    assert first_wait(lambda: store.get("space", "key")) >= 0.2
    assert seconds_of(lambda: store.get("space", "key")) < 0.1
    assert seconds_of(lambda: store.commit("space", ONCE)) < 0.1
    assert seconds_of(store.free_bytes) < 0.1


def test_a_redis_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        with closing(open_state(f"{server.url}?timeout_seconds=0.2")) as store:
            store.commit("space", ONCE)
            server.pause()
            assert_quick(store)
            server.resume()
            time.sleep(0.06)
            assert store.get("space", "key") is not None
    finally:
        server.kill()


def test_a_minio_that_hangs_is_waited_for_once_by_each_way_of_reading(tmp_path: Path) -> None:
    server = MinioServer(tmp_path)
    server.start()
    try:
        with closing(open_objects(f"{server.url('hangs')}&timeout_seconds=0.2")) as store:
            store.put("key", [b"value"])
            server.pause()
            asks = (lambda: store.get("key"), lambda: list(store.list()), lambda: list(store.stream("key")))
            assert first_wait(asks[0]) >= 0.2
            assert max(map(seconds_of, asks)) < 0.1
            server.resume()
            store.check()
            assert store.get("key") == b"value"
    finally:
        server.kill()

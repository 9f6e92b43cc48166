"""What the stores promise when their driver fails or their disk is full, and that a scrub is one."""

from __future__ import annotations

import random
import time

import pytest

from backends.ports import Change, ObjectStore, Put, StateStore, StoreFull, StoreUnavailable

STATE_CALLS = {
    "get": lambda store: store.get("home", "key"),
    "scan": lambda store: store.scan("home"),
    "read": lambda store: store.read("home", "log"),
    "last_sequence": lambda store: store.last_sequence("home", "log"),
    "commit": lambda store: store.commit("home", Change(puts=(Put("key", b""),))),
    "erase": lambda store: store.erase("home"),
    "scrub": lambda store: store.scrub(),
    "check": lambda store: store.check(),
    "spaces": lambda store: list(store.spaces()),
    "dump": lambda store: list(store.dump()),
}
MEND = {"load"}
GOES_ON = {"now"}
"""Without its driver, a store goes on with the time that it knows."""

OBJECT_CALLS = {
    "put": lambda store: store.put("a/key", [b"value"]),
    "get": lambda store: store.get("a/key"),
    "stream": lambda store: list(store.stream("a/key")),
    "list": lambda store: list(store.list()),
    "delete": lambda store: store.delete(["a/key"]),
    "sweep": lambda store: store.sweep(),
    "check": lambda store: store.check(),
    "sweep_table": lambda store: store.sweep_table("a/table"),
    "list_table": lambda store: list(store.list_table("a/table")),
    "stream_table": lambda store: list(store.stream_table("a/table", "a/file")),
    "put_table": lambda store: store.put_table("a/table", "a/file", [b"value"]),
}
ASKS_NO_DRIVER = {"table_location"}


def test_every_method_of_the_ports_is_broken_below():
    assert set(STATE_CALLS) | MEND | GOES_ON == StateStore.__abstractmethods__
    assert set(OBJECT_CALLS) | ASKS_NO_DRIVER == ObjectStore.__abstractmethods__


@pytest.mark.parametrize("name", STATE_CALLS)
def test_a_state_store_whose_driver_fails_is_unavailable(state_backend, name):
    if state_backend.break_driver is None:
        pytest.skip("it has no driver")
    state_backend.open().put("home", "key", b"value")
    state_backend.break_driver()
    with pytest.raises(StoreUnavailable):
        STATE_CALLS[name](state_backend.open())


@pytest.mark.parametrize("name", OBJECT_CALLS)
def test_an_object_store_whose_driver_fails_is_unavailable(objects_backend, name):
    if objects_backend.break_driver is None:
        pytest.skip("it has no driver")
    objects_backend.open().put("a/key", [b"value"])
    objects_backend.break_driver()
    with pytest.raises(StoreUnavailable):
        OBJECT_CALLS[name](objects_backend.open())


def test_a_full_state_store_says_so_and_is_still_read(state_backend):
    if state_backend.fill is None:
        pytest.skip("it is never full")
    store = state_backend.open()
    store.put("home", "key", b"value")
    state_backend.fill()
    with pytest.raises(StoreFull):
        store.commit("home", Change(puts=(Put("key", b"x" * 50_000),), appends=(("log", b""),)))
    assert store.get("home", "key").value == b"value"
    assert store.read("home", "log") == []


def test_a_full_object_store_says_so_is_still_read_and_can_be_emptied(objects_backend):
    if objects_backend.fill is None:
        pytest.skip("it is never full")
    store = objects_backend.open()
    store.put("a/key", [b"value"])
    objects_backend.fill()
    for key in ("a/key", "b"):
        with pytest.raises(StoreFull):
            store.put(key, [b"new"])
    assert store.get("a/key") == b"value"
    store.delete(["a/key"])
    assert list(store.list()) == []
    assert store.sweep() == 0


def test_a_scrub_leaves_no_byte_of_what_is_gone(state_backend):
    if state_backend.files is None:
        pytest.skip("it keeps no files")
    store, alive = state_backend.open(), set()
    for number in range(1500):
        key = f"key-{random.randrange(150)}"
        value = b"<%06d>" % number * random.choice([1, 10, 100, 1000])
        kind = random.random()
        if kind < 0.1:
            store.commit("home", Change(deletes=(key,)))
        elif kind < 0.2:
            store.put("home", f"brief-{number}", value, ttl_seconds=random.choice([0, 0.01]))
        elif kind < 0.3:
            (sequence,) = store.commit("home", Change(appends=(("log", value),))).sequences
            store.commit("home", Change(drops=(("log", sequence - random.randrange(3)),)))
        else:
            store.put("home", key, value)
    time.sleep(0.02)
    alive = {document.value[:8] for _, document in store.scan("home")} | {
        entry.value[:8] for entry in store.read("home", "log")
    }
    assert alive
    store.scrub()
    files = state_backend.files()
    assert [number for number in range(1500) if b"<%06d>" % number in files and b"<%06d>" % number not in alive] == []
    assert {document.value[:8] for _, document in store.scan("home")} <= alive

"""What `StateStore` promises of dumps, held against every backend: all that it holds, of one moment, in any other store."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from backends.dumps import Dumped, DumpedDocument, DumpedEntry, DumpedLog, DumpedSpace
from backends.memory import MemoryState
from backends.ports import Change, Conflict, Document, Entry, Put, StateStore, StoreUnavailable

ODD = ["a", "a/b", "%", "%25", "{", "}", "{a}", "e\u0301", "😀", "\n", ":", "a:documents"]


def filled(store: StateStore) -> StateStore:
    """A store with documents, logs, dropped entries, and a space that was erased."""
    for name in ODD:
        store.commit(name, Change(puts=(Put(name, name.encode()),), appends=((name, b"\0"), (name, b"\xff"))))
    store.commit("a", Change(drops=(("a", 2),), puts=(Put("gone", b""),)))
    store.commit("a", Change(deletes=("gone",)))
    for begin in range(0, 1200, 600):
        numbers = range(begin, begin + 600)
        puts = tuple(Put(f"{number:04d}", b"%d" % number) for number in numbers)
        store.commit("many", Change(puts=puts, appends=tuple(("log", b"%d" % number) for number in numbers)))
    store.put("a", "lasting", b"an hour", ttl_seconds=3600)
    store.put("a", "over", b"", ttl_seconds=-1)
    store.put("erased", "key", b"")
    store.erase("erased")
    return store


def content(dump: Iterator[Dumped]) -> dict[str, object]:
    """A dump as its reader must understand it."""
    spaces = dict[str, object]()
    here, log = dict[object, object](), ""
    for one in dump:
        match one:
            case DumpedSpace():
                here = spaces[one.space] = {"version": one.version}
            case DumpedDocument():
                ttl = None if one.ttl_seconds is None else round(one.ttl_seconds, -2)
                here["document", one.key] = replace(one, ttl_seconds=ttl)
            case DumpedLog():
                log = one.log
                here["last", log] = one.sequence
            case DumpedEntry():
                here["entry", log, one.sequence] = one.value
    return {space: held for space, held in spaces.items() if held["version"]}


@pytest.fixture
def other() -> StateStore:
    return MemoryState("memory://")


def test_a_dump_holds_every_space_document_log_and_entry(state: StateStore) -> None:
    found = content(filled(state).dump())
    assert set(found) == {*ODD, "many"}
    for name in ODD:
        document = state.get(name, name)
        assert document is not None
        assert found[name]["document", name] == DumpedDocument(name, name.encode(), document.version)
    assert found["many"]["last", "log"] == 1200
    assert sum(1 for kind in found["many"] if kind[0] == "document") == 1200
    assert found["a"]["document", "lasting"].ttl_seconds == 3600
    assert not {("document", "over"), ("document", "gone"), ("entry", "a", 2)} & found["a"].keys()
    assert found["a"]["last", "a"] == 2


def test_a_loaded_dump_comes_out_as_it_went_in(state: StateStore, other: StateStore) -> None:
    state.put("before", "key", b"is replaced")
    state.load(filled(other).dump())
    assert content(state.dump()) == content(other.dump())
    assert state.get("before", "key") is None
    back = MemoryState("memory://")
    back.load(state.dump())
    assert content(back.dump()) == content(other.dump())


def test_versions_and_sequences_go_on_after_those_of_a_dump(state: StateStore, other: StateStore) -> None:
    filled(other)
    held = other.get("many", "1199")
    state.load(other.dump())
    assert state.get("many", "1199") == held
    committed = state.commit(
        "many", Change(expect={"1199": held.version}, puts=(Put("1199", b"new"),), appends=(("log", b""),))
    )
    assert committed.version > held.version
    assert committed.sequences == (1201,)
    assert state.commit("a", Change(appends=(("a", b""),))).sequences == (3,)
    assert state.read("a", "a") == [Entry(1, b"\0"), Entry(3, b"")]
    with pytest.raises(Conflict):
        state.put("many", "1198", b"", expect=held.version + 1)
    assert [key for key, _ in state.scan("many", after="1197")] == ["1198", "1199"]


def test_lifetimes_go_on_in_the_store_that_loads_them(state: StateStore) -> None:
    brief = [DumpedSpace("a", 7), DumpedDocument("brief", b"", 3, 0.05), DumpedDocument("long", b"x", 7, 60)]
    state.load(brief)
    assert state.get("a", "long") == Document(b"x", 7)
    time.sleep(0.06)
    assert state.get("a", "brief") is None


def test_a_space_that_comes_again_replaces_what_came_of_it(state: StateStore) -> None:
    first = [
        DumpedSpace("a", 5),
        DumpedDocument("old", b"", 5),
        DumpedLog("log", 9),
        DumpedEntry(4, b"old"),
        DumpedLog("more", 2),
    ]
    second = [DumpedSpace("a", 8), DumpedDocument("new", b"", 8), DumpedLog("log", 9), DumpedEntry(9, b"new")]
    gone = [DumpedSpace("b", 3), DumpedDocument("key", b"", 3), DumpedSpace("b", 0)]
    state.load([*first, *gone, *second])
    assert [key for key, _ in state.scan("a")] == ["new"]
    assert state.read("a", "log") == [Entry(9, b"new")]
    assert (state.last_sequence("a", "log"), state.last_sequence("a", "more")) == (9, 0)
    assert list(state.spaces()) == ["a"]


def test_a_store_tells_its_spaces_and_whether_it_is_empty(state: StateStore) -> None:
    assert state.is_empty()
    assert list(state.spaces()) == []
    state.get("read", "key")
    assert state.is_empty()
    state.put("leases", "key", b"")
    assert not state.is_empty()
    assert state.is_empty(besides={"leases"})
    filled(state)
    assert sorted(state.spaces()) == sorted({*ODD, "many", "leases"})
    assert not state.is_empty(besides={"leases"})


def test_a_load_whose_dump_fails_can_be_repeated(state: StateStore, other: StateStore) -> None:
    def broken() -> Iterator[Dumped]:
        yield DumpedSpace("a", 5)
        yield DumpedDocument("old", b"", 5)
        raise KeyError("the caller's")

    with pytest.raises(KeyError, match="the caller's"):
        state.load(broken())
    state.load(filled(other).dump())
    assert content(state.dump()) == content(other.dump())


def test_a_dump_is_of_one_moment_though_others_write(state: StateStore) -> None:
    """Two spaces count up together, the second after the first: at no moment is the second ahead, nor far behind."""
    state.commit("first", Change(puts=tuple(Put(f"filling {number}", b"x" * 50) for number in range(1500))))
    ended = threading.Event()

    def count_up() -> None:
        for number in range(1, 1 << 20):
            if ended.is_set():
                return
            for space in ("first", "second"):
                state.commit(space, Change(puts=(Put("count", b"%d" % number),), appends=(("log", b"%d" % number),)))

    writer = threading.Thread(target=count_up)
    writer.start()
    try:
        for _ in range(3):
            found = content(state.dump())
            one, two = (
                int(found.get(space, {}).get(("document", "count"), Put("", b"0")).value) for space in ("first", "second")
            )
            assert one - two in (0, 1)
            assert (found.get("first", {}).get(("last", "log"), 0), found.get("second", {}).get(("last", "log"), 0)) == (
                one,
                two,
            )
    finally:
        ended.set()
        writer.join()


def test_what_is_around_a_dump_covers_its_moment(state: StateStore) -> None:
    """Whoever holds the writers back in it sees the same before and after, and the dump has just that."""
    turn, ended, held = threading.Lock(), threading.Event(), list[int]()

    def count_up() -> None:
        while not ended.is_set():
            with turn:
                state.commit("space", Change(appends=(("log", b""),)))

    @contextmanager
    def around() -> Iterator[None]:
        with turn:
            held.append(state.last_sequence("space", "log"))
            yield
            assert state.last_sequence("space", "log") == held[-1]

    writer = threading.Thread(target=count_up)
    writer.start()
    try:
        for _ in range(5):
            found = content(state.dump(around()))
            assert found.get("space", {}).get(("last", "log"), 0) == held[-1]
    finally:
        ended.set()
        writer.join()


def test_writers_go_on_after_a_dump_that_was_broken_off(state: StateStore) -> None:
    filled(state)
    dump = state.dump()
    next(dump)
    dump.close()
    begun_at = time.monotonic()
    state.put("a", "key", b"")
    assert time.monotonic() - begun_at < 1


def test_a_broken_store_is_mended_by_a_load_or_says_that_it_is_broken(state_backend, other: StateStore) -> None:
    if state_backend.break_driver is None:
        pytest.skip("it has no driver")
    state_backend.open().put("home", "key", b"value")
    state_backend.break_driver()
    store = state_backend.open()
    with suppress(StoreUnavailable):
        store.load(filled(other).dump())
        assert content(store.dump()) == content(other.dump())
        assert random.choice(ODD) in store.spaces()

"""What `KeepsSums` promises, held against every backend that has it: nothing damaged is given out as if it were whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.dumps import DumpedDocument, DumpedEntry
from backends.memory import MemoryState
from backends.ports import Add, Change, Entry, KeepsSums, Part, PartDamaged, Put, StateStore, StoreDamaged

SECRET = "5eed" * 8
HOME = f"kept/{SECRET}"


@pytest.fixture
def backend(state_backend):
    if state_backend.damage is None:
        pytest.skip("it keeps no checksums")
    return state_backend


@pytest.fixture
def filled(backend) -> StateStore:
    """A store with two documents, a counter and a log."""
    store = backend.open()
    assert isinstance(store, KeepsSums)
    store.commit(
        "homes",
        Change(
            puts=(Put(HOME, b"the value"), Put("other", b"another", ttl_seconds=3600)),
            adds=(Add("count", (12, -7)),),
            appends=(("log", b"entry one"), ("log", b"entry two")),
        ),
    )
    return store


DAMAGES = {
    "document": (b"the value", b"the walue", Part("homes", HOME)),
    "expiring": (b"another", b"anothes", Part("homes", "other")),
    "counter": (b"12 -7", b"12 -5", Part("homes", "count")),
    "entry": (b"entry two", b"entry tvo", Part("homes", "log", 2)),
}


@pytest.fixture(params=DAMAGES)
def damaged(request, backend, filled) -> Part:
    old, new, part = DAMAGES[request.param]
    assert list(filled.look_through()) == filled.damaged() == []
    backend.damage(old, new)
    return part


def readers(store: StateStore, part: Part) -> list[Callable[[], object]]:
    if part.sequence is not None:
        return [lambda: store.read(part.space, part.name), lambda: list(store.dump())]
    return [
        lambda: store.get(part.space, part.name),
        lambda: store.get_many(part.space, ["nothing", part.name]),
        lambda: store.scan(part.space),
        lambda: list(store.dump()),
    ]


def test_whatever_reads_a_damaged_part_names_it_and_not_its_value_or_its_home(filled, damaged) -> None:
    for read in readers(filled, damaged):
        with pytest.raises(StoreDamaged) as caught:
            read()
        told = str(caught.value)
        assert damaged.space in told
        assert "restore a backup" in told
        assert not any(one in told for one in (SECRET, "value", "another", "-7", "entry two"))
    assert list(filled.look_through()) == [damaged]
    assert filled.damaged() == [damaged]


def test_all_else_goes_on_and_a_new_value_ends_the_damage(filled, damaged) -> None:
    filled.put("homes", "new", b"1")
    assert filled.get("homes", "new").value == b"1"
    with pytest.raises(PartDamaged):
        readers(filled, damaged)[0]()
    if damaged.sequence is None:
        filled.put("homes", damaged.name, b"1")
    else:
        assert filled.read("homes", "log", limit=1) == [Entry(1, b"entry one")]
        filled.commit("homes", Change(drops=(("log", 2),)))
    for read in readers(filled, damaged):
        read()
    assert list(filled.look_through()) == filled.damaged() == []


def test_a_commit_adds_nothing_to_a_damaged_counter(backend, filled) -> None:
    assert filled.get("homes", "count").value == b"12 -7"
    filled.commit("homes", Change(adds=(Add("count", (1, 1)),)))
    backend.damage(b"13 -6", b"93 -6")
    before = filled.last_sequence("homes", "log")
    with pytest.raises(PartDamaged, match="document homes/count is damaged"):
        filled.commit("homes", Change(adds=(Add("count", (1, 1)),), appends=(("log", b"more"),)))
    assert filled.last_sequence("homes", "log") == before
    backend.damage(b"93 -6", b"13 -6")
    filled.commit("homes", Change(adds=(Add("count", (1, 1)),)))
    assert filled.get("homes", "count").value == b"14 -5"


def test_a_part_in_the_place_of_another_shows(backend, filled) -> None:
    for old, new in ((b"entry one", b"swap"), (b"entry two", b"entry one"), (b"swap", b"entry two")):
        backend.damage(old, new)
    assert list(filled.look_through()) == [Part("homes", "log", 1), Part("homes", "log", 2)]


def test_the_store_looks_for_damage_by_itself(filled, damaged) -> None:
    for _ in range(12):
        filled.check()
    assert filled.damaged() == [damaged]


def test_what_an_earlier_version_wrote_is_read_and_is_given_checksums(backend, filled) -> None:
    if backend.age is None:
        pytest.skip("it rebuilds no log")
    backend.age()
    before = held(filled)
    assert len(before) == 5
    backend.damage(b"the value", b"a value")  # nobody can tell
    assert filled.get("homes", HOME).value == b"a value"
    backend.damage(b"a value", b"the value")
    filled.commit("homes", Change(adds=(Add("count", (0, 0)),), appends=(("log", b"entry 3"),)))
    assert sum(filled.add_sums()) == 4
    assert sum(filled.add_sums()) == 0
    assert held(filled) == {**before, ("log", 3): b"entry 3"}
    for old, new, part in DAMAGES.values():
        backend.damage(old, new)
        assert list(filled.look_through()) == [part]
        backend.damage(new, old)


def held(store: StateStore) -> dict[object, bytes]:
    """The values of a dump, by the key of a document or the sequence of an entry."""
    names = {DumpedDocument: "key", DumpedEntry: "sequence"}
    return {
        ("log" if type(one) is DumpedEntry else "document", getattr(one, names[type(one)])): one.value
        for one in store.dump()
        if type(one) in names
    }


def test_a_load_makes_checksums(backend, filled) -> None:
    other = MemoryState("memory://")
    other.load(filled.dump())
    filled.load(other.dump())
    assert sum(filled.add_sums()) == 0
    assert list(filled.look_through()) == []
    filled.commit("homes", Change(adds=(Add("count", (1, 1)),)))
    assert filled.get("homes", "count").value == b"13 -6"
    backend.damage(b"entry one", b"entry ong")
    assert list(filled.look_through()) == [Part("homes", "log", 1)]

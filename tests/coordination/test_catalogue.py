"""The base of the catalogues: a deleted thing leaves a tombstone, is closed to writers, and frees its name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore
from backends.registry import open_objects, open_state
from smarthouse_api.coordination.catalogue import Catalogue, CatalogueLayout
from smarthouse_api.coordination.notes import Notes


class Grave(msgspec.Struct, frozen=True):
    key: str

    @property
    def space(self) -> str:
        return f"thing-{self.key}"


LAYOUT = CatalogueLayout("things", "thing/", ("born", "head"), "thing")
grave_in = msgspec.json.Decoder(Grave).decode


class Things(Catalogue[str, Grave]):
    """Things whose documents hold their keys."""

    def __init__(self, state: StateStore) -> None:
        super().__init__(
            state,
            Notes(state, open_objects("memory://")),
            CatalogueLayout("things", "thing/", ("born", "head"), "thing"),
            msgspec.json.Decoder(Grave).decode,
        )

    def _read(self, name: str, document: Document) -> str:
        return name.partition("/")[2]

    def create(self, name: str, key: str) -> int:
        self._state.commit(Grave(key).space, Change(puts=(Put("head", b""), Put("born", b""))))
        self._state.put("things", f"thing/{name}", key.encode(), expect=ABSENT)
        found = self._state.get(Grave(key).space, "born")
        return found.version if found else ABSENT

    def delete(self, name: str) -> Grave:
        def attempt() -> Grave:
            found = self._state.get("things", f"thing/{name}")
            assert found is not None
            self._bury([grave := Grave(found.value.decode())], {f"thing/{name}": found.version})
            return grave

        return self._delete(attempt)


@pytest.fixture
def state() -> StateStore:
    return open_state("memory://")


@pytest.fixture
def things(state: StateStore) -> Things:
    return Things(state)


def test_what_was_created_is_listed(things: Things) -> None:
    assert things.is_empty()
    things.create("b", "k1")
    things.create("a", "k2")
    assert [*things.everything()] == ["a", "b"]
    assert not things.is_empty()


def test_a_deleted_thing_leaves_a_tombstone_until_it_is_purged(things: Things, state: StateStore) -> None:
    things.create("a", "k1")
    grave = things.delete("a")
    assert things.is_empty()
    assert things.tombstones() == [grave]
    assert [name for name, _ in state.scan_all("things")] == ["gone/k1"]
    things.remove_tombstone(grave)
    assert things.tombstones() == []


def test_nobody_writes_to_a_deleted_thing_that_was_found_before(things: Things, state: StateStore) -> None:
    born = things.create("a", "k1")
    grave = things.delete("a")
    with pytest.raises(Conflict):
        state.commit(grave.space, Change(expect={"born": born}, puts=(Put("late", b""),)))
    assert list(state.scan_all(grave.space)) == []


def test_the_name_of_a_deleted_thing_is_free(things: Things, state: StateStore) -> None:
    things.create("a", "k1")
    things.delete("a")
    born = things.create("a", "k2")
    state.commit("thing-k2", Change(expect={"born": born}, puts=(Put("new", b""),)))
    assert [*things.everything()] == ["a"]


def test_a_deletion_tries_again_when_another_change_was_first(
    things: Things, state: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    things.create("a", "k1")
    bury, tries = Things._bury, list[int]()

    def bury_late(*members: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            state.put("things", "thing/a", b"k1")
        bury(*members)

    monkeypatch.setattr(Things, "_bury", bury_late)
    assert things.delete("a").key == "k1"
    assert len(tries) == 2

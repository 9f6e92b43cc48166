"""The format numbers of the stores: none is passed over, on any pair of stores."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.ports import StoreFull, StoreUnfit
from smarthouse_api.coordination.store_formats import FORMAT, StoreFormats
from smarthouse_api.house import House


def numbers(house: House) -> tuple[int, int]:
    found = house.state.get("installation", "format")
    assert found is not None
    return int(found.value), int(house.objects.get("installation/format"))


def test_new_stores_and_those_without_a_number_are_marked(house: House) -> None:
    house.formats.settle()
    assert numbers(house) == (FORMAT, FORMAT)


def test_an_older_number_is_raised(house: House) -> None:
    house.state.put("installation", "format", b"1")
    house.objects.put("installation/format", [b"1"])
    house.formats.settle()
    assert numbers(house) == (FORMAT, FORMAT)


def in_state(house: House) -> None:
    house.state.put("installation", "format", b"99")


def in_objects(house: House) -> None:
    house.objects.put("installation/format", [b"99"])


@pytest.mark.parametrize(("newer", "name"), [(in_state, "state"), (in_objects, "object")])
def test_a_newer_format_is_refused_in_words_and_nothing_is_marked(
    house: House, newer: Callable[[House], None], name: str
) -> None:
    newer(house)
    with pytest.raises(StoreUnfit, match=f"the {name} store has format 99, and this version reads formats 1 to {FORMAT}"):
        house.formats.settle()
    marked = house.state.get("installation", "format"), list(house.objects.list("installation/"))
    assert (marked[0] is None) is (name == "object")
    assert len(marked[1]) == (name == "object")


def test_no_chore_touches_stores_of_a_newer_format(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    in_state(house)
    done = list[bool]()
    monkeypatch.setattr(type(house.states.chores), "curate", lambda *_: done.append(True))
    house.housekeeper.keep()
    assert done == []


def test_readiness_tells_the_format_or_that_it_is_too_new(house: House) -> None:
    in_state(house)
    told, failed = house.health()
    assert failed
    assert told["format"].startswith("unfit: the state store has format 99")
    house.state.put("installation", "format", b"1")
    told, failed = house.health()
    assert (told["format"], failed) == (f"format {FORMAT}", False)


def test_what_was_settled_is_not_asked_again(house: House) -> None:
    formats = StoreFormats(house.state, house.objects)
    formats.settle()
    in_state(house)
    formats.settle()


@pytest.mark.parametrize("store", ["state", "objects"])
def test_a_full_store_is_marked_later_and_its_chores_go_on(house: House, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreFull("full")

    done = list[bool]()
    monkeypatch.setattr(type(house.forgetting), "try_purge", lambda _: done.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(getattr(house, store), "put", full)
        house.formats.settle()
        house.housekeeper.keep()
    assert done == [True]
    house.formats.settle()
    assert numbers(house) == (FORMAT, FORMAT)


def test_a_newer_version_that_starts_at_the_same_moment_is_not_undone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    get = house.objects.get

    def meanwhile(key: str) -> bytes:
        in_state(house)
        return get(key)

    monkeypatch.setattr(house.objects, "get", meanwhile)
    with pytest.raises(StoreUnfit, match="format 99"):
        house.formats.settle()
    assert list(house.objects.list("installation/")) == []

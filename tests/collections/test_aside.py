"""Records set aside: listed, fixed, replayed, discarded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from smarthouse_api.collections.model import Collection
from smarthouse_api.errors import NotFound, TooLarge
from smarthouse_api.replies import RequestKey
from tests.collections.conftest import NUMBERS, Keeper


@pytest.fixture
def meters(keeper: Keeper) -> Collection:
    """A strict collection, four of whose records are set aside."""
    made = keeper.create(schema=NUMBERS, mode="strict", entry_topic="in")
    keeper.accept(made, *({"value": text} for text in "abc"))
    keeper.accept(made, {"value": 1}, {"other": 1})
    return made


def test_they_are_listed_in_the_order_in_which_they_came_page_by_page(keeper: Keeper, meters: Collection) -> None:
    aside = keeper.house.collections.aside
    first = aside.list(meters, limit=3)
    assert [one.record for one in first] == [{"value": "a"}, {"value": "b"}, {"value": "c"}]
    assert [one.record for one in aside.list(meters, first[-1].id)] == [{"other": 1}]


def test_what_was_fixed_is_stored_by_a_replay_and_the_rest_stays(keeper: Keeper, meters: Collection) -> None:
    aside = keeper.house.collections.aside
    first, second, *_ = aside.list(meters)
    assert "replay" in aside.fix(meters, first.id, {"value": 7}).reason
    assert "number" in aside.fix(meters, second.id, {"value": "still"}).reason
    told = aside.replay(meters)
    assert (told.stored, told.left) == (1, 3)
    assert keeper.records(meters) == [{"value": 1}, {"value": 7}]
    assert {"value": "still"} in keeper.aside(meters).values()
    assert aside.replay(meters).stored == 0


def test_a_looser_schema_lets_all_of_them_in(keeper: Keeper, meters: Collection) -> None:
    after = keeper.house.collections.catalogue.update("meters", {"schema": {"type": "object"}}).collection
    assert keeper.house.collections.aside.replay(after).stored == 4
    assert len(keeper.records(after)) == 5
    assert keeper.aside(after) == {}


def test_in_warn_mode_a_replay_keeps_them_marked(keeper: Keeper, meters: Collection) -> None:
    after = keeper.house.collections.catalogue.update("meters", {"mode": "warn"}).collection
    assert keeper.house.collections.aside.replay(after).stored == 4
    assert set(keeper.entries(after)[-1].faults) == {"0", "1", "2", "3"}


def test_only_those_that_are_named_are_replayed(keeper: Keeper, meters: Collection) -> None:
    aside = keeper.house.collections.aside
    first, second, *_ = aside.list(meters)
    for one in (first, second):
        aside.fix(meters, one.id, {"value": 7})
    assert aside.replay(meters, [second.id, second.id]).stored == 1
    assert first.id in keeper.aside(meters)


@pytest.mark.parametrize("id_", ["", "nobody", "0" * 16 + "-" + "0" * 8 + "-000000", "../born", "x" * 600])
def test_what_is_not_there_cannot_be_fixed_discarded_or_replayed(keeper: Keeper, meters: Collection, id_: str) -> None:
    aside = keeper.house.collections.aside
    acts: list[Any] = [
        lambda: aside.fix(meters, id_, {}),
        lambda: aside.discard(meters, id_),
        lambda: aside.replay(meters, [id_]),
    ]
    for act in acts:
        with pytest.raises(NotFound, match="set aside"):
            act()
    assert len(keeper.aside(meters)) == 4


def test_what_is_discarded_is_gone(keeper: Keeper, meters: Collection) -> None:
    first = keeper.house.collections.aside.list(meters)[0]
    keeper.house.collections.aside.discard(meters, first.id)
    assert first.id not in keeper.aside(meters)
    assert len(keeper.aside(meters)) == 3


def test_many_replays_at_once_store_each_record_once(keeper: Keeper, meters: Collection) -> None:
    after = keeper.house.collections.catalogue.update("meters", {"schema": {"type": "object"}}).collection
    with ThreadPoolExecutor(8) as threads:
        told = [*threads.map(lambda _: keeper.house.collections.aside.replay(after), range(8))]
    assert sum(one.stored for one in told) == 4
    assert len(keeper.records(after)) == 5


def test_a_repeated_replay_is_told_the_first_answer(keeper: Keeper, meters: Collection) -> None:
    aside, key = keeper.house.collections.aside, RequestKey("one", "digest")
    aside.fix(meters, aside.list(meters)[0].id, {"value": 7})
    first, again = (aside.replay(meters, request_key=key) for _ in range(2))
    assert (first.stored, first.left, first.replayed) == (1, 3, False)
    assert (again.stored, again.left, again.replayed) == (1, 3, True)


def test_a_record_that_is_too_large_cannot_take_its_place(make_house: Any) -> None:
    keeper = Keeper(make_house(collection_record_bytes=1000))
    meters = keeper.create(schema=NUMBERS, mode="strict")
    with pytest.raises(TooLarge):
        keeper.accept(meters, {"value": "x" * 1000})
    keeper.accept(meters, {"value": "a"})
    with pytest.raises(TooLarge):
        keeper.house.collections.aside.fix(meters, next(iter(keeper.aside(meters))), {"value": "x" * 1000})


def test_of_a_deleted_collection_nothing_can_be_replayed(keeper: Keeper, meters: Collection) -> None:
    keeper.house.collections.aside.fix(meters, next(iter(keeper.aside(meters))), {"value": 1})
    keeper.house.collections.catalogue.delete("meters")
    with pytest.raises(NotFound):
        keeper.house.collections.aside.replay(meters)


def test_they_are_kept_for_as_long_as_is_configured(make_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house()
    keeper = Keeper(house)
    meters = keeper.create(schema=NUMBERS, mode="strict")
    monkeypatch.setattr(house.collections.aside, "_seconds", -1.0)
    keeper.accept(meters, {"value": "a"})
    assert keeper.aside(meters) == {}

"""Records set aside: listed, fixed, replayed, discarded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from smarthouse_api.collections.model import Collection
from smarthouse_api.coordination.replies import RequestKey
from smarthouse_api.errors import NotFound, TooLarge
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
    aside, replaying = keeper.house.collections.aside, keeper.house.collections.replaying
    first, second, *_ = aside.list(meters)
    assert "replay" in aside.fix(meters, first.id, {"value": 7}).reason
    assert "number" in aside.fix(meters, second.id, {"value": "still"}).reason
    told = replaying.replay(meters)
    assert (told.stored, told.left) == (1, 3)
    assert keeper.records(meters) == [{"value": 1}, {"value": 7}]
    assert {"value": "still"} in keeper.aside(meters).values()
    assert replaying.replay(meters).stored == 0


def test_a_looser_schema_lets_all_of_them_in(keeper: Keeper, meters: Collection) -> None:
    after = keeper.house.collections.catalogue.update("meters", {"schema": {"type": "object"}}).collection
    assert keeper.house.collections.replaying.replay(after).stored == 4
    assert len(keeper.records(after)) == 5
    assert keeper.aside(after) == {}


def test_in_warn_mode_a_replay_keeps_them_marked(keeper: Keeper, meters: Collection) -> None:
    after = keeper.house.collections.catalogue.update("meters", {"mode": "warn"}).collection
    assert keeper.house.collections.replaying.replay(after).stored == 4
    assert set(keeper.entries(after)[-1].faults) == {"0", "1", "2", "3"}


def test_only_those_that_are_named_are_replayed(keeper: Keeper, meters: Collection) -> None:
    aside, replaying = keeper.house.collections.aside, keeper.house.collections.replaying
    first, second, *_ = aside.list(meters)
    for one in (first, second):
        aside.fix(meters, one.id, {"value": 7})
    assert replaying.replay(meters, [second.id, second.id]).stored == 1
    assert first.id in keeper.aside(meters)


@pytest.mark.parametrize("id_", ["", "nobody", "0" * 16 + "-" + "0" * 8 + "-000000", "../born", "x" * 600])
def test_what_is_not_there_cannot_be_fixed_discarded_or_replayed(keeper: Keeper, meters: Collection, id_: str) -> None:
    aside, replaying = keeper.house.collections.aside, keeper.house.collections.replaying
    acts: list[Any] = [
        lambda: aside.fix(meters, id_, {}),
        lambda: aside.discard(meters, id_),
        lambda: replaying.replay(meters, [id_]),
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
        told = [*threads.map(lambda _: keeper.house.collections.replaying.replay(after), range(8))]
    assert sum(one.stored for one in told) == 4
    assert len(keeper.records(after)) == 5


def test_a_repeated_replay_is_told_the_first_answer(keeper: Keeper, meters: Collection) -> None:
    aside, replaying = keeper.house.collections.aside, keeper.house.collections.replaying
    key = RequestKey("one", "digest")
    aside.fix(meters, aside.list(meters)[0].id, {"value": 7})
    first, again = (replaying.replay(meters, request_key=key) for _ in range(2))
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
        keeper.house.collections.replaying.replay(meters)


def test_what_was_kept_for_too_long_is_removed_and_nothing_else(make_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(make_house(collection_aside_days=1))
    meters = keeper.create(schema=NUMBERS, mode="strict")
    keeper.accept(meters, *({"value": "old"} for _ in range(120)))
    aside = keeper.house.collections.aside
    aside.forget_old(meters)
    assert len(aside.list(meters, limit=1000)) == 120
    monkeypatch.setattr(aside, "_seconds", 0.0)
    aside.forget_old(meters)
    assert keeper.aside(meters) == {}


def test_a_replay_of_many_goes_on_where_the_one_before_has_stopped(
    keeper: Keeper, meters: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.collections.replaying._MOST", 2)
    monkeypatch.setattr("smarthouse_api.collections.replaying._PAGE", 2)
    replaying = keeper.house.collections.replaying
    first = replaying.replay(meters)
    assert (first.left, first.next is None) == (2, False)
    second = replaying.replay(meters, after=first.next or "")
    assert (second.left, second.next is None) == (2, False)
    assert replaying.replay(meters, after=second.next or "").left == 0


def test_a_list_is_bounded_by_bytes_too(keeper: Keeper, meters: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.collections.aside._PAGE_BYTES", 1)
    monkeypatch.setattr("smarthouse_api.collections.aside._PAGE", 2)
    aside, found, after = keeper.house.collections.aside, list[str](), ""
    while page := aside.list(meters, after):
        assert len(page) <= 2
        found, after = [*found, *(one.id for one in page)], page[-1].id
    assert found == sorted(found)
    assert len(found) == 4

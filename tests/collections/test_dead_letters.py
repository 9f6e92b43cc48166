"""Records set aside: listed, fixed, replayed, discarded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from config.groups import CollectionSettings
from smarthouse_api.collections.model import Collection
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import Invalid, NotFound, StoreUnavailable, TooLarge, Unprocessable
from tests.collections.conftest import NUMBERS, Keeper


@pytest.fixture
def meters(keeper: Keeper) -> Collection:
    """A strict collection, four of whose records are set aside."""
    made = keeper.create(schema=NUMBERS, mode="strict", entry_topic="in")
    keeper.accept(made, *({"value": text} for text in "abc"))
    keeper.accept(made, {"value": 1}, {"other": 1})
    return made


def test_they_are_listed_in_the_order_in_which_they_came_page_by_page(keeper: Keeper, meters: Collection) -> None:
    dead_letters = keeper.house.collections.dead_letters
    first = dead_letters.list(meters, limit=3)
    assert [one.record for one in first] == [{"value": "a"}, {"value": "b"}, {"value": "c"}]
    assert [one.record for one in dead_letters.list(meters, first[-1].id)] == [{"other": 1}]


def test_what_was_fixed_is_stored_by_a_replay_and_the_rest_stays(keeper: Keeper, meters: Collection) -> None:
    dead_letters = keeper.house.collections.dead_letters
    first, second, *_ = dead_letters.list(meters)
    assert "replay" in dead_letters.fix(meters, first.id, {"value": 7}).reason
    assert "number" in dead_letters.fix(meters, second.id, {"value": "still"}).reason
    told = dead_letters.replay(meters)
    assert (told.stored, told.left) == (1, 3)
    assert keeper.records(meters) == [{"value": 1}, {"value": 7}]
    assert {"value": "still"} in keeper.dead_letters(meters).values()
    assert dead_letters.replay(meters).stored == 0


def test_a_looser_schema_lets_all_of_them_in(keeper: Keeper, meters: Collection) -> None:
    after = keeper.house.collections.catalogue.update("meters", {"schema": {"type": "object"}}).collection
    assert keeper.house.collections.dead_letters.replay(after).stored == 4
    assert len(keeper.records(after)) == 5
    assert keeper.dead_letters(after) == {}


def test_in_warn_mode_a_replay_keeps_them_marked(keeper: Keeper, meters: Collection) -> None:
    after = keeper.house.collections.catalogue.update("meters", {"mode": "warn"}).collection
    assert keeper.house.collections.dead_letters.replay(after).stored == 4
    assert set(keeper.entries(after)[-1].faults) == {"0", "1", "2", "3"}


def test_only_those_that_are_named_are_replayed(keeper: Keeper, meters: Collection) -> None:
    dead_letters = keeper.house.collections.dead_letters
    first, second, *_ = dead_letters.list(meters)
    for one in (first, second):
        dead_letters.fix(meters, one.id, {"value": 7})
    assert dead_letters.replay(meters, [second.id, second.id]).stored == 1
    assert first.id in keeper.dead_letters(meters)


def test_a_replay_goes_on_after_a_dead_letters_id_alone(keeper: Keeper, meters: Collection) -> None:
    with pytest.raises(Invalid, match="after: 'x' is not the id of a dead letter"):
        keeper.house.collections.dead_letters.replay(meters, after="x")


@pytest.mark.parametrize("id_", ["", "nobody", "0" * 16 + "-" + "0" * 8 + "-000000", "../born", "x" * 600])
def test_what_is_not_there_cannot_be_fixed_discarded_or_replayed(keeper: Keeper, meters: Collection, id_: str) -> None:
    dead_letters = keeper.house.collections.dead_letters
    acts: list[Any] = [
        lambda: dead_letters.fix(meters, id_, {}),
        lambda: dead_letters.discard(meters, id_),
        lambda: dead_letters.replay(meters, [id_]),
    ]
    for act in acts:
        with pytest.raises(NotFound, match="no dead letter"):
            act()
    assert len(keeper.dead_letters(meters)) == 4


def test_what_is_discarded_is_gone(keeper: Keeper, meters: Collection) -> None:
    first = keeper.house.collections.dead_letters.list(meters)[0]
    keeper.house.collections.dead_letters.discard(meters, first.id)
    assert first.id not in keeper.dead_letters(meters)
    assert len(keeper.dead_letters(meters)) == 3


def test_a_fixed_record_takes_the_place_of_its_dead_letter(keeper: Keeper, meters: Collection) -> None:
    dead_letters = keeper.house.collections.dead_letters
    first = dead_letters.list(meters)[0]
    with pytest.raises(Unprocessable, match='still fails: "still" is not of type "number" at /value'):
        dead_letters.store_fixed(meters, first.id, {"value": "still"})
    assert dead_letters.get(meters, first.id) == first
    assert dead_letters.store_fixed(meters, first.id, {"value": 7}) == 1
    assert keeper.records(meters) == [{"value": 1}, {"value": 7}]
    assert first.id not in keeper.dead_letters(meters)
    for act in (lambda: dead_letters.store_fixed(meters, first.id, {"value": 7}), lambda: dead_letters.get(meters, first.id)):
        with pytest.raises(NotFound):
            act()
    house = keeper.house
    stored = house.collections.quotas.of(meters)[0]
    assert dead_letters.discard_all(meters) == 3
    assert dead_letters.count(meters) == 0
    assert house.collections.quotas.of(meters)[0] < stored


@pytest.mark.parametrize("is_done", [False, True])
def test_a_crash_while_a_fixed_record_is_stored_neither_loses_nor_doubles_it(
    keeper: Keeper, meters: Collection, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    dead_letters, state = keeper.house.collections.dead_letters, keeper.house.state
    first, commit, left = dead_letters.list(meters)[0], state.commit, [1]

    def broken(space: str, change: Any) -> Any:
        if not left:
            return commit(space, change)
        left.clear()
        if is_done:
            commit(space, change)
        raise StoreUnavailable("the process died here, before or after the commit")

    monkeypatch.setattr(state, "commit", broken)
    with pytest.raises(StoreUnavailable):
        dead_letters.store_fixed(meters, first.id, {"value": 7})
    assert (first.id in keeper.dead_letters(meters)) is not is_done  # one of the two, whole
    with suppress(NotFound):  # who asks again does not know
        dead_letters.store_fixed(meters, first.id, {"value": 7})
    assert keeper.records(meters) == [{"value": 1}, {"value": 7}]
    assert first.id not in keeper.dead_letters(meters)


def test_a_dead_letter_that_many_fix_at_once_is_stored_once(keeper: Keeper, meters: Collection) -> None:
    dead_letters = keeper.house.collections.dead_letters
    first = dead_letters.list(meters)[0]

    def fix(number: int) -> int:
        with suppress(NotFound):
            return dead_letters.store_fixed(meters, first.id, {"value": number})
        return 0

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(fix, range(8))) == 1
    assert len(keeper.records(meters)) == 2


def test_many_replays_at_once_store_each_record_once(keeper: Keeper, meters: Collection) -> None:
    after = keeper.house.collections.catalogue.update("meters", {"schema": {"type": "object"}}).collection
    with ThreadPoolExecutor(8) as threads:
        told = [*threads.map(lambda _: keeper.house.collections.dead_letters.replay(after), range(8))]
    assert sum(one.stored for one in told) == 4
    assert len(keeper.records(after)) == 5


def test_a_repeated_replay_is_told_the_first_answer(keeper: Keeper, meters: Collection) -> None:
    dead_letters = keeper.house.collections.dead_letters
    key = RequestKey("one", "digest")
    dead_letters.fix(meters, dead_letters.list(meters)[0].id, {"value": 7})
    first, again = (dead_letters.replay(meters, request_key=key) for _ in range(2))
    assert (first.stored, first.left, first.replayed) == (1, 3, False)
    assert (again.stored, again.left, again.replayed) == (1, 3, True)


def test_a_record_that_is_too_large_cannot_take_its_place(make_house: Any) -> None:
    keeper = Keeper(make_house(collection_record_bytes=1000))
    meters = keeper.create(schema=NUMBERS, mode="strict")
    with pytest.raises(TooLarge):
        keeper.accept(meters, {"value": "x" * 1000})
    keeper.accept(meters, {"value": "a"})
    with pytest.raises(TooLarge):
        keeper.house.collections.dead_letters.fix(meters, next(iter(keeper.dead_letters(meters))), {"value": "x" * 1000})


def test_of_a_deleted_collection_nothing_can_be_replayed(keeper: Keeper, meters: Collection) -> None:
    keeper.house.collections.dead_letters.fix(meters, next(iter(keeper.dead_letters(meters))), {"value": 1})
    keeper.house.collections.catalogue.delete("meters")
    with pytest.raises(NotFound):
        keeper.house.collections.dead_letters.replay(meters)


def test_what_was_kept_for_too_long_is_removed_and_nothing_else(make_house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(make_house(collection_aside_days=1))
    meters = keeper.create(schema=NUMBERS, mode="strict")
    keeper.accept(meters, *({"value": "old"} for _ in range(120)))
    dead_letters = keeper.house.collections.dead_letters
    dead_letters.remove_expired(meters)
    assert len(dead_letters.list(meters, limit=1000)) == 120
    monkeypatch.setattr(dead_letters, "_settings", CollectionSettings(aside_days=0.0))
    dead_letters.remove_expired(meters)
    assert keeper.dead_letters(meters) == {}


def test_a_replay_of_many_goes_on_where_the_one_before_has_stopped(
    keeper: Keeper, meters: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.collections.dead_letters._MOST_REPLAYED", 2)
    monkeypatch.setattr("smarthouse_api.collections.dead_letters._REPLAY_PAGE", 2)
    dead_letters = keeper.house.collections.dead_letters
    first = dead_letters.replay(meters)
    assert (first.left, first.next is None) == (2, False)
    second = dead_letters.replay(meters, after=first.next or "")
    assert (second.left, second.next is None) == (2, False)
    assert dead_letters.replay(meters, after=second.next or "").left == 0


def test_a_list_is_bounded_by_bytes_too(keeper: Keeper, meters: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.collections.dead_letters._PAGE_BYTES", 1)
    monkeypatch.setattr("smarthouse_api.collections.dead_letters._PAGE", 2)
    dead_letters, found, after = keeper.house.collections.dead_letters, list[str](), ""
    while page := dead_letters.list(meters, after):
        assert len(page) <= 2
        found, after = [*found, *(one.id for one in page)], page[-1].id
    assert found == sorted(found)
    assert len(found) == 4

"""Records are dropped from the lake some days after they came, if the operator says so; nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from smarthouse_api.collections import accepting, record_retention
from smarthouse_api.collections.model import RECORD_BYTES, Collection
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.house import House
from tests.collections.conftest import Keeper
from tests.conftest import Environment, on_pairs

environment = on_pairs("embedded_pair", "production_pair")
TODAY = datetime.now(UTC).date()


def never() -> bool:
    return False


def held(house: House) -> dict[str, int]:
    """How many rows of each collection the lake has, by its key."""
    snapshot = house.collections.table.open()
    assert snapshot is not None
    found = snapshot.to_pyarrow_table(columns=["collection"]).group_by("collection").aggregate([("collection", "count")])
    return dict(zip(found["collection"].to_pylist(), found["collection_count"].to_pylist(), strict=True))


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    def be(day: date) -> None:
        monkeypatch.setattr(record_retention, "_today", lambda: day)

    return be


def test_records_are_dropped_once_they_are_old_and_new_ones_come_as_before(
    make_house: Callable[..., House], environment: Environment, today: Callable[[date], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(collection_record_days=30)
    keeper, chores = Keeper(house), house.collections.chores
    monkeypatch.setattr(record_retention, "_HOUR_SECONDS", 0.01)
    one, other = (keeper.create(name, entry_topic=f"topic.{name}") for name in ("one", "other"))
    for collection in (one, other):
        keeper.accept(collection, {"value": 1}, {"value": 2})
        chores.flush(collection)
    chores.drop_old_records(never)
    today(TODAY + timedelta(days=30))
    chores.drop_old_records(never)
    assert held(house) == {one.key: 2, other.key: 2}
    today(TODAY + timedelta(days=31))
    keeper.accept(other, {"value": 3})  # which the lake has still to take in
    chores.drop_old_records(never)
    assert held(house) == {other.key: 2}
    chores.flush(other)
    keeper.accept(one, {"value": 4})
    chores.flush(one)
    assert TopicQueue(house.state, one).taken().sequence == TopicQueue(house.state, one).last()
    assert held(house) == {one.key: 1, other.key: 3}
    assert house.collections.table.condition()
    assert chores.rebuilding.condition() is None
    today(TODAY + timedelta(days=32))
    keeper.accept(one, {"value": 5})
    chores.drop_old_records(never)
    assert held(house)[one.key] == 1, "the day of the last entry that the lake holds, while more is on its way there"


def test_a_collection_that_is_written_to_all_the_time_loses_its_old_days_too(
    make_house: Callable[..., House], today: Callable[[date], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(collection_record_days=30)
    keeper, chores = Keeper(house), house.collections.chores
    one = keeper.create("one")
    keeper.accept(one, {"value": 1})
    chores.flush(one)
    later = datetime.now(UTC) + timedelta(days=20)
    monkeypatch.setattr(accepting, "datetime", type("Clock", (datetime,), {"now": classmethod(lambda *_: later)}))
    keeper.accept(one, {"value": 2})
    chores.flush(one)
    keeper.accept(one, {"value": 3})
    today(TODAY + timedelta(days=31))
    chores.drop_old_records(never)
    assert held(house) == {one.key: 1}
    chores.flush(one)
    assert held(house) == {one.key: 2}


def used(house: House, collection: Collection) -> int:
    return house.collections.quotas.of(collection)[0]


def test_what_is_dropped_makes_room_in_the_quota_also_if_a_process_dies_on_the_way(
    make_house: Callable[..., House], environment: Environment, today: Callable[[date], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(collection_record_days=30)
    keeper, chores = Keeper(house), house.collections.chores
    monkeypatch.setattr(record_retention, "_HOUR_SECONDS", 0.01)
    numbers = {"type": "object", "properties": {"value": {"type": "number"}}}
    one, other = keeper.create("one", schema=numbers, mode="warn"), keeper.create("other")
    keeper.accept(one, {"value": 1, "text": "dé"}, {"value": "none"})
    keeper.accept(other, {"value": 2})
    both = used(house, one)
    assert both > 2 * RECORD_BYTES + len('{"value":1,"text":"dé"}'.encode()) + len('{"value":"none"}') > 100
    for collection in (one, other):
        chores.flush(collection)
    today(TODAY + timedelta(days=31))

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # before the rows are gone
        patched.setattr(house.collections.table, "delete_before", die)
        with pytest.raises(KeyboardInterrupt):
            chores.drop_old_records(never)
    chores.drop_old_records(never)
    assert (used(house, one), used(house, other)) == (0, 0)
    keeper.accept(one, {"value": 1, "text": "dé"}, {"value": "none"})
    chores.flush(one)
    assert used(house, one) == both
    today(TODAY + timedelta(days=32))
    with monkeypatch.context() as patched:  # after they are gone
        patched.setattr(record_retention, "end_drop", die)
        with pytest.raises(KeyboardInterrupt):
            chores.drop_old_records(never)
    assert used(house, one) == both
    today(TODAY + timedelta(days=33))
    for _ in range(2):
        chores.drop_old_records(never)
        assert (used(house, one), held(house)) == (0, {})


def test_nothing_is_dropped_unless_that_is_asked_for(keeper: Keeper, today: Callable[[date], None]) -> None:
    one = keeper.create()
    keeper.accept(one, {"value": 1})
    keeper.house.collections.chores.flush(one)
    today(TODAY + timedelta(days=36500))
    keeper.house.collections.chores.drop_old_records(never)
    assert held(keeper.house) == {one.key: 1}

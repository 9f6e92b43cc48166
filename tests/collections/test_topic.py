"""Entry topics, as consumers read them."""

from __future__ import annotations

import threading

import msgspec
import pytest
import redis

from backends.ports import Change
from config.settings import Settings
from smarthouse_api.collections.model import TOPIC, Collection
from smarthouse_api.errors import Invalid, NotFound
from smarthouse_api.house import House
from tests.collections.conftest import NUMBERS, Keeper
from tests.conftest import Environment
from tests.servers import RedisServer


@pytest.fixture
def meters(keeper: Keeper) -> Collection:
    return keeper.create(entry_topic="in", schema=NUMBERS, mode="warn")


def read_all(keeper: Keeper, collection: Collection, after: str = "0", limit: int = 3) -> list[object]:
    found = []
    while (page := keeper.house.collections.topic.read(collection, after, limit)).events:
        assert len(page.events) <= limit
        found += [msgspec.json.decode(event.record) for event in page.events]
        after = page.next
    assert page.next == after
    return found


def test_events_are_read_page_by_page_each_once_in_order(keeper: Keeper, meters: Collection) -> None:
    records = [{"value": number} for number in range(20)]
    for start in range(0, 20, 4):
        keeper.accept(meters, *records[start : start + 4])
    assert read_all(keeper, meters) == records
    assert read_all(keeper, meters, limit=1) == records
    assert read_all(keeper, meters, limit=1000) == records


def test_an_event_tells_its_position_message_and_fault(keeper: Keeper, meters: Collection) -> None:
    told = keeper.accept(meters, {"value": 1}, {"value": "a"}, message_id="m-1")
    page = keeper.house.collections.topic.read(meters)
    assert [event.position for event in page.events] == ["1-0", "1-1"]
    assert [(event.msgid, event.received_at) for event in page.events] == [("m-1", told.at)] * 2
    assert page.events[0].fault is None
    assert "number" in (page.events[1].fault or "")
    assert (page.next, page.first) == ("1-1", "1-0")


def test_an_empty_topic_begins_at_its_beginning(keeper: Keeper, meters: Collection) -> None:
    page = keeper.house.collections.topic.read(meters)
    assert (page.events, page.next, page.first) == ([], "0", "1-0")


def test_whoever_was_away_for_too_long_is_told_so(keeper: Keeper, meters: Collection) -> None:
    topic = keeper.house.collections.topic
    for number in range(4):
        keeper.accept(meters, {"value": number})
    assert not topic.read(meters, "1-0").is_missed
    keeper.house.state.commit(meters.space, Change(drops=tuple((TOPIC, number) for number in (1, 2))))
    assert [topic.read(meters, after).is_missed for after in ("0", "1-0", "2-0", "4-0")] == [False, True, False, False]
    keeper.house.state.commit(meters.space, Change(drops=tuple((TOPIC, number) for number in (3, 4))))
    page = topic.read(meters, "3-0")
    assert (page.events, page.first, page.is_missed) == ([], "5-0", True)
    assert not topic.read(meters, "4-0").is_missed


@pytest.mark.parametrize("after", ["", "-1", "1", "1-", "a-b", "1-1-1", "١-0", "9" * 30 + "-0", " 0"])
def test_what_is_no_position_is_refused(keeper: Keeper, meters: Collection, after: str) -> None:
    with pytest.raises(Invalid, match="after"):
        keeper.house.collections.topic.read(meters, after)


def test_after_the_end_there_is_nothing_yet(keeper: Keeper, meters: Collection) -> None:
    keeper.accept(meters, {"value": 1})
    page = keeper.house.collections.topic.read(meters, "9223372036854775807-0")
    assert (page.events, page.next) == ([], "9223372036854775807-0")


def test_a_collection_without_an_entry_topic_has_none(keeper: Keeper) -> None:
    silent = keeper.create("silent")
    with pytest.raises(NotFound) as refused:
        keeper.house.collections.topic.read(silent)
    assert refused.value.reason == "TOPIC_NOT_FOUND"
    assert keeper.house.collections.topic.stream_name(silent) is None


def test_an_answer_is_bounded_by_bytes_too(keeper: Keeper, meters: Collection) -> None:
    records = [{"value": number, "text": "x" * 100_000} for number in range(200)]
    for start in range(0, 200, 50):
        keeper.accept(meters, *records[start : start + 50])
    page = keeper.house.collections.topic.read(meters, limit=1000)
    assert 0 < len(page.events) < 200
    assert read_all(keeper, meters, limit=1000) == records


def test_any_consumer_group_of_redis_reads_a_topic_while_it_is_written(
    production_pair: Environment, redis_server: RedisServer
) -> None:
    house = House(Settings.from_env(production_pair))
    keeper = Keeper(house)
    meters = keeper.create(entry_topic="in")
    name = house.collections.topic.stream_name(meters)
    assert name is not None
    consumers = redis.Redis.from_url(redis_server.url)
    for group in ("one", "two"):
        consumers.xgroup_create(name, group, id="0", mkstream=True)

    def write() -> None:
        for number in range(50):
            keeper.accept(meters, {"number": 2 * number}, {"number": 2 * number + 1})

    writer = threading.Thread(target=write)
    writer.start()
    read: dict[str, list[int]] = {"one": [], "two": []}
    while min(map(len, read.values())) < 100:
        for group, numbers in read.items():
            for _, messages in consumers.xreadgroup(group, "me", {name: ">"}, count=7, block=50) or []:
                for id_, fields in messages:
                    numbers += [record["number"] for record in msgspec.json.decode(fields[b"v"])["records"]]
                    consumers.xack(name, group, id_)
    writer.join()
    assert read == {"one": [*range(100)], "two": [*range(100)]}
    consumers.close()
    house.close()

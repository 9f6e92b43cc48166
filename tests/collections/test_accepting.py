"""Records that come: all or none, once, by the collection's rules."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from backends.ports import Change, Committed, StoreUnavailable
from config.settings import Settings
from smarthouse_api.collections.model import MESSAGE_ID
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import Invalid, KeyReused, NoRoom, TooLarge, Unprocessable
from smarthouse_api.house import House
from tests.collections.conftest import NUMBERS, Keeper
from tests.conftest import Environment
from tests.servers import RedisServer

KEY = RequestKey("one", "digest")


def test_records_are_kept_as_they_came_in_order(keeper: Keeper) -> None:
    meters = keeper.create()
    records = [{"value": 1, "obsrv_meta": {"a": [1, None]}}, {"text": "ä\u2028\n", "deep": [[[]]]}, {}, {"big": 2**63}]
    told = keeper.accept(meters, *records, message_id="m-1")
    assert keeper.records(meters) == records
    (entry,) = keeper.entries(meters)
    assert (entry.id, entry.collection, entry.received_at, entry.msgid) == (told.id, "meters", told.at, "m-1")
    assert (told.stored, told.dead_letters, told.warnings, told.is_duplicate, told.replayed) == (4, 0, (), False, False)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("bad", "kind"), [(None, "null"), (1, "number"), ("x", "text"), ([], "array"), (True, "true")])
def test_one_record_that_is_no_object_costs_the_whole_request(keeper: Keeper, place: int, bad: Any, kind: str) -> None:
    meters = keeper.create()
    records: list[Any] = [{"value": 1}, {"value": 2}]
    records.insert(place, bad)
    with pytest.raises(Invalid, match=rf"data\[{place}\].*{kind}"):
        keeper.accept(meters, *records)
    assert keeper.records(meters) == []


def test_no_record_is_none_too_few(keeper: Keeper) -> None:
    with pytest.raises(Invalid, match="at least one"):
        keeper.accept(keeper.create())


def test_too_many_records_are_refused(make_house: Any) -> None:
    keeper = Keeper(make_house(collection_records=3))
    meters = keeper.create()
    keeper.accept(meters, {}, {}, {})
    with pytest.raises(TooLarge, match="at most 3"):
        keeper.accept(meters, {}, {}, {}, {})
    assert len(keeper.records(meters)) == 3


def test_a_record_that_is_too_large_costs_the_whole_request(make_house: Any) -> None:
    keeper = Keeper(make_house(collection_record_bytes=2000))
    meters = keeper.create()
    keeper.accept(meters, {"text": "x" * 1900})
    with pytest.raises(TooLarge, match="at most 2000"):
        keeper.accept(meters, {"a": 1}, {"text": "x" * 2000}, {"a": 2})
    assert len(keeper.records(meters)) == 1


@pytest.mark.parametrize("environment", ["embedded_pair", "production_pair"], indirect=True)
def test_a_collection_and_all_together_take_no_more_than_their_quotas(make_house: Any) -> None:
    keeper = Keeper(make_house(quota_collection_bytes=3000))
    meters, others = keeper.create(schema=NUMBERS, mode="strict"), keeper.create("others")
    keeper.accept(meters, {"value": 1, "text": "x" * 1000})
    keeper.accept(meters, {"value": "none", "text": "x" * 1000})
    assert len(keeper.dead_letters(meters)) == 1
    for _ in range(2):
        with pytest.raises(TooLarge, match="at most 3000 bytes of records of one collection"):
            keeper.accept(meters, {"value": 2, "text": "x" * 1000})
    keeper.accept(others, {"text": "x" * 1000})
    dead_letters = keeper.house.collections.dead_letters
    dead_letters.discard(meters, dead_letters.list(meters)[0].id)
    keeper.accept(meters, {"value": 2, "text": "x" * 1000}, request_key=KEY)
    assert keeper.accept(meters, {"value": 2, "text": "x" * 1000}, request_key=KEY).replayed, "a repeat takes no room"
    in_all = keeper.house.collections.quotas.in_all()
    assert 3000 < in_all < 5000
    full = Keeper(make_house(quota_collections_bytes=in_all))
    with pytest.raises(NoRoom, match="of all collections"):
        full.accept(others, {})
    almost = Keeper(make_house(quota_collections_bytes=in_all + 1))
    almost.accept(others, {})
    with pytest.raises(NoRoom, match="of all collections"):
        almost.accept(others, {})
    assert len(keeper.records(others)) == 2


def test_many_records_become_several_entries_of_one_request(keeper: Keeper) -> None:
    meters = keeper.create(schema=NUMBERS, mode="warn")
    records = [{"value": number if number % 4000 else "none", "text": "x" * 100} for number in range(10_000)]
    told = keeper.accept(meters, *records)
    entries = keeper.entries(meters)
    assert len(entries) > 1
    assert {entry.id for entry in entries} == {told.id}
    assert keeper.records(meters) == records
    marked = [record for entry in entries for at, record in enumerate(entry.records) if str(at) in entry.faults]
    assert [b'"none"' in bytes(record) for record in marked] == [True] * 3


def test_a_dataset_keeps_times_as_they_come(keeper: Keeper) -> None:
    meters = keeper.create()
    keeper.accept(meters, {"timestamp": "2025-01-01T12:00:00+02:00"}, {"timestamp": "soon"})
    assert keeper.records(meters) == [{"timestamp": "2025-01-01T12:00:00+02:00"}, {"timestamp": "soon"}]


def test_a_data_source_brings_times_to_utc_and_warns_of_naive_ones(keeper: Keeper) -> None:
    meters = keeper.create()
    times = ["2025-01-01T12:00:00Z", "2025-01-01T12:00:00+02:00", "2025-01-01T12:00:00"]
    told = keeper.accept(meters, *({"timestamp": at} for at in times), refuse_faulty=True)
    assert [record["timestamp"] for record in keeper.records(meters)] == [
        "2025-01-01T12:00:00Z",
        "2025-01-01T10:00:00Z",
        "2025-01-01T12:00:00Z",
    ]
    assert len(told.warnings) == 1
    assert "data[2]" in told.warnings[0]


def test_a_data_source_warns_of_records_of_another_shape(keeper: Keeper) -> None:
    told = keeper.accept(keeper.create(), {"a": 1}, {"b": 2}, refuse_faulty=True)
    assert told.stored == 2
    assert told.warnings


def test_a_strict_data_source_without_a_schema_refuses_records_of_another_shape(keeper: Keeper) -> None:
    meters = keeper.create(mode="strict")
    with pytest.raises(Unprocessable, match="same schema"):
        keeper.accept(meters, {"a": 1}, {"b": 2}, refuse_faulty=True)
    assert keeper.records(meters) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_strict_data_source_refuses_all_for_one_record_that_fails(keeper: Keeper, place: int) -> None:
    meters = keeper.create(schema=NUMBERS, mode="strict")
    records: list[Any] = [{"value": 1}, {"value": 2}]
    records.insert(place, {"value": "none"})
    with pytest.raises(Unprocessable, match=rf"data\[{place}\].*number"):
        keeper.accept(meters, *records, refuse_faulty=True)
    assert keeper.records(meters) == []
    assert keeper.dead_letters(meters) == {}


def test_a_strict_dataset_sets_what_fails_aside_and_keeps_the_rest(keeper: Keeper) -> None:
    meters = keeper.create(schema=NUMBERS, mode="strict")
    told = keeper.accept(meters, {"value": 1}, {"value": "a"}, {"value": 2}, {}, message_id="m-1")
    assert (told.stored, told.dead_letters) == (2, 2)
    assert keeper.records(meters) == [{"value": 1}, {"value": 2}]
    first, second = keeper.house.collections.dead_letters.list(meters)
    assert (first.record, second.record) == ({"value": "a"}, {})
    assert "number" in first.reason
    assert (first.msgid, first.received_at) == ("m-1", told.at)


@pytest.mark.parametrize("as_a_data_source", [False, True])
def test_in_warn_mode_what_fails_is_kept_and_marked(keeper: Keeper, as_a_data_source: bool) -> None:
    meters = keeper.create(schema=NUMBERS, mode="warn")
    told = keeper.accept(meters, {"value": 1}, {"value": "a"}, refuse_faulty=as_a_data_source)
    (entry,) = keeper.entries(meters)
    assert list(entry.faults) == ["1"]
    assert "number" in entry.faults["1"]
    assert told.stored == 2
    assert bool(told.warnings) == as_a_data_source


def test_in_mode_off_the_schema_is_not_asked(keeper: Keeper) -> None:
    meters = keeper.create(schema=NUMBERS)
    assert keeper.accept(meters, {"value": "a"}).stored == 1
    assert keeper.entries(meters)[0].faults == {}


def test_a_repeated_message_is_stored_once_where_that_is_asked_for(keeper: Keeper) -> None:
    once, each = keeper.create("once", dedup_key=MESSAGE_ID), keeper.create("each")
    for collection in (once, each):
        first, again = (keeper.accept(collection, {"value": 1}, message_id="m-1") for _ in range(2))
        assert not first.is_duplicate
        assert again.is_duplicate == (collection is once)
    assert (len(keeper.records(once)), len(keeper.records(each))) == (1, 2)
    assert not keeper.accept(once, {"value": 1}, message_id="m-2").is_duplicate
    assert not keeper.accept(once, {"value": 1}).is_duplicate


def test_the_same_message_from_many_at_once_is_stored_once(make_house: Any) -> None:
    keeper = Keeper(make_house())
    once = keeper.create(dedup_key=MESSAGE_ID)
    with ThreadPoolExecutor(8) as threads:
        told = [*threads.map(lambda number: keeper.accept(once, {"number": number}, message_id="m-1"), range(16))]
    assert len(keeper.records(once)) == 1
    assert sorted(one.is_duplicate for one in told) == [False] + [True] * 15


def test_what_has_no_message_id_or_null_for_a_key_is_no_repeat(keeper: Keeper) -> None:
    by_message, by_member = keeper.create("a", dedup_key=MESSAGE_ID), keeper.create("b", dedup_key="id")
    for _ in range(2):
        assert not keeper.accept(by_message, {"value": 1}, message_id="").is_duplicate
        assert keeper.accept(by_member, {"id": None}, {"id": None}).stored == 2


def test_records_with_a_member_that_came_before_are_left_out(keeper: Keeper) -> None:
    once = keeper.create(dedup_key="meta.id")
    first = [{"meta": {"id": 1}}, {"meta": {"id": "1"}}, {"meta": {"id": 1}, "again": True}, {"meta": 5}, {"other": 1}]
    assert keeper.accept(once, *first).stored == 4
    told = keeper.accept(once, {"meta": {"id": 2}}, {"meta": {"id": "1"}}, {"other": 1})
    assert (told.stored, told.is_duplicate) == (2, False)
    assert keeper.accept(once, {"meta": {"id": 2}}).is_duplicate
    kept = [first[0], first[1], first[3], first[4], {"meta": {"id": 2}}, {"other": 1}]
    assert keeper.records(once) == kept


def test_a_record_that_was_set_aside_can_be_corrected_and_sent_again(keeper: Keeper) -> None:
    once = keeper.create(schema=NUMBERS, mode="strict", dedup_key="id")
    assert keeper.accept(once, {"id": 1}, {"id": 2, "value": 2}).dead_letters == 1
    told = keeper.accept(once, {"id": 1, "value": 1}, {"id": 2, "value": 2})
    assert (told.stored, told.is_duplicate) == (1, False)
    assert keeper.records(once) == [{"id": 2, "value": 2}, {"id": 1, "value": 1}]


def test_a_repeated_message_sets_nothing_aside_again(keeper: Keeper) -> None:
    once = keeper.create(schema=NUMBERS, mode="strict", dedup_key=MESSAGE_ID)
    first, again = (keeper.accept(once, {"value": 1}, {"value": "a"}, message_id="m-1") for _ in range(2))
    assert (first.stored, first.dead_letters, again.is_duplicate, again.stored, again.dead_letters) == (1, 1, True, 0, 0)
    assert len(keeper.dead_letters(once)) == 1
    all_bad = [keeper.accept(once, {"value": "a"}, message_id="m-2") for _ in range(2)]
    assert [one.dead_letters for one in all_bad] == [1, 0]
    assert len(keeper.dead_letters(once)) == 2


def test_marks_that_are_over_do_not_pile_up_in_redis(production_pair: Environment, redis_server: RedisServer) -> None:
    house = House(Settings.from_env(production_pair))
    keeper = Keeper(house)
    once = keeper.create(dedup_key="id", dedup_seconds=0.001, entry_topic="in")
    for batch in range(6):
        keeper.accept(once, *({"id": f"{batch} {number}"} for number in range(1000)))
    stream = house.collections.topic.stream_name(once)
    assert stream is not None
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.hlen(stream.replace(":log:topic", ":documents")) < 3000
    house.close()


def test_where_each_record_may_be_a_document_fewer_are_taken(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.collections.accepting._DOCUMENTS", 2)
    for number, members in enumerate(({"dedup_key": "id"}, {"schema": NUMBERS, "mode": "strict"})):
        some = keeper.create(f"c{number}", **members)
        with pytest.raises(TooLarge, match="at most 2"):
            keeper.accept(some, {}, {}, {})
    assert keeper.accept(keeper.create("plain"), {}, {}, {}).stored == 3


def test_a_repeat_with_the_same_request_key_is_told_the_first_answer(keeper: Keeper) -> None:
    meters = keeper.create()
    first = keeper.accept(meters, {"value": 1}, request_key=KEY)
    again = keeper.accept(meters, {"value": 1}, request_key=KEY)
    assert (first.replayed, again.replayed) == (False, True)
    assert (first.id, first.at, first.stored) == (again.id, again.at, again.stored)
    assert len(keeper.records(meters)) == 1
    with pytest.raises(KeyReused):
        keeper.accept(meters, {"value": 2}, request_key=RequestKey(KEY.key, "another"))


def test_the_same_request_from_many_at_once_is_stored_once(keeper: Keeper) -> None:
    meters = keeper.create()
    with ThreadPoolExecutor(8) as threads:
        told = [*threads.map(lambda _: keeper.accept(meters, {"value": 1}, request_key=KEY), range(16))]
    assert len({one.id for one in told}) == 1
    assert len(keeper.records(meters)) == 1


def test_an_outage_is_told_and_nothing_half_is_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(house)
    meters = keeper.create(schema=NUMBERS, mode="strict")

    def fail(space: str, change: Change) -> Committed:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as broken:
        broken.setattr(house.state, "commit", fail)
        with pytest.raises(StoreUnavailable):
            keeper.accept(meters, {"value": 1}, {"value": "a"})
    assert keeper.records(meters) == []
    assert keeper.dead_letters(meters) == {}

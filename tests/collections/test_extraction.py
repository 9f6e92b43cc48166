"""Batch events: each of their events becomes a record, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from smarthouse_api.collections.accepting import Accepted
from smarthouse_api.collections.catalogue import SPACE
from smarthouse_api.collections.fast_path import UniformRecords
from smarthouse_api.collections.model import MESSAGE_ID, Collection
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import TooLarge
from tests.collections.conftest import NUMBERS, Keeper

A, B, C = {"value": 1}, {"value": 2}, {"value": 3}
BY_ID = {"key": "events", "dedup_key": "id"}


def batch(id_: Any, *events: Any) -> dict[str, Any]:
    return {"id": id_, "events": list(events)}


def one(keeper: Keeper, collection: Collection, data: Any, **options: Any) -> Accepted:
    """A request with one object."""
    return keeper.accept(collection, data, is_list=False, **options)


@pytest.mark.parametrize("is_list", [False, True])
def test_each_event_of_a_batch_becomes_a_record(keeper: Keeper, is_list: bool) -> None:
    meters = keeper.create(extraction={})
    told = keeper.accept(meters, batch("x", A, B), message_id="m", is_list=is_list)
    assert (told.stored, told.dead_letters, told.is_duplicate) == (2, 0, False)
    assert keeper.records(meters) == [A, B]


def test_batches_and_single_events_come_together_in_their_order(keeper: Keeper) -> None:
    meters = keeper.create(extraction={})
    assert keeper.accept(meters, batch("x", A), B, batch("y", C, A)).stored == 4
    assert keeper.records(meters) == [A, B, C, A]


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("body.events", {"body": {"events": [A, B]}}),
        ("body.events", {"body.events": [A, B]}),
        ("data", {"data": [A, B], "events": [C]}),
    ],
)
def test_the_key_names_any_member(keeper: Keeper, key: str, data: Any) -> None:
    meters = keeper.create(extraction={"key": key})
    one(keeper, meters, data)
    assert keeper.records(meters) == [A, B]


def test_what_has_no_such_member_is_an_event_itself(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID)
    for _ in range(2):
        assert one(keeper, meters, A, message_id="m").stored == 1
    assert keeper.records(meters) == [A, A]


def test_a_batch_without_events_stores_nothing(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID)
    told = one(keeper, meters, batch("x"))
    assert (told.stored, told.dead_letters, told.is_duplicate) == (0, 0, False)


def test_without_an_extraction_a_batch_is_a_record(keeper: Keeper) -> None:
    meters = keeper.create()
    one(keeper, meters, batch("x", A))
    assert keeper.records(meters) == [batch("x", A)]


def test_a_data_source_takes_no_batch_apart(keeper: Keeper) -> None:
    meters = keeper.create(extraction={})
    keeper.accept(meters, batch("x", A), refuse_faulty=True)
    assert keeper.records(meters) == [batch("x", A)]


@pytest.mark.parametrize("repeat", [batch("x", A, B), batch("x", C)])
def test_a_batch_that_came_before_is_not_stored_again(keeper: Keeper, repeat: Any) -> None:
    meters = keeper.create(extraction=BY_ID)
    assert one(keeper, meters, batch("x", A, B), message_id="m1").stored == 2
    told = one(keeper, meters, repeat, message_id="m2")
    assert (told.stored, told.is_duplicate) == (0, True)
    assert keeper.accept(meters, batch("y", C), repeat, batch("y", A)).stored == 1
    assert keeper.records(meters) == [A, B, C]


@pytest.mark.parametrize("id_", [None, "absent"])
def test_a_batch_without_its_key_is_no_repeat(keeper: Keeper, id_: Any) -> None:
    meters = keeper.create(extraction=BY_ID)
    data = batch(None, A) if id_ is None else {"events": [A]}
    assert [one(keeper, meters, data, message_id="m").stored for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("data", [[batch(1, A)], [A]], ids=["batch", "array"])
def test_a_batch_may_be_known_by_the_message(keeper: Keeper, data: list[Any]) -> None:
    meters = keeper.create(extraction={"dedup_key": MESSAGE_ID})
    assert [keeper.accept(meters, *data, message_id=one).stored for one in ("m1", "m1", "m2", "", "")] == [1, 0, 1, 1, 1]


def test_an_array_of_events_is_a_batch_that_is_known_by_its_message(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID)
    assert [keeper.accept(meters, A, B, message_id=one).stored for one in ("m1", "m1", "m2")] == [2, 0, 2]


def test_an_array_of_one_shape_is_such_a_batch_too(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID)
    kind = msgspec.defstruct("Record", [("value", int)])
    accepting = keeper.house.collections.accepting
    told = [accepting.accept(meters, UniformRecords([kind(1), kind(2)]), message_id="m") for _ in range(2)]
    assert [one.stored for one in told] == [2, 0]
    kind = msgspec.defstruct("Record", [("events", int)])
    assert accepting.accept(meters, UniformRecords([kind(1), kind(2)])).dead_letters == 2


def test_batches_and_their_events_are_each_stored_once(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID, dedup_key="id")
    one(keeper, meters, batch(1, {"id": 1}, {"id": 2}))
    assert one(keeper, meters, batch(2, {"id": 2}, {"id": 3})).stored == 1
    assert one(keeper, meters, batch(2, {"id": 4})).is_duplicate
    assert keeper.records(meters) == [{"id": 1}, {"id": 2}, {"id": 3}]


def test_a_repeated_message_with_another_batch_leaves_that_batch_new(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID, dedup_key=MESSAGE_ID)
    one(keeper, meters, batch("x", A), message_id="m1")
    assert one(keeper, meters, batch("y", B), message_id="m1").is_duplicate
    assert one(keeper, meters, batch("y", B), message_id="m2").stored == 1


def test_the_same_batch_from_many_at_once_is_stored_once(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID)
    with ThreadPoolExecutor(8) as pool:
        told = [*pool.map(lambda number: one(keeper, meters, batch("x", A, B), message_id=str(number)), range(8))]
    assert sorted(each.stored for each in told) == [0] * 7 + [2]
    assert keeper.records(meters) == [A, B]


def test_a_repeat_with_the_same_request_key_is_told_the_first_answer(keeper: Keeper) -> None:
    meters = keeper.create(extraction={})
    first, again = (one(keeper, meters, batch("x", A), request_key=RequestKey("one", "digest")) for _ in range(2))
    assert (again.id, again.stored, again.replayed) == (first.id, 1, True)
    assert keeper.records(meters) == [A]


MALFORMED = [
    ({"id": 1, "events": None}, "events is null; it must be an array of objects"),
    ({"id": 1, "events": {"value": 1}}, "events is an object; it must be an array"),
    ({"id": 1, "events": "x"}, "events is a text; it must be an array"),
    ({"id": 1, "events": [A, 5]}, "events[1] is a number; each event must be an object"),
    ({"id": 1, "events": [[A]]}, "events[0] is an array; each event must be an object"),
]


@pytest.mark.parametrize(("data", "reason"), MALFORMED)
@pytest.mark.parametrize("mode", ["off", "strict"])
def test_a_batch_that_cannot_be_taken_apart_becomes_a_dead_letter(keeper: Keeper, data: Any, reason: str, mode: str) -> None:
    meters = keeper.create(extraction=BY_ID, mode=mode)
    told = keeper.accept(meters, data, batch(2, B))
    assert (told.stored, told.dead_letters, told.is_duplicate) == (1, 1, False)
    (letter,) = keeper.house.collections.dead_letters.list(meters)
    assert letter.record == data
    assert letter.reason.startswith(reason)
    # The corrected batch is no repeat.
    assert one(keeper, meters, batch(1, A)).stored == 1


def test_a_malformed_batch_is_fixed_and_replayed(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID, schema=NUMBERS, mode="strict")
    letters = keeper.house.collections.dead_letters
    one(keeper, meters, {"id": 1, "events": {}})
    (letter,) = letters.list(meters)
    assert (letters.replay(meters).stored, letters.replay(meters).left) == (0, 1)
    assert "is a text" in letters.fix(meters, letter.id, {"id": 1, "events": "x"}).reason
    assert letters.fix(meters, letter.id, {"id": 1, "events": [A, {}]}).reason == 'events[1]: "value" is a required property'
    assert letters.fix(meters, letter.id, {"id": 1}).reason == '"value" is a required property'
    assert letters.replay(meters).left == 1
    letters.fix(meters, letter.id, {"id": 1, "events": [A, B]})
    told = letters.replay(meters)
    assert (told.stored, told.left, letters.list(meters)) == (2, 0, [])
    assert keeper.records(meters) == [A, B]


def test_an_event_that_fails_the_schema_becomes_a_dead_letter_by_itself(keeper: Keeper) -> None:
    meters = keeper.create(extraction=BY_ID, schema=NUMBERS, mode="strict")
    told = one(keeper, meters, batch(1, A, {"value": "x"}, B))
    assert (told.stored, told.dead_letters) == (2, 1)
    assert [*keeper.dead_letters(meters).values()] == [{"value": "x"}]
    again = one(keeper, meters, batch(1, A, {"value": "x"}, B))
    assert (again.stored, again.dead_letters, again.is_duplicate) == (0, 0, True)


def test_the_limit_of_records_counts_events(make_house: Any) -> None:
    keeper = Keeper(make_house(collection_records=3))
    meters = keeper.create(extraction={})
    with pytest.raises(TooLarge, match="4 records"):
        one(keeper, meters, batch(1, A, B, C, A))
    with pytest.raises(TooLarge, match="4 batch events"):
        keeper.accept(meters, *[batch(1)] * 4)
    assert keeper.records(meters) == []


def test_a_collection_from_before_there_were_batches_goes_on_unchanged(keeper: Keeper) -> None:
    meters = keeper.create(dedup_key=MESSAGE_ID)
    key, state = f"id/{meters.id}", keeper.house.state
    document = state.get(SPACE, key)
    assert document is not None
    members = {name: value for name, value in msgspec.json.decode(document.value).items() if name != "extraction"}
    state.put(SPACE, key, msgspec.json.encode(members))
    before = keeper.house.collections.catalogue.find("meters")
    assert before.extraction is None
    assert [one(keeper, before, batch("x", A), message_id="m").stored for _ in range(2)] == [1, 0]
    assert keeper.records(meters) == [batch("x", A)]

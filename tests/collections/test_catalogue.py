"""Collections defined, changed, deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from smarthouse_api.collections.model import Collection, Retention, define
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import InUse, Invalid, KeyReused, NotFound, Refused
from tests.collections.conftest import NUMBERS, Keeper


def ids(keeper: Keeper) -> list[str]:
    return [one.id for one in keeper.house.collections.catalogue.list() if one.id not in ("example", "67890")]


def test_a_collection_is_found_by_its_id_and_its_alias(keeper: Keeper) -> None:
    made = keeper.create("meters", alias="m.1", name="Meters", entry_topic="in", retention={"seconds": 60, "bytes": 10})
    catalogue = keeper.house.collections.catalogue
    assert catalogue.get("meters") == catalogue.get("m.1") == made
    assert made.retention == Retention(60, 10)
    assert (made.name, made.mode, made.timestamp_field, made.requires_token, made.public) == (
        "Meters",
        "off",
        "timestamp",
        False,
        False,
    )


def test_the_name_is_the_id_unless_it_is_given(keeper: Keeper) -> None:
    assert keeper.create("meters").name == "meters"


@pytest.mark.parametrize("name", ["", "nobody", "a/b", "é", "x" * 101, "meters\n", "../meters", "\x00", "*"])
def test_what_is_no_name_finds_nothing(keeper: Keeper, name: str) -> None:
    keeper.create("meters")
    assert keeper.house.collections.catalogue.get(name) is None
    with pytest.raises(NotFound):
        keeper.house.collections.catalogue.find(name)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"id": "a b"}, "id: must be 1 to 100 letters"),
        ({"id": "-a"}, "id: must"),
        ({"id": 7}, "id"),
        ({"id": "a", "alias": "a"}, "alias: must be another name"),
        ({"id": "a", "alias": "ä"}, "alias: must"),
        ({"id": "a", "entry_topic": ""}, "entry_topic: must"),
        ({"id": "a", "name": " "}, "name: must"),
        ({"id": "a", "mode": "loud"}, "mode: must be one of off, warn, strict"),
        ({"id": "a", "dedup_key": "a..b"}, "dedup_key: must"),
        ({"id": "a", "dedup_seconds": 0}, "dedup_seconds: must"),
        ({"id": "a", "dedup_seconds": float("nan")}, "dedup_seconds"),
        ({"id": "a", "retention": {"seconds": -1}}, "retention.seconds: must"),
        ({"id": "a", "retention": {"bytes": -1}}, "retention.bytes: must"),
        ({"id": "a", "public": "yes"}, "public"),
        ({"id": "a", "schema": {"type": "objekt"}}, "objekt"),
        ({"id": "a", "schema": {"$ref": "http://127.0.0.1/x.json"}}, "127.0.0.1"),
    ],
)
def test_a_malformed_definition_is_refused_in_words_that_name_the_member(
    keeper: Keeper, members: dict[str, Any], told: str
) -> None:
    with pytest.raises(Invalid, match=told):
        keeper.house.collections.catalogue.create(define(members))
    assert ids(keeper) == []


@pytest.mark.parametrize("second", [{"id": "meters"}, {"id": "m"}, {"id": "x", "alias": "meters"}, {"id": "x", "alias": "m"}])
def test_ids_and_aliases_are_names_of_one_kind(keeper: Keeper, second: dict[str, Any]) -> None:
    keeper.create("meters", alias="m")
    with pytest.raises(InUse) as refused:
        keeper.house.collections.catalogue.create(define(second))
    assert refused.value.reason == "EXISTS"
    assert ids(keeper) == ["meters"]


def test_of_many_who_create_the_same_at_once_one_succeeds(keeper: Keeper) -> None:
    def create(_: int) -> Collection | None:
        try:
            return keeper.create("meters", alias="m")
        except InUse:
            return None

    with ThreadPoolExecutor(8) as threads:
        made = [one for one in threads.map(create, range(16)) if one is not None]
    assert made == [keeper.house.collections.catalogue.get("m")]


def test_creating_again_with_the_same_request_key_gives_what_was_created(keeper: Keeper) -> None:
    catalogue, definition = keeper.house.collections.catalogue, define({"id": "meters"})
    first = catalogue.create(definition, RequestKey("one", "digest"))
    again = catalogue.create(definition, RequestKey("one", "digest"))
    assert (first.replayed, again.replayed) == (False, True)
    assert first.collection == again.collection
    with pytest.raises(KeyReused):
        catalogue.create(definition, RequestKey("one", "another"))


def test_an_update_changes_what_it_names_alone(keeper: Keeper) -> None:
    made = keeper.create("meters", alias="m", entry_topic="in", schema=NUMBERS)
    after = keeper.house.collections.catalogue.update("m", {"mode": "strict", "retention": {"bytes": 5}}).collection
    assert (after.mode, after.retention, after.schema, after.alias) == ("strict", Retention(None, 5), NUMBERS, "m")
    assert (after.key, after.created_at, after.born) == (made.key, made.created_at, made.born)
    assert after.updated_at > made.updated_at
    assert keeper.house.collections.catalogue.get("meters") == after


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mode": "loud"}, "mode"),
        ({"id": "other"}, "id: cannot be changed"),
        ({"key": "0"}, "key: cannot"),
        ({"born": 1}, "born"),
        ({"schema": {"type": 3}}, "(?i)schema"),
        ({"public": 1}, "public"),
    ],
)
def test_an_update_that_is_malformed_changes_nothing(keeper: Keeper, changes: dict[str, Any], told: str) -> None:
    made = keeper.create("meters")
    with pytest.raises(Invalid, match=told):
        keeper.house.collections.catalogue.update("meters", changes)
    assert keeper.house.collections.catalogue.get("meters") == made


def test_an_alias_moves_from_one_collection_to_another(keeper: Keeper) -> None:
    catalogue = keeper.house.collections.catalogue
    keeper.create("a", alias="now")
    keeper.create("b")
    with pytest.raises(InUse):
        catalogue.update("b", {"alias": "now"})
    catalogue.update("a", {"alias": None})
    assert catalogue.get("now") is None
    catalogue.update("b", {"alias": "now"})
    assert catalogue.find("now").id == "b"


def test_a_deleted_collection_is_not_found_and_its_names_are_free(keeper: Keeper) -> None:
    catalogue = keeper.house.collections.catalogue
    made = keeper.create("meters", alias="m")
    catalogue.delete("m")
    assert catalogue.get("meters") is catalogue.get("m") is None
    assert [gone.key for gone in catalogue.tombstones()] == [made.key]
    assert keeper.create("m", alias="meters").key != made.key
    with pytest.raises(NotFound):
        catalogue.delete("nobody")


def test_whoever_found_a_collection_before_it_was_deleted_cannot_write_to_it(keeper: Keeper) -> None:
    made = keeper.create("meters")
    keeper.house.collections.catalogue.delete("meters")
    with pytest.raises(NotFound):
        keeper.accept(made, {"value": 1})
    another = keeper.create("meters")
    with pytest.raises(NotFound):
        keeper.accept(made, {"value": 1})
    assert keeper.records(another) == []


def test_changes_of_many_at_once_are_all_kept(keeper: Keeper) -> None:
    keeper.create("meters")
    changes: list[dict[str, Any]] = [{"public": True}, {"requires_token": True}, {"alias": "m"}, {"mode": "warn"}]

    def update(change: dict[str, Any]) -> Refused | None:
        try:
            keeper.house.collections.catalogue.update("meters", change)
        except Refused as refused:
            return refused
        return None

    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(update, changes)] == [None] * 4
    found = keeper.house.collections.catalogue.find("m")
    assert (found.public, found.requires_token, found.mode) == (True, True, "warn")


def test_changes_that_build_on_what_is_there_are_all_kept(keeper: Keeper) -> None:
    keeper.create("meters")
    catalogue = keeper.house.collections.catalogue

    def add(number: int) -> None:
        catalogue.update("meters", lambda one: {"kept": {**one.kept, str(number): number}})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(8)))
    assert catalogue.find("meters").kept == {str(number): number for number in range(8)}
    before = catalogue.find("meters")
    assert catalogue.update("meters", lambda one: {}).collection == before == catalogue.find("meters")


def test_what_a_new_installation_begins_with_can_be_made_twice(keeper: Keeper) -> None:
    for _ in range(2):
        keeper.house.collections.begin()
    found = {one.id: one for one in keeper.house.collections.catalogue.list()}
    assert found["example"].entry_topic is not None
    assert found["67890"].timestamp_field == "timestamp"


def test_an_update_of_what_another_has_changed_since_it_was_seen_is_refused(keeper: Keeper) -> None:
    catalogue = keeper.house.collections.catalogue
    seen = keeper.create("meters")
    catalogue.update("meters", {"public": True}, seen=seen)
    with pytest.raises(InUse) as refused:
        catalogue.update("meters", {"mode": "warn"}, seen=seen)
    assert refused.value.reason == "OUTDATED"
    assert catalogue.find("meters").mode == "off"


def test_a_repeated_update_is_told_the_first_answer(keeper: Keeper) -> None:
    catalogue, key = keeper.house.collections.catalogue, RequestKey("one", "digest")
    keeper.create("meters", alias="m")
    first, again = (catalogue.update("meters", {"alias": None}, request_key=key) for _ in range(2))
    assert (first.alias_before, first.replayed, again.replayed) == ("m", False, True)
    assert (first.collection, first.alias_before) == (again.collection, again.alias_before)

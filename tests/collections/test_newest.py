"""The newest records and the figures of a collection, from the topic and from the lake, and drafts of schemas."""

from __future__ import annotations

from typing import Any

import pytest

from smarthouse_api.collections.drafting import draft_of
from smarthouse_api.collections.figures import Figures
from smarthouse_api.collections.model import Collection, position_in
from smarthouse_api.collections.schemas import Checker
from smarthouse_api.errors import NotFound
from tests.collections.conftest import NUMBERS, Keeper
from tests.conftest import HOME


def values(keeper: Keeper, one: Collection, limit: int = 20, after: int = 0) -> list[Any]:
    return [record.value()["value"] for record in keeper.house.collections.newest.of(one, limit, after).records]


@pytest.mark.parametrize("topic", [None, "in"])
def test_the_newest_come_first_wherever_they_are(keeper: Keeper, topic: str | None) -> None:
    one, newest = keeper.create(entry_topic=topic), keeper.house.collections.newest
    assert newest.of(one, 20).records == []
    for start in range(0, 40, 2):
        keeper.accept(one, {"value": start}, {"value": start + 1}, message_id=f"m{start}")
    keeper.house.collections.chores.flush(one)  # without an entry topic, they leave the topic now
    last = newest.of(one, 3)
    assert [record.value()["value"] for record in last.records] == [39, 38, 37]
    assert [str(record.position) for record in last.records] == ["20-1", "20-0", "19-1"]
    assert last.records[0].msgid == ("m38" if topic else None)
    for number in (40, 41):
        keeper.accept(one, {"value": number})
    assert values(keeper, one, 5) == [41, 40, 39, 38, 37]
    assert values(keeper, one, 100) == [*range(41, -1, -1)]
    assert values(keeper, one, 5, last.last) == [41, 40]
    assert values(keeper, one, 5, newest.of(one, 1).last) == []
    for before, found in (("20-1", [38, 37]), ("20-0", [37, 36]), ("22-0", [40, 39]), ("1-0", []), ("99-0", [41, 40])):
        page = newest.of(one, 2, 0, position_in(before))
        assert [record.value()["value"] for record in page.records] == found, before
    assert newest.of(one, 9, 18, position_in("20-1")).records == newest.of(one, 4).records[3:] + newest.of(one, 6).records[4:]
    assert [figures.records for figures in keeper.house.collections.figures.of([one])] == [40]


@pytest.mark.parametrize("is_before", [True, False])
def test_what_moves_into_the_lake_meanwhile_is_told_once(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, is_before: bool
) -> None:
    one, chores, read, moves = keeper.create(), keeper.house.collections.chores, keeper.house.state.read, [1, 1]
    keeper.accept(one, {"value": 0})
    chores.flush(one)
    for number in range(1, 4):
        keeper.accept(one, {"value": number})

    def reading(*arguments: Any) -> Any:
        if not moves:
            return read(*arguments)
        moves.clear()
        if is_before:
            chores.flush(one)
        found = read(*arguments)
        chores.flush(one)
        return found

    monkeypatch.setattr(keeper.house.state, "read", reading)
    assert values(keeper, one) == [3, 2, 1, 0]
    assert not moves


def test_a_forgotten_homes_records_are_not_among_the_newest(keeper: Keeper) -> None:
    one, house = keeper.create(entry_topic="in", schema=NUMBERS, mode="warn"), keeper.house
    tag = house.states.homes.tag(HOME)
    for number in range(3):
        keeper.accept(one, {"value": number}, home=tag)
        keeper.accept(one, {"value": f"{number}"})
    house.collections.chores.flush(one)
    keeper.accept(one, {"value": 9}, home=tag)
    found = house.collections.newest.of(one, 20).records
    assert [(record.value()["value"], record.has_home, record.fault is None) for record in found[:3]] == [
        (9, True, True),
        ("2", False, False),
        (2, True, True),
    ]
    house.forgetting.forget(HOME)
    assert values(keeper, one) == ["2", "1", "0"]


def test_figures_count_without_reading(keeper: Keeper) -> None:
    strict, empty = keeper.create(schema=NUMBERS, mode="strict", entry_topic="in"), keeper.create("empty")
    keeper.accept(strict, {"value": 1}, {"value": 2}, {"value": "x"})
    keeper.house.collections.chores.flush(strict)
    keeper.accept(strict, {"value": 3})
    stored, quota = keeper.house.collections.quotas.of(strict)
    assert keeper.house.collections.figures.of([strict, empty]) == [Figures(2, 1, stored, quota, 1), Figures(0, 0, 0, quota, 0)]
    keeper.house.collections.catalogue.delete("empty")
    with pytest.raises(NotFound):
        keeper.house.collections.newest.of(empty, 20)


def test_a_page_of_the_catalogue_says_where_the_next_one_begins(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.collections.catalogue._AT_ONCE", 2)
    for id_ in "abc":
        keeper.create(id_)
    catalogue, found, after = keeper.house.collections.catalogue, list[str](), ""
    while True:
        some, after = catalogue.page(after)
        found += [one.id for one in some]
        if not after:
            break
    assert [id_ for id_ in found if len(id_) == 1] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("records", "drafted"),
    [
        ([{}], {"type": "object"}),
        ([{"a": 1}, {"a": 1.5}], {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}),
        ([{"a": 1}, {"b": None}], {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}}}),
        (
            [{"a": [{"b": True}, {}, "x"]}],
            {
                "type": "object",
                "properties": {
                    "a": {
                        "type": "array",
                        "items": {"type": ["object", "string"], "properties": {"b": {"type": "boolean"}}},
                    }
                },
                "required": ["a"],
            },
        ),
        ([{str(name): 1 for name in range(300)}], {"type": "object"}),
        ([{"a": {"b": {"c": {"d": {"e": 1}}}}}], None),
    ],
)
def test_a_draft_is_a_schema_that_its_records_pass(records: list[Any], drafted: dict[str, Any] | None) -> None:
    found = draft_of(records)
    assert Checker(found).faults_of(records) == {}
    found.pop("$schema")
    assert drafted in (None, found)

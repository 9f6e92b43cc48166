"""What an operator took away after a backup stays away when the backup is restored; what was given again stays given."""

from __future__ import annotations

import msgspec
import pytest

from backends.ports import Change
from smarthouse_api.access import grants
from smarthouse_api.collections import catalogue
from smarthouse_api.collections.model import define
from smarthouse_api.house import House
from smarthouse_api.states import homes
from tests.backups.test_backups import quiet, restore
from tests.conftest import HOME, OTHER_HOME
from tests.each import on_disk, on_disk_and_servers

OPEN = {"entry_topic": "topic", "requires_token": False, "public": True}


@pytest.fixture
def begun(open_house) -> House:
    house = open_house()
    house.begin()
    return house


def give(house: House) -> None:
    """Give homes to projects, link homes, and open collections."""
    house.access.assign([1, 2, 3, 4], "north")
    for uuid, home_id in ((HOME, 1), (OTHER_HOME, 2)):
        house.states.homes.link(uuid, home_id)
    for name in ("kept", "closed"):
        house.collections.catalogue.create(define({"id": name, "alias": f"{name}-alias", **OPEN}))


def take_away(house: House) -> None:
    house.access.unassign(1)
    house.access.assign([2], "south")
    house.forgetting.unlink(1)
    house.collections.catalogue.update("closed", {"alias": None, "public": False, "requires_token": True})


def as_before_ids(house: House) -> None:
    """Have the state as earlier versions wrote it, without the ids of what was given."""
    names = [name for name, _ in house.state.scan_all(grants.SPACE, "assigned/")]
    house.state.commit(grants.SPACE, Change(deletes=tuple(names)))
    for name, _ in house.state.scan_all(homes.SPACE, "streams/"):
        house.state.put(homes.SPACE, name, b"")
    for one in house.collections.catalogue.list():
        plain = {name: value for name, value in msgspec.structs.asdict(one).items() if name != "rights"}
        house.state.put(catalogue.SPACE, f"id/{one.id}", msgspec.json.encode(plain))


def given(house: House) -> dict[str, object]:
    collections = house.collections.catalogue
    return {
        "projects": house.access.assignments(),
        "links": {uuid: house.states.homes.linked(house.states.homes.tag(uuid)) for uuid in (HOME, OTHER_HOME)},
        "collections": {one.id: (one.alias, one.public, one.requires_token) for one in collections.list()},
        "aliases": [name for name in ("kept-alias", "closed-alias") if collections.get(name)],
    }


TAKEN = {
    "projects": {3: "north", 4: "north"},
    "links": {HOME: [], OTHER_HOME: [2]},
    "collections": {"kept": ("kept-alias", True, False), "closed": (None, False, True)},
    "aliases": ["kept-alias"],
}


@on_disk_and_servers("is_old", [False, True], [False])
def test_what_was_taken_away_since_a_backup_does_not_come_back(begun, place, open_house, elsewhere, is_old):
    give(begun)
    if is_old:
        as_before_ids(begun)
    begun.backups.make(place, quiet)
    take_away(begun)
    there = open_house(elsewhere)
    assert restore(there, place, begun.forgetting.noted()).rights == 6
    assert given(there) == TAKEN
    assert restore(there, place, is_replaced=True).rights == 6  # the notes are of the restored installation, too


@on_disk_and_servers("is_old", [False, True], [False])
def test_what_was_taken_away_and_given_again_before_a_backup_stays(begun, place, open_house, elsewhere, is_old):
    give(begun)
    if is_old:
        as_before_ids(begun)
    take_away(begun)
    begun.access.assign([1, 2], "north")
    begun.states.homes.link(HOME, 1)
    begun.collections.catalogue.update("closed", {"alias": "closed-alias", "public": True, "requires_token": False})
    before = given(begun)
    begun.backups.make(place, quiet)
    there = open_house(elsewhere)
    assert restore(there, place, begun.forgetting.noted()).rights == 0
    assert given(there) == before


@on_disk
def test_a_change_that_takes_nothing_away_leaves_no_note(begun):
    give(begun)
    begun.access.assign([3], "north")
    begun.states.homes.link(HOME, 1)
    begun.collections.catalogue.update("kept", {"name": "another", "schema": {}})
    assert begun.forgetting.noted() == set()

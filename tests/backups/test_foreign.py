"""A backup that this version cannot read is refused before anything is changed."""

from __future__ import annotations

import json

import pytest

from backends.dumps import DumpedDocument, DumpedSpace
from smarthouse_api.backups import manifest, records
from smarthouse_api.errors import Invalid
from tests.backups.test_backups import quiet, restore
from tests.each import on_disk_and_servers


@pytest.fixture
def made(open_house, place):
    house = open_house()
    house.begin()
    house.state.put("homes", "key", b"")
    house.backups.make(place, quiet)
    return house


def replaced(place, rows) -> None:
    found, _ = manifest.read(place)
    manifest.write(place, manifest.msgspec.structs.replace(found, state=records.write(place, found.state.object, rows)))


def newer(place) -> None:
    told = json.loads(place.get("backup/backup.json"))
    place.put("backup/backup.json", [json.dumps({"format": told["format"] + 1, "shape": "another"}).encode()])


def state_of_a_newer_format(place) -> None:
    replaced(place, records.packed([DumpedSpace("installation", 1), DumpedDocument("format", b"99", 1)]))


def unknown_records(place) -> None:
    replaced(place, [("space", "homes", 1), ("table", "another", 2)])


def missing_records(place) -> None:
    found, _ = manifest.read(place)
    state = manifest.msgspec.structs.replace(found.state, records=found.state.records + 1)
    manifest.write(place, manifest.msgspec.structs.replace(found, state=state))


@on_disk_and_servers(
    "how, told",
    [
        (newer, "newer version made this backup"),
        (state_of_a_newer_format, "newer version made this backup"),
        (unknown_records, "cannot be read"),
        (missing_records, "damaged"),
    ],
    [(unknown_records, "cannot be read")],
)
def test_a_backup_that_cannot_be_read_changes_nothing(made, place, open_house, elsewhere, how, told):
    how(place)
    there = open_house(elsewhere)
    with pytest.raises(Invalid, match=told):
        restore(there, place)
    assert there.state.is_empty()
    assert list(there.objects.list()) == []
    before = made.installation.check()
    with pytest.raises(Invalid, match=told):
        restore(made, place, is_replaced=True)
    assert open_house().installation.check() == before

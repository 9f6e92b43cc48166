"""A backup that is broken off at any step leaves the one before whole, byte for byte."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from backends.ports import ObjectStore
from smarthouse_api.backups import files, manifest, records
from smarthouse_api.errors import InUse
from smarthouse_api.house import House
from tests.backups.test_backups import Killed, quiet, restore
from tests.conftest import OTHER_HOME, payload, state
from tests.each import on_disk


def step_by_step(place: ObjectStore, patched: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
    """Have a place do something before each of its steps: each thing that is put or removed is one."""
    lock = threading.Lock()

    def step(act):
        def taken(*given, **named):
            with lock:
                before()
                return act(*given, **named)

        return taken

    for name in ("put", "put_table", "delete", "sweep_table"):
        patched.setattr(place, name, step(getattr(place, name)))


def dies_after(steps: int) -> Callable[[], None]:
    """Has a place die after so many steps."""
    left = iter(range(steps))

    def act() -> None:
        if next(left, None) is None:
            raise Killed

    return act


def change(house: House, client, value: str) -> None:
    """Change what may change under the same name: the lake is made anew, a raw upload is written again."""
    client.ask(house, "post", "/api/ingest/data", data=payload(state(value=value)), headers={"Home-UUID": OTHER_HOME})
    house.states.rebuilding.ask(None, None)
    while house.states.rebuilding.repairs.unfinished():
        house.states.chores.repair()
        house.states.chores.curate(lambda: True)
    raw = next(house.objects.list("raw/")).key
    house.objects.put(raw, [house.objects.get(raw) + b" "])
    house.objects.put(raw, [house.objects.get(raw)[:-1]])


def whole(place: ObjectStore) -> manifest.Manifest:
    """The manifest of the place, once each file of it was found to be what it says."""
    found, listed = manifest.read(place)
    assert [file.shown for file in listed if files.sha256_of(place, file) != file.sha256] == []
    return found


@on_disk
def test_a_backup_killed_at_any_step_leaves_a_whole_one(filled, place, client, monkeypatch):
    filled.backups.make(place, quiet)
    change(filled, client, "99")
    seen = list[manifest.Manifest]()
    with monkeypatch.context() as patched:
        step_by_step(place, patched, lambda: seen.append(whole(place)))
        filled.backups.make(place, quiet)
    assert len(seen) > 10
    assert len(set(seen)) == 2
    assert whole(place) == seen[-1] != seen[0]


@on_disk
def test_a_backup_that_is_broken_off_leaves_the_one_before_to_be_restored(
    filled, place, client, open_house, elsewhere, monkeypatch
):
    filled.backups.make(place, quiet)
    earlier, before = whole(place), client.content(filled)
    change(filled, client, "99")
    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr(manifest, "write", lambda *_: (_ for _ in ()).throw(Killed))
        filled.backups.make(place, quiet)
    assert whole(place) == earlier
    restore(open_house(elsewhere), place)
    assert client.content(open_house(elsewhere)) == before


@on_disk
def test_a_backup_after_one_that_was_killed_is_whole_cheap_and_restored(
    filled, place, client, open_house, elsewhere, monkeypatch
):
    first = filled.backups.make(place, quiet)
    for number in range(2):
        change(filled, client, f"9{number}")
        with monkeypatch.context() as patched, suppress(Killed):
            step_by_step(place, patched, dies_after(5))
            filled.backups.make(place, quiet)
        second = filled.backups.make(place, quiet)
        assert 0 < second.copied < first.files
        assert filled.backups.make(place, quiet).copied == 0
        whole(place)
    there = {one.place for one in files.objects_of(place)}
    named = {file.resting_place for file in manifest.read(place)[1]} | {("", name) for name in manifest.names(whole(place))}
    assert there <= named
    before = client.content(filled)
    restore(open_house(elsewhere), place)
    assert client.content(open_house(elsewhere)) == before


@on_disk
def test_a_backup_of_the_earlier_layout_is_restored(filled, place, client, open_house, elsewhere):
    before = client.content(filled)
    filled.backups.make(place, quiet)
    found, listed = manifest.read(place)
    plain = [(file.table, file.path, file.size_bytes, file.modified_at, file.sha256) for file in listed]
    manifest.write(place, manifest.msgspec.structs.replace(found, files=records.write(place, found.files.object, plain)))
    place.delete(["backup/place"])
    restore(open_house(elsewhere), place)
    assert client.content(open_house(elsewhere)) == before
    assert filled.backups.make(place, quiet).copied == 0


@on_disk
def test_two_backups_into_one_place_do_not_mix(filled, place, monkeypatch):
    filled.backups.make(place, quiet)
    monkeypatch.setattr(filled.backups, "_lease_seconds", -1.0)
    id_ = place.get("backup/place").decode()
    with filled.leases.hold(f"backup-{id_}", 1), pytest.raises(InUse, match="Another backup"):
        filled.backups.make(place, quiet)
    filled.backups.make(place, quiet)

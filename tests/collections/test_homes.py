"""Records that name their home: they are forgotten with it, whatever dies or is on its way, and others stay."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backends.dumps import DumpedDocument, DumpedEntry
from backends.parts import Part
from backends.ports import Change, PartDamaged, StateStore, StoreUnavailable
from config.settings import Settings
from smarthouse_api.collections.accepting import Accepted
from smarthouse_api.collections.home_mending import RecordHomesMending
from smarthouse_api.collections.homes import HIDDEN, HOME, NAMED, SPACE, UNNAMED, LeavingHome, RecordHomes
from smarthouse_api.collections.model import RECORD_BYTES, TOPIC, Collection, define
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.read_plan import Selection
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.errors import TooLarge
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from tests.collecting import SCHEMA
from tests.collections.lakes import Died, interrupt
from tests.conftest import HOME as UUID
from tests.conftest import OTHER_HOME, Environment, changed, on_pairs, payload, state
from tests.damaging import damage, flipped
from tests.waiting import pass_time

MARK = "a-value-that-only-this-home-ever-had"
MEMBER = "a-name-that-only-this-home-ever-had"

environment = on_pairs("embedded_pair", "production_pair")

CRASHES: list[tuple[Any, str, str]] = [
    (RecordHomes, "hide", "after"),
    (RecordHomes, "close", "after"),
    (TopicQueue, "advance", "after"),
    (RecordHomes, "note_closed", "after"),
    (TopicQueue, "put_fields", "after"),
    (CollectionsTable, "delete_homes", "after"),
    (CollectionsTable, "erase_history", "after"),
    (RecordHomes, "reveal", "after"),
    (StateStore, "scrub", "before"),
]


def collection(house: House, id_: str = "meters", **members: Any) -> Collection:
    return house.collections.catalogue.create(define({"id": id_, "entry_topic": id_, **members})).collection


def push(house: House, one: Collection, *records: Any, home: str | None = UUID, **options: Any) -> Accepted:
    tag = None if home is None else house.states.homes.tag(home)
    return house.collections.accepting.accept(one, list(records), home=tag, **options)


def read(house: House, one: Collection) -> list[Any]:
    with closing(house.collections.records.open(one, Selection(), "jsonl", with_meta=False)) as answer:
        return [json.loads(line) for line in b"".join(answer.chunks).splitlines()]


def consumed(house: House, one: Collection) -> list[Any]:
    return [json.loads(bytes(event.record)) for event in house.collections.topic.read(one).events]


def key_of(house: House, one: Collection, home: str = UUID) -> str:
    named = house.collections.homes.of(house.states.homes.tag(home))
    return next(found.key for found in named if found.collection == one.id)


def left(house: House, *marks: str) -> list[str]:
    """The documents, entries, rows and objects that have one of the marks."""
    found = list[str]()
    for part in house.state.dump():
        if isinstance(part, DumpedDocument | DumpedEntry):
            text = f"{getattr(part, 'key', '')} {part.value!r}"
            found += [text for mark in marks if mark in text]
    table = house.collections.table.open()
    rows = [] if table is None else table.to_pyarrow_table().to_pylist()
    return found + [str(row) for row in rows for mark in marks if mark in str(row)]


def filled(house: House) -> Collection:
    """A collection with records of the home in the lake, in the topic and among the dead letters, and with others' records."""
    one = collection(house, schema=SCHEMA, mode="strict", dedup_key="id")
    push(house, one, {"value": 1, "id": MARK, MEMBER: 1}, {"value": 2}, request_key=RequestKey("key", "digest"))
    push(house, one, {"value": 3}, {"value": f"bad {MARK}"})
    push(house, one, {"value": 4, "id": "other"}, {"value": "bad other"}, home=OTHER_HOME)
    push(house, one, {"value": 5}, home=None)
    house.collections.chores.flush(one)
    push(house, one, {"value": 6, "id": f"{MARK} again"})
    push(house, one, {"value": 7}, home=OTHER_HOME)
    return one


def assert_forgotten(house: House, one: Collection, key: str) -> None:
    assert left(house, key, MARK, MEMBER, house.states.homes.tag(UUID)) == []
    assert [record["value"] for record in read(house, one)] == [4, 5, 7]
    assert [record["value"] for record in consumed(house, one)] == [4, 5, 7]
    assert [letter.record["value"] for letter in house.collections.dead_letters.list(one)] == ["bad other"]
    assert house.collections.homes.leaving() == {}
    table = house.collections.table.open()
    assert table is not None
    assert table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True) == []


@pytest.mark.parametrize("pair", ["memory_pair", "embedded_pair", "production_pair"])
def test_nothing_of_the_home_is_left_and_all_else_stays(pair: str, request: pytest.FixtureRequest) -> None:
    with closing(House(Settings.from_env(request.getfixturevalue(pair)))) as house:
        look_at_a_forget(house)


def look_at_a_forget(house: House) -> None:
    one = filled(house)
    key = key_of(house, one)
    assert [record["value"] for record in read(house, one)] == [1, 2, 3, 4, 5, 6, 7]
    house.forgetting.forget(UUID)
    assert_forgotten(house, one, key)
    assert set(TopicQueue(house.state, one).fields().types) == {"value", "id"}
    assert [b'"home"' in entry.value for entry in house.state.read(one.space, TOPIC)] == [True, False, True]  # of 4, 5, 7


def test_afterwards_the_same_records_are_new_and_are_those_of_a_new_home(house: House) -> None:
    one = filled(house)
    key, request = key_of(house, one), RequestKey("key", "digest")
    assert push(house, one, {"value": 1, "id": MARK}, request_key=request).replayed
    house.forgetting.forget(UUID)
    again = push(house, one, {"value": 1, "id": MARK}, request_key=request)
    assert not again.replayed
    assert not again.is_duplicate
    assert key_of(house, one) != key
    assert [record["value"] for record in read(house, one)] == [4, 5, 7, 1]
    house.forgetting.forget(UUID)
    assert [record["value"] for record in read(house, one)] == [4, 5, 7]


def test_no_file_has_a_byte_of_it(embedded_pair: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # other tests leave their homes in the usual one
    with closing(House(Settings.from_env(embedded_pair))) as house:
        one = filled(house)
        key, folder = key_of(house, one), Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
        house.forgetting.forget(UUID)
        for mark in (UUID, key, MARK, MEMBER, house.states.homes.tag(UUID)):
            files = (file for file in folder.rglob("*") if file.is_file())
            assert [file for file in files if mark.encode() in file.read_bytes() or mark in str(file)] == []
        assert [one for one in house.searching.run(UUID) if one.store != "metrics"] == []


def test_its_uploads_go_with_it_and_a_home_without_either_changes_nothing(house: House) -> None:
    one = filled(house)
    house.states.uploads.receive(Upload(UUID, payload(state())))
    house.forgetting.forget("7c9e6679-7425-40de-944b-e07fc1f90ae7")
    assert len(read(house, one)) == 7
    key = key_of(house, one)
    house.forgetting.forget(UUID)
    assert_forgotten(house, one, key)
    assert house.states.homes.find(UUID) is None


@pytest.mark.parametrize(
    ("pair", "owner", "name", "when"),
    [*(("embedded_pair", *crash) for crash in CRASHES), *(("production_pair", *crash) for crash in CRASHES[2:6:3])],
)
def test_a_kill_at_any_step_is_made_good_by_a_repeat(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, pair: str, owner: Any, name: str, when: str
) -> None:
    environment = changed(request.getfixturevalue(pair), lease_seconds=0.5)
    with closing(House(Settings.from_env(environment))) as house, closing(House(Settings.from_env(environment))) as another:
        die_within(house, another, monkeypatch, owner, name, when)


def die_within(house: House, another: House, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str) -> None:
    one = filled(house)
    key = key_of(house, one)

    def die() -> None:
        raise Died

    owner = type(house.state) if owner is StateStore else owner
    monkeypatch.setattr(owner, name, interrupt(owner, name, die, when=when))
    with pytest.raises(Died):
        house.forgetting.forget(UUID)
    monkeypatch.undo()
    another.forgetting.forget(UUID)
    assert_forgotten(another, one, key)


def test_the_background_ends_what_a_dead_process_has_begun(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house()
    one = filled(house)
    key = key_of(house, one)

    def fail(*_: Any) -> None:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(RecordHomes, "close", fail)
    with pytest.raises(StoreUnavailable):
        house.forgetting.forget(UUID)
    monkeypatch.undo()
    make_house().forgetting.try_purge()
    assert_forgotten(house, one, key)


def test_with_a_delay_nothing_is_read_at_once_and_the_bytes_go_later(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(purge_delay_seconds=3600)
    one = filled(house)
    key = key_of(house, one)
    house.forgetting.forget(UUID)
    assert [record["value"] for record in read(house, one)] == [4, 5, 7]
    assert [record["value"] for record in consumed(house, one)] == [4, 5, 7]
    assert len(house.collections.dead_letters.list(one)) == 1
    assert house.collections.dead_letters.replay(one).stored == 0
    assert left(house, key) != []
    house.forgetting.try_purge()
    assert left(house, key) != []
    assert house.status.report().waiting.erasing == 1
    pass_time(house, 3601, monkeypatch)
    house.forgetting.try_purge()
    assert_forgotten(house, one, key)


def test_a_request_that_is_on_its_way_is_of_the_new_home(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    one = filled(house)
    key = key_of(house, one)
    commit, is_first = type(house.state).commit, True

    def late(self: StateStore, space: str, change: Change) -> Any:
        nonlocal is_first
        if is_first and space == one.space and change.appends:
            is_first = False
            house.forgetting.forget(UUID)
        return commit(self, space, change)

    monkeypatch.setattr(type(house.state), "commit", late)
    push(house, one, {"value": 8})
    monkeypatch.undo()
    assert key_of(house, one) != key
    assert left(house, key) == []
    assert [record["value"] for record in read(house, one)] == [4, 5, 7, 8]


def test_a_writer_who_slept_through_the_forget_adds_nothing_to_the_old_home(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, another = make_house(), make_house()
    one = collection(house)
    opened, keys = RecordHomes._open, list[str]()

    def slept(self: RecordHomes, collection: Collection, key: str, tag: str) -> Any:
        keys.append(key)
        if len(keys) == 1:
            another.forgetting.forget(UUID)
        return opened(self, collection, key, tag)

    monkeypatch.setattr(RecordHomes, "_open", slept)
    push(house, one, {"value": 1})
    assert len(set(keys)) == 2
    assert left(house, keys[0]) == []
    assert read(house, one) == [{"value": 1}]


def test_a_replay_of_a_dead_letter_is_of_its_home(house: House) -> None:
    one = collection(house, schema=SCHEMA, mode="strict")
    push(house, one, {"value": MARK})
    push(house, one, {"value": "x"}, home=None)
    house.collections.catalogue.update(one.id, {"mode": "off"})
    loose = house.collections.catalogue.find(one.id)
    assert house.collections.dead_letters.replay(loose).stored == 2
    key = key_of(house, one)
    assert [record["value"] for record in read(house, loose)] == [MARK, "x"]
    house.forgetting.forget(UUID)
    assert read(house, loose) == [{"value": "x"}]
    assert left(house, key, MARK) == []


def test_readers_of_the_home_are_broken_off_and_others_go_on(make_house: Callable[..., House]) -> None:
    house = make_house(purge_wait_seconds=0.1)
    one, other = filled(house), collection(house, "other")
    push(house, other, {"value": 1}, home=None)
    opened = [house.collections.records.open(each, Selection(), "jsonl", with_meta=False) for each in (one, other)]
    with closing(opened[0]), closing(opened[1]):
        house.forgetting.forget(UUID)
        with pytest.raises(LeaseLost):
            b"".join(opened[0].chunks)
        assert json.loads(b"".join(opened[1].chunks)) == {"value": 1}


def test_a_collection_that_was_deleted_first_keeps_nothing_back(house: House) -> None:
    one = filled(house)
    key = key_of(house, one)
    house.collections.catalogue.delete(one.id)
    house.forgetting.forget(UUID)
    assert left(house, key, MARK) == []
    house.collections.chores.purge()
    assert left(house, one.key) == []


@pytest.mark.parametrize("names", [("state.db", "objects"), ("state.db",)])
def test_a_restored_backup_forgets_it_again(embedded_pair: Environment, tmp_path: Path, names: tuple[str, ...]) -> None:
    data = Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    house = House(Settings.from_env(embedded_pair))
    one = filled(house)
    house.collections.chores.flush(one)
    key = key_of(house, one)
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    push(house, one, {"value": MARK}, home="7c9e6679-7425-40de-944b-e07fc1f90ae7")  # of which the backup knows nothing
    house.collections.chores.flush(one)
    house.forgetting.forget(UUID)
    noted = house.forgetting.noted()
    house.close()
    for name in names:
        shutil.rmtree(data / name) if (data / name).is_dir() else (data / name).unlink()
        (shutil.copytree if (tmp_path / "backup" / name).is_dir() else shutil.copy)(tmp_path / "backup" / name, data / name)
    with closing(House(Settings.from_env(embedded_pair))) as restored:
        assert restored.collections.homes.of(restored.states.homes.tag(UUID)) != []
        restored.restoring.restore(noted)
        assert left(restored, key, MARK) == []
        assert 4 in [record["value"] for record in read(restored, one)]


def test_a_damaged_file_keeps_no_home_from_being_forgotten(embedded_pair: Environment) -> None:
    with closing(House(Settings.from_env(embedded_pair))) as house:
        one = filled(house)
        key = key_of(house, one)
        folder = Path(embedded_pair["SMARTHOUSE_DATA_DIR"]) / "objects"
        (file,) = [path for path in folder.rglob("*.parquet") if one.key in str(path)]
        file.write_bytes(file.read_bytes()[:100])
        house.forgetting.forget(UUID)
        assert left(house, key, MARK, MEMBER) == []
        house.collections.chores.rebuilding.work()
        assert left(house, key, MARK, MEMBER) == []
        assert [record["value"] for record in consumed(house, one)] == [4, 5, 7]


def test_a_damaged_dead_letter_goes_too_since_nobody_can_tell_whose_it_is(
    environment: Environment, make_house: Callable[..., House]
) -> None:
    house = make_house()
    one = filled(house)
    key = key_of(house, one)
    (letter,) = (found.value for _, found in house.state.scan_all(one.space, "aside/") if MARK.encode() in found.value)
    damage(environment, letter, flipped(letter))
    with pytest.raises(PartDamaged):
        house.collections.dead_letters.list(one)
    house.forgetting.forget(UUID)
    assert_forgotten(house, one, key)


def test_states_are_erased_though_the_log_of_records_is_damaged(embedded_pair: Environment) -> None:
    with closing(House(Settings.from_env(embedded_pair))) as house:
        one = filled(house)
        key = key_of(house, one)
        house.states.uploads.receive(Upload(UUID, payload(state())))
        logs = Path(embedded_pair["SMARTHOUSE_DATA_DIR"]) / "objects/tables/collections/_delta_log"
        newest = max(logs.glob("*.json"))
        whole = newest.read_bytes()
        newest.write_bytes(b"")
        with pytest.raises(StoreUnavailable):
            house.forgetting.forget(UUID)
        assert house.states.homes.hidden() == {}
        assert set(house.collections.homes.leaving()) == {key}
        with pytest.raises(StoreUnavailable):  # though nothing is known of that home
            house.forgetting.forget("7c9e6679-7425-40de-944b-e07fc1f90ae7")
        newest.write_bytes(whole)
        house.forgetting.forget(UUID)
        assert_forgotten(house, one, key)


def test_all_records_of_a_home_can_be_had(house: House) -> None:
    one, other = filled(house), collection(house, "other")
    push(house, other, {"value": 8})
    found = [*house.collections.home_records.of(house.states.homes.tag(UUID))]
    assert [(record.collection, json.loads(record.record)["value"]) for record in found] == [
        (one.id, f"bad {MARK}"),
        *((one.id, value) for value in (1, 2, 3, 6)),
        (other.id, 8),
    ] or [record.collection for record in found] == [other.id, *[one.id] * 5]
    assert [record.dead_letter is not None for record in found if record.collection == one.id] == [True, *[False] * 4]
    assert [*house.collections.home_records.of(house.states.homes.tag(OTHER_HOME.replace("0", "1")))] == []
    house.forgetting.forget(UUID)
    assert [*house.collections.home_records.of(house.states.homes.tag(UUID))] == []


def test_many_homes_cost_a_collection_its_quota(make_house: Callable[..., House]) -> None:
    house = make_house(quota_collection_bytes=2900)
    one, quotas = collection(house), house.collections.quotas
    homes = [f"7c9e6679-7425-40de-944b-e07fc1f90ae{number}" for number in range(5)]
    for home in homes[:4]:
        push(house, one, {"value": 1}, home=home)
    with pytest.raises(TooLarge, match="2900"):
        push(house, one, {"value": 1}, home=homes[4])
    house.forgetting.forget(homes[0])
    push(house, one, {"value": 1}, home=homes[4])
    house.collections.chores.flush(one)
    house.forgetting.forget(homes[1])
    push(house, one, {"value": 2}, home=homes[0])
    used, stored = quotas.of(one)[0], Part(one.space, "stored")
    assert used == 4 * (512 + RECORD_BYTES + len('{"value":1}'))
    (mender,) = [mender for mender in house.collections.chores.mending.menders() if mender.knows(stored)]
    assert mender.mend(stored)
    assert quotas.of(one)[0] == used, "it is counted anew if it was damaged"
    for home in homes:
        house.forgetting.forget(home)
    assert quotas.of(one)[0] == 0


def test_damaged_documents_are_made_again(house: House) -> None:
    one = filled(house)
    tag, key = house.states.homes.tag(UUID), key_of(house, one)
    mending = RecordHomesMending(house.state, house.collections.catalogue)

    def mend(space: str, name: str) -> None:
        house.state.put(space, name, b"") if name.startswith(HIDDEN) else house.state.commit(space, Change(deletes=(name,)))
        part = Part(space, name)
        (mender,) = [mender for mender in mending.menders() if mender.knows(part)]
        assert mender.mend(part)

    mend(SPACE, f"{NAMED}{tag}/{one.key}")
    assert key_of(house, one) == key
    mend(one.space, f"{HOME}{key}")
    push(house, one, {"value": 9})
    assert key_of(house, one) == key
    house.collections.homes.hide(tag)
    mend(SPACE, f"{UNNAMED}{key}")
    assert house.collections.homes.leaving() == {key: LeavingHome(one.id, one.key, 0.0)}
    house.collections.homes.close(one, key)
    mend(one.space, f"{HIDDEN}{key}")
    house.forgetting.forget(UUID)
    assert_forgotten(house, one, key)

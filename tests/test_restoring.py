"""Backups: what a restored one must not bring back, and how the service goes on from it."""

from __future__ import annotations

import copy
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.ports import StoreUnavailable
from config.groups import ForgettingSettings
from config.settings import Settings
from smarthouse_api.backups.lists import Listed
from smarthouse_api.cli import main
from smarthouse_api.collections.model import define
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.errors import Gone, Invalid, Unauthorized, Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, MEMORY, OTHER_HOME, Environment, begin, payload, rows, state

THIRD_HOME = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.fixture
def open_house(embedded_pair: Environment) -> Iterator[Callable[[], House]]:
    """Opens the installation anew, as a process started now would."""
    opened: list[House] = []

    def open_() -> House:
        opened.append(House(Settings.from_env({**embedded_pair, "SMARTHOUSE_EXPORT_PRIVACY": "raw"})))
        return opened[-1]

    yield open_
    for house in opened:
        house.close()


@pytest.fixture
def data(embedded_pair: Environment) -> Path:
    return Path(embedded_pair["SMARTHOUSE_DATA_DIR"])


def upload(house: House, value: str, home: str) -> None:
    house.states.uploads.receive(Upload(home, payload(state(value=value))))


def exported(house: House) -> list[str]:
    export = house.states.exports.open(["json"], Filters())
    if export is None:
        return []
    try:
        return sorted(row["state"] for row in rows(b"".join(export)))
    finally:
        export.close()


def replace(data: Path, backup: Path, *names: str) -> None:
    """Put back what the backup holds under these names, and nothing else."""
    for name in names:
        shutil.rmtree(data / name) if (data / name).is_dir() else (data / name).unlink()
        copy = shutil.copytree if (backup / name).is_dir() else shutil.copy
        copy(backup / name, data / name)


@pytest.mark.parametrize("was_known", [True, False])
@pytest.mark.parametrize("names", [("state.db", "objects"), ("state.db",)])
def test_an_objection_holds_though_an_older_backup_is_restored(open_house, data, tmp_path, was_known, names):
    house = open_house()
    upload(house, "kept", OTHER_HOME)
    if was_known:
        upload(house, "objected", HOME)
    house.states.chores.flush()
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    house.forgetting.forget(HOME, objects=True)
    noted = house.forgetting.noted()
    house.close()
    replace(data, tmp_path / "backup", *names)
    house = open_house()
    house.backups.restore(Listed(noted))
    assert exported(house) == ["kept"]
    with pytest.raises(Gone):
        upload(house, "again", HOME)
    house.states.consents.give(HOME, "1.0", "rows")
    upload(house, "anew", HOME)
    assert exported(house) == ["anew", "kept"]


def test_a_home_forgotten_after_the_backup_is_forgotten_again(open_house, data, tmp_path):
    house = open_house()
    for value, home in (("forgotten", HOME), ("kept", OTHER_HOME)):
        upload(house, value, home)
    house.states.chores.flush()
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    house.forgetting.forget(HOME)
    noted = house.forgetting.noted()
    house.close()
    replace(data, tmp_path / "backup", "state.db", "objects")

    restored = open_house()
    assert exported(restored) == ["forgotten", "kept"]
    assert restored.restoring.restore(noted).forgotten == 1
    assert exported(restored) == ["kept"]
    assert restored.states.homes.find(HOME) is None
    assert restored.states.homes.find(OTHER_HOME) is not None
    assert restored.forgetting.noted() == noted
    assert len({info.key.split("/")[1] for info in restored.objects.list("raw/")}) == 1


def test_the_notes_among_the_objects_are_enough_where_only_the_state_was_restored(open_house, data, tmp_path):
    house = open_house()
    upload(house, "forgotten", HOME)
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    house.forgetting.forget(HOME)
    house.close()
    replace(data, tmp_path / "backup", "state.db")
    restored = open_house()
    assert restored.restoring.restore([]).forgotten == 1
    assert restored.states.homes.find(HOME) is None
    assert exported(restored) == []


def test_a_state_older_than_the_lake_goes_on_where_the_lake_ends(open_house, data, tmp_path):
    house = open_house()
    upload(house, "before", HOME)
    house.states.chores.flush()
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    for number in range(5):
        upload(house, f"after {number}", HOME)
    house.states.chores.flush()
    house.close()
    replace(data, tmp_path / "backup", "state.db")
    restored = open_house()
    upload(restored, "new", HOME)
    with pytest.raises(Exception, match="older than the lake"):
        restored.states.chores.flush()
    restored.restoring.restore([])
    upload(restored, "newer", HOME)
    assert exported(restored) == ["after 0", "after 1", "after 2", "after 3", "after 4", "before", "new", "newer"]


def test_a_state_that_lost_its_last_moments_doubles_nothing_and_loses_nothing_new(open_house, data, tmp_path):
    house = open_house()
    upload(house, "before", HOME)
    upload(house, "queued at the time", OTHER_HOME)
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    upload(house, "lost from the state", HOME)
    house.states.chores.flush()
    house.close()
    replace(data, tmp_path / "backup", "state.db")
    restored = open_house()
    upload(restored, "with a sequence that was given before", HOME)
    upload(restored, "with a new sequence", HOME)
    assert exported(restored) == sorted(
        ["before", "queued at the time", "lost from the state", "with a sequence that was given before", "with a new sequence"]
    )
    assert restored.states.uploads.pending() == []


def test_a_failover_in_the_midst_of_curating_loses_nothing_that_was_acknowledged_after_it(monkeypatch):
    house = House(Settings.from_env({**MEMORY, "SMARTHOUSE_EXPORT_PRIVACY": "raw"}))
    upload(house, "before", HOME)
    house.states.chores.flush()
    replica = copy.deepcopy(house.state._spaces)
    upload(house, "lost from the state", HOME)
    append = StatesTable.append

    def fail_over(self, *commit):
        monkeypatch.undo()
        house.state._spaces = replica
        upload(house, "under the same sequence", HOME)
        append(self, *commit)

    monkeypatch.setattr(StatesTable, "append", fail_over)
    assert exported(house) == ["before", "lost from the state", "under the same sequence"]
    assert house.states.uploads.pending() == []
    house.close()


def test_data_of_a_home_whose_name_was_lost_is_erased(open_house, data, tmp_path):
    house = open_house()
    upload(house, "named", HOME)
    house.states.chores.flush()
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    upload(house, "nameless", OTHER_HOME)
    house.states.chores.flush()
    upload(house, "nameless and only raw", THIRD_HOME)
    house.close()
    replace(data, tmp_path / "backup", "state.db")
    restored = open_house()
    assert restored.restoring.restore([]).orphaned == 2
    assert exported(restored) == ["named"]
    assert len(list(restored.objects.list("raw/"))) == 1


def test_a_state_that_knows_no_home_is_refused_before_anything_is_erased(open_house, data):
    house = open_house()
    upload(house, "kept", HOME)
    house.states.chores.flush()
    house.close()
    (data / "state.db").rename(data / "kept.db")
    with pytest.raises(Invalid, match="none of the 1 homes"):
        open_house().restoring.restore([])
    (data / "kept.db").replace(data / "state.db")
    assert exported(open_house()) == ["kept"]


def test_an_empty_object_store_is_refused_and_stays_empty(embedded_pair, open_house, data, tmp_path):
    begin(embedded_pair)
    house = open_house()
    upload(house, "kept", HOME)
    house.states.chores.flush()
    house.close()
    mistyped = embedded_pair | {"SMARTHOUSE_OBJECTS_URL": f"file://{tmp_path}/mistyped"}
    told = CliRunner().invoke(main, ["restore"], env=mistyped)
    assert told.exit_code == 1
    for store in (f"file://{tmp_path}/mistyped", f"sqlite://{data}/state.db"):
        assert store in told.stderr
    assert not [file for file in (tmp_path / "mistyped").rglob("*") if file.is_file()]
    right = open_house()
    right.installation.settle()
    assert exported(right) == ["kept"]


def test_restoring_what_is_whole_changes_nothing(open_house):
    house = open_house()
    upload(house, "kept", HOME)
    assert not any(vars(house.restoring.restore(["0" * 64])).values())
    assert exported(house) == ["kept"]


def test_a_purge_that_fails_leaves_the_restore_to_be_repeated(open_house, monkeypatch):
    house = open_house()
    upload(house, "forgotten", HOME)
    home = house.states.homes.find(HOME)
    assert home is not None
    house.states.homes.hide_keys({home.key})
    held = house.states.table.try_write()
    assert held is not None
    house.forgetting._settings = ForgettingSettings(wait_seconds=0.01)
    with pytest.raises(Unavailable):
        house.restoring.restore([])
    held.release()
    house.restoring.restore([])
    assert not house.states.homes.hidden()


def test_the_commands_pass_the_list_on(embedded_pair, open_house, data, tmp_path):
    begin(embedded_pair)
    house = open_house()
    upload(house, "forgotten", HOME)
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    house.forgetting.forget(HOME)
    house.close()
    told = CliRunner().invoke(main, ["forgotten"], env=embedded_pair)
    assert told.exit_code == 0
    replace(data, tmp_path / "backup", "state.db", "objects")
    done = CliRunner().invoke(main, ["restore", "-"], env=embedded_pair, input=told.output)
    assert done.stdout == (
        "Homes forgotten again: 1; unknown homes erased: 0; "
        "collections deleted again: 0; streams: 0; keys revoked or rotated again: 0; "
        "taken away again from projects, links and collections: 0; releases withdrawn again: 0\n"
    )
    assert exported(open_house()) == []


def test_whatever_was_deleted_after_the_backup_is_deleted_again(house):
    access, catalogue, streams = house.access, house.collections.catalogue, house.streams
    texts = {name: access.create(name, admin=True) for name in ("kept", "revoked", "rotated", "rotated with the old one kept")}
    ids = {name: record.id for name, (record, _) in texts.items()}
    for name in ("kept", "deleted"):
        catalogue.create(define({"id": name}))
        streams.catalogue.create(7, "module", name)
    backup = [*house.state.dump()]
    assert access.revoke(ids["revoked"])
    access.rotate(ids["rotated"])
    access.rotate(ids["rotated with the old one kept"], 0.01)
    catalogue.delete("deleted")
    streams.delete(streams.catalogue.find(7, "module", "deleted"))
    house.state.load(backup)
    assert access.authenticate(f"Bearer {texts['revoked'][1]}").admin
    done = house.restoring.restore([])
    assert (done.collections, done.streams, done.keys) == (1, 1, 3)
    assert access.authenticate(f"Bearer {texts['kept'][1]}").admin
    for name in ("revoked", "rotated", "rotated with the old one kept"):
        with pytest.raises(Unauthorized):
            access.authenticate(f"Bearer {texts[name][1]}")
    assert sorted(record.id for record in access.list()) == sorted(set(ids.values()) - {ids["revoked"]})
    assert [one.id for one in catalogue.list()] == ["kept"]
    assert [stream.name for stream in streams.catalogue.everything()] == ["kept"]
    again = house.restoring.restore([])
    assert (again.collections, again.streams, again.keys) == (0, 0, 0)
    assert access.authenticate(f"Bearer {access.rotate(ids['rotated'])}").admin


def test_a_deletion_that_died_before_its_note_is_noted_when_it_is_repeated_or_ended(house, monkeypatch):
    record, _ = house.access.create("revoked", admin=True)
    house.collections.catalogue.create(define({"id": "deleted"}))
    backup = [*house.state.dump()]

    def fail(self, digests, **_):
        raise StoreUnavailable("no note is left")

    with monkeypatch.context() as patched:
        patched.setattr(Notes, "leave", fail)
        for delete in (lambda: house.access.revoke(record.id), lambda: house.collections.catalogue.delete("deleted")):
            with pytest.raises(StoreUnavailable):
                delete()
    assert not house.access.revoke(record.id)
    house.collections.chores.purge()
    house.state.load(backup)
    done = house.restoring.restore([])
    assert (done.collections, done.keys) == (1, 1)


def test_a_restore_beside_a_worker_is_refused(embedded_pair, open_house):
    begin(embedded_pair)
    house = open_house()
    presence = house.leases.share("worker")
    told = CliRunner().invoke(main, ["restore", "--keep-wal"], env=embedded_pair)
    presence.release()
    assert told.exit_code == 1
    assert "a worker runs" in told.output


def test_a_log_of_another_state_is_not_replayed_into_a_restored_one(embedded_pair, open_house, data, tmp_path):
    house = open_house()
    upload(house, "before", HOME)
    house.states.chores.flush()
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    upload(house, "after", OTHER_HOME)
    shutil.copy(data / "state.db-wal", tmp_path / "left")
    house.close()
    replace(data, tmp_path / "backup", "state.db", "objects")
    shutil.copy(tmp_path / "left", data / "state.db-wal")
    told = CliRunner().invoke(main, ["restore"], env=embedded_pair)
    assert told.exit_code == 1
    assert "state.db-wal would be read into the state" in told.output
    assert (data / "state.db-wal").read_bytes() == (tmp_path / "left").read_bytes()
    (data / "state.db-wal").unlink()
    assert CliRunner().invoke(main, ["restore"], env=embedded_pair).exit_code == 0
    assert exported(open_house()) == ["before"]


def test_a_log_that_is_missing_is_asked_for_before_anything_is_lost(embedded_pair, open_house, data, tmp_path):
    house = open_house()
    upload(house, "before", HOME)
    with closing(sqlite3.connect(data / "state.db")) as one:
        one.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    upload(house, "after", OTHER_HOME)
    shutil.copytree(data, tmp_path / "killed")  # what a process leaves that is killed now
    house.close()
    environment = {**embedded_pair, "SMARTHOUSE_DATA_DIR": str(tmp_path / "killed")}
    log = tmp_path / "killed/state.db-wal"
    whole, left = log.read_bytes(), {path: path.read_bytes() for path in log.parent.glob("state.db*") if path != log}
    log.unlink()

    def restore(*words):
        return CliRunner().invoke(main, ["restore", *words], env=environment)

    for _ in range(2):
        told = restore("--keep-wal")
        assert told.exit_code == 1
        for part in ("state.db-wal is missing", "would be lost", "Nothing was changed", "--accept-losses"):
            assert part in told.output
    assert left == {path: path.read_bytes() for path in left}
    assert not log.exists()
    log.write_bytes(whole)
    assert restore("--keep-wal").exit_code == 0
    reopened = House(Settings.from_env({**environment, "SMARTHOUSE_EXPORT_PRIVACY": "raw"}))
    reopened.installation.settle()
    assert sorted(exported(reopened)) == ["after", "before"]
    reopened.close()


def test_a_list_that_is_none_is_refused_without_being_repeated(embedded_pair):
    told = CliRunner().invoke(main, ["restore", "-"], env=embedded_pair, input=f"{HOME}\n")
    assert told.exit_code == 1
    assert "64 hexadecimal digits" in told.output
    assert HOME not in told.output


def test_a_configuration_with_faults_is_told(embedded_pair):
    told = CliRunner().invoke(main, ["forgotten"], env={**embedded_pair, "SMARTHOUSE_STATE_URL": "mongodb://x"})
    assert told.exit_code == 1
    assert "SMARTHOUSE_STATE_URL" in told.output


def test_a_damaged_lake_waits_for_the_lease_of_a_rebuild_that_died(house, monkeypatch):
    repair, lease = house.states.rebuilding.ask(None, None), house.leases.try_hold("rebuild")
    monkeypatch.setattr("smarthouse_api.restoring._PATIENCE_SECONDS", 0.05)
    with pytest.raises(Unavailable, match="held the lake"):
        house.restoring._remove_lake(repair)
    monkeypatch.setattr("smarthouse_api.restoring._PATIENCE_SECONDS", 20)
    expiry = threading.Timer(0.05, lease.release)
    expiry.start()
    house.restoring._remove_lake(repair)
    expiry.join()
    assert not house.states.rebuilding.is_to_remove(repair)

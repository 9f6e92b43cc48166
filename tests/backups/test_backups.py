"""A backup of an installation, restored: the same rows, records, packets and keys, and nothing that was deleted since."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from backends.dumps import DumpedDocument, DumpedSpace
from backends.ports import ObjectStore, StoreUnavailable, StoreUnfit
from config.groups import StreamSettings
from smarthouse_api.backups import files, loading, making, manifest
from smarthouse_api.backups.lists import Listed
from smarthouse_api.backups.moment import Moment
from smarthouse_api.backups.service import _RESTORING
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.leases import Lease, LeaseLost
from smarthouse_api.erasure import checking
from smarthouse_api.errors import Gone, InUse, Invalid
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from smarthouse_api.status.history import LAST_MONTH
from tests.conftest import HOME, OTHER_HOME, Environment, agree, payload, state
from tests.each import on_disk, on_disk_and_servers

Open = Callable[..., House]
STRANGER = "33333333-3333-4333-8333-333333333333"


class Killed(BaseException):
    """Stands for a `kill -9`."""


def quiet(what: str, done: int, of: int) -> None:
    pass


def restore(house: House, place: ObjectStore, digests: set[str] | None = None, *, is_replaced: bool = False):
    return house.backups.restore_from(place, Listed(digests or set()), is_replaced=is_replaced, told=quiet)


def damaged(tmp_path: Path, ending: str) -> Path:
    """A file of the backup, with one of its bytes changed."""
    path = next(path for path in sorted((tmp_path / "backup").rglob("*")) if path.is_file() and str(path).endswith(ending))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def noted_by(house: House) -> dict[str, object]:
    """What the service notes for operators: figures over time, the last verification, what streams got."""
    history, noted = house.history.last(LAST_MONTH), house.streams.activity.all().noted
    uploads = [one for one in history.values("uploads") if one is not None]
    assert len(uploads) == 1
    assert len(noted) == 2
    return {"uploads": uploads, "verified": house.verifying.findings.last(), "activity": noted}


def test_a_backup_restored_elsewhere_holds_what_the_installation_held(filled, open_house, elsewhere, place, client):
    before = client.content(filled)
    receipt = filled.receipts.give(OTHER_HOME, filled.receipts.now(), filled.receipts.now())
    filled.history.keep()
    filled.streams.chores.run(lambda: False)
    filled.verifying.findings.note(1.0, 100, 1, [Problem("objects", "raw/x", None, "this upload is missing")])
    noted = noted_by(filled)
    keys = checking.keys_of(json.dumps(filled.receipts.public_keys()))
    made = filled.backups.make(place, quiet)
    assert made.copied >= made.files - 5
    there = open_house(elsewhere)
    done = restore(there, place)
    assert not any(vars(done).values())
    assert client.content(there) == before
    assert noted_by(there) == noted
    assert checking.is_for(checking.check(there.receipts.tell(receipt), keys), OTHER_HOME)
    again = open_house(elsewhere)
    assert again.installation.check() == filled.installation.check()
    client.ask(again, "post", "/api/ingest/data", data=payload(state(value="99")), headers={"Home-UUID": HOME})
    assert {row["state"] for row in client.content(again)["rows"]} == {"0", "1", "10", "11", "99"}


def test_what_was_deleted_since_a_backup_is_deleted_again(filled, open_house, elsewhere, place, client):
    revoked, rotated = (filled.access.create(name, admin=True) for name in ("revoked", "rotated"))
    signing = filled.signing_keys.all()[0]
    agree(filled, HOME, OTHER_HOME)
    filled.backups.make(place, quiet)
    filled.forgetting.forget(HOME, objects=True)
    filled.forgetting.forget(STRANGER, objects=True)
    filled.collections.catalogue.delete("deleted")
    filled.streams.delete(filled.streams.catalogue.find(7, "module", "deleted"))
    filled.access.revoke(revoked[0].id)
    filled.access.rotate(rotated[0].id)
    filled.signing_keys.rotate()
    there = open_house(elsewhere)
    done = restore(there, place, filled.forgetting.noted())
    assert vars(done) == {"forgotten": 1, "orphaned": 0, "collections": 1, "streams": 1, "keys": 3, "rights": 0, "releases": 0}
    kept = [there.states.consents.of(home)[-1].terms for home in there.states.homes.everyone()]
    assert kept == ["1.0"]
    for home in (HOME, STRANGER):
        with pytest.raises(Gone, match="objected"):
            there.states.uploads.receive(Upload(home, payload(state())))
    assert [bool(key.seed) for key in there.signing_keys.all() if key.id == signing.id] == [False]
    found = client.content(there)
    assert {row["state"] for row in found["rows"]} == {"10", "11"}
    assert list(found["records"]) == list(found["streams"]) == ["kept"]
    assert revoked[0].id not in found["keys"]
    assert there.forgetting.noted() >= filled.forgetting.noted()
    assert len({info.key.split("/")[1] for info in there.objects.list("raw/")}) == 1


@on_disk
def test_a_restore_that_was_killed_is_served_only_once_it_was_repeated(
    filled, open_house, elsewhere, place, client, monkeypatch
):
    before = client.content(filled)
    filled.backups.make(place, quiet)
    copy, count = files.copy, [0]

    def killed_before(limit: int):
        def act(*args):
            count[0] += 1
            if count[0] > limit:
                raise Killed
            return copy(*args)

        return act

    for limit in (0, 3, 8):
        count[0] = 0
        with monkeypatch.context() as patched:
            patched.setattr(loading.files, "copy", killed_before(limit))
            with suppress(Killed):
                restore(open_house(elsewhere), place)
        with pytest.raises(StoreUnfit, match="is not restored yet"):
            open_house(elsewhere).installation.check()
        with pytest.raises(Invalid, match="is not restored yet"):
            open_house(elsewhere).backups.restore(Listed())
    with monkeypatch.context() as patched:
        patched.setattr(loading.Target, "load", lambda *_: (_ for _ in ()).throw(Killed))
        with suppress(Killed):
            restore(open_house(elsewhere), place)
    restore(open_house(elsewhere), place)
    assert client.content(open_house(elsewhere)) == before


@on_disk
def test_a_second_backup_copies_what_is_new_and_drops_what_is_gone(filled, place, client, open_house, elsewhere):
    first = filled.backups.make(place, quiet)
    assert filled.backups.make(place, quiet).copied == 0
    filled.forgetting.forget(HOME)
    client.ask(filled, "post", "/api/ingest/data", data=payload(state(value="99")), headers={"Home-UUID": OTHER_HOME})
    before = client.content(filled)
    second = filled.backups.make(place, quiet)
    assert 0 < second.copied < first.files
    raw = [info.key for info in place.list("raw/")]
    assert len(raw) == 3
    restore(open_house(elsewhere), place)
    assert client.content(open_house(elsewhere)) == before


@on_disk
def test_a_backup_that_was_killed_leaves_the_one_before_whole(filled, place, client, open_house, elsewhere, monkeypatch):
    before = client.content(filled)
    with monkeypatch.context() as patched:
        patched.setattr(making.manifest, "write", lambda *_: (_ for _ in ()).throw(Killed))
        with suppress(Killed):
            filled.backups.make(place, quiet)
    with pytest.raises(Invalid, match="broken off"):
        restore(open_house(elsewhere), place)
    filled.backups.make(place, quiet)
    client.ask(filled, "post", "/api/ingest/data", data=payload(state(value="99")), headers={"Home-UUID": OTHER_HOME})
    filled.states.chores.flush()
    with monkeypatch.context() as patched:
        patched.setattr(making.manifest, "write", lambda *_: (_ for _ in ()).throw(Killed))
        with suppress(Killed):
            filled.backups.make(place, quiet)
    restore(open_house(elsewhere), place)
    assert client.content(open_house(elsewhere)) == before


@on_disk_and_servers("ending", [".parquet", "0.json", "installation/id"], ["0.json"])
def test_a_damaged_backup_is_refused_by_name_and_never_served(filled, place, open_house, elsewhere, tmp_path, ending):
    filled.backups.make(place, quiet)
    path = damaged(tmp_path, ending)
    with pytest.raises(Invalid, match=f"The backup is damaged: .*{path.name}") as told:
        restore(open_house(elsewhere), place)
    name = str(told.value).split()[4]
    assert (tmp_path / "backup" / name).exists() or (tmp_path / "backup" / "objects" / name).exists()
    with pytest.raises(StoreUnfit, match="is not restored yet"):
        open_house(elsewhere).installation.check()


@on_disk
def test_a_damaged_state_of_a_backup_is_refused_before_anything_is_touched(filled, place, open_house, elsewhere, tmp_path):
    filled.backups.make(place, quiet)
    name = next(place.list("backup/state-")).key
    damaged(tmp_path, name)
    there = open_house(elsewhere)
    with pytest.raises(Invalid, match=f"{name} is not what backup/backup.json says"):
        restore(there, place)
    assert there.state.is_empty()
    place.delete([name])
    with pytest.raises(Invalid, match="is missing"):
        restore(there, place)


def test_a_purge_in_the_midst_of_a_backup_has_it_begin_anew(filled, place, client, open_house, elsewhere, monkeypatch):
    check, broken = Moment.check, list[int]()

    def break_once(self: Moment) -> None:
        if not broken:
            broken.append(1)
            filled.forgetting.forget(HOME)
            with pytest.raises(LeaseLost):
                check(self)
        check(self)

    monkeypatch.setattr(Moment, "check", break_once)
    filled.forgetting._settings = type(filled.forgetting._settings)(wait_seconds=0.1)
    filled.backups.make(place, quiet)
    monkeypatch.undo()
    restore(open_house(elsewhere), place)
    assert client.content(open_house(elsewhere)) == client.content(filled)


def test_only_empty_stores_or_the_same_installation_are_restored_into(filled, place, client, open_house, elsewhere):
    before = client.content(filled)
    filled.backups.make(place, quiet)
    client.ask(filled, "post", "/api/ingest/data", data=payload(state(value="99")), headers={"Home-UUID": HOME})
    filled.states.chores.flush()
    filled.forgetting.forget(OTHER_HOME)
    with pytest.raises(Invalid, match="not empty"):
        restore(filled, place)
    other = open_house(elsewhere)
    other.begin()
    for is_replaced in (False, True):
        with pytest.raises(Invalid, match="another installation" if is_replaced else "not empty"):
            restore(other, place, is_replaced=is_replaced)
    assert restore(filled, place, is_replaced=True).forgotten == 1
    kept = [row for row in before["rows"] if row["state"] in ("0", "1")]
    assert client.content(open_house())["rows"] == kept


@on_disk
def test_a_damaged_installation_is_replaced_by_its_backup(filled, place, client, open_house, environment):
    before = client.content(filled)
    filled.backups.make(place, quiet)
    filled.close()
    folder = Path(environment["SMARTHOUSE_DATA_DIR"])
    (folder / "state.db").write_bytes(b"no database at all" * 1000)
    for name in ("state.db-wal", "state.db-shm"):
        (folder / name).write_bytes(b"of another" * 1000)
    next((folder / "objects").rglob("*.parquet")).write_bytes(b"damaged")
    restore(open_house(), place, is_replaced=True)
    assert client.content(open_house()) == before


@on_disk
def test_a_place_of_another_installation_or_of_anything_else_is_refused(filled, place, open_house, elsewhere):
    other = open_house(elsewhere)
    other.begin()
    filled.backups.make(place, quiet)
    with pytest.raises(Invalid, match="choose another"):
        other.backups.make(place, quiet)
    with pytest.raises(Invalid, match="not empty"):
        filled.backups.make(other.objects, quiet)


@on_disk
def test_nothing_is_restored_or_copied_beside_a_process_that_serves(filled, place, open_house, elsewhere):
    filled.backups.make(place, quiet)
    presence = filled.leases.share("serving")
    other = open_house(elsewhere)
    for ask in (
        lambda: restore(filled, place, is_replaced=True),
        lambda: filled.backups.restore(Listed()),
        lambda: filled.backups.copy(other.state, other.objects, is_replaced=False, is_kept=False, told=quiet),
    ):
        with pytest.raises(InUse, match="a worker runs"):
            ask()
    presence.release()
    filled.installation.hold_back(_RESTORING)
    waiting = open_house()
    waiting.watch.start()  # it is up, and held back
    with pytest.raises(InUse, match="a worker runs"):
        restore(filled, place, is_replaced=True)
    with pytest.raises(InUse, match="a worker runs"):
        filled.backups.restore(Listed())
    waiting.watch.stop()
    filled.backups.restore(Listed())
    assert filled.installation.check()


def test_an_installation_copied_to_other_stores_and_back_is_the_same(filled, client, open_house, elsewhere: Environment):
    agree(filled, OTHER_HOME)
    filled.forgetting.forget(STRANGER, objects=True)
    filled.archives.open(OTHER_HOME).close()
    before = client.content(filled)
    other = open_house(elsewhere)
    filled.backups.copy(other.state, other.objects, is_replaced=False, is_kept=False, told=quiet)
    with pytest.raises(StoreUnfit, match="moved"):
        open_house().installation.check()
    there = open_house(elsewhere)
    assert client.content(there) == before
    assert there.states.consents.of(there.states.homes.find(OTHER_HOME))[0].terms == "1.0"
    with pytest.raises(Gone, match="objected"):
        there.states.uploads.receive(Upload(STRANGER, payload(state())))
    assert list(there.objects.list("archives/")) == []
    there.archives.open(OTHER_HOME).close()  # it is made anew
    client.ask(there, "post", "/api/ingest/data", data=payload(state(value="99")), headers={"Home-UUID": HOME})
    there.forgetting.forget(OTHER_HOME)
    after = client.content(there)
    back = open_house()
    with pytest.raises(Invalid, match="not empty"):
        there.backups.copy(back.state, back.objects, is_replaced=False, is_kept=True, told=quiet)
    there.backups.copy(back.state, back.objects, is_replaced=True, is_kept=True, told=quiet)
    assert client.content(open_house()) == client.content(open_house(elsewhere)) == after


@on_disk
def test_a_copy_into_its_own_stores_or_from_stores_that_were_left_is_refused(filled, client, open_house, elsewhere):
    before = client.content(filled)
    other, here = open_house(elsewhere), open_house()
    for stores in ((here.state, here.objects), (here.state, other.objects), (other.state, here.objects)):
        with pytest.raises(Invalid, match="already"):
            filled.backups.copy(*stores, is_replaced=True, is_kept=False, told=quiet)
    other.objects.put("of/others", [b""])
    with pytest.raises(Invalid, match="not empty"):
        filled.backups.copy(other.state, other.objects, is_replaced=False, is_kept=False, told=quiet)
    assert client.content(open_house()) == before
    other.objects.delete(["of/others"])
    filled.backups.copy(other.state, other.objects, is_replaced=False, is_kept=False, told=quiet)
    with pytest.raises(Invalid, match="moved"):
        open_house().backups.copy(other.state, other.objects, is_replaced=True, is_kept=False, told=quiet)
    assert client.content(open_house(elsewhere)) == before


@on_disk
def test_a_process_that_begins_to_serve_at_the_same_moment_is_seen(filled, place, monkeypatch):
    hold_back, presences = Installation.hold_back, list[Lease]()

    def begin_meanwhile(self: Installation, reason: str) -> None:
        presences.append(filled.leases.share("serving"))
        hold_back(self, reason)

    monkeypatch.setattr(Installation, "hold_back", begin_meanwhile)
    with pytest.raises(InUse, match="a worker runs"):
        filled.backups.restore(Listed())
    presences[0].release()
    assert filled.installation.check()


@on_disk
def test_the_place_of_backups_is_no_place_to_restore_into(filled, place, open_house, elsewhere, tmp_path):
    filled.backups.make(place, quiet)
    there = open_house({**elsewhere, "SMARTHOUSE_OBJECTS_URL": f"file://{tmp_path}/backup"})
    with pytest.raises(Invalid, match="place of backups"):
        restore(there, place, is_replaced=True)
    restore(open_house(elsewhere), place)


@pytest.mark.parametrize(("seconds", "is_same"), [(200, True), (86400, False)])
def test_a_document_that_soon_expires_may_be_missing_in_a_copy(seconds: float, is_same: bool):
    source = [DumpedSpace("homes", 5), DumpedDocument("kept", b"", 3), DumpedDocument("passing", b"", 5, seconds)]
    assert (loading._Content(source).different(loading._Content(source[:2])) is None) == is_same
    assert loading._Content(source).different(loading._Content([DumpedSpace("homes", 5), source[2]])) == "homes"


@on_disk
def test_a_copy_that_was_killed_is_repeated_or_undone(filled, client, open_house, elsewhere, monkeypatch):
    before = client.content(filled)
    other = open_house(elsewhere)
    with monkeypatch.context() as patched:
        patched.setattr(loading.Target, "compare", lambda *_: (_ for _ in ()).throw(Killed))
        with suppress(Killed):
            filled.backups.copy(other.state, other.objects, is_replaced=False, is_kept=False, told=quiet)
    for settings in ({}, elsewhere):
        with pytest.raises(StoreUnfit, match="has not ended"):
            open_house(*([settings] if settings else [])).installation.check()
    open_house().backups.undo_copy()
    assert client.content(open_house()) == before
    again, other = open_house(), open_house(elsewhere)
    again.backups.copy(other.state, other.objects, is_replaced=False, is_kept=True, told=quiet)
    assert client.content(open_house(elsewhere)) == before
    with pytest.raises(Invalid, match="No copy"):
        open_house().backups.undo_copy()


@on_disk
def test_a_copy_that_is_not_the_same_is_not_served(filled, open_house, elsewhere, monkeypatch):
    other = open_house(elsewhere)
    load = loading.Target.load

    def lose(self, *args):
        copies = load(self, *args)
        other.objects.delete([next(other.objects.list("raw/")).key])
        return copies

    monkeypatch.setattr(loading.Target, "load", lose)
    with pytest.raises(Invalid, match="The copy of raw/"):
        filled.backups.copy(other.state, other.objects, is_replaced=False, is_kept=False, told=quiet)
    with pytest.raises(StoreUnfit, match="has not ended"):
        open_house(elsewhere).installation.check()


def test_a_state_that_does_not_answer_keeps_the_objects_from_being_replaced(filled, place, monkeypatch):
    filled.backups.make(place, quiet)
    filled.objects.put("raw/since-the-backup", [b"1"])

    def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable("the state does not answer")

    for name in ("get", "get_many", "scan", "commit", "spaces", "load"):
        monkeypatch.setattr(type(filled.state), name, fails)
    with pytest.raises(StoreUnavailable):
        restore(filled, place, is_replaced=True)
    assert filled.objects.get("raw/since-the-backup") == b"1"


@on_disk
def test_a_second_restore_beside_the_first_is_refused(filled, open_house, elsewhere, place, monkeypatch):
    filled.backups.make(place, quiet)
    there, other = open_house(elsewhere), open_house(elsewhere)
    other.backups._lease_seconds = -1.0
    met = list[str]()

    def told(what: str, done: int, of: int) -> None:
        if what == "state":
            with pytest.raises(InUse) as refused:
                restore(other, place)
            met.append(str(refused.value))

    there.backups.restore_from(place, Listed(), is_replaced=False, told=told)
    assert len(met) == 1
    assert "Another restore" in met[0]
    assert there.installation.check() == filled.installation.check()


def flip(house: House, name: str, table: str = "") -> None:
    """Turn one bit of an object, or of a table's file, over."""
    stored = bytearray(b"".join(house.objects.stream_table(table, name)) if table else house.objects.get(name))
    stored[len(stored) // 2] ^= 4
    if table:
        house.objects.put_table(table, name, [bytes(stored)])
    else:
        house.objects.put(name, [bytes(stored)])


def test_damage_does_not_reach_the_copies_that_an_earlier_backup_has(filled, open_house, elsewhere, place, client, monkeypatch):
    filled.states.chores.flush()
    monkeypatch.setattr(filled.streams.chores._sealing, "_settings", StreamSettings(tail_seconds=0))
    for stream in filled.streams.catalogue.everything():
        filled.streams.chores.maintain(stream)
    before = client.content(filled)
    assert not filled.backups.make(place, quiet).damaged
    raw, lost = (info.key for info in [*filled.objects.list("raw/")][:2])
    packets = next(info.key for info in filled.objects.list("packets/") if info.key.endswith(".data"))
    file = next(info.key for info in filled.objects.list_table("states") if info.key.endswith(".parquet"))
    flip(filled, raw)
    flip(filled, packets)
    flip(filled, file, "states")
    filled.objects.delete([lost])
    assert [*filled.verifying.run(1.0, lambda *_: None)]
    made = filled.backups.make(place, quiet)
    assert set(made.damaged) >= {raw, lost, packets}
    there = open_house(elsewhere)
    restore(there, place)
    there.states.uploads.healing.look_now()
    there.states.chores.flush()
    assert client.content(there) == before
    assert {raw, lost, packets} <= {info.key for info in there.objects.list()}


@on_disk
def test_an_upload_that_was_damaged_before_its_first_backup_is_named(filled, place):
    raw = next(info.key for info in filled.objects.list("raw/"))
    good = filled.objects.get(raw)
    flip(filled, raw)
    assert filled.backups.make(place, quiet).damaged == (raw,)
    filled.objects.put(raw, [good])
    assert not filled.backups.make(place, quiet).damaged
    assert place.get(next(one.stored or one.path for one in files_in(place) if one.path == raw)) == good


def files_in(place: ObjectStore):
    return manifest.read(place)[1]

"""A home's streams forgotten: at once, to the last byte, alone or with the uploads; also by whoever restores a backup."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backends.ports import Change, Committed, StoreUnavailable
from config.settings import Settings
from smarthouse_api.access.keys import Owner
from smarthouse_api.cli import main
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.erasure import searching
from smarthouse_api.errors import Forbidden, Invalid, NotFound, Refused, StoreError, Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from smarthouse_api.streams.catalogue import SPACE
from smarthouse_api.streams.heads import space_of
from smarthouse_api.streams.model import NewPacket, Stream, StreamRetention
from tests.conftest import HOME, OTHER_HOME, Environment, begin, payload, rows, state
from tests.test_restoring import replace
from tests.waiting import pass_time

ANNA = Owner("user", "a" * 12, "Anna")
MARK = b"a-packet-that-only-this-home-ever-had"


def stream_with(house: House, data: bytes = MARK, home_id: int = 7, name: str = "camera") -> Stream:
    stream, _ = house.streams.catalogue.create(home_id, "sds", name, StreamRetention())
    house.streams.appending.append(stream, [NewPacket(data)], ANNA)
    house.streams.metadata.put(stream, 0, {"note": MARK.decode()}, ANNA)
    return stream


def seal(house: House, stream: Stream) -> None:
    house.streams.chores.maintain(stream)


@pytest.fixture
def eager(make_house: Callable[..., House]) -> House:
    """A house that moves every packet into an object as soon as it looks."""
    return make_house(stream_tail_seconds=0)


def test_nothing_of_a_forgotten_home_is_found(house: House) -> None:
    stream_with(house)
    house.forgetting.forget_streams(7)
    assert house.streams.catalogue.list(7, "sds") == []
    with pytest.raises(NotFound):
        house.streams.catalogue.find(7, "sds", "camera")


def test_nothing_of_a_forgotten_home_stays_in_the_stores(eager: House) -> None:
    streams = [stream_with(eager, name=name) for name in ("sealed", "waiting")]
    seal(eager, streams[0])
    assert list(eager.objects.list("packets/"))
    eager.forgetting.forget_streams(7)
    assert list(eager.objects.list("packets/")) == []
    assert [name for name, _ in eager.state.scan_all("streams") if not name.startswith("gone/")] == []
    for stream in streams:
        assert list(eager.state.scan_all(space_of(stream.key))) == []
        assert eager.state.read(space_of(stream.key), "packets") == []


def test_no_file_holds_a_byte_of_it(embedded_pair: Environment) -> None:
    house = House(Settings.from_env({**embedded_pair, "SMARTHOUSE_STREAM_TAIL_SECONDS": "0"}))
    seal(house, stream_with(house, name="sealed"))
    stream_with(house, name="waiting")
    house.forgetting.forget_streams(7)
    house.close()
    files = [path for path in Path(embedded_pair["SMARTHOUSE_DATA_DIR"]).rglob("*") if path.is_file()]
    assert [path for path in files if MARK in path.read_bytes()] == []


def test_other_homes_stay(house: House) -> None:
    stream_with(house)
    other = stream_with(house, home_id=8)
    house.forgetting.forget_streams(7)
    assert house.streams.status(other).packet_index == 0


def test_nobody_appends_to_a_forgotten_stream(house: House) -> None:
    stream = stream_with(house)
    house.forgetting.forget_streams(7)
    with pytest.raises(NotFound):
        house.streams.appending.append(stream, [NewPacket(b"late")], ANNA)


def test_a_download_under_way_is_broken_off(eager: House) -> None:
    stream = stream_with(eager)
    seal(eager, stream)
    eager.streams.appending.append(stream, [NewPacket(MARK)], ANNA)
    located = eager.streams.downloads.locate(stream, 0, 1, "octets")
    download = eager.streams.downloads.open(7, "sds", "camera", located.query)
    body = download.body()
    next(body)
    eager.forgetting.forget_streams(7)
    with pytest.raises((Refused, StoreError)):
        list(body)
    download.close()


def test_a_home_that_comes_back_is_a_new_one(house: House) -> None:
    before = stream_with(house)
    house.forgetting.forget_streams(7)
    after = stream_with(house)
    assert (after.key, after.home_key) != (before.key, before.home_key)
    assert house.streams.status(after).packet_index == 0


def test_its_place_in_a_project_is_forgotten(house: House) -> None:
    _, key = house.access.create("p", project="acme")
    house.access.assign([7], "acme")
    house.forgetting.forget_streams(7)
    with pytest.raises(Forbidden):
        house.access.require_home(house.access.authenticate(f"Bearer {key}"), 7)


def test_forgetting_can_be_repeated_and_need_not_find_anything(house: House) -> None:
    for _ in range(2):
        house.forgetting.forget_streams(7)


def test_it_is_hidden_at_once_where_purging_is_delayed(make_house: Callable[..., House]) -> None:
    house = make_house(purge_delay_seconds=3600)
    stream_with(house)
    house.forgetting.forget_streams(7)
    assert house.streams.catalogue.list(7, "sds") == []


def test_whoever_keeps_house_removes_what_was_hidden(make_house: Callable[..., House]) -> None:
    house = make_house(purge_delay_seconds=3600)
    stream = stream_with(house)
    house.forgetting.forget_streams(7)
    house.housekeeper.keep()
    assert list(house.state.scan_all(space_of(stream.key))) == []
    assert all(gone.purged_at for gone in house.streams.catalogue.tombstones())


def test_a_linked_home_is_forgotten_with_its_uploads(house: House) -> None:
    stream_with(house)
    stream_with(house, home_id=8)
    house.states.homes.link(HOME, 7)
    house.forgetting.forget(HOME)
    assert house.streams.catalogue.list(7, "sds") == []
    assert len(house.streams.catalogue.list(8, "sds")) == 1


def test_a_link_says_nothing_of_the_uuid_and_goes_with_the_home(house: House) -> None:
    house.states.homes.link(HOME, 7)
    kept = repr(list(house.state.scan_all("homes")))
    assert HOME not in kept
    assert HOME.replace("-", "") not in kept
    house.forgetting.forget(HOME)
    assert house.states.homes.linked(house.states.homes.tag(HOME)) == []


@pytest.mark.parametrize("by", ["UUID", "number"])
def test_a_forget_that_dies_at_any_step_leaves_no_link_and_no_byte(
    memory_pair: Environment, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    for files in ("_temporary_files", "_metrics_files"):  # of other tests
        monkeypatch.setattr(searching, files, list)
    soon_over = {"SMARTHOUSE_LEASE_SECONDS": "0.5", "SMARTHOUSE_PURGE_WAIT_SECONDS": "0.6"}
    house, step, has_died = House(Settings.from_env({**memory_pair, **soon_over})), 0, True

    def dying(space: str, change: Change) -> Committed:
        left.append(change)
        if len(left) > step:
            raise KeyboardInterrupt
        return commit(space, change)

    commit = house.state.commit
    while has_died:
        house.states.uploads.receive(Upload(HOME, payload(state(note=HOME))))
        stream_with(house)
        house.states.homes.link(HOME, 7)
        left, step, has_died = list[Change](), step + 1, False
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(house.state, "commit", dying)
            has_died = True
            house.forgetting.forget(HOME) if by == "UUID" else house.forgetting.forget_streams(7)
            has_died = False
        is_forgotten = not house.streams.catalogue.list(7, "sds")
        for _ in range(2):
            pass_time(house, 61, monkeypatch)
            house.state.erase("leases")  # of the process that died
            house.forgetting.try_purge()
        links = [name for name, _ in house.state.scan_all("homes") if name.startswith(("streams/", "erasing/"))]
        assert not (is_forgotten and links)
        assert bool(links) is bool(house.streams.catalogue.list(7, "sds")), step
        assert not (is_forgotten and list(house.searching.run(HOME if by == "UUID" else None)))
        house.forgetting.forget(HOME)
    assert step > 10
    house.close()


def test_another_homes_uuid_forgets_nothing(house: House) -> None:
    stream_with(house)
    house.states.homes.link(HOME, 7)
    house.forgetting.forget(OTHER_HOME)
    assert len(house.streams.catalogue.list(7, "sds")) == 1


# While others are at work, and after a crash


@pytest.fixture
def impatient(make_house: Callable[..., House]) -> House:
    """A house that waits for nobody."""
    return make_house(purge_wait_seconds=0, stream_tail_seconds=0, export_privacy="raw")


@pytest.fixture
def busy(impatient: House) -> Iterator[Lease]:
    """The lease of another, who keeps the streams of that house."""
    lease = impatient.leases.try_hold("streams")
    assert lease is not None
    yield lease
    lease.release()


def upload(house: House, home: str = HOME) -> None:
    house.states.uploads.receive(Upload(home, payload(state(value=home[:8]))))


def exported(house: House) -> list[str]:
    export = house.states.exports.open(["json"], Filters())
    if export is None:
        return []
    try:
        return [row["state"] for row in rows(b"".join(export))]
    finally:
        export.close()


def test_uploads_are_hidden_though_another_keeps_the_streams_for_too_long(impatient: House, busy: Lease) -> None:
    upload(impatient)
    upload(impatient, OTHER_HOME)
    stream_with(impatient)
    impatient.states.homes.link(HOME, 7)
    with pytest.raises(Unavailable, match="repeat the request"):
        impatient.forgetting.forget(HOME)
    assert exported(impatient) == [OTHER_HOME[:8]]
    assert impatient.streams.catalogue.list(7, "sds") == []


def test_streams_that_another_kept_for_too_long_are_removed_by_whoever_keeps_house(impatient: House, busy: Lease) -> None:
    upload(impatient)
    stream = stream_with(impatient)
    seal(impatient, stream)
    impatient.states.homes.link(HOME, 7)
    with pytest.raises(Unavailable):
        impatient.forgetting.forget(HOME)
    busy.release()
    impatient.housekeeper.keep()
    assert list(impatient.objects.list("packets/")) == []
    assert list(impatient.state.scan_all(space_of(stream.key))) == []


def test_a_home_without_streams_is_forgotten_whoever_keeps_the_streams(impatient: House, busy: Lease) -> None:
    impatient.streams.catalogue.delete(stream_with(impatient))
    upload(impatient)
    impatient.forgetting.forget(HOME)
    assert exported(impatient) == []
    assert not impatient.states.homes.hidden()


def test_a_home_that_is_forgotten_during_a_purge_is_not_forgotten_by_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house)
    house.forgetting.forget(HOME)
    pass_time(house, 61, monkeypatch)
    scrub = house.state.scrub

    def forget_another() -> None:
        monkeypatch.setattr(house.state, "scrub", scrub)
        house.forgetting.forget_streams(7)
        scrub()

    monkeypatch.setattr(house.state, "scrub", forget_another)
    house.housekeeper.keep()
    pass_time(house, 61, monkeypatch)
    assert house.forgetting.is_due()


def test_a_delay_of_purges_delays_neither_the_end_of_downloads_nor_that_of_objects(make_house: Callable[..., House]) -> None:
    house = make_house(purge_delay_seconds=3600, stream_tail_seconds=0)
    stream = stream_with(house)
    seal(house, stream)
    house.streams.appending.append(stream, [NewPacket(MARK)], ANNA)
    query = house.streams.downloads.locate(stream, 0, 1, "octets").query
    download = house.streams.downloads.open(7, "sds", "camera", query)
    body = download.body()
    next(body)
    house.forgetting.forget_streams(7)
    assert list(house.objects.list("packets/")) == []
    with pytest.raises((Refused, StoreError)):
        list(body)
    download.close()


@pytest.mark.parametrize("method", ["close_to_writers", "tombstones", "mark_purged"])
def test_a_crash_while_a_home_is_forgotten_leaves_its_purge_due(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    stream = stream_with(house)

    def die(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(house.streams.catalogue, method, die)
        with pytest.raises(StoreUnavailable):
            house.forgetting.forget_streams(7)
    assert house.streams.catalogue.list(7, "sds") == []
    pass_time(house, 61, monkeypatch)
    assert house.forgetting.is_due()
    house.housekeeper.keep()
    assert list(house.state.scan_all(space_of(stream.key))) == []
    assert not house.forgetting.is_due()


def test_a_scrub_that_fails_when_streams_are_forgotten_is_made_up_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    stream_with(house)
    scrub, scrubbed = house.state.scrub, list[bool]()

    def die() -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(house.state, "scrub", die)
    with pytest.raises(StoreUnavailable):
        house.forgetting.forget_streams(7)
    monkeypatch.setattr(house.state, "scrub", lambda: scrubbed.append(scrub() is None))
    pass_time(house, 61, monkeypatch)
    house.housekeeper.keep()
    assert scrubbed == [True]


# Links


def test_who_gets_the_number_of_a_forgotten_home_is_not_forgotten_with_it(house: House) -> None:
    house.states.homes.link(HOME, 7)
    house.states.homes.link(OTHER_HOME, 7)
    house.states.homes.link(HOME, 77)
    stream_with(house)
    house.forgetting.forget_streams(7)
    stream_with(house)
    house.forgetting.forget(HOME)
    house.forgetting.forget(OTHER_HOME)
    assert len(house.streams.catalogue.list(7, "sds")) == 1


def test_a_link_to_another_number_stays_when_a_home_is_forgotten(house: House) -> None:
    for home_id in (7, 77):
        house.states.homes.link(HOME, home_id)
    house.forgetting.forget_streams(7)
    assert house.states.homes.linked(house.states.homes.tag(HOME)) == [77]


# Backups


@pytest.fixture
def open_house(embedded_pair: Environment) -> Iterator[Callable[[], House]]:
    opened: list[House] = []

    def open_() -> House:
        opened.append(House(Settings.from_env(embedded_pair)))
        return opened[-1]

    yield open_
    for house in opened:
        house.close()


def test_a_restored_backup_brings_no_forgotten_stream_back(
    open_house: Callable[[], House], embedded_pair: Environment, tmp_path: Path
) -> None:
    house, data = open_house(), Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    stream_with(house)
    stream_with(house, home_id=8)
    house.close()
    shutil.copytree(data, tmp_path / "backup")
    house.forgetting.forget_streams(7)
    noted = house.forgetting.noted()
    house.close()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "backup", data)
    restored = open_house()
    assert restored.restoring.restore(noted).forgotten == 1
    assert restored.streams.catalogue.list(7, "sds") == []
    assert len(restored.streams.catalogue.list(8, "sds")) == 1


@pytest.fixture
def restored(open_house: Callable[[], House], embedded_pair: Environment, tmp_path: Path) -> Callable[..., House]:
    """Has the house of a moment ago do something, and opens it with the state that it had before."""
    data = Path(embedded_pair["SMARTHOUSE_DATA_DIR"])

    def restore(house: House, *works: Callable[[House], object]) -> House:
        house.close()
        shutil.copytree(data, tmp_path / "backup")
        for work in works:
            work(house)
        house.close()
        replace(data, tmp_path / "backup", "state.db")
        return open_house()

    return restore


def places(house: House) -> list[bytes]:
    """What the objects of all streams hold, besides their indexes."""
    return [house.objects.get(info.key) for info in house.objects.list("packets/") if info.key.endswith(".data")]


def sealed_with(house: House, data: bytes, **names: Any) -> Stream:
    stream = stream_with(house, data, **names)
    house.streams.chores._sealing.seal(stream, house.streams.chores._store.manifest(stream))
    return stream


def test_objects_of_homes_that_the_restored_state_does_not_know_are_erased_and_counted(
    open_house: Callable[[], House], restored: Callable[..., House]
) -> None:
    house = open_house()
    known = sealed_with(house, b"known")
    later = restored(
        house,
        lambda house: sealed_with(house, b"unknown", home_id=8),
        lambda house: sealed_with(house, b"of the same home", home_id=8, name="another"),
        lambda house: sealed_with(house, b"of a third", home_id=9),
    )
    others = dict.fromkeys(("forgotten", "collections", "streams", "keys", "rights", "releases"), 0)
    assert vars(later.restoring.restore([])) == {"orphaned": 2, **others}
    assert places(later) == [b"known"]
    assert later.streams.status(known).packet_index == 0


def test_objects_of_a_stream_that_the_restored_state_does_not_know_are_erased_though_it_knows_the_home(
    open_house: Callable[[], House], restored: Callable[..., House]
) -> None:
    house = open_house()
    sealed_with(house, b"known")
    later = restored(house, lambda house: sealed_with(house, b"unknown", name="another"))
    assert later.restoring.restore([]).orphaned == 0
    assert places(later) == [b"known"]


def test_streams_of_a_forgotten_home_are_forgotten_though_the_home_itself_is_gone_already(
    open_house: Callable[[], House],
) -> None:
    house = open_house()
    stream = sealed_with(house, MARK)
    house.state.commit(SPACE, Change(deletes=("home/7",)))
    assert house.restoring.restore([digest_of(stream.home_key)]).forgotten == 1
    assert house.streams.catalogue.list(7, "sds") == []
    assert places(house) == []


def test_a_new_home_of_the_number_of_a_forgotten_one_keeps_its_streams(open_house: Callable[[], House]) -> None:
    house = open_house()
    old = sealed_with(house, MARK)
    house.state.commit(SPACE, Change(deletes=("home/7",)))
    new = sealed_with(house, b"new", name="another")
    assert house.restoring.restore([digest_of(old.home_key)]).forgotten == 1
    assert house.streams.catalogue.list(7, "sds") == [new]
    assert places(house) == [b"new"]


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "another's"])
def test_a_state_that_knows_no_stream_is_refused_before_anything_is_changed(
    open_house: Callable[[], House], restored: Callable[..., House], is_empty: bool
) -> None:
    house = open_house()
    house.access.create("operator", admin=True)
    if not is_empty:
        stream_with(house, home_id=8)
    later = restored(house, lambda house: sealed_with(house, MARK))
    with pytest.raises(Invalid, match="none of the 1 homes and streams"):
        later.restoring.restore(["0" * 64])
    assert places(later) == [MARK]
    assert later.forgetting.noted() == set()


# The command line


@pytest.fixture
def smarthouse(embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    begin(embedded_pair)
    for name, value in embedded_pair.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, given: str | None = None, fails: bool = False) -> str:
        result = CliRunner().invoke(main, arguments, input=given)
        assert bool(result.exit_code) == fails, result.output
        return result.output

    return run


def test_a_home_is_forgotten_by_command(smarthouse: Callable[..., str], open_house: Callable[[], House]) -> None:
    stream_with(open_house())
    assert "Home 7: forgotten" in smarthouse("homes", "forget", "7", "--yes")
    assert open_house().streams.catalogue.list(7, "sds") == []


def test_a_home_is_not_forgotten_by_mistake(smarthouse: Callable[..., str], open_house: Callable[[], House]) -> None:
    stream_with(open_house())
    smarthouse("homes", "forget", "7", given="n\n", fails=True)
    assert len(open_house().streams.catalogue.list(7, "sds")) == 1


def test_a_home_is_linked_without_its_uuid_being_shown(smarthouse: Callable[..., str], open_house: Callable[[], House]) -> None:
    assert HOME not in smarthouse("homes", "link", "7", given=f"{HOME}\n")
    assert open_house().states.homes.linked(open_house().states.homes.tag(HOME)) == [7]


def test_what_is_no_uuid_is_not_linked(smarthouse: Callable[..., str]) -> None:
    assert "8-4-4-4-12" in smarthouse("homes", "link", "7", given="6f1b1a52\n", fails=True)


def test_a_link_is_taken_back_by_command(smarthouse: Callable[..., str], open_house: Callable[[], House]) -> None:
    house = open_house()
    stream_with(house)
    for home_id in (7, 77):
        house.states.homes.link(HOME, home_id)
    assert smarthouse("homes", "unlink", "7") == "Home 7: forgotten only by command\n"
    assert house.states.homes.linked(house.states.homes.tag(HOME)) == [77]
    house.forgetting.forget(HOME)
    assert len(house.streams.catalogue.list(7, "sds")) == 1


def test_a_home_that_is_forgotten_by_command_takes_its_links_along(
    smarthouse: Callable[..., str], open_house: Callable[[], House]
) -> None:
    smarthouse("homes", "link", "7", given=f"{HOME}\n")
    smarthouse("homes", "forget", "7", "--yes")
    house = open_house()
    stream_with(house)
    house.forgetting.forget(HOME)
    assert len(house.streams.catalogue.list(7, "sds")) == 1


def test_a_repeat_removes_the_streams_that_the_first_request_could_not(impatient: House, busy: Lease) -> None:
    upload(impatient)
    seal(impatient, stream_with(impatient))
    impatient.states.homes.link(HOME, 7)
    with pytest.raises(Unavailable):
        impatient.forgetting.forget(HOME)
    busy.release()
    impatient.forgetting.forget(HOME)
    assert list(impatient.objects.list("packets/")) == []


def test_a_repeat_is_told_that_the_streams_are_not_removed_yet(impatient: House, busy: Lease) -> None:
    upload(impatient)
    seal(impatient, stream_with(impatient))
    impatient.states.homes.link(HOME, 7)
    for _ in range(2):
        with pytest.raises(Unavailable):
            impatient.forgetting.forget(HOME)

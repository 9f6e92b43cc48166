"""What goes on without a request: turns and rounds, purging of what was deleted, sweeping up after crashes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.ports import Change, NoSuchObject, StoreUnavailable
from config.settings import Settings
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import Invalid, NotFound
from smarthouse_api.house import House
from smarthouse_api.streams import catalogue as catalogue_module
from smarthouse_api.streams import chores
from smarthouse_api.streams.catalogue import SPACE
from smarthouse_api.streams.chores import StreamsChores
from smarthouse_api.streams.heads import space_of
from smarthouse_api.streams.model import LARGEST_INDEX, Stream, StreamRetention
from smarthouse_api.streams.packet_store import LOG, object_name
from tests.each import each
from tests.servers import RedisServer
from tests.streams.conftest import ANNA, BEN, Recorder, dying_at_each_step, made, numbered

MARK = b"bytes-that-only-this-stream-ever-had"


def run_chores(house: House) -> None:
    house.streams.chores.run(lambda: False)


def rich(house: House, name: str = "camera") -> Recorder:
    """A stream with a bit of everything that a stream can have."""
    recorder = made(house, name)
    for number in range(6):
        recorder.append(*[MARK + b"%d" % number] * 8, request_key=RequestKey(f"key {number}", "digest"))
        if number < 4:
            recorder.maintain()
    recorder.house.streams.metadata.put(recorder.stream, 3, {"mark": MARK.decode()}, ANNA)
    sessions = recorder.house.streams.sessions
    session, _ = sessions.add(recorder.stream, 0, 9, ANNA, RequestKey("session", "digest"))
    sessions.hold(recorder.stream, session.id, BEN)
    recorder.open()
    assert recorder.segments()
    assert recorder.log()
    return recorder


def documents(house: House, stream: Stream) -> list[str]:
    """The names of all documents that are there for one stream."""
    own = [name for name, _ in house.state.scan_all(space_of(stream.key))]
    others = [
        name
        for space in (SPACE, "leases")
        for name, document in house.state.scan_all(space)
        if stream.key in name or stream.key.encode() in document.value
    ]
    return own + others


def objects(house: House, stream: Stream) -> list[str]:
    return [info.key for info in house.objects.list("packets/") if stream.key in info.key]


def assert_nothing_left(house: House, stream: Stream) -> None:
    # A mark stays for a while, in case one who was at work on the stream puts something still.
    assert [name for name in documents(house, stream) if name != f"gone/{stream.key}"] == []
    assert objects(house, stream) == []
    assert house.state.read(space_of(stream.key), LOG) == []


# Deletion


def test_a_deleted_stream_is_gone_at_once(recorder: Recorder) -> None:
    recorder.append(b"a")
    recorder.delete()
    catalogue = recorder.house.streams.catalogue
    assert catalogue.get(7, "m", "camera") is None
    assert catalogue.list(7, "m") == []
    with pytest.raises(NotFound):
        catalogue.delete(recorder.stream)


def test_a_stream_made_anew_has_nothing_of_the_old_one(sealing: Recorder) -> None:
    rich(sealing.house)
    sealing.delete()
    anew = Recorder(sealing.house, sealing.made_anew())
    assert anew.status().packet_index == -1
    assert anew.packets() == {}
    assert anew.sessions() == []
    assert anew.append(b"a").start == 0
    run_chores(sealing.house)
    assert anew.packets() == {0: b"a"}


def test_deleting_a_stream_that_was_made_anew_by_its_old_self_is_refused(recorder: Recorder) -> None:
    recorder.delete()
    anew = recorder.made_anew()
    with pytest.raises(NotFound):
        recorder.delete()
    assert recorder.house.streams.catalogue.find(7, "m", "camera").key == anew.key


def test_a_purge_leaves_nothing_of_the_stream_and_all_of_others(sealing: Recorder) -> None:
    recorder, other = rich(sealing.house), rich(sealing.house, "another")
    before = other.packets()
    recorder.delete()
    assert objects(recorder.house, recorder.stream) != []
    recorder.house.streams.chores.purge(5)
    assert_nothing_left(recorder.house, recorder.stream)
    assert other.packets() == before
    assert other.status().owner == ANNA


def test_a_turn_purges_what_was_deleted(sealing: Recorder) -> None:
    recorder = rich(sealing.house)
    recorder.delete()
    run_chores(recorder.house)
    assert_nothing_left(recorder.house, recorder.stream)


def test_a_purge_that_died_at_any_step_is_ended_by_the_next(sealing: Recorder) -> None:
    gone: list[Recorder] = []

    def prepare() -> None:
        gone.append(rich(sealing.house))
        gone[-1].delete()

    def check() -> None:
        sealing.house.streams.chores.purge(20)
        assert_nothing_left(sealing.house, gone[-1].stream)

    def purge() -> None:
        for one in sealing.house.streams.catalogue.tombstones():
            sealing.house.streams.chores._purge(one)

    assert dying_at_each_step(sealing.house, prepare, purge, check) >= 2 * 3


@contextmanager
def house_on(pair: dict[str, str]) -> Iterator[House]:
    sealing = {"SMARTHOUSE_STREAM_SEGMENT_BYTES": "1024", "SMARTHOUSE_STREAM_TAIL_SECONDS": "0"}
    house = House(Settings.from_env({**pair, **sealing}))
    yield house
    house.close()


def test_after_a_purge_no_byte_is_in_the_files(embedded_pair: dict[str, str]) -> None:
    folder = Path(embedded_pair["SMARTHOUSE_DATA_DIR"])

    def files() -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file() and MARK in path.read_bytes()]

    with house_on(embedded_pair) as house:
        recorder = rich(house)
        assert files()
        recorder.delete()
        house.streams.chores.purge(5)
        house.state.scrub()
        assert files() == []


def test_after_a_purge_no_key_is_in_redis(production_pair: dict[str, str], redis_server: RedisServer) -> None:
    with house_on(production_pair) as house, redis_server.client() as client:
        recorder = rich(house)

        def kept() -> set[bytes]:
            return {key.rpartition(b"}:")[2] for key in client.scan_iter(f"*{recorder.stream.key}*")}

        assert {b"documents", b"log:packets"} <= kept()
        recorder.delete()
        house.streams.chores.purge(5)
        house.state.scrub()
        assert kept() == set()


@pytest.mark.parametrize("method", ["append", "mark", "metadata", "hold", "maintain", "open"])
def test_whatever_still_comes_for_a_purged_stream_leaves_nothing(sealing: Recorder, method: str) -> None:
    recorder = rich(sealing.house)
    house, stream = recorder.house, recorder.stream
    session = house.streams.sessions.within(stream, 0, LARGEST_INDEX)[0]
    found = recorder.store.manifest(stream)
    recorder.delete()
    house.streams.chores.purge(5)
    works: dict[str, Callable[[], Any]] = {
        "append": lambda: recorder.append(b"late"),
        "mark": lambda: house.streams.sessions.add(stream, 0, 1, ANNA),
        "metadata": lambda: house.streams.metadata.put(stream, 0, {}, ANNA),
        "hold": lambda: house.streams.sessions.hold(stream, session.id, ANNA),
        "open": recorder.open,
        "maintain": lambda: house.streams.chores._sealing.seal(stream, found),
    }
    try:
        works[method]()
    except NotFound:
        pass
    else:
        assert method == "maintain"
    assert_nothing_left(house, stream)


def test_a_late_append_of_a_stale_process_leaves_nothing(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"a")
    other.delete()
    other.house.streams.chores.purge(5)
    with pytest.raises(NotFound):
        one.append(b"b")
    assert_nothing_left(one.house, one.stream)


def test_a_purge_waits_for_whoever_keeps_the_streams(recorder: Recorder) -> None:
    recorder.delete()
    lease = recorder.house.leases.try_hold("streams")
    assert lease is not None
    with pytest.raises(TimeoutError):
        recorder.house.streams.chores.purge(0.05)
    lease.release()
    recorder.house.streams.chores.purge(5)


# Homes


def hide_home(recorder: Recorder) -> None:
    """Hide all streams of the recorder's home, as they are kept now."""
    catalogue = recorder.house.streams.catalogue
    catalogue.hide_home(7, catalogue.home_keys_of(7))


def test_a_home_that_is_hidden_loses_its_streams_and_others_keep_theirs(sealing: Recorder) -> None:
    recorder, second = rich(sealing.house), rich(sealing.house, "another")
    neighbour, _ = sealing.house.streams.catalogue.create(70, "m", "camera")
    Recorder(sealing.house, neighbour).append(b"a")
    catalogue = sealing.house.streams.catalogue
    for _ in range(2):
        hide_home(recorder)
    assert catalogue.list(7, "m") == []
    with pytest.raises(NotFound):
        recorder.append(b"late")
    sealing.house.streams.chores.purge(5)
    for one in (recorder, second):
        assert_nothing_left(sealing.house, one.stream)
    assert Recorder(sealing.house, neighbour).packets() == {0: b"a"}
    assert set(catalogue.homes()) == {70}


def test_a_home_that_comes_back_has_another_key(recorder: Recorder) -> None:
    hide_home(recorder)
    assert recorder.made_anew().home_key != recorder.stream.home_key


def test_many_streams_of_a_home_are_hidden(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_module, "_PAGE", 3)
    streams = [made(recorder.house, f"camera {number}").stream for number in range(8)]
    hide_home(recorder)
    assert recorder.house.streams.catalogue.list(7, "m") == []
    recorder.house.streams.chores.purge(5)
    for stream in streams:
        assert_nothing_left(recorder.house, stream)


def test_a_stream_that_is_made_anew_while_its_home_is_hidden_leaves_nothing(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, scan = recorder.house, recorder.house.state.scan
    made_anew: list[Stream] = []

    def make_anew_afterwards(*asked: Any, **options: Any) -> Any:
        page = scan(*asked, **options)
        monkeypatch.undo()
        house.streams.catalogue.delete(recorder.stream)
        made_anew.append(recorder.made_anew())
        return page

    keys = house.streams.catalogue.home_keys_of(7)
    monkeypatch.setattr(house.state, "scan", make_anew_afterwards)
    house.streams.catalogue.hide_home(7, keys)
    house.streams.chores.purge(5)
    for stream in (recorder.stream, *made_anew):
        found = house.streams.catalogue.get(7, "m", "camera")
        if found is None or found.key != stream.key:
            assert_nothing_left(house, stream)


# Names


def test_streams_are_listed_by_name_within_their_module(recorder: Recorder) -> None:
    catalogue = recorder.house.streams.catalogue
    for home, module, name in ((7, "m", "b"), (7, "m", "a"), (7, "n", "c"), (70, "m", "d"), (7, "m/x", "e")):
        catalogue.create(home, module, name)
    assert [stream.name for stream in catalogue.list(7, "m")] == ["a", "b", "camera"]
    assert [stream.name for stream in catalogue.list(7, "m/x")] == ["e"]
    assert catalogue.list(8, "m") == []


@each("name", ["", ".", "..", "a\0b", "a\nb", "\ud800", "x" * 513])
def test_a_name_that_no_stream_can_have_is_refused(recorder: Recorder, name: str) -> None:
    catalogue = recorder.house.streams.catalogue
    for names in ((name, "camera"), ("m", name)):
        with pytest.raises(Invalid):
            catalogue.create(7, *names)
        assert catalogue.get(7, *names) is None


@each("name", ["a/b", "ü" * 512, " ", "...", "%2F", "a b", "\N{SNOWMAN}"])
def test_any_other_name_is_a_stream_of_its_own(recorder: Recorder, name: str) -> None:
    one = made(recorder.house, name)
    one.append(b"a")
    assert recorder.house.streams.catalogue.find(7, "m", name).key == one.stream.key
    assert Recorder(one.house, one.stream).packets() == {0: b"a"}


def test_making_a_stream_again_changes_what_it_keeps_only_if_told(recorder: Recorder) -> None:
    catalogue = recorder.house.streams.catalogue
    wanted = StreamRetention(packets=5)
    assert catalogue.create(7, "m", "camera", wanted)[0].retention == wanted
    again, is_new = catalogue.create(7, "m", "camera")
    assert (again.retention, is_new, again.key) == (wanted, False, recorder.stream.key)
    assert catalogue.create(7, "m", "camera", StreamRetention())[0].retention == StreamRetention()
    assert catalogue.find(7, "m", "camera").retention == StreamRetention()


def test_eight_who_make_a_stream_at_once_make_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, spaces = house.state.commit, set[str]()

    def noted(space: str, change: Change) -> Any:
        spaces.add(space)
        return commit(space, change)

    monkeypatch.setattr(house.state, "commit", noted)
    with ThreadPoolExecutor(8) as sides:
        told = list(sides.map(lambda _: house.streams.catalogue.create(7, "m", "camera"), range(8)))
    assert len({stream.key for stream, _ in told}) == 1
    assert sum(is_new for _, is_new in told) == 1
    # Of those that came too late, nothing is left.
    assert {space for space in spaces if house.state.scan(space)} == {SPACE, space_of(told[0][0].key)}


# Turns and rounds


def test_a_turn_seals_what_is_marked(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StreamsChores, "_go_round", lambda *_: None)
    recorder = made(make_house(stream_segment_bytes=1024))
    recorder.append(b"a" * 1000)
    run_chores(recorder.house)
    assert recorder.segments() == []
    recorder.append(b"a" * 1000)
    run_chores(recorder.house)
    assert len(recorder.segments()) == 1
    assert list(recorder.house.streams.catalogue.take_full()) == []


def test_a_round_comes_by_every_stream(make_house: Callable[..., House]) -> None:
    house = make_house(stream_tail_seconds=0)
    recorders = [made(house, f"camera {number}") for number in range(5)]
    for recorder in recorders:
        recorder.append(b"a")
    run_chores(house)
    assert all(len(recorder.segments()) == 1 for recorder in recorders)


def test_a_round_that_is_broken_off_goes_on_at_the_next_turn(make_house: Callable[..., House]) -> None:
    house = make_house(stream_tail_seconds=0)
    recorders = [made(house, f"camera {number}") for number in range(5)]
    for recorder in recorders:
        recorder.append(b"a")
    sealed = []
    for _ in recorders:
        house.streams.chores.run(lambda: True)
        sealed.append(sum(len(recorder.segments()) for recorder in recorders))
    assert sealed == [1, 2, 3, 4, 5]


def test_a_round_begins_only_now_and_then(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = made(make_house(stream_tail_seconds=0))
    run_chores(recorder.house)
    recorder.append(b"a")
    run_chores(recorder.house)
    assert recorder.segments() == []
    clock = time.monotonic
    monkeypatch.setattr(chores.time, "monotonic", lambda: clock() + 31)
    run_chores(recorder.house)
    assert len(recorder.segments()) == 1


def test_of_two_only_one_keeps_at_a_time(recorder: Recorder, make_house: Callable[..., House]) -> None:
    lease = recorder.house.leases.try_hold("streams")
    assert lease is not None
    recorder.delete()
    run_chores(recorder.house)
    assert [gone.purged_at for gone in recorder.house.streams.catalogue.tombstones()] == [None]
    lease.release()
    run_chores(recorder.house)
    assert [gone.purged_at for gone in recorder.house.streams.catalogue.tombstones()] != [None]


def test_what_comes_after_a_purge_is_removed_by_another(recorder: Recorder) -> None:
    recorder.append(b"a")
    recorder.delete()
    run_chores(recorder.house)
    late = f"{object_name(recorder.stream, 'late')}.data"
    recorder.house.objects.put(late, [b"of one who was at work on the stream"])
    run_chores(recorder.house)
    assert objects(recorder.house, recorder.stream) == []
    assert recorder.house.streams.catalogue.tombstones() == []


def test_no_purge_waits_that_has_nothing_to_remove(recorder: Recorder) -> None:
    lease = recorder.house.leases.try_hold("streams")
    assert lease is not None
    recorder.house.streams.chores.purge(0)
    lease.release()


@pytest.mark.parametrize("fault", [StoreUnavailable("away"), NoSuchObject("lost"), OverflowError("a fault of ours")], ids=repr)
def test_a_stream_whose_visit_fails_keeps_no_other_from_its_turn(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    house = make_house(stream_tail_seconds=0)
    recorders = [made(house, f"camera {number}") for number in range(3)]
    for recorder in recorders:
        recorder.append(b"a")
    visit = StreamsChores._visit

    def fail(self: StreamsChores, stream: Stream, *others: Any) -> None:
        if stream.key == recorders[1].stream.key:
            raise fault
        visit(self, stream, *others)

    monkeypatch.setattr(StreamsChores, "_visit", fail)
    for _ in range(2):
        try:
            run_chores(house)
        except StoreUnavailable:
            continue
    assert [len(recorder.segments()) for recorder in recorders] == [1, 0, 1]
    noted = house.streams.activity.all()
    assert noted.noted.keys() == {recorders[0].stream.key, recorders[2].stream.key}
    assert (noted.looked_at > 0) is not isinstance(fault, StoreUnavailable)  # after an outage it was no whole look


@pytest.mark.parametrize("environment", ["production_pair"], indirect=True)
def test_a_round_asks_the_store_twice_for_each_idle_stream(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, asked = make_house(), list[str]()
    for name in ("get", "get_many", "scan", "read", "commit"):
        act = getattr(house.state, name)
        monkeypatch.setattr(house.state, name, lambda *args, act=act, **options: (asked.append(""), act(*args, **options))[1])

    def asks() -> int:
        house.streams.chores._begun_at = float("-inf")
        asked.clear()
        run_chores(house)
        return len(asked)

    counts = list[int]()
    for number in range(3):
        made(house, f"camera {number}").append(b"a")
        asks()  # it notes the new packet
        counts.append(asks())
    assert [counts[1] - counts[0], counts[2] - counts[1]] == [2, 2]


def test_a_mark_of_a_deleted_stream_is_taken_off(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(stream_segment_bytes=1024))
    recorder.append(b"a" * 2000)
    recorder.delete()
    run_chores(recorder.house)
    assert_nothing_left(recorder.house, recorder.stream)


def test_a_visit_to_a_deleted_stream_does_nothing(sealing: Recorder) -> None:
    sealing.append(b"a")
    sealing.delete()
    sealing.maintain()
    assert sealing.objects() == set()


# Sweeping


def test_old_objects_that_nobody_refers_to_are_swept_and_others_are_not(
    sealing: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealing.append(b"a")
    sealing.maintain()
    download = sealing.open_download()
    sealing.append(b"b")
    sealing.maintain()
    kept, folder = sealing.objects(), f"packets/{sealing.stream.home_key}/{sealing.stream.key}"
    assert len(kept) == 4
    for ending in ("data", "index"):
        sealing.house.objects.put(f"{folder}/{'0' * 24}.{ending}", [b"of a crash"])
    sealing.house.streams.chores.sweep()
    assert len(sealing.objects()) == 6
    monkeypatch.setattr(chores, "_ORPHAN_DAYS", -1)
    sealing.house.streams.chores.sweep()
    assert sealing.objects() == kept
    assert b"".join(download.body()) == b"a"
    download.close()


def test_a_housekeeper_keeps_the_streams(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(stream_tail_seconds=0))
    recorder.append(*numbered(range(5)))
    recorder.house.housekeeper.keep()
    assert len(recorder.segments()) == 1
    recorder.delete()
    recorder.house.housekeeper.keep()
    assert_nothing_left(recorder.house, recorder.stream)

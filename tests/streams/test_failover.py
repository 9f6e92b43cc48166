"""A state that is a little older: what it refers to is there still, and no index is given twice after it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from backends.ports import Change, Put
from config.settings import Settings
from smarthouse_api.house import House
from smarthouse_api.streams.packet_store import object_name
from tests.servers import RedisServer
from tests.streams.conftest import BEN, Recorder, made, numbered

HOUR = 3600


@pytest.fixture(autouse=True)
def no_grace() -> None:
    """Here, what nobody refers to any more is kept as long as it is in earnest."""


def documents(recorder: Recorder) -> dict[str, bytes]:
    """What the state says of where the packets are."""
    found = recorder.house.state.scan_all(recorder.space)
    return {name: document.value for name, document in found if name in ("rest", "head") or name.startswith("segment/")}


def fail_over(recorder: Recorder, before: dict[str, bytes]) -> None:
    """Have the state say what it said before."""
    puts = tuple(Put(name, value) for name, value in before.items())
    later = tuple(documents(recorder).keys() - before.keys())
    recorder.house.state.commit(recorder.space, Change(puts=puts, deletes=later))


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + seconds)


@pytest.fixture
def merged(sealing: Recorder) -> tuple[Recorder, dict[str, bytes]]:
    """A stream whose only segment was merged into a larger one, and the state of before."""
    sealing.append(b"a")
    sealing.maintain()
    before = documents(sealing)
    sealing.append(b"b")
    sealing.maintain()
    assert [segment.packets for segment in sealing.segments()] == [2]
    return sealing, before


@pytest.fixture
def let_go(sealing: Recorder) -> tuple[Recorder, dict[str, bytes]]:
    """A stream that keeps one of its three segments, and the state of before."""
    for number in range(3):
        sealing.append(b"%d" % number * 600)
        sealing.maintain()
    before = documents(sealing)
    sealing.keep_only(packets=1)
    sealing.maintain()
    assert len(sealing.segments()) == 1
    return sealing, before


# What is not referred to any more


def test_what_was_merged_can_be_read_by_a_state_of_before(merged: tuple[Recorder, dict[str, bytes]]) -> None:
    recorder, before = merged
    recorder.maintain()
    fail_over(recorder, before)
    assert recorder.packets() == {0: b"a"}
    assert recorder.download() == b"a"


def test_what_was_let_go_can_be_read_by_a_state_of_before(let_go: tuple[Recorder, dict[str, bytes]]) -> None:
    recorder, before = let_go
    recorder.maintain()
    fail_over(recorder, before)
    assert recorder.packets() == {number: b"%d" % number * 600 for number in range(3)}


def test_a_state_of_before_goes_on_from_what_it_knows(merged: tuple[Recorder, dict[str, bytes]]) -> None:
    recorder, before = merged
    fail_over(recorder, before)
    assert recorder.append(b"c").start == 1
    recorder.maintain()
    assert recorder.log() == []
    assert recorder.packets() == {0: b"a", 1: b"c"}


def assert_kept_for_an_hour(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = recorder.objects()
    pass_time(monkeypatch, HOUR - 60)
    recorder.maintain()
    assert recorder.objects() == kept
    pass_time(monkeypatch, 120)
    recorder.maintain()
    recorder.assert_tidy()
    assert recorder.store.manifest(recorder.stream).manifest.retired == {}


def test_what_was_merged_is_kept_for_an_hour_and_no_longer(
    merged: tuple[Recorder, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_kept_for_an_hour(merged[0], monkeypatch)


def test_what_was_let_go_is_kept_for_an_hour_and_no_longer(
    let_go: tuple[Recorder, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_kept_for_an_hour(let_go[0], monkeypatch)


def test_a_stream_that_was_purged_is_purged_again_when_the_hour_is_over(
    sealing: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chores = sealing.house.streams.chores
    sealing.delete()
    chores.purge(5)
    sealing.house.objects.put(f"{object_name(sealing.stream, 'late')}.data", [b"of one who was at work on the stream"])
    pass_time(monkeypatch, HOUR - 60)
    chores.purge(5)
    assert len(sealing.house.streams.catalogue.tombstones()) == 1
    pass_time(monkeypatch, 120)
    chores.purge(5)
    assert sealing.objects() == set()
    assert sealing.house.streams.catalogue.tombstones() == []


# What is lost


@pytest.mark.parametrize("lost", [("index",), ("data", "index")], ids=" and ".join)
def test_a_segment_whose_objects_are_lost_does_not_keep_the_log_from_being_sealed(
    sealing: Recorder, lost: tuple[str, ...]
) -> None:
    sealing.append(b"a")
    sealing.maintain()
    (segment,) = sealing.segments()
    sealing.house.objects.delete(f"{object_name(sealing.stream, segment.id)}.{ending}" for ending in lost)
    sealing.append(b"b")
    sealing.maintain()
    assert sealing.log() == []
    assert sealing.packets(1) == {1: b"b"}


# Two processes, and a server that lost the last commits


@pytest.fixture
def on_redis(production_pair: dict[str, str]) -> Iterator[tuple[Recorder, Recorder]]:
    """One stream in two processes."""
    settings = Settings.from_env({**production_pair, "SMARTHOUSE_STREAM_TAIL_SECONDS": "0"})
    one, other = House(settings), House(settings)
    first = made(one)
    yield first, Recorder(other, other.streams.catalogue.find(7, "m", "camera"))
    one.close()
    other.close()


class Replica:
    """A server that takes over with what the stream's space holds now."""

    def __init__(self, server: RedisServer, recorder: Recorder) -> None:
        self._server, self._pattern = server, f"*{{{recorder.space}}}*"
        with server.client() as client:
            self._dumps = {key: client.dump(key) for key in client.scan_iter(self._pattern)}
        assert len(self._dumps) >= 3

    def take_over(self) -> None:
        with self._server.client() as client:
            client.delete(*client.scan_iter(self._pattern))
            for key, dump in self._dumps.items():
                client.restore(key, 0, dump)


def test_whoever_remembers_what_a_failover_lost_doubles_no_index(
    on_redis: tuple[Recorder, Recorder], redis_server: RedisServer
) -> None:
    stale, other = on_redis
    stale.append(b"a")
    replica = Replica(redis_server, stale)
    stale.append(b"lost")
    replica.take_over()
    assert other.append(b"b", b"c").start == 1
    assert stale.append(b"d").start == 3
    for recorder in on_redis:
        assert recorder.packets() == {0: b"a", 1: b"b", 2: b"c", 3: b"d"}


def test_however_many_commits_a_failover_lost_no_index_is_doubled(
    on_redis: tuple[Recorder, Recorder], redis_server: RedisServer
) -> None:
    stale, other = on_redis
    stale.append(b"a")
    replica = Replica(redis_server, stale)
    for _ in range(5):
        stale.append(b"lost")
    replica.take_over()
    for number in range(4):
        other.append(b"%d" % number, b"%d again" % number)
    other.append(b"4", b"4 again")
    assert stale.append(b"d").start == 11
    stale.maintain()
    assert list(stale.packets()) == list(range(12))
    assert stale.log() == []


def test_an_owner_who_remembers_what_a_failover_lost_owns_nothing(
    on_redis: tuple[Recorder, Recorder], redis_server: RedisServer
) -> None:
    stale, other = on_redis
    stale.append(*numbered(range(3)))
    replica = Replica(redis_server, stale)
    stale.open()
    stale.append(b"lost")
    replica.take_over()
    other.open(BEN)
    other.append(b"b", owner=BEN)
    assert stale.status().owner == BEN
    with pytest.raises(Exception, match="owns the stream"):
        stale.append(b"c")

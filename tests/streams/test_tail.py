"""Following: what is there, then what comes, once and in order; and places given back however a follower goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.ports import StoreUnavailable
from smarthouse_api.errors import NotFound, Unavailable
from smarthouse_api.house import House
from smarthouse_api.streams.model import Packet
from tests.streams.conftest import Recorder, made, numbered

Tail = Iterator[list[Packet]]


def follow(
    recorder: Recorder, start: int | None = 0, stop: int | None = None, is_allowed: Callable[[], bool] = lambda: True
) -> Tail:
    return recorder.house.streams.tail.follow(recorder.stream, start, stop, is_allowed)


def take(tail: Tail, count: int, seconds: float = 20) -> dict[int, bytes]:
    """The next packets, so many; each index once, in order."""
    deadline, found = time.monotonic() + seconds, list[Packet]()
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} packets came in time"
        found += next(tail)
    indexes = [packet.index for packet in found]
    assert indexes == sorted(set(indexes))
    return {packet.index: packet.data for packet in found}


def rest(tail: Tail, seconds: float = 20) -> list[int]:
    """The indexes of all that still comes before the tail ends by itself."""
    deadline, found = time.monotonic() + seconds, list[int]()
    for packets in tail:
        found += [packet.index for packet in packets]
        assert time.monotonic() < deadline, "it did not end in time"
    return found


@pytest.fixture
def brisk(make_house: Callable[..., House]) -> Recorder:
    """A new stream in a house that sends followers away after 20 seconds."""
    return made(make_house(stream_follow_seconds=20, stream_tail_seconds=0, stream_segment_bytes=1024))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows is looked at at each turn."""
    monkeypatch.setattr("smarthouse_api.streams.tail._CHECK_SECONDS", 0)
    monkeypatch.setattr("smarthouse_api.streams.tail._HEARTBEAT_SECONDS", 0)


def test_what_is_there_comes_first_and_then_what_is_new(brisk: Recorder) -> None:
    brisk.append(*numbered(range(6), 100))
    brisk.maintain()
    brisk.append(*numbered(range(8, 10)))
    tail = follow(brisk)
    assert list(take(tail, 8)) == [0, 1, 2, 3, 4, 5, 8, 9]
    brisk.append(b"new", (20, b"newer"))
    assert take(tail, 2) == {10: b"new", 20: b"newer"}
    tail.close()  # type: ignore[attr-defined]


def test_without_a_start_only_what_is_new_comes(brisk: Recorder) -> None:
    brisk.append(b"old")
    tail = follow(brisk, None)
    brisk.append(b"new")
    assert take(tail, 1) == {1: b"new"}


def test_a_packet_that_comes_before_the_first_is_asked_for_is_not_missed(brisk: Recorder) -> None:
    tail = follow(brisk, None)
    brisk.append(b"a")
    brisk.maintain()
    brisk.append(b"b")
    assert take(tail, 2) == {0: b"a", 1: b"b"}


def test_a_follower_goes_on_where_it_was(brisk: Recorder) -> None:
    brisk.append(*numbered(range(10)))
    tail = follow(brisk, 0)
    seen = take(tail, 1)
    tail.close()  # type: ignore[attr-defined]
    brisk.append(b"10;")
    following = max(seen) + 1
    assert list(take(follow(brisk, following), 11 - following)) == list(range(following, 11))


def test_a_follower_may_start_above_the_next_index(brisk: Recorder) -> None:
    tail = follow(brisk, 5)
    brisk.append(*numbered(range(8)))
    assert list(take(tail, 3)) == [5, 6, 7]


@pytest.mark.parametrize("indexes", [range(6), [0, 1, 2, 5], [0, 1, 2, 3, 9]])
def test_it_ends_at_the_stop(brisk: Recorder, indexes: list[int]) -> None:
    brisk.append(*numbered(indexes))
    assert rest(follow(brisk, 0, 3), 5) == [index for index in indexes if index <= 3]


def test_it_ends_as_soon_as_the_stop_has_come_or_was_left_out(brisk: Recorder) -> None:
    tail = follow(brisk, 0, 3)
    brisk.append(b"a")
    assert take(tail, 1) == {0: b"a"}
    brisk.append((7, b"b"))
    assert rest(tail, 5) == []


def test_it_ends_at_once_where_the_stop_is_below_the_start(brisk: Recorder) -> None:
    brisk.append(*numbered(range(5)))
    assert rest(follow(brisk, 3, 2), 5) == []


def test_it_ends_when_the_stream_is_deleted(brisk: Recorder) -> None:
    brisk.append(b"a")
    tail = follow(brisk)
    take(tail, 1)
    brisk.delete()
    assert rest(tail) == []


def test_it_ends_when_the_stream_was_deleted_and_purged(brisk: Recorder) -> None:
    brisk.append(b"a")
    tail = follow(brisk)
    brisk.delete()
    brisk.house.streams.chores.purge(5)
    assert rest(tail) == []


def test_a_deleted_stream_is_not_followed(brisk: Recorder) -> None:
    brisk.delete()
    with pytest.raises(NotFound):
        follow(brisk)


@pytest.mark.usefixtures("often")
def test_it_ends_when_the_follower_is_not_allowed_any_more(brisk: Recorder) -> None:
    brisk.append(b"a")
    allowed = True
    tail = follow(brisk, is_allowed=lambda: allowed)
    take(tail, 1)
    allowed = False
    assert rest(tail) == []


def ten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.streams.tail._EVENT_BYTES", 1000)
    monkeypatch.setattr("smarthouse_api.streams.tail._AT_ONCE_BYTES", 10_000)


@pytest.mark.usefixtures("often")
def test_it_ends_in_the_middle_of_history_too(brisk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    ten_at_once(monkeypatch)
    brisk.append(*numbered(range(1000)))
    allowed = True
    forbidden, sent_away = follow(brisk, is_allowed=lambda: allowed), follow(brisk)
    for tail in (forbidden, sent_away):
        take(tail, 10)
    allowed = False
    assert len(rest(forbidden)) < 100
    brisk.house.streams.tail.end()
    assert len(rest(sent_away)) < 100


@pytest.mark.usefixtures("often")
def test_all_of_history_comes_though_the_follower_is_looked_at_in_between(
    brisk: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ten_at_once(monkeypatch)
    brisk.append(*numbered(range(0, 200, 2), 20))
    brisk.maintain()
    brisk.append(*numbered(range(200, 230)))
    assert list(take(follow(brisk), 130)) == [*range(0, 200, 2), *range(200, 230)]


@pytest.mark.usefixtures("often")
def test_a_sign_of_life_comes_while_no_packet_does(brisk: Recorder) -> None:
    tail = follow(brisk)
    assert [next(tail), next(tail)] == [[], []]


def test_it_ends_when_its_time_is_over(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(stream_follow_seconds=1))
    recorder.append(b"a")
    assert rest(follow(recorder)) == [0]


def test_all_are_sent_away_when_the_process_is_about_to_stop(brisk: Recorder) -> None:
    brisk.append(b"a")
    tail = follow(brisk)
    take(tail, 1)
    brisk.house.streams.tail.end()
    assert rest(tail) == []
    assert rest(follow(brisk)) == [0]


def test_large_batches_come_in_parts(brisk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    ten_at_once(monkeypatch)
    brisk.append(*numbered(range(95)))
    tail = follow(brisk, 0, 94)
    assert [len(packets) for packets in tail] == [10] * 9 + [5]


def test_packets_come_once_and_in_order_while_they_are_written_and_sealed(brisk: Recorder) -> None:
    tail = follow(brisk, 0, 199)

    def write(writer: int) -> None:
        for number in range(20):
            brisk.append(*[b"%d-%d" % (writer, number)] * (1 + number % 4))
            if writer == 0:
                brisk.maintain()

    with ThreadPoolExecutor(5) as sides:
        following = sides.submit(take, tail, 200)
        list(sides.map(write, range(4)))
        assert following.result() == brisk.packets(0, 199)


def test_a_gap_that_retention_leaves_is_passed(brisk: Recorder) -> None:
    brisk.append(*numbered(range(30), 40))
    brisk.maintain()
    tail = follow(brisk, 5)
    brisk.keep_only(packets=2)
    brisk.maintain()
    assert list(take(tail, 2)) == [28, 29]


def test_history_that_is_merged_meanwhile_is_followed_on(brisk: Recorder) -> None:
    for start in (0, 4):
        brisk.append(*numbered(range(start, start + 4)))
        brisk.maintain()
    tail = follow(brisk)
    first = take(tail, 1)
    brisk.append(*numbered(range(8, 12)))
    brisk.maintain()
    assert list(first | take(tail, 12 - len(first))) == list(range(12))


# Places


@pytest.fixture
def narrow(make_house: Callable[..., House]) -> Recorder:
    """A stream with a packet in a house that serves two followers at a time."""
    recorder = made(make_house(stream_followers=2))
    recorder.append(b"a")
    return recorder


def assert_two_places(recorder: Recorder) -> None:
    tails = [follow(recorder) for _ in range(2)]
    with pytest.raises(Unavailable, match="Too many clients follow"):
        follow(recorder)
    for tail in tails:
        tail.close()  # type: ignore[attr-defined]


def test_so_many_follow_at_a_time_and_no_more(narrow: Recorder) -> None:
    assert_two_places(narrow)
    assert_two_places(narrow)


def test_a_follower_that_was_never_asked_gives_its_place_back(narrow: Recorder) -> None:
    for _ in range(3):
        follow(narrow).close()  # type: ignore[attr-defined]
    for _ in range(3):
        follow(narrow)  # and is let go of
    assert_two_places(narrow)


def test_a_follower_that_is_closed_twice_or_after_its_end_gives_its_place_back_once(narrow: Recorder) -> None:
    tail = follow(narrow, 0, 0)
    assert rest(tail) == [0]
    tail.close()  # type: ignore[attr-defined]
    tail.close()  # type: ignore[attr-defined]
    assert_two_places(narrow)


def test_a_follower_in_the_middle_gives_its_place_back(narrow: Recorder) -> None:
    tail = follow(narrow)
    take(tail, 1)
    tail.close()  # type: ignore[attr-defined]
    assert_two_places(narrow)


def test_a_follower_gives_its_place_back_when_the_store_fails(narrow: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable("away")

    tails = [follow(narrow) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(narrow.house.state, "get", fail)
        for tail in tails:
            with pytest.raises(StoreUnavailable):
                list(tail)
        with pytest.raises(StoreUnavailable):
            follow(narrow)
    assert_two_places(narrow)


def test_a_stream_that_is_not_there_takes_no_place(narrow: Recorder) -> None:
    gone = made(narrow.house, "another")
    gone.delete()
    for _ in range(3):
        with pytest.raises(NotFound):
            follow(gone)
    assert_two_places(narrow)


def test_a_follower_in_another_process_sees_what_comes(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    tail = follow(other, None)
    one.append(b"a")
    assert take(tail, 1) == {0: b"a"}
    one.maintain()
    one.append(b"b")
    assert take(tail, 1) == {1: b"b"}
    one.delete()
    assert rest(tail) == []

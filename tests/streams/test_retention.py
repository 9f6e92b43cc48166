"""Retention: the oldest packets go by count, bytes and age, but for those that somebody uses; and what belonged to them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from smarthouse_api.errors import InUse, NotFound
from smarthouse_api.house import House
from smarthouse_api.streams.chores import StreamsChores
from smarthouse_api.streams.model import LARGEST_INDEX, Session
from tests.each import each
from tests.streams.conftest import (
    ANNA,
    BEN,
    Recorder,
    clock_ahead_by,
    dying_at_each_step,
    made,
    numbered,
)


def in_log(recorder: Recorder, indexes: range) -> None:
    recorder.append(*numbered(indexes[:4]))
    recorder.append(*numbered(indexes[4:]))


def in_segments(recorder: Recorder, indexes: range) -> None:
    for low in range(0, len(indexes), 4):
        recorder.append(*[(index, b"%03d" % index * 50) for index in indexes[low : low + 4]])
        recorder.maintain()
    assert len(recorder.segments()) == -(-len(indexes) // 4)


def in_both(recorder: Recorder, indexes: range) -> None:
    half = len(indexes) // 2
    in_segments(recorder, indexes[:half])
    in_log(recorder, indexes[half:])


@pytest.fixture(params=[in_log, in_segments, in_both])
def filled(request: pytest.FixtureRequest, sealing: Recorder) -> Recorder:
    """Twelve packets with gaps, in one place or another."""
    request.param(sealing, range(0, 24, 2))
    return sealing


def kept(recorder: Recorder) -> list[int]:
    return list(recorder.packets())


def test_a_stream_keeps_everything_unless_told(filled: Recorder) -> None:
    filled.maintain()
    assert len(filled.packets()) == 12


@each("count", [11, 5, 4, 1])
def test_as_many_packets_as_told_are_kept_exactly(filled: Recorder, count: int) -> None:
    wanted = dict(list(filled.packets().items())[-count:])
    filled.keep_only(packets=count)
    filled.maintain()
    assert filled.packets() == wanted
    filled.maintain()
    filled.assert_tidy()
    assert filled.packets() == wanted


@each("count", [12, 10**6])
def test_a_stream_that_holds_no_more_keeps_all(filled: Recorder, count: int) -> None:
    filled.keep_only(packets=count)
    filled.maintain()
    assert len(filled.packets()) == 12


@each("share", [0.99, 0.6, 0.1, 0.0])
def test_no_more_bytes_than_told_are_kept_and_no_packet_goes_in_vain(filled: Recorder, share: float) -> None:
    packets = filled.packets()
    limit = int(share * sum(map(len, packets.values()))) or 1
    filled.keep_only(bytes=limit)
    filled.maintain()
    found = filled.packets()
    left = sum(map(len, found.values()))
    assert found == {index: packets[index] for index in list(packets)[len(packets) - len(found) :]}
    assert left <= limit
    if len(found) < len(packets):
        assert left + len(packets[list(packets)[-len(found) - 1]]) > limit


def test_packets_that_are_too_old_go(filled: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.streams.appending.datetime", clock_ahead_by(50))
    filled.append((30, b"younger"))
    filled.keep_only(seconds=100)
    filled.maintain()
    assert len(filled.packets()) == 13
    monkeypatch.setattr("smarthouse_api.streams.retention.datetime", clock_ahead_by(120))
    filled.maintain()
    assert filled.packets() == {30: b"younger"}
    monkeypatch.setattr("smarthouse_api.streams.retention.datetime", clock_ahead_by(160))
    filled.maintain()
    assert filled.packets() == {}


def test_the_first_limit_that_is_reached_counts(filled: Recorder) -> None:
    filled.keep_only(packets=3, bytes=10**6, seconds=10**6)
    filled.maintain()
    assert kept(filled) == [18, 20, 22]


def test_the_highest_index_stays_though_no_packet_does(filled: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.keep_only(seconds=1)
    monkeypatch.setattr("smarthouse_api.streams.retention.datetime", clock_ahead_by(60))
    filled.maintain()
    assert filled.packets() == {}
    assert filled.status().packet_index == 22
    assert filled.append(b"next").start == 23
    filled.maintain()
    assert filled.status().packet_index == 23


def test_the_bytes_of_packets_that_go_leave_the_stores(sealing: Recorder) -> None:
    in_both(sealing, range(24))
    before = len(sealing.objects())
    sealing.keep_only(packets=1)
    sealing.maintain()
    sealing.maintain()
    assert len(sealing.objects()) < before
    assert len(sealing.objects()) <= 2
    sealing.assert_tidy()


def test_packets_without_a_byte_do_not_go_for_the_bytes_of_others(sealing: Recorder) -> None:
    sealing.append(b"", b"")
    sealing.maintain()
    assert len(sealing.segments()) == 1
    sealing.keep_only(packets=10, seconds=10**6)
    sealing.maintain()
    assert kept(sealing) == [0, 1]
    sealing.keep_only(bytes=10)
    sealing.maintain()
    assert kept(sealing) == [0, 1]


def test_no_index_below_the_floor_is_read_or_taken_again(filled: Recorder) -> None:
    filled.keep_only(packets=2)
    filled.maintain()
    assert filled.packets(0, 19) == {}
    for index in (0, 4, 18):
        with pytest.raises(InUse):
            filled.append((index, filled.packets().get(index, b"%d;" % index)))
    with pytest.raises(NotFound):
        filled.query(0, 19)


def test_a_wider_limit_brings_nothing_back_and_counts_on_from_there(filled: Recorder) -> None:
    filled.keep_only(packets=2)
    filled.maintain()
    filled.keep_only(packets=4)
    filled.append(*numbered(range(40, 43)))
    filled.maintain()
    assert kept(filled) == [22, 40, 41, 42]


def test_a_repeat_of_a_packet_counts_for_nothing(filled: Recorder) -> None:
    filled.append((22, filled.packets()[22]))
    filled.keep_only(packets=12)
    filled.maintain()
    assert len(filled.packets()) == 12


# What somebody uses


def session_of(recorder: Recorder, start: int, stop: int) -> Session:
    return recorder.house.streams.sessions.add(recorder.stream, start, stop, ANNA)[0]


def test_a_held_session_keeps_its_packets_and_all_after_them(filled: Recorder) -> None:
    session = session_of(filled, 7, 9)
    filled.house.streams.sessions.hold(filled.stream, session.id, ANNA)
    filled.keep_only(packets=1)
    filled.maintain()
    assert kept(filled) == [8, 10, 12, 14, 16, 18, 20, 22]
    filled.house.streams.sessions.release(filled.stream, session.id, ANNA)
    filled.maintain()
    assert kept(filled) == [22]


def test_an_open_session_keeps_its_packets_until_it_is_closed(filled: Recorder) -> None:
    session = filled.open()
    filled.append(*numbered(range(30, 34)))
    filled.keep_only(packets=1)
    filled.maintain()
    assert kept(filled) == [30, 31, 32, 33]
    filled.close(session)
    filled.maintain()
    assert kept(filled) == [33]


def test_a_session_that_timed_out_keeps_nothing(filled: Recorder) -> None:
    filled.open()
    filled.append(*numbered(range(30, 34)))
    filled.time_out()
    filled.keep_only(packets=1)
    filled.maintain()
    assert kept(filled) == [33]


def test_a_download_under_way_keeps_its_packets(filled: Recorder) -> None:
    whole = b"".join(data for index, data in filled.packets().items() if index >= 8)
    download = filled.open_download(filled.query(8, 23))
    filled.keep_only(packets=1)
    filled.maintain()
    assert kept(filled) == [8, 10, 12, 14, 16, 18, 20, 22]
    assert b"".join(download.body()) == whole
    download.close()
    filled.maintain()
    assert kept(filled) == [22]


def test_a_hold_of_an_open_session_goes_on_when_it_is_closed(filled: Recorder) -> None:
    session = filled.open()
    filled.append((30, b"a"), (31, b"b"))
    filled.house.streams.sessions.hold(filled.stream, session.id, BEN)
    filled.close(session)
    filled.append((32, b"c"))
    filled.keep_only(packets=1)
    filled.maintain()
    assert kept(filled) == [30, 31, 32]


def test_a_hold_that_was_told_keeps_what_is_about_to_go(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    in_both(sealing, range(0, 24, 2))
    session = session_of(sealing, 4, 9)
    sealing.keep_only(packets=1)
    commit = sealing.house.state.commit

    def hold_first(*asked: Any) -> Any:
        monkeypatch.undo()
        sealing.house.streams.sessions.hold(sealing.stream, session.id, ANNA)
        return commit(*asked)

    monkeypatch.setattr(sealing.house.state, "commit", hold_first)
    sealing.maintain()
    assert 4 in kept(sealing)
    sealing.maintain()
    assert kept(sealing)[0] == 4


# What belongs to packets


def test_metadata_of_packets_that_go_goes_and_other_stays(filled: Recorder) -> None:
    for index in (0, 15, 16, 18, 22):
        filled.house.streams.metadata.put(filled.stream, index, {"index": index}, ANNA)
    filled.keep_only(packets=3)
    filled.maintain()
    found = filled.house.streams.metadata.page(filled.stream, 0, LARGEST_INDEX)[0]
    assert [one.packet_index for one in found] == [18, 22]


def test_sessions_all_of_whose_packets_go_go_and_others_stay(filled: Recorder) -> None:
    for start, stop in ((0, 4), (0, 22), (15, 16), (17, 18), (20, 22)):
        session_of(filled, start, stop)
    filled.keep_only(packets=3)
    filled.maintain()
    assert filled.sessions() == [(0, 22), (17, 18), (20, 22)]


def test_what_a_death_left_below_the_floor_goes_at_the_next_visit(sealing: Recorder) -> None:
    in_both(sealing, range(24))
    sealing.keep_only(packets=6)

    def prepare() -> None:
        start = sealing.status().packet_index + 1
        sealing.append(*numbered(range(start, start + 3), 50))
        sealing.house.streams.metadata.put(sealing.stream, start, {}, ANNA)
        session_of(sealing, start, start + 1)

    def check() -> None:
        assert len(sealing.packets()) >= 6
        sealing.maintain()
        floor = min(kept(sealing))
        assert len(sealing.packets()) == 6
        found = sealing.house.streams.metadata.page(sealing.stream, 0, LARGEST_INDEX)[0]
        assert [one.packet_index for one in found if one.packet_index < floor] == []
        assert [one for one in sealing.sessions() if one[1] is None or one[1] < floor] == []

    assert dying_at_each_step(sealing.house, prepare, sealing.maintain, check) >= 2 * 4


def test_a_session_that_was_held_when_its_packets_could_not_go_goes_with_them(filled: Recorder) -> None:
    session = session_of(filled, 0, 3)
    filled.house.streams.sessions.hold(filled.stream, session.id, ANNA)
    filled.keep_only(packets=1)
    filled.maintain()
    assert filled.sessions() == [(0, 3)]
    filled.house.streams.sessions.release(filled.stream, session.id, ANNA)
    filled.maintain()
    assert filled.sessions() == []


def test_a_limit_that_was_widened_in_time_counts(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house(stream_tail_seconds=0)
    streams = [made(house, name) for name in ("one", "two")]
    for recorder in streams:
        recorder.append(*numbered(range(10)))
        recorder.keep_only(packets=3)
    visit, visited = StreamsChores._visit, []

    def widen_the_other(chores: StreamsChores, stream: Any, *others: Any) -> None:
        visit(chores, stream, *others)
        if not visited:
            (other,) = (recorder for recorder in streams if recorder.stream.key != stream.key)
            other.keep_only(packets=1000)
        visited.append(stream.name)

    monkeypatch.setattr(StreamsChores, "_visit", widen_the_other)
    house.streams.chores.run(lambda: False)
    assert sorted(visited) == ["one", "two"]
    assert sorted(len(recorder.packets()) for recorder in streams) == [3, 10]


# All of it at once


@dataclass
class Ruled:
    """A model of a stream that keeps so much: its packets, with their sizes and ages."""

    packets: list[tuple[int, int, float]]

    def apply(self, now: float, protected: float, *, packets: int | None, bytes: int | None, seconds: float | None) -> None:
        while self.packets and self.packets[0][0] < protected:
            at = self.packets[0][2]
            too_many = packets is not None and len(self.packets) > packets
            too_large = bytes is not None and sum(one[1] for one in self.packets) > bytes
            if not (too_many or too_large or (seconds is not None and at < now - seconds)):
                return
            del self.packets[0]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_limits_exactly_what_must_go_goes(sealing: Recorder, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    dice, ruled, index, clock = random.Random(seed), Ruled([]), 0, 0.0
    held: Session | None = None
    opened: Session | None = None
    for _ in range(40):
        clock += 100
        monkeypatch.setattr("smarthouse_api.streams.appending.datetime", clock_ahead_by(clock))
        monkeypatch.setattr("smarthouse_api.streams.retention.datetime", clock_ahead_by(clock + 50))
        for _ in range(dice.randrange(4)):
            index += dice.choice((0, 0, 1, 5))
            size = dice.choice((0, 1, 100, 700))
            sealing.append((index, b"x" * size))
            ruled.packets.append((index, size, clock))
            index += 1
        choice = dice.random()
        if choice < 0.15 and index and held is None:
            held = session_of(sealing, max(index - dice.randrange(1, 8), 0), index - 1)
            sealing.house.streams.sessions.hold(sealing.stream, held.id, ANNA)
        elif choice < 0.3 and held is not None:
            sealing.house.streams.sessions.release(sealing.stream, held.id, ANNA)
            held = None
        elif choice < 0.4 and opened is None:
            opened = sealing.open(seconds=86400)
        elif choice < 0.5 and opened is not None:
            sealing.close(opened)
            opened = None
        elif choice < 0.6:
            sealing.maintain()  # under the limits that were set last
            continue_with: dict[str, Any] = {
                "packets": sealing.stream.retention.packets,
                "bytes": sealing.stream.retention.bytes,
                "seconds": sealing.stream.retention.seconds,
            }
            starts = [one.start for one in (held, opened) if one is not None]
            ruled.apply(clock + 50, min(starts, default=float("inf")), **continue_with)
        elif choice < 0.8:
            limits = {
                "packets": dice.choice((None, 1, 5, 12)),
                "bytes": dice.choice((None, 1, 400, 2000)),
                "seconds": dice.choice((None, 120.0, 1020.0)),
            }
            sealing.keep_only(**limits)
            sealing.maintain()
            starts = [one.start for one in (held, opened) if one is not None]
            ruled.apply(clock + 50, min(starts, default=float("inf")), **limits)
        assert kept(sealing) == [one[0] for one in ruled.packets]
    sealing.maintain()
    sealing.maintain()
    sealing.assert_tidy()

"""Appending: indexes in order and given once, repeats that change nothing, many writers in one process and in two."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from backends.ports import Change, Committed, Conflict, Entry, StoreUnavailable
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import InUse, Invalid, KeyReused, NotFound, Refused, TooLarge, Unavailable
from smarthouse_api.house import House
from smarthouse_api.streams.model import LARGEST_INDEX, Appended, NewPacket
from smarthouse_api.streams.packet_encoding import block, entries
from tests.each import each
from tests.streams.conftest import ANNA, BEN, Given, Recorder, clock_ahead_by, made, now, numbered
from tests.waiting import soon

KEY = RequestKey("anna 1", "digest")


# Indexes


def test_the_first_packet_has_index_0(recorder: Recorder) -> None:
    assert recorder.append(b"a") == Appended(0, 0)
    assert recorder.packets() == {0: b"a"}


def test_packets_of_a_batch_follow_each_other(recorder: Recorder) -> None:
    recorder.append(b"a")
    assert recorder.append(b"b", b"c", b"d") == Appended(1, 3)
    assert recorder.packets() == {0: b"a", 1: b"b", 2: b"c", 3: b"d"}


def test_an_index_may_be_the_next_one(recorder: Recorder) -> None:
    recorder.append(b"a")
    assert recorder.append((1, b"b")) == Appended(1, 1)


def test_an_index_above_the_next_one_leaves_a_gap_and_is_followed(recorder: Recorder) -> None:
    recorder.append((5, b"a"))
    assert recorder.append(b"b") == Appended(6, 6)
    assert recorder.packets() == {5: b"a", 6: b"b"}


def test_a_batch_may_name_some_indexes(recorder: Recorder) -> None:
    recorder.append(b"0")
    assert recorder.append(b"1", (4, b"4"), b"5", (9, b"9"), b"10") == Appended(1, 10)
    assert recorder.packets() == {0: b"0", 1: b"1", 4: b"4", 5: b"5", 9: b"9", 10: b"10"}


@each("indexes", [(3, 3), (3, 2), (0, 5, 4)])
def test_a_batch_whose_indexes_do_not_rise_is_refused_as_a_whole(recorder: Recorder, indexes: tuple[int, ...]) -> None:
    with pytest.raises(Invalid, match="must rise"):
        recorder.append(*numbered(indexes))
    assert recorder.packets() == {}
    assert recorder.status().packet_index == -1


def test_a_batch_whose_unnamed_packet_reaches_a_named_one_is_refused(recorder: Recorder) -> None:
    with pytest.raises(Invalid, match="must rise"):
        recorder.append((2, b"a"), b"b", (3, b"c"))


def test_an_index_below_0_is_refused(recorder: Recorder) -> None:
    recorder.append(b"a")
    with pytest.raises(Refused):
        recorder.append((-1, b"a"))


def test_the_largest_index_can_be_taken_and_then_the_stream_is_full(recorder: Recorder) -> None:
    recorder.append(b"a")
    assert recorder.append((LARGEST_INDEX, b"z")) == Appended(LARGEST_INDEX, LARGEST_INDEX)
    with pytest.raises(InUse) as told:
        recorder.append(b"more")
    assert told.value.reason == "STREAM_FULL"
    assert recorder.append((LARGEST_INDEX, b"z")) == Appended(LARGEST_INDEX, LARGEST_INDEX)
    assert recorder.packets() == {0: b"a", LARGEST_INDEX: b"z"}
    assert recorder.status().packet_index == LARGEST_INDEX


def test_the_largest_index_can_be_sealed_and_read(sealing: Recorder) -> None:
    sealing.append((LARGEST_INDEX - 1, b"y"))
    sealing.maintain()
    sealing.append((LARGEST_INDEX, b"z"))
    sealing.maintain()
    assert sealing.log() == []
    assert sealing.packets(LARGEST_INDEX, LARGEST_INDEX) == {LARGEST_INDEX: b"z"}
    assert sealing.packets(0, LARGEST_INDEX - 1) == {LARGEST_INDEX - 1: b"y"}


@each("given", [[(LARGEST_INDEX + 1, b"a")], [(LARGEST_INDEX, b"a"), b"b"]])
def test_no_packet_is_above_the_largest_index(recorder: Recorder, given: list[Given]) -> None:
    with pytest.raises(InUse) as told:
        recorder.append(*given)
    assert told.value.reason == "STREAM_FULL"
    assert recorder.status().packet_index == -1


# Sizes


def test_a_packet_of_the_largest_size_is_kept_and_one_byte_more_is_refused(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(stream_packet_bytes=100))
    recorder.append(b"a" * 100)
    with pytest.raises(TooLarge):
        recorder.append(b"b", b"a" * 101)
    assert recorder.packets() == {0: b"a" * 100}


def test_a_request_without_a_packet_is_refused(recorder: Recorder) -> None:
    with pytest.raises(Invalid, match="no packet"):
        recorder.append()


def test_any_bytes_come_back_as_they_were(recorder: Recorder) -> None:
    sent = [bytes(range(256)), b"", b"\0", b"\n\r\n", b"\xff" * 3]
    recorder.append(*sent)
    assert list(recorder.packets().values()) == sent


@pytest.mark.parametrize("packets", [[b"x" * 250_000] * 8, [b"x"] * 250_000, [b""] * 250_000, [b"y" * 1_000_000] * 3])
@pytest.mark.parametrize("step", [1, 2])
def test_no_entry_of_the_log_is_larger_than_a_store_promises_to_hold(packets: list[bytes], step: int) -> None:
    placed = [(step * index, data) for index, data in enumerate(packets)]
    values = entries(placed, 0)
    assert max(map(len, values)) <= 1 << 20
    whole = block([Entry(sequence, value) for sequence, value in enumerate(values)])
    assert whole.indexes.tolist() == [index for index, _ in placed]
    assert whole.sizes.tolist() == [len(data) for data in packets]


# Status


def test_a_stream_without_a_packet_is_at_minus_1(recorder: Recorder) -> None:
    assert (recorder.status().packet_index, recorder.status().last_packet_received_at) == (-1, None)


def test_the_status_tells_when_the_last_packet_came(recorder: Recorder) -> None:
    before = now()
    recorder.append(b"a", b"b")
    status = recorder.status()
    assert status.packet_index == 1
    assert status.last_packet_received_at is not None
    assert before <= status.last_packet_received_at <= now()


def test_a_clock_that_jumps_back_moves_no_index_back(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [recorder.append(b"a")]
    for seconds in (3600, -86400, 0):
        monkeypatch.setattr("smarthouse_api.streams.appending.datetime", clock_ahead_by(seconds))
        told.append(recorder.append(b"a"))
    assert [one.start for one in told] == list(recorder.packets()) == [0, 1, 2, 3]


# Repeats


def test_a_repeat_with_the_same_bytes_changes_nothing(recorder: Recorder) -> None:
    recorder.append(b"a", b"b")
    before = recorder.status(), recorder.log()
    assert recorder.append((0, b"a"), (1, b"b")) == Appended(0, 1)
    assert (recorder.status(), recorder.log()) == before


@pytest.mark.parametrize("given", [(0, b"x"), (0, b""), (0, b"aa"), (1, b"a")])
def test_other_bytes_at_an_index_are_refused(recorder: Recorder, given: Given) -> None:
    recorder.append(b"a", b"b")
    with pytest.raises(InUse) as told:
        recorder.append(given)
    assert told.value.reason == "INDEX_TAKEN"
    assert recorder.packets() == {0: b"a", 1: b"b"}


@pytest.mark.parametrize("data", [b"", b"a"])
def test_an_index_in_a_gap_is_lost(recorder: Recorder, data: bytes) -> None:
    recorder.append(b"a", (5, b"b"))
    with pytest.raises(InUse) as told:
        recorder.append((3, data))
    assert told.value.reason == "INDEX_TAKEN"
    assert recorder.packets() == {0: b"a", 5: b"b"}


def test_a_batch_that_overlaps_adds_what_is_new(recorder: Recorder) -> None:
    recorder.append(b"0", b"1")
    assert recorder.append((1, b"1"), b"2", b"3") == Appended(1, 3)
    assert recorder.packets() == {0: b"0", 1: b"1", 2: b"2", 3: b"3"}


def test_one_wrong_repeat_keeps_the_whole_batch_out(recorder: Recorder) -> None:
    recorder.append(b"0", b"1")
    with pytest.raises(InUse):
        recorder.append((0, b"0"), (1, b"x"), b"2")
    assert recorder.packets() == {0: b"0", 1: b"1"}


def test_repeats_are_known_in_segments_and_in_the_log(sealing: Recorder) -> None:
    for start in (0, 10, 20):
        sealing.append(*numbered(range(start, start + 10), 100))
        sealing.maintain()
    sealing.append(*numbered(range(30, 35), 100))
    assert len(sealing.segments()) == 3
    assert sealing.append(*numbered(range(5, 37), 100)) == Appended(5, 36)
    assert len(sealing.packets()) == 37
    for index in (5, 15, 25, 33):
        with pytest.raises(InUse):
            sealing.append((index, b"other"))


def test_a_repeat_of_what_is_not_kept_any_more_is_refused(sealing: Recorder) -> None:
    sealing.append(*numbered(range(10)))
    sealing.keep_only(packets=3)
    sealing.maintain()
    with pytest.raises(InUse) as told:
        sealing.append((2, b"2;"))
    assert told.value.reason == "INDEX_TAKEN"
    assert sealing.append((8, b"8;")) == Appended(8, 8)


def test_a_few_repeats_far_apart_do_not_read_all_between_them(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in range(0, 200, 10):
        sealing.append(*numbered(range(start, start + 10), 100))
        sealing.maintain()
    kept, sent = len(b"".join(sealing.packets().values())), 0
    stream = sealing.house.objects.stream

    def counted(*asked: Any, **options: Any) -> Any:
        nonlocal sent
        for chunk in stream(*asked, **options):
            sent += len(chunk)
            yield chunk

    monkeypatch.setattr(sealing.house.objects, "stream", counted)
    sealing.append((0, b"0;" * 100), (199, b"199;" * 100))
    assert 0 < sent < kept / 4


# Idempotency-Key


def test_a_repeat_under_a_key_is_told_the_same_indexes(recorder: Recorder) -> None:
    first = recorder.append(b"a", b"b", request_key=KEY)
    recorder.append(b"c")
    assert recorder.append(b"a", b"b", request_key=KEY) == Appended(first.start, first.stop, replayed=True)
    assert recorder.packets() == {0: b"a", 1: b"b", 2: b"c"}


def test_a_key_with_another_request_is_refused(recorder: Recorder) -> None:
    recorder.append(b"a", request_key=KEY)
    with pytest.raises(KeyReused):
        recorder.append(b"b", request_key=RequestKey(KEY.key, "another digest"))
    assert recorder.packets() == {0: b"a"}


def test_a_key_is_forgotten_after_its_time(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(idempotency_hours=0))
    assert [recorder.append(b"a", request_key=KEY) for _ in range(2)] == [Appended(0, 0), Appended(1, 1)]


def test_a_key_of_a_refused_request_is_free(recorder: Recorder) -> None:
    recorder.append(b"a")
    with pytest.raises(InUse):
        recorder.append((0, b"x"), request_key=KEY)
    assert recorder.append(b"b", request_key=KEY) == Appended(1, 1)


def test_a_key_is_each_streams_own(recorder: Recorder) -> None:
    recorder.append(b"a", request_key=KEY)
    assert made(recorder.house, "another").append(b"a", request_key=KEY) == Appended(0, 0)


def test_a_key_is_remembered_for_a_repeat_that_stored_nothing(recorder: Recorder) -> None:
    recorder.append(b"a")
    recorder.append((0, b"a"), request_key=KEY)
    assert recorder.append((0, b"a"), request_key=KEY).replayed


def test_the_same_key_from_eight_sides_at_once_is_stored_once(recorder: Recorder) -> None:
    with ThreadPoolExecutor(8) as sides:
        told = list(sides.map(lambda _: recorder.append(b"a", b"b", request_key=KEY), range(8)))
    assert {(one.start, one.stop) for one in told} == {(0, 1)}
    assert sorted(one.replayed for one in told) == [False] + [True] * 7
    assert recorder.packets() == {0: b"a", 1: b"b"}


# Many writers in one process


class Gate:
    """Holds back the first commit until so many wait behind it."""

    def __init__(self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
        self._recorder, self._commit = recorder, recorder.house.state.commit
        self._open = threading.Event()
        self.commits = 0
        monkeypatch.setattr(recorder.house.state, "commit", self._wait)

    def _wait(self, space: str, change: Change) -> Committed:
        if space == self._recorder.space:
            self.commits += 1
            assert self._open.wait(20)
        return self._commit(space, change)

    def open_for(self, waiting: int) -> None:
        lines = self._recorder.house.streams.appending._lines
        soon(lambda: self.commits and len(lines[self._recorder.stream.key].asked) == waiting)
        self._open.set()


def at_once(*works: Callable[[], Any], gate: Gate) -> list[Any]:
    """What each gives or raises, when all but the first come while the first is under way."""

    def outcome(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as fault:
            return fault

    with ThreadPoolExecutor(len(works)) as sides:
        first = sides.submit(outcome, works[0])
        soon(lambda: gate.commits)
        others = [sides.submit(outcome, work) for work in works[1:]]
        gate.open_for(len(others))
        return [one.result() for one in (first, *others)]


def test_those_who_wait_share_a_commit(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(recorder, monkeypatch)
    told = at_once(*[lambda: recorder.append(b"a")] * 12, gate=gate)
    assert gate.commits == 2
    assert sorted(one.start for one in told) == list(range(12))


def test_who_is_refused_does_not_hurt_those_who_wait_beside(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.append(b"a")
    gate = Gate(recorder, monkeypatch)
    refused = [lambda: recorder.append((0, b"x")), lambda: recorder.append(b"y", session_id="0" * 32)]
    told = at_once(*[lambda: recorder.append(b"b")] * 3, *refused, lambda: recorder.append((9, b"z")), gate=gate)
    assert all(isinstance(one, InUse) for one in told[3:5])
    assert all(isinstance(one, Appended) for one in (*told[:3], told[5])), told
    assert sorted(recorder.packets().values()) == [b"a", b"b", b"b", b"b", b"z"]


def test_the_same_key_twice_in_one_commit_is_stored_once(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(recorder, monkeypatch)
    told = at_once(lambda: recorder.append(b"0"), *[lambda: recorder.append(b"a", request_key=KEY)] * 3, gate=gate)
    assert {(one.start, one.stop) for one in told[1:]} == {(1, 1)}
    assert sorted(one.replayed for one in told[1:]) == [False, True, True]
    assert recorder.packets() == {0: b"0", 1: b"a"}


def test_a_key_with_two_requests_in_one_commit_is_refused_to_one(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(recorder, monkeypatch)
    keys = [RequestKey("anna 1", digest) for digest in ("one", "two")]
    works = [lambda key=key: recorder.append(key.digest.encode(), request_key=key) for key in keys]
    told = at_once(lambda: recorder.append(b"0"), *works, gate=gate)
    assert sorted(type(one).__name__ for one in told[1:]) == ["Appended", "KeyReused"]
    assert len(recorder.packets()) == 2


def test_an_index_named_twice_in_one_commit_is_one_packet(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(recorder, monkeypatch)
    works = [lambda data=data: recorder.append((5, data)) for data in (b"a", b"a", b"a")]
    told = at_once(lambda: recorder.append(b"0"), *works, gate=gate)
    assert told[1:] == [Appended(5, 5)] * 3
    assert recorder.packets() == {0: b"0", 5: b"a"}


def test_of_other_bytes_for_one_index_in_one_commit_one_is_stored(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(recorder, monkeypatch)
    works = [lambda data=data: recorder.append((5, data)) for data in (b"a", b"b")]
    told = at_once(lambda: recorder.append(b"0"), *works, gate=gate)
    assert sorted(type(one).__name__ for one in told[1:]) == ["Appended", "InUse"]
    stored = b"ab"[isinstance(told[1], InUse) :][:1]
    assert recorder.packets() == {0: b"0", 5: stored}


def test_sixteen_writers_get_indexes_of_their_own_without_a_gap(recorder: Recorder) -> None:
    told: dict[int, bytes] = {}

    def write(writer: int) -> None:
        for number in range(15):
            batch = [b"%d-%d-%d" % (writer, number, one) for one in range(1 + number % 3)]
            appended = recorder.append(*batch)
            told.update(zip(range(appended.start, appended.stop + 1), batch, strict=True))

    with ThreadPoolExecutor(16) as sides:
        list(sides.map(write, range(16)))
    assert sorted(told) == list(range(16 * 30))
    assert recorder.packets() == told


def test_the_packets_of_one_batch_stay_together(recorder: Recorder) -> None:
    with ThreadPoolExecutor(8) as sides:
        told = list(sides.map(lambda writer: recorder.append(*[b"%d" % writer] * 5), range(24)))
    assert all(one.stop - one.start == 4 for one in told)
    assert all(before.stop + 1 == after.start for before, after in pairwise(sorted(told, key=lambda one: one.start)))


# Stores that fail


def test_an_outage_is_told_to_each_who_waits_and_the_next_goes_on(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.append(b"a")
    gate = Gate(recorder, monkeypatch)
    passed = gate._commit
    gate._commit = lambda *_: (_ for _ in ()).throw(StoreUnavailable("away"))
    told = at_once(*[lambda: recorder.append(b"b")] * 4, gate=gate)
    assert all(isinstance(one, StoreUnavailable) for one in told), told
    assert len({id(one) for one in told}) == 4
    gate._commit = passed
    assert recorder.append(b"b") == Appended(1, 1)


@pytest.mark.parametrize("again", [{"request_key": KEY}, {}])
def test_an_append_whose_answer_was_lost_can_be_repeated(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, again: dict[str, RequestKey]
) -> None:
    recorder.append(b"a")
    commit = recorder.house.state.commit

    def lose_the_answer(space: str, change: Change) -> Committed:
        commit(space, change)
        monkeypatch.undo()
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(recorder.house.state, "commit", lose_the_answer)
    with pytest.raises(StoreUnavailable):
        recorder.append((1, b"b"), **again)
    assert recorder.append((1, b"b"), **again).start == 1
    assert recorder.append(b"c") == Appended(2, 2)
    assert recorder.packets() == {0: b"a", 1: b"b", 2: b"c"}


def test_a_conflict_that_never_ends_is_told(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def conflict(*_: Any) -> None:
        raise Conflict("always")

    monkeypatch.setattr(recorder.house.state, "commit", conflict)
    with pytest.raises(Unavailable, match="repeat the request"):
        recorder.append(b"a")


def test_a_packet_is_stored_though_it_cannot_be_marked(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = made(make_house(stream_segment_bytes=1024))

    def fail(*_: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(recorder.house.streams.catalogue, "mark_full", fail)
    assert recorder.append(b"a" * 2000) == Appended(0, 0)
    assert recorder.packets() == {0: b"a" * 2000}


def test_a_deleted_stream_takes_no_packet(recorder: Recorder) -> None:
    recorder.append(b"a")
    recorder.delete()
    with pytest.raises(NotFound):
        recorder.append(b"b")


# Two processes


def test_two_processes_append_in_turn(two: tuple[Recorder, Recorder]) -> None:
    told = [recorder.append(b"%d" % number) for number, recorder in enumerate(two * 10)]
    assert [one.start for one in told] == list(range(20))
    assert two[0].packets() == two[1].packets() == {number: b"%d" % number for number in range(20)}


def test_two_processes_append_at_once(two: tuple[Recorder, Recorder]) -> None:
    told: dict[int, bytes] = {}

    def write(writer: int) -> None:
        for number in range(15):
            data = b"%d-%d" % (writer, number)
            appended = two[writer % 2].append(data, request_key=RequestKey(f"{writer} {number}", "") if number % 2 else None)
            assert not appended.replayed
            told[appended.start] = data

    with ThreadPoolExecutor(8) as sides:
        list(sides.map(write, range(8)))
    assert sorted(told) == list(range(8 * 15))
    assert two[0].packets() == two[1].packets() == told


def test_the_same_key_in_two_processes_at_once_is_stored_once(two: tuple[Recorder, Recorder]) -> None:
    for number in range(5):
        key = RequestKey(str(number), "")
        with ThreadPoolExecutor(2) as sides:
            told = list(sides.map(lambda recorder, key=key: recorder.append(b"a", request_key=key), two))
        assert sorted((one.start, one.replayed) for one in told) == [(number, False), (number, True)]


def test_a_stream_that_another_process_deleted_takes_no_packet(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"a")
    other.delete()
    with pytest.raises(NotFound):
        one.append(b"b")


def test_a_packet_for_a_stream_that_another_process_made_anew_is_stored_there(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"a", b"b")
    other.delete()
    anew = other.made_anew()
    assert one.append(b"c") == Appended(0, 0)
    assert Recorder(one.house, anew).packets() == {0: b"c"}


def test_a_repeat_for_a_stream_that_another_process_made_anew_is_stored_there(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"a")
    other.delete()
    anew = other.made_anew()
    assert one.append((0, b"a")) == Appended(0, 0)
    assert Recorder(one.house, anew).packets() == {0: b"a"}


def test_a_key_for_a_stream_that_another_process_made_anew_is_new_there(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"a", request_key=KEY)
    other.delete()
    anew = other.made_anew()
    assert one.append(b"a", request_key=KEY) == Appended(0, 0)
    assert Recorder(one.house, anew).packets() == {0: b"a"}


def test_a_repeat_for_a_stream_that_another_process_deleted_is_refused(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"a", request_key=KEY)
    other.delete()
    for again in ({"request_key": KEY}, {}):
        with pytest.raises(NotFound):
            one.append((0, b"a"), **again)


def test_a_session_that_another_process_opened_closed_or_timed_out_is_known(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"0")
    session = other.open()
    with pytest.raises(InUse):
        one.append(b"x")
    other.append(b"1")
    other.close(session)
    assert one.append(b"2") == Appended(2, 2)
    other.open()
    other.append(b"3")
    one.time_out()
    assert one.append(b"4") == Appended(4, 4)
    assert other.sessions() == [(1, 1), (3, 3)]


def test_an_owner_whom_another_process_closed_is_told_so(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    session = one.open()
    one.append(b"0", session_id=session.id)
    other.time_out()
    other.append(b"1")
    with pytest.raises(InUse) as told:
        one.append(b"2", session_id=session.id)
    assert told.value.reason == "SESSION_NOT_OPEN"
    assert one.append(b"2", owner=ANNA) == Appended(2, 2)


def test_what_another_process_made_of_the_retention_goes_for_repeats(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(*numbered(range(6)))
    other.keep_only(packets=2)
    other.maintain()
    with pytest.raises(InUse):
        one.append((0, b"0;"))
    assert one.append(*numbered((4, 5, 6))) == Appended(4, 6)
    assert one.packets() == {index: b"%d;" % index for index in (4, 5, 6)}


def test_a_stream_is_found_again_by_who_recalls_it(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"a")
    other.delete()
    anew = other.made_anew()
    recalled = one.house.streams.catalogue.recall(7, "m", "camera")
    appended = one.house.streams.appending.append(recalled, [NewPacket(b"b")], BEN)
    assert (appended.start, Recorder(one.house, anew).packets()) == (0, {0: b"b"})

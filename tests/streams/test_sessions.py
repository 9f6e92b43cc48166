"""Sessions: marks of ranges, and one owner at a time for as long as it gives a sign of life."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from backends.ports import Change, Put
from smarthouse_api.coordination.idempotency import RequestKey
from smarthouse_api.errors import InUse, Invalid, InvalidData, KeyReused, NotFound, Unavailable
from smarthouse_api.house import House
from smarthouse_api.streams.heads import LEASE
from smarthouse_api.streams.model import LARGEST_INDEX, Appended, Session, Status
from tests.each import each
from tests.streams.conftest import ADMIN, ANNA, BEN, Recorder, clock_ahead_by, made, numbered
from tests.waiting import soon

KEY = RequestKey("anna 1", "digest")


@pytest.fixture
def ten(recorder: Recorder) -> Recorder:
    """A stream with the packets 0 to 9."""
    recorder.append(*numbered(range(10)))
    return recorder


def mark(recorder: Recorder, start: int, stop: int, request_key: RequestKey | None = None) -> Session:
    return recorder.house.streams.sessions.add(recorder.stream, start, stop, ANNA, request_key)[0]


def found(recorder: Recorder, session: Session) -> Session:
    return recorder.house.streams.sessions.find(recorder.stream, session.id)


def delete(recorder: Recorder, session: Session) -> None:
    recorder.house.streams.sessions.delete(recorder.stream, session.id)


def hold(recorder: Recorder, session: Session, owner: Any = ANNA) -> None:
    recorder.house.streams.sessions.hold(recorder.stream, session.id, owner)


def release(recorder: Recorder, session: Session, owner: Any = ANNA) -> None:
    recorder.house.streams.sessions.release(recorder.stream, session.id, owner)


def before_the_next(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, method: str, work: Callable[[], Any], when: Callable[..., bool]
) -> None:
    """Do the work right before the state store is asked for something."""
    called = getattr(recorder.house.state, method)

    def interposed(*asked: Any, **options: Any) -> Any:
        if when(*asked):
            monkeypatch.undo()
            work()
        return called(*asked, **options)

    monkeypatch.setattr(recorder.house.state, method, interposed)


# Marks


def test_a_marked_range_is_found_again(ten: Recorder) -> None:
    session = mark(ten, 2, 5)
    assert (session.start, session.stop, session.author, session.is_open) == (2, 5, ANNA, False)
    assert found(ten, session) == session


@each("start, stop", [(0, 10), (5, 4), (-1, 3), (10, 10), (0, LARGEST_INDEX + 1), (-2, -1)])
def test_a_range_that_is_none_of_the_stream_is_refused(ten: Recorder, start: int, stop: int) -> None:
    with pytest.raises(InvalidData, match="which is 9"):
        mark(ten, start, stop)
    assert ten.sessions() == []


def test_a_stream_without_a_packet_has_no_range(recorder: Recorder) -> None:
    with pytest.raises(InvalidData, match="which is -1"):
        mark(recorder, 0, 0)


def test_the_whole_stream_is_a_range(ten: Recorder) -> None:
    mark(ten, 0, 9)
    assert ten.sessions(9, 9) == [(0, 9)]


def test_sessions_that_touch_a_range_are_told_by_where_they_start(ten: Recorder) -> None:
    for range_ in ((6, 6), (4, 8), (2, 4)):
        mark(ten, *range_)
    assert ten.sessions(0, 1) == []
    assert ten.sessions(0, 2) == [(2, 4)]
    assert ten.sessions(4, 4) == [(2, 4), (4, 8)]
    assert ten.sessions(5, 6) == [(4, 8), (6, 6)]
    assert ten.sessions(7, 99) == [(4, 8)]
    assert ten.sessions(9, 99) == []
    assert ten.sessions(0, 2**62) == [(2, 4), (4, 8), (6, 6)]


def test_sessions_at_the_largest_index_are_told(recorder: Recorder) -> None:
    recorder.append((LARGEST_INDEX, b"a"))
    mark(recorder, LARGEST_INDEX, LARGEST_INDEX)
    assert recorder.sessions(LARGEST_INDEX, LARGEST_INDEX) == [(LARGEST_INDEX, LARGEST_INDEX)]


def test_the_same_range_may_be_marked_twice(ten: Recorder) -> None:
    assert mark(ten, 1, 2).id != mark(ten, 1, 2).id
    assert ten.sessions() == [(1, 2), (1, 2)]


def test_a_mark_under_a_key_is_made_once(ten: Recorder) -> None:
    sessions = ten.house.streams.sessions
    first, second = (sessions.add(ten.stream, 1, 2, ANNA, KEY) for _ in range(2))
    assert (first[1], second[1]) == (False, True)
    assert first[0] == second[0]
    assert ten.sessions() == [(1, 2)]
    with pytest.raises(KeyReused):
        sessions.add(ten.stream, 1, 3, ANNA, RequestKey(KEY.key, "other"))


def test_a_mark_under_the_same_key_from_eight_sides_is_made_once(ten: Recorder) -> None:
    with ThreadPoolExecutor(8) as sides:
        ids = {one.id for one in sides.map(lambda _: mark(ten, 1, 2, KEY), range(8))}
    assert len(ids) == 1
    assert ten.sessions() == [(1, 2)]


@each("session_id", ["", "x", "0" * 32, "../head", "é" * 32, "0" * 31 + "/"])
def test_an_id_of_no_session_is_not_found(ten: Recorder, session_id: str) -> None:
    sessions = ten.house.streams.sessions
    with pytest.raises(NotFound):
        sessions.find(ten.stream, session_id)
    with pytest.raises(NotFound):
        sessions.delete(ten.stream, session_id)
    with pytest.raises(NotFound):
        sessions.close(ten.stream, session_id, ANNA)
    with pytest.raises(NotFound):
        sessions.hold(ten.stream, session_id, ANNA)
    with pytest.raises(NotFound):
        sessions.release(ten.stream, session_id, ANNA)


def test_a_deleted_session_is_gone_and_its_packets_stay(ten: Recorder) -> None:
    session = mark(ten, 2, 5)
    delete(ten, session)
    with pytest.raises(NotFound):
        found(ten, session)
    with pytest.raises(NotFound):
        delete(ten, session)
    assert ten.sessions() == []
    assert len(ten.packets()) == 10


# Holds and downloads


def test_a_held_session_is_not_deleted_until_all_release_it(ten: Recorder) -> None:
    session = mark(ten, 2, 5)
    hold(ten, session, ANNA)
    hold(ten, session, BEN)
    for owner in (ANNA, BEN):
        with pytest.raises(InUse) as told:
            delete(ten, session)
        assert told.value.reason == "SESSION_HELD"
        release(ten, session, owner)
    delete(ten, session)


def test_a_hold_and_its_release_can_be_repeated(ten: Recorder) -> None:
    session = mark(ten, 2, 5)
    hold(ten, session)
    hold(ten, session)
    release(ten, session)
    release(ten, session)
    delete(ten, session)


def test_a_key_releases_no_other_keys_hold_and_an_administrator_all(ten: Recorder) -> None:
    session = mark(ten, 2, 5)
    hold(ten, session, ANNA)
    release(ten, session, BEN)
    with pytest.raises(InUse):
        delete(ten, session)
    release(ten, session, ADMIN)
    delete(ten, session)


def test_a_hold_changes_nothing_of_the_session(ten: Recorder) -> None:
    session = mark(ten, 2, 5)
    hold(ten, session, BEN)
    assert found(ten, session) == session


def test_of_a_hold_and_a_deletion_at_once_one_fails(ten: Recorder) -> None:
    for _ in range(8):
        session = mark(ten, 2, 5)
        works: list[Callable[[], None]] = [lambda one=session: hold(ten, one), lambda one=session: delete(ten, one)]
        with ThreadPoolExecutor(2) as sides:
            faults = [one.exception() for one in [sides.submit(work) for work in works]]
        assert [type(fault) for fault in faults] in ([type(None), InUse], [NotFound, type(None)]), faults
        if faults[0] is None:
            release(ten, session)
            delete(ten, session)


def test_a_hold_that_comes_first_by_a_hair_stops_the_deletion(ten: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    session = mark(ten, 2, 5)
    before_the_next(ten, monkeypatch, "commit", lambda: hold(ten, session), lambda _, change: bool(change.deletes))
    with pytest.raises(InUse):
        delete(ten, session)
    assert found(ten, session) == session


def test_a_session_whose_packets_are_downloaded_is_not_deleted(ten: Recorder) -> None:
    session, beside = mark(ten, 2, 5), mark(ten, 6, 7)
    download = ten.open_download(ten.query(5, 5))
    with pytest.raises(InUse) as told:
        delete(ten, session)
    assert told.value.reason == "SESSION_DOWNLOADED"
    delete(ten, beside)
    download.close()
    delete(ten, session)


# The owner


def test_an_open_session_is_in_the_status(ten: Recorder) -> None:
    ten.open()
    status = ten.status()
    assert (status.packet_index, status.open_packet_index, status.owner) == (9, 10, ANNA)


def test_packets_of_the_owner_are_the_session(ten: Recorder) -> None:
    session = ten.open()
    assert (session.start, session.stop, session.is_open) == (10, None, True)
    ten.append(b"a", b"b", session_id=session.id)
    assert found(ten, session) == Session(session.id, 10, 11, ANNA, is_open=True)
    assert ten.sessions() == [(10, 11)]
    closed = ten.close(session)
    assert closed == Session(session.id, 10, 11, ANNA) == found(ten, session)
    assert ten.status() == Status(11, ten.status().last_packet_received_at)


def test_nobody_else_appends_while_a_session_is_open(ten: Recorder) -> None:
    session = ten.open()
    for owner in (BEN, ADMIN):
        with pytest.raises(InUse) as told:
            ten.append(b"x", owner=owner)
        assert told.value.reason == "STREAM_OWNED"
    ten.close(session)
    assert ten.append(b"x", owner=BEN) == Appended(10, 10)


def test_nobody_else_opens_a_session_meanwhile(ten: Recorder) -> None:
    session = ten.open()
    with pytest.raises(InUse):
        ten.open(BEN)
    assert ten.open().id == session.id
    ten.close(session)
    assert ten.open(BEN).id != session.id


def test_an_owner_who_opens_again_has_its_own_session_renewed(ten: Recorder) -> None:
    sessions = ten.house.streams.sessions
    first, is_new = sessions.open(ten.stream, ANNA, 60)
    assert is_new
    ten.append(b"a")
    again, is_new = sessions.open(ten.stream, ANNA, 120)
    assert not is_new
    assert (again.id, again.start, again.stop) == (first.id, 10, 10)


@each("seconds", [0, -1, 86401, float("nan"), float("inf")])
def test_a_session_is_not_opened_for_no_time_or_for_ever(ten: Recorder, seconds: float) -> None:
    with pytest.raises(Invalid, match="timeoutSeconds"):
        ten.open(seconds=seconds)


def test_the_setting_says_how_long_a_session_stays_open(make_house: Callable[..., House], monkeypatch: Any) -> None:
    recorder = made(make_house(stream_session_seconds=1234))
    lifetimes = lifetimes_of_leases(recorder, monkeypatch)
    recorder.house.streams.sessions.open(recorder.stream, ANNA)
    assert lifetimes == [1234]


def lifetimes_of_leases(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """How long each sign of life that is written from now on is good for."""
    commit, lifetimes = recorder.house.state.commit, list[float | None]()

    def noted(space: str, change: Change) -> Any:
        committed = commit(space, change)
        lifetimes.extend(put.ttl_seconds for put in change.puts if put.key == LEASE)
        return committed

    monkeypatch.setattr(recorder.house.state, "commit", noted)
    return lifetimes


def test_each_append_of_the_owner_is_a_sign_of_life(ten: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    ten.open(seconds=50)
    lifetimes = lifetimes_of_leases(ten, monkeypatch)
    ten.append(b"a")
    ten.append(b"b", b"c")
    ten.append((10, b"a"))
    ten.open(seconds=70)
    ten.append(b"d")
    assert lifetimes == [50, 50, 50, 70, 70]


def test_an_owner_that_appends_keeps_the_stream_beyond_its_time(ten: Recorder) -> None:
    opened_at = time.monotonic()
    session = ten.open(seconds=1)
    while time.monotonic() < opened_at + 1.3:
        ten.append(b"a", session_id=session.id)
        time.sleep(0.02)
    assert ten.status().owner == ANNA


def test_an_owner_that_gives_no_sign_loses_the_stream_by_itself(ten: Recorder) -> None:
    session = ten.open(seconds=0.1)
    ten.append(b"a")
    soon(lambda: ten.status().owner is None)
    assert found(ten, session) == Session(session.id, 10, 10, ANNA)
    assert ten.append(b"b", owner=BEN) == Appended(11, 11)
    assert found(ten, session) == Session(session.id, 10, 10, ANNA)


def test_a_session_that_timed_out_reads_as_closed_before_anything_is_written(
    ten: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ten.open()
    ten.append(b"a", b"b")
    ten.time_out()
    monkeypatch.setattr(ten.house.state, "commit", None)
    assert found(ten, session) == Session(session.id, 10, 11, ANNA)
    assert ten.sessions() == [(10, 11)]
    assert ten.status().owner is None
    assert ten.status().open_packet_index is None


def test_a_session_that_timed_out_ends_at_its_last_packet_whoever_comes_next(ten: Recorder) -> None:
    comers: list[Callable[[], Any]] = [
        lambda: ten.append(b"b", owner=BEN),
        lambda: ten.close(ten.open(BEN), BEN),
        lambda: mark(ten, 0, 0),
        lambda: ten.append(b"c"),
    ]
    for come in comers:
        session = ten.open()
        ten.append(b"a")
        last = ten.status().packet_index
        ten.time_out()
        come()
        assert found(ten, session) == Session(session.id, last, last, ANNA)


def test_a_session_that_timed_out_can_be_closed_held_and_deleted(ten: Recorder) -> None:
    session = ten.open()
    ten.append(b"a")
    ten.time_out()
    hold(ten, session, BEN)
    assert ten.close(session) == Session(session.id, 10, 10, ANNA)
    with pytest.raises(InUse):
        delete(ten, session)
    release(ten, session, BEN)
    delete(ten, session)
    assert ten.sessions() == []


def test_an_owner_that_timed_out_opens_another_session(ten: Recorder) -> None:
    first = ten.open()
    ten.append(b"a")
    ten.time_out()
    second, is_new = ten.house.streams.sessions.open(ten.stream, ANNA)
    assert is_new
    assert (second.id != first.id, second.start) == (True, 11)
    assert ten.sessions() == [(10, 10)]


def test_a_packet_for_a_session_that_is_not_open_is_refused(ten: Recorder) -> None:
    with pytest.raises(InUse) as told:
        ten.append(b"a", session_id="0" * 32)
    assert told.value.reason == "SESSION_NOT_OPEN"
    session = ten.open()
    ten.append(b"a")
    ten.time_out()
    with pytest.raises(InUse):
        ten.append(b"b", session_id=session.id)
    ten.close(session)
    with pytest.raises(InUse):
        ten.append(b"b", session_id=session.id)
    assert ten.status().packet_index == 10


def test_a_refused_packet_of_the_owner_leaves_its_session_open(ten: Recorder) -> None:
    ten.open()
    with pytest.raises(InUse):
        ten.append((0, b"other"))
    assert ten.status().owner == ANNA


def test_a_session_without_a_packet_leaves_nothing(ten: Recorder) -> None:
    session = ten.open()
    assert ten.close(session) is None
    with pytest.raises(NotFound):
        found(ten, session)
    ten.open()
    ten.time_out()
    assert ten.sessions() == []
    ten.append(b"a", owner=BEN)
    assert ten.sessions() == []


def test_holds_of_a_session_without_a_packet_leave_nothing(ten: Recorder) -> None:
    session = ten.open()
    for owner in (ANNA, BEN):
        hold(ten, session, owner)
    assert ten.close(session) is None
    assert list(ten.house.state.scan_all(ten.space, "hold/")) == []


def test_a_session_whose_only_packets_were_repeats_leaves_nothing(ten: Recorder) -> None:
    session = ten.open()
    ten.append((3, b"3;"))
    assert ten.close(session) is None
    assert ten.sessions() == []


def test_closing_can_be_repeated(ten: Recorder) -> None:
    session = ten.open()
    ten.append(b"a")
    assert ten.close(session) == ten.close(session) == Session(session.id, 10, 10, ANNA)


def test_another_key_closes_no_session_but_an_administrator_does(ten: Recorder) -> None:
    session = ten.open()
    ten.append(b"a")
    with pytest.raises(InUse):
        ten.close(session, BEN)
    assert ten.status().owner == ANNA
    assert ten.close(session, ADMIN) == Session(session.id, 10, 10, ANNA)
    with pytest.raises(InUse):
        ten.close(session, BEN)


def test_an_open_session_is_not_deleted(ten: Recorder) -> None:
    session = ten.open()
    ten.append(b"a")
    with pytest.raises(InUse) as told:
        delete(ten, session)
    assert told.value.reason == "SESSION_OPEN"


def test_an_open_session_can_be_held_and_the_hold_stays(ten: Recorder) -> None:
    session = ten.open()
    hold(ten, session, BEN)
    ten.append(b"a")
    ten.close(session)
    with pytest.raises(InUse) as told:
        delete(ten, session)
    assert told.value.reason == "SESSION_HELD"


def test_of_sixteen_who_open_at_once_one_does(ten: Recorder) -> None:
    owners = [type(ANNA)("user", f"{number:012d}", str(number)) for number in range(16)]

    def outcome(owner: Any) -> Any:
        try:
            return ten.open(owner)
        except InUse as fault:
            return fault

    with ThreadPoolExecutor(16) as sides:
        outcomes = list(sides.map(outcome, owners))
    opened = [one for one in outcomes if isinstance(one, Session)]
    assert len(opened) == 1
    assert ten.status().owner == opened[0].author


def test_of_a_close_and_an_append_at_once_the_session_ends_where_it_says(ten: Recorder) -> None:
    for _ in range(8):
        session = ten.open()
        ten.append(b"a", session_id=session.id)
        with ThreadPoolExecutor(2) as sides:
            appending = sides.submit(ten.append, b"b", session_id=session.id)
            closed = sides.submit(ten.close, session).result()
        assert closed is not None
        if appending.exception() is None:
            assert appending.result().stop == closed.stop
        else:
            assert isinstance(appending.exception(), InUse)
        assert found(ten, session) == closed


def test_a_session_that_is_closed_while_sessions_are_listed_is_in_the_list(
    ten: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = ten.open()
    ten.append(b"a")
    called = ten.house.state.scan

    def close_afterwards(*asked: Any, **options: Any) -> Any:
        page = called(*asked, **options)
        monkeypatch.undo()
        ten.close(session)
        ten.append(b"b", owner=BEN)
        return page

    monkeypatch.setattr(ten.house.state, "scan", close_afterwards)
    assert ten.sessions() == [(10, 10)]


def test_a_deleted_stream_has_no_sessions(ten: Recorder) -> None:
    session = ten.open()
    ten.append(b"a")
    ten.delete()
    works: list[Callable[[], Any]] = [
        ten.sessions,
        lambda: found(ten, session),
        lambda: mark(ten, 0, 1),
        lambda: ten.open(BEN),
        lambda: ten.close(session),
        lambda: hold(ten, session),
        lambda: delete(ten, session),
        ten.status,
    ]
    for work in works:
        with pytest.raises(NotFound):
            work()


# Clocks and processes


def test_of_two_processes_that_open_at_once_one_does(two: tuple[Recorder, Recorder]) -> None:
    def outcome(recorder: Recorder) -> Any:
        try:
            return recorder.open()
        except InUse as fault:
            return fault

    for _ in range(8):
        with ThreadPoolExecutor(2) as sides:
            outcomes = list(sides.map(outcome, two))
        winners = [recorder for recorder, one in zip(two, outcomes, strict=True) if isinstance(one, Session)]
        assert len(winners) == 1
        assert two[0].status().owner == two[1].status().owner == winners[0].owner
        winners[0].close(next(one for one in outcomes if isinstance(one, Session)))


def test_a_session_that_times_out_while_its_owner_appends_is_lost_or_lives_but_not_both(
    two: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    session = one.open()
    one.append(b"0", session_id=session.id)

    def take_over() -> None:
        other.time_out()
        other.open()

    before_the_next(one, monkeypatch, "commit", take_over, lambda space, _: space == one.space)
    with pytest.raises(InUse):
        one.append(b"1", session_id=session.id)
    assert other.append(b"1") == Appended(1, 1)
    assert one.sessions() == [(0, 0), (1, 1)]
    assert one.packets() == {0: b"0", 1: b"1"}


@pytest.mark.parametrize("jump", [-86400.0, -3600.0, 3600.0, 86400.0])
def test_a_clock_that_jumps_gives_no_two_owners_and_moves_no_index_back(
    two: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    one, other = two
    told: list[int] = []

    def tries(recorder: Recorder) -> bool:
        try:
            told.append(recorder.append(b"%d" % len(told)).start)
        except InUse:
            return False
        return True

    one.open()
    clock = time.time
    for ahead in (0.0, jump, 0.0, jump, -jump, 0.0):
        monkeypatch.setattr(time, "time", lambda ahead=ahead: clock() + ahead)
        monkeypatch.setattr("smarthouse_api.streams.appending.datetime", clock_ahead_by(ahead) if ahead else datetime)
        try:
            other.open()
        except InUse:
            owner = one
        else:
            owner = other
        # Whoever of the two is the owner now, the other is not.
        assert one.status().owner == other.status().owner == owner.owner
        assert [tries(recorder) for recorder in two] == [recorder is owner for recorder in two]
        assert one.status().packet_index == other.status().packet_index == told[-1]
    assert told == list(range(6))
    assert list(one.packets()) == told


def test_a_change_that_is_overtaken_for_ever_is_told(ten: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    session = mark(ten, 1, 2)
    put = ten.house.state.commit

    def overtaken(space: str, change: Change) -> Any:
        document = ten.house.state.get(space, f"session/{session.id}")
        assert document is not None
        put(space, Change(puts=(Put(f"session/{session.id}", document.value),)))
        return put(space, change)

    monkeypatch.setattr(ten.house.state, "commit", overtaken)
    with pytest.raises(Unavailable):
        delete(ten, session)

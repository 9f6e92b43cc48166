"""What an operator sees of streams: all of them in order, what came lately, what is held, and glimpses of packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smarthouse_api.errors import InUse, NotFound
from smarthouse_api.house import House
from smarthouse_api.streams import activity
from smarthouse_api.streams.glimpses import glimpse
from smarthouse_api.streams.model import LARGEST_INDEX, Packet
from smarthouse_api.streams.overview import StreamView, Wanted
from smarthouse_api.streams.sessions import Hold
from tests.conftest import on_every_pair, on_pair
from tests.streams.conftest import ADMIN, ANNA, BEN, Recorder, made, now
from tests.streams.test_chores import assert_nothing_left, run_chores

environment = on_pair("memory_pair")


class Clock:
    """The clock of notes, which a test moves on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return now().timestamp() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    for module in ("overview", "chores"):
        monkeypatch.setattr(f"smarthouse_api.streams.{module}.time.time", one.time)
    return one


def names(house: House, *page: int, **wanted: Any) -> list[str]:
    return [view.stream.name for view in house.streams.overview.page(Wanted(**wanted), *(page or (0, 50)))[0]]


def no_notes(scan: Callable[..., Any]) -> Callable[..., Any]:
    """Scan as before, except through the notes of all streams."""

    def scanned(space: str, prefix: str = "") -> Any:
        assert prefix != "activity/"
        return scan(space, prefix)

    return scanned


def view(recorder: Recorder) -> StreamView:
    return recorder.house.streams.overview.view(recorder.stream)


@on_every_pair
def test_a_stream_that_is_deleted_while_it_is_looked_at_leaves_no_note(make_house: Callable[..., House]) -> None:
    house = make_house()
    gone = made(house, "gone")
    gone.append(b"x")
    look = activity.Look(gone.stream, house.streams.heads.look(gone.stream).head, now().timestamp())
    house.streams.delete(gone.stream)
    house.streams.chores.purge(1)
    alive = made(house, "alive").stream
    house.streams.activity.note([look, activity.Look(alive, house.streams.heads.look(alive).head, now().timestamp())])
    assert house.streams.activity.all().noted.keys() == {alive.key}
    made(house, "gone").append(b"y")
    house.streams.activity.note([look])  # another stream of the name is no stream of the key
    assert house.streams.activity.all().noted.keys() == {alive.key}


@on_every_pair
def test_a_stream_that_is_deleted_while_notes_are_written_costs_no_other_its_note(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house()
    gone, alive = (made(house, name).stream for name in ("gone", "alive"))
    looks = [activity.Look(one, house.streams.heads.look(one).head, now().timestamp()) for one in (gone, alive)]
    read, deleted = house.state.get_many, list[str]()

    def read_then_delete(*asked: Any) -> Any:
        found = read(*asked)
        if not deleted:
            deleted.append(gone.key)
            house.streams.delete(gone)
        return found

    monkeypatch.setattr(house.state, "get_many", read_then_delete)
    house.streams.activity.note(looks)
    assert house.streams.activity.all().noted.keys() == {alive.key}


@on_every_pair
def test_streams_are_listed_newest_packet_first_and_a_page_at_a_time(make_house: Callable[..., House]) -> None:
    house = make_house(stream_segment_bytes=1024, stream_tail_seconds=0)
    first, second, never, third = (made(house, name) for name in ("first", "second", "never", "third"))
    for one in (third, second, first):
        one.append(b"x" * 2000)
    other, _ = house.streams.catalogue.create(8, "other", "Camera/ä")
    run_chores(house)
    assert names(house) == ["first", "second", "third", "never", "Camera/ä"]
    third.append(b"y")
    assert names(house)[0] == "third"  # on its page, in the order of now
    third.maintain()
    assert names(house, 0, 1) == ["third"]
    assert names(house, 1, 2) == ["first", "second"]
    assert house.streams.overview.page(Wanted(), 1, 2)[1] == 5
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("smarthouse_api.streams.overview._FEW", 0)
        assert names(house, 1, 2) == ["first", "second"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("smarthouse_api.streams.overview.MOST_ORDERED", 4)
        monkeypatch.setattr(house.state, "scan_all", no_notes(house.state.scan_all))
        assert [*names(house, 0, 2), *names(house, 2, 2), *names(house, 4, 2)] == [
            "first",
            "never",
            "second",
            "third",
            "Camera/ä",
        ]
    assert names(house, home_id=8) == names(house, module="OTH") == names(house, name="camera/Ä") == ["Camera/ä"]
    assert names(house, home_id=7, name="camera") == []
    assert third.segments()  # its packets are sealed, and counted all the same
    seen = view(third)
    assert (seen.kept_packets, seen.kept_bytes, seen.seen.status().packet_index) == (2, 2001, 1)
    third.keep_only(packets=1)
    third.maintain()
    assert (view(third).kept_packets, view(third).kept_bytes) == (1, 1)
    house.streams.delete(second.stream)
    assert "second" not in names(house)
    run_chores(house)
    assert_nothing_left(house, second.stream)
    assert view(never).seen.head.last_us is None
    assert other.name in names(house)


def test_what_came_lately_is_told_for_some_minutes(recorder: Recorder, clock: Clock) -> None:
    def lately() -> tuple[int, int, int]:
        found = view(recorder).recent
        return round(found.seconds), found.packets, found.bytes

    def look() -> None:
        recorder.house.streams.chores._begun_at = float("-inf")
        run_chores(recorder.house)

    recorder.append(b"12345")
    assert lately()[1:] == (1, 5)  # since it was made
    look()
    assert lately()[1:] == (1, 5)
    clock.ahead = 200
    recorder.append(b"67")
    assert lately() == (200, 2, 7)
    look()
    assert lately() == (200, 1, 2)
    clock.ahead = 400
    look()
    assert lately() == (200, 0, 0)
    clock.ahead = 600
    noted = recorder.house.state.scan("streams", "activity/")
    clock.ahead = 90_000
    look()  # of a stream that gets nothing, nothing is written
    assert [document.version for _, document in recorder.house.state.scan("streams", "activity/")] == [noted[0][1].version]
    clock.ahead = 90_020
    recorder.append(b"123", b"4")
    assert lately() == (20, 2, 4)  # not in the whole day
    look()
    clock.ahead = 90_030
    assert lately() == (30, 2, 4)


def test_a_stream_that_was_there_before_the_first_look_begins_with_it(recorder: Recorder, clock: Clock) -> None:
    recorder.append(b"1" * 100)
    clock.ahead = 10_000
    run_chores(recorder.house)
    clock.ahead = 10_060
    recorder.append(b"2")
    found = view(recorder).recent
    assert (round(found.seconds), found.packets, found.bytes) == (60, 1, 1)
    assert activity.ActivityNotes(recorder.house.state).all().looked_at == pytest.approx(now().timestamp() + 10_000, abs=30)


@on_every_pair
def test_the_newest_sessions_and_metadata_are_found_from_the_end(recorder: Recorder) -> None:
    streams, far = recorder.house.streams, 3_000_000
    recorder.append(*[b"x"] * 40, (far, b"y"), (LARGEST_INDEX, b"z"))
    for start in (0, 3, 3, 30, far, LARGEST_INDEX):
        streams.sessions.add(recorder.stream, start, start, ANNA)
        streams.metadata.put(recorder.stream, start, {"at": start}, BEN)

    def sessions(limit: int) -> list[list[int]]:
        """The pages of all sessions."""
        pages, before = list[list[int]](), ""
        while page := streams.sessions.newest(recorder.stream, limit, before):
            pages.append([one.start for one in page])
            before = page[-1].id
        return pages

    def metadata(before: int, limit: int) -> list[int]:
        return [one.packet_index for one in streams.metadata.newest(recorder.stream, before, limit)]

    assert sessions(10) == [[LARGEST_INDEX, far, 30, 3, 3, 0]]
    assert sessions(2) == [[LARGEST_INDEX, far], [30, 3], [3, 0]]
    assert sessions(4) == [[LARGEST_INDEX, far, 30, 3], [3, 0]]
    for wrong in ("x", "0" * 33, "g" * 32):
        with pytest.raises(NotFound):
            streams.sessions.newest(recorder.stream, 1, wrong)
    assert metadata(LARGEST_INDEX + 1, 10) == [LARGEST_INDEX, far, 30, 3, 0]
    assert metadata(30, 1) == [3]
    assert metadata(0, 5) == []


@on_every_pair
def test_what_holds_a_session_is_told_and_taken_away(sealing: Recorder) -> None:
    sessions, overview = sealing.house.streams.sessions, sealing.house.streams.overview
    sealing.append(*[b"x" * 600] * 4)
    sealing.maintain()
    open_ = sealing.open()
    sealing.append(b"late")
    marked, _ = sessions.add(sealing.stream, 1, 2, ANNA)
    for owner in (ANNA, BEN):
        sessions.hold(sealing.stream, marked.id, owner)
    sessions.hold(sealing.stream, open_.id, BEN)
    download = sealing.open_download(sealing.query(0, 1))
    seen = view(sealing)
    assert seen.downloads == [(0, 1)]
    held = overview.held(seen)
    assert [(hold.key_id, one.start) for hold, one in held] == [(ANNA.id, 1), (BEN.id, 1), (BEN.id, 4)]
    assert seen.seen.closes_at is not None
    assert 50 < (seen.seen.closes_at - now()).total_seconds() <= 60
    sessions.take_away(sealing.stream, Hold(marked.id, ANNA.id))
    for wrong in (Hold(marked.id, ANNA.id), Hold(marked.id, ""), Hold("x" * 600, BEN.id), Hold(marked.id, "x" * 600)):
        with pytest.raises(NotFound):
            sessions.take_away(sealing.stream, wrong)
    with pytest.raises(InUse):
        sessions.delete(sealing.stream, marked.id)
    sessions.take_away(sealing.stream, Hold(marked.id, BEN.id))
    download.close()
    sessions.delete(sealing.stream, marked.id)
    closed = sealing.close(open_, ADMIN)
    assert closed is not None
    assert (closed.start, closed.stop) == (4, 4)
    assert view(sealing).seen.closes_at is None
    assert [one.start for _, one in overview.held(view(sealing))] == [4]


@on_every_pair
def test_packets_are_glimpsed_at_from_segments_and_the_log(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    glimpses = sealing.house.streams.glimpses
    sealing.append(*[b"%d" % number * 300 for number in range(5)])
    sealing.maintain()
    sealing.append((1_000_000, b"far"), (1_000_001, b"x" * 700), (1_000_005, b"z" * 700))
    sealing.maintain()
    assert len(sealing.segments()) == 2
    sealing.append((5_000_000, b"log"), b"next")

    def seen(start: int, limit: int) -> tuple[list[int], int]:
        found = glimpses.from_index(sealing.stream, start, limit)
        assert found.end == 5_000_002
        return [one.index for one in found.glimpses], found.following

    assert seen(0, 3) == ([0, 1, 2], 3)
    assert seen(3, 3) == ([3, 4, 1_000_000], 1_000_001)
    assert seen(1_000_002, 2) == ([1_000_005, 5_000_000], 5_000_001)
    assert seen(1_000_001, 50)[0] == [1_000_001, 1_000_005, 5_000_000, 5_000_001]
    assert seen(2_000_000, 1) == ([5_000_000], 5_000_001)
    assert seen(5_000_002, 5) == ([], 5_000_002)
    assert seen(6_000_000, 5) == ([], 6_000_000)
    monkeypatch.setattr("smarthouse_api.streams.glimpses._READ_BYTES", 500)
    assert seen(0, 5) == ([0, 1], 2)  # once enough is read, the next look goes on
    sealing.delete()
    with pytest.raises(NotFound):
        glimpses.from_index(sealing.stream, 0, 1)


@pytest.mark.parametrize(
    ("data", "kind", "text", "is_cut"),
    [
        (b"", "empty", "", False),
        (b"21.5 \xc2\xb0C", "text", "21.5 °C", False),
        (b'{"a":[1,12345678901234567890]}', "json", '{\n  "a": [\n    1,\n    12345678901234567890\n  ]\n}', False),
        (b'{"a":1} x', "text", '{"a":1} x', False),
        (b"[" * 1500, "text", "[" * 1500, False),
        (b"[" * 900 + b"]" * 900, "text", "[" * 900 + "]" * 900, False),
        (b"5", "text", "5", False),
        (b"\xc3\xa4" * 1500, "text", "ä" * 1000, True),
        (b"x" + b"\xc3\xa4" * 1500, "text", "x" + "ä" * 999, True),
        (b"\x00\x01AB\xff789a", "bytes", "0000  00 01 41 42 ff 37 38 39  ..AB.789\n0008  61                       a", False),
        (b"a\x1b[31m", "bytes", "0000  61 1b 5b 33 31 6d        a.[31m", False),
        ("a\u202eb".encode(), "bytes", "0000  61 e2 80 ae 62           a...b", False),
    ],
)
def test_a_packet_is_shown_as_what_it_is(data: bytes, kind: str, text: str, is_cut: bool) -> None:
    found = glimpse(Packet(3, now(), data))
    assert (found.kind, found.text, found.is_cut, found.size) == (kind, text, is_cut, len(data))


def test_of_many_bytes_only_the_first_are_shown() -> None:
    found = glimpse(Packet(0, now(), bytes(1 << 20)))
    assert (found.kind, found.is_cut, found.text.count("\n")) == ("bytes", True, 15)

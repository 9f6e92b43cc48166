"""Reading: every range of packets, wherever they rest, while they are moved about."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from smarthouse_api.errors import NotFound, Refused, StoreError, Unavailable
from smarthouse_api.house import House
from smarthouse_api.streams.model import LARGEST_INDEX
from smarthouse_api.streams.reading import SegmentRange
from tests.streams.conftest import Recorder, joined, made, numbered, within

SPREAD = [0, 1, 2, 5, 6, 9, 10, 11, 12, 20, 21, 22, 30, 31, 33]


def spread(recorder: Recorder, size: int = 150) -> dict[int, bytes]:
    """Packets in three segments and the log, with gaps inside of them and between."""
    for low in range(0, len(SPREAD), 4):
        recorder.append(*numbered(SPREAD[low : low + 4], size))
        if low < 12:
            recorder.maintain()
    assert len(recorder.segments()) == 3
    assert len(recorder.log()) == 1
    return {index: b"%d;" % index * size for index in SPREAD}


def test_every_range_is_read_exactly(sealing: Recorder) -> None:
    kept = spread(sealing)
    for start in range(35):
        for stop in {start, start + 3, 33, LARGEST_INDEX}:
            assert sealing.packets(start, stop) == within(kept, start, stop)


def test_a_range_that_ends_before_it_starts_holds_nothing(sealing: Recorder) -> None:
    spread(sealing)
    assert sealing.packets(9, 5) == {}


def test_a_range_beyond_every_index_holds_nothing(sealing: Recorder) -> None:
    spread(sealing)
    for start in (34, LARGEST_INDEX, LARGEST_INDEX + 1, 2**62):
        assert sealing.packets(start, 2**62) == {}


def test_a_new_stream_holds_nothing(recorder: Recorder) -> None:
    assert recorder.packets() == {}


def test_a_deleted_stream_is_told(recorder: Recorder) -> None:
    recorder.append(b"a")
    recorder.delete()
    recorder.house.streams.chores.purge(5)
    with pytest.raises(NotFound):
        recorder.packets()


def test_a_range_tells_its_packets_and_its_size(sealing: Recorder) -> None:
    kept = spread(sealing)
    for start in (0, 1, 3, 11, 21, 31):
        for stop in (1, 10, 12, 22, 33):
            ranges, wanted = sealing.reader.ranges(sealing.stream, start, stop), within(kept, start, stop)
            assert sum(one.packets for one in ranges) == len(wanted)
            assert sum(one.size for one in ranges) == len(joined(wanted))
            if wanted:
                assert (ranges[0].first, ranges[-1].last) == (min(wanted), max(wanted))


def test_only_a_range_that_is_a_whole_segment_says_so(sealing: Recorder) -> None:
    spread(sealing)

    def whole(start: int, stop: int) -> list[bool]:
        ranges = sealing.reader.ranges(sealing.stream, start, stop)
        return [isinstance(one, SegmentRange) and one.is_whole for one in ranges]

    assert whole(0, 12) == [True, True, False]
    assert whole(1, 5) == [False]
    assert whole(0, 5) == [True]
    assert whole(0, 6) == [True, False]
    assert whole(30, 33) == [False]


def test_every_part_of_a_range_is_its_bytes(sealing: Recorder) -> None:
    sealing.append(*numbered(range(5)))
    sealing.maintain()
    sealing.append(b"", *numbered((7, 9)), b"")
    kept = sealing.packets()
    assert len(sealing.log()) == 1
    for start, stop in ((0, 99), (1, 8), (3, 3), (6, 10)):
        for one in sealing.reader.ranges(sealing.stream, start, stop):
            whole = joined(kept, one.first, one.last)
            assert len(whole) == one.size
            for begin in range(one.size + 1):
                for length in range(one.size - begin + 1):
                    assert b"".join(one.octets(begin, length)) == whole[begin : begin + length]


def test_a_range_in_a_long_log_is_found(recorder: Recorder) -> None:
    indexes = sorted(random.sample(range(1000), 300))
    for index in indexes:
        recorder.append((index, b"%d" % index))
    kept = {index: b"%d" % index for index in indexes}
    for start in [*random.sample(range(1000), 20), 0, indexes[0], indexes[-1], 1000]:
        stop = start + random.choice((0, 3, 500))
        assert recorder.packets(start, stop) == within(kept, start, stop)


def test_a_range_at_the_end_of_a_long_log_does_not_read_all_of_it(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(300):
        recorder.append(b"%d" % index)
    read, entries = recorder.house.state.read, 0

    def counted(*asked: Any) -> Any:
        nonlocal entries
        found = read(*asked)
        entries += len(found)
        return found

    monkeypatch.setattr(recorder.house.state, "read", counted)
    assert recorder.packets(295, 299) == {index: b"%d" % index for index in range(295, 300)}
    assert entries < 150


def test_a_block_is_a_few_megabytes(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(stream_tail_seconds=0))
    for number in range(12):
        recorder.append(bytes([number]) * 1_000_000)
    in_log = [len(block.octets) for block in recorder.reader.blocks(recorder.stream, 0, 99)]
    recorder.maintain()
    sealed = [len(block.octets) for block in recorder.reader.blocks(recorder.stream, 0, 99)]
    assert sum(in_log) == sum(sealed) == 12_000_000
    assert max(in_log) <= 9_000_000
    assert max(sealed) <= 3_000_000


def test_what_is_read_and_sealed_need_not_fit_into_memory(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(stream_segment_bytes=2_000_000))
    for number in range(40):
        recorder.append(*[bytes([number])] * 100, bytes([number]) * 999_900)
    in_memory = sum(map(len, recorder.log())) if recorder.house.settings.stores.state_url == "memory://" else 0
    tracemalloc.start()
    try:
        recorder.maintain()
        # In memory, the objects themselves are new.
        assert tracemalloc.get_traced_memory()[1] - in_memory < 25_000_000
        assert recorder.log() == []
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        assert sum(len(block) for block in recorder.reader.blocks(recorder.stream, 0, LARGEST_INDEX)) == 40 * 101
        assert tracemalloc.get_traced_memory()[1] - before < 25_000_000
    finally:
        tracemalloc.stop()


def test_many_small_packets_are_few_objects(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    # In proportion 100,000 packets of 1 KB, and segments of 16 MiB.
    recorder = made(make_house(stream_segment_bytes=100_000 * 10 // 6))
    calls: list[str] = []
    for method in ("put", "get", "stream", "delete"):
        noted(recorder.house.objects, method, calls, monkeypatch)
    for number in range(50):
        recorder.append(*[b"%010d" % (number * 2000 + one) for one in range(2000)])
        recorder.house.streams.chores.run(lambda: False)
    assert 3 <= len(recorder.segments()) <= 7
    assert calls.count("put") == 2 * len(recorder.segments())
    calls.clear()
    assert len(recorder.download()) == 1_000_000
    # Of some stores, one of the two methods calls the other.
    assert len(calls) <= 2 * 8
    calls.clear()
    assert recorder.download(5000, 5009) == b"".join(b"%010d" % one for one in range(5000, 5010))
    assert len(calls) <= 2 * 3


def noted(target: Any, method: str, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the calls of a method noted."""
    called = getattr(target, method)

    def note(*asked: Any, **options: Any) -> Any:
        calls.append(method)
        return called(*asked, **options)

    monkeypatch.setattr(target, method, note)


# While packets are moved


class Model:
    """A stream, and what it must hold."""

    def __init__(self, recorder: Recorder, seed: int) -> None:
        self.recorder, self.random = recorder, random.Random(seed)
        self.kept: dict[int, bytes] = {}
        self.next = 0

    def append(self) -> None:
        given: list[Any] = []
        index = self.next
        for _ in range(self.random.choice((1, 1, 2, 7))):
            if is_named := self.random.random() < 0.3:
                index += self.random.choice((0, 0, 1, 4))
            data = b"%d:" % index * self.random.choice((0, 1, 1, 3, 90))
            given.append((index, data) if is_named else data)
            self.kept[index] = data
            index += 1
        self.recorder.append(*given)
        self.next = index

    def repeat(self) -> None:
        if not self.kept:
            return
        given = sorted(self.random.sample(sorted(self.kept), min(len(self.kept), 3)))
        self.recorder.append(*[(index, self.kept[index]) for index in given])

    def retain(self) -> None:
        count = self.random.choice((1, 8, 25))
        self.recorder.keep_only(packets=count)
        self.recorder.maintain()
        self.recorder.keep_only(packets=10_000)
        self.kept = {index: self.kept[index] for index in sorted(self.kept)[-count:]}

    def check(self) -> None:
        start, stop = sorted(self.random.randrange(self.next + 2) for _ in range(2))
        assert self.recorder.packets(start, stop) == within(self.kept, start, stop)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_was_done_every_range_holds_what_it_must(sealing: Recorder, seed: int) -> None:
    model = Model(sealing, seed)
    works = [model.append] * 6 + [sealing.maintain] * 2 + [model.repeat] + [model.check] * 4
    for number in range(120):
        model.random.choice(works)()
        if number % 40 == 39:
            model.retain()
    assert sealing.packets() == model.kept
    if model.kept:
        whole = joined(model.kept)
        assert sealing.download() == whole
        download = sealing.open_download()
        for _ in range(10):
            first, last = sorted(model.random.randrange(max(len(whole), 1)) for _ in range(2))
            assert b"".join(download.body(first, last)) == whole[first : last + 1]
        download.close()
    sealing.maintain()
    sealing.assert_tidy()


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do it again and again in another thread; what it raises is raised here."""
    over, faults = threading.Event(), list[BaseException]()

    def repeat() -> None:
        try:
            while not over.wait(0.005):
                work()
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    for fault in faults:
        raise fault


def test_ranges_are_whole_while_packets_are_sealed_and_merged(sealing: Recorder) -> None:
    model = Model(sealing, 0)
    with meanwhile(sealing.maintain):
        for _ in range(20):
            model.append()
            model.check()
            model.repeat()
    assert sealing.packets() == model.kept
    sealing.maintain()
    sealing.assert_tidy()


def test_downloads_are_whole_while_packets_are_sealed_and_merged(sealing: Recorder) -> None:
    model = Model(sealing, 1)
    model.append()
    with meanwhile(sealing.maintain):
        for _ in range(15):
            model.append()
            assert sealing.download() == joined(model.kept)
    assert sealing.download(format_="ndjson").count(b"\n") == len(model.kept)


def test_a_download_is_whole_or_fails_while_the_oldest_packets_go(sealing: Recorder) -> None:
    sealing.keep_only(packets=10)
    sealing.append(*numbered(range(10), 60))
    kept = {index: b"%d;" % index * 60 for index in range(1000)}
    whole = 0
    with meanwhile(sealing.maintain):
        for number in range(10, 40):
            sealing.append(b"%d;" % number * 60)
            query = sealing.query()
            try:
                download = sealing.open_download(query)
            except NotFound:
                continue
            try:
                found = b"".join(download.body())
                assert download.size_bytes == len(found)
                # Until it began, the oldest may have gone.
                stop = int(query["stop"])
                assert any(found == joined(kept, start, stop) for start in range(int(query["start"]), stop + 1))
                whole += 1
            except (StoreError, Unavailable):
                pass
            finally:
                download.close()
    assert whole


def between(monkeypatch: pytest.MonkeyPatch, target: Any, method: str, work: Callable[[], None], *, at: int = 1) -> None:
    """Do the work once, right before a call of a method."""
    called, count = getattr(target, method), 0

    def interposed(*asked: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            work()
        return called(*asked, **options)

    monkeypatch.setattr(target, method, interposed)


@pytest.mark.parametrize("method", ["get", "stream"])
def test_a_segment_that_is_merged_while_it_is_looked_at_is_read_from_the_next(
    sealing: Recorder, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    sealing.append(*numbered(range(10)))
    sealing.maintain()
    sealing.append(*numbered(range(10, 20)))
    between(monkeypatch, sealing.house.objects, method, sealing.maintain)
    assert sealing.packets(3, 15) == {index: b"%d;" % index for index in range(3, 16)}
    assert len(sealing.segments()) == 1


def test_a_url_is_made_while_the_segment_is_merged(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing.append(*numbered(range(10)))
    sealing.maintain()
    sealing.append(*numbered(range(10, 20)))
    between(monkeypatch, sealing.house.objects, "get", sealing.maintain)
    assert sealing.query(3, 15)["stop"] == "15"


def test_a_repeat_is_known_while_its_segment_is_merged(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing.append(*numbered(range(10)))
    sealing.maintain()
    sealing.append(*numbered(range(10, 20)))
    between(monkeypatch, sealing.house.objects, "stream", sealing.maintain)
    assert sealing.append((3, b"3;")).start == 3


def test_packets_of_the_log_that_are_sealed_while_they_are_read_are_read_on(sealing: Recorder) -> None:
    for start in range(0, 60, 6):
        sealing.append(*numbered(range(start, start + 6), 50_000))
    found = sealing.reader.blocks(sealing.stream, 2, 57)
    indexes = next(found).indexes.tolist()
    sealing.maintain()
    assert sealing.log() == []
    for block in found:
        indexes += block.indexes.tolist()
    assert indexes == list(range(2, 58))


def test_a_segment_that_is_lost_is_told(sealing: Recorder) -> None:
    sealing.append(*numbered(range(10)))
    sealing.maintain()
    sealing.house.objects.delete([info.key for info in sealing.house.objects.list("packets/")])
    for start, stop in ((0, 9), (3, 5)):
        with pytest.raises((StoreError, Refused)):
            sealing.packets(start, stop)

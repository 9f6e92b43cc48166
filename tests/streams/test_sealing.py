"""Sealing: from the log into segments, at the right time, once, whatever dies when."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.ports import StoreUnavailable
from smarthouse_api.house import House
from smarthouse_api.streams import chores
from smarthouse_api.streams.packet_store import object_name
from tests.streams.conftest import Recorder, clock_ahead_by, dying_at_each_step, made, numbered


def test_few_new_packets_stay_in_the_log(recorder: Recorder) -> None:
    recorder.append(b"a", b"b")
    recorder.maintain()
    assert (recorder.segments(), len(recorder.log()), recorder.objects()) == ([], 1, set())


def test_as_many_bytes_as_fill_a_segment_are_sealed(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(stream_segment_bytes=1024))
    recorder.append(b"a" * 1000)
    recorder.maintain()
    assert recorder.segments() == []
    recorder.append(b"b" * 24)
    recorder.maintain()
    (segment,) = recorder.segments()
    assert (segment.first, segment.last, segment.packets, segment.bytes) == (0, 1, 2, 1024)
    assert recorder.log() == []
    recorder.assert_tidy()


def test_packets_that_got_old_in_the_log_are_sealed(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.append(b"a")
    monkeypatch.setattr("smarthouse_api.streams.sealing.datetime", clock_ahead_by(601))
    recorder.maintain()
    assert len(recorder.segments()) == 1
    assert recorder.packets() == {0: b"a"}


@pytest.mark.parametrize("seconds", [1e12, 1e300])
def test_a_time_longer_than_the_worlds_keeps_no_stream_from_being_sealed(
    make_house: Callable[..., House], seconds: float
) -> None:
    recorder = made(make_house(stream_segment_bytes=1024, stream_tail_seconds=seconds), seconds=seconds)
    recorder.append(b"a")
    recorder.maintain()
    assert recorder.segments() == []
    recorder.append(b"b" * 1024)
    recorder.maintain()
    assert recorder.log() == []
    recorder.maintain()
    assert recorder.packets() == {0: b"a", 1: b"b" * 1024}


def test_a_segment_holds_the_packets_bytes_one_after_another(sealing: Recorder) -> None:
    sealing.append(b"one", b"", b"two")
    sealing.append((9, b"three"))
    sealing.maintain()
    (data,) = [info.key for info in sealing.house.objects.list("packets/") if info.key.endswith(".data")]
    assert sealing.house.objects.get(data) == b"onetwothree"
    assert data.split("/")[1:3] == [sealing.stream.home_key, sealing.stream.key]
    assert sealing.packets() == {0: b"one", 1: b"", 2: b"two", 9: b"three"}


def test_packets_without_a_byte_are_sealed_read_and_downloaded(sealing: Recorder) -> None:
    sealing.append(b"", b"")
    sealing.maintain()
    sealing.append(b"")
    sealing.maintain()
    assert sealing.log() == []
    assert sealing.packets() == {0: b"", 1: b"", 2: b""}
    assert sealing.download() == b""
    assert sealing.download(1, 2, "ndjson").count(b"\n") == 2


def test_the_times_of_packets_stay(sealing: Recorder) -> None:
    sealing.append(*numbered(range(5)))
    before = [packet for block in sealing.reader.blocks(sealing.stream, 0, 9) for packet in block.packets()]
    sealing.maintain()
    after = [packet for block in sealing.reader.blocks(sealing.stream, 0, 9) for packet in block.packets()]
    assert sealing.log() == []
    assert after == before


def test_small_segments_are_merged_until_they_are_not_small(sealing: Recorder) -> None:
    for number in range(40):
        sealing.append((number, b"%02d" % number * 25))
        sealing.maintain()
        sealing.assert_tidy()
    assert [segment.bytes for segment in sealing.segments()] == [550, 550, 550, 350]
    assert sealing.packets() == {number: b"%02d" % number * 25 for number in range(40)}


def test_much_in_the_log_becomes_several_segments(sealing: Recorder) -> None:
    for start in range(0, 3000, 100):
        sealing.append(*numbered(range(start, start + 100), 2))
    sealing.maintain()
    assert len(sealing.segments()) > 1
    assert len(sealing.packets()) == 3000
    sealing.assert_tidy()


def test_a_merged_segment_stays_while_a_download_may_read_it(sealing: Recorder) -> None:
    sealing.append(*numbered(range(10)))
    sealing.maintain()
    download = sealing.open_download()
    sealing.append(*numbered(range(10, 20)))
    sealing.maintain()
    assert len(sealing.segments()) == 1
    assert len(sealing.objects()) == 4
    assert b"".join(download.body()) == b"".join(b"%d;" % index for index in range(10))
    download.close()
    sealing.maintain()
    sealing.assert_tidy()


def test_a_merged_segment_stays_a_while_for_a_state_that_is_older(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(chores, "_GRACE_SECONDS", 3600)
        for data in (b"a", b"b"):
            sealing.append(data)
            sealing.maintain()
        sealing.maintain()
        assert len(sealing.segments()) == 1
        assert len(sealing.objects()) == 4
    sealing.maintain()
    sealing.assert_tidy()


def test_a_merged_segment_goes_in_the_end_though_downloads_never_cease(
    sealing: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealing.append(b"a")
    sealing.maintain()
    download = sealing.open_download()
    sealing.append(b"b")
    sealing.maintain()
    monkeypatch.setattr(chores, "_DOWNLOADED_GRACE_SECONDS", -1)
    sealing.maintain()
    sealing.assert_tidy()
    download.close()


def test_a_visit_that_finds_nothing_to_do_changes_nothing(sealing: Recorder) -> None:
    sealing.append(b"a")
    sealing.maintain()
    download = sealing.open_download()
    sealing.append(b"b")
    sealing.maintain()
    before = sealing.store.manifest(sealing.stream)
    sealing.maintain()
    assert sealing.store.manifest(sealing.stream) == before
    download.close()


def test_of_two_who_seal_the_same_one_fails_and_leaves_nothing(sealing: Recorder) -> None:
    sealing.append(*numbered(range(10)))
    sealing.maintain()
    sealing.append(*numbered(range(10, 20)))
    found = sealing.store.manifest(sealing.stream)
    work = sealing.house.streams.chores._sealing
    assert work.seal(sealing.stream, found)
    assert not work.seal(sealing.stream, found)
    sealing.maintain()
    sealing.assert_tidy()
    assert len(sealing.packets()) == 20


def test_a_stream_that_is_deleted_while_it_is_sealed_leaves_nothing(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing.append(*numbered(range(10)))
    put = sealing.house.objects.put

    def delete_meanwhile(*asked: object) -> int:
        monkeypatch.undo()
        sealing.delete()
        sealing.house.streams.chores.purge(5)
        return put(*asked)

    monkeypatch.setattr(sealing.house.objects, "put", delete_meanwhile)
    sealing.maintain()
    assert sealing.objects() == set()
    assert sealing.log() == []


def test_nothing_is_lost_or_doubled_by_a_death_at_any_step(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[int, bytes] = {}

    def append() -> None:
        for index in range(len(kept), len(kept) + 3):
            kept[index] = b"%d;" % index * 20
            sealing.append((index, kept[index]))

    def check() -> None:
        assert sealing.packets() == kept

    # Two objects, a commit, the dropping of entries, the objects of what was merged, and that they are gone.
    assert dying_at_each_step(sealing.house, append, sealing.maintain, check) >= 2 * 6
    # What the dead have put and nobody refers to goes with the sweep.
    monkeypatch.setattr(chores, "_ORPHAN_DAYS", -1)
    sealing.house.streams.chores.sweep()
    sealing.assert_tidy()
    check()


def test_entries_that_were_sealed_before_a_death_are_dropped(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing.append(*numbered(range(10)))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sealing.house.streams.chores._store, "drop", die)
        with pytest.raises(KeyboardInterrupt):
            sealing.maintain()
    assert len(sealing.log()) == 1
    assert len(sealing.packets()) == 10
    sealing.append(b"10;")
    assert len(sealing.packets()) == 11
    sealing.maintain()
    sealing.assert_tidy()
    assert sealing.packets() == {index: b"%d;" % index for index in range(11)}


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_commit_whose_answer_was_lost_loses_no_packet(
    sealing: Recorder, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    sealing.append(*numbered(range(10)))
    commit = sealing.house.state.commit

    def lose_the_answer(*asked: object) -> None:
        if is_stored:
            commit(*asked)
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(sealing.house.state, "commit", lose_the_answer)
        with pytest.raises(StoreUnavailable):
            sealing.maintain()
    assert len(sealing.packets()) == 10
    sealing.maintain()
    assert sealing.log() == []
    assert sealing.packets() == {index: b"%d;" % index for index in range(10)}


def test_an_object_store_that_fails_leaves_the_packets_in_the_log(sealing: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing.append(*numbered(range(10)))

    def fail(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(sealing.house.objects, "put", fail)
        with pytest.raises(StoreUnavailable):
            sealing.maintain()
    assert len(sealing.packets()) == 10
    sealing.maintain()
    sealing.assert_tidy()


def test_a_segment_whose_bytes_alone_are_lost_does_not_keep_the_log_from_being_sealed(sealing: Recorder) -> None:
    sealing.append(b"a")
    sealing.maintain()
    (segment,) = sealing.segments()
    sealing.house.objects.delete([f"{object_name(sealing.stream, segment.id)}.data"])
    sealing.append(b"b")
    sealing.maintain()
    assert sealing.log() == []
    assert sealing.packets(1) == {1: b"b"}

"""Packets that are damaged in their stream's log cost themselves: those around them are read and sealed, and all is told."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from backends.ports import StoreUnavailable
from config.groups import StreamSettings
from smarthouse_api.house import House
from smarthouse_api.streams.packet_store import LOG
from smarthouse_api.streams.segment_objects import DamagedPackets
from tests.conftest import Environment, on_pairs
from tests.damaging import damage, flipped
from tests.each import on_disk_and_servers
from tests.streams.conftest import Recorder, made

environment = on_pairs("embedded_pair", "production_pair")
ENTRIES = 200


def packet(index: int) -> bytes:
    return b"packet %d" % index


@pytest.fixture
def recorder(make_house: Callable[..., House]) -> Recorder:
    """A stream with an entry for each packet, at every second index."""
    one = made(make_house(stream_tail_seconds=3600))
    for number in range(ENTRIES):
        one.append((2 * number, packet(2 * number)))
    return one


def strike(environment: Environment, recorder: Recorder, *numbers: int) -> None:
    """Damage these entries of the log."""
    kept = recorder.house.state.read(recorder.space, LOG)
    for number in numbers:
        damage(environment, kept[number].value, flipped(kept[number].value))


def due(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.house.streams.chores._sealing, "_settings", StreamSettings(tail_seconds=0))


@on_disk_and_servers("number", [0, 1, 7, 8, 100, ENTRIES - 2], [7])
def test_the_packets_before_and_after_are_read(environment: Environment, recorder: Recorder, number: int) -> None:
    strike(environment, recorder, number)
    lost, last = 2 * number, 2 * (ENTRIES - 1)
    if number:
        assert list(recorder.packets(0, lost - 2)) == list(range(0, lost - 1, 2))
    assert list(recorder.packets(lost + 2, last)) == list(range(lost + 2, last + 1, 2))
    assert list(recorder.packets(last, last)) == [last]
    for start, stop in ((lost, lost), (lost, last), (0, lost)):
        with pytest.raises(DamagedPackets, match=rf"The packets \d+ to {lost + 1} are damaged or missing in the log"):
            recorder.packets(start, stop)
    with pytest.raises((DamagedPackets, StoreUnavailable)):
        recorder.packets()


def test_the_last_packet_is_told_as_damaged_and_the_others_are_read(environment: Environment, recorder: Recorder) -> None:
    strike(environment, recorder, ENTRIES - 1)
    last = 2 * (ENTRIES - 1)
    assert len(recorder.packets(0, last - 2)) == ENTRIES - 1
    with pytest.raises(DamagedPackets, match=f" to {last} "):
        recorder.packets(last, last)


@on_disk_and_servers("numbers", [(0,), (3, 4, 50), (0, 1, ENTRIES - 2), (ENTRIES - 1,)], [(3, 4, 50)])
def test_all_others_are_sealed_and_what_is_lost_is_never_left_out_in_silence(
    environment: Environment,
    recorder: Recorder,
    numbers: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    strike(environment, recorder, *numbers)
    due(recorder, monkeypatch)
    recorder.maintain()
    recorder.append((2 * ENTRIES, packet(2 * ENTRIES)))
    with caplog.at_level(logging.ERROR, "smarthouse_api.streams.sealing"):
        recorder.maintain()
    manifest = recorder.store.manifest(recorder.stream).manifest
    assert manifest.next == 2 * ENTRIES + 1
    assert recorder.house.state.read(recorder.space, LOG) == []
    around = {number + step for number in numbers for step in (-1, 0, 1)} - {-1}
    for number in sorted(around | set(range(0, ENTRIES + 1, 10))):
        index = 2 * number
        if number in numbers:
            with pytest.raises(DamagedPackets, match="in the log, and are lost"):
                recorder.packets(index, index)
        else:
            assert recorder.packets(index, index) == {index: packet(index)}
    with pytest.raises(DamagedPackets):
        recorder.packets()
    assert "were damaged in its log, and are lost" in caplog.text or numbers != (ENTRIES - 1,)
    assert recorder.house.health()[0]["documents"] == "none is known to be damaged"
    recorder.append((2 * ENTRIES + 2, b"more"), (2 * ENTRIES + 4, b"and more"))
    assert list(recorder.packets(2 * ENTRIES, 2 * ENTRIES + 4).values()) == [packet(2 * ENTRIES), b"more", b"and more"]


def test_the_streams_behind_it_are_maintained(
    environment: Environment, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = recorder.house.streams.catalogue
    other = Recorder(recorder.house, catalogue.create(recorder.stream.home_id, recorder.stream.module_id, "zzz")[0])
    other.append(b"one")
    strike(environment, recorder, ENTRIES - 1)
    due(recorder, monkeypatch)
    recorder.house.streams.chores.run(lambda: False)
    assert len(other.segments()) == 1
    assert len(recorder.packets(0, 2 * ENTRIES - 4)) == ENTRIES - 1


def test_a_retention_goes_past_the_damaged_entry_and_what_is_below_is_not_told_any_more(
    environment: Environment, recorder: Recorder
) -> None:
    strike(environment, recorder, 5)
    recorder.keep_only(packets=10)
    recorder.maintain()
    assert list(recorder.packets(12))[:2] == [12, 14]
    recorder.maintain()
    assert len(recorder.packets()) == 9, "the damaged one counts"

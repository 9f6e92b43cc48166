"""Metadata: one JSON object for a packet."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from smarthouse_api.errors import InvalidData, NotFound, TooLarge
from smarthouse_api.house import House
from smarthouse_api.streams import metadata
from smarthouse_api.streams.model import LARGEST_INDEX, MetadataPacket
from tests.each import each
from tests.streams.conftest import ANNA, BEN, Recorder, made, now, numbered


@pytest.fixture
def ten(recorder: Recorder) -> Recorder:
    """A stream with the packets 0 to 9."""
    recorder.append(*numbered(range(10)))
    return recorder


def put(recorder: Recorder, index: int, content: dict[str, Any], source: Any = ANNA) -> tuple[MetadataPacket, bool]:
    return recorder.house.streams.metadata.put(recorder.stream, index, content, source)


def indexes(recorder: Recorder, start: int, stop: int) -> list[int]:
    return [one.packet_index for one in recorder.house.streams.metadata.page(recorder.stream, start, stop)[0]]


def test_what_was_put_is_found(ten: Recorder) -> None:
    content = {"a": [1, 2.5, None, True, {"ü": "\N{SNOWMAN}"}], "": {}}
    kept, is_new = put(ten, 3, content)
    assert is_new
    assert kept == ten.house.streams.metadata.find(ten.stream, 3)
    assert (kept.packet_index, kept.content, kept.source) == (3, content, ANNA)
    assert kept.received_at == kept.updated_at <= now()


def test_what_is_put_again_replaces_and_keeps_when_it_first_came(ten: Recorder) -> None:
    first, _ = put(ten, 3, {"a": 1, "b": 2})
    second, is_new = put(ten, 3, {"a": 3}, BEN)
    assert not is_new
    assert (second.content, second.source) == ({"a": 3}, BEN)
    assert second.received_at == first.received_at
    assert second.updated_at > first.updated_at
    assert indexes(ten, 0, 9) == [3]


@each("index", [10, 11, LARGEST_INDEX])
def test_no_metadata_is_put_above_the_highest_index(ten: Recorder, index: int) -> None:
    with pytest.raises(InvalidData, match="packetIndex is 9"):
        put(ten, index, {})


def test_metadata_at_the_largest_index_is_kept(recorder: Recorder) -> None:
    recorder.append((LARGEST_INDEX, b"a"))
    put(recorder, LARGEST_INDEX, {"a": 1})
    assert indexes(recorder, LARGEST_INDEX, 2**62) == [LARGEST_INDEX]
    assert recorder.house.streams.metadata.find(recorder.stream, LARGEST_INDEX).content == {"a": 1}


@each("index", [4, 10, LARGEST_INDEX + 1, 2**62])
def test_an_index_without_metadata_is_not_found(ten: Recorder, index: int) -> None:
    put(ten, 3, {})
    with pytest.raises(NotFound):
        ten.house.streams.metadata.find(ten.stream, index)


@each(
    "start, stop, wanted",
    [(0, 9, [0, 3, 9]), (0, 0, [0]), (1, 3, [3]), (3, 8, [3]), (4, 8, []), (9, 2**62, [9]), (5, 4, []), (10, 99, [])],
)
def test_metadata_of_a_range_comes_by_index(ten: Recorder, start: int, stop: int, wanted: list[int]) -> None:
    for index in (9, 0, 3):
        put(ten, index, {})
    assert indexes(ten, start, stop) == wanted


def test_many_are_told_page_by_page(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.append((99, b"a"))
    for index in range(0, 100, 3):
        put(recorder, index, {})
    monkeypatch.setattr("smarthouse_api.streams.metadata._PAGE", 7)
    assert indexes(recorder, 5, 90) == list(range(6, 91, 3))
    recorder.house.streams.metadata.forget_below(recorder.stream, 51)
    assert indexes(recorder, 0, 99) == list(range(51, 100, 3))


@pytest.mark.parametrize("page", [3, 1000], ids=["many pages", "one page"])
def test_a_part_of_a_list_is_that_part_and_tells_how_many_there_are(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("smarthouse_api.streams.metadata._PAGE", page)
    recorder.append((20, b"a"))
    there = [0, 1, 4, 9, 10, 15, 20]
    for index in there:
        put(recorder, index, {"index": index})
    for start, stop in ((0, 20), (1, 15), (2, 3), (16, 2**62)):
        wanted = [index for index in there if start <= index <= stop]
        for skip in range(9):
            for limit in range(9):
                told, count = recorder.house.streams.metadata.page(recorder.stream, start, stop, skip, limit)
                assert [one.packet_index for one in told] == wanted[skip : skip + limit if limit else None]
                assert [one.content["index"] for one in told] == [one.packet_index for one in told]
                assert count == len(wanted)


def test_of_a_list_only_the_part_is_decoded(ten: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(10):
        put(ten, index, {})
    decoded, names = metadata._decoded, list[str]()

    def counted(name: str, value: bytes) -> MetadataPacket:
        names.append(name)
        return decoded(name, value)

    monkeypatch.setattr(metadata, "_decoded", counted)
    told, count = ten.house.streams.metadata.page(ten.stream, 0, 9, 4, 2)
    assert ([one.packet_index for one in told], count, len(names)) == ([4, 5], 10, 2)


def test_the_largest_object_is_kept_and_a_larger_one_refused(make_house: Callable[..., House]) -> None:
    recorder = made(make_house(stream_metadata_bytes=20))
    recorder.append(b"a")
    put(recorder, 0, {"a": "x" * 12})
    with pytest.raises(TooLarge, match="21 bytes"):
        put(recorder, 0, {"a": "x" * 13})
    assert recorder.house.streams.metadata.find(recorder.stream, 0).content == {"a": "x" * 12}


def test_of_eight_who_put_at_once_one_is_the_first(ten: Recorder) -> None:
    with ThreadPoolExecutor(8) as sides:
        told = list(sides.map(lambda number: put(ten, 3, {"number": number}), range(8)))
    assert sorted(is_new for _, is_new in told) == [False] * 7 + [True]
    assert ten.house.streams.metadata.find(ten.stream, 3) in [kept for kept, _ in told]


def test_a_deleted_stream_has_no_metadata_and_takes_none(ten: Recorder) -> None:
    put(ten, 3, {})
    ten.delete()
    with pytest.raises(NotFound):
        put(ten, 3, {})
    ten.house.streams.chores.purge(5)
    with pytest.raises(NotFound):
        indexes(ten, 0, 9)

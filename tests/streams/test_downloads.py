"""Downloads: a URL for one range of one stream, all of its bytes or a fault, and room given back however it ends."""

from __future__ import annotations

import base64
import copy
import io
import json
import random
import time
import zipfile
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import requests

from backends.ports import StoreError, StoreUnavailable
from config.settings import Settings
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.errors import Forbidden, Invalid, NotFound, Refused, Unavailable
from smarthouse_api.house import House
from smarthouse_api.streams.packet_formats import format_named
from tests.each import each
from tests.servers import MinioServer
from tests.streams.conftest import Recorder, joined, made, numbered
from tests.waiting import pass_time

FIELDS = ("stream", "start", "stop", "format", "expires", "signature")


@pytest.fixture
def mixed(sealing: Recorder) -> Recorder:
    """A stream with two segments and packets in the log, and gaps."""
    sealing.append(*numbered(range(0, 10, 2), 80))
    sealing.maintain()
    sealing.append(*numbered(range(20, 25), 80))
    sealing.maintain()
    sealing.append(*numbered(range(30, 33), 80))
    assert len(sealing.segments()) == 2
    return sealing


def test_a_range_is_the_packets_bytes_one_after_another(mixed: Recorder) -> None:
    kept = mixed.packets()
    for start, stop in ((0, 99), (0, 8), (3, 21), (21, 31), (30, 32), (9, 20)):
        assert mixed.download(start, stop) == joined(kept, start, stop)


def test_the_size_is_known_where_the_bytes_are_all(mixed: Recorder) -> None:
    for format_, size in (("octets", len(joined(mixed.packets()))), ("ndjson", None), ("zip", None)):
        download = mixed.open_download(mixed.query(format_=format_))
        assert download.size_bytes == size
        download.close()


def test_every_range_of_bytes_is_that_part(sealing: Recorder) -> None:
    sealing.append(*numbered(range(4)))
    sealing.maintain()
    sealing.append(b"", *numbered(range(6, 9)))
    whole = joined(sealing.packets())
    assert len(sealing.segments()) == len(sealing.log()) == 1
    download = sealing.open_download()
    for first in range(len(whole)):
        for last in range(first, len(whole)):
            assert b"".join(download.body(first, last)) == whole[first : last + 1]
        assert b"".join(download.body(first)) == whole[first:]
    download.close()


def test_lines_tell_each_packets_index_time_and_bytes(mixed: Recorder) -> None:
    lines = [json.loads(line) for line in mixed.download(2, 31, "ndjson").splitlines()]
    packets = [packet for block in mixed.reader.blocks(mixed.stream, 2, 31) for packet in block.packets()]
    assert [(line["index"], base64.b64decode(line["data"])) for line in lines] == [(one.index, one.data) for one in packets]
    assert [datetime.fromisoformat(line["time"]) for line in lines] == [packet.received_at for packet in packets]


def test_lines_that_are_broken_off_never_end_with_a_whole_line(mixed: Recorder) -> None:
    download = mixed.open_download(mixed.query(format_="ndjson"))
    parts = list(download.body())
    download.close()
    assert len(parts) > 3
    assert [end for end in range(len(parts)) if b"".join(parts[:end]).endswith(b"\n")] == []
    assert b"".join(parts).endswith(b"}\n")
    assert all(json.loads(line) for line in b"".join(parts).splitlines())


def test_a_zip_has_a_file_for_each_packet(mixed: Recorder) -> None:
    with zipfile.ZipFile(io.BytesIO(mixed.download(2, 31, "zip"))) as archive:
        assert archive.testzip() is None
        files = {int(name.removesuffix(".bin")): archive.read(name) for name in archive.namelist()}
        assert archive.namelist() == sorted(archive.namelist())
    assert files == {index: data for index, data in mixed.packets().items() if 2 <= index <= 31}


@pytest.mark.parametrize(("name", "wanted"), [("octets", "octets"), ("NDJSON", "ndjson"), ("Zip", "zip")])
def test_a_format_is_known_in_any_case(name: str, wanted: str) -> None:
    assert format_named(name) == wanted


@pytest.mark.parametrize("name", ["", "tar", "zip ", "octet", "zıp"])
def test_another_format_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="octets, ndjson, zip"):
        format_named(name)


@each("start, stop", [(33, 99), (9, 19), (1, 1), (5, 3), (21, 20), (33, 0)])
def test_a_range_without_a_packet_has_no_url(mixed: Recorder, start: int, stop: int) -> None:
    with pytest.raises(NotFound) as told:
        mixed.query(start, stop)
    assert told.value.reason == "NO_PACKETS"


def test_packets_that_come_after_the_url_are_not_in_it(mixed: Recorder) -> None:
    query, whole = mixed.query(), joined(mixed.packets())
    mixed.append(b"later")
    download = mixed.open_download(query)
    assert b"".join(download.body()) == whole
    download.close()


def test_the_etag_stays_while_packets_are_moved_and_is_another_for_another_range(mixed: Recorder) -> None:
    def etag(*asked: Any) -> str:
        download = mixed.open_download(mixed.query(*asked))
        download.close()
        return download.etag

    before = etag()
    mixed.maintain()
    assert mixed.log() == []
    assert etag() == before
    assert len({etag(), etag(0, 31), etag(2, 99), etag(0, 99, "zip"), etag(0, 99, "ndjson")}) == 5


def test_the_etag_is_another_for_other_packets_of_the_same_sizes(memory_pair: dict[str, str]) -> None:
    house = House(Settings.from_env(memory_pair))
    recorder = made(house)
    recorder.append(b"first")
    replica = copy.deepcopy(house.state._spaces)
    etags = set[str]()
    for data in (b"lost", b"kept"):
        house.state._spaces = copy.deepcopy(replica)
        house.streams.appending._seen.clear()
        recorder.append(data)
        download = recorder.open_download()
        download.close()
        etags.add(download.etag)
    house.close()
    assert len(etags) == 2


def test_a_streams_name_makes_a_sane_file_name(recorder: Recorder) -> None:
    for name in ("../../etc/passwd", 'a"b\\c', "\N{SNOWMAN}" * 100, "..."):
        one = made(recorder.house, name)
        one.append(b"a")
        download = one.open_download()
        download.close()
        assert download.file_name.isascii()
        assert not set(download.file_name) & set('/\\"')
        assert download.file_name.endswith("_0-0.bin")
        assert not download.file_name.startswith(".")


# The signature


def test_a_url_with_any_character_changed_is_forbidden(mixed: Recorder) -> None:
    query = mixed.query()
    for field in FIELDS:
        text = query[field]
        for at in range(len(text)):
            other = random.choice([one for one in "0123456789abcdefoz-" if one != text[at]])
            for changed in (text[:at] + other + text[at + 1 :], text[:at] + text[at + 1 :], text[:at] + other + text[at:]):
                if changed != text:
                    with pytest.raises(Forbidden):
                        mixed.open_download({**query, field: changed})


@each("field", FIELDS)
def test_a_url_without_a_part_is_forbidden(mixed: Recorder, field: str) -> None:
    query = mixed.query()
    for changed in ({name: text for name, text in query.items() if name != field}, {**query, field: ""}):
        with pytest.raises(Forbidden) as told:
            mixed.open_download(changed)
        assert told.value.reason == "INVALID_SIGNATURE"


@each("signature", ["é" * 64, "\0", "A" * 10_000])
def test_a_signature_of_strange_characters_is_forbidden(mixed: Recorder, signature: str) -> None:
    with pytest.raises(Forbidden):
        mixed.open_download({**mixed.query(), "signature": signature})


def test_the_parts_of_a_url_cannot_be_moved_into_each_other(mixed: Recorder) -> None:
    query = mixed.query()
    moved = {**query, "stream": f"{query['stream']}\n{query['start']}", "start": query["stop"], "stop": query["format"]}
    for changed in ({**moved, "format": query["expires"]}, {**query, "start": query["stop"], "stop": query["start"]}):
        with pytest.raises(Forbidden):
            mixed.open_download(changed)


def test_a_signature_is_of_this_installation(mixed: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    query = mixed.query()
    monkeypatch.setattr(mixed.house.streams.downloads._signer._keyring, "key", lambda _: b"another installation's")
    with pytest.raises(Forbidden):
        mixed.open_download(query)


def test_a_url_is_good_for_its_time_and_no_longer(mixed: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    query = mixed.query()
    pass_time(mixed.house, 295, monkeypatch)
    mixed.open_download(query).close()
    pass_time(mixed.house, 10, monkeypatch)
    with pytest.raises(Forbidden) as told:
        mixed.open_download(query)
    assert told.value.reason == "URL_EXPIRED"


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_no_machines_clock_that_jumps_ends_a_url_or_gives_it_new_life(
    mixed: Recorder, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    query, clock = mixed.query(), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    mixed.open_download(query).close()
    pass_time(mixed.house, 305, monkeypatch)
    with pytest.raises(Forbidden):
        mixed.open_download(query)


def test_a_url_of_another_stream_opens_nothing(mixed: Recorder) -> None:
    other = made(mixed.house, "another")
    other.append(b"secret")
    with pytest.raises(NotFound):
        other.open_download(mixed.query())
    with pytest.raises(NotFound):
        mixed.open_download(other.query())


def test_a_url_of_a_deleted_stream_opens_nothing_of_the_one_made_anew(mixed: Recorder) -> None:
    query = mixed.query()
    mixed.delete()
    with pytest.raises(NotFound):
        mixed.open_download(query)
    anew = Recorder(mixed.house, mixed.made_anew())
    anew.append(*[b"new"] * 40)
    with pytest.raises(NotFound) as told:
        anew.open_download(query)
    assert told.value.reason == "STREAM_NOT_FOUND"


def test_a_url_of_packets_that_are_not_kept_any_more_is_not_found(mixed: Recorder) -> None:
    query = mixed.query(0, 8)
    mixed.keep_only(packets=2)
    mixed.maintain()
    with pytest.raises(NotFound) as told:
        mixed.open_download(query)
    assert told.value.reason == "NO_PACKETS"


def test_a_url_works_in_another_process(two: tuple[Recorder, Recorder]) -> None:
    one, other = two
    one.append(b"a", b"b")
    download = other.open_download(one.query())
    assert b"".join(download.body()) == b"ab"
    download.close()


# Room for so many


@pytest.fixture
def narrow(make_house: Callable[..., House]) -> Recorder:
    """A stream in a house that sends two downloads at a time."""
    recorder = made(make_house(stream_downloads_at_once=2))
    recorder.append(b"a")
    return recorder


def assert_room_for_two(recorder: Recorder) -> None:
    downloads = [recorder.open_download() for _ in range(2)]
    with pytest.raises(Unavailable, match="Too many downloads"):
        recorder.open_download()
    for download in downloads:
        download.close()
    assert recorder.house.streams.sessions.downloads(recorder.stream) == []


def test_so_many_are_sent_at_a_time_and_no_more(narrow: Recorder) -> None:
    assert_room_for_two(narrow)
    assert_room_for_two(narrow)


def test_a_download_that_is_closed_twice_gives_its_room_back_once(narrow: Recorder) -> None:
    first, second = narrow.open_download(), narrow.open_download()
    first.close()
    first.close()
    second.close()
    assert_room_for_two(narrow)


def test_a_download_that_was_broken_off_gives_its_room_back(narrow: Recorder) -> None:
    download = narrow.open_download()
    next(download.body())
    download.close()
    assert_room_for_two(narrow)


@each("fault", [StoreUnavailable("away"), RuntimeError("cannot start a thread"), KeyboardInterrupt()])
@each("method", ["share", "ranges"])
def test_a_download_that_cannot_be_opened_gives_its_room_back(
    narrow: Recorder, monkeypatch: pytest.MonkeyPatch, method: str, fault: BaseException
) -> None:
    downloads, query = narrow.house.streams.downloads, narrow.query()

    def fail(*_: Any) -> None:
        raise fault

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(downloads._leases if method == "share" else downloads._reader, method, fail)
            with pytest.raises(type(fault)):
                narrow.open_download(query)
    assert_room_for_two(narrow)


def test_a_download_of_nothing_gives_its_room_back(narrow: Recorder) -> None:
    query = narrow.query()
    narrow.append(b"b")
    narrow.keep_only(packets=1)
    narrow.maintain()
    for _ in range(3):
        with pytest.raises(NotFound):
            narrow.open_download(query)
    assert_room_for_two(narrow)


def test_a_forbidden_url_takes_no_room(narrow: Recorder) -> None:
    query = narrow.query()
    for _ in range(3):
        with pytest.raises(Forbidden):
            narrow.open_download({**query, "stop": "9"})
    assert_room_for_two(narrow)


def test_room_is_given_back_though_the_lease_cannot_be(narrow: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    download = narrow.open_download()

    def fail(*_: Any) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(narrow.house.state, "commit", fail)
        download.close()
    downloads = [narrow.open_download() for _ in range(2)]
    for one in downloads:
        one.close()


# Whole, or a fault


def large(recorder: Recorder) -> bytes:
    """Twelve MB, half of them in segments; what they are."""
    for number in range(12):
        recorder.append(bytes([number]) * 999_999)
        if number == 5:
            recorder.maintain()
    assert recorder.segments()
    assert recorder.log()
    return joined(recorder.packets())


@pytest.mark.parametrize("format_", ["octets", "ndjson", "zip"])
def test_a_download_of_a_stream_that_is_deleted_meanwhile_breaks_off(sealing: Recorder, format_: str) -> None:
    large(sealing)
    download = sealing.open_download(sealing.query(format_=format_))
    body = download.body()
    next(body)
    sealing.delete()
    sealing.house.streams.chores.purge(5)
    with pytest.raises((LeaseLost, StoreError, Refused)):
        list(body)
    download.close()
    assert sealing.objects() == set()


def test_a_download_goes_on_until_the_deleted_stream_is_purged(sealing: Recorder) -> None:
    whole = large(sealing)
    download = sealing.open_download()
    sealing.delete()
    assert b"".join(download.body()) == whole
    download.close()


def test_a_download_whose_lease_was_broken_off_is_told_so(sealing: Recorder) -> None:
    large(sealing)
    download = sealing.open_download()
    sealing.house.leases.break_shared(f"packets/{sealing.stream.key}", 0)
    with pytest.raises(LeaseLost):
        list(download.body())
    download.close()


def test_a_download_is_not_shortened_in_silence_by_a_store_that_ends_early(
    mixed: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = mixed.house.objects.stream

    def short(key: str, *asked: Any, **options: Any) -> Any:
        chunks = stream(key, *asked, **options)
        if not key.endswith(".data"):
            return chunks
        return iter([b"".join(chunks)[:-1]])

    monkeypatch.setattr(mixed.house.objects, "stream", short)
    for format_ in ("octets", "ndjson", "zip"):
        download = mixed.open_download(mixed.query(format_=format_))
        with pytest.raises((Unavailable, StoreError, ValueError)):
            list(download.body())
        download.close()


@pytest.mark.parametrize("format_", ["octets", "ndjson", "zip"])
def test_packets_that_are_lost_from_the_log_are_told(recorder: Recorder, format_: str) -> None:
    recorder.append(*numbered(range(4)))
    recorder.append(*numbered(range(4, 8)))
    download = recorder.open_download(recorder.query(format_=format_))
    recorder.store.drop(recorder.stream, 1, 2)
    with pytest.raises(Unavailable):
        list(download.body())
    download.close()


def test_packets_sealed_after_the_download_was_opened_are_sent(sealing: Recorder) -> None:
    for start in (0, 5, 10):
        sealing.append(*numbered(range(start, start + 5), 50))
    whole = joined(sealing.packets())
    downloads = [sealing.open_download() for _ in range(2)]
    sealing.maintain()
    assert sealing.log() == []
    assert b"".join(downloads[0].body()) == whole
    assert b"".join(downloads[1].body(7, 1000)) == whole[7:1001]
    for download in downloads:
        download.close()


# From the object store itself


@pytest.fixture
def public(minio_server: MinioServer, production_pair: dict[str, str]) -> Any:
    """A stream on a pair of stores whose objects clients may fetch themselves."""
    url = f"{production_pair['SMARTHOUSE_OBJECTS_URL']}&public_endpoint=http://{minio_server.endpoint}"
    changed = {"SMARTHOUSE_OBJECTS_URL": url, "SMARTHOUSE_STREAM_TAIL_SECONDS": "0", "SMARTHOUSE_STREAM_SEGMENT_BYTES": "1024"}
    house = House(Settings.from_env({**production_pair, **changed}))
    recorder = made(house, "../my camera\N{SNOWMAN}")
    for start in (0, 10):
        recorder.append(*numbered(range(start, start + 8), 100))
        recorder.maintain()
    recorder.append(*numbered(range(20, 22)))
    assert len(recorder.segments()) == 2
    yield recorder
    house.close()


@each("start, stop", [(0, 7), (0, 9), (8, 19), (10, 17)])
def test_a_whole_segment_is_fetched_from_the_object_store(public: Recorder, start: int, stop: int) -> None:
    located = public.house.streams.downloads.locate(public.stream, start, stop, "octets")
    assert located.url is not None
    answer = requests.get(located.url, timeout=10)
    assert answer.status_code == 200
    assert answer.content == joined(public.packets(), start, stop)
    assert "my_camera" in answer.headers["Content-Disposition"]
    assert requests.get(located.url.replace("data", "index", 1), timeout=10).status_code == 403


@each(
    "start, stop, format_",
    [
        (0, 6, "octets"),
        (1, 7, "octets"),
        (0, 17, "octets"),
        (20, 21, "octets"),
        (10, 21, "octets"),
        (0, 7, "ndjson"),
        (0, 7, "zip"),
    ],
)
def test_anything_else_is_fetched_from_the_service(public: Recorder, start: int, stop: int, format_: str) -> None:
    assert public.house.streams.downloads.locate(public.stream, start, stop, format_).url is None


def test_a_segment_that_a_larger_one_will_replace_is_fetched_from_the_service(public: Recorder) -> None:
    public.maintain()
    small = public.segments()[-1]
    assert public.house.streams.downloads.locate(public.stream, small.first, small.last, "octets").url is None
    public.append(*numbered(range(30, 33)))
    public.maintain()
    assert small.id not in [segment.id for segment in public.segments()]


def test_no_store_without_an_endpoint_for_clients_gives_a_url(mixed: Recorder) -> None:
    assert mixed.house.streams.downloads.locate(mixed.stream, 0, 8, "octets").url is None

"""Packets fetched: the way to the URL, the URL, what it gives, and following a stream."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from smarthouse_api.streams import downloads
from smarthouse_api.streams.model import Packet
from tests.conftest import Server, house_of
from tests.each import each
from tests.streams.caller import Caller, assert_refused, key_of

PACKETS = (b"zero", b"\x00\xff", b"two")
ALL = b"".join(PACKETS)
SIGNED = ("stream", "start", "stop", "format", "expires", "signature")


@pytest.fixture
def caller(client: FlaskClient) -> Caller:
    return Caller.with_key(client).filled(*PACKETS)


@pytest.fixture
def url(caller: Caller) -> str:
    return caller.located("start=0&stop=2")


# The way to the URL


def test_data_is_a_302_to_an_absolute_url_that_needs_no_key(caller: Caller) -> None:
    answer = caller.get("/camera/data?start=0&stop=2", base_url="https://localhost:8443/smart")
    assert (answer.status_code, answer.data, answer.content_type) == (302, b"", None)
    assert answer.headers["Cache-Control"] == "no-store"
    location = answer.headers["Location"]
    assert location.startswith(f"https://localhost:8443/smart{caller.prefix}/camera/download?")
    assert set(dict(parse_qsl(urlsplit(location).query))) == set(SIGNED)
    assert caller.client.get(location.removeprefix("https://localhost:8443/smart")).data == ALL


def test_a_range_without_a_packet_is_a_404(caller: Caller) -> None:
    assert_refused(caller.get("/camera/data?start=3&stop=9"), 404, "NO_PACKETS")


def test_the_object_stores_own_url_is_given_where_it_has_one(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    there = "https://objects.example/bucket/one?signed"
    located = downloads.DownloadLocation(there, {})
    monkeypatch.setattr(downloads.Downloads, "locate", lambda *_: located)
    assert caller.get("/camera/data?start=0&stop=2").headers["Location"] == there


@each("host", ["", "a b", "house.example/x", "[::1", "house.example:port", "@"])
def test_a_host_that_is_none_is_in_no_url(caller: Caller, host: str) -> None:
    answer = caller.get("/camera/data?start=0&stop=2", environ_overrides={"HTTP_HOST": host})
    assert answer.headers["Location"].startswith("/homes/1/smartModules/sds/streams/camera/download?")


def test_more_packets_than_a_zip_holds_are_a_400_that_names_what_holds_them(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_MOST_IN_ZIP", 2)
    assert_refused(caller.get("/camera/data?start=0&stop=2&format=zip"), 400, "INVALID_PARAMETER", "ndjson")
    assert caller.get("/camera/data?start=0&stop=2&format=ndjson").status_code == 302
    assert caller.get("/camera/data?start=1&stop=2&format=zip").status_code == 302


# The URL


@each("name", SIGNED)
def test_a_url_that_was_changed_by_one_character_is_a_403(caller: Caller, url: str, name: str) -> None:
    path, _, query = url.partition("?")
    told = dict(parse_qsl(query))
    for at, character in [*enumerate(told[name])][::5]:
        other = "1" if character != "1" else "2"
        changed = told | {name: told[name][:at] + other + told[name][at + 1 :]}
        assert_refused(caller.client.get(f"{path}?{urlencode(changed)}"), 403, "INVALID_SIGNATURE")
    for value in (f"{told[name]}0", f"0{told[name]}", told[name].upper() + " "):
        assert_refused(caller.client.get(f"{path}?{urlencode(told | {name: value})}"), 403, "INVALID_SIGNATURE")
    del told[name]
    assert_refused(caller.client.get(f"{path}?{urlencode(told)}"), 403, "INVALID_SIGNATURE")


@each("more", ["utm_source=mail", "signature=1", "stream="])
def test_a_url_with_more_in_it_is_a_400(caller: Caller, url: str, more: str) -> None:
    assert_refused(caller.client.get(f"{url}&{more}"), 400, "INVALID_PARAMETER", f"{more.partition('=')[0]}: is ")


def test_a_url_that_is_no_more_than_a_path_is_a_403_whether_the_stream_exists_or_not(caller: Caller) -> None:
    for path in (f"{caller.prefix}/camera/download", f"{caller.prefix}/nothing/download"):
        assert_refused(caller.client.get(path), 403, "INVALID_SIGNATURE")


def test_a_key_does_not_make_up_for_a_signature(caller: Caller) -> None:
    assert_refused(caller.get("/camera/download?start=0&stop=2"), 403, "INVALID_SIGNATURE")


def test_a_url_gives_nothing_of_another_stream(caller: Caller, url: str) -> None:
    caller.filled(b"other", name="other")
    assert_refused(caller.client.get(url.replace("/camera/", "/other/")), 404, "STREAM_NOT_FOUND")
    assert_refused(caller.client.get(url.replace("/homes/1/", "/homes/2/")), 404, "STREAM_NOT_FOUND")


def test_a_url_does_not_tell_whether_another_stream_exists(caller: Caller, url: str) -> None:
    caller.filled(b"other", name="other")
    answers = [caller.client.get(url.replace("/camera/", f"/{name}/")) for name in ("other", "nothing")]
    told = [(one.status, one.data, {**one.headers, "X-Request-ID": ""}) for one in answers]
    assert_refused(answers[0], 404, "STREAM_NOT_FOUND")
    assert told[0] == told[1]


def test_a_url_is_good_for_a_while(caller: Caller, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expires = int(dict(parse_qsl(urlsplit(url).query))["expires"])
    state = house_of(caller.client).state
    monkeypatch.setattr(state, "now", lambda: expires - 1.0)
    assert caller.client.get(url).data == ALL
    monkeypatch.setattr(state, "now", lambda: expires + 1.0)
    assert_refused(caller.client.get(url), 403, "URL_EXPIRED")


def test_a_url_of_a_deleted_stream_gives_nothing(caller: Caller, url: str) -> None:
    caller.delete("/camera")
    assert_refused(caller.client.get(url), 404, "STREAM_NOT_FOUND")
    caller.filled(*PACKETS)
    assert_refused(caller.client.get(url), 404, "STREAM_NOT_FOUND")


def test_a_url_of_a_home_that_cannot_be_is_a_404(caller: Caller, url: str) -> None:
    assert_refused(caller.client.get(url.replace("/homes/1/", "/homes/01/")), 404, "NOT_FOUND")


# What it gives


def test_packets_come_as_their_bytes_in_order(caller: Caller, url: str) -> None:
    answer = caller.client.get(url)
    assert (answer.status_code, answer.data, answer.content_type) == (200, ALL, "application/octet-stream")
    assert answer.content_length == len(ALL)
    assert re.fullmatch(r"attachment; filename=camera_0-2\.bin", answer.headers["Content-Disposition"])
    told = {name: answer.headers[name] for name in ("Accept-Ranges", "Cache-Control", "Referrer-Policy")}
    assert told == {"Accept-Ranges": "bytes", "Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer"}


@each("spelling", ["ndjson", "NDJSON"])
def test_packets_come_as_lines(caller: Caller, spelling: str) -> None:
    answer = caller.client.get(caller.located(f"start=1&stop=2&format={spelling}"), buffered=True)
    lines = [json.loads(line) for line in answer.data.splitlines()]
    assert [(line["index"], base64.b64decode(line["data"])) for line in lines] == [(1, b"\x00\xff"), (2, b"two")]
    assert answer.content_type == "application/x-ndjson"
    assert ("Content-Length" in answer.headers, answer.headers["Accept-Ranges"]) == (False, "none")


def test_packets_come_as_files(caller: Caller) -> None:
    answer = caller.client.get(caller.located("start=0&stop=9&format=Zip"))
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert tuple(archive.read(name) for name in archive.namelist()) == PACKETS
    assert answer.content_type == "application/zip"


@each("format_", ["ndjson", "zip"])
def test_no_part_is_given_of_what_is_made_on_the_way(caller: Caller, format_: str) -> None:
    answer = caller.client.get(
        caller.located(f"start=0&stop=2&format={format_}"), headers={"Range": "bytes=0-1"}, buffered=True
    )
    assert answer.status_code == 200
    assert "Content-Range" not in answer.headers


@each(
    "asked, first, last",
    [("0-0", 0, 0), ("0-", 0, 8), ("1-4", 1, 4), ("4-5", 4, 5), ("8-8", 8, 8), ("5-999", 5, 8), ("-1", 8, 8), ("-999", 0, 8)],
)
def test_a_part_is_given_as_it_is_asked_for(caller: Caller, url: str, asked: str, first: int, last: int) -> None:
    answer = caller.client.get(url, headers={"Range": f"bytes={asked}"}, buffered=True)
    assert (answer.status_code, answer.data) == (206, ALL[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/9"
    assert answer.content_length == last + 1 - first


@each("asked", ["9-", "9-10", "999-"])
def test_a_part_that_there_is_not_is_a_416(caller: Caller, url: str, asked: str) -> None:
    answer = caller.client.get(url, headers={"Range": f"bytes={asked}"}, buffered=True)
    assert_refused(answer, 416, "RANGE_NOT_SATISFIABLE", "9 bytes")
    assert answer.headers["Content-Range"] == "bytes */9"


@each("asked", ["bytes=0-1,3-4", "bytes=x", "bytes=4-1", "packets=0-1", "bytes", "", "bytes=0-1,99-"])
def test_parts_that_are_not_one_part_are_all_of_it(caller: Caller, url: str, asked: str) -> None:
    answer = caller.client.get(url, headers={"Range": asked}, buffered=True)
    assert (answer.status_code, answer.data, "Content-Range" in answer.headers) == (200, ALL, False)


def test_a_part_is_given_only_of_the_same_bytes(caller: Caller, url: str) -> None:
    etag = caller.client.get(url).headers["ETag"]
    for given, status in ((etag, 206), (f"W/{etag}", 200), ('"other"', 200), ("Mon, 02 Mar 2026 00:00:00 GMT", 200)):
        assert caller.client.get(url, headers={"Range": "bytes=0-1", "If-Range": given}).status_code == status


def test_a_head_is_the_head_of_the_answer(caller: Caller, url: str) -> None:
    head, whole = caller.client.head(url, headers={"Range": "bytes=0-1"}), caller.client.get(url)
    assert (head.status_code, head.data) == (200, b"")
    assert {**head.headers, "X-Request-ID": ""} == {**whole.headers, "X-Request-ID": ""}


@pytest.mark.parametrize(
    ("method", "header"), [("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=99-"}), ("GET", {"Range": "bytes=1-"})]
)
def test_a_download_gives_its_place_free_however_it_ends(
    make_app: Callable[..., Flask], method: str, header: dict[str, str]
) -> None:
    client = make_app(stream_downloads_at_once=1).test_client()
    caller = Caller.with_key(client).filled(*PACKETS)
    url = caller.located("start=0&stop=2")
    for _ in range(3):
        with client.open(url, method=method, headers=header) as answer:
            assert answer.status_code in (200, 206, 416)
    with client.get(url):
        answer = client.get(url)
        assert_refused(answer, 503, "UNAVAILABLE")
        assert "Retry-After" in answer.headers


# Following


def events(text: bytes) -> list[dict[str, str]]:
    """The events of a stream of them, comments as `:`."""
    blocks = [block for block in text.decode().split("\n\n") if block]
    return [dict((line.split(": ", 1) if line != ":" else (":", "")) for line in block.split("\n")) for block in blocks]


def packets_of(text: bytes) -> list[tuple[int, bytes]]:
    told = [one for one in events(text) if "data" in one]
    found = [(int(one["id"]), json.loads(one["data"])) for one in told]
    assert all(set(data) == {"index", "time", "data"} and data["index"] == index for index, data in found)
    return [(index, base64.b64decode(data["data"])) for index, data in found]


def test_a_stream_is_followed_as_server_sent_events(caller: Caller) -> None:
    answer = caller.get("/camera/data?follow=true&start=1&stop=2")
    assert answer.content_type.startswith("text/event-stream")
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
    assert answer.data.startswith(b"retry: 1000\n\n")
    assert packets_of(answer.data) == [(1, b"\x00\xff"), (2, b"two")]


@each("start", ["", "&start=0", "&start=2"])
def test_a_follower_goes_on_after_its_last_event_whatever_the_start(caller: Caller, start: str) -> None:
    answer = caller.get(f"/camera/data?follow=true{start}&stop=2", headers={"Last-Event-ID": "0"}, buffered=True)
    assert packets_of(answer.data) == [(1, b"\x00\xff"), (2, b"two")]


def test_a_follower_who_has_seen_all_is_told_not_to_come_back(caller: Caller) -> None:
    answer = caller.get("/camera/data?follow=true&start=0&stop=2", headers={"Last-Event-ID": "2"})
    assert (answer.status_code, answer.data) == (204, b"")


def test_a_follower_gets_what_comes(caller: Caller) -> None:
    with caller.get("/camera/data?follow=true") as answer:
        parts = answer.iter_encoded()
        assert next(parts) == b"retry: 1000\n\n"
        caller.post("/camera/data", data=b"new")
        assert packets_of(next(part for part in parts if b"data" in part)) == [(3, b"new")]


def test_a_sign_of_life_is_a_comment(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(*_: Any) -> Iterator[list[Packet]]:
        yield []

    monkeypatch.setattr(house_of(caller.client).streams.tail, "follow", follow)
    assert caller.get("/camera/data?follow=true").data == b"retry: 1000\n\n:\n\n"


def test_a_follower_is_asked_for_its_key_again(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    house = house_of(caller.client)
    asked: list[bool] = []

    def follow(stream: object, start: object, stop: object, is_allowed: Callable[[], bool]) -> Iterator[list[Packet]]:
        asked.append(is_allowed())
        house.access.revoke(caller.key_id)
        asked.append(is_allowed())
        yield []

    monkeypatch.setattr(house.streams.tail, "follow", follow)
    assert caller.get("/camera/data?follow=true").data.endswith(b":\n\n")
    assert asked == [True, False]


def test_a_follower_gives_its_place_free_however_it_ends(make_app: Callable[..., Flask]) -> None:
    client = make_app(stream_followers=1).test_client()
    caller = Caller.with_key(client).filled(*PACKETS)
    for method in ("HEAD", "GET", "HEAD", "GET"):
        caller.call(method, "/camera/data?follow=true&start=0&stop=2").close()
    with caller.get("/camera/data?follow=true"):
        assert_refused(caller.get("/camera/data?follow=true"), 503, "UNAVAILABLE")
    with caller.get("/camera/data?follow=true") as answer:
        assert answer.status_code == 200


def test_a_stream_is_fetched_and_followed_over_a_socket(shared_server: Server) -> None:
    headers = {"Authorization": f"ModeCloud {key_of(shared_server.environment)}"}
    stream = f"{shared_server.url}/homes/1/smartModules/sds/streams/camera"
    assert requests.put(stream, headers=headers, timeout=30).status_code == 201
    lines = b"\n".join(b'{"data": "%b"}' % base64.b64encode(packet) for packet in PACKETS)
    sent = requests.post(f"{stream}/data", data=lines, headers={**headers, "Content-Type": "application/x-ndjson"}, timeout=30)
    assert sent.json() == {"start": 0, "stop": 2}
    # requests takes the key along to the same host, and it does no harm there.
    fetched = requests.get(f"{stream}/data?start=0&stop=2", headers={**headers, "Range": "bytes=1-3"}, timeout=30)
    assert (fetched.status_code, fetched.content, len(fetched.history)) == (206, ALL[1:4], 1)
    assert requests.head(fetched.url, timeout=30).headers["Content-Length"] == str(len(ALL))
    with closing(requests.get(f"{stream}/data?follow=1&start=1&stop=3", headers=headers, stream=True, timeout=30)) as followed:
        assert requests.post(f"{stream}/data", data=b"new", headers=headers, timeout=30).status_code == 201
        assert packets_of(followed.content) == [(1, b"\x00\xff"), (2, b"two"), (3, b"new")]

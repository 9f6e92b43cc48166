"""The operator's pages of streams, by HTTP: what they tell, and what they do."""

from __future__ import annotations

import html
import re

import pytest
from flask.testing import FlaskClient

from smarthouse_api.arrow.times import time_text
from smarthouse_api.streams.model import LARGEST_INDEX
from tests.conftest import house_of, on_both_pairs, on_pair
from tests.console.test_operator_pages import Clients, key_of, see, sign_in, submit
from tests.streams.conftest import ANNA, BEN, Recorder, made

environment = on_pair("embedded_pair")

NAME = "a/b <i>%25 ä</i>"
PATH = "/streams/7/m/a%2Fb%20%3Ci%3E%2525%20%C3%A4%3C%2Fi%3E"


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    client = make_client(stream_segment_bytes=1024, stream_tail_seconds=0)
    house_of(client).begin()
    return client


@pytest.fixture
def recorder(client: FlaskClient) -> Recorder:
    """A stream with a name that is hard to write, and somebody who is signed in."""
    sign_in(client, key_of(client)[1])
    return made(house_of(client), NAME)


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


@on_both_pairs
def test_a_stream_is_found_shown_followed_and_deleted(client: FlaskClient, recorder: Recorder) -> None:
    recorder.append(*[b"%d " % number * 300 for number in range(4)])
    recorder.maintain()
    assert recorder.segments()
    recorder.append(b'{"door":"<b>open</b>"}', b"\x00\xff", b"")
    recorder.keep_only(packets=6)
    recorder.maintain()
    house = recorder.house
    house.streams.metadata.put(recorder.stream, 5, {"label": "<u>door</u>"}, BEN)
    mark, _ = house.streams.sessions.add(recorder.stream, 2, 4, ANNA)
    house.streams.sessions.hold(recorder.stream, mark.id, ANNA)
    recorder.open(BEN)

    listed = see(client, "/streams")
    assert f'href="/console/operator{PATH}"' in listed
    assert "a/b <i>%25 ä</i> 7 m" in plain(listed)
    assert "6 packets" in plain(listed)
    assert "Ben since packet 7" in plain(listed)
    page = see(client, PATH)
    assert "<i>" not in page
    assert "<u>" not in page
    told = plain(page)
    for words in (
        "index 6, 20",
        "6 packets, 1.8 kB from index 1 on",
        "Ben writes since packet 7",
        "2 – 4",
        '{"label":"<u>door</u>"}',
    ):
        assert words in told, words
    assert "Delete the session" not in page  # it is held

    packets = see(client, f"{PATH}/packets")
    assert "<b>" not in packets
    told = plain(packets)
    assert re.search(r"Packet 6 .* empty .* Packet 5 .* 0000 00 ff .* Packet 4 .* \"door\": \"<b>open</b>\" .* Packet 1 ", told)
    assert "Packet 0 " not in told
    later = see(client, f"{PATH}/packets?start=3")
    assert "Packet 3 " in plain(later)
    assert f'href="/console/operator{PATH}/packets?start=1"' in later  # the earlier ones, as far as there are any
    data = client.get(f"/console/operator{PATH}/packets/5")
    assert (data.status_code, data.data) == (200, b"\x00\xff")
    assert data.headers["Content-Disposition"].startswith("attachment")
    assert data.headers["X-Content-Type-Options"] == "nosniff"
    see(client, f"{PATH}/packets/0", 404)
    data.close()

    wrong = submit(client, f"{PATH}/delete", word="a/b")
    assert (wrong.status_code, "Nothing was done" in wrong.text) == (400, True)
    seen = dict(re.findall(r'name="(made)" value="([^"]+)"', see(client, PATH)))
    assert submit(client, f"{PATH}/delete", word=f" {NAME}", **seen).status_code == 303
    see(client, PATH, 404)
    assert "None" in see(client, "/streams")


def fragment(client: FlaskClient, query: str) -> str:
    answer = client.get(f"/console/operator{PATH}/packets?{query}", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "<html" not in answer.text
    return answer.text


def test_who_follows_gets_the_new_packets_and_keeps_what_came(client: FlaskClient, recorder: Recorder) -> None:
    recorder.append(*[b"old"] * 30)
    live = see(client, f"{PATH}/packets?live=true")
    assert live.count("<article") == 25
    made_at = time_text(recorder.stream.created_at)
    here = f"/console/operator{PATH}/packets?start=30&amp;live=true&amp;made={made_at}"
    assert f'data-look-every="2" hx-get="{here}" hx-trigger="look" hx-headers=\'{{"Console-Looks": "true"}}\'' in live
    nothing = fragment(client, "start=30&live=true")
    assert ("<article" in nothing, "#came" in nothing) == (False, False)
    assert "start=30&amp;live=true" in nothing
    recorder.append(b"new")
    one = fragment(client, "start=30&live=true")
    assert "Packet 30 " in plain(one)
    assert "start=31&amp;live=true" in one
    assert '<div hx-swap-oob="innerHTML:#came">1 packet came.</div>' in one
    recorder.append(*[b"much"] * 100)
    much = fragment(client, "start=31&live=true")
    assert much.count("<article") == 25
    assert "Left out: packets 31 to 105" in plain(much)
    assert "start=131&amp;live=true" in much
    # Who has stopped goes on one after another.
    stopped = fragment(client, "start=31")
    assert "data-look-every" not in stopped
    assert "Packet 31 " in plain(stopped)
    assert "There are later packets, up to 130" in plain(stopped)
    house_of(client).streams.delete(recorder.stream)
    for is_made_anew in (False, True):
        if is_made_anew:
            made(house_of(client), NAME)
        gone = fragment(client, f"start=31&live=true&made={made_at}")
        assert "The stream was deleted." in gone
        assert ("data-look-every" in gone, 'href="/console/operator/streams"' in gone) == (False, True)
    again = submit(client, f"{PATH}/delete", word=NAME, made=time_text(recorder.stream.created_at))
    assert (again.status_code, "another was made under its name" in again.text) == (409, True)
    see(client, PATH)


def test_holds_and_sessions_are_ended_by_an_operator(client: FlaskClient, recorder: Recorder) -> None:
    sessions = recorder.house.streams.sessions
    recorder.append(b"1", b"2")
    open_ = recorder.open(ANNA, 3600)
    recorder.append(b"3", owner=ANNA)
    reader = key_of(client, export=True)[0]
    mark, _ = sessions.add(recorder.stream, 0, 1, BEN)
    for holder in (reader, BEN.id):
        sessions.hold(recorder.stream, mark.id, type(BEN)("user", holder, ""))
    told = plain(see(client, PATH))
    assert "0 – 1 somebody" in told
    assert "0 – 1 a key that is revoked" in told
    assert "Held by Change 0 – 1 Ben project" in told
    assert submit(client, f"{PATH}/sessions/{mark.id}/delete").status_code == 409
    for key in (reader, BEN.id):
        assert submit(client, f"{PATH}/sessions/{mark.id}/release", key=key).status_code == 303
        assert submit(client, f"{PATH}/sessions/{mark.id}/release", key=key).status_code == 404
    download = recorder.open_download(recorder.query(0, 0))
    assert "a running download" in see(client, PATH)
    assert submit(client, f"{PATH}/sessions/{mark.id}/delete").status_code == 409
    download.close()
    assert submit(client, f"{PATH}/sessions/{mark.id}/delete").status_code == 303
    assert submit(client, f"{PATH}/sessions/{open_.id}/close").status_code == 303
    assert [(one.start, one.stop) for one in sessions.newest(recorder.stream, 9)] == [(2, 2)]
    assert "Any key of the home may append" in see(client, PATH)
    recorder.append(b"4", owner=BEN)
    recorder.open(BEN)
    recorder.append(b"5", owner=BEN)
    recorder.time_out()
    assert "It has timed out" in see(client, PATH)


def test_the_pages_of_streams_take_only_what_they_know(client: FlaskClient, recorder: Recorder) -> None:
    recorder.append(b"x")
    for path in ("/streams?page=0", "/streams?home=x", "/streams?page=1&page=2", "/streams?nothing=1", f"{PATH}?start=1"):
        see(client, path, 400)
    for path in (f"{PATH}/packets?start=-1", f"{PATH}/packets?live=no", f"{PATH}/packets?start={LARGEST_INDEX + 1}"):
        see(client, path, 400)
    for path in (
        "/streams/7/m/none",
        "/streams/x/m/none",
        "/streams/7/m/%FF",
        f"{PATH}/packets/x",
        f"{PATH}/packets/9",
        f"{PATH}?sessions=x",
    ):
        see(client, path, 404)
    assert "1 to 1 of 1" in see(client, "/streams?home=7&module=M&name=&page=")
    for seconds, told in (
        (604800, "7 days"),
        (86400, "24 hours"),
        (180_000, "50 hours"),
        (1_000_001, "1000001 s"),
        (0.5, "0.5 s"),
    ):
        recorder.keep_only(packets=1, bytes=2000, seconds=seconds)
        assert f"1 packet, 2.0 kB, {told}" in plain(see(client, "/streams"))
    assert "None" in see(client, "/streams?home=8")
    assert "None" in see(client, "/streams?page=99")
    actions = ("/delete", "/sessions/x/close", "/sessions/x/delete", "/sessions/x/release")
    for action in actions:
        answer = client.post(f"/console/operator{PATH}{action}", data={"form_token": "x", "word": NAME})
        assert answer.status_code == 403
    for action in actions[1:]:
        assert submit(client, f"{PATH}{action}").status_code == 404
    assert submit(client, "/leave").status_code == 303
    for path in ("/streams", PATH, f"{PATH}/packets", f"{PATH}/packets/0", "/streams/7/m/none"):
        see(client, path, 403)
    assert recorder.packets() == {0: b"x"}

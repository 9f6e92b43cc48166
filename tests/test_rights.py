"""A home's rights over HTTP: it agrees to terms, objects, sees and takes what is held of it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import threading
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import zstandard
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from smarthouse_api.access.keys import Owner
from smarthouse_api.archives import entities
from smarthouse_api.archives import service as service_of_archives
from smarthouse_api.archives import uploads as service_of_uploads
from smarthouse_api.archives.service import EmptyArchive
from smarthouse_api.backups.files import objects_of
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import Gone, NoRoom, TooLarge, Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from smarthouse_api.streams.model import NewPacket
from tests.conftest import (
    HOME,
    OTHER_HOME,
    Server,
    agree,
    house_of,
    on_both_pairs,
    on_every_pair,
    on_pair,
    payload,
    state,
    unzipped,
)
from tests.test_ingest import assert_problem
from tests.test_statistics_export import hours
from tests.waiting import pass_time, soon

environment = on_pair("memory_pair")

Clients = Callable[..., FlaskClient]
Houses = Callable[..., House]

CONSENT, DATA = "/api/ingest/consent", "/api/ingest/data"
AGREED = {"terms": "1.0", "tier": "rows"}


def by(home: str) -> dict[str, str]:
    return {"Home-UUID": home}


def consent(client: FlaskClient, home: str = HOME, **given: Any) -> Any:
    return client.put(CONSENT, json=given or AGREED, headers=by(home))


def send(client: FlaskClient, value: str = "1", home: str = HOME) -> Any:
    return client.post(DATA, data=payload(state(value=value, unit_of_measurement="K")), headers=by(home))


def told_of(client: FlaskClient, query: str = "") -> tuple[dict[str, str], dict[str, Any], str]:
    """The extras of CKAN, the data package and the README of an export."""
    members = unzipped(client.get(f"/api/export/json{query}", buffered=True).data)
    extras = {one["key"]: one["value"] for one in json.loads(members["metadata.json"])["extras"]}
    return extras, json.loads(members["datapackage.json"]), members["README.md"].decode()


# Consent


@on_every_pair
def test_a_consent_is_answered_alike_for_every_home_and_kept_with_its_versions(client: FlaskClient) -> None:
    assert send(client).status_code == 200
    first, stranger = consent(client), consent(client, OTHER_HOME)
    for answer in (first, stranger):
        assert answer.status_code == 200
        assert {**answer.json, "at": ""} == {"message": "Consent recorded", **AGREED, "at": ""}
    assert consent(client).json == first.json  # a repeat changes nothing, not even the time
    assert consent(client, terms="2.0", tier="rows").json["terms"] == "2.0"
    states = house_of(client).states
    assert [one.terms for one in states.consents.of(states.homes.find(HOME))] == ["1.0", "2.0"]
    assert client.put(CONSENT, json=AGREED, headers={"Home_UUID": HOME}).status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"[]", "JSON object"),
        (b'{"terms": "1.0"}', "tier: is missing"),
        (b'{"terms": 1, "tier": "rows"}', "terms: must be a word"),
        (b'{"terms": "1.0", "tier": "rows", "more": 1}', "terms and tier"),
        (json.dumps({"terms": HOME, "tier": "rows"}).encode(), "terms: must be a word"),
        (json.dumps({"terms": HOME.replace("-", ""), "tier": "rows"}).encode(), "terms: must be a word"),
    ],
)
def test_what_is_no_consent_is_a_400_and_is_not_repeated(client: FlaskClient, body: bytes, words: str) -> None:
    assert_problem(client.put(CONSENT, data=body, headers=by(HOME)), 400, words)
    assert house_of(client).states.homes.find(HOME) is None


@on_every_pair
def test_only_terms_that_are_asked_for_are_agreed_to(make_client: Clients) -> None:
    client = make_client(consent_required=True, consent_terms="1.0,2.0")
    assert consent(client).status_code == 200
    assert_problem(consent(client, terms="3", tier="rows"), 400, "1.0 or 2.0")
    assert_problem(client.put(f"{CONSENT}?tier=rows", json=AGREED, headers=by(HOME)), 400, "it takes no parameters")
    assert send(client).status_code == 200
    house_of(client).close()
    newer = make_client(consent_required=True, consent_terms="2.0")
    if house_of(newer).states.homes.find(HOME) is not None:  # the pair in memory keeps nothing
        assert_problem(send(newer, "2"), 403, '"terms": "2.0"')


@on_every_pair
def test_where_it_is_required_an_upload_without_consent_is_a_403_that_says_what_to_do(make_client: Clients) -> None:
    client = make_client(consent_required=True)
    assert_problem(send(client), 403, "PUT /api/ingest/consent")
    assert house_of(client).states.homes.find(HOME) is None
    assert consent(client).status_code == 200
    assert send(client).status_code == 200
    assert send(client).json["duplicate"] is True
    assert client.delete(DATA, headers=by(HOME)).status_code == 200
    assert_problem(send(client), 403, "PUT /api/ingest/consent")  # the consent went with the home


@on_every_pair
def test_a_consent_goes_with_its_home(house: House) -> None:
    agree(house, HOME)
    home = house.states.homes.find(HOME)
    assert home is not None
    assert home.key in house.states.homes.agreed(1)
    house.forgetting.forget(HOME)
    assert house.states.consents.by_terms() == {}
    assert not [name for name, _ in house.state.scan_all("homes") if home.key in name]


@on_both_pairs
def test_exports_count_homes_by_terms_and_never_tell_a_homes_own(make_client: Clients) -> None:
    client = make_client(consent_terms="1.0,2.0")
    send(client)
    assert "consents" not in told_of(client)[0]
    send(client, home=OTHER_HOME)
    agree(house_of(client), HOME)
    consent(client, "33333333-3333-4333-8333-333333333333", terms="2.0", tier="rows")
    homes = {row["home"] for row in json.loads(unzipped(client.get("/api/export/json", buffered=True).data)["json"])}
    for query in ("", *(f"?homes={home}" for home in homes)):
        extras, package, readme = told_of(client, query)
        counted = {"1.0": 1, "2.0": 1, "none": 1}
        assert json.loads(extras["consents"]) == package["consents"] == counted
        assert f"| consents | {extras['consents']} |" in readme
    asked = client.post("/api/export/jobs?formats=json").headers["Location"]
    while house_of(client).states.jobs.maker.work():
        pass
    members = unzipped(client.get(f"{asked}/file", buffered=True).data)
    assert json.loads(members["datapackage.json"])["consents"] == counted


def test_under_strict_a_version_of_few_homes_is_not_told(make_house: Houses) -> None:
    house = make_house(export_privacy="strict", export_min_homes=2, consent_terms="1.0,2.0")
    agree(house, HOME, OTHER_HOME)
    house.states.consents.give(OTHER_HOME, "2.0", "rows")
    house.states.consents.give("33333333-3333-4333-8333-333333333333", "1.0", "rows")
    assert house.states.consents.by_terms(2) == {"1.0": 2, "other": 1}


def test_no_word_of_a_stranger_is_published_as_a_version(make_house: Houses) -> None:
    house = make_house()
    house.states.consents.give(HOME, "call-0123456789", "rows")
    assert house.states.consents.by_terms() == {"other": 1}


@on_both_pairs
def test_a_strict_house_counts_only_homes_that_agreed_long_enough_ago(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=2)
    house, now = house_of(client), datetime.now(UTC)
    for home in (HOME, OTHER_HOME):
        for days in (0, 1):
            body = payload(state(value=str(days), at=f"2026-03-0{days + 1}T10:00:00Z", unit_of_measurement="K"))
            house.states.uploads.receive(Upload(home, body), now - timedelta(days=days))
    agree(house, HOME)
    assert client.get("/api/export/json").status_code == 204
    assert client.get("/api/export/overview").json["rows"] == 0
    consent(client, OTHER_HOME)  # today
    assert client.get("/api/export/json").status_code == 204
    house.states.consents.give(OTHER_HOME, "2.0", "rows", at=now)
    client.delete(DATA, headers=by("33333333-3333-4333-8333-333333333333"))
    assert client.get("/api/export/json").status_code == 204
    tag = client.get("/api/export/overview").headers["ETag"]
    key = house.states.homes.find(OTHER_HOME).key
    house.state.put("homes", f"consent/{key}", b'[["1.0","rows",0]]')
    assert len(json.loads(unzipped(client.get("/api/export/json", buffered=True).data)["json"])) == 4
    answer = client.get("/api/export/overview", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json["rows"]) == (200, 4)


def test_one_address_adds_only_so_many_consents_and_objections_a_day(make_client: Clients) -> None:
    client = make_client(quota_address_consents=3)
    assert consent(client).status_code == consent(client, OTHER_HOME).status_code == 200
    assert client.delete(f"{DATA}?stop=true", headers=by(HOME)).status_code == 200
    for answer in (consent(client, OTHER_HOME), client.delete(f"{DATA}?stop=true", headers=by(OTHER_HOME))):
        assert_problem(answer, 429, "at most 3 consents")
        assert int(answer.headers["Retry-After"]) > 0
    assert client.delete(DATA, headers=by(OTHER_HOME)).status_code == 200


@on_every_pair
def test_a_home_that_only_consented_is_removed_after_some_weeks(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agree(house, HOME, OTHER_HOME)
    house.states.uploads.receive(Upload(OTHER_HOME, payload(state())))
    house.states.consents.expire(lambda: False)
    assert len(house.states.homes.agreed(1)) == 2
    pass_time(house, 31 * 86400, monkeypatch)
    monkeypatch.setattr("smarthouse_api.states.consents._LOOK_SECONDS", 0)
    house.states.consents.expire(lambda: False)
    assert house.states.homes.find(HOME) is None
    assert house.states.consents.of(house.states.homes.find(OTHER_HOME))
    assert not list(house.state.scan_all("homes", "untried/"))


# Objection


@on_every_pair
def test_after_an_objection_uploads_are_a_410_until_there_is_consent(client: FlaskClient) -> None:
    send(client)
    answers = [client.delete(f"{DATA}?stop=true", headers=by(home)) for home in (HOME, OTHER_HOME)]
    assert [answer.status_code for answer in answers] == [200, 200]
    for home in (HOME, OTHER_HOME):
        assert_problem(send(client, "2", home), 410, "PUT /api/ingest/consent")
        assert house_of(client).states.homes.find(home) is None
    assert consent(client).status_code == 200
    assert send(client, "3").status_code == 200
    assert client.delete(DATA, headers=by(HOME)).status_code == 200
    assert send(client, "4").status_code == 200  # this time, nobody objected
    assert_problem(send(client, "2", OTHER_HOME), 410, "objected")


@on_every_pair
def test_only_a_keyed_tag_is_kept_of_a_home_that_objected(house: House) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state())))
    key = house.states.homes.find(HOME).key
    house.forgetting.forget(HOME, objects=True)
    spaces = ("homes", "notes", "jobs", "counts", "damage")
    left = [name for space in spaces for name, _ in house.state.scan_all(space)] + [one.key for one in house.objects.list()]
    tag = house.states.homes.tag(HOME)
    assert not [name for name in left if HOME in name or key in name or tag in name]
    assert len([name for name in left if name.startswith("objected/")]) == 1


def test_the_metrics_tell_when_an_answer_is_sent_and_not_when_it_was_ready(client: FlaskClient) -> None:
    """They may be public, and would tell which homes are known."""

    def seconds() -> float:
        labels = {"route": "/api/ingest/data", "method": "DELETE"}
        return REGISTRY.get_sample_value("smarthouse_request_seconds_sum", labels) or 0.0

    before, held = seconds(), list[float]()
    server = {"gunicorn.socket": SimpleNamespace(hold_until=held.append)}
    assert client.delete("/api/ingest/data", headers=by(HOME), environ_overrides=server).status_code == 200
    assert len(held) == 1
    assert seconds() - before >= house_of(client).forgetting.answer_times.seconds() - 0.05


def test_a_deletion_refuses_what_it_does_not_know(client: FlaskClient) -> None:
    send(client)
    for query in ("stop=yes", "stop=", "stop=true&stop=false", "sotp=true", "stop=True"):
        assert_problem(client.delete(f"{DATA}?{query}", headers=by(HOME)), 400, "stop")
        assert house_of(client).states.homes.find(HOME) is not None


@on_both_pairs
def test_an_objection_holds_in_every_process_at_once(make_house: Houses) -> None:
    one, other = make_house(), make_house()
    other.states.uploads.receive(Upload(HOME, payload(state())))
    one.forgetting.forget(HOME, objects=True)
    with pytest.raises(Gone, match="objected"):
        other.states.uploads.receive(Upload(HOME, payload(state(value="2"))))
    one.states.consents.give(HOME, "1.0", "rows")
    other.states.uploads.receive(Upload(HOME, payload(state(value="2"))))


@on_every_pair
def test_an_objection_between_look_and_commit_keeps_the_upload_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    birth = house.states.homes.birth

    def objected(tag: str, key: str) -> Any:
        monkeypatch.setattr(house.states.homes, "birth", birth)
        house.forgetting.forget(HOME, objects=True)
        return birth(tag, key)

    monkeypatch.setattr(house.states.homes, "birth", objected)
    with pytest.raises(Gone):
        house.states.uploads.receive(Upload(HOME, payload(state())))


class Killed(BaseException):
    """Stands for a `kill -9`."""


def test_an_objection_that_dies_at_any_step_holds_once_it_is_repeated(
    make_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(lease_seconds=0.5)
    commit, left = house.state.commit, [0]

    def dying(space: str, change: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return commit(space, change)

    for step in range(6):
        home = f"{step:08x}-1111-4222-8333-944455556666"
        house.states.uploads.receive(Upload(home, payload(state())))
        left[0] = step
        with monkeypatch.context() as patched:
            patched.setattr(house.state, "commit", dying)
            with pytest.raises(Killed):
                house.forgetting.forget(home, objects=True)
        was_hidden = house.states.homes.find(home) is None
        assert house.states.homes.has_objected(house.states.homes.tag(home)) is was_hidden  # in one commit
        house.forgetting.forget(home, objects=True)
        with pytest.raises(Gone):
            house.states.uploads.receive(Upload(home, payload(state())))
        assert list(house.objects.list("raw/")) == []


# Access and portability


def held(client: FlaskClient, home: str = HOME) -> dict[str, Any]:
    answer = client.get(f"{DATA}?summary=true", headers=by(home))
    assert answer.status_code == 200
    assert answer.json is not None
    return answer.json


def archive(client: FlaskClient, home: str = HOME, **headers: str) -> Any:
    return client.get(DATA, headers={**by(home), **headers}, buffered=True)


def files(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as opened:
        assert opened.testzip() is None
        assert len(set(opened.namelist())) == len(opened.namelist())
        return {name: opened.read(name) for name in opened.namelist()}


def lines(members: dict[str, bytes], name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in members[name].splitlines()]


EMPTY = {"summary.json", "consents.json", "receipts.jsonl", "published/states.jsonl", "records.jsonl", "README.md"} | {
    f"rows/{name}.jsonl" for name in ("states", "statistics")
}


@on_every_pair
def test_a_home_takes_all_that_is_held_about_it_and_nothing_of_another(client: FlaskClient) -> None:
    house, sent = house_of(client), list[bytes]()
    for number, pack in enumerate((zlib.compress, gzip.compress, bytes, zstandard.compress)):
        sent.append(
            pack(json.dumps([state("sensor.anns_oven", str(number), friendly_name="Ann's", unit_of_measurement="K")]).encode())
        )
    sent += [b"no JSON at all", json.dumps(hours("sensor.meter", 2.5)).encode()]
    for body in sent:
        assert client.post(DATA, data=body, headers=by(HOME)).status_code == 200
    send(client, "9999", OTHER_HOME)
    agree(house, HOME, OTHER_HOME)
    for home_id in (7, 8):
        stream, _ = house.streams.catalogue.create(home_id, "m/../x", "camera ä")
        house.streams.appending.append(stream, [NewPacket(b"packet of %d" % home_id)], Owner("user", "k", "k"))
        house.streams.metadata.put(stream, 0, {"of": home_id}, Owner("user", "k", "k"))
    house.states.homes.link(HOME, 7)
    told, members = held(client), files(archive(client).data)
    assert set(members) > EMPTY
    assert sorted(body for name, body in members.items() if name.startswith("uploads/")) == sorted(sent)
    assert {name.rpartition("_")[2].partition(".")[2] for name in members if name.startswith("uploads/")} == {
        "json",
        "json.gz",
        "json.zlib",
        "json.zst",
        "bin",
    }
    kept, published = lines(members, "rows/states.jsonl"), lines(members, "published/states.jsonl")
    assert {(row["entity_id"], row["state"]) for row in kept} == {("sensor.anns_oven", one) for one in "0123"}
    assert all(row["attributes_uploaded"]["friendly_name"] == "Ann's" for row in kept)
    assert published == sorted(published, key=lambda row: row["time"])
    exported = json.loads(unzipped(client.get(f"/api/export/json?homes={published[0]['home']}", buffered=True).data)["json"])
    assert published == exported
    assert [row["mean"] for row in lines(members, "rows/statistics.jsonl")] == [2.5]
    receipts = lines(members, "receipts.jsonl")
    assert sum(one["records"] + one.get("statistics", 0) for one in receipts) == told["records"] == 5
    assert len(receipts) == told["uploads"] == 6
    assert told["bytes"] == sum(map(len, sent))
    assert (told["entities"], told["streams"], told["objected"]) == (2, 1, False)
    assert told["first"] <= told["last"]
    assert (told["consent"]["terms"], [one["terms"] for one in told["consent"]["versions"]]) == ("1.0", ["1.0"])
    assert json.loads(members["consents.json"]) == told["consent"]["versions"]
    assert {**json.loads(members["summary.json"]), "objected": False} == told
    (folder,) = {name.rpartition("/")[0] for name in members if name.startswith("streams/")}
    assert ".." not in folder.split("/")
    (packet,) = lines(members, f"{folder}/packets.ndjson")
    assert base64.b64decode(packet["data"]) == b"packet of 7"
    assert lines(members, f"{folder}/metadata.jsonl")[0]["content"] == {"of": 7}
    whole = b"".join(members.values())
    home, other = (house.states.homes.find(one) for one in (HOME, OTHER_HOME))
    assert home is not None
    assert other is not None
    for secret in (b"9999", HOME.encode(), home.key.encode(), home.tag.encode(), other.key.encode(), b"packet of 8"):
        assert secret not in whole
    assert not [one.key for one in house.objects.list() if HOME in one.key]


@on_both_pairs
def test_an_unknown_home_gets_the_same_files_without_rows_and_adds_nothing(client: FlaskClient) -> None:
    send(client, home=OTHER_HOME)
    house = house_of(client)
    answer, told = archive(client), held(client)
    before = [one.key for one in house.objects.list()], dict(house.state.scan_all("homes"))
    assert (archive(client).data, held(client)) == (answer.data, told)
    assert before == ([one.key for one in house.objects.list()], dict(house.state.scan_all("homes")))
    assert set(files(answer.data)) == EMPTY
    assert told == {
        **dict.fromkeys(("records", "entities", "uploads", "bytes", "expired_uploads", "streams", "collections"), 0),
        **dict.fromkeys(("first", "last", "consent")),
        "objected": False,
    }
    known = archive(client, OTHER_HOME)
    assert set(files(known.data)) - set(files(answer.data)) == {
        name for name in files(known.data) if name.startswith("uploads/")
    }
    assert list(answer.headers.keys()) == list(known.headers.keys())
    assert set(held(client, OTHER_HOME)) == set(told)
    assert archive(client).headers["ETag"] == answer.headers["ETag"]
    part = archive(client, Range="bytes=10-19")
    assert (part.status_code, part.data) == (206, answer.data[10:20])


@on_both_pairs
def test_an_archive_is_kept_until_something_comes_and_parts_are_of_one_file(client: FlaskClient) -> None:
    send(client)
    whole = archive(client)
    etag = whole.headers["ETag"]
    assert int(whole.headers["Content-Length"]) == len(whole.data)
    assert archive(client, **{"If-None-Match": etag}).status_code == 304
    part = archive(client, Range="bytes=100-199", **{"If-Range": etag})
    assert (part.status_code, part.data) == (206, whole.data[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.data)}"
    assert archive(client, Range=f"bytes={len(whole.data)}-").status_code == 416
    send(client, "2")
    assert archive(client, Range="bytes=-5").data == whole.data[-5:]  # who goes on gets the rest of the same file
    newer = archive(client)
    assert newer.headers["ETag"] != etag
    assert len(lines(files(newer.data), "rows/states.jsonl")) == 2
    changed = archive(client, Range="bytes=0-9", **{"If-Range": etag})
    assert (changed.status_code, changed.data) == (200, newer.data)
    unsure = archive(client, Range="bytes=50-")  # it may be the rest of the first file that is wanted
    assert (unsure.status_code, unsure.data) == (200, newer.data)
    sure = archive(client, Range="bytes=50-", **{"If-Range": newer.headers["ETag"]})
    assert (sure.status_code, sure.data) == (206, newer.data[50:])
    assert len(list(house_of(client).objects.list("archives/"))) == 2  # the file and its checksums
    consent(client)
    assert archive(client).headers["ETag"] != newer.headers["ETag"]
    house = house_of(client)
    house.archives.forget(None, {one.name for one in house.archives.shelf._all()}, 0)  # as one that makes room for others
    assert archive(client, Range="bytes=50-").status_code == 200


@on_both_pairs
def test_a_summary_looks_into_the_lake_once_for_what_is_held_and_never_for_a_stranger(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, count = list[str](), entities.count_entities

    def counted(states: Any, key: str) -> int:
        looks.append(key)
        return count(states, key)

    monkeypatch.setattr(entities, "count_entities", counted)
    send(client)
    assert [held(client)["entities"] for _ in range(3)] == [1, 1, 1]
    for _ in range(2):
        assert (held(client, OTHER_HOME)["entities"], archive(client, OTHER_HOME).status_code) == (0, 200)
    assert len(looks) == 1
    assert client.post(DATA, data=payload(state("sensor.other")), headers=by(HOME)).status_code == 200
    assert [held(client)["entities"] for _ in range(2)] == [2, 2]
    assert len(looks) == 2
    assert len(list(house_of(client).state.scan_all("homes", "entities/"))) == 1
    assert client.delete(DATA, headers=by(HOME)).status_code == 200
    assert held(client)["entities"] == 0
    assert list(house_of(client).state.scan_all("homes", "entities/")) == []


def test_an_archive_that_takes_long_is_a_503_that_says_to_ask_again_and_goes_on(
    make_client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    send(client)
    archives, goes_on, makings = house_of(client).archives, threading.Event(), list[str]()
    made = archives.make

    def slowly(*asked: str) -> Any:
        makings.append(asked[0])
        assert goes_on.wait(30)
        return made(*asked)

    monkeypatch.setattr(archives, "make", slowly)
    monkeypatch.setattr(service_of_archives, "_ANSWER_SECONDS", 0.02)
    for _ in range(2):
        answer = archive(client)
        assert_problem(answer, 503, "being made")
        assert answer.headers["Retry-After"] == "5"
    goes_on.set()
    monkeypatch.setattr(service_of_archives, "_ANSWER_SECONDS", 30.0)
    whole = archive(client)
    assert (whole.status_code, len(makings)) == (200, 1)  # who asks again waits for the same
    send(client, "2")
    monkeypatch.setattr(service_of_archives, "_ANSWER_SECONDS", 0.0)  # as if it had taken longer than an answer waits
    assert archive(client).headers["ETag"] == whole.headers["ETag"]  # a home that always sends gets one in the end
    monkeypatch.setattr(service_of_archives, "_ANSWER_SECONDS", 30.0)
    assert archive(client).headers["ETag"] != whole.headers["ETag"]


def test_a_fault_of_a_making_that_nobody_waited_for_is_told_once(make_client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(archive_bytes=1)
    send(client)
    archives = house_of(client).archives
    for _ in range(2):
        with pytest.raises(TooLarge):
            archives._making.wait_for(archives._states.homes.tag(HOME), 30)
    assert archives._making._begun == {}
    assert_problem(archive(client), 413, "larger than")


def test_first_and_last_are_arrivals_of_uploads_whatever_their_states_say(make_client: Clients) -> None:
    client = make_client()
    consent(client)  # a home that has only consented has uploaded nothing yet
    assert (held(client)["first"], held(client)["last"]) == (None, None)
    agreed = held(client)["consent"]["at"]
    send(client)  # its states are of March
    first = held(client)
    assert agreed < first["first"] == first["last"]
    send(client)  # the same bytes
    assert held(client) == first
    send(client, "2")
    assert held(client)["first"] == first["first"] < held(client)["last"]


def test_what_is_no_parameter_of_access_is_a_400(client: FlaskClient) -> None:
    for query in ("summary=yes", "sumary=true", "summary=true&stop=true"):
        assert_problem(client.get(f"{DATA}?{query}", headers=by(HOME)), 400, "summary")


@on_every_pair
def test_an_archive_goes_with_its_home_and_breaks_off(make_house: Houses) -> None:
    house = make_house(purge_wait_seconds=0, purge_delay_seconds=3600)
    house.states.uploads.receive(Upload(HOME, payload(state())))
    opened = house.archives.open(HOME)
    body = opened.body()
    next(body)
    house.forgetting.forget(HOME)
    with pytest.raises((LeaseLost, StopIteration)):
        next(body)
    opened.close()
    assert list(house.objects.list("archives/")) == []
    assert not list(house.state.scan_all("homes", "archive/"))
    assert isinstance(house.archives.open(HOME), EmptyArchive)


@on_both_pairs
def test_a_forget_waits_for_the_making_and_leaves_nothing_of_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state())))
    receipts, forgotten = service_of_uploads.receipts, list[threading.Thread]()

    def forget_meanwhile(*args: Any) -> Any:
        forgotten.append(threading.Thread(target=house.forgetting.forget, args=(HOME,)))
        forgotten[0].start()
        soon(lambda: house.states.homes.find(HOME) is None)
        return receipts(*args)

    monkeypatch.setattr("smarthouse_api.archives.contents.receipts", forget_meanwhile)
    monkeypatch.setattr("smarthouse_api.archives.service._LOOK_SECONDS", 0)
    assert isinstance(house.archives.open(HOME), EmptyArchive)
    forgotten[0].join()
    assert [one.key for one in house.objects.list("archives/")] == []
    assert [one.key for one in house.objects.list("raw/")] == []


@on_both_pairs
def test_streams_that_are_linked_without_any_upload_are_taken_and_forgotten(house: House) -> None:
    stream, _ = house.streams.catalogue.create(7, "m", "camera")
    house.streams.appending.append(stream, [NewPacket(b"alone")], Owner("user", "k", "k"))
    house.states.homes.link(HOME, 7)

    def taken() -> set[str]:
        opened = house.archives.open(HOME)
        try:
            return set(files(b"".join(opened.body())))
        finally:
            opened.close()

    assert "streams/7/m/camera/packets.ndjson" in taken()
    house.forgetting.unlink(7)
    assert list(house.objects.list("archives/")) == []
    assert taken() == EMPTY
    house.states.homes.link(HOME, 7)
    taken()
    house.forgetting.forget_streams(7)
    assert list(house.objects.list("archives/")) == []
    house.states.homes.link(HOME, 8)
    house.streams.catalogue.create(8, "m", "other")
    assert "streams/8/m/other/packets.ndjson" in taken()
    house.forgetting.forget(HOME)
    assert list(house.objects.list("archives/")) == []


@on_both_pairs
def test_archives_are_bounded_and_expire(make_house: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house(archives_kept=2)
    homes = [f"{number:08x}-1111-4222-8333-944455556666" for number in range(3)]
    for home in homes:
        house.states.uploads.receive(Upload(home, payload(state())))
        house.archives.open(home).close()
        pass_time(house, 1, monkeypatch)
    keys = [house.states.homes.find(home).key for home in homes]
    assert {one.key.split("/")[1] for one in house.objects.list("archives/")} == set(keys[1:])
    house.objects.put(f"archives/{keys[0]}/left", [b"by a process that died"])
    house.archives.tidy()
    assert {one.key.split("/")[1] for one in house.objects.list("archives/")} == set(keys[1:])
    pass_time(house, 25 * 3600, monkeypatch)
    house.archives.tidy()  # in this minute, it has been done
    monkeypatch.setattr(house.leases, "claim", lambda *_: True)
    house.archives.tidy()
    assert list(house.objects.list("archives/")) == []


@on_both_pairs
def test_a_stranger_who_has_archives_made_takes_none_from_others_and_breaks_none_off(
    make_house: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(archives_kept=4)
    homes = [f"{number:08x}-1111-4222-8333-944455556666" for number in range(6)]
    for home in homes:
        house.states.uploads.receive(Upload(home, payload(state())))
    names = [house.states.homes.find(home).key for home in homes]

    def have_made(number: int, address: str) -> None:
        house.archives.open(homes[number], house.archives.owner_of(address)).close()
        pass_time(house, 1, monkeypatch)

    def kept() -> list[int]:
        return sorted(names.index(one.name) for one in house.archives.shelf._all())

    have_made(0, "192.0.2.1")
    for number in (1, 2, 3, 4):
        have_made(number, "198.51.100.2")
    assert kept() == [0, 2, 3, 4]
    for number in (3, 2):  # whom nobody has more than: the oldest goes
        house.archives.forget(None, {names[number]}, 0)
    have_made(5, "192.0.2.3")
    have_made(1, "192.0.2.4")
    assert kept() == [0, 1, 4, 5]
    with ExitStack() as sent:
        opened = [house.archives.open(homes[number]) for number in (0, 1, 4)]
        for one in opened:
            sent.callback(one.close)
        have_made(2, "192.0.2.5")
        assert kept() == [0, 1, 2, 4]
        sent.callback(house.archives.open(homes[2]).close)
        with pytest.raises(Unavailable, match="being sent"):
            house.archives.open(homes[3])
        assert files(b"".join(opened[0].body()))
    assert kept() == [0, 1, 2, 4]
    assert len(list(house.objects.list("archives/"))) == 8
    assert "192.0.2" not in str([document.value for _, document in house.state.scan_all("homes", "archive/")])


def test_who_asks_again_and_again_holds_up_no_other_home(make_house: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    house, goes_on, began = make_house(archives_at_once=2), threading.Event(), threading.Event()
    for home in (HOME, OTHER_HOME):
        house.states.uploads.receive(Upload(home, payload(state())))
    archives, tag = house.archives, house.states.homes.tag(HOME)
    made = archives.make

    def slowly(asked: str, owner: str) -> Any:
        if asked == tag:
            began.set()
            assert goes_on.wait(30)
        return made(asked, owner)

    monkeypatch.setattr(archives, "make", slowly)
    with ThreadPoolExecutor(3) as threads:
        try:
            waiting = [threads.submit(archives.open, HOME) for _ in range(2)]
            assert began.wait(30)
            soon(lambda: archives._making._waiting[tag] == 2)
            with pytest.raises(Unavailable, match="being made"):
                archives.open(HOME)
            with pytest.raises(Unavailable, match="being made"):  # in another worker
                archives._have_made(tag, "")
            archives.open(OTHER_HOME).close()
        finally:
            goes_on.set()
        for one in waiting:
            one.result().close()
    assert not archives._making._waiting


def test_an_archive_stops_growing_where_there_is_no_room(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state())))
    looks = iter([None, NoRoom("full")])

    def look(_: Any) -> None:
        if (fault := next(looks)) is not None:
            raise fault

    monkeypatch.setattr(Room, "check", look)
    with pytest.raises(NoRoom, match="full"):
        house.archives.open(HOME)
    assert list(house.objects.list("archives/")) == []


@on_both_pairs
def test_a_damaged_archive_is_made_anew(house: House) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state())))
    house.archives.open(HOME).close()
    (file,) = (one.key for one in house.objects.list("archives/") if not one.key.endswith(".sums"))
    house.objects.put(file, [b"x" * len(house.objects.get(file))])
    opened = house.archives.open(HOME)
    assert set(files(b"".join(opened.body()))) > EMPTY
    opened.close()


def test_an_archive_larger_than_all_may_be_is_a_413(make_client: Clients) -> None:
    client = make_client(archive_bytes=100)
    send(client)
    assert_problem(archive(client), 413, "100 bytes")
    assert list(house_of(client).objects.list("archives/")) == []


@on_both_pairs
def test_no_backup_has_an_archive(house: House) -> None:
    house.states.uploads.receive(Upload(HOME, payload(state())))
    house.archives.open(HOME).close()
    assert not [one.path for one in objects_of(house.objects) if one.path.startswith("archives")]


def test_the_server_has_another_process_make_archives_and_tells_no_uuid(server: Server, capfd: Any) -> None:
    for name in ("Home-UUID", "Home_UUID"):
        answer = requests.put(f"{server.url}{CONSENT}", json=AGREED, headers={name: HOME}, timeout=60)
        assert answer.json()["terms"] == "1.0"
    assert server.upload(HOME, payload(state())).ok
    whole = requests.get(f"{server.url}{DATA}", headers={"Home_UUID": HOME}, timeout=60)
    assert len(lines(files(whole.content), "rows/states.jsonl")) == 1
    rest = requests.get(f"{server.url}{DATA}", headers={**by(HOME), "Range": "bytes=50-"}, timeout=60)
    assert (rest.status_code, rest.content) == (206, whole.content[50:])
    assert requests.delete(f"{server.url}{DATA}?stop=true", headers=by(HOME), timeout=60).ok
    assert server.upload(HOME, payload(state())).status_code == 410
    metrics = requests.get(f"{server.url}/metrics", timeout=60).text
    server.stop()
    told = capfd.readouterr()
    for text in (metrics, told.out, told.err):
        assert HOME[:13] not in text

"""One bit of the state turned over: what needs it is a 503, readiness counts it, and `smarthouse verify` names it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from backends.ports import Change, Put, StoreDamaged, StoreUnfit
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.store_agreement import FORMAT
from smarthouse_api.coordination.store_marks import ObjectMarks
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from smarthouse_api.streams.heads import space_of
from tests.conftest import HOME, OTHER_HOME, house_of, on_pairs, payload, state
from tests.damaging import damage, flipped
from tests.streams.caller import Caller

environment = on_pairs("embedded_pair", "production_pair")

SAYS_WHERE = b"/health/ready says why"


def found(house: House) -> list[tuple[str, str]]:
    return [(one.store, one.name) for one in house.verifying.run(1.0, lambda *_: None)]


def value_of(house: House, space: str, key: str) -> bytes:
    document = house.state.get(space, key)
    assert document is not None
    return document.value


def test_a_damaged_secret_stops_everything_with_a_sentence(make_client: Callable[..., FlaskClient], environment) -> None:
    client = make_client()
    house = house_of(client)
    upload = {"path": "/api/ingest/data", "data": payload(state()), "headers": {"Home-UUID": HOME}}
    assert client.post(**upload).status_code == 200
    assert client.get("/api/export/csv").status_code == 200
    secret = value_of(house, "installation", "secret")
    damage(environment, secret, flipped(secret))
    for ask in (
        lambda: client.delete("/api/ingest/data", headers={"Home-UUID": HOME}),
        lambda: client.get("/api/export/csv"),
        lambda: client.post(**upload),
        lambda: client.get("/homes/7/smartModules/m/streams"),
        lambda: client.post("/restapi/datasource/insert", json={}),
        lambda: client.post("/v2/datasets/list", json={}),
    ):
        answer = ask()
        assert (answer.status_code, SAYS_WHERE in answer.data) == (503, True)
    told, failed = house.health()
    assert failed
    assert told["installation"].startswith("unfit: the document `installation/secret` of the state store is damaged")
    assert told["installation"].endswith("restore a backup")
    assert ("stores", "installation") in found(house)
    with pytest.raises(StoreDamaged):
        Installation(house.state, house.objects).settle()
    damage(environment, flipped(secret), secret)
    assert house.health()[1] is False
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200


def test_a_damaged_packet_or_document_of_one_stream_is_its_own_matter(
    make_client: Callable[..., FlaskClient], environment, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client()
    house = house_of(client)
    logging.getLogger().addHandler(caplog.handler)  # which the application has removed
    house.installation.settle()
    caller = Caller.with_key(client).filled(b"a packet").filled(b"another", name="other")
    assert caller.put("/camera/metadata/0", json={"lens": "wide"}).status_code in (200, 201, 204)
    (stream,) = (one for one in house.streams.catalogue.everything() if one.name == "camera")
    space = space_of(stream.key)
    (entry,) = house.state.read(space, "packets")
    (metadata,) = (name for name, _ in house.state.scan(space, "metadata/"))
    assert found(house) == []
    reads = {"packets 1": "/camera/data?start=0&stop=9", metadata: "/camera/metadata?start=0&stop=9"}
    for whole, name in ((entry.value, "packets 1"), (value_of(house, space, metadata), metadata)):
        assert caller.get(reads[name], follow_redirects=True).status_code == 200
        damage(environment, whole, flipped(whole))
        answer = caller.get(reads[name], follow_redirects=True)
        told_where = b"The packets 0 to 0 are damaged or missing in the log" if name == "packets 1" else SAYS_WHERE
        assert (answer.status_code, told_where in answer.data, stream.key.encode() in answer.data) == (503, True, False)
        assert caller.get("/other/data?start=0&stop=9", follow_redirects=True).data == b"another"
        assert found(house) == [("state", f"documents/{space}/{name}")]
        told, failed = house.health()
        assert (failed, "state store that are damaged: 1;" in told["documents"]) == (False, True)
        damage(environment, flipped(whole), whole)
        assert caller.get(reads[name], follow_redirects=True).status_code == 200
        assert house.health()[0]["documents"] == "none is known to be damaged"
        assert found(house) == []
    logged = caplog.text
    assert stream.key not in logged
    assert "documents/stream-…/packets 1: its checksum is wrong" in logged


def test_verify_goes_on_beyond_damaged_documents(make_house: Callable[..., House], environment) -> None:
    house = make_house()
    house.begin()
    for home in (HOME, OTHER_HOME):
        house.states.uploads.receive(Upload(home, payload(state("sensor.a", home[:4]))))
    house.states.chores.flush()
    one, other = (house.states.homes.find(home) for home in (HOME, OTHER_HOME))
    assert one is not None
    assert other is not None
    receipt, _ = house.state.scan("homes", f"upload/{other.key}/")[0]
    (lost,) = (info.key for info in house.objects.list(f"raw/{other.key}/"))
    house.objects.delete([lost])
    damage(environment, one.key.encode(), flipped(one.key.encode()))
    told = found(house)
    assert {("state", f"documents/homes/{one.name}"), ("objects", lost)} <= set(told)
    assert all("PartDamaged" not in problem.what for problem in house.verifying.run(1.0, lambda *_: None))
    whole = value_of(house, "homes", receipt)
    damage(environment, whole, flipped(whole))
    assert ("state", f"documents/homes/{receipt}") in found(house)


def test_damaged_marks_are_mended_from_the_other_store_or_refused(make_house: Callable[..., House], environment) -> None:
    house = make_house()
    house.installation.settle()
    number = str(FORMAT).encode()
    damage(environment, number, b"4")
    assert Installation(house.state, house.objects).check() == house.installation.id()
    assert value_of(house, "installation", "format") == number
    id_ = value_of(house, "installation", "id")
    damage(environment, id_, flipped(id_))
    with pytest.raises(StoreUnfit, match=r"`installation/id` of the state store is damaged.*run `smarthouse restore`"):
        Installation(house.state, house.objects).settle()
    assert not house.state.is_empty()
    Installation(house.state, house.objects).adopt()
    assert value_of(house, "installation", "id") == id_
    assert Installation(house.state, house.objects).check() == id_.decode()


def test_no_bit_of_the_object_stores_number_makes_it_another(make_house: Callable[..., House]) -> None:
    house = make_house()
    house.installation.settle()
    whole = house.objects.get("installation/format")
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        house.objects.put("installation/format", [bytes(changed)])
        marks = ObjectMarks(house.objects).read()
        assert (marks.number, marks.is_garbled) == (None, True)
    for bare in (str(FORMAT).encode(), str(FORMAT + 1).encode()):
        house.objects.put("installation/format", [bare])
        Installation(house.state, house.objects).settle()
        assert house.objects.get("installation/format") == whole


def test_a_part_with_a_long_name_is_noted_too(make_house: Callable[..., House], environment) -> None:
    house = make_house()
    house.installation.settle()
    house.state.commit("homes", Change(puts=(Put("ü" * 250, b"a value of a long name"),)))
    damage(environment, b"a value of a long name", b"a walue of a long name")
    (told,) = found(house)
    assert told[1].startswith("documents/homes/üüü")
    assert "damaged: 1;" in house.health()[0]["documents"]
    house.state.commit("homes", Change(deletes=("ü" * 250,)))
    assert found(house) == []

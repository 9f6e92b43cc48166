"""Sample homes: loaded by an operator, shown in every figure, looked at as their owner does, and removed without a trace."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from smarthouse_api.house import House
from smarthouse_api.sample.days import DAYS, HOMES, uploads
from tests.conftest import house_of, on_pairs
from tests.console.test_operator_pages import key_of, sign_in

environment = on_pairs("embedded_pair")

Clients = Callable[..., FlaskClient]
NOW = datetime(2026, 3, 8, 17, 52, 31, tzinfo=UTC)


def token(page: str) -> dict[str, str]:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None
    return {"form_token": found[1]}


def test_a_week_is_made_up_that_ends_now_and_is_always_the_same() -> None:
    homes = [list(uploads(number, NOW)) for number in range(HOMES)]
    assert homes[0] == list(uploads(0, NOW))
    assert [len(one) for one in homes] == [DAYS, DAYS - 1, DAYS, DAYS, DAYS, DAYS]
    states = [state for upload in homes[0] for of_entity in upload.states.values() for state in of_entity]
    times = [datetime.fromisoformat(state["last_updated"]) for state in states]
    assert NOW.date() == max(times).date()
    assert max(times) < NOW
    assert len({state["entity_id"] for state in states}) >= 12
    assert {"unavailable", "on", "heat", "home"} <= {state["state"] for state in states}
    assert homes[0] != homes[2]


def test_an_operator_loads_looks_at_and_removes_them(make_client: Clients) -> None:
    client = make_client()
    house = house_of(client)
    house.begin()
    assert 'href="/console/operator/sample"' in client.get("/console/").text
    page = client.get("/console/operator/sample").text
    assert 'name="to" value="sample"' in page
    for what in ("load", "remove", "look"):
        assert client.post(f"/console/operator/sample/{what}", data={"form_token": "x"}).status_code == 403
    key = key_of(client)[1]
    assert client.post("/console/operator", data={"key": key, "to": "sample"}).headers["Location"] == "/console/operator/sample"
    sent = token(client.get("/console/operator/sample").text)
    loaded = client.post("/console/operator/sample/load", data=sent)
    assert (loaded.status_code, loaded.headers["Location"]) == (303, "/console/")
    page = client.get("/console/?show=all").text
    assert "6 homes are made-up samples" in page
    assert "5 of 6 homes have rows in every column" in page
    for figure in ("by-day", "coverage", "measured", "typical", "preview"):
        assert "<table" in page.partition(f'id="{figure}"')[2].partition("</section>")[0], figure
    assert len(re.findall(r"<td>\d\d:00</td>", page.partition('id="typical"')[2])) == 24
    names = re.findall("home_[0-9a-f]{16}", client.get("/console/operator/sample").text)
    assert names == house.samples.names()
    shown = re.findall(r"<tr><td>(\w+)</td><td>(\w+)\.", page.partition('id="preview"')[2])
    assert (len(shown), {home for home, _ in shown}) == (20, set(names))
    assert "sensor" in {kind for _, kind in shown}
    assert client.post("/console/operator/sample/load", data=sent).status_code == 303  # nothing is loaded twice
    assert len(house.states.known_homes.list()) == HOMES
    looked = client.post("/console/operator/sample/look", data=sent)
    assert looked.headers["Location"] == "/console/home"
    own = client.get("/console/home").text
    assert "sensor.living_room_co2" in own
    assert "Sign out" in own
    assert client.post("/console/operator/sample/remove", data=sent).status_code == 303
    assert house.states.known_homes.list() == []
    assert list(house.objects.list("raw/")) == []
    assert "Nothing is here yet" in client.get("/console/").text
    assert "Sign in" in client.get("/console/home").text
    assert client.post("/console/operator/sample/look", data=sent).status_code == 404


def test_nobody_else_loads_or_removes_them(make_client: Clients) -> None:
    client = make_client()
    reader = key_of(client, export=True)[1]
    assert sign_in(client, reader).status_code == 403
    for what in ("load", "remove", "look"):
        assert client.post(f"/console/operator/sample/{what}", data={"form_token": "x"}).status_code == 403
    assert house_of(client).samples.homes() == []
    public = make_client(console="public")
    assert "operator/sample" not in public.get("/console/").text
    assert public.get("/console/operator/sample").status_code == 404


@pytest.mark.parametrize("environment", ["production_pair"], indirect=True)
def test_they_come_and_go_in_production(make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.sample.service.HOMES", 2)
    house = make_house(consent_required="true", consent_terms="1.0,2.0")
    house.begin()
    house.samples.load(NOW)
    assert len(house.samples.names()) == 2
    assert house.states.consents.of(house.samples.homes()[0])[-1].terms == "2.0"
    house.samples.remove()
    house.samples.remove()
    assert house.samples.homes() == []

"""The operator's pages, by HTTP: who gets in and for how long, what they tell, and what they do."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from smarthouse_api.access.sessions import IDLE_SECONDS
from smarthouse_api.collections.model import Definition
from smarthouse_api.erasure.checking import is_for
from tests.access.test_sessions import pass_time
from tests.conftest import HOME, house_of, on_pairs, payload, state

environment = on_pairs("embedded_pair")

Clients = Callable[..., FlaskClient]
PAGES = (
    *("", "/month", "/homes", "/storage", "/storage/day", "/verify", "/collections", "/keys", "/jobs"),
    *("/new-collection", "/collections/example", "/collections/example/definition", "/collections/example/records"),
    "/collections/example/dead-letters",
)


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    client = make_client()
    house_of(client).begin()
    return client


def key_of(client: FlaskClient, **grants: bool) -> tuple[str, str]:
    record, text = house_of(client).access.create("somebody", **(grants or {"admin": True}))  # type: ignore[arg-type]
    return record.id, text


def sign_in(client: FlaskClient, text: str) -> TestResponse:
    return client.post("/console/operator", data={"key": text})


def see(client: FlaskClient, path: str = "", status: int = 200) -> str:
    answer = client.get(f"/console/operator{path}")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (status, "no-store")
    return answer.text


def token(client: FlaskClient) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', see(client))
    assert found is not None
    return found[1]


def submit(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    return client.post(f"/console/operator{path}", data={"form_token": token(client), **fields})


def test_only_an_administrators_key_opens_the_pages(client: FlaskClient) -> None:
    for path in PAGES[1:]:
        see(client, path, 403)
    assert "Sign in" in see(client)
    _, reader = key_of(client, export=True)
    refused = {sign_in(client, text).status_code for text in ("", "nothing", f"shk_{'0' * 12}_{'0' * 64}")}
    assert refused == {401}
    assert sign_in(client, reader).status_code == 403
    assert "Sign in" in see(client)
    _, text = key_of(client)
    answer = sign_in(client, text)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/operator")
    assert {"HttpOnly", "SameSite=Strict", "Path=/console"} <= set(answer.headers["Set-Cookie"].split("; "))
    titles = list[str]()
    for path in PAGES:
        page = see(client, path)
        assert "Sign out" in page
        assert text.rpartition("_")[2] not in page
        titles += re.findall("<title>(.+) · Operator · SmartHouse</title>", page)
    assert len(set(titles)) == len(PAGES), titles
    assert submit(client, "/leave").status_code == 303
    see(client, "/keys", 403)


def test_a_session_ends_with_its_key(client: FlaskClient) -> None:
    access = house_of(client).access
    for end in (access.revoke, access.rotate):
        id_, text = key_of(client)
        assert sign_in(client, text).status_code == 303
        sent = token(client)
        assert "Keys" in see(client, "/keys")
        end(id_)
        see(client, "/keys", 403)
        assert "Sign in" in see(client)
        made = client.post("/console/operator/keys", data={"form_token": sent, "name": "x", "admin": "true"})
        assert made.status_code == 403


def test_a_page_that_looks_by_itself_keeps_no_session_alive(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(client, key_of(client)[1])
    looks = {"HX-Request": "true", "Console-Looks": "true"}
    for headers, then in (({}, 200), (looks, 403)):
        for seconds, status in ((IDLE_SECONDS - 100, 200), (200, then)):
            pass_time(house_of(client), seconds, monkeypatch)
            answer = client.get("/console/operator/collections/example/records?follow=true", headers=headers)
            assert answer.status_code == status
            headers = {}


def test_the_pages_tell_what_the_command_line_tells(client: FlaskClient) -> None:
    assert client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}).status_code == 200
    sign_in(client, key_of(client)[1])
    page = see(client)
    for title in ("Ready", "Homes", "Waiting", "Export jobs", "Lake", "Storage", "Quotas", "Processes", "Last"):
        assert re.search(rf"<h2 [^>]*>{title}", page), title
    assert "<dt>verify</dt><dd>never</dd>" in page
    homes = see(client, "/homes")
    pseudonym = house_of(client).states.known_homes.list()[0].pseudonym
    told = rf'{pseudonym}</a></th><td><time datetime="[-\dT:Z]+" data-local>[-\d: ]+UTC</time></td><td class="number">1</td>'
    assert re.search(rf'{told}<td class="number">1</td>', homes)
    assert HOME not in homes
    wrong = submit(client, "/homes/forget", word=HOME)
    assert (wrong.status_code, HOME in wrong.text) == (400, False)
    assert submit(client, "/homes/forget", word=f"home_{'0' * 16}").status_code == 404
    forgotten = submit(client, "/homes/forget", word=pseudonym)
    assert forgotten.status_code == 303
    place = forgotten.headers["Location"].removeprefix("/console/operator")
    page = see(client, place)
    assert f"{pseudonym} is forgotten" in page
    receipt = re.findall(r'href="(/console/receipts/[0-9a-f]+)"', page)[0]
    assert client.get(receipt).status_code == 200
    see(client, place.replace(pseudonym, f"home_{'0' * 16}"), 404)
    told = client.get(receipt.replace("/console", "/api/ingest")).json["receipt"]
    assert not any(is_for(told, name) for name in (pseudonym, HOME))  # it names nobody
    assert pseudonym not in see(client, "/homes")
    assert house_of(client).states.homes.find(HOME) is None


def test_a_key_is_made_shown_once_rotated_and_revoked(client: FlaskClient) -> None:
    sign_in(client, key_of(client)[1])
    made = submit(client, "/keys", name="<b>a reader</b>", export="true", days="30")
    text = re.search(r"shk_([0-9a-f]{12})_[0-9a-f]{62}", made.text)
    assert text is not None
    assert "&lt;b&gt;a reader" in made.text
    access = house_of(client).access
    assert access.authenticate(f"Bearer {text[0]}").export
    assert text[0] not in see(client, "/keys")
    rotated = submit(client, f"/keys/{text[1]}/rotate")
    new = re.search(r"shk_[0-9a-f]{12}_[0-9a-f]{62}", rotated.text)
    assert new is not None
    for works in (text[0], new[0]):  # the old one for an hour
        assert access.authenticate(f"Bearer {works}").id == text[1]
    wrong = submit(client, f"/keys/{text[1]}/revoke", word="another")
    assert (wrong.status_code, "Nothing was done" in wrong.text) == (400, True)
    assert submit(client, f"/keys/{text[1]}/revoke", word=text[1]).status_code == 303
    assert text[1] not in see(client, "/keys")
    assert submit(client, f"/keys/{text[1]}/rotate").status_code == 404
    assert client.get(f"/console/operator/keys/{text[1]}/rotate").headers["Location"] == "/console/operator/keys"
    catalogue = house_of(client).collections.catalogue
    catalogue.create(Definition(id="meters", name="Meters", alias="m"))
    for fields, told in (
        ({"name": "opens <nothing>"}, "A key must open something"),
        ({"name": "", "admin": "true"}, "No key was made"),
        ({"name": "x", "admin": "true", "days": "soon"}, "It must be a whole number"),
        ({"name": "x", "datasets": "example, metres"}, "There is no collection metres. There are: meters."),
        ({"name": "x", "datasources": "m"}, "m is an alias. Write the id: meters."),
        ({"name": "x", "datasources": "<x>"}, "There is no collection <x>. There are: "),
    ):
        answer = submit(client, "/keys", **fields)
        assert (answer.status_code, told in unescape(answer.text)) == (400, True), fields
        for name, value in fields.items():
            assert f'name="{name}" value="{escape(value)}"' in answer.text
    assert submit(client, "/keys", name="x", datasets="meters").status_code == 200
    german = client.get("/console/operator/keys", headers={"Accept-Language": "de"}).text
    assert ("<td>alles</td>" in german, "<td>Datasets: meters</td>" in german) == (True, True)
    assert len(text[0]) < 80


def test_a_job_is_cancelled(client: FlaskClient) -> None:
    client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME})
    job = client.post("/console/jobs", data={}, content_type="application/x-www-form-urlencoded").headers["Location"]
    id_ = job.rpartition("/")[2]
    sign_in(client, key_of(client)[1])
    assert id_ in see(client, "/jobs")
    assert client.post(f"/console/operator/jobs/{id_}/cancel", data={"form_token": "x"}).status_code == 403
    assert submit(client, f"/jobs/{id_}/cancel").status_code == 303
    assert house_of(client).states.jobs.view(id_).state == "cancelled"


def test_a_form_of_another_page_or_without_the_token_does_nothing(client: FlaskClient) -> None:
    id_, text = key_of(client)
    sign_in(client, text)
    sent = token(client)
    paths = (
        "/keys",
        f"/keys/{id_}/rotate",
        f"/keys/{id_}/revoke",
        "/leave",
        "/new-collection",
        "/new-collection/check",
        "/collections/example/delete",
        "/collections/example/definition",
        "/collections/example/definition/check",
        "/collections/example/definition/draft",
        "/collections/example/dead-letters",
        "/collections/example/dead-letters/x",
        "/collections/example/dead-letters/x/check",
        "/homes/forget",
    )
    for path in paths:
        for fields in ({}, {"form_token": "x"}):
            told = {"word": id_, "name": "x", "admin": "true", **fields}
            assert client.post(f"/console/operator{path}", data=told).status_code == 403
        answer = client.post(
            f"/console/operator{path}", data={"form_token": sent}, headers={"Origin": "https://elsewhere.example"}
        )
        assert answer.status_code == 403
    assert len(house_of(client).access.list()) == 2  # the first one, and this
    assert "Sign out" in see(client)


def test_the_pages_can_be_left_out(make_client: Clients) -> None:
    client = make_client(console="public")
    assert client.get("/console/operator").status_code == 404
    assert client.post("/console/operator", data={"key": "x"}).status_code == 404
    assert "Operator" not in client.get("/console/").text
    assert client.get("/console/home").status_code == 200
    few = make_client(rights_rate_address="2/minute")
    assert [sign_in(few, "x").status_code for _ in range(3)] == [401, 401, 429]

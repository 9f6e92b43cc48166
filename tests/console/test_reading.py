"""A researcher's session, where rows need a key: who gets in, what is the same as with the API, and when it ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import house_of, on_pairs, rows
from tests.console.lake import ROWS
from tests.console.test_data_page import FRAGMENT, count_of, filled, see, work
from tests.waiting import pass_time

environment = on_pairs("embedded_pair")

Clients = Callable[..., FlaskClient]


def key_of(client: FlaskClient, **grants: Any) -> tuple[str, str]:
    record, text = house_of(client).access.create("Anna", **(grants or {"export": True}))
    return record.id, text


def sign_in(client: FlaskClient, key: str, **fields: str) -> TestResponse:
    return client.post("/console/sign-in", data={"key": key, **fields})


def token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("settings", "grant", "refused", "words"),
    [
        ({"export_access": "key"}, "export", "ingest", "holders of a key only"),
        ({"export_access": "tiers"}, "export", "ingest", "There are none yet"),
        ({"export_privacy": "raw"}, "admin", "export", "as they were uploaded"),
    ],
)
def test_a_key_that_opens_rows_opens_the_pages(
    make_client: Clients, settings: dict[str, str], grant: str, refused: str, words: str
) -> None:
    client = filled(make_client(**settings))
    asked = "?units=%C2%B0C&format=json"
    answer = client.get(f"/console/{asked}")
    assert (answer.status_code, answer.headers["WWW-Authenticate"], answer.headers["Cache-Control"]) == (
        401,
        "Bearer",
        "no-store",
    )
    assert words in answer.text
    assert '<input type="hidden" name="units" value="°C">' in answer.text
    assert "sensor" not in answer.text
    for path in ("preview", "take", "jobs/0123", "jobs/0123/file", "?show=all"):
        assert "sensor" not in see(client, path, 401)
    assert client.get("/console/", headers=FRAGMENT).status_code == 401
    assert client.post("/console/jobs", data={"types": "sensor"}).status_code == 401
    assert sign_in(client, f"shk_{'0' * 12}_{'0' * 64}").status_code == 401
    assert sign_in(client, key_of(client, **{refused: True})[1]).status_code == 403
    led = sign_in(client, f" {key_of(client, **{grant: True})[1]}", units="°C", format="json")
    assert (led.status_code, led.headers["Location"]) == (303, f"/console/{asked}")
    assert {"HttpOnly", "SameSite=Strict", "Path=/console"} <= set(led.headers["Set-Cookie"].split("; "))
    whole = client.get(f"/console/{asked}&show=all", headers={"Accept-Encoding": "gzip"})
    assert (whole.headers["Cache-Control"], "ETag" in whole.headers) == ("no-store", False)
    assert "Content-Encoding" not in whole.headers  # with the token of a form, its length would tell
    assert count_of(whole.text) == 264
    assert "Authorization: Bearer $KEY" in whole.text


def test_what_is_taken_is_noted_for_the_key_as_by_the_api(make_client: Clients) -> None:
    client = filled(make_client(export_access="key"))
    house, (id_, text) = house_of(client), key_of(client)
    sign_in(client, text)
    page = see(client, "?units=°C")
    assert 'href="/console/take?units=%C2%B0C"' in page
    taken = client.get("/console/take?units=°C&format=json&types=&every=", buffered=True)
    assert len(rows(taken.data)) == 264
    assert taken.headers["Content-Disposition"].startswith("attachment")
    noted = next(iter(house.downloads.since(0)))
    assert (noted.key, noted.name, noted.rows, noted.is_whole, noted.path) == (id_, "Anna", 264, True, "/console/take")
    assert text not in noted.query
    made = client.post("/console/jobs", data={"types": "sensor", "form_token": token(page)})
    job = made.headers["Location"].removeprefix("/console/")
    work(client)
    file = re.search(r'href="(/console/jobs/[0-9a-f]+/file)"', see(client, job))
    assert file is not None
    assert client.get(file[1], buffered=True).status_code == 200
    assert [one.path for one in house.downloads.since(0)] == ["/console/take", "/console/jobs/{uuid}/file"]
    other = client.application.test_client()
    sign_in(other, key_of(client)[1])
    for path in (job, f"{job}/file"):
        see(other, path, 404)
    again = client.application.test_client()
    assert f'name="job" value="{job.removeprefix("jobs/")}"' in see(again, job, 401)
    assert sign_in(again, text, job=job.removeprefix("jobs/")).headers["Location"] == f"/console/{job}"
    assert client.get("/api/export/csv").status_code == 401  # the cookie opens nothing outside the console


def test_a_form_needs_the_sessions_token_and_a_sign_in_leads_nowhere_else(make_client: Clients) -> None:
    client = filled(make_client(export_access="key"))
    _, text = key_of(client)
    for fields in ({"to": "https://elsewhere.example"}, {"colour": "red"}):
        assert sign_in(client, text, **fields).status_code == 400
    assert sign_in(client, text, job="//elsewhere.example/").headers["Location"].startswith("/console/jobs/")
    page = see(client)
    for fields in ({}, {"form_token": "x"}):
        assert client.post("/console/jobs", data={"types": "sensor", **fields}).status_code == 403
        assert client.post("/console/sign-out", data=fields or {"form_token": ""}).status_code == 403
    assert (
        client.post("/console/sign-in", data={"key": text}, headers={"Origin": "https://elsewhere.example"}).status_code == 403
    )
    assert house_of(client).states.jobs.views() == []
    assert client.post("/console/sign-out", data={"form_token": token(page)}).status_code == 303
    see(client, status=401)


def test_a_session_ends_with_its_key_by_itself_and_by_rate(make_client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    client = filled(make_client(export_access="key"))
    access = house_of(client).access
    for end in (access.revoke, access.rotate):
        id_, text = key_of(client)
        sign_in(client, text)
        assert count_of(see(client)) == ROWS
        end(id_)
        see(client, status=401)
    sign_in(client, key_of(client)[1])
    pass_time(house_of(client), 1900, monkeypatch)
    see(client, status=401)
    operator = client.application.test_client()
    operator.post("/console/operator", data={"key": key_of(client, admin=True)[1]})
    page = see(operator)  # an operator reads, too
    assert count_of(page) == ROWS
    assert "/console/sign-out" not in page
    assert operator.post("/console/jobs", data={"form_token": token(page)}).status_code == 303
    few = make_client(export_access="key", rights_rate_address="2/minute")
    assert [sign_in(few, "x").status_code for _ in range(3)] == [401, 401, 429]

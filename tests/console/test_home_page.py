"""The owner's page, by HTTP: who gets in, what it shows, what it does, and what no other page can do."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, house_of, on_pairs, payload, rows, state, unzipped
from tests.console.lake import PERSON, UPLOADS
from tests.erasure.asking import keep
from tests.waiting import pass_time

environment = on_pairs("embedded_pair")

Clients = Callable[..., FlaskClient]


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    client = make_client()
    for home, body in UPLOADS.items():
        assert client.post("/api/ingest/data", data=body, headers={"Home-UUID": home}).status_code == 200
    return client


def sign_in(client: FlaskClient, uuid: str = HOME) -> str:
    """The page behind the door."""
    answer = client.post("/console/home", data={"uuid": uuid})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/home")
    return see(client)


def see(client: FlaskClient, query: str = "") -> str:
    answer = client.get(f"/console/home{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Encoding" not in client.get("/console/home", headers={"Accept-Encoding": "gzip"}).headers
    return answer.text


def token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def submit(client: FlaskClient, what: str, page: str, **fields: str) -> TestResponse:
    return client.post(f"/console/home/{what}", data={"form_token": token(page), **fields})


def test_the_owner_sees_what_was_given_and_what_is_published_of_it(client: FlaskClient) -> None:
    page = sign_in(client)
    assert re.findall(r"<dd>([\d,.]+)", page)[:3] == ["58", "4", "1"]
    exported = rows(client.get("/api/export/json", buffered=True).data)
    pseudonym = re.search(r"<code>(home_[0-9a-f]{16})</code>", page)
    assert pseudonym is not None
    own = {row["entity_id"] for row in exported if row["home"] == pseudonym[1]}
    told = dict(re.findall(r'#history"[^>]*>([^<]+)</a></th>.*?\n\s*<td>([^<]+)</td><td>[^<]*</td>', page))
    assert set(told) == {"sensor.kitchen_temperature", "sensor.bath_humidity", "binary_sensor.front_door", PERSON}
    assert set(told.values()) == own
    assert told[PERSON] != PERSON
    assert HOME not in page
    numbers = see(client, address(page, "sensor.kitchen_temperature", "&days=7"))
    assert "48 states; least 18.5" in numbers
    assert 'class="line"' in numbers
    assert see(client, address(page, "sensor.kitchen_temperature", "&days=1")).count("24 states; least") > 0
    words = see(client, address(page, "binary_sensor.front_door"))
    assert 'class="word0"' in words
    assert "Nothing is there of these days" in see(client, address(page, "sensor.bath_humidity", "&until=2020-01-01&days=1"))
    part = "from=2026-03-01T06:00Z&to=2026-03-01T18:30Z"
    closer = see(client, address(page, "sensor.kitchen_temperature", f"&{part}"))
    assert "13 states; least" in closer
    assert '<time datetime="2026-03-01T06:00:00Z" data-local>2026-03-01 06:00 UTC</time>' in closer
    buttons = re.findall(r'<a class="button" href="([^"]+)">(\w[\w ]+)</a>', closer)
    moves = {title: unescape(link) for link, title in buttons}
    assert "from=2026-02-28T17%3A30Z&to=2026-03-01T06%3A00Z" in moves["Earlier"]
    assert "from=2026-03-01T09%3A07Z&to=2026-03-01T15%3A22Z" in moves["Closer"]
    assert "from=2026-02-28T23%3A45Z&to=2026-03-02T00%3A45Z" in moves["Wider"]
    assert "days=7&until=2026-03-01" in moves["Whole days"]
    drawn = re.search(r'data-from="(\d+)" data-to="(\d+)" data-page="/console/home\?entity=[0-9a-f]{20}&', closer)
    assert drawn is not None
    assert int(drawn[2]) - int(drawn[1]) == 12.5 * 3600 + 1
    wrong = ["?days=2", "?until=yesterday", "?colour=red", "?days=1&days=7", "?page=0", "?page=x", "?page=100000"]
    wrong += [
        "?from=now&to=x",
        f"?{part[:22]}",
        "?to=2026-03-01T06:00Z&from=2026-03-01T06:00Z",
        "?from=2026-03-01&to=2026-03-02",
    ]
    for query in (*wrong, "?from=0001-01-01T00:00%2B01:00&to=2026-01-01T00:00Z"):
        assert client.get(f"/console/home{query}").status_code == 400


def address(page: str, entity: str, more: str = "") -> str:
    """The query that shows an entity, as the page links it."""
    link = re.search(rf'href="/console/home([^"#]+)#history"[^>]*>{re.escape(entity)}</a>', page)
    assert link is not None
    return unescape(link[1]).replace("&days=7", "") + (more or "&days=7")


def test_the_owner_sees_what_became_of_each_upload(make_client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client()
    house, now = house_of(client), datetime.now(UTC)
    monkeypatch.setattr("blueprints.console.given._ON_A_PAGE", 2)
    bodies = [*(b"<no JSON>%d" % n for n in range(3)), payload(state(), state("sensor.y"))]
    for days, body in enumerate(reversed(bodies)):
        house.states.uploads.receive(Upload(HOME, body), now - timedelta(days=2 * days))
    house.states.uploads.receive(Upload(HOME, bodies[3]))  # the same again
    page = sign_in(client)
    arrived = page.partition('id="arrivals"')[2].partition("</section>")[0]
    assert re.findall(r'<td class="number">(\d)</td><td class="number">(\d)</td>', arrived)[-2:] == [("0", "0"), ("2", "1")]
    assert "3 of 7 columns are empty" in arrived
    listed = page.partition('id="uploads"')[2].partition("</section>")[0]
    assert listed.count('<th scope="row"><time ') == 2
    newest, older = listed.split('<th scope="row">')[1:]
    assert now.strftime("%Y-%m-%d %H:%M") in newest
    assert "in the lake" in newest
    assert "the same came again" in newest
    assert "The body is not JSON" in older
    following = re.search(r'href="([^"]+)" rel="next"', listed)
    assert following is not None
    second = see(client, unescape(following[1]).removeprefix("/console/home").partition("#")[0])
    assert "Page 2 of 2" in second
    assert 'rel="next"' not in second
    assert client.get("/console/home?page=3").status_code == 404
    assert 'id="uploads"' not in sign_in(client.application.test_client(), OTHER_HOME)


def test_no_address_and_no_log_names_an_entity(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    page = sign_in(client)
    shown = see(client, address(page, PERSON))
    assert PERSON in shown
    addresses = re.findall(r'(?:href|action|src|data-page)="([^"]+)"', page + shown)
    assert len(addresses) > 20
    names = [one for one in re.findall(r"[\w.]+", page) if re.fullmatch(r"(?:sensor|binary_sensor|person)\.\w+", one)]
    assert len(set(names)) >= 4
    for name in {name.partition(".")[2] for name in names}:
        assert not any(name in one for one in addresses)
        assert name not in caplog.text
    assert address(page, PERSON) == address(shown, PERSON)  # a reload shows the same
    lost = client.application.test_client()
    assert "of an earlier session" in (sign_in(lost) and see(lost, address(page, PERSON)))
    assert address(see(lost), PERSON) != address(page, PERSON)


def test_a_gap_is_a_gap(make_client: Clients) -> None:
    client = make_client()
    hours = [f"2026-03-01T{hour:02}:00:00Z" for hour in (0, 1, 2, 3, 15, 16)]
    sent = [state("sensor.x", str(n), at, unit_of_measurement="W") for n, at in enumerate(hours)]
    sent.append(state("sensor.x", "unavailable", "2026-03-01T01:30:00Z", unit_of_measurement="W"))
    client.post("/api/ingest/data", data=payload(*sent), headers={"Home-UUID": HOME})
    page = sign_in(client)
    line = re.search(r'class="line" d="([^"]+)"', page)
    assert line is not None
    assert line[1].count("M") == 3


def test_an_unknown_home_a_malformed_uuid_and_nothing_at_all_get_the_same_words(client: FlaskClient) -> None:
    pages = []
    for uuid in (OTHER_HOME, "no uuid", "", f"urn:uuid:{HOME}"):
        page = sign_in(client, uuid)
        pages.append(page.replace(token(page), ""))
        assert submit(client, "leave", page).status_code == 303
    assert len(set(pages)) == 1
    assert "Nothing is held about this home" in pages[0]


def test_the_uuid_is_in_no_cookie_page_store_and_log(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.post("/console/home", data={"uuid": HOME})
    cookie = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/console"} <= set(cookie.split("; "))
    house = house_of(client)
    home = house.states.homes.find(HOME)
    assert home is not None
    kept = [document.value for _, document in house.state.scan_all("access", "session/")]
    assert len(kept) == 1
    for secret in (HOME, home.key, home.tag, cookie.partition("=")[2].partition(";")[0]):
        assert secret not in cookie.partition(";")[2] + answer.headers["Location"] + caplog.text
        assert secret.encode() not in kept[0]
    secure = client.post("/console/home", data={"uuid": HOME}, base_url="https://localhost")
    assert secure.headers["Set-Cookie"].startswith("__Secure-smarthouse_home=")
    assert "Secure" in secure.headers["Set-Cookie"].split("; ")


def test_a_form_without_the_sessions_token_does_nothing(client: FlaskClient) -> None:
    page = sign_in(client)
    for fields in ({}, {"form_token": "x"}, {"form_token": ""}):
        for what in ("forget", "consent", "leave"):
            answer = client.post(f"/console/home/{what}", data={"uuid": HOME, "terms": "1", "tier": "rows", **fields})
            assert (answer.status_code, answer.mimetype) == (403, "text/html")
    for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "same-site"}):
        told = {"form_token": token(page), "uuid": HOME}
        assert client.post("/console/home/forget", data=told, headers=headers).status_code == 403
        assert client.post("/console/home", data={"uuid": HOME}, headers=headers).status_code == 403
    another = client.application.test_client()
    assert another.post("/console/home/forget", data={"form_token": token(page), "uuid": HOME}).status_code == 403
    assert another.get("/console/home/archive").status_code == 403
    assert house_of(client).states.homes.find(HOME) is not None


def test_the_owner_takes_everything_along_and_agrees(client: FlaskClient) -> None:
    page = sign_in(client)
    answer = client.get("/console/home/archive", buffered=True)
    assert answer.status_code == 200
    assert len(unzipped(answer.data)["rows/states.jsonl"].splitlines()) == 58
    agreed = submit(client, "consent", page, terms="1.0", tier="rows")
    assert agreed.status_code == 303
    assert re.search(r"<li>1.0, rows: <time", see(client))
    assert submit(client, "consent", see(client), terms="<b>", tier="rows").status_code == 400
    page = sign_in(client, OTHER_HOME)  # a home that has never uploaded agrees, and stays signed in
    assert submit(client, "consent", page, terms="1.0", tier="rows").status_code == 303
    assert "<li>1.0, rows" in see(client)


def receipt_of(answer: TestResponse, client: FlaskClient) -> str:
    """The page to which a deletion leads, in no session."""
    assert (answer.status_code, "smarthouse_home=;" in answer.headers["Set-Cookie"]) == (303, True)
    page = client.application.test_client().get(answer.headers["Location"])
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
    return page.text


def test_the_owner_forgets_the_home_and_gets_a_receipt(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    other = client.application.test_client()
    sign_in(other)
    page = sign_in(client)
    wrong = submit(client, "forget", page, uuid=OTHER_HOME)
    assert (wrong.status_code, "Nothing was erased" in wrong.text) == (400, True)
    assert house_of(client).states.homes.find(HOME) is not None
    answer = submit(client, "forget", page, uuid=HOME.upper())
    known = receipt_of(answer, client)
    assert "Your home is forgotten" in known
    assert (known.count("not erased yet"), known.count("<dt>State store <small>sqlite</small></dt>")) == (4, 1)
    receipt = re.search(r'href="(/api/ingest/receipts/[0-9a-f]+)"', known)
    assert receipt is not None
    told: Any = client.get(receipt[1]).json
    assert told["receipt"]["state"] == "hidden"
    for time in ("asked_at", "told_at", "expires_at"):
        assert f'<time datetime="{told["receipt"][time][:16]}' in known
    assert client.get(f"{answer.headers['Location'][:-1]}x").status_code == 404
    assert house_of(client).states.homes.find(HOME) is None
    for one in (client, other):  # the other session has ended with the home
        assert "Sign in" in see(one)
        assert one.get("/console/home/archive").status_code == 403
    unknown = submit(client, "forget", sign_in(client, OTHER_HOME), uuid=OTHER_HOME, stop="true")
    assert re.sub(r"[0-9a-f]{116}|\d\d:\d\d:\d\d", "", receipt_of(unknown, client)) == re.sub(
        r"[0-9a-f]{116}|\d\d:\d\d:\d\d", "", known
    )
    upload = client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": OTHER_HOME})
    assert upload.status_code == 410
    house = house_of(client)
    pass_time(house, 1000, monkeypatch)
    keep(house)
    pass_time(house, 1000, monkeypatch)
    read = house.receipts.read
    erased = client.get(answer.headers["Location"]).text
    assert "Erased from every store." in erased
    assert (erased.count("<dd>erased <time"), "Look again" in erased) == (3, False)
    binned = {"waits_for": "bin", "bin_empty_at": told["receipt"]["expires_at"]}
    monkeypatch.setattr(
        house.receipts,
        "read",
        lambda id_: read(id_) | {"state": "pending", "stores": [one | binned for one in read(id_)["stores"]]},
    )
    pending = client.get(answer.headers["Location"]).text
    assert "A store has not emptied its bin yet" in pending
    assert pending.count("its bin will be empty <time") == 3


def test_a_session_ends_by_itself_by_leaving_and_by_rate(
    client: FlaskClient, make_client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = sign_in(client)
    pass_time(house_of(client), 1000, monkeypatch)
    assert "Sign out" in see(client)
    pass_time(house_of(client), 1700, monkeypatch)  # it went on with that page
    assert "Sign out" in see(client)
    pass_time(house_of(client), 1900, monkeypatch)
    assert "Sign out" not in see(client)
    assert submit(client, "forget", page, uuid=HOME).status_code == 403
    page = sign_in(client)
    left = submit(client, "leave", page)
    assert "smarthouse_home=;" in left.headers["Set-Cookie"]
    assert "Sign out" not in see(client)
    few = make_client(rights_rate_address="2/minute")
    assert [few.post("/console/home", data={"uuid": "x"}).status_code for _ in range(3)] == [303, 303, 429]


def test_where_uploads_need_a_key_the_owner_shows_both(make_client: Clients) -> None:
    client = make_client(ingest_access="key")
    access = house_of(client).access
    id_, key = (record := access.create("homes", ingest=True))[0].id, record[1]
    sent = {"Home-UUID": HOME, "Authorization": f"Bearer {key}"}
    assert client.post("/api/ingest/data", data=UPLOADS[HOME], headers=sent).status_code == 200
    assert "takes uploads by key only" in see(client)
    for wrong, status in (("", 401), ("x", 401), (access.create("r", export=True)[1], 403)):
        for uuid in (HOME, OTHER_HOME):  # the same for each home
            assert client.post("/console/home", data={"uuid": uuid, "key": wrong}).status_code == status
    assert client.post("/console/home", data={"uuid": HOME, "key": key}).status_code == 303
    page = see(client)
    assert "sensor.kitchen_temperature" in page
    assert submit(client, "consent", page, terms="1.0", tier="rows").status_code == 303
    page = see(client)
    access.revoke(id_)
    assert "Sign out" not in see(client)
    assert submit(client, "forget", page, uuid=HOME).status_code == 403
    assert client.get("/console/home/archive").status_code == 403

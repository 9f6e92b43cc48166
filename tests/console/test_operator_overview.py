"""The operator's overview, storage, homes and findings, by HTTP: what is wrong and what to do, over time, page by page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape

import msgspec
import pytest
from flask.testing import FlaskClient

from backends.ports import Change
from blueprints.console import alert_words, operator_homes
from smarthouse_api.archives.uploads import receipts
from smarthouse_api.house import House
from smarthouse_api.states import listed_uploads
from smarthouse_api.states.uploads import Upload
from smarthouse_api.status.history import LAST_DAY, LAST_MONTH, History
from tests.conftest import HOME, OTHER_HOME, house_of, on_pairs, payload, state
from tests.console.test_operator_pages import key_of, see, sign_in, submit
from tests.status.test_alerts import EVERY

environment = on_pairs("embedded_pair")

THIRD_HOME = "3b7c1f6e-1111-4222-8333-944455556663"
HOUR = 3600


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    client = make_client()
    house_of(client).begin()
    sign_in(client, key_of(client)[1])
    return client


def note(house: House, monkeypatch: pytest.MonkeyPatch, at: int, **figures: int) -> None:
    """Note figures as if it were that time. The session would end if it stayed so."""
    with monkeypatch.context() as then:
        then.setattr(house.state, "now", lambda: float(at))
        then.setattr(house.leases, "claim", lambda *_: True)
        History(house.state, house.leases, lambda: figures).keep()


def hours_ago(house: House, hours: int) -> int:
    """The beginning of an hour."""
    return (int(house.state.now()) // HOUR - hours) * HOUR


def named(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def plots(page: str) -> dict[str, str]:
    """The sentences of the plots, by their titles."""
    found = re.findall(r'<h3 id="trend-\d+">([^<]+)</h3>.*?aria-label="([^"]+)"', page, re.DOTALL)
    return {unescape(title): unescape(sentence) for title, sentence in found}


def test_the_last_day_and_month_are_drawn_with_their_numbers_and_gaps(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = see(client)
    assert "Nothing is noted yet" in page
    assert "which speaks English: <code>smarthouse status</code>" in page
    assert "0; <code>smarthouse homes list --silent 7d</code> lists them" in page
    house = house_of(client)
    begin = hours_ago(house, 4)
    for step, uploads in ((0, 100), (1, 103), (2, 107), (26, 112)):  # a gap of two hours
        figures = {"uploads": uploads, "records": 1000 * uploads, "bytes": 10 * uploads, "waiting_seconds": 60 * step}
        note(house, monkeypatch, begin + 300 * step, **figures, active=step, **{"free/state": 10**9 + step})
    day = see(client)
    told = plots(day)
    assert told["Uploads"] == "12 in 24 hours, at most 7 in one of them. A grey column: not known."
    assert told["Age of the oldest upload that waits for the lake"] == "26 min now; between 0 s and 26 min. A gap: not known."
    assert told["Free, in the store with the least"].startswith("1.0 GB now")
    assert "0 all the time: Export jobs that wait or run, Dead letters, Damaged files." in day
    assert f'{named(begin + 2 * HOUR)}</time></td><td class="number">5</td><td class="number">5,000</td>' in day
    assert f'{named(begin + HOUR)}</time></td><td class="number">–</td>' in day
    line = re.search(r'Homes that sent something.*?class="line" d="([^"]+)"', day, re.DOTALL)
    assert line is not None
    assert line[1].count("M") == 2, "a gap is no line"
    month = see(client, "/month")
    assert plots(month)["Uploads"] == "5 in 32 days, at most 5 on one of them. A grey column: not known."
    assert (day.count('role="img"'), month.count('role="img"')) == (6, 6)
    days = tuple(name for name, _ in house.state.scan_all("status", "history/day/"))
    house.state.commit("status", Change(deletes=days))
    assert "Nothing is noted yet" in see(client, "/month")
    assert not house.history.last(LAST_MONTH).figures.get("uploads")
    assert house.history.last(LAST_DAY).figures["uploads"]


def test_each_alert_has_words_and_a_way_out(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.kind for one in EVERY} == set(alert_words._WORDS)
    monkeypatch.setattr("blueprints.console.operator_overview.alerts", lambda *_: [])
    assert "All is well" in see(client)
    monkeypatch.setattr("blueprints.console.operator_overview.alerts", lambda *_: EVERY)
    page = unescape(see(client))
    assert page.count('class="note alert') == len(EVERY)
    assert page.count("Urgent:") == 4
    for words in (
        "The installation cannot be served: state.",
        "An upload has waited 15 min for the lake.",
        "have not been erased for 4 h",
        "The object store has 1,000 MB free.",
        "A quota is nearly reached: 91 %.",
        "3 homes have sent nothing for a day",
        "<code>smarthouse backup",
        "101 records were refused",
    ):
        assert words in page, words


def test_storage_tells_what_uses_it_what_is_free_and_how_long_it_lasts(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = house_of(client)
    assert "Objects are not counted yet" in see(client, "/storage")
    house.states.uploads.receive(Upload(HOME, payload(state())))
    house.states.chores.flush()
    house.housekeeper.census.go_on(lambda: False)
    monkeypatch.setattr(house.room, "free", lambda: [10 * 10**9, None])
    for hour in range(0, 25, 12):
        sizes = {"stored/lake": 10**6 * hour, "stored/packets": 0, "free/state": 11 * 10**9 - 10**9 * hour // 24}
        note(house, monkeypatch, hours_ago(house, 24 - hour), **sizes)
    page = see(client, "/storage")
    rows = re.findall(r'<th scope="row"[^>]*>([^<]+)</th><td class="number">([^<]+)</td><td class="number">(\d+) %', page)
    told = {name: (size, int(share)) for name, size, share in rows}
    assert {"Uploads as they came", "Lake", "files with its rows", "State store"} <= told.keys()
    assert sum(share for name, (_, share) in told.items() if "files with" not in name and "log" not in name) in range(98, 103)
    house.states.uploads.receive(Upload(HOME, payload(state("sensor.later", "1"))))
    house.states.chores.flush()
    later = see(client, "/storage")  # a part is of the same time as its whole
    of_lake = '(Lake|files with its rows)</th><td class="number">([^<]+)</td>.*?class="number">([^<]*)</td></tr>'
    assert re.findall(of_lake, later) == re.findall(of_lake, page) != []
    assert re.search("Quotas <small><time", later)
    assert "At the pace of this time it lasts 9 days" in page
    assert "unknown: the store does not tell" in page
    assert plots(page) == {"Lake": "24.0 MB now; between 0 bytes and 24.0 MB. A gap: not known."}
    assert "Last day" in see(client, "/storage/day")
    monkeypatch.setattr(house.room, "free", lambda: [10**6, 10**12])
    assert "Below the floor: nothing new is taken." in see(client, "/storage")


def test_verify_is_never_run_then_sound_then_tells_its_problems(client: FlaskClient) -> None:
    assert "Never run" in see(client, "/verify")
    house = house_of(client)
    house.states.uploads.receive(Upload(HOME, payload(state())))
    assert list(house.verifying.run(0.05, lambda *_: None)) == []
    page = see(client, "/verify")
    assert ("found no problem" in page, "It read 5 % of the files" in page) == (True, True)
    (raw,) = house.objects.list("raw/")
    house.objects.put(raw.key, [b"other bytes"])
    assert len(list(house.verifying.run(1, lambda *_: None))) == 1
    page = see(client, "/verify")
    assert "The last verify found 1 problem." in page
    assert "does not have the SHA-256" in page
    home = house.states.homes.find(HOME)
    assert home is not None
    kept = house.state.get("status", "verify")
    assert kept is not None
    for secret in (home.key, HOME, *re.findall("[0-9a-f]{16,}", raw.key)):
        assert (secret in page, secret.encode() in kept.value) == (False, False)
    house.state.commit("status", Change(deletes=("verify",)))
    assert "1 more is not kept here." in see(client, "/verify"), "an earlier version kept the number alone"


def test_homes_come_page_by_page_silent_ones_first(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    house = house_of(client)
    for home in (OTHER_HOME, HOME, THIRD_HOME):
        house.states.uploads.receive(Upload(home, payload(state())))
    monkeypatch.setattr(operator_homes, "_HOMES", 2)
    named = {one.home.tag: one.pseudonym for one in house.states.known_homes.list()}
    names = [named[house.states.homes.tag(home)] for home in (OTHER_HOME, HOME, THIRD_HOME)]
    first, second = see(client, "/homes"), see(client, "/homes/page/2")
    assert re.findall(r"home_[0-9a-f]{16}(?=</a>)", first) == names[:2]
    assert re.findall(r"home_[0-9a-f]{16}(?=</a>)", second) == names[2:]
    assert ("Page 1 of 2" in first, 'rel="next"' in first, 'rel="next"' in second) == (True, True, False)
    for path in ("/homes/page/3", "/homes/page/0", f"/homes/home_{'0' * 16}", "/homes/anything", f"/homes/{HOME}"):
        assert HOME not in see(client, path, 404)


def test_uploads_of_a_home_are_told_the_newest_first(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    house = house_of(client)
    first = Upload(HOME, payload(state(), {"entity_id": "sensor.x"}))
    house.states.uploads.receive(first)
    house.states.chores.flush()
    for value in ("1", "2"):
        house.states.uploads.receive(Upload(HOME, payload(state(value=value))))
    house.states.uploads.receive(Upload(OTHER_HOME, payload(state())))
    (one,) = (one for one in house.states.known_homes.list() if one.kept.uploads == 3)
    page = see(client, f"/homes/{one.pseudonym}")
    assert len(re.findall(r"waits for the lake", page)) == 2
    assert "1 value is no state" in page
    assert "came again" not in page
    assert house.states.uploads.receive(first).duplicate
    told = house.states.uploads.listed(one.home.key, 0, 10)
    assert [upload.ignored for upload in told.uploads] == [0, 0, 1]
    repeated = told.uploads[-1].repeated_us
    assert repeated is not None
    assert house.states.uploads.receive(first).duplicate
    assert house.states.uploads.listed(one.home.key, 2, 1).uploads[0].repeated_us == repeated, "noted once a minute"
    assert "the same came again" in see(client, f"/homes/{one.pseudonym}")
    monkeypatch.setattr(operator_homes, "_UPLOADS", 2)
    assert "the same came again" not in see(client, f"/homes/{one.pseudonym}")
    assert "the same came again" in see(client, f"/homes/{one.pseudonym}/page/2")
    monkeypatch.setattr(listed_uploads, "MOST_READ", 2)
    assert "Only 2 of the uploads were looked at" in see(client, f"/homes/{one.pseudonym}")
    for text in (HOME, one.home.key):
        assert text not in page
    archived = b"".join(receipts(house.state, one.home.key))
    assert msgspec.json.decode(archived.splitlines()[0]).keys() >= {"received"}
    assert b'"repeated":"20' in archived
    other = submit(client, "/homes/forget", word=one.pseudonym, home=f"home_{'0' * 16}")
    assert (other.status_code, f'name="home" value="{one.pseudonym}"' in page) == (400, True), "a home's page forgets no other"
    assert submit(client, "/homes/forget", word=one.pseudonym, home=one.pseudonym).status_code == 303
    see(client, f"/homes/{one.pseudonym}", 404)

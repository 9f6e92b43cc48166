"""The Data page and the pages of jobs, by HTTP: what they tell, to whom, and how a browser has to treat them."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from smarthouse_api.errors import StoreUnavailable
from tests.conftest import HOME, OTHER_HOME, agree, house_of, on_pairs, payload, rows, state
from tests.console.lake import DAYS, GAP, HOMES, PERSON, ROWS, UPLOADS

environment = on_pairs("embedded_pair")

Clients = Callable[..., FlaskClient]
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FRAGMENT = {"HX-Request": "true"}
HTMX = "491955cd1810747d7d7b9ccb936400afb760e06d25d53e4572b64b6563b2784e"


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    return filled(make_client())


def filled(client: FlaskClient) -> FlaskClient:
    for home, body in UPLOADS.items():
        assert client.post("/api/ingest/data", data=body, headers={"Home-UUID": home}).status_code == 200
    house_of(client).states.chores.flush()
    return client


def see(client: FlaskClient, path: str = "", status: int = 200, **options: Any) -> str:
    """The page at a path below the console, as text."""
    answer = client.get(f"/console/{path}", **options)
    assert answer.status_code == status, answer.text
    assert answer.content_type == "text/html; charset=utf-8"
    return answer.text


def count_of(page: str) -> int:
    """How many rows pass the filters, as the page says it."""
    told = re.search(r'<h2 id="count">([\d,]+) row', page)
    assert told is not None
    return int(told[1].replace(",", ""))


def test_a_browser_is_led_to_the_console_and_a_program_is_not(make_client: Clients) -> None:
    client = make_client()
    led = client.get("/", headers=BROWSER)
    assert (led.status_code, led.headers["Location"]) == (303, "/console/")
    for accept in ("*/*", "application/json", None):
        answer = client.get("/", headers={} if accept is None else {"Accept": accept})
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert client.post("/", headers=BROWSER).status_code == 404
    off = make_client(console="off")
    for path in ("/", "/console/", "/console/static/x/console.css"):
        answer = off.get(path, headers=BROWSER)
        assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_an_empty_lake_says_how_the_first_data_comes_with_lines_that_work(make_client: Clients) -> None:
    client = make_client()
    page = see(client)
    assert "Nothing is here yet" in page
    assert page.index("integrations/home_assistant") < page.index("Add integration")
    load, remove = (shlex.split(unescape(line)) for line in re.findall(r"<code data-origin>(.*?)\n</code>", page, re.DOTALL))
    name, _, uuid = load[load.index("-H") + 1].partition(": ")
    body = load[load.index("--data-binary") + 1].encode()
    assert client.post(load[1], data=body, headers={name: uuid}).json["records"] == 3  # type: ignore[index]
    page = see(client)
    assert "1 upload is waiting" in page
    assert "Nothing is here yet" not in page
    house_of(client).states.chores.flush()
    page = see(client)
    assert "waiting" not in page
    assert count_of(page) == 3
    assert remove[remove.index("DELETE") + 1] == load[1]
    assert client.delete(load[1], headers={name: uuid}).status_code == 200
    assert "Nothing is here yet" in see(client)


def test_the_page_tells_what_is_there(client: FlaskClient) -> None:
    page = see(client)
    assert count_of(page) == ROWS
    tiles = re.search(r'<dl class="tiles">(.*?)</dl>', page, re.DOTALL)
    assert tiles is not None
    assert re.findall(r"<dd>([\d,.]+)", tiles[1])[:3] == ["6", f"{ROWS:,}", "2"]
    options = re.findall(r'name="(\w+)" value="([^"]+)"> <span>[^<]*</span> <small>([\d,]+)</small>', page)
    assert ("types", "sensor", "308") in options
    assert ("units", "°C", "264") in options
    assert ("device_classes", "door", "6") in options
    coverage = page.partition('id="coverage"')[2].partition("</section>")[0]
    assert "5 of 6 homes have rows in every column" in coverage
    assert sorted(re.findall(r'<td class="number">(\d of \d)</td>', coverage)) == ["1 of 2", *["2 of 2"] * 5]
    assert "Show it" in page
    whole = see(client, "?show=all")
    preview = whole.partition('id="preview"')[2]
    shown = [re.findall(r"<td>([^<]+)</td>", row)[:3] for row in re.findall(r"<tr>(<td>.*?)</tr>", preview)]
    assert list(Counter(home for home, *_ in shown).values()) == [4, 4, 3, 3, 3, 3]  # one has a gap that day
    assert set(Counter(map(tuple, shown)).values()) == {1, 2}  # of humidity and temperature
    hours = re.findall(r"<td>(\d\d:00)</td>(.*)</tr>", whole.partition('id="typical"')[2])
    assert len(hours) == 24
    # Of the six homes' means from midnight to one; the home with a gap is held at its last state for a day.
    assert re.findall(r"[\d.]+(?=<)", hours[0][1]) == ["20.75", "23", "25", "6"]
    for hidden in ("zoe", "quimby", "oven", HOME[:8]):
        assert hidden not in whole.lower()


@pytest.mark.parametrize("time_field", ["updated", "received"])
@pytest.mark.parametrize(
    "query",
    [
        "",
        "units=°C",
        "types=sensor&types=binary_sensor",
        f"date_from={DAYS[1]}&device_classes=humidity",
        f"date_to={DAYS[0]}",
        "types=light",
    ],
)
def test_the_count_is_that_of_the_download(client: FlaskClient, query: str, time_field: str) -> None:
    page = see(client, f"?{query}&time_field={time_field}")
    taken = client.get(f"/console/take?{query}&time_field={time_field}&format=json&every=")
    assert taken.status_code == 303
    answer = client.get(taken.headers["Location"], buffered=True)
    assert count_of(page) == (0 if answer.status_code == 204 else len(rows(answer.data)))


def test_what_a_form_leaves_empty_is_not_chosen(client: FlaskClient) -> None:
    answer = client.get("/console/?types=sensor&units=&date_from=&date_to=&every=&format=csv", headers=FRAGMENT)
    assert answer.headers["HX-Push-Url"] == "/console/?types=sensor"
    assert answer.text.lstrip().startswith('<div id="data">')
    taken = client.get("/console/take?date_from=&units=%25&format=parquet&every=1h&clock=local")
    assert taken.headers["Location"] == "/api/export/parquet?units=%25&every=1h&clock=local"
    again = client.get("/console/", headers={**FRAGMENT, "HX-History-Restore-Request": "true"})
    assert again.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("colour=red", "colour: is not a parameter here"),
        ("date_from=yesterday", "Bad date format"),
        ("date_from=2026-03-01&date_from=2026-03-02", "date_from: is repeated"),
        ("format=pdf", "is not a format here"),
        ("time_field=<script>", "time_field"),
        ("types=%3Cimg+src=x%3E&x%3Cb%3E=1", "x&lt;b&gt;: is not a parameter here"),
    ],
)
def test_a_wrong_address_is_a_page_that_says_what_is_wrong(client: FlaskClient, query: str, told: str) -> None:
    answer = client.get(f"/console/?{query}", headers={"X-Request-ID": "request-7"})
    assert (answer.status_code, answer.content_type) == (400, "text/html; charset=utf-8")
    assert told in answer.text
    assert "request-7" in answer.text
    assert "<script>" not in answer.text


def test_no_page_runs_or_loads_what_is_not_its_own(client: FlaskClient) -> None:
    job = client.post("/console/jobs", data={"types": "sensor"}).headers["Location"]
    found = [client.get(f"/console/{path}") for path in ("?show=all", "preview", "typical?units=%25", "nothing", "static/1/x")]
    for answer in (
        *found,
        client.get(job),
        client.get("/console/", headers=FRAGMENT),
        client.get("/console/static/1/console.js"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert (answer.headers["X-Content-Type-Options"], answer.headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        if answer.mimetype == "text/html":
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?! src=)", answer.text)
            links = re.findall(r'\s(?:href|src|action|formaction|hx-get)="([^"]*)"', answer.text)
            assert all(link.startswith(("/console/", "/docs", "/api/export/", "#", "data:,")) for link in links), links


def test_many_values_are_shown_on_demand_and_found(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blueprints.console.data._MOST_OPTIONS", 2)

    def types(query: str) -> list[str]:
        return re.findall(r'name="types" value="(\w+)"', see(client, query))

    page = see(client)
    link = re.search(r'id="options-types">.*?href="([^"]+)">Show 1 more<', page, re.DOTALL)
    assert link is not None
    assert link[1] == "/console/?options=all"
    assert types("") == ["sensor", "binary_sensor"]
    assert types("?options=all") == ["sensor", "binary_sensor", "person"]
    assert types("?types=person") == ["sensor", "binary_sensor", "person"]  # what is chosen stays
    assert types("?find=BINARY&types=person") == ["binary_sensor", "person"]
    assert 'name="find" value="BINARY"' in see(client, "?find=BINARY")
    assert see(client, f"?find={'x' * 101}", 400)
    taken = client.get("/console/take?find=BINARY&options=all&day_clock=local&types=sensor")
    assert taken.headers["Location"] == "/api/export/csv?types=sensor"


def test_a_typical_day_goes_by_the_homes_own_clocks_if_asked(make_client: Clients) -> None:
    client = make_client()
    hours = [f"2026-03-01T{hour:02}:00:00+02:00" for hour in range(24)]
    for home in HOMES:
        sent = [state("sensor.x", "20" if n >= 14 else "10", at, unit_of_measurement="W") for n, at in enumerate(hours)]
        assert client.post("/api/ingest/data", data=payload(*sent), headers={"Home-UUID": home}).status_code == 200
    house_of(client).states.chores.flush()
    found = {}
    for clock, words in (("utc", "day in UTC."), ("local", "own clock.")):
        page = see(client, f"typical?units=W&day_clock={clock}", headers=FRAGMENT)
        assert words in page
        assert "the band the middle 80 % of homes" in page
        found[clock] = dict(re.findall(r"<td>(\d\d):00</td><td[^>]*>[^<]*</td><td[^>]*>([^<]*)<", page))
    assert (found["utc"]["11"], found["utc"]["12"]) == ("10", "20")
    assert (found["local"]["13"], found["local"]["14"]) == ("10", "20")
    assert 'name="day_clock" value="local"' in see(client, "?units=W&day_clock=local&show=all")


def test_text_from_homes_is_escaped(make_client: Clients) -> None:
    client = make_client(export_privacy="raw")
    house = house_of(client)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {house.access.create('operator', admin=True)[1]}"
    hostile = "\"><script>alert(1)</script>&'"
    sent = state("sensor.x", hostile, unit_of_measurement=hostile, device_class=hostile)
    assert client.post("/api/ingest/data", data=payload(sent), headers={"Home-UUID": HOME}).status_code == 200
    house.states.chores.flush()
    page = see(client, "?show=all")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    chosen = re.search(r'name="units" value="([^"]+)"', page)
    assert chosen is not None
    assert count_of(see(client, query_string={"units": unescape(chosen[1]), "show": "all"})) == 1


def test_a_row_of_1971_and_one_of_next_year_hide_no_day_from_the_plots(make_client: Clients) -> None:
    client = make_client()
    minutes = [f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z" for n in range(1100)]
    times = ["1971-01-01T00:00:00Z", *minutes, "2027-06-01T00:00:00Z"]
    sent = payload(*(state("sensor.x", str(n), at, unit_of_measurement="W") for n, at in enumerate(times)))
    assert client.post("/api/ingest/data", data=sent, headers={"Home-UUID": HOME}).json["records"] == 1102  # type: ignore[index]
    house_of(client).states.chores.flush()
    page = see(client, "?show=all")
    assert "Not drawn: 1 row before Mar 1, 2026; 1 row after Mar 1, 2026." in page
    assert page.partition('id="preview"')[2].count("2026-03-01T00:") > 20
    assert len(page) < 60_000
    whole = see(client, "?date_from=1970-01-01")
    assert "Rows per year" in whole
    assert "Not drawn" not in whole


def test_the_preview_shows_what_the_file_would_hold(make_client: Clients) -> None:
    client = filled(make_client())
    means = see(client, "?show=all&units=%25&every=1h").partition('id="preview"')[2]
    heads = re.findall(r'<th scope="col">(\w+)</th>', means)
    exported = rows(client.get("/api/export/json?units=%25&every=1h", buffered=True).data)
    assert heads == list(exported[0])
    shown = [tuple(re.findall(r"<td>([^<]+)</td>", row))[:2] for row in re.findall(r"<tr>(<td>.*?)</tr>", means)]
    assert len(shown) == 20
    assert {home for home, _ in shown} <= {row["home"] for row in exported}
    assert "the means are made of" in see(client, "?units=%25&every=1h")


def test_one_row_of_tomorrow_is_not_all_of_the_preview(make_client: Clients) -> None:
    client = filled(make_client())
    sent = payload(state("sensor.x", "1", "2026-03-03T08:00:00Z", unit_of_measurement="W"))
    assert client.post("/api/ingest/data", data=sent, headers={"Home-UUID": HOME}).status_code == 200
    house_of(client).states.chores.flush()
    shown = see(client, "?show=all").partition('id="preview"')[2]
    assert shown.count("<tr><td>") == 20
    assert shown.index("2026-03-03T08:00") < shown.index("2026-03-02T")


def test_strict_privacy_tells_no_more_than_an_export(make_client: Clients) -> None:
    client = filled(make_client(export_privacy="strict", export_min_homes=7))
    agree(house_of(client), *HOMES)
    page = see(client, "?show=all")
    assert (count_of(page), "°C" in page, "home_" in page) == (0, False, False)
    client = filled(make_client(export_privacy="strict", export_min_homes=6, enrolled_after_days=1))
    agree(house_of(client), *HOMES)
    page = see(client, "?show=all")
    exported = client.get("/api/export/json", buffered=True)
    assert count_of(page) == len(rows(exported.data))
    assert 0 < count_of(page) < ROWS
    assert "Least" not in page
    assert "Columns with rows" not in page


def test_rotating_pseudonyms_name_no_home_twice(make_client: Clients) -> None:
    client = filled(make_client(export_pseudonyms="rotating"))
    first, second = (client.get("/console/?show=all") for _ in range(2))
    assert "ETag" not in first.headers
    assert "home_" not in first.text.partition('id="preview"')[0]
    names = [set(re.findall(r"home_[0-9a-f]+", one.text)) for one in (first, second)]
    assert len(names[0]) == 6
    assert not names[0] & names[1]


def test_a_forgotten_home_is_gone_at_the_next_click(client: FlaskClient) -> None:
    before = client.get("/console/")
    assert client.delete("/api/ingest/data", headers={"Home-UUID": GAP}).status_code == 200
    after = client.get("/console/?show=all", headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert "6 of" not in after.text
    assert "5 of 5 homes have rows in every column" in after.text


def test_a_browser_keeps_a_page_until_the_lake_changes(client: FlaskClient) -> None:
    first = client.get("/console/", headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert set(first.headers["Vary"].split(", ")) >= {"Accept-Encoding", "Accept-Language", "HX-Request"}
    assert len(first.data) < 10_000
    assert b"<h1>" in gzip.decompress(first.data)
    known = {"If-None-Match": first.headers["ETag"]}
    again = client.get("/console/", headers={**known, "Accept-Encoding": "gzip"})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get("/console/", headers={**known, **FRAGMENT}).status_code == 200
    assert client.get("/console/", headers={**known, "Accept-Language": "de"}).status_code == 200
    sent = payload(state("sensor.y", "1", unit_of_measurement="W"))
    client.post("/api/ingest/data", data=sent, headers={"Home-UUID": OTHER_HOME})
    assert client.get("/console/", headers=known).status_code == 200  # an upload is waiting


def test_a_page_speaks_the_language_of_its_reader(client: FlaskClient) -> None:
    spoken = ("pt-BR,pt;q=0.9", "pt", "Cobertura"), ("de-AT", "de", "Abdeckung"), ("fr", "en", "Coverage")
    for accepted, language, title in spoken:
        page = see(client, headers={"Accept-Language": accepted})
        assert f'<html lang="{language}">' in page
        assert f'<h2 id="coverage">{title}</h2>' in page


def test_below_a_sub_path_every_link_holds(client: FlaskClient) -> None:
    below = {"SCRIPT_NAME": "/lake"}
    pages = [client.get(f"/console/{path}", environ_overrides=below) for path in ("?show=all&types=sensor", "nothing")]
    for answer in pages:
        links = re.findall(r'\s(?:href|src|action|formaction|hx-get)="([^"]*)"', answer.text)
        assert len(links) > 5
        assert all(link.startswith(("/lake/", "#", "data:,")) for link in links), links
    assert client.get("/", headers=BROWSER, environ_overrides=below).headers["Location"] == "/lake/console/"
    taken = client.get("/console/take?types=sensor", environ_overrides=below)
    assert taken.headers["Location"] == "/lake/api/export/csv?types=sensor"


def test_a_program_with_a_key_sees_what_it_opens(make_client: Clients) -> None:
    client = filled(make_client(export_access="key"))
    key = house_of(client).access.create("reader", export=True)[1]
    assert count_of(see(client, headers={"Authorization": f"Bearer {key}"})) == ROWS
    see(client, status=401, headers={"Authorization": "Bearer x"})


def test_too_many_requests_and_outages_are_pages_too(make_client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(export_rate_address="2/minute")
    assert [client.get("/console/").status_code for _ in range(3)] == [200, 200, 429]
    assert int(client.get("/console/").headers["Retry-After"]) > 0
    client = make_client()

    def fail(*_: Any) -> None:
        raise StoreUnavailable("a secret place")

    monkeypatch.setattr(house_of(client).states.contents, "answer", fail)
    answer = client.get("/console/")
    assert (answer.status_code, answer.headers["Retry-After"], answer.mimetype) == (503, "5", "text/html")
    assert "secret place" not in answer.text


def test_a_lake_that_is_not_counted_yet_has_a_page_that_looks_again(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.contents.service._MOST_ROWS_AT_ONCE", 0)
    answer = client.get("/console/?units=°C")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert '<meta http-equiv="refresh" content="5">' in answer.text
    assert "being counted" in answer.text
    assert 'href="/console/?units=°C"' in answer.text
    assert client.get("/api/export/overview").headers["Retry-After"] == "5"


def work(client: FlaskClient) -> None:
    while house_of(client).states.jobs.maker.work():
        pass


def test_a_job_is_asked_for_watched_and_downloaded_without_a_script(client: FlaskClient) -> None:
    made = client.post("/console/jobs", data={"types": "sensor", "units": "°C", "date_from": "", "format": "json"})
    assert made.status_code == 303
    page = see(client, made.headers["Location"].removeprefix("/console/"))
    assert "Waiting for its turn" in page
    assert "data-look-every" in page
    work(client)
    part = client.get(made.headers["Location"], headers=FRAGMENT)
    assert part.text.startswith('<section id="job"')
    assert "data-look-every" not in part.text
    assert (part.headers["Cache-Control"], "Content-Encoding" in part.headers) == ("no-store", False)
    file = re.search(r'href="(/api/export/jobs/[^"]+/file)"', part.text)
    assert file is not None
    assert len(rows(client.get(file[1]).data)) == 264
    cancelled = client.post(f"{made.headers['Location']}/cancel")
    assert cancelled.headers["Location"] == made.headers["Location"]
    assert "Cancelled" in see(client, made.headers["Location"].removeprefix("/console/"))
    assert client.get(file[1]).status_code == 410
    assert see(client, "jobs/0123", status=404)
    assert see(client, f"jobs/{'0' * 32}", status=404)


def test_no_other_page_asks_for_or_cancels_a_job(client: FlaskClient) -> None:
    made = client.post("/console/jobs", data={"types": "sensor"}).headers["Location"]
    for path in ("/console/jobs", f"{made}/cancel"):
        for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = client.post(path, headers=headers)
            assert (answer.status_code, answer.mimetype) == (403, "text/html")
    assert "Waiting for its turn" in see(client, made.removeprefix("/console/"))
    assert client.post("/console/jobs", json={"types": "sensor"}).status_code == 400


def static(client: FlaskClient, name: str, version: str | None = None, **headers: str) -> TestResponse:
    present = re.search(r"/console/static/(\w+)/console.css", see(client))
    assert present is not None
    return client.get(f"/console/static/{version or present[1]}/{name}", headers=headers)


def test_files_are_kept_for_good_and_htmx_is_the_one_that_was_looked_at(make_client: Clients) -> None:
    client = make_client()
    htmx = static(client, "htmx.min.js")
    assert hashlib.sha256(htmx.data).hexdigest() == HTMX
    assert (htmx.headers["Cache-Control"], htmx.mimetype) == ("public, max-age=31536000, immutable", "text/javascript")
    packed = static(client, "htmx.min.js", **{"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.data) == htmx.data
    assert static(client, "console.css", "another").headers["Cache-Control"] == "no-cache"
    for name in ("__init__.py", "..%2fpages.py", "console.css.gz"):
        assert static(client, name).status_code == 404
    names = "console.css", "console.js", "htmx.min.js"
    assert sum(len(static(client, name, **{"Accept-Encoding": "gzip"}).data) for name in names) < 25_000
    settings = re.search(r"name=\"htmx-config\" content='([^']+)'", see(client))
    assert settings is not None
    told = json.loads(settings[1])
    assert told["selfRequestsOnly"]
    assert not any(told[name] for name in ("allowEval", "allowScriptTags", "historyCacheSize", "includeIndicatorStyles"))


def test_the_person_that_a_home_names_is_nowhere(client: FlaskClient) -> None:
    for path in ("", "preview", "preview?types=person", "?types=person&show=all"):
        assert PERSON.partition(".")[2] not in see(client, path)

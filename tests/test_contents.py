"""What a researcher asks before a download: the answers over HTTP, exact, private, and fit to be kept by a browser."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from flask.testing import FlaskClient

from smarthouse_api.states.contents.previews import preview_of
from tests.conftest import HOME, OTHER_HOME, agree, house_of, on_pairs, payload, rows, state

environment = on_pairs("embedded_pair")

Clients = Callable[..., FlaskClient]
PATHS = ("overview", "facets", "coverage", "estimate", "preview")


def send(client: FlaskClient, *states: Any, home: str = HOME) -> None:
    assert client.post("/api/ingest/data", data=payload(*states), headers={"Home-UUID": home}).status_code == 200


def ask(client: FlaskClient, path: str, **query: Any) -> Any:
    answer = client.get(f"/api/export/{path}", query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    """Two homes: 3 rows of °C on two days, 1 of %, 1 binary, and 1 of a person."""
    client = make_client()
    temperature = {"unit_of_measurement": "°C", "device_class": "temperature"}
    send(
        client,
        state("sensor.kitchen_temperature", "20", "2026-03-01T10:00:00+00:00", **temperature),
        state("sensor.kitchen_temperature", "22.5", "2026-03-03T11:00:00+00:00", **temperature),
        state("person.zoe", "home", "2026-03-03T11:00:00+00:00"),
    )
    send(
        client,
        state("sensor.bath_temperature", "-1", "2026-03-03T12:00:00+00:00", **temperature),
        state("sensor.bath_humidity", "70", "2026-03-03T12:00:00+00:00", unit_of_measurement="%"),
        state("binary_sensor.door", "on", "2026-03-03T12:00:00+00:00", device_class="door"),
        state("sun.sun", "above_horizon", "2026-03-03T12:00:00+00:00"),
        home=OTHER_HOME,
    )
    house_of(client).states.chores.flush()
    return client


def test_the_overview_tells_how_much_there_is(client: FlaskClient) -> None:
    told = ask(client, "overview")
    assert {name: told[name] for name in ("homes", "rows", "days", "waiting")} == {
        "homes": 2,
        "rows": 6,
        "days": {"first": "2026-03-01", "last": "2026-03-03", "count": 2},
        "waiting": 0,
    }
    assert told["stored_bytes"] > 1000
    assert told["last_received"] is not None
    send(client, state("sensor.kitchen_temperature", "23", "2026-03-04T10:00:00+00:00"))
    assert ask(client, "overview")["waiting"] == 1


def test_an_empty_lake_has_answers(make_client: Clients) -> None:
    client = make_client()
    told = ask(client, "overview")
    assert told["days"] == {"first": None, "last": None, "count": 0}
    assert (told["version"], told["rows"], told["homes"]) == (-1, 0, 0)
    assert ask(client, "facets") == {"rows": 0, "homes": 0, "types": [], "units": [], "device_classes": [], "measured": []}
    assert ask(client, "coverage") == {"step": "day", "days": [], "rows": [], "homes": []}
    assert ask(client, "coverage", by="home")["homes"] == []
    assert ask(client, "preview")["rows"] == []


def test_a_facet_ignores_its_own_filter_and_heeds_the_others(client: FlaskClient) -> None:
    told = ask(client, "facets", types="sensor", units="°C")
    assert (told["rows"], told["homes"]) == (3, 2)
    assert told["types"] == [{"value": "sensor", "rows": 3, "homes": 2}]
    assert told["units"] == [{"value": "°C", "rows": 3, "homes": 2}, {"value": "%", "rows": 1, "homes": 1}]
    assert told["device_classes"] == [{"value": "temperature", "rows": 3, "homes": 2}]
    assert told["measured"] == [
        {
            "type": "sensor",
            "device_class": "temperature",
            "unit": "°C",
            "rows": 3,
            "homes": 2,
            "least": -1.0,
            "greatest": 22.5,
        }
    ]
    assert {one["value"] for one in ask(client, "facets")["types"]} == {"sensor", "binary_sensor", "person"}


def test_coverage_leaves_out_no_day_in_between(client: FlaskClient) -> None:
    assert ask(client, "coverage") == {
        "step": "day",
        "days": ["2026-03-01", "2026-03-02", "2026-03-03"],
        "rows": [1, 0, 5],
        "homes": [1, 0, 2],
    }
    by_home = ask(client, "coverage", by="home")
    assert sorted(json.dumps(one["rows"]) for one in by_home["homes"]) == ["[1, null, 2]", "[null, null, 3]"]
    homes = {row["home"] for row in rows(client.get("/api/export/json", buffered=True).data)}
    assert {one["home"] for one in by_home["homes"]} == homes


@pytest.mark.parametrize(
    ("first", "step", "columns"),
    [("2025-06-01", "day", 276), ("2019-01-01", "week", 375), ("1999-01-01", "month", 327), ("1890-01-01", "year", 137)],
)
def test_a_long_time_has_longer_steps(client: FlaskClient, first: str, step: str, columns: int) -> None:
    send(client, state("sensor.kitchen_temperature", "20", f"{first}T10:00:00+00:00"))
    house_of(client).states.chores.flush()
    told = ask(client, "coverage")
    assert (told["step"], len(told["days"]), sum(told["rows"])) == (step, columns, 7)


def test_all_of_time_is_told_in_centuries(client: FlaskClient) -> None:
    send(client, *(state("sensor.kitchen_temperature", "1", f"{at}T00:00:00+00:00") for at in ("0001-01-01", "9999-12-31")))
    house_of(client).states.chores.flush()
    told = ask(client, "coverage")
    assert (told["step"], len(told["days"]), told["rows"][0], told["rows"][-1]) == ("century", 100, 1, 1)
    assert len(ask(client, "coverage", by="home")["homes"][0]["rows"]) == 100


def test_an_estimate_counts_what_a_download_holds(client: FlaskClient) -> None:
    for query in ({}, {"types": "sensor"}, {"date_to": "2026-03-02"}, {"entities": "sensor.bath_humidity"}, {"types": "light"}):
        answer = client.get("/api/export/json", query_string=query, buffered=True)
        count = len(rows(answer.data)) if answer.status_code == 200 else 0
        told = ask(client, "estimate", formats="csv,parquet", **query)
        assert (told["rows"], told["exact"]) == (count, True)
        assert set(told["bytes"]) == {"csv", "parquet"}
        assert (told["bytes"]["csv"] > 0) == (count > 0)


def test_a_preview_shows_rows_of_each_home_as_a_download_has_them(client: FlaskClient) -> None:
    every = rows(client.get("/api/export/json", buffered=True).data)
    told = ask(client, "preview", limit=2)
    assert told["columns"] == list(every[0])
    assert len({row["home"] for row in told["rows"]}) == 2
    assert all(row in every for row in told["rows"])
    assert [row["state"] for row in ask(client, "preview", units="%")["rows"]] == ["70"]
    days = [row["last_updated"][:10] for row in ask(client, "preview")["rows"]]
    assert days == ["2026-03-03"] * 5 + ["2026-03-01"]  # the newest day first
    assert "zoe" not in client.get("/api/export/preview").text


def test_a_preview_holds_homes_that_sent_nothing_on_the_newest_day(client: FlaskClient) -> None:
    of_old_homes = [f"3b7c1f6e-1111-4222-8333-94445555666{number}" for number in range(2)]
    for day, home in enumerate(of_old_homes, 11):
        sent = (state(f"light.lamp_{number}", "on", f"2026-02-{day}T08:00:00Z") for number in range(30))
        assert client.post("/api/ingest/data", data=payload(*sent), headers={"Home-UUID": home}).status_code == 200
    house_of(client).states.chores.flush()
    known = {row["home"] for row in rows(client.get("/api/export/json", buffered=True).data)}
    assert len(known) == 4
    for limit in (4, 20):
        told = [tuple(row.values()) for row in ask(client, "preview", limit=limit)["rows"]]
        assert ({row[0] for row in told}, len(told), len(set(map(str, told)))) == (known, limit, limit)
    alone = ask(client, "preview", homes=next(iter(known)), limit=3)["rows"]
    assert len({row["home"] for row in alone}) == 1


def test_a_preview_is_spread_over_homes_types_and_entities() -> None:
    kinds = [("light", "a"), ("light", "b"), ("sensor", "c"), ("sensor", "d"), ("sensor", "e")]
    found = [(home, *kind, number) for home in ("h1", "h2", "h3") for kind in kinds for number in range(4)]
    found.append(("h4", "sensor", "c", 0))
    table = pa.table(dict(zip(("home", "type", "entity_id", "number"), map(list, zip(*found, strict=True)), strict=True)))

    def chosen(limit: int, size: int = 100) -> list[tuple[Any, ...]]:
        batches = [batch for part in range(0, len(found), size) for batch in table.slice(part, size).to_batches()]
        encoded = [batch.set_column(0, "home", batch.column("home").dictionary_encode()) for batch in batches]
        told = preview_of(encoded, 4, limit)
        assert told is not None
        return [tuple(row.values()) for row in told.to_pylist()]

    few = chosen(4)
    assert [row[0] for row in few] == ["h1", "h2", "h3", "h4"]
    assert {row[1] for row in few[:3]} == {"light", "sensor"}
    some = chosen(20)
    assert Counter(row[0] for row in some) == {"h1": 7, "h2": 6, "h3": 6, "h4": 1}
    for home in ("h1", "h2", "h3"):
        assert len({row[1:3] for row in some if row[0] == home}) == 5
        assert Counter(row[1] for row in some if row[0] == home)["light"] in (3, 4)
    assert some == sorted(some) == chosen(20, size=7)
    assert chosen(100) == found


def test_a_series_tells_how_the_homes_differ(client: FlaskClient) -> None:
    told = ask(client, "series", unit="°C", date_from="2026-03-03", date_to="2026-03-03")
    assert told["unit"] == "°C"
    by_hour = {point["at"][11:13]: point for point in told["points"]}
    assert by_hour["11"] == {"at": "2026-03-03T11:00:00.000000Z", "p10": 22.5, "p50": 22.5, "p90": 22.5, "homes": 1}
    assert (by_hour["12"]["homes"], by_hour["12"]["p50"]) == (2, pytest.approx(10.75))
    assert (by_hour["12"]["p10"], by_hour["12"]["p90"]) == (pytest.approx(1.35), pytest.approx(20.15))
    daily = ask(client, "series", unit="°C", every="1d")["points"]
    assert [point["at"][:10] for point in daily] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert ask(client, "series", unit="lx")["points"] == []
    assert client.get("/api/export/series").status_code == 400


def test_an_answer_is_kept_until_the_lake_changes(client: FlaskClient) -> None:
    for path in PATHS:
        first = client.get(f"/api/export/{path}")
        again = client.get(f"/api/export/{path}", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    after = client.get("/api/export/overview", headers={"If-None-Match": first.headers["ETag"]})
    assert (after.status_code, after.json["homes"], after.json["rows"]) == (200, 1, 3)


def test_other_settings_make_another_tag(client: FlaskClient, make_client: Clients) -> None:
    first = client.get("/api/export/facets")
    strict = make_client(export_privacy="strict")
    assert strict.get("/api/export/facets", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_strict_privacy_tells_of_no_home_alone(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house_of(client), HOME, OTHER_HOME)
    for number, home in enumerate((HOME, OTHER_HOME)):
        send(client, state("sensor.a", str(number), unit_of_measurement="K"), home=home)
    send(client, state("sensor.b", "7", unit_of_measurement="W"))
    house_of(client).states.chores.flush()
    told = ask(client, "facets")
    assert [one["value"] for one in told["units"]] == ["K"]
    assert "least" not in told["measured"][0]
    assert client.get("/api/export/coverage?by=home").status_code == 403
    assert ask(client, "coverage")["rows"] == [2]
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert ask(client, "overview")["rows"] == 0


def test_rotating_pseudonyms_name_no_home_twice(make_client: Clients) -> None:
    client = make_client(export_pseudonyms="rotating")
    send(client, state())
    house_of(client).states.chores.flush()
    named = [client.get("/api/export/coverage?by=home") for _ in range(2)]
    assert len({one.json["homes"][0]["home"] for one in named}) == 2
    assert "ETag" not in named[0].headers


def test_where_rows_need_a_key_so_do_their_counts(make_client: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(export_access="key")
    for path in PATHS:
        assert client.get(f"/api/export/{path}").status_code == 401
    key = house_of(client).access.create("reader", export=True)[1]
    assert ask_with(client, key, "overview") == 200
    monkeypatch.setattr(house_of(client).states.uploads.queue, "read", None)
    assert ask_with(client, "none", "overview") == 401, "nothing is read for who may not see it"


def ask_with(client: FlaskClient, key: str, path: str) -> int:
    return client.get(f"/api/export/{path}", headers={"Authorization": f"Bearer {key}"}).status_code


@pytest.mark.parametrize(
    "query",
    [
        "coverage?by=month",
        "preview?limit=0",
        "preview?limit=101",
        "estimate?formats=xls",
        "overview?types=sensor",
        "facets?x=1",
    ],
)
def test_what_is_no_question_is_a_400(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/api/export/{query}")
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")


def test_while_too_much_is_not_counted_the_client_is_asked_to_come_again(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.contents.service._MOST_ROWS_AT_ONCE", 3)
    answer = client.get("/api/export/overview")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    house_of(client).states.contents.count(lambda: False)
    assert ask(client, "overview")["rows"] == 6

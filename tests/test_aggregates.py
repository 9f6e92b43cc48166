"""Aggregates over HTTP: hourly and daily means, in every format, with documents that describe them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
import xmltodict
from flask.testing import FlaskClient

from smarthouse_api.states.export.columns import AGGREGATE_COLUMNS
from tests.conftest import HOME, OTHER_HOME, agree, house_of, on_pairs, payload, rows, state, unzipped
from tests.test_ingest import assert_problem

environment = on_pairs("embedded_pair", "production_pair")

Clients = Callable[..., FlaskClient]
POWER = {"unit_of_measurement": "W", "device_class": "power"}


def send(client: FlaskClient, *states: Any, home: str = HOME) -> None:
    assert client.post("/api/ingest/data", data=payload(*states), headers={"Home-UUID": home}).status_code == 200


def ask(client: FlaskClient, query: str, path: str = "json") -> Any:
    return client.get(f"/api/export/{path}?{query}", buffered=True)


def aggregates(client: FlaskClient, query: str) -> list[dict[str, Any]]:
    answer = ask(client, query)
    assert answer.status_code == 200, answer.text
    return rows(answer.data)


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    """Power of 100 W from 10:00, 300 W from 10:45, unknown from 11:15; and a door that is open for six hours from midnight."""
    client = make_client()
    send(
        client,
        state("sensor.kitchen_power", "100", "2026-03-01T10:00:00+00:00", **POWER),
        state("sensor.kitchen_power", "300", "2026-03-01T10:45:00+00:00", **POWER),
        state("sensor.kitchen_power", "unavailable", "2026-03-01T11:15:00+00:00", **POWER),
        state("binary_sensor.door", "on", "2026-03-02T00:00:00+00:00", device_class="door"),
        state("binary_sensor.door", "off", "2026-03-02T06:00:00+00:00", device_class="door"),
        state("person.zoe", "at her mother's", "2026-03-02T06:00:00+00:00"),
        state("sensor.secret", "words of her own", "2026-03-02T06:00:00+00:00"),
    )
    return client


def test_hourly_means_are_weighted_and_gaps_are_gaps(client: FlaskClient) -> None:
    first, second = aggregates(client, "every=1h&types=sensor&units=W&date_to=2026-03-01")
    assert first["mean"] == 150.0
    assert (first["min"], first["max"], first["last"], first["known"], first["changes"]) == (100.0, 300.0, 300.0, 1.0, 2)
    assert (first["start"], first["end"]) == ("2026-03-01T10:00:00.000000Z", "2026-03-01T11:00:00.000000Z")
    assert (second["mean"], second["known"], second["changes"]) == (300.0, 0.25, 1)
    assert (first["unit"], first["device_class"], first["utc_offset"], first["shares"]) == ("W", "power", None, None)


def test_words_have_shares_and_private_ones_tell_nothing(client: FlaskClient) -> None:
    told = aggregates(client, "every=1d&date_from=2026-03-02")
    door = [row for row in told if row["type"] == "binary_sensor"]
    assert [row["shares"] for row in door] == [{"on": 0.25, "off": 0.75}, {"off": 0.25}]
    assert [row["known"] for row in door] == [1.0, 0.25]
    person = next(row for row in told if row["type"] == "person")
    assert person["shares"] == {"not_home": 0.75}
    secret = [row for row in told if row["entity_id"].startswith("sensor.")]
    assert [(row["known"], row["changes"], row["mean"], row["shares"]) for row in secret] == [(0.0, 1, None, None)]


def test_a_state_of_the_day_before_is_held_into_the_first_day(client: FlaskClient) -> None:
    told = aggregates(client, "every=1d&types=binary_sensor&date_from=2026-03-03")
    assert [(row["start"][:10], row["shares"], row["changes"]) for row in told] == [("2026-03-03", {"off": 0.25}, 0)]
    assert ask(client, "every=1d&types=binary_sensor&date_from=2026-03-04").status_code == 204
    week = aggregates(client, "every=1d&types=binary_sensor&hold=7d&date_from=2026-03-03")
    assert [row["known"] for row in week] == [1.0] * 6 + [0.25]
    assert [row["known"] for row in aggregates(client, "every=1d&types=binary_sensor&hold=1h")] == [0.083333333]


def test_every_format_holds_the_same_and_is_described(client: FlaskClient) -> None:
    answer = ask(client, "every=1h&formats=csv,json,jsonl,xml,parquet", "dataset")
    files = unzipped(answer.data)
    told = json.loads(files["json"])
    assert list(told[0]) == list(AGGREGATE_COLUMNS)
    assert [json.loads(line) for line in files["jsonl"].splitlines()] == told
    cells = list(csv.DictReader(io.StringIO(files["csv"].decode())))
    assert [(row["home"], row["start"], float(row["mean"]) if row["mean"] else None) for row in cells] == [
        (row["home"], row["start"], row["mean"]) for row in told
    ]
    assert pq.read_table(io.BytesIO(files["parquet"])).column_names == list(AGGREGATE_COLUMNS)
    assert files["xml"].count(b"<row>") == len(told)
    described = json.loads(files["datapackage.json"])["resources"][0]["schema"]["fields"]
    assert [field["name"] for field in described] == list(AGGREGATE_COLUMNS)
    extras = {one["key"]: one["value"] for one in json.loads(files["metadata.json"])["extras"]}
    assert (extras["every"], extras["clock"], extras["hold"], extras["rows"]) == ("1h", "utc", "1d", str(len(told)))
    assert "One row is one entity in one interval of 1h in UTC." in files["README.md"].decode()


def test_a_homes_own_day_begins_at_its_midnight(make_client: Clients) -> None:
    client = make_client()
    for home, offset in ((HOME, "-03:00"), (OTHER_HOME, "+00:00")):
        begin = datetime(2026, 3, 1, tzinfo=UTC)
        often = (begin + timedelta(hours=number) for number in range(72))
        send(client, *(state("sensor.power", "1", at.isoformat()[:19] + offset, **POWER) for at in often), home=home)
    told = aggregates(client, "every=1d&clock=local&date_from=2026-03-02&date_to=2026-03-02")
    assert sorted((row["start"], row["utc_offset"], row["known"], row["changes"]) for row in told) == [
        ("2026-03-02T00:00:00.000000Z", 0, 1.0, 24),
        ("2026-03-02T03:00:00.000000Z", -180, 1.0, 24),
    ]


def test_a_forgotten_home_is_in_no_mean(client: FlaskClient) -> None:
    send(client, state("sensor.power", "7", "2026-03-01T10:00:00+00:00", **POWER), home=OTHER_HOME)
    assert len({row["home"] for row in aggregates(client, "every=1h&units=W")}) == 2
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert {row["mean"] for row in aggregates(client, "every=1h&units=W")} == {7.0}


@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_a_state_of_any_year_breaks_no_aggregate(client: FlaskClient) -> None:
    for at in (
        "0001-01-01T00:00:00+00:00",
        "1600-01-01T00:00:00+00:00",
        "2300-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59+00:00",
    ):
        send(client, state("sensor.power", "1", at, **POWER), home=OTHER_HOME)
    for every in ("15m", "1h", "1d"):
        for clock in ("utc", "local"):
            told = aggregates(client, f"every={every}&clock={clock}&units=W")
            assert {"0001", "1600", "2026"} <= {row["start"][:4] for row in told}
            assert sum(row["changes"] for row in told) == 3 + 4


def test_the_wide_layout_has_a_column_for_each_measured_thing(client: FlaskClient) -> None:
    send(client, state("sensor.kitchen_power", "7", "2026-03-01T10:00:00+00:00", **POWER), home=OTHER_HOME)
    answer = ask(client, "every=1h&layout=wide&formats=csv,json,jsonl,xml,parquet", "dataset")
    files = unzipped(answer.data)
    told = json.loads(files["json"])
    names = ["binary_sensor.door.share.off", "binary_sensor.door.share.on", "person", "sensor.kitchen_power.mean.W"]
    first = ["home", "start", "end", "utc_offset", "source"]
    assert [name if name in first + names else name.partition(".")[0] for name in told[0]] == first + names
    assert [json.loads(line) for line in files["jsonl"].splitlines()] == told
    assert len({(row["home"], row["start"]) for row in told}) == len(told)
    power = {(row["start"][:13], row["sensor.kitchen_power.mean.W"]) for row in told}
    assert power >= {("2026-03-01T10", 150.0), ("2026-03-01T10", 7.0), ("2026-03-01T11", 300.0), ("2026-03-02T06", None)}
    door = [(row["start"][:13], row["binary_sensor.door.share.on"]) for row in told]
    assert {("2026-03-02T05", 1.0), ("2026-03-02T06", 0.0), ("2026-03-02T06", None)} <= set(door)
    cells = list(csv.DictReader(io.StringIO(files["csv"].decode())))
    assert [{name: row[name] or None for name in first} for row in cells] == [
        {name: row[name] for name in first} for row in told
    ]
    assert pq.read_table(io.BytesIO(files["parquet"])).drop_columns(["start", "end"]).to_pylist() == [
        {name: value for name, value in row.items() if name not in ("start", "end")} for row in told
    ]
    assert xmltodict.parse(files["xml"])["data"]["row"][0]["sensor.kitchen_power.mean.W"] in ("150.0", "7.0")
    described = json.loads(files["datapackage.json"])["resources"][0]["schema"]["fields"]
    assert [field["name"] for field in described] == list(told[0])
    assert "weighted" in described[-1]["description"]
    assert described[-1]["description"].endswith("`sensor.kitchen_power`, in W.")
    extras = {one["key"]: one["value"] for one in json.loads(files["metadata.json"])["extras"]}
    assert (extras["layout"], extras["figures"], extras["rows"]) == ("wide", '["mean","share"]', str(len(told)))
    readme = files["README.md"].decode()
    assert "| `sensor.kitchen_power.mean.W` | number |" in readme
    assert "One row is one home in one interval of 1h in UTC." in readme


def test_the_wide_layout_has_the_figures_that_are_asked_for(client: FlaskClient) -> None:
    row = aggregates(client, "every=1h&layout=wide&figures=max,last,known&figures=Changes&units=W")[0]
    assert {name.removeprefix("sensor.kitchen_power."): value for name, value in list(row.items())[5:]} == {
        "max.W": 300.0,
        "last.W": 300.0,
        "known.W": 1.0,
        "changes.W": 2,
    }
    assert list(aggregates(client, "every=1d&layout=wide&types=person")[0])[5:] == [
        f"{aggregates(client, 'every=1d&types=person')[0]['entity_id']}.share.not_home"
    ]


def test_more_wide_columns_than_are_allowed_are_a_400_that_says_so(make_client: Clients) -> None:
    client = make_client(export_columns=2)
    send(client, *(state(f"sensor.kitchen_{number}_power", "1", "2026-03-01T10:00:00+00:00", **POWER) for number in range(3)))
    assert_problem(ask(client, "every=1h&layout=wide"), 400, "more than 2 columns")
    assert ask(client, "every=1h&layout=wide&entities=sensor.kitchen_1_power").status_code == 200
    job = client.post("/api/export/jobs?formats=csv&every=1h&layout=wide").headers["Location"]
    while house_of(client).states.jobs.maker.work():
        pass
    assert (client.get(job).json["state"], "more than 2 columns" in client.get(job).json["detail"]) == ("failed", True)


def test_strict_privacy_names_no_column_that_few_homes_have(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house_of(client), HOME, OTHER_HOME)
    for home, entities in ((HOME, ("hall", "cellar")), (OTHER_HOME, ("hall",))):
        for entity in entities:
            unit = {"unit_of_measurement": "W" if entity == "hall" else "V"}
            send(client, state(f"sensor.{entity}", "1", "2026-03-01T10:00:00+00:00", **unit), home=home)
    columns = list(aggregates(client, "every=1h&layout=wide")[0])[5:]
    assert len(columns) == 2
    assert all(name.endswith(".mean.W") for name in columns)


@pytest.mark.parametrize(
    "query", ["every=1h&figures=mean", "every=1h&layout=wide&figures=median", "every=1h&layout=deep", "layout=wide"]
)
@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_what_is_no_layout_is_a_400(client: FlaskClient, query: str) -> None:
    assert_problem(ask(client, query), 400, query.rpartition("&")[2].partition("=")[0])


@pytest.mark.parametrize("query", ["every=2h", "every=1h&clock=mine", "clock=local", "hold=1d", "every=1h&time_field=received"])
@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_what_is_no_aggregate_is_a_400(client: FlaskClient, query: str) -> None:
    answer = ask(client, query)
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")

"""Long-term statistics in exports: served as aggregates are, and marked as what they are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from smarthouse_api.lake.files import files_of
from tests.conftest import HOME, OTHER_HOME, agree, house_of, on_pairs, payload, rows, state, unzipped

environment = on_pairs("embedded_pair", "production_pair")

Clients = Callable[..., FlaskClient]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
POWER = {"unit_of_measurement": "W", "device_class": "power"}


def hours(entity: str, *values: float, start: datetime = NOON, **more: Any) -> dict[str, Any]:
    """Hours of a measurement, as the websocket answers them: without a unit."""
    told = []
    for number, value in enumerate(values):
        begin = int((start + timedelta(hours=number)).timestamp() * 1000)
        told.append({"start": begin, "end": begin + 3_600_000, "mean": value, "min": value - 1, "max": value + 1, **more})
    return {entity: told}


def meter(entity: str, *sums: float, start: datetime = NOON, unit: str = "kWh") -> list[dict[str, Any]]:
    """Hours of a meter, as `smarthouse import` sends them: with a unit."""
    return [
        {
            "statistic_id": entity,
            "start": (start + timedelta(hours=number)).isoformat(),
            "end": (start + timedelta(hours=number + 1)).isoformat(),
            "state": one % 5,
            "sum": one,
            "change": 1.5,
            "unit_of_measurement": unit,
        }
        for number, one in enumerate(sums)
    ]


def send(client: FlaskClient, body: Any, home: str = HOME) -> None:
    answer = client.post("/api/ingest/data", data=json.dumps(body).encode(), headers={"Home-UUID": home})
    assert answer.status_code == 200


def ask(client: FlaskClient, query: str, path: str = "json") -> Any:
    return client.get(f"/api/export/{path}?{query}", buffered=True)


def told(client: FlaskClient, query: str) -> list[dict[str, Any]]:
    answer = ask(client, query)
    assert answer.status_code == 200, answer.text
    return rows(answer.data)


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    """Power and energy of three hours. The power has states too; others have statistics that tell no unit."""
    client = make_client()
    power = [state("sensor.kitchen_power", "100", NOON.isoformat(), **POWER)]
    assert client.post("/api/ingest/data", data=payload(*power), headers={"Home-UUID": HOME}).status_code == 200
    send(client, hours("sensor.kitchen_power", 10.0, 20.0, 30.0))
    send(client, meter("sensor.heat_pump_energy", 7.0, 8.5, 10.0))
    send(client, hours("sensor.secret_number", 1.0) | hours("opower:account_4711", 1.0) | hours("sensor.sun_elevation", 1.0))
    return client


def test_statistics_are_served_as_aggregates_are_and_marked(client: FlaskClient) -> None:
    found = told(client, "every=1h&source=statistics")
    assert [(row["entity_id"], row["start"][11:13], row["source"]) for row in found] == [
        (entity, hour, "statistics")
        for entity in ("sensor.heat_pump_energy", "sensor.kitchen_power")
        for hour in ("12", "13", "14")
    ]
    energy, power = found[1], found[4]
    assert (power["mean"], power["min"], power["max"], power["known"]) == (20.0, 19.0, 21.0, 1.0)
    assert (power["unit"], power["device_class"], power["type"]) == ("W", "power", "sensor"), "as its states have them"
    assert (power["changes"], power["shares"], power["sum"], power["last"]) == (None, None, None, None)
    assert (energy["unit"], energy["sum"], energy["change"], energy["last"], energy["mean"]) == ("kWh", 8.5, 1.5, 3.5, None)
    (day,) = told(client, "every=1d&source=statistics&units=W")
    assert (day["mean"], day["min"], day["max"], day["known"]) == (20.0, 9.0, 31.0, 0.125)
    assert ask(client, "every=15m&source=statistics").status_code == 204, "an hour tells nothing of its quarters"
    assert {row["source"] for row in told(client, "every=1h")} == {"states"}, "unasked, there are none"
    both = told(client, "every=1h&source=all&units=W")
    assert [row["source"] for row in both] == ["states"] * (len(both) - 3) + ["statistics"] * 3


def test_filters_hold_for_statistics(client: FlaskClient) -> None:
    home = told(client, "every=1h&source=statistics")[0]["home"]
    for query, count in {
        "types=sensor": 6,
        "types=light": 0,
        "units=kWh": 3,
        "device_classes=power": 3,
        "entities=sensor.heat_pump_energy": 3,
        f"homes={home}": 6,
        "date_from=2026-03-02": 0,
        "date_to=2026-03-01&date_from=2026-03-01": 6,
    }.items():
        answer = ask(client, f"every=1h&source=statistics&{query}")
        assert (len(rows(answer.data)) if answer.status_code == 200 else 0) == count, query


def test_a_correction_counts_and_a_forgotten_home_is_in_none(client: FlaskClient) -> None:
    send(client, hours("sensor.kitchen_power", 10.0, 25.0))
    send(client, hours("sensor.other_power", 1.0) | {}, OTHER_HOME)
    send(client, meter("sensor.other_energy", 3.0), OTHER_HOME)
    found = told(client, "every=1h&source=statistics")
    assert [row["mean"] for row in found if row["entity_id"] == "sensor.kitchen_power"] == [10.0, 25.0, 30.0]
    assert len({row["home"] for row in found}) == 2
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert [row["sum"] for row in told(client, "every=1h&source=all")] == [3.0]


def test_every_format_and_document_tells_of_statistics(client: FlaskClient) -> None:
    answer = ask(client, "every=1h&source=all&formats=csv,json,xml,parquet", "dataset")
    files = unzipped(answer.data)
    found = json.loads(files["json"])
    cells = list(csv.DictReader(io.StringIO(files["csv"].decode())))
    assert [(row["source"], row["sum"] or None) for row in cells] == [
        (row["source"], None if row["sum"] is None else str(row["sum"])) for row in found
    ]
    extras = {one["key"]: one["value"] for one in json.loads(files["metadata.json"])["extras"]}
    assert (extras["source"], extras["rows"]) == ("all", str(len(found)))
    wide = told(client, "every=1h&source=all&layout=wide&figures=mean,sum,last")
    names = [name for name in wide[0] if name.startswith("sensor.")]
    assert names == [
        "sensor.heat_pump_energy.last.kWh",
        "sensor.heat_pump_energy.sum.kWh",
        "sensor.kitchen_power.mean.W",
        "sensor.kitchen_power.last.W",
    ]
    of_one = {row["start"][11:13]: row for row in wide if row["source"] == "statistics"}
    assert (of_one["13"]["sensor.kitchen_power.mean.W"], of_one["13"]["sensor.heat_pump_energy.sum.kWh"]) == (20.0, 8.5)
    assert all(row["sensor.heat_pump_energy.sum.kWh"] is None for row in wide if row["source"] == "states")


def test_a_job_makes_them_month_by_month(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.export.published_periods._MOST_ROWS", 5)
    monkeypatch.setattr("smarthouse_api.states.export.published_periods._MOST_RANGES", 2)
    for month in (1, 4):
        for home in (HOME, OTHER_HOME):
            send(client, meter("sensor.heat_pump_energy", *range(6), start=datetime(2025, month, 27, 21, tzinfo=UTC)), home)
    jobs, query = house_of(client).states.jobs, "every=1d&source=all&clock=local"
    streamed = unzipped(ask(client, f"formats=jsonl&{query}", "dataset").data)["jsonl"]
    asked = client.post(f"/api/export/jobs?formats=jsonl&{query}")
    jobs.maker.work()
    parts = jobs.maker._shop.book
    jobs.maker.work(lambda: len(parts.parts(next(parts.datasets()).dataset.version)) > 1)
    assert client.get(asked.headers["Location"]).json["state"] == "running"
    while jobs.maker.work():
        pass
    done = client.get(asked.headers["Location"]).json
    assert (done["state"], done["rows"]) == ("done", len(streamed.splitlines()))
    assert unzipped(client.get(done["file"], buffered=True).data)["jsonl"] == streamed
    assert ask(client, query, "jsonl").headers["ETag"] == f'"{done["version"]}"'
    send(client, meter("sensor.heat_pump_energy", 99.0))
    assert "ETag" not in ask(client, query, "jsonl").headers, "its statistics are older"
    assert client.delete("/api/ingest/data", headers={"Home-UUID": OTHER_HOME}).status_code == 200
    assert client.get(done["file"]).status_code == 410
    only = client.post("/api/export/jobs?formats=jsonl&every=1h&source=statistics&date_from=2040-01-01").headers["Location"]
    while jobs.maker.work():
        pass
    assert (client.get(only).json["state"], client.get(only).json["rows"]) == ("done", 0)


@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_home_that_has_nothing_but_statistics_is_served(make_client: Clients) -> None:
    client = make_client()
    assert ask(client, "every=1h&source=statistics").status_code == 204
    send(client, meter("sensor.heat_pump_energy", 1.0, 2.0))
    assert len(told(client, "every=1h&source=statistics")) == 2
    assert ask(client, "every=1h&source=states").status_code == 204
    asked = client.post("/api/export/jobs?formats=json&every=1h&source=statistics").headers["Location"]
    while house_of(client).states.jobs.maker.work():
        pass
    assert (client.get(asked).json["state"], client.get(asked).json["rows"]) == ("done", 2)


@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_strict_privacy_needs_as_many_homes_with_statistics(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house_of(client), HOME, OTHER_HOME)
    for home in (HOME, OTHER_HOME):
        sent = payload(state("sensor.hall_power", "1", NOON.isoformat(), **POWER))
        assert client.post("/api/ingest/data", data=sent, headers={"Home-UUID": home}).status_code == 200
        send(client, hours("sensor.hall_power", 1.0), home)
    send(client, meter("sensor.hall_energy", 1.0))
    found = told(client, "every=1h&source=statistics")
    assert [(row["unit"], row["mean"]) for row in found] == [("W", 1.0)] * 2
    assert not any("hall" in row["entity_id"] for row in found)
    assert [name for name in told(client, "every=1h&source=statistics&layout=wide")[0] if "kWh" in name] == []


@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_raw_statistics_are_as_uploaded(make_client: Clients) -> None:
    client = make_client(export_privacy="raw")
    send(client, hours("sensor.secret_number", 1.0) | hours("opower:account_4711", 2.0))
    key = house_of(client).access.create("operator", admin=True)[1]
    answer = client.get(
        "/api/export/json?every=1h&source=statistics", headers={"Authorization": f"Bearer {key}"}, buffered=True
    )
    assert {(row["entity_id"], row["mean"]) for row in rows(answer.data)} == {
        ("sensor.secret_number", 1.0),
        ("opower:account_4711", 2.0),
    }


@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_damaged_statistics_are_told(client: FlaskClient) -> None:
    house = house_of(client)
    assert len(told(client, "every=1h&source=statistics")) == 6
    snapshot = house.states.statistics.open()
    assert snapshot is not None
    path = files_of(snapshot)["path"][0].as_py()
    house.objects.put_table("statistics", path, [b"no parquet"])
    assert ask(client, "every=1h&source=statistics").status_code in (200, 503)
    answer = ask(client, "every=1h&source=all")
    assert "statistics are missing" in answer.headers["X-Incomplete"]
    assert "X-Incomplete" not in ask(client, "every=1h").headers
    for _ in range(8):
        house.housekeeper.keep()
    assert len(told(client, "every=1h&source=statistics")) == 6
    assert "X-Incomplete" not in ask(client, "every=1h&source=all").headers


@pytest.mark.parametrize("query", ["source=statistics", "every=1h&source=both"])
@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_what_is_no_source_is_a_400(client: FlaskClient, query: str) -> None:
    assert ask(client, query).status_code == 400

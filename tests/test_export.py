"""Export over HTTP: the datasets, their filters, what they tell of a home, and what they never do."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import xmltodict
from flask.testing import FlaskClient

from backends.ports import StoreUnavailable
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.lake import datafusion, open_table
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.states.export.dataset import Export, Exports
from smarthouse_api.states.homes_table import LEASE
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, agree, house_of, on_both_pairs, on_pair, payload, rows, state, unzipped
from tests.states.export.readers import READERS as READ
from tests.test_ingest import assert_problem

environment = on_pair("embedded_pair")

FORMATS = ("csv", "json", "jsonl", "xml", "parquet")
COLUMNS = [
    "home",
    "entity_id",
    "type",
    "state",
    "value",
    "unit",
    "device_class",
    "last_changed",
    "last_updated",
    "received",
    "utc_offset",
    "time",
    "attributes",
]
EVERYTHING = f"/api/export/dataset?formats={','.join(FORMATS)}"
Clients = Callable[..., FlaskClient]


@pytest.fixture
def client(make_client: Clients) -> FlaskClient:
    """A client with an operator's key, whom a house shows everything as it was uploaded: what is private has its own tests."""
    client = make_client(export_privacy="raw")
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {house_of(client).access.create('operator', admin=True)[1]}"
    return client


def fetch(client: FlaskClient, url: str) -> Any:
    """The answer, read to its end and closed, as a server does it."""
    return client.get(url, buffered=True)


def send(client: FlaskClient, *states: Any, home: str = HOME) -> None:
    answer = client.post("/api/ingest/data", data=payload(*states), headers={"Home-UUID": home})
    assert answer.json is not None
    assert answer.json["records"] == len(states)


def exported(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    """The rows of a JSON export; none for a 204."""
    answer = fetch(client, f"/api/export/json{query}")
    assert answer.status_code in (200, 204), answer.text
    return rows(answer.data) if answer.status_code == 200 else []


def told(client: FlaskClient, query: str = "") -> list[str]:
    """The states that an export holds, sorted."""
    return sorted(row["state"] for row in exported(client, query))


def readers_there_are(client: FlaskClient) -> set[str]:
    return Leases(house_of(client).state, 4).shared(LEASE)


def extras(client: FlaskClient, query: str = "") -> dict[str, str]:
    found = json.loads(unzipped(fetch(client, f"/api/export/json{query}").data)["metadata.json"])["extras"]
    return {extra["key"]: extra["value"] for extra in found}


# Formats


@on_both_pairs
def test_every_format_comes_in_any_case_as_a_zip_named_by_the_day(client: FlaskClient) -> None:
    send(client, state(value="21.5"))
    for format_, asked in ((one, spelled) for one in FORMATS for spelled in (one.lower(), one.upper(), one.title())):
        before = datetime.now(UTC).date()
        answer = fetch(client, f"/api/export/{asked}")
        days = {f"{day:%Y-%m-%d}" for day in (before, datetime.now(UTC).date())}
        assert (answer.status_code, answer.content_type) == (200, "application/zip")
        names = zipfile.ZipFile(io.BytesIO(answer.data)).namelist()
        assert names[0] in {f"smarthouse_extract_{day}.{format_}" for day in days}
        assert answer.headers["Content-Disposition"] == f"attachment; filename={names[0].rpartition('.')[0]}.zip"
        assert [row["state"] for row in READ[format_](unzipped(answer.data)[format_])] == ["21.5"]


def test_an_unknown_format_is_a_400_that_names_the_accepted_ones(client: FlaskClient) -> None:
    for url in ("/api/export/yaml", "/api/export/dataset?formats=json,yaml", "/api/export/jso"):
        answer = fetch(client, url)
        for format_ in FORMATS:
            assert_problem(answer, 400, format_)
        assert_problem(answer, 400, "yaml" if "yaml" in url else "jso")


def test_an_unknown_format_is_a_400_even_where_there_is_no_data(client: FlaskClient) -> None:
    assert fetch(client, "/api/export/yaml").status_code == 400


def test_a_dataset_of_no_format_is_a_400_that_names_the_accepted_ones(client: FlaskClient) -> None:
    assert_problem(fetch(client, "/api/export/dataset"), 400, ", ".join(FORMATS))


def test_an_empty_list_of_formats_is_a_400_that_names_it(client: FlaskClient) -> None:
    for query in ("formats=", "formats=,", "format="):
        assert_problem(fetch(client, f"/api/export/dataset?{query}"), 400, "is empty; give it a value, or leave it out")


IN_ORDER = {
    "formats=json&formats=csv": ["json", "csv"],
    "formats=csv,json": ["csv", "json"],
    "formats[]=csv&formats[]=xml": ["csv", "xml"],
    "format=XML": ["xml"],
    "formats=csv&format=json": ["csv", "json"],
    "formats=JSON,csv&formats=json&format=Csv": ["json", "csv"],
    "formats=jsonl,parquet": ["jsonl", "parquet"],
}


def test_a_dataset_holds_each_format_once_in_the_order_asked_for_and_then_the_metadata(client: FlaskClient) -> None:
    send(client, state())
    for query, expected in IN_ORDER.items():
        found = unzipped(fetch(client, f"/api/export/dataset?{query}").data)
        assert list(found) == [*expected, "metadata.json", "datapackage.json", "README.md", "dataset.jsonld"], query


@on_both_pairs
def test_all_formats_of_a_dataset_hold_the_same_rows(client: FlaskClient) -> None:
    send(client, *(state(f"sensor.s{number}", str(number), unit_of_measurement="°C", min=number) for number in range(20)))
    found = {name: data for name, data in unzipped(fetch(client, EVERYTHING).data).items() if name in FORMATS}
    tables = {name: READ[name](data) for name, data in found.items()}
    for table in tables.values():
        for row in table:
            row["attributes"] = row["attributes"] if isinstance(row["attributes"], dict) else json.loads(row["attributes"])
    assert len(tables["csv"]) == 20
    assert all(table == tables["csv"] for table in tables.values())


def test_the_formats_of_the_first_generation_are_told_as_it_told_them(client: FlaskClient) -> None:
    answer = fetch(client, "/api/export/formats")
    assert (answer.status_code, answer.data, answer.mimetype) == (200, b"json, csv, xml", "text/plain")


# Filters


@on_both_pairs
def test_a_type_is_exact_and_in_any_case(client: FlaskClient) -> None:
    send(client, state("sensor.a", "1"), state("binary_sensor.a", "on"), state("sensors.a", "x"))
    for query in ("types=sensor", "types=SENSOR", "types=sensor,sensor", "types[]=Sensor", "types= sensor "):
        assert told(client, f"?{query}") == ["1"]


def test_types_come_repeated_parted_by_commas_or_with_brackets(client: FlaskClient) -> None:
    send(client, state("sensor.a", "1"), state("light.a", "on"), state("switch.a", "off"))
    for query in ("types=sensor&types=light", "types=sensor,light", "types[]=sensor&types[]=light"):
        assert told(client, f"?{query}") == ["1", "on"]


@on_both_pairs
def test_a_unit_is_exact_in_its_own_case(client: FlaskClient) -> None:
    send(client, state("sensor.a", "1", unit_of_measurement="mW"), state("sensor.b", "2", unit_of_measurement="MW"))
    assert told(client, "?units=mW") == ["1"]
    assert told(client, "?units=MW") == ["2"]
    assert told(client, "?units=mw") == []


def test_a_unit_of_any_characters_is_found(client: FlaskClient) -> None:
    units = (("°C", "%C2%B0C"), ("%", "%25"), ("%", "%"), ("m³", "m%C2%B3"), ("kWh/100 km", "kWh/100+km"))
    send(client, *(state(f"sensor.a{number}", one, unit_of_measurement=one) for number, (one, _) in enumerate(units[1:])))
    send(client, state("sensor.c", "°C", unit_of_measurement="°C"), state("sensor.b", "2", unit_of_measurement="K"))
    for unit, query in units:
        assert set(told(client, f"?units={query}")) == {unit}


def test_units_come_repeated_parted_by_commas_or_with_brackets(client: FlaskClient) -> None:
    send(
        client,
        *(state(f"sensor.{name}", name, unit_of_measurement=unit) for name, unit in (("a", "K"), ("b", "%"), ("c", "V"))),
    )
    for query in ("units=K&units=%25", "units=K,%25", "units[]=K&units[]=%25"):
        assert told(client, f"?{query}") == ["a", "b"], query


def test_a_unit_in_brackets_is_taken_whole_commas_and_all(client: FlaskClient) -> None:
    send(
        client,
        *(state(f"sensor.{name}", name, unit_of_measurement=unit) for name, unit in (("a", "K"), ("b", "V"), ("c", "K,V"))),
    )
    assert told(client, "?units[]=K,V") == ["c"]
    assert told(client, "?units=K,V") == ["a", "b"]
    assert told(client, "?units=K&units[]=K,V") == ["a", "c"]


@on_both_pairs
def test_a_device_class_is_exact_and_in_any_case(make_client: Clients) -> None:
    client = make_client()
    send(
        client,
        state("sensor.a", "1", unit_of_measurement="°C", device_class="temperature"),
        state("sensor.b", "2", unit_of_measurement="%", device_class="humidity"),
        state("sensor.c", "3", unit_of_measurement="%", device_class="my own"),
        state("light.d", "on", device_class="temperature"),  # no light has one: it is published without
        state("sensor.e", "5", unit_of_measurement="%"),
    )
    for query in ("device_classes=temperature", "device_classes[]=Temperature", "device_classes=temperature&types=sensor"):
        assert told(client, f"?{query}") == ["1"]
    assert told(client, "?device_classes=temperature,humidity") == ["1", "2"]
    for query in ("device_classes=my own", "device_classes=motion", "device_classes=temperature&types=light"):
        assert told(client, f"?{query}") == []


@pytest.mark.parametrize(
    ("environment", "privacy"), [("embedded_pair", "strict"), ("production_pair", "standard")], indirect=["environment"]
)
def test_homes_and_entities_are_chosen_by_the_names_that_exports_give_them(make_client: Clients, privacy: str) -> None:
    client = make_client(export_privacy=privacy, export_min_homes=1, enrolled_after_days=1)
    agree(house_of(client), HOME, OTHER_HOME)
    for home in (HOME, OTHER_HOME):
        send(client, *(state(f"sensor.{name}", "1", unit_of_measurement="K") for name in ("kitchen", "zoe")), home=home)
    every = rows(fetch(client, "/api/export/json").data)
    assert len(every) == 4
    for one in every:
        of_home = rows(fetch(client, f"/api/export/json?homes={one['home']}").data)
        assert of_home == [row for row in every if row["home"] == one["home"]]
        of_entity = rows(fetch(client, f"/api/export/json?entities={one['entity_id']}").data)
        assert of_entity == [row for row in every if row["entity_id"] == one["entity_id"]]
    homes = sorted({row["home"] for row in every})
    assert rows(fetch(client, f"/api/export/json?homes={','.join(homes)}").data) == every
    assert extras(client, f"?homes={homes[0]}")["homes"] == json.dumps([homes[0]])
    for query in (f"homes={homes[0]}&types=light", "homes=home_0123456789abcdef", f"homes={HOME}", "entities=sensor.zoe"):
        assert client.get(f"/api/export/json?{query}").status_code == 204
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert [client.get(f"/api/export/json?homes={home}", buffered=True).status_code for home in homes].count(204) == 1


def test_no_home_is_chosen_where_each_export_has_other_pseudonyms(make_client: Clients) -> None:
    client = make_client(export_pseudonyms="rotating")
    send(client, state("sensor.kitchen", "1", unit_of_measurement="K"))
    answer = client.get("/api/export/json?homes=home_0123456789abcdef")
    assert answer.status_code == 400
    assert "homes" in answer.json["detail"]
    assert told(client, "?entities=sensor.kitchen") == ["1"]


def test_a_filter_is_never_read_as_a_query(client: FlaskClient) -> None:
    send(client, state("sensor.a", "1", unit_of_measurement="K"))
    for text in ("' OR 1=1 --", "K')", "\\", '"'):
        asked = dict.fromkeys(("units", "types", "device_classes", "homes", "entities"), text)
        assert client.get("/api/export/json", query_string=asked).status_code == 204


@on_both_pairs
def test_filters_narrow_each_other(client: FlaskClient) -> None:
    send(
        client,
        state("sensor.a", "wanted", "2026-03-01T12:00:00+00:00", unit_of_measurement="K"),
        state("number.a", "another type", "2026-03-01T12:00:00+00:00", unit_of_measurement="K"),
        state("sensor.b", "another unit", "2026-03-01T12:00:00+00:00", unit_of_measurement="V"),
        state("sensor.c", "another day", "2026-03-02T12:00:00+00:00", unit_of_measurement="K"),
    )
    assert told(client, "?types=sensor&units=K&date_to=2026-03-01") == ["wanted"]


# Dates

TIMES = {
    "before": "2026-02-28T23:59:59.999999+00:00",
    "first": "2026-03-01T00:00:00+00:00",
    "offset": "2026-03-03T00:30:00+01:00",
    "last": "2026-03-02T23:59:59.999999+00:00",
    "after": "2026-03-03T00:00:00+00:00",
}


BOTH_ENDS = [
    ("2026-03-01", "2026-03-02"),
    ("2026-03-01T15:00:00Z", "2026-03-02T00:00:00Z"),
    ("2026-03-02T01:00:00%2B02:00", "2026-03-02T23:00:00.123456-00:30"),
    ("2026-03-02T01:00:00+02:00", "2026-03-03T01:00:00+02:00"),
    ("2026-03-01t00:00:00z", "2026-03-02%2023:59:59Z"),
]


@on_both_pairs
def test_both_ends_are_inclusive_utc_days(client: FlaskClient) -> None:
    send(client, *(state(f"sensor.{name}", name, at) for name, at in TIMES.items()))
    for since, until in BOTH_ENDS:
        assert told(client, f"?date_from={since}&date_to={until}") == ["first", "last", "offset"]


@on_both_pairs
def test_one_end_leaves_the_other_open(client: FlaskClient) -> None:
    send(client, *(state(f"sensor.{name}", name, at) for name, at in TIMES.items()))
    assert told(client, "?date_from=2026-03-03") == ["after"]
    assert told(client, "?date_to=2026-02-28") == ["before"]


BAD_DATES = [
    "yesterday",
    "2026-3-1",
    "20260301",
    "01-03-2026",
    "2026-02-30",
    "2026-13-01",
    "0000-01-01",
    "10000-01-01",
    "2026-03-01T12",
    "2026-03-01T12:00Z",
    "2026-03-01T12:00:00",
    "2026-03-01T25:00:00Z",
    "2026-03-01T12:00:00%2B25:00",
    "2026-03-01%00",
    "٢٠٢٦-٠٣-٠١",
    "2026-W09-7",
    "-2026-03-01",
    "1772323200",
]


@pytest.mark.parametrize("name", ["date_from", "date_to"])
def test_what_is_no_date_is_a_400_that_names_the_parameter(client: FlaskClient, name: str) -> None:
    for given in ("", "%20", *BAD_DATES):
        answer = fetch(client, f"/api/export/json?{name}={given}")
        assert_problem(answer, 400, f"{name}: Bad date format")
        assert_problem(answer, 400, "YYYY-MM-DD")


def test_all_bad_parameters_are_told_together(client: FlaskClient) -> None:
    answer = fetch(client, "/api/export/json?date_from=x&date_to=y&time_field=z")
    for name in ("date_from", "date_to", "time_field"):
        assert_problem(answer, 400, f"{name}: ")


def test_a_very_long_bad_date_is_not_repeated_in_full(client: FlaskClient) -> None:
    assert len(fetch(client, f"/api/export/json?date_from={'9' * 5000}").data) < 500


FAR = (
    "0001-01-01T00:00:00+00:00",
    "1969-12-31T23:59:59.500000+00:00",
    "1970-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59.999999+00:00",
)


@on_both_pairs
def test_the_whole_calendar_can_be_asked_for(client: FlaskClient) -> None:
    send(client, *(state("sensor.far", at, at) for at in FAR), state("sensor.near", "near"))
    for at in FAR:
        (row,) = exported(client, f"?date_from={at[:10]}&date_to={at[:10]}")
        assert row["state"] == at
        assert datetime.fromisoformat(row["last_changed"]) == datetime.fromisoformat(at)


def test_a_time_after_9999_counts_as_unknown_and_the_arrival_stands_for_it(client: FlaskClient) -> None:
    send(client, state(at="10000-01-01T00:00:00+00:00"))
    (row,) = exported(client, "?date_from=2026-01-01")
    assert (row["last_changed"], row["last_updated"]) == (None, None)


@on_both_pairs
def test_a_record_goes_by_its_last_update_else_its_last_change_else_its_arrival(client: FlaskClient) -> None:
    both = {"last_changed": "2026-01-01T00:00:00+00:00", "last_updated": "2026-01-02T00:00:00+00:00"}
    send(
        client,
        state("sensor.both", "both") | both,
        state("sensor.changed", "changed") | both | {"last_updated": None},
        state("sensor.updated", "updated") | both | {"last_changed": None},
        state("sensor.arrived", "arrived") | {"last_changed": None, "last_updated": None},
    )
    assert told(client, "?date_from=2026-01-02&date_to=2026-01-02") == ["both", "updated"]
    assert told(client, "?date_from=2026-01-01&date_to=2026-01-01") == ["changed"]
    assert told(client, "?date_from=2026-01-03") == ["arrived"]
    assert told(client, "?time_field=changed&date_to=2026-01-01") == ["both", "changed"]
    assert told(client, "?time_field=changed&date_from=2026-01-02&date_to=2026-01-02") == ["updated"]


@on_both_pairs
def test_the_dates_go_by_the_arrival_where_that_is_asked_for(client: FlaskClient) -> None:
    for day in (1, 2, 3):
        upload = Upload(HOME, payload(state(value=f"arrived on {day}", at="2026-01-01T00:00:00+00:00")))
        house_of(client).states.uploads.receive(upload, datetime(2026, 5, day, 23, 59, 59, 999_999, UTC))
    assert told(client, "?time_field=received&date_from=2026-05-02&date_to=2026-05-02") == ["arrived on 2"]
    assert told(client, "?date_from=2026-05-02&date_to=2026-05-02") == []
    assert len(told(client, "?time_field=changed&date_from=2026-01-01&date_to=2026-01-01")) == 3


def test_another_time_field_is_a_400_that_names_them_all(client: FlaskClient) -> None:
    for given in ("", "CHANGED", "arrival", "time"):
        answer = fetch(client, f"/api/export/json?time_field={given}")
        assert_problem(answer, 400, "time_field: Must be one of: updated, changed, received")


# Nothing to export


NO_ROW = ("", "?types=light", "?units=V", "?date_from=2026-03-02", "?date_from=2026-03-02&date_to=2026-02-01")
"""The first of an empty lake, the others beside a state."""


@on_both_pairs
def test_no_row_is_a_204_that_says_why_and_nothing_else(client: FlaskClient) -> None:
    for query in NO_ROW:
        if query == NO_ROW[1]:
            send(client, state())
        for asked in (f"json{query}", f"parquet{query}", f"dataset{query or '?'}&formats=csv"):
            answer = fetch(client, f"/api/export/{asked}")
            assert (answer.status_code, answer.data) == (204, b""), asked
            assert answer.headers["X-Empty-Reason"]
            assert not {"Content-Type", "Content-Disposition", "Content-Length"} & set(answer.headers.keys())


def test_a_payload_without_records_is_no_row(client: FlaskClient) -> None:
    client.post("/api/ingest/data", data=b"\xff\x00", headers={"Home-UUID": HOME})
    assert fetch(client, "/api/export/csv").status_code == 204


# Metadata


def test_the_metadata_can_be_left_out(client: FlaskClient) -> None:
    send(client, state())
    for given in ("false", "0", "False"):
        assert list(unzipped(fetch(client, f"/api/export/csv?metadata={given}").data)) == ["csv"]


def test_what_is_neither_true_nor_false_is_a_400(client: FlaskClient) -> None:
    assert_problem(fetch(client, "/api/export/csv?metadata=perhaps"), 400, "metadata: ")


def test_the_metadata_tells_the_effective_filters(client: FlaskClient) -> None:
    send(client, state("sensor.a", "1", unit_of_measurement="°C"), state("sensor.b", "2", unit_of_measurement="°C"))
    query = "?date_from=2026-03-01T23:00:00-02:00&date_to=2026-03-09&types=SENSOR,sensor&types[]=Light&units=%C2%B0C"
    assert fetch(client, f"/api/export/json{query}").status_code == 204
    found = extras(client, query.replace("T23:00:00-02:00", ""))
    of_the_filters = {name: found[name] for name in list(found)[: list(found).index("generated_at")]}
    assert of_the_filters == {
        "date_from": "2026-03-01",
        "date_to": "2026-03-09",
        "types": '["sensor","light"]',
        "units": '["°C"]',
        "device_classes": "all",
        "homes": "all",
        "entities": "all",
        "time_field": "updated",
        "formats": '["json"]',
        "privacy": "raw",
        "pseudonyms": "stable",
        "rows": "2",
    }


def test_the_metadata_says_so_where_nothing_was_filtered(client: FlaskClient) -> None:
    send(client, state())
    found = extras(client, "?time_field=received")
    assert {found[name] for name in ("date_from", "date_to", "types", "units")} == {"all"}
    assert found["time_field"] == "received"


def test_the_documents_tell_the_time_that_the_rows_cover(client: FlaskClient) -> None:
    for day in ("2026-03-01", "2026-03-09", "2026-03-05"):
        send(client, state(at=f"{day}T10:00:00Z"))
    body = zipfile.ZipFile(io.BytesIO(fetch(client, "/api/export/csv?date_to=2026-03-06").data))
    told = extras(client, "?date_to=2026-03-06")
    covered = ("2026-03-01T10:00:00.000000Z", "2026-03-05T10:00:00.000000Z")
    assert (told["temporal_start"], told["temporal_end"]) == covered
    assert json.loads(body.read("dataset.jsonld"))["temporalCoverage"] == "/".join(covered)
    assert " to ".join(covered) in body.read("README.md").decode()


def test_the_metadata_describes_the_files_that_are_there(client: FlaskClient) -> None:
    send(client, *(state(f"sensor.s{number}") for number in range(50)))
    body = fetch(client, EVERYTHING).data
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    package = json.loads(files[next(name for name in files if name.endswith("_metadata.json"))])
    assert [resource["name"] for resource in package["resources"]] == list(files)[:5]
    for resource in package["resources"]:
        data = files[resource["name"]]
        assert (resource["size"], resource["hash"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert resource["format"] == resource["name"].rpartition(".")[2].upper()
        assert "/" in resource["mimetype"]
    frictionless = json.loads(files["datapackage.json"])
    assert [resource["path"] for resource in frictionless["resources"]] == list(files)[:5]
    assert [field["name"] for field in frictionless["resources"][0]["schema"]["fields"]] == COLUMNS


def test_two_exports_have_two_names_that_ckan_takes(client: FlaskClient) -> None:
    send(client, state())
    names = [json.loads(unzipped(fetch(client, "/api/export/csv").data)["metadata.json"])["name"] for _ in range(2)]
    assert names[0] != names[1]
    assert all(re.fullmatch(r"[a-z0-9_-]{2,100}", name) for name in names)


# Rows


@on_both_pairs
def test_a_row_says_what_was_uploaded(client: FlaskClient) -> None:
    before = datetime.now(UTC)
    one = state("sensor.kitchen", "21.50", "2026-03-01T13:00:00.5+01:00", unit_of_measurement="°C", device_class="temperature")
    send(client, one | {"last_updated": "2026-03-01T12:00:01+00:00"})
    (row,) = exported(client)
    assert list(row) == COLUMNS
    assert re.fullmatch("home_[0-9a-f]+", row.pop("home"))
    assert before.date() <= date.fromisoformat(row.pop("received")) <= datetime.now(UTC).date()
    assert row == {
        "entity_id": "sensor.kitchen",
        "type": "sensor",
        "state": "21.50",
        "value": 21.5,
        "unit": "°C",
        "device_class": "temperature",
        "last_changed": "2026-03-01T12:00:00.500000Z",
        "last_updated": "2026-03-01T12:00:01.000000Z",
        "utc_offset": 0,
        "time": "2026-03-01T12:00:01.000000Z",
        "attributes": {"unit_of_measurement": "°C", "device_class": "temperature"},
    }


def test_what_is_no_finite_number_has_no_value(client: FlaskClient) -> None:
    given = ("on", "unavailable", "", "nan", "inf", "-Infinity", "1e999", "1_000", "0x10")
    send(client, *(state(f"sensor.s{number}", value) for number, value in enumerate(given)))
    found = exported(client)
    assert [row["state"] for row in found] == [*given]
    assert {(row["value"], row["unit"], row["device_class"]) for row in found} == {(None, None, None)}


def test_the_sanitised_dot_of_an_entity_is_put_back(client: FlaskClient) -> None:
    send(client, state("sensor_kitchen"))
    (row,) = exported(client)
    assert (row["entity_id"], row["type"]) == ("sensor.kitchen", "sensor")


def test_an_entity_that_is_not_home_assistants_is_exported_all_the_same(client: FlaskClient) -> None:
    given = ["", "thermostat", "Küche 1", "a.b.c", "😀", "../../etc/passwd", "x" * 5000]
    send(client, *map(state, given))
    assert sorted(row["entity_id"] for row in exported(client)) == sorted(given)


@on_both_pairs
def test_rows_are_sorted_and_each_home_is_in_one_piece(client: FlaskClient) -> None:
    homes = [f"00000000-0000-4000-8000-{number:012x}" for number in range(12)]
    for night in range(3):
        for home in homes:
            times = [f"2026-03-01T{hour:02}:00:00+00:00" for hour in (3 * night + 2, 3 * night, 3 * night + 1)]
            body = payload(*(state(f"sensor.{name}", f"{night}", at) for name in "zam" for at in times))
            house_of(client).states.uploads.receive(Upload(home, body), datetime(2026, 3, 2, tzinfo=UTC))
    found = exported(client)
    assert len(found) == 12 * 27
    assert len([home for home, _ in groupby(found, key=lambda row: row["home"])]) == 12
    for _, of_home in groupby(found, key=lambda row: row["home"]):
        keys = [(row["entity_id"], row["last_changed"]) for row in of_home]
        assert keys == sorted(keys)


# Homes


@on_both_pairs
def test_a_home_has_one_pseudonym_in_every_export(client: FlaskClient) -> None:
    send(client, state(value="1"))
    send(client, state(value="2"), home=OTHER_HOME)
    first, second = ({row["state"]: row["home"] for row in exported(client)} for _ in range(2))
    assert first == second
    assert first["1"] != first["2"]


def test_rotating_pseudonyms_are_others_in_each_export(make_client: Clients) -> None:
    client = make_client(export_pseudonyms="rotating")
    send(client, state("sensor.a"), state("sensor.b"))
    first, second = ({row["home"] for row in exported(client)} for _ in range(2))
    assert len(first) == len(second) == 1
    assert first != second
    assert extras(client)["pseudonyms"] == "rotating"


def test_rotating_pseudonyms_join_the_files_of_one_export(make_client: Clients) -> None:
    client = make_client(export_pseudonyms="rotating")
    send(client, state())
    found = unzipped(fetch(client, "/api/export/dataset?formats=json,jsonl").data)
    assert json.loads(found["json"])[0]["home"] == json.loads(found["jsonl"])["home"]


@on_both_pairs
def test_a_home_that_was_forgotten_and_came_back_is_another(client: FlaskClient) -> None:
    send(client, state())
    before = exported(client)[0]["home"]
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert exported(client) == []
    send(client, state())
    assert exported(client)[0]["home"] != before


@pytest.mark.parametrize(
    "changes",
    [{}, {"export_privacy": "strict", "export_min_homes": 1, "enrolled_after_days": 1}, {"export_pseudonyms": "rotating"}],
)
def test_no_name_of_a_home_but_its_pseudonym_is_in_an_export(make_client: Clients, changes: dict[str, Any]) -> None:
    client = make_client(**changes)
    agree(house_of(client), HOME)
    send(client, state(), state("person.ann", "home"))
    home = house_of(client).states.homes.find(HOME)
    assert home is not None
    body = fetch(client, EVERYTHING).data
    whole = b"".join(unzipped(body).values()) + body
    assert b"home_" in whole
    for secret in (HOME, HOME.replace("-", ""), home.key, house_of(client).states.homes.tag(HOME)):
        assert secret.encode() not in whole.lower()


# Privacy


@pytest.mark.parametrize("kind", ["person", "device_tracker"])
def test_names_and_free_states_of_people_are_replaced(make_client: Clients, kind: str) -> None:
    client = make_client()
    send(client, state(f"{kind}.ann_smith", "St Mary's Hospital"))
    whole = b"".join(unzipped(fetch(client, EVERYTHING).data).values())
    assert b"ann_smith" not in whole
    assert b"Mary" not in whole
    (row,) = exported(client)
    assert (row["type"], row["state"]) == (kind, "not_home")
    assert row["entity_id"].startswith(f"{kind}.")


def test_what_is_never_published_gives_no_row(make_client: Clients) -> None:
    client = make_client()
    for entity_id in ("text.lock_code", "sun.sun", "zone.office", "calendar.ann", "sensor.sun_next_dawn"):
        send(client, state(entity_id, "4711", mode="password"))
    assert fetch(client, "/api/export/json").status_code == 204


@pytest.mark.parametrize("entity_id", ["sensor.anna_oven", "sensor.phone_last_notification"])
def test_no_format_holds_a_text_that_is_not_home_assistants(make_client: Clients, entity_id: str) -> None:
    client = make_client()
    send(
        client, state("sensor.kitchen_power", "5", unit_of_measurement="W"), state(entity_id, "Maria Silva", options=["Maria"])
    )
    whole = unzipped(fetch(client, EVERYTHING).data)
    assert b"Maria" not in b"".join(whole.values())
    assert sorted(row["state"] for row in READ["parquet"](whole["parquet"])) == ["5", "redacted"]


def test_the_operators_words_are_published(make_client: Clients) -> None:
    client = make_client(export_words="cooking,rinsing")
    send(client, state("sensor.oven", "cooking"), state("select.washer", "rinsing"), state("select.who", "Anna"))
    assert told(client) == ["cooking", "rinsing"]


def test_only_allow_listed_attributes_are_published(make_client: Clients) -> None:
    client = make_client()
    kept = {"unit_of_measurement": "K", "device_class": "power", "state_class": "measurement", "options": ["idle"], "min": 1}
    private = "user_id latitude longitude gps_accuracy ip_address mac ssid serial access_token entity_picture friendly_name x"
    send(client, state("sensor.a", **kept, **dict.fromkeys(private.split(), "hidden"), nested={"latitude": "hidden"}))
    assert exported(client)[0]["attributes"] == kept
    assert b"hidden" not in b"".join(unzipped(fetch(client, EVERYTHING).data).values())


def test_a_strict_house_replaces_every_object_part_and_joins_them_within_a_home(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house_of(client), HOME, OTHER_HOME)
    for home in (HOME, OTHER_HOME):
        send(
            client,
            *(state("sensor.ann", value, unit_of_measurement="W") for value in ("1", "2")),
            state("sensor.bob", "3", unit_of_measurement="W"),
            home=home,
        )
    found = exported(client)
    assert all(re.fullmatch(r"sensor\.[0-9a-f]+", row["entity_id"]) for row in found)
    by_state = {(row["home"], row["state"]): row["entity_id"] for row in found}
    assert len(found) == len(by_state) == 6
    assert len(set(by_state.values())) == 4
    assert all(by_state[home, "1"] == by_state[home, "2"] != by_state[home, "3"] for home, _ in by_state)
    assert extras(client)["privacy"] == "strict"


@on_both_pairs
def test_a_strict_house_publishes_a_type_and_unit_only_from_so_many_homes_on(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house_of(client), HOME, OTHER_HOME)
    send(client, state("sensor.a", "1", unit_of_measurement="K"), state("sensor.b", "2", unit_of_measurement="V"))
    send(client, state("sensor.a", "1", unit_of_measurement="K"), state("light.a", "on"), home=OTHER_HOME)
    assert told(client) == ["1", "1"]
    assert fetch(client, "/api/export/json?types=light").status_code == 204


def test_a_strict_house_counts_no_home_by_its_sun(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house_of(client), HOME, OTHER_HOME)
    sun = [state(f"sensor.{name}", "2026-03-02T06:00:00+00:00") for name in ("sun_next_dawn", "Hall_Sunset2", "sun")]
    send(client, *sun, state("sensor.washer", "on"))
    send(client, *sun, home=OTHER_HOME)
    assert fetch(client, "/api/export/json").status_code == 204
    send(client, state("sensor.sundeck_mode", "on"), home=OTHER_HOME)
    assert len(exported(client)) == 2


@on_both_pairs
def test_a_strict_house_counts_the_homes_of_each_day_whatever_the_filters(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house_of(client), HOME, OTHER_HOME)
    send(client, *(state(value=day, at=f"2026-03-0{day}T12:00:00+00:00", unit_of_measurement="K") for day in "12"))
    send(client, state(value="3", at="2026-03-02T12:00:00+00:00", unit_of_measurement="K"), home=OTHER_HOME)
    assert sorted(told(client)) == ["2", "3"]
    assert fetch(client, "/api/export/json?date_to=2026-03-01").status_code == 204


THIRD_HOME = "33333333-3333-4333-8333-333333333333"


@on_both_pairs
def test_a_strict_house_counts_only_homes_that_have_sent_data_on_enough_days(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=2)
    agree(house_of(client), HOME, OTHER_HOME, THIRD_HOME)
    at = datetime(2026, 3, 2, 13, tzinfo=UTC)
    for home, days in ((HOME, 2), (OTHER_HOME, 1), (THIRD_HOME, 1)):
        for day in range(days):
            upload = Upload(home, payload(state(value=str(day), at=f"1999-01-01T0{day}:00:00+00:00"), state("sensor.x", "1")))
            house_of(client).states.uploads.receive(upload, at + timedelta(days=day))
    assert fetch(client, "/api/export/json").status_code == 204
    house_of(client).states.uploads.receive(Upload(OTHER_HOME, payload(state(value="2"))), at + timedelta(days=9))
    assert {row["entity_id"] for row in exported(client, "?date_from=2026-03-01")} != set()


@on_both_pairs
def test_a_strict_house_counts_no_home_that_was_forgotten(make_client: Clients) -> None:
    client = make_client(export_privacy="strict", export_min_homes=2, enrolled_after_days=1, purge_delay_seconds=3600)
    agree(house_of(client), HOME, OTHER_HOME)
    send(client, state())
    send(client, state(), home=OTHER_HOME)
    assert len(exported(client)) == 2
    client.delete("/api/ingest/data", headers={"Home-UUID": OTHER_HOME})
    assert fetch(client, "/api/export/json").status_code == 204


# The stream


@on_both_pairs
def test_an_export_holds_what_was_acknowledged_before_it(client: FlaskClient) -> None:
    send(client, state(value="1"))
    assert house_of(client).states.uploads.pending()
    assert told(client) == ["1"]
    assert house_of(client).states.uploads.pending() == []
    send(client, state(value="2"))
    assert told(client) == ["1", "2"]


@on_both_pairs
def test_what_need_not_be_fresh_is_what_the_lake_holds_and_says_as_of_when(client: FlaskClient) -> None:
    send(client, state(value="1"))
    assert told(client) == ["1"]
    send(client, state(value="2"))
    (waiting,) = house_of(client).states.uploads.pending()
    answer = fetch(client, "/api/export/json?fresh=false")
    assert [row["state"] for row in rows(answer.data)] == ["1"]
    assert microseconds(datetime.fromisoformat(answer.headers["X-As-Of"])) == waiting.received_us
    assert len(house_of(client).states.uploads.pending()) == 1


@on_both_pairs
def test_where_nothing_waits_the_lake_is_as_of_now(client: FlaskClient) -> None:
    before = datetime.now(UTC)
    answer = fetch(client, "/api/export/json?fresh=false")
    assert answer.status_code == 204
    assert before <= datetime.fromisoformat(answer.headers["X-As-Of"]) <= datetime.now(UTC)
    assert "X-As-Of" not in fetch(client, "/api/export/json").headers


@on_both_pairs
def test_a_head_says_the_same_without_a_body_and_holds_nothing(client: FlaskClient) -> None:
    send(client, state())
    answer = client.head("/api/export/csv", buffered=True)
    assert (answer.status_code, answer.data, answer.content_type) == (200, b"", "application/zip")
    assert ".zip" in answer.headers["Content-Disposition"]
    assert readers_there_are(client) == set()


@on_both_pairs
def test_the_lease_goes_when_the_export_was_read(client: FlaskClient) -> None:
    send(client, state())
    answer = client.get("/api/export/json", buffered=False)
    assert len(readers_there_are(client)) == 1
    assert rows(answer.data)
    answer.close()
    assert readers_there_are(client) == set()


@on_both_pairs
def test_the_lease_and_the_threads_go_when_the_reader_does(client: FlaskClient) -> None:
    send(client, *(state(f"sensor.s{number}", str(number)) for number in range(200)))
    threads = set(threading.enumerate())
    answer = client.get(EVERYTHING, buffered=False)
    next(iter(answer.response))
    assert len(readers_there_are(client)) == 1
    answer.close()
    assert readers_there_are(client) == set()
    assert set(threading.enumerate()) <= threads


@on_both_pairs
def test_an_empty_export_holds_no_lease(client: FlaskClient) -> None:
    send(client, state())
    assert fetch(client, "/api/export/json?types=light").status_code == 204
    assert readers_there_are(client) == set()


@on_both_pairs
def test_a_fault_in_the_middle_breaks_the_stream_before_it_looks_like_a_zip(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client, *(state(f"sensor.s{number}", str(number)) for number in range(50)))
    stream = EmbeddedEngine.stream
    asked: list[Any] = []

    def fail_after_the_first(*args: Any) -> Iterator[Any]:
        asked.append(args)
        if len(asked) > 1:
            raise OSError("the disk is gone")
        return stream(*args)

    monkeypatch.setattr(EmbeddedEngine, "stream", fail_after_the_first)
    answer = client.get("/api/export/dataset?formats=json,csv", buffered=False)
    assert answer.status_code == 200
    came = io.BytesIO()
    with pytest.raises(OSError, match="the disk is gone"):
        came.writelines(answer.response)
    answer.close()
    assert came.getvalue()
    assert not zipfile.is_zipfile(came)
    assert readers_there_are(client) == set()


@on_both_pairs
@pytest.mark.parametrize("method", ["last_sequence", "scan"])
def test_an_outage_of_the_state_store_is_a_503_that_says_when(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    send(client, state())
    assert exported(client)

    def fail(*_: Any) -> None:
        raise StoreUnavailable("down")

    monkeypatch.setattr(house_of(client).state, method, fail)
    answer = fetch(client, "/api/export/json")
    monkeypatch.undo()
    assert_problem(answer, 503, "later")
    assert answer.headers["Retry-After"]
    assert readers_there_are(client) == set()


@on_both_pairs
def test_an_outage_of_the_lakes_own_store_is_a_503_that_says_when(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    send(client, state())
    assert exported(client)
    send(client, state("sensor.other"))
    house_of(client).states.chores.flush()  # else it need not be opened again

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("Generic S3 error: connection refused")  # what deltalake raises

    monkeypatch.setattr(open_table, "DeltaTable", fail)
    answer = fetch(client, "/api/export/json")
    monkeypatch.undo()
    assert_problem(answer, 503, "later")
    assert answer.headers["Retry-After"]
    assert readers_there_are(client) == set()


@on_both_pairs
def test_an_outage_at_the_first_row_is_a_503_that_says_when(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    send(client, state())
    assert exported(client)

    def fail(*_: Any) -> None:
        raise OSError("Generic S3 error: connection refused")

    monkeypatch.setattr(datafusion, "QueryBuilder", fail)
    answer = fetch(client, "/api/export/json")
    monkeypatch.undo()
    assert_problem(answer, 503, "later")
    assert readers_there_are(client) == set()


def test_asking_too_often_is_a_429_that_says_when(make_client: Clients) -> None:
    client = make_client(export_rate_address="2/hour")
    assert [fetch(client, "/api/export/csv").status_code for _ in range(2)] == [204, 204]
    answer = fetch(client, "/api/export/dataset?formats=csv")
    assert_problem(answer, 429, "2 per 1 hour")
    assert 0 < int(answer.headers["Retry-After"]) <= 3600


def test_an_ipv6_network_is_one_client(make_client: Clients) -> None:
    client = make_client(export_rate_address="2/hour")
    from_ = ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1")
    asked = [client.get("/api/export/csv", environ_base={"REMOTE_ADDR": one}, buffered=True).status_code for one in from_]
    assert asked == [204, 204, 429, 204]


# States that break files

NASTY = {
    "control": "a\x00b\x01c\x1fd\x7fe\x85f",
    "breaks": "one\r\ntwo\nthree\rfour\u2028five",
    "emoji": "👩‍👩‍👧 😀 \U0010ffff",
    "non-characters": "\ufffe\uffff",
    "long": " ".join(map(str, range(20_000))),
    "formula": "=cmd()|'/C calc'!A1",
    "at": "@SUM(1+1)",
    "cdata": "]]></state><row/><![CDATA[&amp;",
    "quotes": '"a","b";\'c\'\t\\"\\u0000',
    "null": "null",
    "na": "NA",
    "spaces": "  around  ",
    "right to left": "\u202eabc\ufeff",
}


def states_by_name(found: list[dict[str, Any]]) -> dict[str, str]:
    return {row["entity_id"].removeprefix("sensor."): row["state"] for row in found}


def attributes_of(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(row["attributes"]) if isinstance(row["attributes"], str) else row["attributes"] for row in found]


WITHOUT_NUL = {name: value.replace("\0", "\ufffd") for name, value in NASTY.items()}
DEEP = {
    "state_class": "=1+1",
    "device_class": {"a": [{"b": None}]},
    "nested": {"<b>": [1, {"c": "]]>"}]},
    "options": [*NASTY.values()][5:],
}


def test_a_megabyte_of_one_character_is_a_state_and_no_bomb(client: FlaskClient) -> None:
    send(client, state(value="x" * (1 << 20)))
    assert told(client) == ["x" * 131_071 + "…"]


@on_both_pairs
def test_nasty_states_come_back_from_every_format_and_from_xml_but_for_characters_that_it_forbids(client: FlaskClient) -> None:
    """Each as an entity of its name, with attributes likewise."""
    send(client, *(state(f"sensor.{name}", value, **DEEP) for name, value in NASTY.items()))
    files = unzipped(fetch(client, EVERYTHING).data)
    lines = files["jsonl"].split(b"\n")
    assert lines.pop() == b""
    by_pandas = pd.read_csv(io.BytesIO(files["csv"]), keep_default_na=False, dtype=str, lineterminator="\n")
    for found in (
        json.loads(files["json"]),
        [json.loads(line) for line in lines],
        by_pandas.to_dict("records"),
        pq.read_table(io.BytesIO(files["parquet"])).to_pylist(),
    ):
        assert states_by_name(found) == WITHOUT_NUL
        assert attributes_of(found) == [DEEP] * len(NASTY)
    found = xmltodict.parse(files["xml"], strip_whitespace=False)["data"]["row"]
    forbidden = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
    assert states_by_name(found) == {name: forbidden.sub("\ufffd", value) for name, value in WITHOUT_NUL.items()}
    assert len(attributes_of(found)) == len(NASTY)


def test_nobody_learns_by_a_filter_what_is_not_published(make_client: Clients) -> None:
    client = make_client(export_privacy="standard")
    send(client, state("sensor.a", "5", unit_of_measurement="Maria's cups"), state("maria_home.b", "on"))
    for asked in ({"units": "Maria's cups"}, {"types": "maria_home"}, {"units[]": "Maria's cups", "types": "sensor"}):
        assert client.get("/api/export/json", query_string=asked).status_code == 204


@on_both_pairs
def test_an_export_whose_lease_is_lost_before_its_first_byte_is_a_503(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}).status_code == 200
    begin = Exports.open

    def begun_too_late(*asked: Any, **options: Any) -> Export | None:
        export = begin(*asked, **options)
        house_of(client).leases.break_shared(LEASE, 0)
        return export

    monkeypatch.setattr(Exports, "open", begun_too_late)
    answer = client.get("/api/export/json")
    assert_problem(answer, 503, "repeat the request")
    assert answer.headers["Retry-After"]
    monkeypatch.undo()
    assert client.get("/api/export/json", buffered=True).status_code == 200

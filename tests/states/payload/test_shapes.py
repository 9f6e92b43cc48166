"""Every shape in which Home Assistant gives states: what it gives, and what is said of the rest."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from config.groups import RequestSettings
from smarthouse_api.errors import TooLarge
from smarthouse_api.states.payload.decoding import to_table
from smarthouse_api.states.payload.inspection import Inspection, inspect
from smarthouse_api.states.payload.statistics_decoding import to_statistics
from tests.conftest import ROOT

SETTINGS = RequestSettings()
SHAPES = {path.name: path.read_bytes() for path in sorted((ROOT / "tests" / "data" / "shapes").iterdir())}
TIMES = [datetime(2025, 2, 3, 4, minute, 6, us, UTC) for minute, us in ((5, 125_000), (15, 250_000), (25, 500_000))]
PORCH = "sensor.porch_illuminance"
KEPT_RAW = {"influxdb.txt": "InfluxDB", "prometheus.txt": "Prometheus", "printed.txt": "printed"}
COUNTS = {
    "event_stream.txt": (1, 0, 0),
    "events.json": (2, 1, 0),
    "history.csv": (3, 0, 0),
    "history.json": (4, 0, 0),
    "recorder.json": (2, 1, 2),
    "service_answer.json": (1, 0, 0),
    "state.json": (1, 0, 0),
    "states.json": (2, 0, 0),
    "states_by_id.json": (2, 0, 0),
    "statistics.json": (0, 0, 2),
    "statistics_answer.json": (0, 0, 1),
    "subscription.json": (3, 1, 0),
}
"""Records, ignored and statistics of a shape; of any other, the three states of the porch."""


def rows(body: bytes | str) -> list[dict[str, Any]]:
    text = body if isinstance(body, bytes) else body.encode()
    return to_table([(text, None)], SETTINGS).table.to_pylist()


def inspected(body: bytes | str) -> Inspection:
    """What is told of a body, once it is sure that its rows are as many."""
    text = body if isinstance(body, bytes) else body.encode()
    found = inspect(text, None, SETTINGS)
    assert len(rows(text)) == found.records
    return found


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - KEPT_RAW.keys()))
def test_a_shape_gives_its_records(name: str) -> None:
    found = inspected(SHAPES[name])
    assert (found.records, found.ignored, found.statistics) == COUNTS.get(name, (3, 0, 0))
    assert (found.without_time, bool(found.detail)) == (0, bool(found.ignored or found.statistics))
    assert (found.fault is None) == (not found.ignored)


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - KEPT_RAW.keys() - COUNTS.keys()))
def test_the_same_states_are_read_from_every_shape(name: str) -> None:
    found = rows(SHAPES[name])
    assert [(row["entity_id"], row["state"]) for row in found] == [(PORCH, "310"), (PORCH, "295"), (PORCH, "unavailable")]
    assert [row["last_updated"] or row["last_changed"] for row in found] == TIMES
    has_unit = name != "history_without_attributes.json"
    assert {(row["unit"], row["device_class"]) for row in found} == {("lx", "illuminance") if has_unit else (None, None)}


@pytest.mark.parametrize("name", KEPT_RAW)
def test_text_that_stays_raw_is_named(name: str) -> None:
    found = inspected(SHAPES[name])
    assert (found.records, found.fault) == (0, "structure")
    assert KEPT_RAW[name] in (found.detail or "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            '{"sensor.a": [3, {"state": "1", "last_changed": "soon"}]}',
            "1 state has no readable time and is filed by its arrival",
        ),
        ('{"sensor.a": [3, {"state": "1", "last_changed": "soon"}]}', "1 value is no state"),
        ('[{"state": "1"}, {"state": "2"}]', "2 states name no entity"),
        ('{"sensor.a": [{"state": "1", "attributes": 3}]}', "1 state has unreadable attributes"),
        ('{"event": {"c": {"sensor.a": {"+": {"lu": 1738555506}}}}}', "1 change has no earlier state to apply to"),
        ("{}", "The body holds no states"),
        ("[]", "The body holds no states"),
        ('{"sensor.a": []}', "The body holds no states"),
        ('{"a": 1}\n{"b": 2', "1 line cannot be read"),
    ],
)
def test_what_gives_no_record_or_no_time_is_explained_and_refused_by_a_strict_house(body: str, words: str) -> None:
    found = inspected(body)
    assert found.fault == "structure"
    assert words in (found.detail or "")


def test_a_change_that_names_only_one_time_keeps_the_other() -> None:
    first, second, third = rows(SHAPES["subscription.json"])
    assert [row["last_changed"] for row in (first, second, third)] == [TIMES[0], TIMES[1], TIMES[1]]
    assert [row["last_updated"] for row in (first, second, third)] == TIMES
    kept = {"unit_of_measurement": "lx", "device_class": "illuminance", "battery": 61}
    assert (third["state"], json.loads(third["attributes"])) == ("295", kept)


def test_a_compressed_state_has_one_time_for_both_unless_it_says_otherwise() -> None:
    found = rows(SHAPES["history_compressed.json"])
    assert [row["last_changed"] for row in found] == [TIMES[0], TIMES[1], TIMES[1]]


def test_a_row_of_the_recorder_changed_when_it_was_updated_unless_it_says_otherwise() -> None:
    assert [row["last_changed"] for row in rows(SHAPES["recorder.json"])] == [TIMES[0], TIMES[0]]


def test_a_minimal_state_in_an_object_of_arrays_takes_unit_and_classes_too() -> None:
    first = {"state": "1", "attributes": {"unit_of_measurement": "W", "min": 3}, "last_changed": "2025-01-02T00:00:00Z"}
    found = rows(json.dumps({"sensor.a": [first, {"state": "2", "last_changed": "2025-01-02T00:00:01Z"}]}))
    assert [row["attributes"] for row in found] == ['{"unit_of_measurement":"W","min":3}', '{"unit_of_measurement":"W"}']


def test_a_name_that_comes_twice_counts_twice_in_a_usual_body() -> None:
    usual = {"entity_id": "sensor.a", "attributes": {"options": ["[", "x"]}, "last_updated": "2025-01-02T00:00:00Z"}
    lists = [json.dumps([{**usual, "state": state}]) for state in ("1", "2", "3")]
    body = f'{{"sensor.a": {lists[0]}, "sensor.b": {lists[1]}, "sensor.a": {lists[2]}}}'
    assert [row["state"] for row in rows(body)] == ["1", "2", "3"]
    assert inspected(body).records == 3


def test_statistics_become_columns_of_their_own() -> None:
    bodies = [(SHAPES[name], None) for name in ("statistics.json", "state.json", "recorder.json")]
    decoded = to_statistics(bodies, SETTINGS)
    assert decoded.payload.to_pylist() == [0, 0, 2, 2]
    usage = decoded.table.to_pylist()[1]
    assert usage == {
        "statistic_id": "energy:usage",
        "start": datetime(2025, 2, 3, 4, tzinfo=UTC),
        "end": datetime(2025, 2, 3, 5, tzinfo=UTC),
        "period_seconds": 3600,
        **dict.fromkeys(("mean", "min", "max", "unit")),
        "state": 7.5,
        "sum": 12.25,
        "change": 0.5,
        "last_reset": datetime(2025, 2, 3, tzinfo=UTC),
    }
    assert decoded.table["period_seconds"].to_pylist() == [3600, 3600, 3600, 300]
    assert decoded.table["unit"].to_pylist() == [None, None, "lx", "lx"]


ATTRIBUTES = json.dumps({"friendly_name": "x" * 1000})
SHARED = {"states": [{"state": "1", "metadata_id": 1, "attributes_id": 1}] * 90}
SHARED |= {"state_attributes": [{"attributes_id": 1, "shared_attrs": ATTRIBUTES}]}
SHARED |= {"states_meta": [{"metadata_id": 1, "entity_id": "sensor.a"}]}
CHANGES = [
    {"a": {"sensor.a": {"s": "1", "a": json.loads(ATTRIBUTES), "lc": 1738555506}}},
    *[{"c": {"sensor.a": {"+": {}}}}] * 90,
]
LONG = [{"state": "1", "entity_id": "sensor." + "a" * 1000}, *[{"state": "2"}] * 90]


@pytest.mark.parametrize("body", [SHARED, CHANGES, [LONG], {"sensor." + "a" * 1000: [{"s": "1", "lu": 1738555506}] * 90}])
def test_a_text_that_many_states_share_counts_for_each(body: Any) -> None:
    text = json.dumps(body).encode()
    assert inspect(text, None, SETTINGS).records
    with pytest.raises(TooLarge, match="20000 bytes"):
        inspect(text, None, RequestSettings(max_decoded_bytes=20_000))


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"1," * 50 + b"1]",
        b"[[" + b"1," * 50 + b"1]]",
        b'{"event": {"states": {"sensor.a": [' + b"1," * 50 + b"1]}}}",
        b'{"sensor.a": [' + b'{"start": 1738555200000, "mean": 1},' * 50 + b"1]}",
        b'{"event": {"r": [' + b'"a",' * 50 + b'"a"]}}',
        b"{}\n" * 50,
        b"entity_id,state,last_changed\n" + b"a\n" * 50,
        b"home/sensor/a/state 1\n" * 50,
    ],
)
def test_every_shape_has_the_limit_of_records(text: bytes) -> None:
    with pytest.raises(TooLarge, match="10 records"):
        inspect(text, None, RequestSettings(max_records=10))


def mutated(chance: random.Random) -> bytes:
    text = bytearray(SHAPES[chance.choice(sorted(SHAPES))])
    bits = [
        b"NaN",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"\\",
        b"\\ud800",
        b"\\u0000",
        b"null",
        b",",
        b"1e999",
        b"\xff",
        b"\n",
        b"0",
        b"a",
    ]
    for _ in range(chance.randrange(5)):
        place = chance.randrange(len(text) + 1)
        text[place : place + chance.randrange(9)] = chance.choice(bits)
    if chance.random() < 0.3:
        del text[chance.randrange(len(text) + 1) :]
    return bytes(text)


def test_whatever_becomes_of_a_shape_the_answer_counts_the_rows_and_explains_the_rest() -> None:
    chance = random.Random(11)
    bodies = [(mutated(chance), None) for _ in range(1_500)]
    found = [inspect(body, None, SETTINGS) for body, _ in bodies]
    decoded = to_table(bodies, SETTINGS)
    assert [each.records for each in found] == np.bincount(decoded.payload.to_numpy(), minlength=1_500).tolist()
    counted = np.bincount(to_statistics(bodies, SETTINGS).payload.to_numpy(), minlength=1_500)
    assert [each.statistics for each in found] == counted.tolist()
    assert all(each.detail and each.fault for each in found if each.ignored or not each.records + each.statistics)
    assert sum(each.records > 0 for each in found) > 300


@pytest.mark.parametrize(("unit", "expected"), [("W", "W"), (None, None), (5, None), ({}, None)])
def test_a_period_may_tell_its_unit(unit: object, expected: str | None) -> None:
    body = json.dumps({"sensor.a": [{"start": 1738555200000, "mean": 1.5, "unit_of_measurement": unit}]}).encode()
    (period,) = to_statistics([(body, None)], SETTINGS).table.to_pylist()
    assert (period["mean"], period["unit"]) == (1.5, expected)

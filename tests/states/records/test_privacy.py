"""What is published of a home: which attributes, and what becomes of names and states."""

from __future__ import annotations

import gc
import json
import weakref
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from smarthouse_api.states.records.privacy import PRIVATE_TYPES, REDACTED, Redactor, home_name, read_attributes
from smarthouse_api.states.records.schema import ROWS, STATES
from smarthouse_api.states.records.sorting import encoded

NOW = datetime(2022, 6, 20, tzinfo=UTC)
SECRET = b"a secret of the deployment"


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    whole = {"day": NOW.date(), "bucket": 0, "home": "k1", "attributes": "{}", "received": NOW, "time": NOW, "state": "on"}
    return pa.RecordBatch.from_pylist([whole | {"type": row["entity_id"].split(".")[0]} | row for row in rows], STATES)


def published(*rows: dict[str, Any], secret: bytes = SECRET, strict: bool = False) -> list[dict[str, Any]]:
    return redacted(Redactor(secret, strict=strict), batch(*rows)).to_pylist()


def redacted(redactor: Redactor, rows: pa.RecordBatch) -> pa.RecordBatch:
    whole = encoded([rows])
    assert whole is not None
    return redactor(redactor.named(whole))


def allowed_attributes(raw: bytes) -> bytes:
    """What the lake keeps of a state's attributes."""
    return msgspec.json.encode(read_attributes(raw))


def allowed(attributes: Any) -> Any:
    return json.loads(allowed_attributes(json.dumps(attributes).encode()))


def test_capabilities_and_measurements_are_kept() -> None:
    kept = {"unit_of_measurement": "°C", "min": 1, "brightness": None, "hs_color": [1.5, 2], "options": ["eco", "away"]}
    assert allowed(kept) == {name: value for name, value in kept.items() if value is not None}


DENIED = """
    user_id latitude longitude gps_accuracy ip_address ip mac ssid serial serial_number access_token entity_picture
    friendly_name icon changed_by elevation azimuth next_rising attribution media_title message forecast id source persons
"""


@pytest.mark.parametrize("key", DENIED.split())
def test_nothing_under_any_other_key_is_kept_at_any_depth(key: str) -> None:
    hidden = {"device_class": {key: "x"}, "options": [{key: "x"}], "min": [key], key: {"device_class": "x"}, "step": 2}
    assert allowed(hidden) == {"step": 2}


def test_text_has_no_place_among_the_measurements() -> None:
    assert allowed({"temperature": "Ann", "humidity": ["Ann"], "rgb_color": ["Ann"], "mode": 5, "max": 3}) == {"max": 3}


@pytest.mark.parametrize("long", ['"' + "x" * 256 + '"', "[" * 40 + "]" * 40, "1" * 5_000, "1e999", "9223372036854775808" * 2])
def test_a_value_out_of_bounds_costs_only_itself(long: str) -> None:
    raw = f'{{"device_class": {long}, "min": {long}, "options": {long}, "max": 3}}'
    assert json.loads(allowed_attributes(raw.encode())).get("max") == 3


def test_the_keys_come_in_one_order() -> None:
    assert allowed_attributes(b'{"max": 2, "min": 1}') == allowed_attributes(b'{"min":1,"max":2}') == b'{"min":1,"max":2}'


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'"x"', b"{", b'{"min": NaN}', b'{"min": 1} x'])
def test_attributes_that_are_no_object_are_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        allowed_attributes(raw)


def test_published_rows_have_the_columns_of_an_export() -> None:
    assert redacted(Redactor(SECRET), batch({"entity_id": "sensor.x"})).cast(ROWS).schema == ROWS


def test_a_home_has_the_same_pseudonym_in_every_export_and_no_two_homes_share_one() -> None:
    first = published({"entity_id": "sensor.x"}, {"entity_id": "sensor.x", "home": "k2"})
    again = published({"entity_id": "sensor.y", "home": "k2"})
    assert first[0]["home"] != first[1]["home"] == again[0]["home"]


def test_another_secret_gives_other_pseudonyms() -> None:
    row = {"entity_id": "person.ann"}
    one, other = published(row)[0], published(row, secret=b"another")[0]
    assert one["home"] != other["home"]
    assert one["entity_id"] != other["entity_id"]


def test_a_pseudonym_is_never_read_as_a_number() -> None:
    homes = {home_name(SECRET, str(key)) for key in range(500)}
    assert len(homes) == 500
    assert all(home.startswith("home_") and "k" not in home[5:] for home in homes)


def test_the_names_of_an_export_go_with_it_and_wait_for_no_garbage_collection() -> None:
    gc.disable()
    try:
        redactor = Redactor(SECRET)
        redacted(redactor, batch({"entity_id": "person.alice"}))
        kept = weakref.ref(redactor)
        del redactor
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", sorted(PRIVATE_TYPES))
def test_the_names_of_people_and_places_are_replaced(kind: str) -> None:
    entity_id = published({"entity_id": f"{kind}.ann_smith"})[0]["entity_id"]
    assert entity_id.startswith(f"{kind}.")
    assert "ann" not in entity_id


def test_other_names_stay() -> None:
    assert published({"entity_id": "sensor.ann"}, {"entity_id": "person.ann"})[0]["entity_id"] == "sensor.ann"


def test_one_person_in_two_homes_has_two_names_and_in_one_home_one() -> None:
    rows = published({"entity_id": "person.ann"}, {"entity_id": "person.ann", "home": "k2"}, {"entity_id": "person.ann"})
    assert rows[0]["entity_id"] == rows[2]["entity_id"] != rows[1]["entity_id"]


@pytest.mark.parametrize("entity_id", [" person.ann", "PERSON.ann", "person_ann", "ｐerson.ann", "per\u200bson.ann", "person"])
@pytest.mark.parametrize("kind", ["person", "unknown"])
def test_no_spelling_hides_a_person_even_where_the_stored_type_was_wrong(entity_id: str, kind: str) -> None:
    (row,) = published({"entity_id": entity_id, "type": kind, "state": "Ann's office"})
    assert row["entity_id"].startswith("person.")
    assert "ann" not in row["entity_id"]
    assert row["state"] == REDACTED


@pytest.mark.parametrize(
    ("entity_id", "state", "told"),
    [
        ("person.ann", "home", "home"),
        ("person.ann", "St Mary's Hospital", REDACTED),
        ("person.ann", "3", REDACTED),
        ("zone.office", "3", "3"),
        ("zone.office", "3.5", REDACTED),
        ("camera.door", "recording", "recording"),
        ("calendar.ann", "Dentist", REDACTED),
        ("calendar.ann", "Home", REDACTED),
        ("sensor.x", "Dentist", "Dentist"),
    ],
)
def test_only_states_in_the_platforms_own_words_stay(entity_id: str, state: str, told: str) -> None:
    assert published({"entity_id": entity_id, "state": state})[0]["state"] == told


def test_a_redacted_state_has_no_value() -> None:
    rows = [{"entity_id": "person.ann", "state": "5551234", "value": 5551234.0}]
    rows += [{"entity_id": "zone.x", "state": "2", "value": 2.0}, {"entity_id": "sensor.x", "state": "3", "value": 3.0}]
    assert [row["value"] for row in published(*rows)] == [None, 2.0, 3.0]


def test_strict_replaces_every_object_part() -> None:
    uploaded = ["sensor.ann", "person.ann", "ann", "ann smith", "hacs.ann", "Ann.Smith's.x"]
    told = [row["entity_id"] for row in published(*({"entity_id": each} for each in uploaded), strict=True)]
    assert [each.split(".")[0] for each in told] == ["sensor", "person", "unknown", "unknown", "hacs", "ann"]
    assert not any("ann" in each.split(".", 1)[1].lower() for each in told)
    assert len(set(told)) == len(told)


def test_the_engines_own_types_of_column_are_accepted() -> None:
    plain = batch({"entity_id": "person.ann", "state": "Gym"}, {"entity_id": "sensor.x"})
    views = {name: plain.column(name) for name in plain.schema.names}
    views |= {name: plain.column(name).cast(pa.string_view()) for name in ("entity_id", "state", "type", "attributes")}
    assert redacted(Redactor(SECRET), pa.RecordBatch.from_pydict(views)).cast(ROWS) == redacted(Redactor(SECRET), plain).cast(
        ROWS
    )

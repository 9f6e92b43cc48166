"""An export as uploaded, for administrators' keys alone: all attributes, in their order; and nobody else reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from flask.testing import FlaskClient

from config.settings import Settings
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, agree, house_of, on_pairs, payload, rows, state, unzipped
from tests.states.export.readers import READERS

environment = on_pairs("embedded_pair", "production_pair")

MARK = "Maria's own oven"
ARRIVAL = datetime(2026, 3, 2, 5, tzinfo=UTC)
ATTRIBUTES = {
    "friendly_name": MARK,
    "unit_of_measurement": "km_h",
    "forecast": [{"temperature": 1.0, "wind": None}],
    "min": 5,
    "latitude": 52.0907,
}


def receive(house: House, *states: Any, home: str = HOME, days: int = 0) -> None:
    house.states.uploads.receive(Upload(home, payload(*states)), ARRIVAL + timedelta(days=days))
    house.states.chores.flush()


def exported(house: House) -> list[dict[str, Any]]:
    export = house.states.exports.open(["json"], Filters(), metadata=False)
    assert export is not None
    try:
        found: list[dict[str, Any]] = rows(b"".join(export))
        return found
    finally:
        export.close()


def compact(house: House) -> None:
    lease = house.states.table.try_write()
    assert lease is not None
    with lease:
        house.states.table.compact(lease, 2, lambda: False)


@pytest.fixture
def house(make_house: Callable[..., House]) -> House:
    return make_house(export_privacy="raw")


def test_attributes_are_as_uploaded_in_every_format(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(export_privacy="raw")
    key = house_of(client).access.create("operator", admin=True)[1]
    receive(house_of(client), state(**ATTRIBUTES), state("light.hall", "on", brightness=7))
    for format_ in FORMATS:
        answer = client.get(f"/api/export/{format_}", headers={"Authorization": f"Bearer {key}"}, buffered=True)
        light, sensor = READERS[format_](unzipped(answer.data)[format_])
        found = [one if isinstance(one, dict) else json.loads(one) for one in (light["attributes"], sensor["attributes"])]
        assert found == [{"brightness": 7}, ATTRIBUTES], format_
        assert list(found[1]) == list(ATTRIBUTES), format_
        assert sensor["unit"] == "km/h", format_


@pytest.mark.parametrize("privacy", ["standard", "strict"])
def test_no_other_privacy_tells_or_reads_them(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, privacy: str
) -> None:
    house = make_house(export_privacy=privacy, export_min_homes=1, enrolled_after_days=1)
    agree(house, HOME)
    receive(house, state(**ATTRIBUTES))
    asked = list[str]()
    stream = type(house.engine).stream
    monkeypatch.setattr(
        type(house.engine), "stream", lambda self, table, query: (asked.append(query.sql()), stream(self, table, query))[1]
    )
    (row,) = exported(house)
    assert row["attributes"] == {"unit_of_measurement": "km/h", "min": 5}
    assert asked
    assert not any("attributes_uploaded" in query for query in asked)


def test_what_arrived_first_stays_before_and_after_a_compaction(house: House) -> None:
    for day, name in enumerate(("first", "second")):
        receive(house, state(friendly_name=name), days=day)
    before = exported(house)
    assert [row["attributes"] for row in before] == [{"friendly_name": "first"}]
    compact(house)
    assert exported(house) == before


def test_texts_of_one_upload_are_told_in_one_order(house: House) -> None:
    receive(house, state(friendly_name="b"), state(friendly_name="a"))
    before = exported(house)
    compact(house)
    assert exported(house) == before
    assert [row["attributes"] for row in before] == [{"friendly_name": "a"}]


def test_times_states_and_ids_are_as_uploaded_and_no_domain_is_left_out(house: House) -> None:
    at = "2026-03-01T12:07:31.123456+00:00"
    receive(house, state("person.maria", "Aunt Ann's", at), state("sun.sun", "above_horizon", at), state("zone.work", "0", at))
    found = {row["entity_id"]: row for row in exported(house)}
    assert set(found) == {"person.maria", "sun.sun", "zone.work"}
    assert found["person.maria"]["state"] == "Aunt Ann's"
    assert {row[name] for row in found.values() for name in ("last_changed", "last_updated", "time")} == {
        "2026-03-01T12:07:31.123456Z"
    }


def test_no_column_tells_the_uuid_that_erases_a_home(house: House) -> None:
    receive(house, state(f"sensor.{HOME}", f"of {HOME.upper()}", unit_of_measurement=HOME, device_class=HOME, event_type=HOME))
    (row,) = exported(house)
    assert HOME not in json.dumps(row).lower()
    assert (row["entity_id"], row["state"], row["unit"]) == ("sensor.redacted", "of redacted", "redacted")


def test_no_id_tells_it_as_home_assistant_spells_it_there(house: House) -> None:
    slug = HOME.replace("-", "_")
    receive(house, state(f"sensor.upload_{slug}_size", icon=f"mdi:{slug.upper()}"))
    (row,) = exported(house)
    assert (row["entity_id"], row["attributes"]) == ("sensor.upload_redacted_size", {"icon": "mdi:redacted"})


def test_the_log_of_the_lake_holds_none_of_them_and_a_deletion_erases_them(embedded_pair: dict[str, str]) -> None:
    house, folder = House(Settings.from_env(embedded_pair)), Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    for number in range(52):  # so many commits that there is a checkpoint
        receive(house, state(value=str(number), friendly_name=MARK))
    receive(house, state(friendly_name="other"), home=OTHER_HOME)

    def files_with(text: str) -> list[Path]:
        return [
            path for path in (folder / "objects" / "tables").rglob("*") if path.is_file() and text.encode() in path.read_bytes()
        ]

    assert files_with(MARK)
    assert not any(path.parent.name == "_delta_log" for path in files_with(MARK))
    snapshot = house.states.table.open()
    assert isinstance(snapshot, DeltaTable)
    assert not any("attributes_uploaded" in name for name in snapshot.get_add_actions(flatten=True).schema.names)
    house.forgetting.forget(HOME)
    assert files_with(MARK) == []
    assert files_with("other")
    house.close()

"""A real Home Assistant uploads to the real service: a day, an outage, restarts, the years before, and leaving again."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.core import ROOT, Core, Lake, wait_for

KITCHEN, LIGHT, SECRET = "sensor.kitchen_temperature", "light.kitchen", "sensor.zorbax_address"
REMOVED = "sensor.attic_temperature"
PLANTED = ("zorbax", "Zorbax", "Rua das Flores", "41.149612", "token-4711")
DEGREES = {"unit_of_measurement": "°C", "device_class": "temperature", "state_class": "measurement"}


@pytest.fixture
def lake(socket_enabled: None, tmp_path: Path) -> Iterator[Lake]:
    if not (ROOT / ".venv/bin/gunicorn").exists():
        pytest.skip("the service is not installed: make run")
    lake = Lake(tmp_path / "service")
    lake.start()
    yield lake
    lake.kill()


@pytest.fixture
def core(socket_enabled: None, tmp_path: Path) -> Iterator[Core]:
    core = Core(tmp_path / "home")
    core.prepare()
    core.start()
    yield core
    core.kill()


def set_state(core: Core, entity_id: str, state: Any, **attributes: Any) -> None:
    core.ask("POST", f"/api/states/{entity_id}", {"state": str(state), "attributes": attributes})


def write_a_day(core: Core, begin: datetime) -> int:
    """Write a state for every five minutes of a day into the recorder's tables, of an entity that the recorder knows."""
    states = 288
    with sqlite3.connect(core.folder / "home-assistant_v2.db", timeout=30) as database:
        (entity,) = database.execute("SELECT metadata_id FROM states_meta WHERE entity_id = ?", [KITCHEN]).fetchone()
        query = "SELECT attributes_id FROM states WHERE metadata_id = ?"
        (attributes,) = database.execute(query, [entity]).fetchone()
        rows = [
            (f"{15 + number / 100:.2f}", entity, attributes, begin.timestamp() + 300 * number + 0.123456)
            for number in range(states)
        ]
        database.executemany(
            "INSERT INTO states (state, metadata_id, attributes_id, last_updated_ts) VALUES (?, ?, ?, ?)", rows
        )
    database.close()
    return states


def recorded(core: Core, entity_id: str, since: datetime) -> list[tuple[str, str]]:
    """What the recorder gives of an entity: state and time of each row."""
    query = f"filter_entity_id={entity_id}&significant_changes_only=0&skip_initial_state&end_time={_z(datetime.now(UTC))}"
    told = core.ask("GET", f"/api/history/period/{_z(since)}?{query}")
    rows = [row for rows in told for row in rows if row["state"] != ""]
    return sorted((row["state"], _z(datetime.fromisoformat(row["last_updated"]))) for row in rows)


def exported(lake: Lake, query: str = "") -> list[dict[str, Any]]:
    """The rows of the service's public export; none for an empty one."""
    body = lake.get(f"/api/export/json?metadata=false{query}")
    if not body:
        return []
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        (name,) = archive.namelist()
        return list(json.loads(archive.read(name)))


def published(lake: Lake, entity_id: str) -> list[tuple[str, str]]:
    rows = [row for row in exported(lake) if row["entity_id"] == entity_id]
    return sorted((row["state"], _z(datetime.fromisoformat(row["last_updated"]))) for row in rows)


def _z(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def import_years(core: Core, entity_id: str) -> datetime:
    """Give the recorder long-term statistics of two hours, two years ago."""
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=700)
    stats = [
        {"start": (begin + timedelta(hours=hour)).isoformat(), "mean": 20.5 + hour, "min": 20.0, "max": 22.0} for hour in (0, 1)
    ]
    metadata = {
        "has_mean": True,
        "has_sum": False,
        "name": None,
        "source": "recorder",
        "statistic_id": entity_id,
        "unit_of_measurement": "°C",
    }
    core.command(type="recorder/import_statistics", metadata=metadata, stats=stats)
    return begin


def set_up(core: Core, lake: Lake) -> str:
    """Set the integration up as its README says, and return the entry's id."""
    begin = {"handler": "smarthouse", "show_advanced_options": False}
    told = core.flow(
        "/api/config/config_entries/flow",
        begin,
        {"url": f"{lake.url}/"},
        {},
        {"terms": "1.0", "agree": True},
        {"domains": ["person"], "entities": [], "areas": [], "labels": [], "pace": "nightly"},
        {"past": "statistics"},
    )
    assert told["type"] == "create_entry", told
    return str(told["result"]["entry_id"])


def home_of(core: Core) -> str:
    entries = json.loads((core.folder / ".storage/core.config_entries").read_text())["data"]["entries"]
    (home,) = [entry["data"]["home_uuid"] for entry in entries if entry["domain"] == "smarthouse"]
    return str(home)


def held(lake: Lake, home: str) -> bytes:
    """All that the service holds of a home, as bytes that can be searched."""
    with urlopen(Request(f"{lake.url}/api/ingest/data", headers={"Home-UUID": home}), timeout=60) as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    parts = [archive.read(name) for name in archive.namelist()]
    return b"\n".join([*parts, *(zlib.decompress(part) for part in parts if part[:1] == b"\x78")])


@pytest.mark.timeout(300)
def test_a_home_joins_uploads_survives_and_leaves(lake: Lake, core: Core) -> None:
    since = datetime.now(UTC) - timedelta(days=3)
    set_state(core, KITCHEN, 19.5, friendly_name="Zorbax's kitchen", **DEGREES)
    set_state(core, LIGHT, "on", brightness=120)
    set_state(core, SECRET, "Rua das Flores 12", access_token="token-4711", latitude=41.149612)
    set_state(core, "person.zorbax", "home")
    set_state(core, REMOVED, 11, **DEGREES)
    core.ask("DELETE", f"/api/states/{REMOVED}")
    wait_for(lambda: len(recorded(core, KITCHEN, since)) == len(recorded(core, REMOVED, since)) == 1, "the first rows")
    written = write_a_day(core, datetime.now(UTC) - timedelta(days=2))
    began_at = import_years(core, KITCHEN)
    import_years(core, REMOVED)
    entry_id = set_up(core, lake)

    # The preview is what is sent.
    told = core.ask("POST", "/api/services/smarthouse/preview?return_response", {})["service_response"]
    assert told["rows"] > 0
    core.press("upload_now")
    assert core.shown("last_fault") == "none"
    assert len(published(lake, KITCHEN)) == written + 1
    assert published(lake, KITCHEN) == recorded(core, KITCHEN, since)
    assert published(lake, LIGHT) == recorded(core, LIGHT, since)
    assert published(lake, REMOVED) == recorded(core, REMOVED, since)
    assert json.loads(told["json"])[KITCHEN][0]["state"] in {state for state, _ in published(lake, KITCHEN)}
    hours = [
        row
        for row in exported(lake, "&every=1h&source=statistics")
        if row["start"] >= _z(began_at) and row["entity_id"] == KITCHEN
    ]
    assert [(row["start"][:13], row["mean"]) for row in hours][:2] == [
        (_z(began_at)[:13], 20.5),
        (_z(began_at + timedelta(hours=1))[:13], 21.5),
    ]

    # An outage: the service is killed, and Home Assistant, too.
    lake.kill()
    for number in range(20):
        set_state(core, KITCHEN, 30 + number, **DEGREES)
    with pytest.raises(AssertionError, match="500"):
        core.press("upload_now")
    assert core.shown("last_fault") == "refused"
    core.stop()
    core.start()
    set_state(core, KITCHEN, 60, **DEGREES)
    lake.start()
    core.press("upload_now")
    assert core.shown("last_fault") == "none"
    assert published(lake, KITCHEN) == recorded(core, KITCHEN, since)
    assert len(published(lake, KITCHEN)) >= written + 22

    # What the service holds, and what Home Assistant says about itself.
    home = home_of(core)
    everything = held(lake, home)
    for planted in (*PLANTED, home):
        assert planted.encode() not in everything, planted
    assert home.encode() not in (core.folder / "program.log").read_bytes()

    # Leaving: the button asks, the repair asks again, the service answers with a receipt.
    core.press("forget_this_home")
    assert exported(lake) != []
    issue = {"handler": "smarthouse", "issue_id": f"forget_{entry_id}"}
    told = core.flow("/api/repairs/issues/fix", issue, {"stop": True}, {"sure": True})
    receipt = told["description_placeholders"]["receipt"]
    assert json.loads(lake.get(f"/api/ingest/receipts/{receipt}"))["receipt"]["id"] == receipt
    assert exported(lake) == []
    set_state(core, KITCHEN, 5, **DEGREES)
    core.press("upload_now")
    assert (core.shown("last_fault"), exported(lake)) == ("left", [])
    with pytest.raises(HTTPError, match="410"):
        urlopen(Request(f"{lake.url}/api/ingest/data", b"{}", {"Home-UUID": home}), timeout=60)

"""An installation of an earlier version is served as it is: everything that it held is there, and is told in the same way.

`tests/data/installation-0.1.0.tar.xz` is a data directory of version 0.1.0 that was stopped in the middle of its work. Uploads,
records and packets are in the lake and in segments, and others only in their logs. A session is open, a deleted stream is not
purged yet, and there are dead letters, deduplication marks and idempotent replies. `answers.json` in the archive holds what
version 0.1.0 answered to `asked`.

`installation-format-2.tar.xz` is a data directory of the last build that wrote format 2, killed in the middle of its work. The
lake holds statistics, and states of own days, late ones and one whose time cannot be right; some partitions have several files.
Other uploads wait in the queue. One of these repeats a day that the lake holds. `answers.jsonl` is what that build exported.

`installation-format-3.tar.xz` is a data directory of the last build that wrote format 3, killed right after a commit to the
lake. It has what the first one has, and statistics, two forgotten homes, one of them not erased yet, and keys that were revoked
and rotated.

`installation-format-4.tar.xz` is the former one, which the last build that wrote format 4 had migrated and served: with more of
each, and killed while uploads, records and a packet waited.

`installation-format-5.tar.xz` is the former one, which the last build that wrote format 5 had migrated: with five days of 12
homes more, which lie in eight buckets, some in two files with repeats. It was killed while uploads waited.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from deltalake.table import TableAlterer
from flask import Flask
from flask.testing import FlaskClient

from backends.sqlite_sums import SqliteSums
from config.settings import Settings
from smarthouse_api.coordination.adding_sums import AddingSums
from smarthouse_api.coordination.store_agreement import FORMAT
from smarthouse_api.coordination.store_marks import ObjectMarks, StateMarks
from smarthouse_api.house import House
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.ledger import Ledger
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.placement import LATE, MERGED, OWN_DAY
from smarthouse_api.states.table import StatesTable
from smarthouse_api.streams.segment_objects import SegmentObjects
from tests.conftest import ROOT, Environment, Server, free_port
from tests.damaging import damage, flipped
from tests.programs import Program, run
from tests.waiting import soon

STATES = 576
"""State changes that its homes have sent, of which some lie in the lake and some wait in the queue."""

INSTALLATION = Path(__file__).parent / "data" / "installation-0.1.0.tar.xz"
OF_FORMAT_3 = Path(__file__).parent / "data" / "installation-format-3.tar.xz"
OF_FORMAT_4 = Path(__file__).parent / "data" / "installation-format-4.tar.xz"
OF_FORMAT_5 = Path(__file__).parent / "data" / "installation-format-5.tar.xz"
OF_FORMAT_2 = Path(__file__).parent / "data" / "installation-format-2.tar.xz"
STREAMS = "/homes/7/smartModules/mod/streams"
PATHS = (
    *(f"/restapi/datasource/67890/records?format={name}" for name in ("json", "jsonl", "csv")),
    "/restapi/datasource/67890/records?limit=7",
    "/restapi/datasource/strict/records?format=jsonl",
    "/v2/data/out/example?after=0&limit=5",
    "/v2/data/out/meters?after=0",
    "/v2/datasets/failed/meters",
    *(f"/v2/datasets/read/{name}" for name in ("meters", "example", "dd")),
    STREAMS,
    f"{STREAMS}/camera",
    f"{STREAMS}/camera/status",
    f"{STREAMS}/camera/sessions?start=0&stop=100000",
    f"{STREAMS}/camera/metadata?start=0&stop=100000",
    *(
        f"{STREAMS}/{name}/data?start=0&stop=1000000&format={form}"
        for name in ("camera", "log")
        for form in ("octets", "ndjson")
    ),
)
VOLATILE = re.compile(
    rb'"resmsgid": ?"[^"]*"|"ts": ?"[^"]*"|[0-9a-f]{32,64}|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|\+00:00)?)?', re.ASCII
)
AGELESS = {"SMARTHOUSE_COLLECTION_TOPIC_SECONDS": "3000000000", "SMARTHOUSE_COLLECTION_ASIDE_DAYS": "36500"}
"""Nothing that the installation holds is too old to be kept, whenever this is run."""

NEWER_MEMBERS = {
    *("extraction_config", "denorm_config", "transformations_config", "connectors_config"),
    *("sample_data", "client_state", "created_by", "updated_by"),
}
"""What a dataset's definition tells by now, and did not tell in version 0.1.0."""

HOME = "00000001-1111-4222-8333-000000000001"


def asked(client: FlaskClient, key: str) -> dict[str, Any]:
    """What the installation answers. Files are told by their checksums, ids and times that differ each time not at all."""
    authorization = {"Authorization": f"Bearer {key}"}
    told: dict[str, Any] = {}
    for path in PATHS:
        answer = client.get(path, headers=authorization, follow_redirects=True)
        data = as_told_by_0_1_0(answer.data) if path.startswith("/v2/datasets/read/") else answer.data
        data = _steady(data) if path.startswith("/v2") else data
        told[path] = [answer.status_code, answer.content_type, zlib.crc32(data)]
    for what, path, body, more in (
        ("the same upload again", "/api/ingest/data", b"{}", {"Home-UUID": HOME, "Idempotency-Key": "k0"}),
        (
            "the same packet again",
            f"{STREAMS}/camera/data",
            b"00007" * 200,
            {**authorization, "Content-Type": "application/octet-stream", "Idempotency-Key": "s7"},
        ),
        ("the same record again", "/restapi/datasource/insert", RECORD, {**authorization, "Idempotency-Key": "p5"}),
    ):
        answer = client.post(path, data=body, headers={"Content-Type": "application/json", **more})
        told[what] = [answer.status_code, answer.headers.get("Idempotency-Replayed"), answer.json]
    return told


RECORD = json.dumps({"datasource_id": "67890", "data": [{"n": 5, "timestamp": "2026-03-01T10:05:00+02:00"}]}).encode()


def as_told_by_0_1_0(data: bytes) -> bytes:
    """Leave the newer members out of the definition in an answer. All else stays as it is, in its order."""
    answer = msgspec.json.decode(data)
    assert answer["result"].keys() >= NEWER_MEMBERS
    answer["result"] = {name: value for name, value in answer["result"].items() if name not in NEWER_MEMBERS}
    return msgspec.json.encode(answer)


def _steady(data: bytes) -> bytes:
    return VOLATILE.sub(b"*", data)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    with tarfile.open(INSTALLATION) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def environment(left: Path) -> dict[str, str]:
    return {**AGELESS, "SMARTHOUSE_DATA_DIR": str(left / "data"), "SMARTHOUSE_HOUSEKEEPING": "worker"}


@pytest.fixture
def app(left: Path, app_in: Callable[[Environment], Flask]) -> Flask:
    return app_in(environment(left))


def rows_of(zipped: bytes) -> list[dict[str, str]]:
    """The rows of an export without documents, in CSV."""
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        (name,) = archive.namelist()
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def exported(client: FlaskClient) -> list[dict[str, str]]:
    return rows_of(client.get("/api/export/csv?metadata=false").data)


def answers_of(left: Path) -> dict[str, Any]:
    """What version 0.1.0 answered, without its exports and its Parquet: those look otherwise by now."""
    answers = json.loads((left / "answers.json").read_text())
    return {
        name: answer
        for name, answer in answers.items()
        if not name.startswith(("csv:", "json:", "jsonl:", "xml:")) and "parquet" not in name
    }


def keep_house(app: Flask) -> None:
    while app.extensions["smarthouse"].housekeeper.keep():
        pass


def buckets(app: Flask) -> set[int]:
    table = app.extensions["smarthouse"].states.table.open()
    return set(table.to_pyarrow_table()["bucket"].to_pylist())


def test_it_answers_as_the_version_did_that_left_it(app: Flask, left: Path) -> None:
    assert asked(app.test_client(), (left / "key").read_text()) == answers_of(left)


def test_it_answers_so_after_all_chores(app: Flask, left: Path) -> None:
    keep_house(app)
    assert asked(app.test_client(), (left / "key").read_text()) == answers_of(left)


def test_its_rows_are_the_same_before_and_after_they_are_brought_to_their_place(app: Flask) -> None:
    before = exported(app.test_client())
    assert min(buckets(app)) < OWN_DAY
    keep_house(app)
    assert min(buckets(app)) >= OWN_DAY
    assert exported(app.test_client()) == before
    assert len(before) == STATES


def test_a_service_that_is_killed_while_it_brings_them_over_loses_and_doubles_none(app: Flask, left: Path) -> None:
    before = exported(app.test_client())
    house = app.extensions["smarthouse"]
    eager = {"SMARTHOUSE_HOUSEKEEPING": "api", "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.05"}
    server = Server({**environment(left), **eager})
    server.start()
    server.kill()
    server.start()
    soon(lambda: not house.states.table.outdated())
    assert rows_of(server.export("csv", metadata="false").content) == before
    server.kill()


# Format 2: the lake has no attributes as uploaded


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder


@pytest.fixture
def left_by_2(tmp_path: Path) -> Path:
    return unpacked(OF_FORMAT_2, tmp_path)


@pytest.fixture
def house(left_by_2: Path) -> Iterator[House]:
    house = House(Settings.from_env(environment(left_by_2)))
    yield house
    house.close()


def lines_of(house: House) -> list[str]:
    export = house.states.exports.open(["jsonl"], Filters(), metadata=False)
    assert export is not None
    try:
        with zipfile.ZipFile(io.BytesIO(b"".join(export))) as archive:
            return archive.read(archive.namelist()[0]).decode().splitlines()
    finally:
        export.close()


def raw_attributes(left: Path) -> dict[tuple[str, str], set[frozenset[str]]]:
    """Which attributes an export as uploaded has, by the entity and the day."""
    house, told = House(Settings.from_env({**environment(left), "SMARTHOUSE_EXPORT_PRIVACY": "raw"})), defaultdict(set)
    for row in map(json.loads, lines_of(house)):
        told[row["entity_id"], row["time"][:10]].add(frozenset(row["attributes"]))
    house.close()
    return told


def has_the_column(house: House) -> bool:
    table = house.states.table.open()
    assert table is not None
    return "attributes_uploaded" in {field.name for field in table.schema().fields}


def compact(house: House) -> bool:
    lease = house.states.table.try_write()
    assert lease is not None
    with lease:
        return house.states.table.compact(lease, 2, lambda: False)


def test_format_2_is_exported_as_it_was_before_and_after_all_chores(house: House, left_by_2: Path) -> None:
    assert not has_the_column(house)
    answers = (left_by_2 / "answers.jsonl").read_text().splitlines()
    assert lines_of(house) == answers
    assert has_the_column(house)
    while house.housekeeper.keep():
        pass
    compact(house)
    assert lines_of(house) == answers


def test_format_2_is_compacted_before_anything_else_is_written(house: House, left_by_2: Path) -> None:
    assert compact(house)
    assert has_the_column(house)
    assert lines_of(house) == (left_by_2 / "answers.jsonl").read_text().splitlines()


def test_what_format_2_wrote_has_what_may_be_published_and_what_waited_has_all(left_by_2: Path) -> None:
    told = raw_attributes(left_by_2)
    oven = frozenset({"state_class", "unit_of_measurement", "device_class"})
    assert told["sensor.kitchen_power", "2026-11-26"] == {oven}  # it came again later, but the first arrival stays
    assert told["sensor.kitchen_power", "2026-11-28"] == {oven | {"friendly_name", "icon"}}
    assert told["sensor.new", "2026-11-28"] == {frozenset({"unit_of_measurement", "friendly_name"})}
    assert told["person.maria", "2026-11-28"] == {frozenset({"editable", "id", "user_id", "friendly_name"})}


def test_version_0_1_0_is_exported_as_uploaded(left: Path) -> None:
    assert len(exported_states := raw_attributes(left)) > 1
    assert any("friendly_name" in names for found in exported_states.values() for names in found)


def test_an_upgrade_that_dies_between_its_steps_is_done_again(
    house: House, left_by_2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("add_columns", "set_table_properties"):
        with monkeypatch.context() as patch:
            patch.setattr(TableAlterer, step, dies)
            with suppress(KeyboardInterrupt):
                lines_of(house)
    assert lines_of(house) == (left_by_2 / "answers.jsonl").read_text().splitlines()


def test_a_service_that_is_killed_while_it_takes_over_format_2_loses_and_doubles_none(left_by_2: Path) -> None:
    eager = {"SMARTHOUSE_HOUSEKEEPING": "api", "SMARTHOUSE_CURATE_INTERVAL_SECONDS": "0.05"}
    server = Server({**environment(left_by_2), **eager})
    server.start()
    server.kill()
    server.start()
    answers = [json.loads(line) for line in (left_by_2 / "answers.jsonl").read_text().splitlines()]
    found = rows_of(server.export("csv", metadata="false").content)
    server.kill()
    assert [(row["home"], row["entity_id"], row["time"], row["state"], json.loads(row["attributes"])) for row in found] == [
        (row["home"], row["entity_id"], row["time"], row["state"], row["attributes"]) for row in answers
    ]


# Format 3: neither store bears an id, segments have no sums, and the lake has no ledger

UNPURGED = {
    "SMARTHOUSE_PURGE_DELAY_SECONDS": "3000000000",
    "SMARTHOUSE_COLLECTION_READS_AT_ONCE": "99",
    "SMARTHOUSE_STREAM_DOWNLOADS_AT_ONCE": "99",
}
"""The home that waits to be erased goes on waiting, whenever this is run. One may ask for all several times."""


@pytest.fixture
def left_by_3(tmp_path: Path) -> Path:
    return unpacked(OF_FORMAT_3, tmp_path)


@pytest.fixture
def app_of_3(left_by_3: Path, app_in: Callable[[Environment], Flask]) -> Flask:
    return app_in({**environment(left_by_3), **UNPURGED})


def house_in(app: Flask) -> House:
    house = app.extensions["smarthouse"]
    assert isinstance(house, House)
    return house


def check_as_left(app: Flask, left: Path) -> None:
    """See that all is as the build told that left it: answers, exported rows, statistics, and which keys open what."""
    client, keys = app.test_client(), json.loads((left / "keys.json").read_text())
    assert asked(client, (left / "key").read_text()) == json.loads((left / "answers.json").read_text())
    assert lines_of(house_in(app)) == (left / "answers.jsonl").read_text().splitlines()
    statistics = house_in(app).states.statistics.open()
    assert statistics is not None
    assert sum(len(period) for period in house_in(app).states.statistics.periods(statistics)) == STATISTICS
    opens = {
        name: client.get(STREAMS, headers={"Authorization": f"Bearer {key}"}).status_code == 200 for name, key in keys.items()
    }
    assert opens == {"revoked": False, "old": False, "new": True}


STATISTICS = 30
"""Periods that its homes have sent."""


def test_format_3_is_as_it_was_before_and_after_it_is_migrated(app_of_3: Flask, left_by_3: Path) -> None:
    check_as_left(app_of_3, left_by_3)
    assert len(house_in(app_of_3).states.homes.hidden()) == 1
    told = list(house_in(app_of_3).migrating.run())
    assert f"stores: marked with format {FORMAT}, before: 3" in told
    assert any(line.startswith("collections: the lake's table has what it lacked") for line in told)
    assert any(line.startswith("streams: the packets of 1 streams") for line in told)
    assert any(line.startswith("state: ") and line.endswith("entries were given checksums") for line in told)
    assert list(house_in(app_of_3).migrating.run()) == told[:1]
    check_as_left(app_of_3, left_by_3)
    keep_house(app_of_3)
    check_as_left(app_of_3, left_by_3)


def test_format_3_is_brought_over_by_the_chores_too(app_of_3: Flask, left_by_3: Path) -> None:
    keep_house(app_of_3)
    check_as_left(app_of_3, left_by_3)
    assert [line for line in house_in(app_of_3).migrating.run() if not line.startswith("stores:")] == []


STEPS = (
    (StateMarks, "put_id"),
    (ObjectMarks, "put_number"),
    (SqliteSums, "add"),
    (TableAlterer, "set_table_properties"),
    (Ledger, "adopt"),
    (SegmentObjects, "add_sums"),
)
"""In their order."""


@pytest.mark.parametrize("is_done", [False, True])
def test_a_migration_that_dies_at_each_step_is_done_again(
    app_of_3: Flask, left_by_3: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    """Each that follows goes on where the one before died, and dies at the next step."""
    dead = list[House]()
    for kind, step in STEPS:
        act = getattr(kind, step)

        def dies(*given: Any, act: Callable[..., None] = act, **more: Any) -> None:
            if is_done:
                act(*given, **more)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(kind, step, dies)
            with pytest.raises(KeyboardInterrupt):
                list(house_in(app_of_3).migrating.run())
        dead.append(house_in(app_of_3))
        app_of_3.extensions["smarthouse"] = House(dead[-1].settings)
    list(house_in(app_of_3).migrating.run())
    check_as_left(app_of_3, left_by_3)
    for house in dead:
        house.close()


@pytest.mark.parametrize("archive", [OF_FORMAT_3, OF_FORMAT_4, OF_FORMAT_5], ids=["format 3", "format 4", "format 5"])
def test_a_migration_that_is_killed_loses_and_doubles_none(
    tmp_path: Path, archive: Path, app_in: Callable[[Environment], Flask]
) -> None:
    left = unpacked(archive, tmp_path)
    settings = {**os.environ, **environment(left), **UNPURGED}
    command = [sys.executable, "-m", "smarthouse_api.cli", "migrate"]
    process = Program(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    done = run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1].endswith("left to bring over")
    check_as_left(app_in({**environment(left), **UNPURGED}), left)
    assert without_checksum(left) == 0


# Format 4: neither documents nor entries of the state have checksums


@pytest.fixture
def left_by_4(tmp_path: Path) -> Path:
    return unpacked(OF_FORMAT_4, tmp_path)


@pytest.fixture
def app_of_4(left_by_4: Path, app_in: Callable[[Environment], Flask]) -> Flask:
    return app_in({**environment(left_by_4), **UNPURGED})


def without_checksum(left: Path) -> int:
    with closing(sqlite3.connect(left / "data" / "state.db")) as database:
        asked = (f"SELECT count(*) FROM {table} WHERE checksum IS NULL" for table in ("documents", "entries"))
        return sum(database.execute(one).fetchone()[0] for one in asked)


def test_format_4_is_as_it_was_and_its_state_is_given_checksums_in_small_turns(
    app_of_4: Flask, left_by_4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.sqlite_sums._AT_ONCE", 10)
    check_as_left(app_of_4, left_by_4)
    before, house = without_checksum(left_by_4), house_in(app_of_4)
    assert before > 150
    adding = AddingSums(house.state)
    adding.run(lambda: True)
    assert before - 10 <= without_checksum(left_by_4) < before
    told = list(house.migrating.run())
    assert told[0] == f"stores: marked with format {FORMAT}, before: 4"
    assert without_checksum(left_by_4) == 0
    assert list(house.migrating.run()) == told[:1]
    adding.run(lambda: False)
    assert [one for one in house.verifying.run(1.0, lambda *_: None) if one.store == "state"] == []
    check_as_left(app_of_4, left_by_4)


def test_format_4_is_brought_over_by_the_chores_and_then_no_bit_of_it_is_served(app_of_4: Flask, left_by_4: Path) -> None:
    keep_house(app_of_4)
    assert without_checksum(left_by_4) == 0
    check_as_left(app_of_4, left_by_4)
    house = house_in(app_of_4)
    secret = house.state.get("installation", "secret")
    assert secret is not None
    damage(environment(left_by_4), secret.value, flipped(secret.value))
    assert app_of_4.test_client().get("/api/export/csv").status_code == 503
    assert house.health()[1]


# Format 5: days that are over lie in eight buckets, as their rows came


@pytest.fixture
def left_by_5(tmp_path: Path) -> Path:
    return unpacked(OF_FORMAT_5, tmp_path)


@pytest.fixture
def app_of_5(left_by_5: Path, app_in: Callable[[Environment], Flask]) -> Flask:
    return app_in({**environment(left_by_5), **UNPURGED})


def rows_told(house: House) -> int:
    """How many rows the questions about the lake tell."""
    with house.states.contents.open() as opened:
        return opened.select(Filters()).rows


def days_over(house: House) -> set[tuple[str, int]]:
    """The days and the buckets of the usual rows of days that are over."""
    table = house.states.table.open()
    assert table is not None
    files = files_of(table)
    places = zip(files["partition.day"].to_pylist(), files["partition.bucket"].to_pylist(), strict=True)
    return {(str(day), bucket) for day, bucket in places if OWN_DAY <= bucket < LATE and str(day) < "2026-11"}


@pytest.mark.parametrize("by", ["command", "chores"])
def test_format_5_is_as_it_was_and_days_that_are_over_are_merged(app_of_5: Flask, left_by_5: Path, by: str) -> None:
    check_as_left(app_of_5, left_by_5)
    house = house_in(app_of_5)
    count = len((left_by_5 / "answers.jsonl").read_text().splitlines())
    assert rows_told(house) == count
    before = days_over(house)
    assert len(before) > 3 * len({day for day, _ in before})
    assert max(bucket for _, bucket in before) < MERGED
    if by == "command":
        told = list(house.migrating.run())
        assert told[0] == f"stores: marked with format {FORMAT}, before: 5"
        assert told[1].startswith("states: the rows of ")
        assert list(house.migrating.run()) == told[:1]
    else:
        keep_house(app_of_5)
    after = days_over(house)
    assert {bucket for _, bucket in after} == {MERGED}
    assert {day for day, _ in after} == {day for day, _ in before}
    assert house.states.table.untidy() == []
    check_as_left(app_of_5, left_by_5)
    assert rows_told(house) == count


@pytest.mark.parametrize(("step", "is_done"), [("_replace", False), ("_replace", True), ("_record", True)])
def test_format_5_is_served_whole_after_a_merging_of_days_that_died(
    app_of_5: Flask, left_by_5: Path, monkeypatch: pytest.MonkeyPatch, step: str, is_done: bool
) -> None:
    house, act, calls = house_in(app_of_5), getattr(StatesTable, step), list[str]()
    lines_of(house)  # what waited is in the lake

    def dies(*given: Any, **more: Any) -> None:
        calls.append(step)
        if len(calls) < 3 or is_done:
            act(*given, **more)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StatesTable, step, dies)
        with pytest.raises(KeyboardInterrupt):
            list(house.migrating.run())
    assert len({bucket < MERGED for _, bucket in days_over(house)}) > 1  # some days are merged
    assert lines_of(house) == (left_by_5 / "answers.jsonl").read_text().splitlines()
    app_of_5.extensions["smarthouse"] = House(house.settings)
    list(house_in(app_of_5).migrating.run())
    assert {bucket for _, bucket in days_over(house)} == {MERGED}
    check_as_left(app_of_5, left_by_5)


def test_a_newer_format_is_refused_at_start_in_a_sentence(left: Path) -> None:
    house = House(Settings.from_env(environment(left)))
    house.state.put("installation", "format", b"99")
    house.close()
    sentence = "the state store has format 99, and this version reads formats 1 to"
    for command in (["gunicorn", "-c", "config/gunicorn.py", "wsgi:app"], ["smarthouse_api.cli", "migrate"]):
        done = run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, **environment(left), "PORT": str(free_port()), "HOST": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0
        assert sentence in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr

"""An installation of an earlier version is served as it is: everything that it held is there, and is told in the same way.

`tests/data/installation-0.1.0.tar.xz` is a data directory of version 0.1.0 that was stopped in the middle of its work. Uploads,
records and packets are in the lake and in segments, and others only in their logs. A session is open, a deleted stream is not
purged yet, and there are dead letters, deduplication marks and idempotent replies. `answers.json` in the archive holds what
version 0.1.0 answered to `asked`.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from config.settings import Settings
from smarthouse_api.app import create_app
from smarthouse_api.house import House
from smarthouse_api.states.records.placement import OWN_DAY
from tests.conftest import ROOT, Server, free_port
from tests.waiting import soon

STATES = 576
"""State changes that its homes have sent, of which some lie in the lake and some wait in the queue."""

INSTALLATION = Path(__file__).parent / "data" / "installation-0.1.0.tar.xz"
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

HOME = "00000001-1111-4222-8333-000000000001"


def asked(client: FlaskClient, key: str) -> dict[str, Any]:
    """What the installation answers. Files are told by their checksums, ids and times that differ each time not at all."""
    authorization = {"Authorization": f"Bearer {key}"}
    told: dict[str, Any] = {}
    for path in PATHS:
        answer = client.get(path, headers=authorization, follow_redirects=True)
        data = _steady(answer.data) if path.startswith("/v2") else answer.data
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
def app(left: Path) -> Iterator[Flask]:
    app = create_app(Settings.from_env(environment(left)))
    yield app
    app.extensions["smarthouse"].close()


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
    for _ in range(2):
        server.start()
        server.kill()
    server.start()
    soon(lambda: not house.states.table.outdated())
    assert rows_of(server.export("csv", metadata="false").content) == before
    server.kill()


def test_a_newer_format_is_refused_at_start_in_a_sentence(left: Path) -> None:
    house = House(Settings.from_env(environment(left)))
    house.state.put("installation", "format", b"99")
    house.close()
    sentence = "the state store has format 99, and this version reads formats 1 to"
    for command in (["gunicorn", "-c", "config/gunicorn.py", "wsgi:app"], ["smarthouse_api.cli", "forgotten"]):
        done = subprocess.run(
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

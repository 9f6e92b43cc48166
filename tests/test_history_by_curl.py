"""The command in `docs/importing.md` that uploads a running Home Assistant's history, run with bash as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.conftest import HOME, ROOT, Environment, rows, state
from tests.recorder.standin import Answer, Request, stand_in
from tests.servers import program

TOKEN = "a-long-lived-token"
CLIMATE = "climate.kitchen"
WARM = {"unit_of_measurement": "°C", "friendly_name": "Küche, oben"}


def sensor(number: int) -> str:
    return f"sensor.room_{number // 60}_{number % 60}"


RECORDED: dict[str, list[Any]] = {
    CLIMATE: [state(CLIMATE, "heat", f"2026-11-21T0{hour}:00:00+00:00", temperature=20 + hour) for hour in range(3)],
    **{
        sensor(number): [
            state(sensor(number), f"{20 + number / 10}", f"2026-11-{day}T12:00:00.123456+00:00", **WARM)
            for day in (19, 21, 22, 30)
        ]
        for number in range(119)
    },
}
"""Enough entities for three requests, with states before and after the span that the document asks for."""


class HomeAssistant:
    """Answers as a core of 2026 does: to its token alone, and with the defaults of its two endpoints."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {}, b"401: Unauthorized"
        if url.path == "/api/states":
            return _json([states[-1] for states in RECORDED.values()])
        since = url.path.removeprefix("/api/history/period/")
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if since == url.path or "filter_entity_id" not in query:
            return 400, {}, b'{"message": "filter_entity_id is missing"}'
        self.asked.append(query["filter_entity_id"].split(","))
        return _json([_history(one, unquote(since), query) for one in self.asked[-1]])


def _history(entity_id: str, since: str, query: dict[str, str]) -> list[Any]:
    start, end = datetime.fromisoformat(since), datetime.fromisoformat(query["end_time"])
    told = [one for one in RECORDED[entity_id] if start < datetime.fromisoformat(one["last_updated"]) < end]
    if query.get("significant_changes_only", "1") != "0":
        told = told[:1]
    if "skip_initial_state" not in query:
        told.insert(0, RECORDED[entity_id][0] | {"last_changed": since, "last_updated": since})
    return told


def _json(answer: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def run(folder: Path, home_assistant: str, service: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run the document's command with its two addresses changed, and nothing else."""
    for name in ("bash", "curl", "jq"):
        program(name, f"apt-get install {name}")
    (folder / "ha-token").write_text(f"Authorization: Bearer {token}\n")
    (folder / "home-uuid").write_text(f"Home-UUID: {HOME}\n")
    (command,) = re.findall(r"```sh\n(HA=.*?)```", (ROOT / "docs" / "importing.md").read_text(), re.DOTALL)
    for name, url in (("HA", home_assistant), ("API", service)):
        command, changes = re.subn(rf"^{name}=.*$", f"{name}={url}/api", command, flags=re.MULTILINE)
        assert changes == 1
    bash = ["bash", "-c", command]
    return subprocess.run(bash, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=30)


@pytest.fixture
def environment(memory_pair: Environment) -> Environment:
    return memory_pair


@pytest.fixture
def service(client: FlaskClient) -> Iterator[str]:
    """Serves the application of `client` on a free port of the loopback."""
    server = make_server("127.0.0.1", 0, client.application, threaded=True, request_handler=Silent)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Silent(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        pass


def test_the_documented_command_uploads_the_history_and_may_be_repeated(
    client: FlaskClient, service: str, tmp_path: Path
) -> None:
    home_assistant = HomeAssistant()
    with stand_in(choose=home_assistant) as core:
        first = run(tmp_path, core.url, service)
        again = run(tmp_path, core.url, service)

    told = {
        (one["entity_id"], one["state"], datetime.fromisoformat(one["last_updated"]))
        for states in RECORDED.values()
        for one in states
        if "2026-11-20" <= one["last_updated"] < "2026-11-30"
    }
    found = rows(client.get("/api/export/json?metadata=false").data)
    assert {(row["entity_id"], row["state"], datetime.fromisoformat(row["time"])) for row in found} == told
    assert len(found) == len(told) == 3 + 2 * 119
    assert {row["unit"] for row in found if row["type"] == "sensor"} == {"°C"}

    assert [len(some) for some in home_assistant.asked] == [50, 50, 20] * 2
    receipts = [[json.loads(line) for line in done.stdout.splitlines()] for done in (first, again)]
    assert [[receipt["duplicate"] for receipt in one] for one in receipts] == [[False] * 3, [True] * 3]
    assert sum(receipt["records"] for receipt in receipts[0]) == len(told)
    assert (first.stderr, again.stderr) == ("", "")


def test_a_wrong_token_uploads_nothing_and_says_why(tmp_path: Path) -> None:
    with stand_in(choose=HomeAssistant()) as core, stand_in() as service:
        done = run(tmp_path, core.url, service.url, token="another")

    assert "401" in done.stderr
    assert done.stdout == ""
    assert service.requests == []

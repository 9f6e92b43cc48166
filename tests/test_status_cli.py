"""`smarthouse status`: one page for an operator, and the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.settings import Settings
from smarthouse_api.cli import main
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, payload, state


@pytest.fixture
def runner(embedded_pair: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr("smarthouse_api.serving.logs.log_to_stderr", lambda *_: None)
    for name, value in embedded_pair.items():
        monkeypatch.setenv(name, value)
    house = House(Settings.from_env(embedded_pair))
    house.begin()
    house.states.uploads.receive(Upload(HOME, payload(state())))
    house.close()
    return CliRunner()


def test_it_shows_what_an_operator_asks_for(runner: CliRunner) -> None:
    shown = runner.invoke(main, ["status"])
    assert shown.exit_code == 0, shown.output
    for part in (
        "Ready",
        "that upload        1",
        "uploads for the lake      1, the oldest for",
        "Processes",
        "backup  never",
        "free for the objects",
        "uploads of the home with the most",
        " of 10.7 GB, 0%",
        "records of all collections               0 Bytes, without a quota",
    ):
        assert part in shown.output
    narrow = runner.invoke(main, ["status"], env={"COLUMNS": "80"}).output.splitlines()
    assert max(map(len, narrow)) <= 80
    assert {word for line in narrow for word in line.split()} >= {"homes", "list", "--silent", "7d`", "wait"}


def test_it_tells_the_same_as_json(runner: CliRunner) -> None:
    told = json.loads(runner.invoke(main, ["status", "--json"]).output)
    assert min(told["free_bytes"].values()) > 0
    assert told["quotas"]["home"]["used"] == told["uploads"]["bytes"] > 0
    assert told["quotas"]["records"] == {"used": 0, "most": None}
    assert (told["homes"]["active_day"], told["waiting"]["uploads"], told["readiness"]["ready"]) == (1, 1, True)


def test_it_ends_with_1_unless_the_installation_can_be_served(runner: CliRunner, embedded_pair: dict[str, str]) -> None:
    house = House(Settings.from_env(embedded_pair))
    house.installation.hold_back("a test")
    house.close()
    shown = runner.invoke(main, ["status"])
    assert shown.exit_code == 1
    assert "a test" in shown.output


def test_an_engine_that_is_down_and_missing_workers_are_warnings(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTHOUSE_HOUSEKEEPING", "worker")
    monkeypatch.setenv("SMARTHOUSE_ENGINE_URL", "sc://127.0.0.1:9")

    def fail(_: object) -> str:
        raise Unavailable("The query engine does not answer")

    monkeypatch.setattr("smarthouse_api.lake.spark.SparkEngine.check", fail)
    shown = runner.invoke(main, ["status"])
    assert shown.exit_code == 0, shown.output
    for part in ("workers       warning: none runs", "engine        warning: "):
        assert part in shown.output


def test_it_shows_all_else_where_a_table_is_damaged(runner: CliRunner, embedded_pair: dict[str, str]) -> None:
    house = House(Settings.from_env(embedded_pair))
    house.states.chores.flush()
    house.close()
    log = Path(embedded_pair["SMARTHOUSE_DATA_DIR"], "objects/tables/states/_delta_log")
    max(log.glob("*.json")).write_bytes(b"")
    shown = runner.invoke(main, ["status"])
    assert shown.exit_code == 1, shown.output
    for part in ("NOT READY", "states  DAMAGED: see above", "that upload        1", "backup  never"):
        assert part in shown.output

"""`smarthouse homes list|show|forget` for homes that upload, as an operator runs them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from smarthouse_api.cli import main
from smarthouse_api.house import House
from smarthouse_api.states.records.privacy import home_name
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, Environment, agree, payload, state

BODY = payload(state())
Command = Callable[..., Result]

pytestmark = pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)


@pytest.fixture
def smarthouse(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs `smarthouse homes` in this process, on the installation of `house`."""
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # as the command does
    monkeypatch.setattr("smarthouse_api.serving.logs.log_to_stderr", lambda *_: None)
    mask = os.umask(0o077)
    yield lambda *words, typed="", **changes: CliRunner().invoke(
        main, ["homes", *words], env={**environment, **changes}, input=typed, catch_exceptions=False
    )
    os.umask(mask)


@pytest.fixture
def filled(house: House) -> House:
    """Two homes: one uploaded a moment ago, the other nine days ago."""
    house.installation.settle()
    house.states.uploads.receive(Upload(HOME, BODY))
    house.states.uploads.receive(Upload(HOME, b"?"))
    house.states.uploads.receive(Upload(OTHER_HOME, BODY), datetime.now(UTC) - timedelta(days=9))
    return house


def lines(told: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_list_tells_how_much_each_home_uploaded_and_since_when_it_is_silent(filled: House, smarthouse: Command) -> None:
    filled.access.assign([7], "p")
    told = smarthouse("list").stdout.splitlines()
    assert told[0].split() == ["home", "first", "last", "uploads", "records", "bytes", "silent"]
    cells = sorted((line.split() for line in told[1:3]), key=lambda row: row[3])
    assert [row[3:] for row in cells] == [["1", "1", str(len(BODY)), "9d"], ["2", "1", str(len(BODY) + 1), cells[1][6]]]
    assert re.fullmatch("[0-9]+[sm]", cells[1][6])
    assert told[3].split() == ["2", "in", "all", "3", "2", str(2 * len(BODY) + 1)]
    assert [line.split() for line in told[5:]] == [["home", "project"], ["7", "p"]]
    for order, uploads in (("bytes", ["2", "1"]), ("silent", ["1", "2"]), ("last", ["1", "2"])):
        assert [line.split()[3] for line in smarthouse("list", "--sort", order).stdout.splitlines()[1:3]] == uploads
    assert HOME not in smarthouse("list", "--json").stdout
    assert [one.get("uploads", one.get("project")) for one in lines(smarthouse("list", "--json"))].count("p") == 1


def test_silent_lists_only_homes_that_uploaded_nothing_for_so_long(filled: House, smarthouse: Command) -> None:
    (silent,) = lines(smarthouse("list", "--silent", "7d", "--json"))
    assert silent["bytes"] == len(BODY)
    assert lines(smarthouse("list", "--silent", "10d", "--json")) == []


def test_homes_have_the_pseudonyms_of_the_exports(filled: House, smarthouse: Command) -> None:
    secret = filled.states.exports._asking._keyring.key("export")
    published = {home_name(secret, key) for key in filled.states.homes.known()}
    assert {one["home"] for one in lines(smarthouse("list", "--json"))} == published


def test_show_tells_what_is_kept_of_a_home(filled: House, smarthouse: Command) -> None:
    filled.states.chores.flush()
    agree(filled, HOME)
    home = max(lines(smarthouse("list", "--json")), key=lambda one: str(one["uploads"]))["home"]
    (told,) = lines(smarthouse("show", str(home), "--json"))
    assert (told["uploads"], told["records"], told["rows"], told["streams"]) == (2, 1, 1, [])
    assert (told["expired_uploads"], told["consent"]) == (0, ["1.0 rows"])
    assert f"rows             {told['rows']}" in smarthouse("show", str(home)).stdout
    for wrong in ("home_" + "0" * 16, HOME):
        refused = smarthouse("show", wrong)
        assert refused.exit_code != 0
        assert HOME not in refused.output


def test_forget_asks_and_does_what_a_deletion_does(filled: House, smarthouse: Command) -> None:
    filled.states.homes.link(HOME, 77)
    homes = {one["uploads"]: str(one["home"]) for one in lines(smarthouse("list", "--json"))}
    refused = smarthouse("forget", homes[2], typed="n\n")
    assert refused.exit_code == 1
    assert f"All uploads of home {homes[2]} will be erased. Continue?" in refused.stdout
    assert filled.states.homes.find(HOME) is not None
    done, told = smarthouse("forget", homes[2], typed="y\n").stdout.splitlines()[-2:]
    assert done.endswith(f"Home {homes[2]}: forgotten")
    name, _, receipt = told.partition(": its receipt is at /api/ingest/receipts/")
    assert name == homes[2]
    assert filled.receipts.read(receipt)["state"] in ("hidden", "pending", "erased")
    assert HOME not in told
    assert filled.states.homes.find(HOME) is None
    assert filled.states.homes.linked(filled.states.homes.tag(HOME)) == []
    assert [info.size_bytes for info in filled.objects.list("raw/")] == [len(BODY)]
    assert [one["home"] for one in lines(smarthouse("list", "--json"))] == [homes[1]]
    told = smarthouse("forget", "7", homes[1], "--yes")
    assert told.stdout.startswith(f"Homes 7, {homes[1]}: forgotten\n{homes[1]}: its receipt is at ")

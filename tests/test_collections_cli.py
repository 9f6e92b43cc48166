"""`smarthouse collections`, as an operator runs it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from config.settings import Settings
from smarthouse_api import measures
from smarthouse_api.cli import collections, options
from smarthouse_api.collections.model import Collection, Extraction, Retention, define
from smarthouse_api.house import House
from tests.conftest import MEMORY, ROOT, Environment, begin
from tests.programs import run

SCHEMA = {"type": "object", "required": ["value"], "properties": {"value": {"type": "number"}}}
Command = Callable[..., Result]
NOWHERE = (click.Context(collections.group), click.Option(["--option"]))


@pytest.fixture(params=["embedded_pair", "production_pair"])
def shared_pair(request: pytest.FixtureRequest) -> Environment:
    """The settings of each pair of stores that processes share, in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def smarthouse(shared_pair: Environment, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `smarthouse collections` in this process, on an installation of the test's own."""
    monkeypatch.setattr(
        "smarthouse_api.serving.logs.log_to_stderr", lambda *_: None
    )  # to a stream that is gone after the command
    begin(shared_pair)

    def run(*arguments: str, told: bytes = b"", **changes: str) -> Result:
        return CliRunner().invoke(collections.group, arguments, input=told, env={**shared_pair, **changes})

    return run


@pytest.fixture
def house(shared_pair: Environment) -> Iterator[House]:
    """The same installation, in this process."""
    one = House(Settings.from_env(shared_pair))
    yield one
    one.close()


@pytest.fixture
def schema(tmp_path: Path) -> str:
    """A file with `SCHEMA`."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return str(path)


def made(house: House, **members: Any) -> Collection:
    return house.collections.catalogue.create(define({"id": "meter", **members})).collection


def strict_with(house: House, *records: dict[str, Any]) -> Collection:
    """A collection in strict mode that set the records aside, which fail its schema."""
    one = made(house, schema=SCHEMA, mode="strict", entry_topic="meter")
    house.collections.accepting.accept(one, list(records), message_id="m-1")
    return one


def aside(house: House, one: Collection) -> list[Any]:
    return house.collections.dead_letters.list(one)


def shown(told: Result) -> dict[str, str]:
    """The lines of `show`, by their heading."""
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in told.stdout.splitlines())


def test_an_operator_runs_it_as_a_program(shared_pair: Environment, house: House) -> None:
    program = Path(sys.executable).with_name("smarthouse")
    begin(shared_pair)
    command = [sys.executable, str(program), "collections", "create", "meter", "--entry-topic", "events"]
    told = run(command, cwd=ROOT, env={**os.environ, **shared_pair}, capture_output=True, text=True)
    assert (told.returncode, told.stdout, told.stderr) == (0, "meter: made\n", "")
    assert house.collections.catalogue.find("meter").entry_topic == "events"


# create


def test_create_makes_what_the_options_say(smarthouse: Command, house: House, schema: str) -> None:
    told = smarthouse(
        *("create", "meter", "--name", "The meter", "--alias", "counter", "--schema", schema),
        *("--timestamp-field", "at", "--mode", "warn", "--dedup-key", "params.msgid", "--dedup-window", "12h"),
        *("--entry-topic", "events", "--requires-token", "--public", "--keep", "2d", "--keep-bytes", "64MB"),
    )
    assert (told.exit_code, told.stdout, told.stderr) == (0, "meter: made\n", "")
    one = house.collections.catalogue.find("meter")
    assert (one.name, one.alias, one.schema) == ("The meter", "counter", SCHEMA)
    assert (one.timestamp_field, one.mode) == ("at", "warn")
    assert (one.dedup_key, one.dedup_seconds) == ("params.msgid", 12 * 3600)
    assert (one.entry_topic, one.requires_token, one.public) == ("events", True, True)
    assert one.retention == Retention(seconds=2 * 86400, bytes=64_000_000)


def test_batch_events_are_taken_apart_until_they_are_not(smarthouse: Command, house: House) -> None:
    smarthouse("create", "meter", "--entry-topic", "t", "--extraction", "events", "--extraction-dedup-key", "id")
    assert house.collections.catalogue.find("meter").extraction == Extraction("events", "id")
    assert "one record for each event in events, once by id for 7d" in smarthouse("show", "meter").stdout
    assert smarthouse("update", "meter", "--extraction-dedup-key", "mid").exit_code == 2
    smarthouse("update", "meter", "--no-extraction")
    assert house.collections.catalogue.find("meter").extraction is None
    assert "not taken apart" in smarthouse("show", "meter").stdout


def test_a_collection_of_which_nothing_is_said_is_private_and_unchecked(smarthouse: Command, house: House) -> None:
    told = smarthouse("create", "meter")
    one = house.collections.catalogue.find("meter")
    assert told.exit_code == 0
    assert "no entry topic" in told.stderr
    assert define({"id": "meter", "requires_token": True}) == define(
        {name: getattr(one, name) for name in define({"id": "x"}).__struct_fields__}
    )


def test_records_may_have_no_time_of_their_own(smarthouse: Command, house: House) -> None:
    assert smarthouse("create", "meter", "--no-timestamp").exit_code == 0
    assert house.collections.catalogue.find("meter").timestamp_field is None


@pytest.mark.parametrize("name", ["meter", "alias"])
def test_a_name_that_is_taken_is_told(smarthouse: Command, house: House, name: str) -> None:
    made(house, alias="alias")
    told = smarthouse("create", name)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "already has one of the names" in told.stderr
    assert [one.id for one in house.collections.catalogue.list()] == ["meter"]


def test_an_id_that_is_none_is_told(smarthouse: Command, house: House) -> None:
    told = smarthouse("create", "a/b")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "id: must be 1 to 100 letters" in told.stderr
    assert house.collections.catalogue.list() == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("NaN", "is not JSON"),
        ("\xff", "is not JSON"),
        ("[1]", "object"),
    ],
)
@pytest.mark.parametrize("command", [("create", "meter", "--schema", "-"), ("failed", "fix", "meter", "0-0-0", "-")])
def test_a_file_that_holds_no_object_is_a_usage_error(
    smarthouse: Command, command: tuple[str, ...], text: str, why: str
) -> None:
    told = smarthouse(*command, told=text.encode("latin-1"))
    assert (told.exit_code, told.stdout) == (2, "")
    assert why in told.stderr


def test_a_schema_that_is_none_is_told(smarthouse: Command, house: House) -> None:
    told = smarthouse("create", "meter", "--schema", "-", told=b'{"type": "objct"}')
    assert (told.exit_code, told.stdout) == (1, "")
    assert "is not valid under any of the schemas" in told.stderr
    assert house.collections.catalogue.list() == []


@pytest.mark.parametrize(
    ("given", "octets"), [("0", 0), ("500000", 500_000), ("10KB", 10_000), ("2MiB", 2 << 20), ("3GB", 3_000_000_000)]
)
def test_a_size_has_a_unit_or_is_of_bytes(given: str, octets: int) -> None:
    assert options.octets(*NOWHERE, given) == octets


@pytest.mark.parametrize("given", ["", "-1", "64 MB", "64mb", "1.5GB", "MB", "1TB", "٣MB", "9" * 30])
def test_a_size_that_is_none_is_a_usage_error_that_says_how_one_is(smarthouse: Command, given: str) -> None:
    told = smarthouse("create", "meter", f"--keep-bytes={given}")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "write one such as 64MB, 64MiB, 2GB or 500000" in told.stderr


@pytest.mark.parametrize("option", ["--keep", "--dedup-window"])
def test_a_duration_that_is_none_is_a_usage_error_that_says_how_one_is(smarthouse: Command, option: str) -> None:
    told = smarthouse("create", "meter", option, "7")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "write one such as 90d" in told.stderr


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0B"), (64_000_000, "64MB"), (64 << 20, "64MiB"), (1 << 30, "1GiB"), (1_000_001, "1000001B")]
)
def test_a_size_is_shown_as_it_would_be_written(octets: int, text: str) -> None:
    assert measures.size_text(octets) == text
    assert options.octets(*NOWHERE, text) == octets


@pytest.mark.parametrize(("seconds", "text"), [(604800.0, "7d"), (7200.0, "2h"), (90.0, "90s"), (300.0, "5m"), (0.5, "0.5s")])
def test_a_duration_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    assert measures.duration_text(seconds) == text


@pytest.mark.parametrize("command", [("list",), ("failed", "list", "meter")])
def test_a_store_that_goes_with_the_process_is_refused(smarthouse: Command, command: tuple[str, ...]) -> None:
    told = smarthouse(*command, **MEMORY)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "memory:// belongs to one process" in told.stderr


# update


def test_update_changes_what_it_is_told_and_nothing_else(smarthouse: Command, house: House) -> None:
    before = made(
        house, name="old", schema=SCHEMA, dedup_key="id", entry_topic="t", requires_token=True, retention={"bytes": 9}
    )
    told = smarthouse("update", "meter", "--name", "new", "--open", "--alias", "m", "--keep", "1h")
    after = house.collections.catalogue.find("meter")
    assert (told.exit_code, told.stdout) == (0, "meter: changed\n")
    assert (after.name, after.requires_token, after.alias) == ("new", False, "m")
    assert after.retention == Retention(seconds=3600, bytes=9)
    assert (after.schema, after.dedup_key, after.entry_topic, after.key) == (SCHEMA, "id", "t", before.key)


def test_update_takes_away(smarthouse: Command, house: House) -> None:
    made(house, alias="m", schema=SCHEMA, dedup_key="id", entry_topic="t", retention={"seconds": 60})
    told = smarthouse(
        *("update", "m", "--no-alias", "--no-schema", "--no-dedup", "--no-topic", "--no-timestamp", "--keep-default")
    )
    after = house.collections.catalogue.find("meter")
    assert told.exit_code == 0
    assert (after.alias, after.schema, after.dedup_key) == (None, None, None)
    assert (after.entry_topic, after.timestamp_field, after.retention) == (None, None, Retention())
    assert house.collections.catalogue.get("m") is None


@pytest.mark.parametrize(("taken", "given"), [("--no-alias", "--alias"), ("--no-topic", "--entry-topic")])
def test_to_give_and_to_take_away_the_same_is_a_usage_error(smarthouse: Command, house: House, taken: str, given: str) -> None:
    made(house)
    told = smarthouse("update", "meter", taken, given, "x")
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{taken} and {given} exclude each other" in told.stderr


def test_an_update_of_nothing_is_a_usage_error(smarthouse: Command, house: House) -> None:
    made(house)
    assert smarthouse("update", "meter").exit_code == 2


@pytest.mark.parametrize("command", [("update", "none", "--open"), ("show", "none"), ("delete", "none")])
def test_a_collection_that_is_not_there_is_told(smarthouse: Command, command: tuple[str, ...]) -> None:
    told = smarthouse(*command)
    assert (told.exit_code, told.stdout) == (1, "")
    assert "There is no such collection" in told.stderr


# show, list


def test_show_tells_all_that_is_known(smarthouse: Command, house: House) -> None:
    one = strict_with(house, {"value": "x"}, {})
    house.collections.catalogue.update("meter", {"alias": "m", "dedup_key": "params.msgid", "retention": {"seconds": 7200}})
    key, text = house.access.create("Anna", datasets=["meter"])
    house.access.create("Ben", datasets=["other"])
    told = smarthouse("show", "m")
    lines = shown(told)
    assert told.exit_code == 0
    assert (lines["id"], lines["alias"], json.loads(lines["schema"])) == ("meter", "m", SCHEMA)
    assert lines["deduplication"] == "by params.msgid, for 7d"
    assert lines["mode"].startswith("strict")
    assert lines["dead letters"] == "2"
    assert re.fullmatch(r"[1-9]\d+ Bytes of 10\.7 GB, 0%", lines["stored"])
    assert lines["keys"] == f"{key.id} (Anna)"
    assert lines["entry topic"].startswith("meter, consumed from ")
    assert lines["entry topic"].endswith("kept: 2h")
    assert (house.collections.topic.stream_name(one) or "GET /v2/data/out/meter") in lines["entry topic"]
    assert text not in told.stdout


def test_show_in_json_is_one_object(smarthouse: Command, house: House) -> None:
    one = made(house, entry_topic="t")
    key, _ = house.access.create("Anna", datasources=["meter"])
    (line,) = smarthouse("show", "meter", "--json").stdout.splitlines()
    found = json.loads(line)
    members = {*define({"id": "x"}).__struct_fields__, "created_at", "updated_at", "stream", "keys"}
    members |= {"stored_bytes", "quota_bytes"}
    assert set(found) == members
    assert (found["id"], found["keys"]) == ("meter", [key.id])
    assert (found["stored_bytes"], found["quota_bytes"]) == (0, 10 << 30)
    assert found["stream"] == house.collections.topic.stream_name(one)


def test_a_list_is_a_table_by_id(smarthouse: Command, house: House) -> None:
    made(house, id="b", name="The second", requires_token=True, public=True)
    made(house, id="a", alias="x", entry_topic="events")
    lines = [re.split(r" {2,}", line) for line in smarthouse("list").stdout.splitlines()]
    assert lines[0] == ["id", "alias", "name", "entry topic", "mode", "datasets write", "read", "made", "stored"]
    assert [line[:-2] for line in lines[1:]] == [
        ["a", "x", "a", "events", "off", "without a key", "with a key"],
        ["b", "-", "The second", "-", "off", "with a key", "without a key"],
    ]


def test_a_list_in_json_is_an_object_for_each_line(smarthouse: Command, house: House) -> None:
    made(house, id="b")
    made(house, id="a")
    key, _ = house.access.create("Anna", datasources=["b"])
    found = [json.loads(line) for line in smarthouse("list", "--json").stdout.splitlines()]
    assert [(one["id"], one["keys"]) for one in found] == [("a", []), ("b", [key.id])]


# delete


def test_delete_takes_it_away_at_once_and_says_which_keys_name_it(smarthouse: Command, house: House) -> None:
    made(house)
    key, _ = house.access.create("Anna", datasources=["meter"])
    told = smarthouse("delete", "meter", "--yes")
    assert told.exit_code == 0
    assert told.stdout.startswith("meter: deleted.")
    assert key.id in told.stderr
    assert house.collections.catalogue.get("meter") is None


def test_delete_does_not_go_by_an_alias(smarthouse: Command, house: House) -> None:
    made(house, alias="m")
    told = smarthouse("delete", "m", "--yes")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "m is the alias of meter" in told.stderr
    assert house.collections.catalogue.get("meter") is not None


def test_delete_asks_before_it_erases(smarthouse: Command, house: House) -> None:
    made(house)
    told = smarthouse("delete", "meter")
    assert told.exit_code == 1
    assert "The collection meter and all its records will be erased. Continue? [y/N]" in told.stdout
    assert house.collections.catalogue.get("meter") is not None


# failed


def test_failed_list_tells_what_was_set_aside_and_why(smarthouse: Command, house: House) -> None:
    one = strict_with(house, {"value": "x" * 100}, {"note": "ü"})
    first, second = aside(house, one)
    lines = [re.split(r" {2,}", line) for line in smarthouse("failed", "list", "meter").stdout.splitlines()]
    assert lines[0] == ["id", "came", "reason", "record"]
    assert [(line[0], line[2]) for line in lines[1:]] == [(first.id, first.reason), (second.id, second.reason)]
    assert lines[1][3].endswith("…")
    assert lines[2][3] == '{"note": "ü"}'


def test_failed_list_in_json_has_whole_records(smarthouse: Command, house: House) -> None:
    one = strict_with(house, {"value": "x" * 100})
    (record,) = aside(house, one)
    (line,) = smarthouse("failed", "list", "meter", "--json").stdout.splitlines()
    found = json.loads(line)
    assert (found["id"], found["record"], found["msgid"]) == (record.id, {"value": "x" * 100}, "m-1")


def test_failed_list_goes_on_after_its_first_page(smarthouse: Command, house: House) -> None:
    strict_with(house, *({"note": index} for index in range(150)))
    found = [json.loads(line)["record"]["note"] for line in smarthouse("failed", "list", "meter", "--json").stdout.splitlines()]
    assert found == list(range(150))


def test_a_record_is_fixed_and_replayed(smarthouse: Command, house: House) -> None:
    one = strict_with(house, {"value": "x"}, {"value": "y"})
    first, _ = aside(house, one)
    fixed = smarthouse("failed", "fix", "meter", first.id, "-", told=b'{"value": 1}')
    assert (fixed.exit_code, fixed.stdout.partition(":")[0]) == (0, first.id)
    assert smarthouse("failed", "replay", "meter").stdout == "1 stored, still dead letters: 1\n"
    assert [record.record for record in aside(house, one)] == [{"value": "y"}]
    (event,) = house.collections.topic.read(one).events
    assert json.loads(bytes(event.record)) == {"value": 1}


def test_only_the_named_records_are_replayed(smarthouse: Command, house: House) -> None:
    one = strict_with(house, {"value": "x"}, {"value": "y"})
    house.collections.catalogue.update("meter", {"mode": "off"})
    _, second = aside(house, one)
    assert smarthouse("failed", "replay", "meter", second.id).stdout == "1 stored, still dead letters: 0\n"
    assert [record.record for record in aside(house, one)] == [{"value": "x"}]


def test_fix_stores_at_once_if_asked_and_discard_takes_all(smarthouse: Command, house: House, tmp_path: Path) -> None:
    dead_letters = house.collections.dead_letters
    made = house.collections.catalogue.create(define({"id": "meter", "schema": SCHEMA, "mode": "strict"})).collection
    house.collections.accepting.accept(made, [{"value": text} for text in "abc"])
    first = dead_letters.list(made)[0]
    (tmp_path / "fixed.json").write_text('{"value": "still"}')
    told = smarthouse("failed", "fix", "meter", first.id, str(tmp_path / "fixed.json"), "--store")
    assert (told.exit_code, "still fails" in told.stderr) == (1, True)
    (tmp_path / "fixed.json").write_text('{"value": 7}')
    told = smarthouse("failed", "fix", "meter", first.id, str(tmp_path / "fixed.json"), "--store")
    assert told.stdout == f"{first.id}: 1 stored\n"
    assert smarthouse("failed", "discard", "meter").exit_code == 2
    assert smarthouse("failed", "discard", "meter", first.id, "--all").exit_code == 2
    assert smarthouse("failed", "discard", "meter", "--all", told=b"n\n").exit_code == 1
    assert dead_letters.count(made) == 2
    assert smarthouse("failed", "discard", "meter", "--all", "--yes").stdout == "Discarded: 2\n"
    assert dead_letters.count(made) == 0


def test_discard_erases_and_an_unknown_id_does_not_keep_the_others(smarthouse: Command, house: House) -> None:
    one = strict_with(house, {"value": "x"}, {"value": "y"})
    first, second = aside(house, one)
    told = smarthouse("failed", "discard", "meter", "none", first.id, first.id)
    assert (told.exit_code, told.stdout) == (1, f"Discarded: {first.id}\n")
    assert "There is no dead letter none" in told.stderr
    assert aside(house, one) == [second]


@pytest.mark.parametrize("command", [("fix", "meter", "none", "-"), ("replay", "meter", "none")])
def test_a_record_that_is_not_set_aside_is_told(smarthouse: Command, house: House, command: tuple[str, ...]) -> None:
    strict_with(house, {"value": "x"})
    told = smarthouse("failed", *command, told=b"{}")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "There is no dead letter" in told.stderr

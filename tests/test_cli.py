"""The command line as a whole."""

from __future__ import annotations

import sys
from importlib.metadata import version
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from backends.registry import shown
from smarthouse_api import program
from smarthouse_api.cli import main
from tests.conftest import Environment, begin


def test_the_version_is_that_of_the_installed_package() -> None:
    told = CliRunner().invoke(main, ["--version"])
    assert (told.exit_code, told.output) == (0, f"smarthouse, version {version('smarthouse-api')}\n")


def test_ctrl_c_while_the_commands_are_loaded_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Loading(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt if name == "main" else AttributeError(name)

    monkeypatch.setitem(sys.modules, "smarthouse_api.cli", Loading("smarthouse_api.cli"))
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "Stopped\n")


CREATE = ("keys", "create", "--admin", "--name", "x")


def run(environment: Environment, *arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, arguments, env=environment, input=typed)


def folder(environment: Environment) -> str:
    return environment["SMARTHOUSE_DATA_DIR"]


def test_empty_stores_are_named_and_without_a_terminal_nothing_is_made(embedded_pair: Environment) -> None:
    told = run(embedded_pair, *CREATE)
    assert told.exit_code == 1
    data = folder(embedded_pair)
    assert f"Both stores are empty: sqlite://{data}/state.db and file://{data}/objects" in told.stderr
    assert "`smarthouse --new ...`" in told.stderr
    assert run(embedded_pair, *CREATE).exit_code == 1


def test_new_is_said_once(embedded_pair: Environment) -> None:
    assert run(embedded_pair, "--new", *CREATE).stdout.startswith("shk_")
    assert run(embedded_pair, *CREATE).stdout.startswith("shk_")


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_at_a_terminal_one_is_asked(embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch, typed: str, code: int) -> None:
    monkeypatch.setattr("smarthouse_api.cli.open_house.is_terminal", lambda: True)
    told = run(embedded_pair, *CREATE, typed=typed)
    assert (told.exit_code, "Make a new installation there? [y/N]" in told.stderr) == (code, True)


@pytest.mark.parametrize("command", [("keys", "list"), ("homes", "list"), ("forgotten",), ("collections", "list")])
def test_what_only_reads_makes_no_installation_whatever_is_said(embedded_pair: Environment, command: tuple[str, ...]) -> None:
    told = run(embedded_pair, "--new", *command)
    assert told.exit_code == 1
    assert "Both stores are empty" in told.stderr


def test_stores_that_do_not_belong_together_end_every_command_with_a_sentence(embedded_pair: Environment) -> None:
    begin(embedded_pair)
    lost = {**embedded_pair, "SMARTHOUSE_STATE_URL": f"sqlite://{folder(embedded_pair)}/mistyped.db"}
    for command in (CREATE, ("keys", "list"), ("forgotten",)):
        told = run(lost, "--new", *command)
        assert told.exit_code == 1
        assert told.stderr.startswith("Error: the state store is empty, but the object store holds an installation")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://user:secret@host:6379/3?prefix=a&timeout_seconds=2", "redis://host:6379/3?prefix=a"),
        ("redis+sentinel://a:26379,b:26379/mymaster?sentinel_password=secret", "redis+sentinel://a:26379,b:26379/mymaster"),
        ("minio://key:secret@host:9000/bucket/prefix?secure=1", "minio://host:9000/bucket/prefix"),
        ("sqlite:///srv/a@b/state.db?timeout_seconds=5", "sqlite:///srv/a@b/state.db"),
    ],
)
def test_a_store_is_named_without_its_secrets(url: str, told: str) -> None:
    assert shown(url) == told


def test_a_worker_that_can_store_nothing_in_its_folder_ends_with_a_sentence(monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("smarthouse_api.housekeeping.Housekeeper.run", lambda *_, **__: None)
    told = CliRunner().invoke(main, ["worker"], env={"SMARTHOUSE_DATA_DIR": "/proc/none"})
    assert told.exit_code == 1
    assert told.stderr.startswith(
        "Error: SMARTHOUSE_STATE_URL: nothing can be stored in /proc/none: no file can be made in /proc"
    )


def test_a_worker_says_that_its_stores_are_empty_and_makes_nothing_there(tmp_path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("smarthouse_api.housekeeping.Housekeeper.run", lambda *_, **__: None)
    told = CliRunner().invoke(main, ["worker"], env={"SMARTHOUSE_DATA_DIR": str(tmp_path / "missing")})
    assert told.exit_code == 0, told.output
    assert "Warning: Both stores are empty: this worker waits" in told.stderr
    assert f"sqlite://{tmp_path}/missing/state.db" in told.stderr
    assert "SMARTHOUSE_DATA_DIR" in told.stderr
    assert list(tmp_path.iterdir()) == []

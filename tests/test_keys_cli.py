"""`smarthouse keys` and `smarthouse homes`, as an operator runs them; and the first key, as the service shows it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from config.settings import Settings
from smarthouse_api.access.grants import Access
from smarthouse_api.cli import main
from smarthouse_api.errors import Unauthorized
from smarthouse_api.house import House
from tests.conftest import MEMORY, ROOT, Environment, Server, begin
from tests.damaging import damage, flipped
from tests.programs import Program
from tests.servers import free_port
from tests.waiting import soon

KEY = re.compile(r"shk_([0-9a-f]{12})_[0-9a-f]{62}")
Told = subprocess.CompletedProcess[str]
Command = Callable[..., Told]


@pytest.fixture
def smarthouse(embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs `smarthouse` in this process, on an installation of the test's own."""
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # as the command does
    # It would be a stream that is gone after the command.
    monkeypatch.setattr("smarthouse_api.serving.logs.log_to_stderr", lambda *_: None)
    mask = os.umask(0o077)
    begin(embedded_pair)

    def run(*arguments: str, **changes: str) -> Told:
        told = CliRunner().invoke(main, arguments, env={**embedded_pair, **changes}, catch_exceptions=False)
        return Told(arguments, told.exit_code, told.stdout, told.stderr)

    yield run
    os.umask(mask)


@pytest.fixture
def program(embedded_pair: Environment) -> Command:
    """Runs the console script, as an operator does."""
    script = Path(sys.executable).with_name("smarthouse")
    begin(embedded_pair)

    def run(*arguments: str) -> Told:
        environment = {**os.environ, **embedded_pair}
        return subprocess.run([script, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def access(embedded_pair: Environment) -> Iterator[Access]:
    """The keys of the same installation, in this process."""
    house = House(Settings.from_env(embedded_pair))
    yield house.access
    house.close()


def opens(access: Access, text: str) -> bool:
    try:
        access.authenticate(f"Bearer {text.strip()}")
    except Unauthorized:
        return False
    return True


# keys create


def test_create_prints_the_key_alone_and_tells_the_rest_elsewhere(program: Command, access: Access) -> None:
    told = program(
        *("keys", "create", "--name", "Anna", "--project", "p", "--home", "5", "--home", "3", "--datasource", "meter"),
        *("--dataset", "d1", "--dataset", "d2", "--export", "--expires", "90d"),
    )
    (record,) = access.list()
    assert told.returncode == 0
    assert told.stdout.count("\n") == 1
    assert opens(access, told.stdout)
    assert f"The key {record.id}, Anna, opens project p; homes 3, 5; datasources meter; datasets d1, d2; exports" in told.stderr
    assert "Warning: there is no collection meter; the key opens it once it is defined" in told.stderr
    assert told.stdout.strip() not in told.stderr
    assert (record.owner.type, record.homes, record.datasets, record.export) == ("project", (3, 5), ("d1", "d2"), True)
    assert record.expires_at is not None
    assert round((record.expires_at - record.created_at).total_seconds()) == 90 * 86400


@pytest.mark.parametrize(("given", "seconds"), [("45s", 45), ("30m", 1800), ("12h", 43200), ("2w", 1209600)])
def test_a_duration_has_one_of_five_units(smarthouse: Command, access: Access, given: str, seconds: int) -> None:
    assert smarthouse("keys", "create", "--name", "n", "--admin", "--expires", given).returncode == 0
    (record,) = access.list()
    assert record.expires_at is not None
    assert round((record.expires_at - record.created_at).total_seconds()) == seconds


@pytest.mark.parametrize("given", ["", "90", "d", "0d", "-1d", "1.5h", "1y", "90 d", "90D", "1d12h", "٣d", "9" * 30 + "s"])
def test_a_duration_that_is_none_is_a_usage_error_that_says_how_one_is(smarthouse: Command, access: Access, given: str) -> None:
    told = smarthouse("keys", "create", "--name", "n", "--admin", f"--expires={given}")
    assert (told.returncode, told.stdout) == (2, "")
    assert "write one such as 90d, 12h, 30m, 45s or 2w" in told.stderr
    assert access.list() == []


@pytest.mark.parametrize("home", ["-1", "x", str(2**63)])
def test_a_home_that_is_none_is_a_usage_error(smarthouse: Command, home: str) -> None:
    for command in (("keys", "create", "--name", "n", f"--home={home}"), ("homes", "assign", "--project", "p", "--", home)):
        told = smarthouse(*command)
        assert (told.returncode, told.stdout) == (2, "")


def test_a_key_that_would_open_nothing_is_not_made(smarthouse: Command, access: Access) -> None:
    told = smarthouse("keys", "create", "--name", "n")
    assert (told.returncode, told.stdout) == (1, "")
    assert "A key must open something" in told.stderr
    assert access.list() == []


@pytest.mark.parametrize("command", [("keys", "create", "--name", "n", "--admin"), ("keys", "list"), ("homes", "list")])
def test_a_store_that_goes_with_the_process_is_refused(smarthouse: Command, command: tuple[str, ...]) -> None:
    told = smarthouse(*command, **MEMORY)
    assert (told.returncode, told.stdout) == (1, "")
    assert "memory:// belongs to one process" in told.stderr


# keys list, revoke, rotate


def test_a_list_shows_what_each_key_opens_and_how_long(smarthouse: Command, access: Access) -> None:
    first, _ = access.create("boss", admin=True)
    second, _ = access.create("Anna", project="p", homes=[2, 1], expires_seconds=3600)
    third, _ = access.create("gone", datasets=["d"], expires_seconds=1e-6)
    lines = smarthouse("keys", "list").stdout.splitlines()
    assert lines[0].split() == ["id", "name", "kind", "grants", "created", "expires"]
    cells = [re.split(r" {2,}", line) for line in lines[1:]]
    assert [(one[0], *one[1:4], one[5][:3]) for one in cells] == [
        (first.id, "boss", "admin", "everything", "nev"),
        (second.id, "Anna", "project", "project p; homes 1, 2", f"{second.expires_at:%Y}"[:3]),
        (third.id, "gone", "user", "datasets d", "exp"),
    ]


def test_a_list_in_json_is_an_object_for_each_line(smarthouse: Command, access: Access) -> None:
    record, _ = access.create("n", datasources=["meter"], expires_seconds=3600)
    access.create("boss", admin=True)
    one, other = (json.loads(line) for line in smarthouse("keys", "list", "--json").stdout.splitlines())
    assert (one["id"], one["datasources"], one["admin"], other["expires_at"]) == (record.id, ["meter"], False, None)
    assert set(one) == {
        "id",
        "name",
        "project",
        "homes",
        "datasources",
        "datasets",
        "admin",
        "export",
        "ingest",
        "created_at",
        "expires_at",
    }


def test_no_list_shows_a_secret(smarthouse: Command, access: Access) -> None:
    record, old = access.create("n", admin=True)
    new = access.rotate(record.id, keep_old_seconds=60)
    assert new is not None
    shown = smarthouse("keys", "list").stdout + smarthouse("keys", "list", "--json").stdout
    assert record.id in shown
    assert "digest" not in shown
    for text in (old, new):
        assert text.rpartition("_")[2] not in shown


def test_revoke_takes_ids_and_whole_keys_and_repeats_no_secret(smarthouse: Command, access: Access) -> None:
    (first, first_text), (second, second_text), (third, third_text) = (access.create("n", admin=True) for _ in range(3))
    told = smarthouse("keys", "revoke", first.id, second_text, second.id)
    assert (told.returncode, told.stdout) == (0, f"Revoked: {first.id}, {second.id}\n")
    assert second_text not in told.stderr
    assert [opens(access, text) for text in (first_text, second_text, third_text)] == [False, False, True]
    assert access.list() == [third]


def test_a_damaged_key_is_told_and_can_be_revoked(smarthouse: Command, access: Access, embedded_pair: Environment) -> None:
    (bad, bad_text), (good, good_text) = (access.create("gateway", admin=True) for _ in range(2))
    document = access._find(bad.id)
    assert document is not None
    damage(embedded_pair, document.value, flipped(document.value))
    told = smarthouse("keys", "list")
    assert (told.returncode, good.id in told.stdout) == (0, True)
    assert f"The key {bad.id} is damaged and opens nothing" in told.stderr
    assert smarthouse("keys", "revoke", bad.id).returncode == 0
    assert not smarthouse("keys", "list").stderr
    assert (opens(access, bad_text), opens(access, good_text)) == (False, True)


def test_an_unknown_id_is_told_and_does_not_keep_the_others(smarthouse: Command, access: Access) -> None:
    record, _ = access.create("n", admin=True)
    told = smarthouse("keys", "revoke", "0" * 12, record.id)
    assert (told.returncode, told.stdout) == (1, f"Revoked: {record.id}\n")
    assert f"There is no key {'0' * 12}" in told.stderr
    assert access.list() == []


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_an_id_that_is_none_is_a_usage_error_and_not_repeated(smarthouse: Command, command: str) -> None:
    nearly = f"shk_{'0' * 12}_{'ab' * 30}"
    told = smarthouse("keys", command, nearly)
    assert (told.returncode, told.stdout) == (2, "")
    assert "12 hexadecimal digits" in told.stderr
    assert "abab" not in told.stderr


def test_rotate_prints_the_new_key_alone(smarthouse: Command, access: Access) -> None:
    record, old = access.create("n", admin=True)
    told = smarthouse("keys", "rotate", record.id)
    found = KEY.fullmatch(told.stdout.strip())
    assert found is not None
    assert found[1] == record.id
    assert [opens(access, text) for text in (old, told.stdout)] == [False, True]
    assert told.stdout.strip() not in told.stderr


def test_rotate_keeps_the_old_secret_when_asked_to(smarthouse: Command, access: Access) -> None:
    _, old = access.create("n", admin=True)
    told = smarthouse("keys", "rotate", old, "--keep-old", "1h")
    assert [opens(access, text) for text in (old, told.stdout)] == [True, True]


def test_an_unknown_key_is_not_rotated(smarthouse: Command) -> None:
    told = smarthouse("keys", "rotate", "0" * 12)
    assert (told.returncode, told.stdout) == (1, "")
    assert f"There is no key {'0' * 12}" in told.stderr


# homes


def test_homes_are_assigned_listed_and_taken_back(smarthouse: Command, access: Access) -> None:
    assert smarthouse("homes", "assign", "10", "9", "8", "--project", "p").stdout == "Homes 10, 9, 8: of the project p\n"
    assert smarthouse("homes", "unassign", "8", "7").stdout == "Homes 8, 7: of no project\n"
    assert smarthouse("homes", "list").stdout.split() == ["home", "project", "9", "p", "10", "p"]
    assert access.assignments() == {9: "p", 10: "p"}


# The first key


def serve_with_each(server: Server) -> None:
    """Have each of two workers answer, so that both have started."""
    for stopped in server.workers():
        os.kill(stopped, signal.SIGSTOP)
        assert requests.get(f"{server.url}/health/live", timeout=20).ok
        os.kill(stopped, signal.SIGCONT)


def test_the_first_start_shows_one_key_and_the_second_none(
    capfd: pytest.CaptureFixture[str], embedded_pair: Environment, access: Access
) -> None:
    server = Server(embedded_pair)
    shown = []
    for _ in range(2):
        server.start()
        serve_with_each(server)
        server.stop()
        shown.append(capfd.readouterr())
    notice, text, signs_in = (line for line in shown[0].out.splitlines() if line)
    assert "admin key" in notice
    assert signs_in.endswith(f"{server.url}/console/operator")
    assert f"\nThe console is at {server.url}/console/\n" in shown[0].err
    assert max(map(len, (notice, signs_in))) < 80
    assert KEY.fullmatch(text)
    assert opens(access, text)
    assert shown[1].out == ""
    assert text not in shown[0].err + shown[1].err


def test_the_consoles_address_can_be_opened_wherever_the_service_listens(embedded_pair: Environment) -> None:
    ask = "import runpy; address = runpy.run_path('config/gunicorn.py')['_address']"
    ask += "\nfor host in ('0.0.0.0', '[::]', '10.0.0.7'):\n address.__globals__['bind'] = f'{host}:8000'; print(address())"
    environment = {**os.environ, **embedded_pair, "SCRIPT_NAME": "/lake"}
    told = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    addresses = "http://localhost:8000/lake http://localhost:8000/lake http://10.0.0.7:8000/lake"
    assert told.stdout.split() == addresses.split()


def test_production_shows_no_key(capfd: pytest.CaptureFixture[str], embedded_pair: Environment, access: Access) -> None:
    data = embedded_pair["SMARTHOUSE_DATA_DIR"]
    urls = {"SMARTHOUSE_STATE_URL": f"sqlite://{data}/state.db", "SMARTHOUSE_OBJECTS_URL": f"file://{data}/objects"}
    server = Server({**embedded_pair, **urls, "SMARTHOUSE_ENV": "production", "SMARTHOUSE_WORKERS": "1"}).start()
    server.stop()
    assert capfd.readouterr().out == ""
    assert access.list() == []


def test_an_operator_who_made_a_key_before_the_first_start_is_shown_none(
    capfd: pytest.CaptureFixture[str], embedded_pair: Environment, access: Access
) -> None:
    access.create("mine", admin=True)
    server = Server({**embedded_pair, "SMARTHOUSE_WORKERS": "1"}).start()
    server.stop()
    assert capfd.readouterr().out == ""


def live(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/live", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_a_store_that_fails_at_the_start_costs_the_key_and_not_the_service(embedded_pair: Environment, tmp_path: Path) -> None:
    data, log = Path(embedded_pair["SMARTHOUSE_DATA_DIR"]), tmp_path / "log"
    data.mkdir()
    (data / "state.db").symlink_to("state.db")  # leads nowhere
    port = free_port()
    environment = {**os.environ, **embedded_pair, "SMARTHOUSE_WORKERS": "1", "PORT": str(port), "HOST": "127.0.0.1"}
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py", "wsgi:app"]
    with log.open("wb") as told:
        process = Program(command, cwd=ROOT, env=environment, stdout=told, stderr=told)
    try:
        soon(lambda: live(port))
    finally:
        process.terminate()
    assert process.wait(30) == 0
    assert "No first key was shown: StoreUnavailable" in log.read_text()
    assert "shk_" not in log.read_text()

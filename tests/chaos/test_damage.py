"""Whatever file is damaged, and how: nothing damaged is served as whole, `verify` says what is wrong, and the lake comes back.

An installation with uploads, statistics, packets and records is filled once. Each round damages one file of a copy of it,
chosen by chance, and asks for everything. `CHAOS_DAMAGES` says how many rounds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from backends.ports import StoreError
from config.settings import Settings
from smarthouse_api.app import create_app
from smarthouse_api.cli import main
from smarthouse_api.states.uploads import Upload
from tests.chaos.conftest import SEED
from tests.conftest import Environment, house_of, payload, rows, state

ROUNDS = int(os.environ.get("CHAOS_DAMAGES", "8"))
SETTINGS = {
    "SMARTHOUSE_EXPORT_PRIVACY": "raw",
    "SMARTHOUSE_STREAM_SEGMENT_BYTES": "4000",
    "SMARTHOUSE_STREAM_TAIL_SECONDS": "0",
    "SMARTHOUSE_WORKERS": "1",
}
HOMES = [f"{number:08x}-1111-4222-8333-944455556666" for number in range(4)]
STREAM = "/homes/7/smartModules/mod/streams/camera"
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)

Damage = Callable[[Path, random.Random, list[Path]], list[Path]]
"""Damages a file, and tells all that it damaged."""
Found = Counter[str] | None
"""What was read, each thing by how often; None when it was refused, or broken off."""


def truncate(file: Path, chance: random.Random, others: list[Path]) -> list[Path]:
    os.truncate(file, chance.randrange(file.stat().st_size))
    return [file]


def empty(file: Path, chance: random.Random, others: list[Path]) -> list[Path]:
    os.truncate(file, 0)
    return [file]


def remove(file: Path, chance: random.Random, others: list[Path]) -> list[Path]:
    file.unlink()
    return [file]


def flip_a_bit(file: Path, chance: random.Random, others: list[Path]) -> list[Path]:
    stored = bytearray(file.read_bytes())
    stored[chance.randrange(len(stored))] ^= 1 << chance.randrange(8)
    file.write_bytes(stored)
    return [file]


def swap(file: Path, chance: random.Random, others: list[Path]) -> list[Path]:
    """With another file of the same kind: of the lake, or of the objects."""
    other = chance.choice([one for one in others if ("tables" in one.parts) == ("tables" in file.parts)])
    here, there = file.read_bytes(), other.read_bytes()
    file.write_bytes(there)
    other.write_bytes(here)
    return [file, other]


DAMAGES: tuple[Damage, ...] = (truncate, empty, remove, flip_a_bit, swap)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data folder of an installation that has something of every kind, and an administrator's key."""
    folder = tmp_path_factory.mktemp("filled") / "data"
    app = create_app(Settings.from_env({"SMARTHOUSE_DATA_DIR": str(folder), **SETTINGS}))
    client, house = app.test_client(), app.extensions["smarthouse"]
    house.installation.begin()
    key = house.access.create("operator", admin=True)[1]
    headers = {"Authorization": f"Bearer {key}"}
    house.access.assign([7], "project")
    client.put(STREAM, headers=headers)
    house.collections.begin()
    for day in range(3):
        at = DAY + timedelta(days=day)
        for number, home in enumerate(HOMES):
            states = [state(f"sensor.s{n}", f"{day}.{number}{n}", (at + timedelta(minutes=n)).isoformat()) for n in range(5)]
            house.states.uploads.receive(Upload(home, payload(*states)), at)
        for number in range(12):
            packet = bytes([day, number]) * 300
            assert client.post(f"{STREAM}/data", data=packet, headers=headers).status_code in (200, 201)
        records = [{"name": f"{day}/{number}"} for number in range(5)]
        pushed = {"datasource_id": "67890", "data": records}
        assert client.post("/restapi/datasource/insert", json=pushed, headers=headers).status_code == 200
        if day < 2:  # what came last waits in the queues
            while house.housekeeper.keep():
                pass
    house.close()
    return folder, key


@pytest.fixture
def environment(filled: tuple[Path, str], tmp_path: Path) -> Environment:
    shutil.copytree(filled[0], tmp_path / "data")
    return {"SMARTHOUSE_DATA_DIR": str(tmp_path / "data"), **SETTINGS}


@pytest.fixture
def whole(filled: tuple[Path, str], tmp_path: Path, make_client: Callable[..., FlaskClient]) -> dict[str, Counter[str]]:
    """What an installation gives that nobody has damaged."""
    shutil.copytree(filled[0], tmp_path / "whole")
    seen = everything(make_client(data_dir=tmp_path / "whole"), filled[1])
    return {name: found for name, (found, _) in seen.items() if found}


def everything(client: FlaskClient, key: str) -> dict[str, tuple[Found, bool]]:
    """All that the installation gives, and whether it says that something is missing."""
    headers = {"Authorization": f"Bearer {key}"}
    readers: dict[str, tuple[str, Callable[[bytes], Iterator[str]]]] = {
        "states": ("/api/export/json?metadata=false", lambda body: (json.dumps(row) for row in rows(body))),
        "packets": (f"{STREAM}/data?start=0&stop=1000&format=ndjson", lambda body: iter(body.decode().splitlines())),
        "records": ("/restapi/datasource/67890/records?format=jsonl", lambda body: iter(body.decode().splitlines())),
    }
    return {name: _read(client, path, headers, parse) for name, (path, parse) in readers.items()}


def _read(
    client: FlaskClient, path: str, headers: dict[str, str], parse: Callable[[bytes], Iterator[str]]
) -> tuple[Found, bool]:
    try:
        answer = client.get(path, headers=headers, buffered=True, follow_redirects=True)
    except (StoreError, OSError):
        return None, False  # the server breaks the connection
    assert answer.status_code in (200, 204, 404, 500, 503), (path, answer.status_code, answer.text)
    if answer.status_code == 500:
        assert "damaged" in answer.text, answer.text
    found = Counter(parse(answer.data)) if answer.status_code == 200 else Counter[str]()
    return (found if answer.status_code < 500 else None), "X-Incomplete" in answer.headers


def verified(environment: Environment) -> tuple[int, str]:
    told = CliRunner().invoke(main, ["verify"], env=environment)
    assert told.exit_code in (0, 1), told.output
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    return told.exit_code, told.output


def repaired(environment: Environment, client: FlaskClient) -> str:
    """What `smarthouse rebuild` says; the chores have their turn then."""
    told = CliRunner().invoke(main, ["rebuild", "--no-wait"], env=environment)
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    while house_of(client).housekeeper.keep():
        pass
    return told.output


@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_damaged_is_served_as_whole_and_the_lake_comes_back(
    number: int,
    filled: tuple[Path, str],
    environment: Environment,
    whole: dict[str, Counter[str]],
    make_client: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smarthouse_api.serving.logs.log_to_stderr", lambda *_: None)
    chance = random.Random(f"{SEED}/{number}")
    data = Path(environment["SMARTHOUSE_DATA_DIR"])
    files = sorted(
        one for one in data.rglob("*") if one.is_file() and not one.name.startswith("state.db") and one.stat().st_size
    )
    file, damage = chance.choice(files), DAMAGES[number % len(DAMAGES)]
    strikes = f"{damage.__name__} {file.relative_to(data)}, CHAOS_SEED={SEED}"
    damaged = damage(file, chance, [one for one in files if one != file])

    says_well = verified(environment)[0] == 0
    client = make_client()
    for moment in ("at once", "later"):
        for name, (found, is_announced) in everything(client, filled[1]).items():
            assert found is None or not found - whole[name], f"{strikes}: {name} has what was never sent, {moment}"
            assert found in (None, whole[name]) or is_announced, f"{strikes}: {name} lack something in silence, {moment}"
            assert found == whole[name] or not says_well, f"{strikes}: `verify` found nothing, but {name} are not whole"
        while house_of(client).housekeeper.keep():
            pass

    if "tables" in file.parts:
        if everything(client, filled[1])["states"][0] != whole["states"] or verified(environment)[0]:
            repaired(environment, client)
        (states, is_lacking), (records, is_lost) = (everything(client, filled[1])[name] for name in ("states", "records"))
        assert (states, is_lacking) == (whole["states"], False), f"{strikes}: the states do not come back"
        assert is_lost or records == whole["records"], f"{strikes}: the records do not come back"
        # A data source has no topic that could give records back.
        assert not is_lost or any("collections/collection=" in str(one) for one in damaged), (
            f"{strikes}: records are lost though their files are whole"
        )
        code, words = verified(environment)
        assert code == int(is_lost), f"{strikes}: {words}"

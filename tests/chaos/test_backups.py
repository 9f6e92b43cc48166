"""Backups that are made under load, killed, made again and restored: what was acknowledged before is there, once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from config.settings import Settings
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from tests.chaos.cast import PAIRS, Cast
from tests.chaos.conftest import SEED, Stages
from tests.chaos.ledger import Promised, first_of
from tests.chaos.load import Load
from tests.conftest import Environment, rows
from tests.programs import Program

_IS_LONG = bool(os.environ.get("CHAOS_ROUNDS"))
_KILLS = 3 if _IS_LONG else 1


@pytest.mark.alone
@pytest.mark.timeout(240)
@pytest.mark.parametrize("pair", PAIRS if _IS_LONG else ["embedded"])
def test_a_backup_made_under_load_is_restored_with_all_that_was_acknowledged(stages: Stages, pair: str, tmp_path: Path) -> None:
    stage, seed = stages.of(pair), f"{SEED}/backup/{pair}"
    client, chance, place = stage.client, random.Random(seed), str(tmp_path / "backup")
    client.ledger.begin_round()
    with Load(client, "backup", seed):
        time.sleep(chance.uniform(0.5, 1.5))
        for _ in range(_KILLS):
            killed(stage.cast.apis[0].settings, chance.uniform(0.1, 1.5), "backup", place)
        before = client.ledger.promised()
        said = command(stage.cast.apis[0].settings, "backup", place)
    forgotten = client.ledger.promised().absent
    (tmp_path / "list").write_text(command(stage.cast.apis[0].settings, "forgotten"))
    there = elsewhere(stage.cast, tmp_path)
    words = ("restore", "--from", place, str(tmp_path / "list"))
    for _ in range(_KILLS):
        killed(there, chance.uniform(0.1, 1.5), *words)
    command(there, *words, "--replace")
    promised = Promised(None, before.present, before.absent | forgotten)
    if told := client.ledger.differences(promised, exported(there)):
        raise AssertionError(f"CHAOS_SEED={SEED}: {said}\n{first_of(told)}")


def elsewhere(cast: Cast, folder: Path) -> Environment:
    """Empty stores on this machine, whatever the pair is."""
    return {"SMARTHOUSE_DATA_DIR": str(folder / f"instead of {cast.pair}"), "SMARTHOUSE_EXPORT_PRIVACY": "raw"}


def command(settings: Environment, *words: str) -> str:
    """What a command prints that must succeed."""
    asked = Program(_asked(words), env={**os.environ, **settings}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told, faults = asked.communicate(timeout=100)
    assert asked.returncode == 0, faults
    return str(told)


def killed(settings: Environment, seconds: float, *words: str) -> None:
    """Begin a command, and kill it so much later."""
    begun = Program(_asked(words), env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(seconds)
    begun.kill()
    begun.communicate()


def exported(settings: Environment) -> Counter[str]:
    """How often each state is exported from stores that nobody serves."""
    house = House(Settings.from_env(settings))
    try:
        house.installation.check()
        export = house.states.exports.open(["json"], Filters())
        if export is None:
            return Counter()
        try:
            return Counter(row["state"] for row in rows(b"".join(export)) if row["type"] == "sensor")
        finally:
            export.close()
    finally:
        house.close()


def _asked(words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "smarthouse_api.cli", *words]

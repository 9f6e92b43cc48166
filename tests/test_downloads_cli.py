"""`smarthouse downloads`: who took which rows."""

from __future__ import annotations

import json

from click.testing import CliRunner

from config.settings import Settings
from smarthouse_api.cli import main
from smarthouse_api.house import House
from tests.conftest import Environment


def test_downloads_are_listed_also_of_revoked_keys(embedded_pair: Environment) -> None:
    house = House(Settings.from_env(embedded_pair))
    house.begin()
    keys = {name: house.access.create(name, export=True)[0] for name in ("anna", "bert")}
    for name, rows in (("anna", 5), ("bert", 7), ("anna", 9)):
        house.downloads.note(keys[name], "/api/export/csv", "types=sensor", rows, f"request{rows}", is_whole=rows != 9)
    house.access.revoke(keys["anna"].id)
    house.close()

    def run(*words: str) -> str:
        told = CliRunner().invoke(main, ["downloads", *words], env=embedded_pair)
        assert told.exit_code == 0, told.output
        return told.output

    lines = run().splitlines()
    assert [line.split()[3] for line in lines] == ["rows", "5", "7", "9"]
    assert lines[3].split()[2:6] == ["anna", "9", "broken", "off"]
    assert [json.loads(line)["rows"] for line in run("--key", keys["anna"].id, "--json").splitlines()] == [5, 9]
    assert len(run("--since", "1s").splitlines()) in {1, 4}
    wrong = CliRunner().invoke(main, ["downloads", "--key", "shk_secret"], env=embedded_pair)
    assert (wrong.exit_code, "secret" in wrong.output) == (2, False)

"""Clients that openapi-typescript makes of the documents which the service gives: they type-check and work."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.clients.made import ALONE, assert_round_trip, block, key, run
from tests.conftest import ROOT, Server
from tests.servers import missing, program

pytestmark = pytest.mark.timeout(360)  # it waits for generators and compilers, which share a busy machine

FOLDER = ROOT / "tests/clients"


@pytest.fixture(scope="module")
def clients(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the types of each document, our program, and the documentation's; compiled."""
    program("node", "apt-get install nodejs")
    program("npx", "apt-get install npm")
    if not (FOLDER / "node_modules/.bin/openapi-typescript").exists():
        missing("The packages of node are missing: npm ci --prefix tests/clients")
    install, _, make = block("sh", "TypeScript", shared_server).partition("\n")
    packages = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    assert set(re.findall(r"(\S+)@(\S+)", install)) == set(packages.items())
    folder = tmp_path_factory.mktemp("typescript")
    for name in ("package.json", "round_trip.ts"):
        shutil.copy(FOLDER / name, folder)
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    (folder / "example.mts").write_text(block("ts", "TypeScript", shared_server))
    run(make, folder)
    alone = {
        name: {"root": f"{shared_server.url}{url}", "x-openapi-ts": {"output": f"{name}.d.ts"}} for name, url in ALONE.items()
    }
    (folder / "redocly.yaml").write_text(json.dumps({"apis": alone}))
    run("npx openapi-typescript", folder)
    compile_, _, _ = block("bash", "TypeScript", shared_server).partition("\n")
    run(f"{compile_} round_trip.ts *.d.ts --skipDefaultLibCheck", folder)
    return folder


def test_the_types_of_each_document_hold(clients: Path) -> None:
    assert {one.name for one in clients.glob("*.d.ts")} == {f"{name}.d.ts" for name in ("smarthouse", *ALONE)}
    types = "".join(one.read_text() for one in clients.glob("*.d.ts"))
    # Such an object takes and gives nothing; only a document without references or webhooks has two of these.
    assert set(re.findall(r"^.*Record<string, never>.*$", types, re.MULTILINE)) <= {
        "export type webhooks = Record<string, never>;",
        "export type $defs = Record<string, never>;",
    }


def test_the_client_goes_to_each_api_and_back(clients: Path, shared_server: Server) -> None:
    assert_round_trip(json.loads(run(f"node round_trip.js {shared_server.url} {key(shared_server)}", clients)), "TypeScript")


def test_the_documentations_example_works(clients: Path, shared_server: Server) -> None:
    _, _, command = block("bash", "TypeScript", shared_server).partition("\n")
    assert "{ start: 0, stop: 0 }" in run(command, clients)

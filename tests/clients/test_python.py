"""Clients that openapi-python-client makes of the documents which the service gives: they type-check and work."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.clients.made import ALONE, assert_round_trip, block, key, run
from tests.conftest import ROOT, Server
from tests.servers import missing

pytestmark = pytest.mark.timeout(360)  # it waits for generators and compilers, which share a busy machine

PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
IN_ONE_PROCESS = """
import json
from openapi_python_client.cli import app
for arguments in json.load(open("alone.json")):
    app(arguments, standalone_mode=False)
"""
"""Runs the command for each document, and imports it once."""


@pytest.fixture(scope="module")
def clients(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a client of each document, our program, and the documentation's."""
    install, _, make = block("sh", "Python", shared_server).partition("\n")
    try:
        assert f"openapi-python-client=={version('openapi-python-client')}" in install
    except PackageNotFoundError:
        missing(f"openapi-python-client is missing: {install}")
    folder = tmp_path_factory.mktemp("python")
    run(make, folder, PATH=PATH)
    whole = next(line for line in make.splitlines() if line.startswith("openapi-python-client"))
    alone = [whole.replace("/docs/openapi.json", url).replace(" smarthouse", f" {name}") for name, url in ALONE.items()]
    (folder / "alone.json").write_text(json.dumps([line.split()[1:] for line in alone]))
    run(f"{sys.executable} -c '{IN_ONE_PROCESS}'", folder, PATH=PATH)
    shutil.copy(ROOT / "tests/clients/round_trip.py", folder)
    (folder / "example.py").write_text(block("python", "Python", shared_server))
    return folder


def test_a_client_of_each_document_type_checks(clients: Path) -> None:
    assert {one.parent.name for one in clients.glob("*/client.py")} == {"smarthouse", *ALONE}
    told = run(f"{sys.executable} -m mypy --strict --config-file= .", clients)
    assert re.match(r"Success: no issues found in [0-9]{3} ", told)


def test_the_client_goes_to_each_api_and_back(clients: Path, shared_server: Server) -> None:
    told = run(f"{sys.executable} round_trip.py {shared_server.url} {key(shared_server)}", clients)
    assert_round_trip(json.loads(told), "Python")


def test_the_documentations_example_works(clients: Path) -> None:
    assert "(start=0, stop=0" in run(f"{sys.executable} example.py", clients)

"""What the tests of both languages share: the documentation's own commands, and what a round trip brings back."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Server, rows
from tests.test_docs import DOCUMENTS

TEXT = (ROOT / "docs/clients.md").read_text()
ALONE = {re.sub(r"\W+(openapi.json$)?", "_", url).strip("_"): url for url in DOCUMENTS[:-1]}
"""The name of a client of one API's document -> the document."""


def block(kind: str, of: str, server: Server) -> str:
    """The code block of this kind below a heading of the documentation, with the running service's URL and a key."""
    found = re.search(rf"^## {of}\n.*?^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].replace("http://127.0.0.1:8000", server.url).replace("shk_your_key", key(server))


def key(server: Server) -> str:
    return server.operator["Authorization"].removeprefix("Bearer ")


def run(command: str, folder: Path, **environment: str) -> str:
    """Run a command of the shell, and give what it prints. environment: alone, or else ours, with the system's authorities."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
    done = subprocess.run(["sh", "-ec", command], cwd=folder, env=environment or ours, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_round_trip(told: dict[str, Any], name: str) -> None:
    """What the program of a language tells of each API is what it brought there."""
    (row,) = rows(base64.b64decode(told.pop("zip")))
    assert (row["entity_id"], row["value"]) == ("sensor.kitchen", 21.5)
    assert f"By {name}" in told.pop("names")
    assert told == {
        "health": "ok",
        "uploaded": 1,
        "formats": "json, csv, xml",
        "forgotten": "Data successfully deleted",
        "created": name.lower(),
        "inserted": 1,
        "records": [{"value": 21.5}, {"value": 1}, {"value": 2}],
        "read": 3,
        "events": [{"value": 21.5}, {"value": 1}, {"value": 2}],
        "last": 1,
        "packets": "hello world",
        "sessions": [[0, 1]],
        "metadata": [{"light": "on"}],
        "refused": "STREAM_NOT_FOUND",
    }

"""A store that is lost under a running service: no export and no deletion is answered as if it were whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import HOME, OTHER_HOME, Environment, payload, state


@pytest.fixture
def environment(embedded_pair: Environment) -> Environment:
    """Stores whose files a test can remove."""
    return embedded_pair


@pytest.mark.parametrize("delay", [0, 3600])
@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("state.db", "state.db was removed while this process had it open; put it back"),
        ("objects/objects", "the object store bears no installation's id"),
        ("objects/tables", "the log of the lake's table states is damaged: _delta_log/00000000000000000000.json is missing"),
    ],
)
def test_what_is_lost_under_a_running_service_is_told_at_once(
    environment: Environment, make_client: Callable[..., FlaskClient], lost: str, told: str, delay: int
) -> None:
    client = make_client(purge_delay_seconds=delay)
    client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME})
    assert client.get("/api/export/csv", buffered=True).status_code == 200
    path = Path(environment["SMARTHOUSE_DATA_DIR"]) / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for home in (OTHER_HOME, HOME, HOME):
        assert client.delete("/api/ingest/data", headers={"Home-UUID": home}).status_code == 503
    assert client.get("/api/export/csv", buffered=True).status_code == 503
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert told in ready.text


def test_no_upload_is_acknowledged_without_the_file_of_the_state(
    environment: Environment, make_client: Callable[..., FlaskClient]
) -> None:
    client = make_client()
    assert client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}).status_code == 200
    file = Path(environment["SMARTHOUSE_DATA_DIR"]) / "state.db"
    kept = file.rename(file.with_name("kept"))
    refused = client.post("/api/ingest/data", data=payload(state(value="2")), headers={"Home-UUID": HOME})
    assert refused.status_code == 503
    assert "/health/ready says why" in refused.text
    kept.rename(file)
    assert client.post("/api/ingest/data", data=payload(state(value="2")), headers={"Home-UUID": HOME}).status_code == 200

"""Stores that hang, seen by a client of the whole service: an answer comes soon, and says what it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient

from backends.ports import StoreUnavailable
from config.settings import Settings, SettingsError
from smarthouse_api.app import create_app
from smarthouse_api.house import House
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, MEMORY, Environment, Server, payload, rows, state
from tests.servers import MinioServer, RedisServer, free_port
from tests.waiting import soon

STORE_SECONDS = 1


@pytest.fixture
def own_minio(tmp_path: Path) -> Iterator[MinioServer]:
    server = MinioServer(tmp_path / "minio")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def service(own_minio: MinioServer, redis_server: RedisServer, tmp_path: Path) -> Iterator[Server]:
    own: Environment = {
        "SMARTHOUSE_STATE_URL": f"{redis_server.url}?prefix={tmp_path.name}-{time.monotonic_ns()}",
        "SMARTHOUSE_OBJECTS_URL": f"{own_minio.url('outages')}&timeout_seconds={STORE_SECONDS}",
        "SMARTHOUSE_EXPORT_PRIVACY": "raw",
    }
    server = Server(own).start()
    yield server
    server.kill()


@pytest.mark.alone
def test_while_the_object_store_hangs_every_export_is_soon_a_503_and_then_all_is_well(
    service: Server, own_minio: MinioServer
) -> None:
    assert service.upload(HOME, payload(state(value="before"))).status_code == 200
    assert service.export("json").status_code == 200
    assert service.upload(HOME, payload(state(value="queued"))).status_code == 200
    own_minio.pause()
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: service.export("json"), range(4)))
    # A turn at the lake, what is asked there, and once more; the flush alone would wait for 30 s.
    assert time.monotonic() - started < 12 * STORE_SECONDS
    own_minio.resume()
    assert [answer.status_code for answer in answers] == [503] * 4
    assert all(answer.headers["Retry-After"] and answer.json()["detail"] for answer in answers)
    assert requests.get(f"{service.url}/health/ready", timeout=30).ok

    def exported() -> bytes | None:
        answer = service.export("json", metadata="false")
        return answer.content if answer.status_code == 200 else None

    # Each process finds out by itself, in half a second.
    assert sorted(row["state"] for row in rows(soon(exported) or b"")) == ["before", "queued"]


def test_a_write_that_an_outage_meets_half_way_is_told_in_a_sentence(own_minio: MinioServer) -> None:
    objects = f"{own_minio.url('outages')}&timeout_seconds={STORE_SECONDS}"
    with closing(House(Settings.from_env({**MEMORY, "SMARTHOUSE_OBJECTS_URL": objects}))) as house:
        house.states.uploads.receive(Upload(HOME, payload(state())))
        house.states.chores.flush()
        snapshot = house.states.table.open()
        assert snapshot is not None
        rows = snapshot.to_pyarrow_table()
        own_minio.kill()
        with pytest.raises(StoreUnavailable, match=r"^the lake: the object store does not answer"):
            house.states.table.append(snapshot, rows, {})


def test_an_engine_that_is_down_is_a_warning_and_exports_name_it(make_client: Callable[..., FlaskClient]) -> None:
    port = free_port()
    client = make_client(engine_url=f"sc://127.0.0.1:{port}/;token=secret")
    assert client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}).status_code == 200
    ready, export = client.get("/health/ready"), client.get("/api/export/json")
    assert (ready.status_code, export.status_code) == (200, 503)
    for told in (ready.json["backends"]["engine"], export.json["detail"]):
        assert f"The query engine at 127.0.0.1:{port} cannot be reached" in told
        assert "secret" not in told


@pytest.mark.parametrize("url", ["sc://127.0.0.1:99999", "sc://127.0.0.1/;use_ssl=yes;token=secret"])
def test_an_engine_that_cannot_be_is_a_fault_of_its_setting(url: str) -> None:
    settings = Settings.from_env({**MEMORY, "SMARTHOUSE_ENGINE_URL": url})
    with pytest.raises(SettingsError, match="SMARTHOUSE_ENGINE_URL: the engine's URL is malformed") as told:
        create_app(settings)
    assert "secret" not in str(told.value)

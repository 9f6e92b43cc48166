"""Stores that are really full: a home is forgotten all the same."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from backends.ports import KeepsReserve, StoreFull
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from tests.collecting import event, made, stored
from tests.conftest import HOME, OTHER_HOME, Environment, house_of, on_pairs, payload, rows, state
from tests.servers import MinioServer, RedisServer
from tests.test_forgetting import files_with, key_of
from tests.waiting import soon

MARK = "a-state-that-only-this-home-ever-had"
_SMALLEST_WRITE = 512

environment = on_pairs("small_disk_pair", "small_servers_pair")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MiB of the test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system may not be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk_pair(disk: Path) -> Environment:
    return {"SMARTHOUSE_DATA_DIR": str(disk / "data"), "SMARTHOUSE_FREE_BYTES": "0"}


@pytest.fixture
def small_servers_pair(disk: Path, redis_server: RedisServer) -> Iterator[Environment]:
    minio = MinioServer(disk)
    minio.start()
    yield {
        "SMARTHOUSE_STATE_URL": f"{redis_server.url}?prefix=full-{minio.port}",
        "SMARTHOUSE_OBJECTS_URL": minio.url("full"),
        "SMARTHOUSE_FREE_BYTES": "0",
    }
    minio.kill()


@pytest.fixture
def client(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(export_privacy="raw")


@contextmanager
def full(disk: Path, redis_server: RedisServer) -> Iterator[None]:
    """Fill the disk to its last byte, and let Redis take nothing more."""
    with redis_server.client() as redis, (disk / "filler").open("ab", buffering=0) as filler:
        redis.config_set("maxmemory", 1)
        try:
            for size in (1 << 20, _SMALLEST_WRITE):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    continue
            noticed_at = time.monotonic() + 1.1  # MinIO looks at its disk once a second
            soon(lambda: not (disk / "data/.minio.sys").exists() or time.monotonic() > noticed_at)
            yield
        finally:
            redis.config_set("maxmemory", 0)
            (disk / "filler").unlink()


def upload(client: FlaskClient, home: str, value: str) -> int:
    body = payload(*(state(f"sensor.mark_{number}", f"{value} {number}") for number in range(50)))
    return client.post("/api/ingest/data", data=body, headers={"Home-UUID": home}).status_code


def send_record(client: FlaskClient, home: str, value: str) -> None:
    answer = client.post("/v2/data/in/meters", json=event({"value": value}), headers={"Home-UUID": home})
    assert answer.status_code == 200


def exported(client: FlaskClient) -> set[str]:
    export = client.get("/api/export/json", headers=_operator(house_of(client)))
    return {row["state"].split(" ")[0] for row in rows(export.data)}


def _operator(house: House) -> dict[str, str]:
    return {"Authorization": f"Bearer {house.access.create('operator', admin=True)[1]}"}


def reserves(house: House) -> list[KeepsReserve]:
    return [store for store in (house.state, house.objects) if isinstance(store, KeepsReserve)]


def kept(store: KeepsReserve) -> bool:
    """Whether the store took the reserve: MinIO notices some moments later that there is room."""
    with suppress(StoreFull):
        store.keep_reserve()
        return True
    return False


def spent(stores: list[KeepsReserve]) -> list[bool]:
    return [store.spend_reserve() for store in stores]


def test_a_home_is_forgotten_though_every_store_is_full(
    client: FlaskClient, disk: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = house_of(client)
    for value, home in ((MARK, HOME), ("other", OTHER_HOME)):
        for night in range(3):
            assert upload(client, home, f"{value} {night}") == 200
            house.states.chores.flush()
    assert upload(client, HOME, f"{MARK} queued") == 200
    records = made(client, "meters", entry_topic="meters")
    for value, home in ((MARK, HOME), ("other", OTHER_HOME)):
        send_record(client, home, value)
    house.collections.chores.flush(records)
    send_record(client, HOME, MARK)
    monkeypatch.setattr("smarthouse_api.coordination.reserve._KEPT_SECONDS", 0.0)
    for _ in range(2):
        house.housekeeper.keep()  # it sets the reserve aside
    key, jobs = key_of(house), house.states.jobs
    done, under_way = (jobs.ask(jobs.request(Filters(), (name,)), "me").id for name in ("csv", "json"))
    for _ in range(3):  # the second is only begun
        jobs.maker.work()
    with full(disk, redis_server):
        assert upload(client, OTHER_HOME, "too much") == 503
        house.state.close()  # opening it again takes some room, too
        assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
        left = [*files_with(disk, key, MARK), *files_with(redis_server.folder, key)]
        assert [path for path in left if ".minio.sys" not in path.parts] == []  # MinIO has a bin, which it empties later
        assert [jobs.view(id_).state for id_ in (done, under_way)] == ["expired", "running"]
        assert list(house.objects.list("jobs/")) == []
    assert exported(client) == {"other"}
    assert stored(client, "meters") == [{"value": "other"}]


def test_a_reserve_that_was_spent_is_set_aside_again_once_there_is_room(
    client: FlaskClient, disk: Path, redis_server: RedisServer
) -> None:
    stores = reserves(house_of(client))
    assert True not in spent(stores)
    with full(disk, redis_server):
        for store in stores:
            with suppress(StoreFull):
                store.keep_reserve()
        assert True not in spent(stores)
    for store in stores:
        soon(partial(kept, store))
    free_bytes = os.statvfs(disk).f_bavail
    for store in stores:
        store.keep_reserve()  # it is there
    assert os.statvfs(disk).f_bavail >= free_bytes - 16
    assert set(spent(stores)) == {True}

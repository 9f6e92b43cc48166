"""Real Apache Spark with Delta, as docs/production.md has it started: cold, hung and killed. `make chaos` runs this."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from config.settings import Settings
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from tests.conftest import HOME, OTHER_HOME, Environment, unzipped
from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.spark.server import SparkServer
from tests.states.test_engine_jobs import ask, file_of, fill, left, meanwhile, receive, village
from tests.states.test_jobs import file, work
from tests.waiting import soon

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("CHAOS_ROUNDS"), reason="takes minutes, and 1 GB of disk; `make chaos` runs it"),
]
ROOT = Path(__file__).parents[2]
_DONE_SECONDS = 400.0
_ENGINE = {"SMARTHOUSE_ENGINE_ANSWER_SECONDS": "10", "SMARTHOUSE_ENGINE_QUERY_SECONDS": "300"}
_OF_ENGINE = ("engine", "another-secret")
QUESTIONS: list[dict[str, Any]] = [{}, {"types": ("sensor", "weather"), "units": ("°C",)}]


@pytest.fixture(scope="module")
def on_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkServer]:
    server = SparkServer(tmp_path_factory.mktemp("spark"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def on_minio(tmp_path: Path) -> Iterator[tuple[SparkServer, Environment]]:
    """Spark as a user that may read the lake and write parts, and no more; and a house on the same bucket."""
    minio = MinioServer(tmp_path / "minio")
    minio.start()
    told = {
        "MINIO_ENDPOINT": minio.endpoint,
        "MINIO_SECURE": "0",
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "BUCKET": "lake",
        "OBJECTS_ACCESS_KEY": "service",
        "OBJECTS_SECRET_KEY": "a-secret-of-its-own",
        "ENGINE_ACCESS_KEY": _OF_ENGINE[0],
        "ENGINE_SECRET_KEY": _OF_ENGINE[1],
    }
    subprocess.run([sys.executable, "deploy/minio_setup.py"], cwd=ROOT, env={**os.environ, **told}, check=True)
    server = SparkServer(tmp_path / "spark", (minio.endpoint, *_OF_ENGINE))
    server.start()
    objects = f"minio://service:a-secret-of-its-own@{minio.endpoint}/lake?secure=0"
    yield server, {"SMARTHOUSE_STATE_URL": f"sqlite://{tmp_path}/state.db", "SMARTHOUSE_OBJECTS_URL": objects}
    server.kill()
    minio.kill()


def see_done(house: House, id_: str) -> None:
    """Work until the job is done. The first query of a cold engine takes minutes."""
    soon(lambda: work(house) or house.states.jobs.view(id_).state == "done", seconds=_DONE_SECONDS)


def see_the_same(here: House, there: House, questions: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare jobs that the engine makes, some in many parts, with downloads that no engine had a part in."""
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 800)
    monkeypatch.setattr("smarthouse_api.states.jobs.engine_parts._MOST_SHARES", 3.0)
    monkeypatch.setattr("smarthouse_api.states.export.asking.Asking.secret", lambda self: bytes(32))
    fill(here, village())
    for question in questions:
        formats = ("csv",) if question else tuple(FORMATS)
        id_ = ask(there, *formats, **question)
        see_done(there, id_)
        for house in (here, there):  # a download that the engine is asked for, too
            export = house.states.exports.open(formats, Filters(**question), metadata=False)
            assert export is not None
            ours, theirs = unzipped(b"".join(export)), unzipped(file(there, id_))
            export.close()
            for name in ours:
                if name == "parquet":
                    tables = [pq.read_table(io.BytesIO(members[name])) for members in (ours, theirs)]
                    assert tables[0].equals(tables[1])
                else:
                    assert ours[name] == theirs[name], (name, question)
        assert all(key.endswith("/zip") for key in left(there))
        assert not there.states.jobs.maker._shop.engine.rests, "the engine has written the parts"


def test_files_are_the_same_on_a_folder(
    on_folder: SparkServer, embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = House(Settings.from_env(embedded_pair))
    there = House(Settings.from_env({**embedded_pair, **_ENGINE, "SMARTHOUSE_ENGINE_URL": on_folder.url}))
    see_the_same(here, there, QUESTIONS, monkeypatch)
    there.close()
    here.close()


def test_files_are_the_same_in_a_bucket_where_the_engine_may_only_write_parts(
    on_minio: tuple[SparkServer, Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, environment = on_minio
    here = House(Settings.from_env(environment))
    there = House(Settings.from_env({**environment, **_ENGINE, "SMARTHOUSE_ENGINE_URL": server.url}))
    see_the_same(here, there, QUESTIONS[:1], monkeypatch)
    there.close()
    here.close()


def test_it_hangs_and_is_killed_and_a_forget_leaves_none(
    on_folder: SparkServer, embedded_pair: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**embedded_pair, **_ENGINE, "SMARTHOUSE_ENGINE_URL": on_folder.url, "SMARTHOUSE_PURGE_WAIT_SECONDS": "0.1"}
    house = House(Settings.from_env(settings))
    for home in (HOME, OTHER_HOME):
        receive(house, home, range(40))
    id_ = ask(house, "jsonl")
    with monkeypatch.context() as hanging:
        meanwhile(hanging, on_folder.pause)
        soon(lambda: work(house) or bool(house.states.jobs.view(id_).told), seconds=_DONE_SECONDS)
        assert on_folder.endpoint in (house.states.jobs.view(id_).told or "")
        with pytest.raises(Unavailable, match="may still write"):
            house.forgetting.forget(OTHER_HOME)
        on_folder.resume()
        soon(lambda: _forgets(house), seconds=60)
    assert left(house) == []
    see_done(house, id_)
    assert house.states.jobs.view(id_).rows == 40
    first = file_of(house, id_)
    receive(house, HOME, range(40, 60))
    id_ = ask(house, "jsonl")
    with monkeypatch.context() as dying:
        meanwhile(dying, on_folder.kill)
        work(house)
        assert house.states.jobs.view(id_).state == "running"
    on_folder.start()
    see_done(house, id_)
    assert house.states.jobs.view(id_).rows == 60
    assert left(house) == sorted([first, file_of(house, id_)]), "nothing but both files"
    house.close()


def _forgets(house: House) -> bool:
    try:
        house.forgetting.forget(OTHER_HOME)
    except Unavailable:
        return False
    return True

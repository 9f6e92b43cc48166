"""The files of a deployment, held to the code: what they name exists, and what they start works."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.error import S3Error
from packaging.specifiers import SpecifierSet

from backends.minio import MinioObjects
from config.settings import Settings, variables
from smarthouse_api.app import create_app
from smarthouse_api.coordination.store_marks import TABLES
from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, ROOT, Server, free_port, payload, rows, state
from tests.programs import run
from tests.servers import MinioServer, Process

yaml = pytest.importorskip("yaml")

DEPLOY = sorted(f"deploy/{path.name}" for path in (ROOT / "deploy").iterdir() if path.is_file())
NAMES = ("Dockerfile", "compose.yaml", ".env.example", "docs/production.md", *DEPLOY)
TEXTS = {name: (ROOT / name).read_text() for name in NAMES}
FIELDS = {f"SMARTHOUSE_{name.upper()}" for name in variables()}
DECIDED = {"ENV", "STATE_URL", "OBJECTS_URL"}
MEANINGLESS = {"DATA_DIR", "RELOAD", "HOUSEKEEPING"}

COMPOSE: dict[str, Any] = yaml.safe_load(TEXTS["compose.yaml"])
SERVICES: dict[str, Any] = COMPOSE["services"]
EXAMPLE = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", TEXTS[".env.example"], re.MULTILINE))
VARIABLES = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", TEXTS["compose.yaml"]))

IMAGE = TEXTS["Dockerfile"]
COMMANDS = {
    name: json.loads(line) for name, line in re.findall(r"^ *(CMD) (\[.*\])$", IMAGE.split("HEALTHCHECK")[1], re.MULTILINE)
}
HEALTH: list[str] = json.loads(re.findall(r"CMD (\[.*\])", IMAGE.split("HEALTHCHECK")[1])[0])

SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")
SERVICE_KEYS, ENGINE_KEYS = ("service", "a-secret-of-its-own"), ("engine", "another-secret")


def seconds(text: str) -> int:
    return sum(int(number) * {"s": 1, "m": 60}[unit] for number, unit in re.findall(r"(\d+)([sm])", text))


def default(text: str) -> str:
    """What compose takes where `.env` has nothing."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_that_is_named_exists(name: str) -> None:
    assert set(re.findall(r"SMARTHOUSE_[A-Z_]+", TEXTS[name])) <= FIELDS


def test_compose_passes_every_setting_on_but_those_that_it_decides() -> None:
    passed = {name for name, value in COMPOSE["x-settings"].items() if value is None}
    assert passed == FIELDS - {f"SMARTHOUSE_{name}" for name in DECIDED | MEANINGLESS}


def test_the_example_names_every_variable_of_compose() -> None:
    assert VARIABLES - EXAMPLE.keys() == set()


def test_compose_heeds_every_variable_of_the_example() -> None:
    assert EXAMPLE.keys() - VARIABLES - COMPOSE["x-settings"].keys() == set()


def test_no_password_has_a_default() -> None:
    secrets = {name for name in EXAMPLE if name.endswith(("PASSWORD", "SECRET_KEY"))}
    assert {EXAMPLE[name] for name in secrets} == {""}
    assert not re.search(r"\$\{\w*(PASSWORD|SECRET_KEY)(:-[^}]+)?\}", TEXTS["compose.yaml"])


def test_nothing_is_published_but_on_this_machine() -> None:
    published = {name: default(port) for name, service in SERVICES.items() for port in service.get("ports", [])}
    assert published.keys() == {"api", "console"}
    assert all(port.startswith("127.0.0.1:") for port in published.values())


def test_compose_publishes_the_port_that_the_image_listens_on() -> None:
    [listens] = re.findall(r"PORT=(\d+)", IMAGE)
    assert f"EXPOSE {listens}\n" in IMAGE
    assert [port.rpartition(":")[2] for port in SERVICES["api"]["ports"]] == [listens]


def test_a_stop_is_waited_for_longer_than_it_may_take() -> None:
    [unit] = re.findall(r"TimeoutStopSec=(\d+)", TEXTS["deploy/smarthouse-api.service"])
    graceful = Settings.from_env({}).server.request_timeout_seconds
    assert min(int(unit), seconds(default(SERVICES["api"]["stop_grace_period"]))) > graceful


def test_every_container_has_a_health_check_of_its_own() -> None:
    of_image = {name for name, text in TEXTS.items() if name.endswith("Dockerfile") and "HEALTHCHECK" in text}
    assert of_image == {"Dockerfile", "deploy/minio.Dockerfile", "deploy/sail.Dockerfile"}
    assert {"worker", "redis", "console"} <= {name for name, service in SERVICES.items() if "healthcheck" in service}


def test_the_image_has_a_python_that_will_do() -> None:
    [version] = re.findall(r"^ARG PYTHON=([\d.]+)", IMAGE, re.MULTILINE)
    assert version in SpecifierSet(SETUP["options"]["python_requires"])


def test_the_image_is_made_of_the_packages_of_the_setup() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", IMAGE, re.MULTILINE))
    assert copied == {name.partition(".")[0] for name in SETUP["options"]["packages"].split()}
    ignored = (ROOT / ".dockerignore").read_text().split("\n*\n")[1].split()
    let_in = {name.removeprefix("!") for name in ignored if name.startswith("!")}
    assert let_in == copied | set(re.findall(r"^COPY (.*) \./$", IMAGE, re.MULTILINE)[0].split())
    assert f"{SETUP['options']['py_modules']}.py" in let_in


def test_the_image_starts_what_gunicorn_can_read() -> None:
    program, *arguments = COMMANDS["CMD"]
    assert program == "gunicorn"
    environment = {**os.environ, "SMARTHOUSE_ENV": "development"}
    run([sys.executable, "-m", "gunicorn", "--check-config", *arguments], cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("name", ["deploy/smarthouse-api.service", "deploy/smarthouse-worker.service"])
def test_the_units_start_what_the_containers_start(name: str) -> None:
    [started] = re.findall(r"ExecStart=/opt/smarthouse/bin/(.*)", TEXTS[name])
    assert started.removeprefix("python -m ").split() in (COMMANDS["CMD"], SERVICES["worker"]["command"])


def test_the_image_knows_a_service_that_lives(shared_server: Server) -> None:
    def status(port: int) -> int:
        command = [sys.executable, *HEALTH[1:]]
        return run(command, env={**os.environ, "PORT": str(port)}, stderr=subprocess.DEVNULL).returncode

    assert status(shared_server.port) == 0
    assert status(free_port()) != 0


def test_a_worker_that_reaches_its_stores_is_healthy(tmp_path: Path) -> None:
    def status(folder: Path) -> int:
        urls = {"SMARTHOUSE_STATE_URL": f"sqlite://{folder}/state.db", "SMARTHOUSE_OBJECTS_URL": f"file://{folder}/objects"}
        command = [sys.executable, *SERVICES["worker"]["healthcheck"]["test"][2:]]
        return run(command, cwd=ROOT, env={**os.environ, **urls}, stderr=subprocess.DEVNULL).returncode

    assert status(tmp_path) == 0
    assert status(Path("/proc/nowhere")) != 0


# What docs/production.md tells


def test_every_log_line_that_is_told_is_in_the_code() -> None:
    table = TEXTS["docs/production.md"].split("| line | meaning |\n")[1].split("\n\n")[0]
    told = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    code = "".join(path.read_text() for folder in ("smarthouse_api", "blueprints") for path in (ROOT / folder).rglob("*.py"))
    assert len(told) > 3
    assert [line for line in told if line not in code] == []


@pytest.mark.parametrize("document", ["docs/running.md", "docs/production.md"])
def test_nginx_takes_the_configuration_that_is_told(document: str, tmp_path: Path) -> None:
    nginx, openssl = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), shutil.which("openssl")
    if nginx is None or openssl is None:
        pytest.skip("nginx or openssl is missing: apt-get install nginx-light openssl")
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    new = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(new, check=True, capture_output=True)
    [told] = re.findall(r"^```nginx\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    told = re.sub(r"(ssl_certificate )[^;]+", rf"\1{certificate}", re.sub(r"(ssl_certificate_key )[^;]+", rf"\1{key}", told))
    told = re.sub(r"listen \d+", f"listen 127.0.0.1:{free_port()}", told)
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; error_log stderr; events {{}}\n{told}")
    tried = subprocess.run(
        [nginx, "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False
    )
    assert tried.returncode == 0, tried.stderr


def test_compose_takes_its_file(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is missing")
    (tmp_path / "env").write_text("".join(f"{name}={value or 'given'}\n" for name, value in EXAMPLE.items()))
    asked = [
        docker,
        "compose",
        "--env-file",
        tmp_path / "env",
        "-f",
        ROOT / "compose.yaml",
        "--profile",
        "*",
        "config",
        "--quiet",
    ]
    tried = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr


# MinIO's setup


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A server on which the setup has run, twice."""
    server = MinioServer(tmp_path_factory.mktemp("minio"), MINIO_ROOT_USER="administrator", MINIO_ROOT_PASSWORD="of-the-server")
    server.start()
    told = {
        "MINIO_ENDPOINT": server.endpoint,
        "MINIO_SECURE": "0",
        "MINIO_ROOT_USER": "administrator",
        "MINIO_ROOT_PASSWORD": "of-the-server",
        "BUCKET": "lake",
        **dict(zip(("OBJECTS_ACCESS_KEY", "OBJECTS_SECRET_KEY"), SERVICE_KEYS, strict=True)),
        **dict(zip(("ENGINE_ACCESS_KEY", "ENGINE_SECRET_KEY"), ENGINE_KEYS, strict=True)),
    }
    for _ in range(2):
        run([sys.executable, "deploy/minio_setup.py"], cwd=ROOT, env={**os.environ, **told}, check=True)
    yield server
    server.kill()


@pytest.fixture
def objects_url(minio: MinioServer) -> str:
    return f"minio://{':'.join(SERVICE_KEYS)}@{minio.endpoint}/lake?secure=0"


@pytest.fixture(scope="module")
def state_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The state of the installation in the bucket."""
    return f"sqlite:///{tmp_path_factory.mktemp('state')}/state.db"


def test_the_service_needs_no_more_rights_than_the_setup_gives(state_url: str, objects_url: str) -> None:
    stores = {"SMARTHOUSE_STATE_URL": state_url, "SMARTHOUSE_OBJECTS_URL": objects_url}
    app = create_app(Settings.from_env(stores))
    client = app.test_client()
    assert client.post("/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}).status_code == 200
    assert len(rows(client.get("/api/export/json").data)) == 1
    assert client.delete("/api/ingest/data", headers={"Home-UUID": HOME}).status_code == 200
    assert client.get("/health/ready").status_code == 200
    app.extensions["smarthouse"].close()


def test_that_goes_for_large_objects_too(objects_url: str) -> None:
    objects = MinioObjects(objects_url)
    objects.put("large", [bytes(1 << 20)] * 20)
    assert [info.size_bytes for info in objects.list("large")] == [20 << 20]
    objects.delete(["large"])
    objects.sweep()
    objects.close()


def test_the_documented_command_starts_an_engine_that_makes_jobs(
    minio: MinioServer, state_url: str, objects_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (command,) = re.findall(r"^AWS_ENDPOINT=.*\n.*sail spark server.*$", (ROOT / "docs/production.md").read_text(), re.M)
    port = free_port()
    for said, here in {
        "http://minio.internal:9000": f"http://{minio.endpoint}",
        "smarthouse-engine": ENGINE_KEYS[0],
        "=...": f"={ENGINE_KEYS[1]}",
        "10.0.0.21": "127.0.0.1",
        "50051": str(port),
        " sail ": f" {Path(sys.executable).parent / 'sail'} ",
    }.items():
        assert said in command
        command = command.replace(said, here)
    engine = Process(["sh", "-c", command], tmp_path, lambda: listens(port), {"AWS_EC2_METADATA_DISABLED": "true"})
    engine.start()
    stores = {"SMARTHOUSE_STATE_URL": state_url, "SMARTHOUSE_OBJECTS_URL": objects_url}
    house = House(Settings.from_env({**stores, "SMARTHOUSE_ENGINE_URL": f"sc://127.0.0.1:{port}"}))
    try:
        house.begin()
        house.states.uploads.receive(Upload(HOME, payload(state())), datetime.now(UTC))
        jobs = house.states.jobs
        id_ = jobs.ask(jobs.request(Filters(), ("csv",)), "me").id
        while jobs.maker.work():
            pass
        assert (jobs.view(id_).state, jobs.view(id_).rows) == ("done", 1)
        assert not [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")]
        assert not list(house.objects.list_table("parts"))
    finally:
        house.close()
        engine.kill()


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_an_engine_may_read_the_lake_and_write_parts_of_jobs_and_nothing_else(minio: MinioServer) -> None:
    administrator = Minio(endpoint=minio.endpoint, access_key="administrator", secret_key="of-the-server", secure=False)
    tables = [f"tables/{name}/x" for name in TABLES]
    for key in (*tables, "objects/raw/x"):
        administrator.put_object(bucket_name="lake", object_name=key, data=BytesIO(b"x"), length=1)
    engine = Minio(endpoint=minio.endpoint, access_key=ENGINE_KEYS[0], secret_key=ENGINE_KEYS[1], secure=False)
    for key in tables:
        engine.stat_object(bucket_name="lake", object_name=key)
        with pytest.raises(S3Error):
            engine.remove_object(bucket_name="lake", object_name=key)
        with pytest.raises(S3Error):
            engine.put_object(bucket_name="lake", object_name=f"{key}/y", data=BytesIO(b"x"), length=1)
    with pytest.raises(S3Error):
        engine.stat_object(bucket_name="lake", object_name="objects/raw/x")
    part = "tables/parts/version/attempt/span=0/part.parquet"
    engine.put_object(bucket_name="lake", object_name=part, data=BytesIO(b"x"), length=1)
    assert [found.object_name for found in engine.list_objects("lake", prefix="tables/parts/", recursive=True)] == [part]
    engine.remove_object(bucket_name="lake", object_name=part)
    with pytest.raises(S3Error):
        list(engine.list_objects(bucket_name="lake", prefix="objects/"))

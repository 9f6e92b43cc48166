"""An installation on each pair of stores, and others to restore it into."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from backends.ports import ObjectStore
from backends.registry import open_objects
from config.settings import Settings
from smarthouse_api.app import create_app
from smarthouse_api.house import House
from tests.backups.installation import Client, opened
from tests.conftest import Environment


@pytest.fixture(params=["embedded_pair", "production_pair"])
def environment(request: pytest.FixtureRequest) -> Environment:
    """The pairs of stores that another process can open. A backup of a store in memory would be this process's own."""
    pair: Environment = request.getfixturevalue(request.param)
    return pair


@pytest.fixture
def open_house(environment: Environment) -> Iterator[Callable[..., House]]:
    """Opens houses, by default on the pair of stores under test."""
    houses: list[House] = []

    def open_(settings: Environment = environment) -> House:
        houses.append(opened(settings))
        return houses[-1]

    yield open_
    for house in houses:
        house.close()


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> Iterator[Client]:
    app = make_app(export_privacy="raw")
    own = app.extensions["smarthouse"]
    yield Client(app)
    app.extensions["smarthouse"] = own


@pytest.fixture(scope="session")
def filled_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A filled installation on the embedded stores, to be copied, and its operator's key."""
    environment = {"SMARTHOUSE_DATA_DIR": str(tmp_path_factory.mktemp("filled") / "data")}
    app = create_app(Settings.from_env({**environment, "SMARTHOUSE_EXPORT_PRIVACY": "raw"}))
    client, own = Client(app), app.extensions["smarthouse"]
    house = opened(environment)
    client.fill(house)
    house.close()
    own.close()
    return Path(environment["SMARTHOUSE_DATA_DIR"]), client.key


@pytest.fixture
def filled(request: pytest.FixtureRequest, environment: Environment, open_house: Callable[..., House]) -> House:
    """Name it before `client`: of the embedded stores, files are copied before anything opens them."""
    is_embedded = "SMARTHOUSE_DATA_DIR" in environment
    if is_embedded:
        folder, key = request.getfixturevalue("filled_folder")
        shutil.copytree(folder, environment["SMARTHOUSE_DATA_DIR"])
    client, house = request.getfixturevalue("client"), open_house()
    if is_embedded:
        client.key = key
    else:
        client.fill(house)
    return house


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    """Another pair of stores, of other technologies than the one under test, where there are any."""
    if "embedded_pair" in request.node.name:
        pair: Environment = request.getfixturevalue("production_pair")
        return pair
    return {"SMARTHOUSE_DATA_DIR": str(tmp_path / f"elsewhere-{uuid.uuid4().hex}")}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[ObjectStore]:
    store = open_objects(f"file://{tmp_path}/backup")
    yield store
    store.close()

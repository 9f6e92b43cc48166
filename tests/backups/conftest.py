"""An installation on each pair of stores, and others to restore it into."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from backends.ports import ObjectStore
from backends.registry import open_objects
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


@pytest.fixture
def filled(open_house: Callable[..., House], client: Client) -> House:
    house = open_house()
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

"""The same over sockets, where a server has its say too. `make chaos` asks ten thousands of requests, other ones each time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from config.settings import Settings
from smarthouse_api.house import House
from tests.chaos.conftest import SEED
from tests.conftest import Environment, Server
from tests.fuzz import test_documents
from tests.fuzz.campaign import Campaign
from tests.fuzz.supplies import UNLIMITED, furnish

SHARES = {"/api/ingest": 0.03, "/api/export": 0.08, "/restapi/datasource": 0.08, "/v2": 0.43, "/homes": 0.38}
"""The part of all requests that each document gets: about as many as it has operations, parameters and members."""
PAIRS = ("embedded_pair", "production_pair")
WANTED = int(os.environ.get("CHAOS_REQUESTS", "0"))
_SHORT = 250
"""Requests of the short form, which is part of all tests: on one pair, without the borders that tests/fuzz tries anyway."""


@dataclass
class Besieged:
    """A server, and a house on the same stores."""

    server: Server
    house: House


@pytest.fixture(params=PAIRS if WANTED else PAIRS[:1])
def besieged(request: pytest.FixtureRequest) -> Iterator[Besieged]:
    environment: Environment = request.getfixturevalue(request.param) | UNLIMITED
    server, house = Server(environment).start(), House(Settings.from_env(environment))
    yield Besieged(server, house)
    house.close()
    server.kill()


@pytest.mark.timeout(7200 if WANTED else 300)
def test_every_answer_over_a_socket_is_declared_and_fits(besieged: Besieged, capsys: pytest.CaptureFixture[str]) -> None:
    import requests
    from schemathesis.openapi import from_url

    supplies, seed = furnish(besieged.house), SEED if WANTED else test_documents.SEED
    wanted = WANTED / len(PAIRS) if WANTED else _SHORT
    for prefix, share in SHARES.items():
        schema = from_url(f"{besieged.server.url}{prefix}/openapi.json")
        with requests.Session() as session:
            campaign = Campaign(schema, supplies, seed, session=session, allow_redirects=False, timeout=100)
            found = campaign.run(round(wanted * share), borders=None if WANTED else 0)
        if WANTED:
            with capsys.disabled():
                sys.stdout.write(f"{prefix}: {found.requests} requests, CHAOS_SEED={seed}\n")
        assert not found.counts, f"CHAOS_SEED={seed}\n{found.told()}"

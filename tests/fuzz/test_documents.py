"""Whatever is asked, an answer is one that its document declares, and never an accident."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import pytest
from flask import Flask

from smarthouse_api.house import House
from tests.conftest import Environment
from tests.fuzz.campaign import Campaign
from tests.fuzz.supplies import UNLIMITED, furnish

SEED = "smarthouse"
"""The same requests each time. `make chaos` throws the dice."""
_BORDERS = 40
"""Cases at the borders, for each operation. Some operations have more; `make chaos` tries them all."""


class Document:
    """One document, in a class of its own, so that the documents are tried side by side."""

    url: str
    requests: int

    @pytest.fixture
    def environment(self, memory_pair: Environment) -> Environment:
        return memory_pair | UNLIMITED

    @pytest.mark.timeout(300)
    def test_every_answer_is_declared_and_fits(self, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture) -> None:
        from schemathesis.openapi import from_wsgi

        caplog.set_level(logging.CRITICAL, "smarthouse")

        app = make_app()
        house = app.extensions["smarthouse"]
        assert isinstance(house, House)
        campaign = Campaign(from_wsgi(self.url, Closing(app)), furnish(house), SEED)
        found = campaign.run(self.requests, borders=_BORDERS)
        assert not found.counts, found.told()
        assert found.never_succeeded == set()


class TestIngest(Document):
    url, requests = "/api/ingest/openapi.json", 100


class TestExport(Document):
    url, requests = "/api/export/openapi.json", 400


class TestStreams(Document):
    url, requests = "/homes/openapi.json", 700


class TestDatasources(Document):
    url, requests = "/restapi/datasource/openapi.json", 200


class TestDatasets(Document):
    url, requests = "/v2/openapi.json", 700


class Closing:
    """Ends each answer as a server does: it lets go of what the answer holds. The library closes only streams of events."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        answer = self._app(environ, start_response)
        if "follow" in environ["QUERY_STRING"]:
            return answer
        with closing(answer):  # type: ignore[type-var]
            return [b"".join(answer)]

"""The fixtures: a service that is scripted, and a home that is set up for it."""

from __future__ import annotations

import custom_components  # noqa: F401  first, or the plugin's own folder of this name takes its place

# The line above is no import like the others: it decides where `custom_components` is.
# isort: split
import asyncio
import json
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from homeassistant.components.recorder.models import StatisticMeanType
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import CONF_API_KEY, CONF_URL, MAJOR_VERSION, MINOR_VERSION
from homeassistant.core import HomeAssistant
from homeassistant.loader import DATA_CUSTOM_COMPONENTS
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.smarthouse.client import ServiceError, identity
from custom_components.smarthouse.const import DOMAIN
from custom_components.smarthouse.coordinator import SmartHouseCoordinator
from custom_components.smarthouse.scrub import Scrubber, load_vocabulary

HOME = "6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11"
NAMES_KEY = "0123456789abcdef0123456789abcdef"
RECEIPT = "d0aaac969c8d8caa0bdc2175"
PATHS = {"/api/ingest/data": {}, "/api/ingest/consent": {}, "/api/ingest/receipts/{receipt_id}": {}}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Set = Callable[..., None]


def problem(status: int, detail: str = "no", title: str = "Fault", **headers: str) -> Answer:
    """An answer as the service refuses."""

    async def answer(_: web.Request) -> web.Response:
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")

    return answer


async def reset(request: web.Request) -> web.StreamResponse:
    """No answer: the connection is reset."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang(_: web.Request) -> web.StreamResponse:
    """No answer for an hour."""
    await asyncio.sleep(3600)
    return web.Response()


@dataclass
class Service:
    """A service that answers as the real one does, unless `faults` says otherwise for the next requests, or `down` for all."""

    url: str = ""
    uploads: list[tuple[str, bytes]] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    consents: list[dict[str, str]] = field(default_factory=list)
    faults: list[Answer] = field(default_factory=list)
    down: Answer | None = None
    document: dict[str, Any] = field(default_factory=lambda: {"info": {"title": "SmartHouse Ingest API"}, "paths": PATHS})
    document_status: int = 200
    terms: tuple[str, ...] = ()
    key: str | None = None
    most_rows: int | None = None
    ignored: int = 0
    expired: int = 0
    first: str = "2026-11-30T03:00:00Z"

    @property
    def payloads(self) -> list[dict[str, list[dict[str, Any]]]]:
        return [json.loads(zlib.decompress(body)) for _, body in self.uploads]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for payload in self.payloads for rows in payload.values() for row in rows]

    @property
    def distinct(self) -> set[str]:
        """The rows as the service keeps them: each once."""
        return {json.dumps(row, sort_keys=True) for row in self.rows}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers)))
        if request.path.endswith("/api/ingest/openapi.json"):
            return web.json_response(self.document, status=self.document_status)
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return await problem(401)(request)
        if self.down is not None:
            return await self.down(request)
        if self.faults and request.method in ("POST", "DELETE"):
            return await self.faults.pop(0)(request)
        if request.method == "PUT":
            given = await request.json()
            if self.terms and given["terms"] not in self.terms:
                return await problem(400, f"terms: this service asks for consent to {self.terms[0]}")(request)
            self.consents.append(given)
            return web.json_response({"message": "Consent recorded"})
        if request.method == "DELETE":
            return web.json_response({"message": "Data successfully deleted", "receipt": RECEIPT})
        if request.method == "GET":
            held = {"uploads": len(self.uploads) - self.expired, "expired_uploads": self.expired, "first": self.first}
            return web.json_response({**held, "objected": False})
        return await self._upload(request)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        payload = json.loads(zlib.decompress(body))
        rows = sum(map(len, payload.values()))
        if self.most_rows is not None and rows > self.most_rows:
            return await problem(413)(request)
        self.uploads.append((request.headers["Idempotency-Key"], body))
        return web.json_response(
            {"message": "ok", "id": "1", "records": rows - self.ignored, "ignored": self.ignored, "duplicate": False}
        )


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Keep the statements of SQL out of the logs: writing them takes longer than the tests."""
    logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)


@pytest.fixture
def hass(recorder_mock: Any, hass: HomeAssistant) -> HomeAssistant:
    """Home Assistant with a recorder, which comes first, and with this integration, which it looks for anew."""
    hass.data.pop(DATA_CUSTOM_COMPONENTS)
    return hass


@pytest.fixture
async def service(socket_enabled: None) -> AsyncIterator[Service]:
    """A scripted service on a real socket."""
    told = Service()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", told.answer)
    async with TestServer(app) as server:
        told.url = str(server.make_url("")).rstrip("/")
        yield told


@pytest.fixture(scope="session")
def vocabulary() -> dict[str, Any]:
    return load_vocabulary()


@pytest.fixture
def scrubber(vocabulary: dict[str, Any]) -> Scrubber:
    return Scrubber(vocabulary, bytes.fromhex(NAMES_KEY))


def entry_for(service: Service, **options: Any) -> MockConfigEntry:
    """An entry as the dialogue makes it. past: what of the past is uploaded."""
    past, key = options.pop("past", "nothing"), options.pop("key", "")
    return MockConfigEntry(
        domain=DOMAIN,
        title="localhost",
        unique_id=identity(service.url),
        data={
            CONF_URL: service.url,
            CONF_API_KEY: key,
            "home_uuid": HOME,
            "names_key": NAMES_KEY,
            "terms": "1.0",
            "consented_at": "2026-11-30T00:00:00+00:00",
            "past": past,
        },
        options={
            "pace": "nightly",
            "domains": ["device_tracker", "person"],
            "entities": [],
            "areas": [],
            "labels": [],
            **options,
        },
    )


@pytest.fixture
async def entry(hass: HomeAssistant, service: Service) -> MockConfigEntry:
    """An entry that is set up and has uploaded nothing yet."""
    return await set_up(hass, entry_for(service))


async def set_up(hass: HomeAssistant, entry: MockConfigEntry) -> MockConfigEntry:
    entry.add_to_hass(hass)
    assert await hass.config_entries.async_setup(entry.entry_id)
    await hass.async_block_till_done()
    assert entry.state is ConfigEntryState.LOADED
    # The first upload comes by itself some minutes after a start. The tests say when.
    entry.runtime_data.retries.cancel()
    return entry


@pytest.fixture
def temperature(hass: HomeAssistant) -> Iterator[Callable[..., None]]:
    """Sets a sensor's state, with a private attribute that must stay."""

    def set_state(value: float, entity_id: str = "sensor.kitchen_temperature") -> None:
        told = {"unit_of_measurement": "°C", "device_class": "temperature", "friendly_name": "Maria's kitchen"}
        hass.states.async_set(entity_id, str(value), told)

    return set_state


def temperature_statistics(entity_id: str) -> Any:
    """What the recorder is to know of the long-term statistics of a temperature."""
    # Newer versions ask for these, older ones do not know them.
    newer = {"mean_type": StatisticMeanType.ARITHMETIC, "unit_class": "temperature"}
    is_newer = (MAJOR_VERSION, MINOR_VERSION) >= (2025, 11)
    return {
        "has_mean": True,
        "has_sum": False,
        "name": None,
        "source": "recorder",
        "statistic_id": entity_id,
        "unit_of_measurement": "°C",
        **(newer if is_newer else {}),
    }


async def fails(entry: MockConfigEntry) -> ServiceError:
    """Upload in vain, and let no timer try again: a clock that a test moves would fire it."""
    with pytest.raises(ServiceError) as caught:
        await entry.runtime_data.upload_now()
    entry.runtime_data.retries.cancel()
    return caught.value


def coordinator_of(entry: MockConfigEntry) -> SmartHouseCoordinator:
    coordinator: SmartHouseCoordinator = entry.runtime_data
    return coordinator


def states_sent(service: Service, entity_id: str = "sensor.kitchen_temperature") -> list[str]:
    """The different rows of an entity, in the order of their times."""
    rows = [json.loads(row) for row in service.distinct]
    return [row["state"] for row in sorted(rows, key=lambda row: row["last_updated"]) if row["entity_id"] == entity_id]

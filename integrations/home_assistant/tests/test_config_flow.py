"""The dialogue that sets an entry up."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.smarthouse.const import OLD_DOMAIN
from tests.conftest import HOME, NAMES_KEY, Service
from tests.dialogues import CHOICE, begin, go_on


async def test_a_home_is_set_up(hass: HomeAssistant, service: Service) -> None:
    flow = await begin(hass, f"{service.url}/api/ingest/")
    assert flow["step_id"] == "home"
    flow = await go_on(hass, flow, {})
    assert flow["step_id"] == "consent"
    assert flow["description_placeholders"]["url"] == service.url
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": False})
    assert flow["errors"] == {"agree": "not_agreed"}
    assert service.consents == []
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": True})
    assert service.consents == [{"terms": "1.0", "tier": "rows"}]
    assert flow["step_id"] == "choice"
    flow = await go_on(hass, flow, CHOICE)
    flow = await go_on(hass, flow, {"past": "nothing"})
    assert flow["type"] is FlowResultType.CREATE_ENTRY
    entry = flow["result"]
    assert (entry.title, entry.options) == ("127.0.0.1", CHOICE)
    assert entry.data["terms"] == "1.0"
    homes = {headers["Home-UUID"] for method, _, headers in service.requests if method == "PUT"}
    assert homes == {entry.data["home_uuid"]}


async def test_a_second_entry_for_the_same_service_is_refused(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    flow = await begin(hass, service.url)
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "already_configured")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("lake.example.org", "address"),
        ("http://[::1", "address"),
        ("ftp://lake.example.org", "address"),
        ("http://user:secret@localhost", "address"),
        ("http://lake.example.org", "unencrypted"),
        ("http://127.0.0.1:1", "refused"),
    ],
)
async def test_a_wrong_address_is_told_at_once(hass: HomeAssistant, socket_enabled: None, given: str, fault: str) -> None:
    flow = await begin(hass, given)
    assert flow["errors"] == {"url": fault}


async def test_what_answers_is_looked_at(hass: HomeAssistant, service: Service) -> None:
    service.document = {"info": {"title": "Something else"}}
    assert (await begin(hass, service.url))["errors"] == {"url": "not_smarthouse"}
    service.document = {"info": {"title": "SmartHouse Ingest API"}, "paths": {"/api/ingest/data": {}}}
    assert (await begin(hass, service.url))["errors"] == {"url": "too_old"}


async def test_a_name_that_is_no_machine_is_told(
    hass: HomeAssistant, socket_enabled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: Any, **__: Any) -> Any:
        raise OSError("no such name")

    monkeypatch.setattr("aiohttp.resolver.AsyncResolver.resolve", resolve)
    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", resolve)
    assert (await begin(hass, "https://lake.example.org"))["errors"] == {"url": "unresolvable"}


async def test_a_wrong_certificate_is_told(hass: HomeAssistant, socket_enabled: None, tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 1 -subj /CN=localhost"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")

    def handshake(listener: socket.socket) -> None:
        with suppress(OSError), listener.accept()[0] as connection, context.wrap_socket(connection, server_side=True):
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=handshake, args=[listener])
        thread.start()
        assert (await begin(hass, f"https://127.0.0.1:{listener.getsockname()[1]}"))["errors"] == {"url": "tls"}
        thread.join()


async def test_an_address_that_is_not_encrypted_is_told(hass: HomeAssistant, service: Service) -> None:
    assert (await begin(hass, service.url.replace("http:", "https:")))["errors"] == {"url": "no_tls"}


async def test_two_entries_do_not_upload_the_same_home(hass: HomeAssistant, service: Service, entry: MockConfigEntry) -> None:
    hass.config_entries.async_update_entry(entry, unique_id="another")
    flow = await go_on(hass, await begin(hass, service.url), {"home_uuid": HOME})
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "home_configured")


async def test_a_key_is_asked_for_and_tried(hass: HomeAssistant, service: Service) -> None:
    service.key = "good"
    assert (await begin(hass, service.url))["errors"] == {"api_key": "key_needed"}
    flow = await begin(hass, service.url, "bad")
    assert flow["errors"] == {"api_key": "key_wrong"}
    flow = await go_on(hass, flow, {"url": service.url, "api_key": "good"})
    assert flow["step_id"] == "home"


async def test_the_service_names_the_terms_that_hold(hass: HomeAssistant, service: Service) -> None:
    service.terms = ("2.1",)
    flow = await go_on(hass, await begin(hass, service.url), {})
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": True})
    assert flow["errors"] == {"terms": "terms"}
    assert "2.1" in flow["description_placeholders"]["detail"]
    flow = await go_on(hass, flow, {"terms": "2.1", "agree": True})
    assert flow["step_id"] == "choice"


@pytest.mark.parametrize(("given", "key"), [(HOME.upper(), None), (f"{HOME}.{NAMES_KEY}", NAMES_KEY)])
async def test_a_home_is_gone_on_with(hass: HomeAssistant, service: Service, given: str, key: str | None) -> None:
    flow = await begin(hass, service.url)
    flow = await go_on(hass, flow, {"home_uuid": "{" + HOME + "}"})
    assert flow["errors"] == {"home_uuid": "home"}
    flow = await go_on(hass, flow, {"home_uuid": given})
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": True})
    flow = await go_on(hass, flow, CHOICE)
    flow = await go_on(hass, flow, {"past": "nothing"})
    assert flow["data"]["home_uuid"] == HOME
    assert key in (None, flow["data"]["names_key"])


async def test_the_entry_of_2022_is_taken_over(hass: HomeAssistant, service: Service) -> None:
    old = MockConfigEntry(domain=OLD_DOMAIN, title="options", data={"sensor": True, "uuid": HOME})
    old.add_to_hass(hass)
    flow = await begin(hass, service.url)
    (field,) = flow["data_schema"].schema
    assert field.description == {"suggested_value": HOME}
    flow = await go_on(hass, flow, {"home_uuid": HOME})
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": True})
    flow = await go_on(hass, flow, CHOICE)
    flow = await go_on(hass, flow, {"past": "nothing"})
    await hass.async_block_till_done()
    assert flow["result"].data["home_uuid"] == HOME
    assert hass.config_entries.async_entries(OLD_DOMAIN) == []

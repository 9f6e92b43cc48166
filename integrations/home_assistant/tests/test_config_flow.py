"""The dialogues: setting up, options, another address or key."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers import issue_registry as ir
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.components.recorder.common import async_wait_recording_done

from custom_components.smarthouse.client import ServiceError
from custom_components.smarthouse.const import DOMAIN, OLD_DOMAIN
from tests.conftest import HOME, NAMES_KEY, RECEIPT, Service, entry_for, fails, problem, set_up

CHOICE = {"domains": ["person"], "entities": [], "areas": [], "labels": [], "pace": "hourly"}


async def begin(hass: HomeAssistant, url: str, key: str | None = None) -> dict[str, Any]:
    flow = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    given = {"url": url} | ({} if key is None else {"api_key": key})
    return await hass.config_entries.flow.async_configure(flow["flow_id"], given)


async def go_on(hass: HomeAssistant, flow: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return await hass.config_entries.flow.async_configure(flow["flow_id"], given)


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


async def test_an_entry_may_not_be_moved_to_the_service_of_another(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    other = entry_for(service)
    hass.config_entries.async_update_entry(entry, unique_id="another")
    await set_up(hass, other)
    flow = await entry.start_reconfigure_flow(hass)
    flow = await go_on(hass, flow, {"url": service.url})
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "already_configured")


async def test_a_new_key_at_the_same_address_needs_no_other_consent(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    service.key = "new"
    flow = await entry.start_reconfigure_flow(hass)
    flow = await go_on(hass, flow, {"url": service.url, "api_key": "new"})
    await hass.async_block_till_done()
    assert (flow["reason"], entry.data["api_key"], service.consents) == ("reconfigure_successful", "new", [])


async def test_the_options_of_an_entry_that_does_not_run_say_so(hass: HomeAssistant, service: Service) -> None:
    entry = entry_for(service)
    entry.add_to_hass(hass)
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "not_loaded")


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


async def test_options_change_what_is_left_out(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    assert flow["menu_options"] == ["choice", "preview", "again", "home", "leave"]
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], CHOICE)
    await hass.async_block_till_done()
    assert flow["type"] is FlowResultType.CREATE_ENTRY
    assert entry.options == CHOICE
    assert entry.runtime_data.config_entry.options["pace"] == "hourly"


async def test_domains_are_named_as_in_home_assistant(hass: HomeAssistant, entry: MockConfigEntry) -> None:
    hass.states.async_set("light.kitchen", "on")
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    (domains,) = [field for name, field in flow["data_schema"].schema.items() if name == "domains"]
    assert {"value": "device_tracker", "label": "Device tracker"} in domains.config["options"]
    assert {"value": "light", "label": "Light"} in domains.config["options"]


async def test_what_is_left_out_stays_left_out_under_another_name(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Any
) -> None:
    registry = er.async_get(hass)
    registered = registry.async_get_or_create("sensor", "demo", "1", suggested_object_id="bedroom_temperature")
    given = {**CHOICE, "entities": [registered.entity_id, "sensor.attic_temperature"]}
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    await hass.config_entries.options.async_configure(flow["flow_id"], given)
    await hass.async_block_till_done()
    entry.runtime_data._cancel_retry()
    registry.async_update_entity(registered.entity_id, new_entity_id="sensor.kitchen_humidity")
    for entity_id in ("sensor.kitchen_humidity", "sensor.attic_temperature", "sensor.cellar_temperature"):
        temperature(20, entity_id)
    await entry.runtime_data.upload_now()
    assert {row["entity_id"] for row in service.rows} == {"sensor.cellar_temperature"}
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    (shown,) = [field.default() for field in flow["data_schema"].schema if field == "entities"]
    assert shown == ["sensor.kitchen_humidity", "sensor.attic_temperature"]


async def test_what_a_service_has_lost_is_sent_again(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry, temperature: Any
) -> None:
    temperature(20)
    await entry.runtime_data.upload_now()
    began = service.rows
    issues, lost = ir.async_get(hass), f"lost_{entry.entry_id}"
    await entry.runtime_data.upload_now()
    service.requests.clear()
    await entry.runtime_data.upload_now()
    assert [method for method, *_ in service.requests if method == "GET"] == []  # it was asked just now
    assert issues.async_get_issue(DOMAIN, lost) is None
    service.down = problem(503)
    temperature(21)
    await fails(entry)
    service.down = None
    service.uploads.clear()
    await entry.runtime_data.upload_now()
    told = issues.async_get_issue(DOMAIN, lost)
    assert told is not None
    assert told.is_persistent
    began += service.rows
    service.uploads.clear()
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "again"})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {})
    await hass.async_block_till_done(wait_background_tasks=True)
    assert flow["type"] is FlowResultType.CREATE_ENTRY
    assert {json.dumps(row) for row in began} <= {json.dumps(row) for row in service.rows}
    assert issues.async_get_issue(DOMAIN, lost) is None
    assert entry.runtime_data.progress.began == pytest.approx(entry.runtime_data.progress.mark, abs=60)


async def test_nothing_is_sent_once_an_area_that_is_left_out_is_gone(
    hass: HomeAssistant, service: Service, temperature: Any
) -> None:
    areas, registry = ar.async_get(hass), er.async_get(hass)
    area = areas.async_create("Bedroom")
    bedroom = registry.async_get_or_create("sensor", "demo", "1", suggested_object_id="bedroom_temperature").entity_id
    registry.async_update_entity(bedroom, area_id=area.id)
    entry = await set_up(hass, entry_for(service, areas=[area.id]))
    for entity_id in (bedroom, "sensor.kitchen_temperature"):
        temperature(20, entity_id)
    areas.async_delete(area.id)
    with pytest.raises(ServiceError, match="left_out"):
        await entry.runtime_data.upload_now()
    assert service.uploads == []
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"left_out_{entry.entry_id}") is not None
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "choice"})
    (shown,) = [field.default() for field in flow["data_schema"].schema if field == "areas"]
    assert shown == []
    await hass.config_entries.options.async_configure(flow["flow_id"], {**CHOICE, "entities": [bedroom]})
    await hass.async_block_till_done()
    await entry.runtime_data.upload_now()
    assert {row["entity_id"] for row in service.rows} == {"sensor.kitchen_temperature"}
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"left_out_{entry.entry_id}") is None


async def test_options_show_the_home_and_the_next_upload(hass: HomeAssistant, entry: MockConfigEntry, temperature: Any) -> None:
    temperature(21)
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "home"})
    shown = {str(field): field.default() for field in flow["data_schema"].schema}
    assert shown == {"home_uuid": HOME, "home_code": f"{HOME}.{NAMES_KEY}"}
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "preview"})
    (field,) = flow["data_schema"].schema
    assert "sensor.kitchen_temperature" in field.default()
    assert flow["description_placeholders"]["rows"] == "1"


async def test_a_home_leaves_by_the_options(hass: HomeAssistant, service: Service, entry: MockConfigEntry) -> None:
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "leave"})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"stop": False})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"sure": False})
    assert flow["errors"] == {"sure": "not_sure"}
    service.faults = [problem(503)]
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"sure": True})
    assert flow["errors"] == {"base": "unavailable"}
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"sure": True})
    assert flow["description_placeholders"]["receipt"] == RECEIPT
    assert service.requests[-1][:2] == ("DELETE", "/api/ingest/data")
    await hass.config_entries.options.async_configure(flow["flow_id"], {})
    assert entry.runtime_data.data.left
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "leave"})
    assert (flow["step_id"], flow["description_placeholders"]["receipt"]) == ("receipt", RECEIPT)


async def test_the_address_is_changed(hass: HomeAssistant, service: Service, entry: MockConfigEntry) -> None:
    flow = await entry.start_reconfigure_flow(hass)
    flow = await go_on(hass, flow, {"url": "http://127.0.0.1:1"})
    assert flow["errors"] == {"url": "refused"}
    # Another service needs consent, and learns the UUID, which may erase the home, only with it.
    service.requests.clear()
    flow = await go_on(hass, flow, {"url": f"{service.url}/lake/"})
    assert flow["step_id"] == "consent"
    assert HOME not in {headers.get("Home-UUID") for _, _, headers in service.requests}
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": True})
    assert service.consents == [{"terms": "1.0", "tier": "rows"}]
    await hass.async_block_till_done()
    assert (flow["type"], flow["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    assert entry.unique_id == f"{service.url.removeprefix('http://')}/lake"
    assert entry.data["home_uuid"] == HOME


async def test_a_home_that_left_joins_again_as_a_new_one(hass: HomeAssistant, service: Service, temperature: Any) -> None:
    entry = await set_up(hass, entry_for(service, past="recorded"))
    temperature(0)
    await async_wait_recording_done(hass)
    await entry.runtime_data.forget(stop=True)
    flow = await entry.start_reconfigure_flow(hass)
    flow = await go_on(hass, flow, {"url": service.url})
    assert flow["step_id"] == "consent"
    flow = await go_on(hass, flow, {"terms": "1.0", "agree": True})
    await hass.async_block_till_done()
    assert flow["reason"] == "reconfigure_successful"
    assert entry.data["home_uuid"] != HOME
    assert not entry.runtime_data.data.left
    # Its rows of before would tell which home it was.
    entry.runtime_data._cancel_retry()
    await entry.runtime_data.upload_now()
    assert "0" not in {row["state"] for row in service.rows}
    temperature(1)
    await entry.runtime_data.upload_now()
    assert "1" in {row["state"] for row in service.rows}


async def test_the_question_for_a_key_goes_once_an_upload_works(
    hass: HomeAssistant, service: Service, entry: MockConfigEntry
) -> None:
    hass.states.async_set("light.kitchen", "on")
    service.faults = [problem(401)]
    with pytest.raises(ServiceError, match="key_needed"):
        await entry.runtime_data.upload_now()
    await hass.async_block_till_done()
    assert len(hass.config_entries.flow.async_progress()) == 1
    await entry.runtime_data.upload_now()
    assert hass.config_entries.flow.async_progress() == []


async def test_a_key_is_asked_for_again(hass: HomeAssistant, service: Service) -> None:
    entry = await set_up(hass, entry_for(service, key="old"))
    service.key = "new"
    hass.states.async_set("light.kitchen", "on")
    with pytest.raises(ServiceError, match="key_wrong"):
        await entry.runtime_data.upload_now()
    await hass.async_block_till_done()
    (flow,) = hass.config_entries.flow.async_progress()
    told = await go_on(hass, flow, {"api_key": "newer"})
    assert told["errors"] == {"api_key": "key_wrong"}
    told = await go_on(hass, flow, {"api_key": "new"})
    assert told["reason"] == "reauth_successful"
    assert entry.data["api_key"] == "new"

"""The integration for Home Assistant: its lists are the service's, and what it lets out the service publishes as it came.

Its own tests are in `integrations/home_assistant/tests`, and run in Home Assistant: `make test-home-assistant`.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from flask import Flask
from werkzeug.test import Client

from config.settings import Settings, variables
from smarthouse_api.app import create_app
from smarthouse_api.states.records import rules
from smarthouse_api.states.vocabulary import facts
from tests.conftest import MEMORY, ROOT, Server

yaml = pytest.importorskip("yaml")

FOLDER = ROOT / "integrations" / "home_assistant"
ADDON = FOLDER / "addon"


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def scrub() -> ModuleType:
    return module(FOLDER / "custom_components/smarthouse/scrub.py")


def test_the_integrations_lists_are_the_services() -> None:
    made = module(FOLDER / "make_vocabulary.py").text()
    assert (FOLDER / "custom_components/smarthouse/vocabulary.json").read_text() == made, (
        "run integrations/…/make_vocabulary.py"
    )


def test_what_the_integration_lets_out_is_what_the_service_would_publish(scrub: ModuleType) -> None:
    scrubber = scrub.Scrubber(scrub.load_vocabulary(), b"key")
    allowed = rules.AttributeRules(frozenset())
    classes = [None, "temperature", "enum", "door", "Maria"]
    units = [None, "°C", "km", "Maria"]
    states = ["21.5", "on", "heat", "charging", "unknown", "Maria Silva"]
    domains = sorted(facts.domains() | {"custom"})
    for domain, device_class, unit, state in itertools.product(domains, classes, units, states):
        entity_id = f"{domain}.kitchen"
        assert scrubber.may_send(entity_id) == (domain in facts.domains() and rules.is_published(domain, entity_id))
        if not scrubber.may_send(entity_id) or domain in rules.PRESENCE:
            continue
        attributes: dict[str, Any] = {
            "device_class": device_class,
            "unit_of_measurement": unit,
            "mode": state,
            "options": [state],
        }
        is_number = state[0].isdigit() and rules.is_measurement(domain, device_class, unit)
        is_told = is_number or state in rules.words_of(domain, device_class, frozenset())
        assert scrubber.state(entity_id, state, attributes) == (state if is_told else rules.REDACTED)
        told = json.loads(allowed(json.dumps(attributes), is_weather=False))
        if told.get("device_class") not in facts.device_classes(domain):
            told.pop("device_class", None)
        assert scrubber.attributes(entity_id, attributes) == told


def test_the_integration_imports_no_part_of_the_service() -> None:
    code = "import sys; import scrub; sys.exit(any(name.startswith('smarthouse_api') for name in sys.modules))"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=FOLDER / "custom_components/smarthouse", check=True, timeout=60)


def test_the_add_on_has_all_that_its_image_is_made_of(tmp_path: Path) -> None:
    made = tmp_path / "smarthouse"
    subprocess.run([ADDON / "assemble.sh", made], check=True, timeout=60)
    dockerfile = (made / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()]
    assert {"wsgi.py", "smarthouse_api", "start.py"} <= set(copied)
    assert [name for name in copied if not (made / name).exists()] == []
    assert dockerfile.rstrip().endswith('CMD ["python", "/opt/smarthouse/addon/start.py"]')
    assert not list(made.rglob("__pycache__"))
    assert {"config.yaml", "DOCS.md", "icon.png", "translations"} <= {path.name for path in made.iterdir()}


def test_the_options_of_the_add_on_are_settings(tmp_path: Path) -> None:
    described = yaml.safe_load((ADDON / "config.yaml").read_text())
    options = described["options"]
    assert set(options) == set(described["schema"])
    assert described["ingress_port"] == 8000
    given = {**options, "environment": ["SMARTHOUSE_CONSENT_TERMS=2.0", "SMARTHOUSE_EXPORT_ACCESS=key"]}
    told = module(ADDON / "start.py").environment(given, tmp_path)
    known = {f"SMARTHOUSE_{name.upper()}" for name in variables()} | {"HOST", "PORT"}
    assert set(told) - known <= {"SMARTHOUSE_ENV"}
    settings = Settings.from_env({name: text for name, text in told.items() if text})
    assert (settings.access.export_access, settings.consents.required, settings.consents.terms) == ("key", True, ("2.0",))


@pytest.fixture
def app() -> Iterator[Flask]:
    made = create_app(Settings.from_env(MEMORY))
    yield made
    made.extensions["smarthouse"].close()


def test_links_of_the_add_ons_pages_hold_behind_ingress(app: Flask) -> None:
    ingress = module(ADDON / "ingress.py")
    client = Client(ingress.Ingress(app))
    path = {"X-Ingress-Path": "/api/hassio_ingress/abc"}
    inside = client.get("/docs", headers=path, environ_overrides={"REMOTE_ADDR": ingress.SUPERVISOR})
    assert "/api/hassio_ingress/abc/docs/openapi.json" in inside.text
    outside = client.get("/docs", headers=path, environ_overrides={"REMOTE_ADDR": "10.0.0.1"})
    assert "hassio_ingress" not in outside.text


def test_the_add_on_serves_what_it_says(tmp_path: Path) -> None:
    settings = {"SMARTHOUSE_DATA_DIR": str(tmp_path), "SMARTHOUSE_WORKERS": "1"}
    server = Server(settings, app="integrations.home_assistant.addon.ingress:app").start()
    try:
        page = requests.get(f"{server.url}/console/", headers={"X-Ingress-Path": "/elsewhere"}, timeout=30)
        assert page.ok
        assert "/elsewhere" not in page.text
    finally:
        server.stop()


def test_the_add_on_explains_its_options() -> None:
    described = yaml.safe_load((ADDON / "config.yaml").read_text())
    for language in ("en", "de", "pt"):
        told = yaml.safe_load((ADDON / "translations" / f"{language}.yaml").read_text())
        assert set(told["configuration"]) == set(described["schema"])
        assert set(told["network"]) == set(described["ports"])
        assert all(set(option) == {"name", "description"} for option in told["configuration"].values())


def test_the_console_is_shown_in_a_frame_of_home_assistant_and_in_no_other(app: Flask) -> None:
    ingress = module(ADDON / "ingress.py")
    client = Client(ingress.behind(app))
    headers = {"X-Ingress-Path": "/api/hassio_ingress/abc", "X-Forwarded-Proto": "https", "Accept": "text/html"}
    inside = {"REMOTE_ADDR": ingress.SUPERVISOR}
    first = client.get("/", headers=headers, environ_overrides=inside)
    assert first.headers["Location"] == "/api/hassio_ingress/abc/console/"
    page = client.get("/console/", headers=headers, environ_overrides=inside)
    assert "frame-ancestors 'self'" in page.headers["Content-Security-Policy"]
    paths = re.findall(r"(?:href|src|action)=\"(/[^\"]*)\"", page.text)
    assert paths
    assert [path for path in paths if not path.startswith("/api/hassio_ingress/abc/")] == []
    outside = client.get("/console/", headers=headers, environ_overrides={"REMOTE_ADDR": "10.0.0.1"})
    assert "frame-ancestors 'none'" in outside.headers["Content-Security-Policy"]

"""The documents, held to their word: what they name exists, and what they say of settings, columns and routes is so."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.routing import MapAdapter

from backends.ports import ObjectStore, StateStore
from backends.registry import OBJECT_BACKENDS, STATE_BACKENDS, open_objects, open_state
from config.settings import PRESETS, Settings, variables
from smarthouse_api.app import create_app
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.collections.record_formats import RECORD_FORMATS
from smarthouse_api.states.export.columns import COLUMNS
from smarthouse_api.states.records.schema import ROWS
from tests.conftest import MEMORY

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/running.md",
    "docs/production.md",
    "docs/streams.md",
    "docs/collections.md",
    "docs/clients.md",
    "docs/erasure.md",
    "docs/rights.md",
    "docs/console.md",
)
FIELDS = {f"SMARTHOUSE_{name.upper()}": variable for name, variable in variables().items()}
TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}
README = TEXTS["README.md"]


def rows_after(header: str) -> list[list[str]]:
    """The cells of the README's table with that header line."""
    table = README.split(f"{header}\n", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


SETTINGS = {name.strip("`"): default.strip("`") for name, default, _ in rows_after("| setting | default | meaning |")}
PRESET_ROWS = rows_after("| preset | for | what it changes |")


def code(text: str) -> list[str]:
    """Each line of the code blocks, without a prompt, and each inline piece of code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()] + inline


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.fixture(scope="module")
def routes() -> Iterator[MapAdapter]:
    app = create_app(Settings.from_env(MEMORY))
    yield app.url_map.bind("localhost")
    app.extensions["smarthouse"].close()


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    told = Settings.from_env({name: SETTINGS[name]})
    assert FIELDS[name].of(told) == FIELDS[name].of(Settings.from_env({}))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_that_is_named_exists(document: str) -> None:
    assert set(re.findall(r"SMARTHOUSE_[A-Z_]+", TEXTS[document])) <= set(FIELDS)


def test_every_preset_is_documented_with_what_it_changes() -> None:
    stores = {"SMARTHOUSE_STATE_URL": "sqlite://s", "SMARTHOUSE_OBJECTS_URL": "file://o"}
    told = {preset.strip("`"): dict(re.findall(r"`(SMARTHOUSE_\w+)=([^`]+)`", changes)) for preset, _, changes in PRESET_ROWS}
    assert set(told) == set(PRESETS)
    for preset, changes in told.items():
        given = stores if preset == "production" else {}
        told_apart = Settings.from_env({**given, **changes})
        server = dataclasses.replace(told_apart.server, env=preset)
        assert Settings.from_env({**given, "SMARTHOUSE_ENV": preset}) == dataclasses.replace(told_apart, server=server)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_exists(document: str) -> None:
    named = [re.match(r"(?:[A-Z_]+=\S+ )*make ([a-z]+)", piece) for piece in code(TEXTS[document])]
    there = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {found[1] for found in named if found} <= there


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", TEXTS[document])
    for path, anchor in links:
        if not path.startswith("https://"):
            target = (ROOT / document).parent / path if path else ROOT / document
            assert target.exists(), path
            assert not anchor or anchor in anchors(target.read_text()), anchor


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_is_named_exists(document: str) -> None:
    folders = "backends|benchmarks|blueprints|config|docs|smarthouse_api|tests"
    named = {path for piece in code(TEXTS[document]) for path in re.findall(rf"(?<![\w/])(?:{folders})/[\w./-]+", piece)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_module_of_the_layout_exists() -> None:
    layout = README.split("## How the code is laid out", 1)[1].split("\n### ", 1)[0]
    folders = ("backends", "blueprints", "config", "smarthouse_api")
    modules = {path.name for folder in folders for path in (ROOT / folder).rglob("*.py")}
    assert set(re.findall(r"\w+\.py\b", layout)) - modules == {"wsgi.py"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_that_is_named_exists(document: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXTS[document])
    assert [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text()] == []


def test_the_columns_are_those_of_an_export() -> None:
    told = [(name.strip("`"), type_, null) for name, type_, null, _ in rows_after("| column | type | null | meaning |")]
    assert told == [(one.name, COLUMNS[one.name].type, "possible" if one.nullable else "never") for one in ROWS]


def test_the_example_shows_the_columns_of_an_export() -> None:
    assert f"\n{','.join(ROWS.names)}\n" in README


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_is_a_route(document: str, routes: MapAdapter) -> None:
    paths = {
        re.sub(r"\{\w+\}", "x", path.rstrip("/").replace("{format}", "csv"))
        for piece in code(TEXTS[document])
        for path in re.findall(
            r"(?<![\w/])(?:/api|/docs|/health|/metrics|/restapi|/v2)(?:/[\w{}.$]+)*", piece.replace("$API", "/api")
        )
    } - {"/api", "/api/export", "/restapi/datasource", "/v2"}
    assert [path for path in sorted(paths) if not routes.allowed_methods(path)] == []


def test_every_request_of_the_session_can_be_made(routes: MapAdapter) -> None:
    requests = [piece for piece in code(README) if piece.startswith("curl ")]
    assert len(requests) > 7
    for request in requests:
        method = "DELETE" if "-X DELETE" in request else "POST" if "--data-binary" in request else "GET"
        path = re.search(r"\$API((?:/[\w$]+)+)", request)
        assert path is not None
        assert method in routes.allowed_methods(f"/api{path[1]}"), request


def test_every_store_is_documented_with_options_that_it_has() -> None:
    listed = [(re.findall(r"`([^`]+://[^`]*)`", urls), options) for urls, _, options in rows_after("| URL | store | options |")]
    table = {url.replace("[", "").replace("]", "").replace(":port", ""): options for urls, options in listed for url in urls}
    assert {url.partition("://")[0] for url in table} == STATE_BACKENDS.keys() | OBJECT_BACKENDS.keys()
    for url, options in table.items():
        given = "&".join(re.findall(r"`(\w+=[\w-]+)`", options))
        for known, open_store in ((STATE_BACKENDS, open_state), (OBJECT_BACKENDS, open_objects)):
            if url.partition("://")[0] in known:
                open_store(f"{url}?{given}" if given else url)


def test_every_format_is_documented() -> None:
    assert all(f"`{name}`" in README for name in FORMATS)
    read_back = (ROOT / "docs/collections.md").read_text().partition("## Read back")[2]
    assert all(f"`{name}`" in read_back for name in RECORD_FORMATS)


@pytest.mark.parametrize("port", [StateStore, ObjectStore])
def test_every_method_that_a_port_asks_is_named(port: type) -> None:
    section = README.split("## Add a backend", 1)[1].split("\n## ", 1)[0]
    assert all(f"`{name}`" in section for name in port.__abstractmethods__)  # type: ignore[attr-defined]

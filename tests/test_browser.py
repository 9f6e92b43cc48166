"""Swagger UI in a real browser that can reach nothing but the service."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.conftest import OTHER_HOME, Server, payload, state

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page, Request, Route

FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
"""


def missing(what: str, install: str) -> None:
    """Skip on a newcomer's machine, fail where everything has to be there."""
    told = f"{what} is missing; to run these tests: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A fresh browser to which all of the network but this machine is down."""
    if importlib.util.find_spec("playwright") is None:
        missing("Playwright", "pip install playwright")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        missing("Chromium", "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=executable,
            args=FLAGS.split(),
            viewport={"width": 1280, "height": 1000},
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server whose exports anyone may download, as a newcomer starts it."""
    one = Server({"SMARTHOUSE_DATA_DIR": str(tmp_path_factory.mktemp("data"))}).start()
    yield one
    one.kill()


class Visit:
    """A page, and everything that it complained of or asked of elsewhere."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.route("**/*", self._only_here)

    def _failed(self, request: Request) -> None:
        """Note a request that failed. One that the browser gives up has not: its page is left, or it became a download."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.url}: {request.failure}")

    def _only_here(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname in ("127.0.0.1", None):
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def operation(self, name: str) -> Locator:
        """The operation with this anchor, opened."""
        found = self.page.locator(f"[id='{name}']")
        found.locator(".opblock-summary-control").click()
        found.locator(".opblock-body").wait_for()
        return found

    def execute(self, name: str) -> Locator:
        """The answer to the operation, tried out as it stands."""
        block = self.operation(name)
        block.get_by_role("button", name="Try it out").click()
        block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table")
        answer.wait_for()
        return answer

    def screenshot(self, name: str) -> None:
        """Kept where the environment says so, to be looked at."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.fixture
def visit(browser: BrowserContext) -> Iterator[Visit]:
    one = Visit(browser)
    yield one
    one.page.close()
    assert (one.complaints, one.elsewhere) == ([], [])


UPLOAD, EXPORT, DATA_IN, FORGET = (
    f"operations-{name}" for name in ("Ingest-data_upload", "Export-export_format", "Datasets-dataIn", "Ingest-data_deletion")
)


@pytest.mark.parametrize(
    ("path", "operations", "tried"),
    [
        ("/api/ingest/ui", 6, (UPLOAD, FORGET)),
        ("/api/export/ui", 15, (EXPORT,)),
        ("/homes/ui", 21, ()),
        ("/restapi/datasource/ui", 2, ()),
        ("/v2/ui", 12, (DATA_IN,)),
        ("/docs", 59, (UPLOAD, EXPORT, DATA_IN)),
    ],
    ids=["ingest", "export", "streams", "datasources", "datasets", "docs"],
)
def test_a_page_shows_every_operation_and_what_is_tried_out_works(
    shared_server: Server, visit: Visit, path: str, operations: int, tried: tuple[str, ...]
) -> None:
    shown = state(unit_of_measurement="°C", device_class="temperature")  # passes the filters of the export's example
    assert shared_server.upload(OTHER_HOME, payload(shown)).status_code == 200
    visit.page.goto(f"{shared_server.url}{path}")
    visit.page.locator(".opblock").first.wait_for()
    visit.screenshot(f"page{path.replace('/', '-')}")
    assert visit.page.locator(".opblock").count() == operations
    assert visit.page.locator(".errors-wrapper").count() == 0
    for name in tried:
        answer = visit.execute(name)
        visit.screenshot(f"{name}{path.replace('/', '-')}")
        assert answer.locator("tr.response td.response-col_status").first.inner_text().split()[0] == "200", name
        if name == UPLOAD:
            assert '"records": 1' in answer.inner_text()
        elif name == EXPORT:
            download = answer.get_by_role("link", name="Download file")
            assert (download.get_attribute("download") or "").startswith("smarthouse_extract_")
        elif name == DATA_IN:
            assert "Data ingested successfully" in answer.inner_text()

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

from tests.conftest import HOME, Server, payload, state

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page, Route

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
        self.page.on("requestfailed", lambda request: self.complaints.append(f"{request.url}: {request.failure}"))
        self.page.route("**/*", self._only_here)

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


@pytest.mark.parametrize(
    ("path", "operations"),
    [
        ("/api/ingest/ui", 6),
        ("/api/export/ui", 13),
        ("/homes/ui", 21),
        ("/restapi/datasource/ui", 2),
        ("/v2/ui", 12),
        ("/docs", 57),
    ],
    ids=["ingest", "export", "streams", "datasources", "datasets", "docs"],
)
def test_a_page_shows_every_operation(shared_server: Server, visit: Visit, path: str, operations: int) -> None:
    visit.page.goto(f"{shared_server.url}{path}")
    visit.page.locator(".opblock").first.wait_for()
    visit.screenshot(f"page{path.replace('/', '-')}")
    assert visit.page.locator(".opblock").count() == operations
    assert visit.page.locator(".errors-wrapper").count() == 0


@pytest.mark.parametrize("path", ["/api/ingest/ui", "/docs"])
def test_an_upload_works_when_it_is_tried_out(shared_server: Server, visit: Visit, path: str) -> None:
    visit.page.goto(f"{shared_server.url}{path}")
    answer = visit.execute("operations-Ingest-data_upload")
    visit.screenshot(f"upload{path.replace('/', '-')}")
    assert answer.locator("tr.response td.response-col_status").first.inner_text().split()[0] == "200"
    assert '"records": 1' in answer.inner_text()


@pytest.mark.parametrize("path", ["/api/export/ui", "/docs"])
def test_an_export_works_when_it_is_tried_out(shared_server: Server, visit: Visit, path: str) -> None:
    assert shared_server.upload(HOME, payload(state())).status_code == 200
    visit.page.goto(f"{shared_server.url}{path}")
    answer = visit.execute("operations-Export-export_format")
    visit.screenshot(f"export{path.replace('/', '-')}")
    assert answer.locator("tr.response td.response-col_status").first.inner_text().split()[0] == "200"
    download = answer.get_by_role("link", name="Download file")
    assert (download.get_attribute("download") or "").startswith("smarthouse_extract_")


@pytest.mark.parametrize("path", ["/v2/ui", "/docs"])
def test_sending_data_works_when_it_is_tried_out(shared_server: Server, visit: Visit, path: str) -> None:
    visit.page.goto(f"{shared_server.url}{path}")
    answer = visit.execute("operations-Datasets-dataIn")
    visit.screenshot(f"data-in{path.replace('/', '-')}")
    assert answer.locator("tr.response td.response-col_status").first.inner_text().split()[0] == "200"
    assert "Data ingested successfully" in answer.inner_text()


def test_forgetting_works_when_it_is_tried_out(shared_server: Server, visit: Visit) -> None:
    visit.page.goto(f"{shared_server.url}/api/ingest/ui")
    answer = visit.execute("operations-Ingest-data_deletion")
    visit.screenshot("forget")
    assert answer.locator("tr.response td.response-col_status").first.inner_text().split()[0] == "200"

"""The operator's pages in a real browser: signed in, looked at, a key made and revoked."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from config.settings import Settings
from smarthouse_api.house import House
from tests import test_browser
from tests.conftest import HOME, Server, unzipped
from tests.console.lake import UPLOADS
from tests.console.test_data_browser import COLOURS, NARROW, WIDE, faults
from tests.test_browser import Visit

browser = test_browser.browser
visit = test_browser.visit


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "SMARTHOUSE_WORKERS": "1",
        "SMARTHOUSE_EXPORT_ACCESS": "key",
        "SMARTHOUSE_DATA_DIR": str(tmp_path_factory.mktemp("data")),
    }
    one = Server(settings).start()
    assert one.upload(HOME, UPLOADS[HOME]).status_code == 200
    yield one
    one.kill()


def test_an_operator_looks_around_and_makes_and_revokes_a_key(shared_server: Server, visit: Visit) -> None:
    house = House(Settings.from_env(shared_server.environment))
    try:
        key = house.access.create("operator", admin=True)[1]
    finally:
        house.close()
    page, urls = visit.page, list[str]()
    page.on("request", lambda request: urls.append(request.url))
    page.set_viewport_size(WIDE)
    page.goto(f"{shared_server.url}/console/operator")
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Ready", exact=True).wait_for()
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for concern in ("Status", "Homes", "Collections", "Jobs", "Keys"):
        page.get_by_role("navigation", name="Concerns").get_by_role("link", name=concern).click()
        for colours, size in zip(COLOURS, (WIDE, NARROW), strict=True):
            page.emulate_media(color_scheme=colours)
            page.set_viewport_size(size)
            visit.screenshot(f"operator-{concern}-{colours}")
            assert faults(page) == [], concern
            assert page.evaluate(width) == 0
    page.get_by_label("Name").fill("a reader")
    page.get_by_label("exports").check()
    page.get_by_role("button", name="Make a key").click()
    made = page.get_by_role("status").inner_text()
    text = re.search(r"shk_([0-9a-f]{12})_[0-9a-f]{64}", made)
    assert text is not None
    page.get_by_label(f"Type {text[1]} to revoke it").fill(text[1])
    page.get_by_role("button", name=f"Revoke {text[1]}").click()
    page.get_by_role("heading", name="Keys", exact=True).wait_for()
    assert text[1] not in page.content()
    assert page.evaluate("JSON.stringify([document.cookie, {...localStorage}])") == '["",{}]'
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Key").wait_for()
    page.go_back()
    assert "a reader" not in page.content()
    visit.complaints.clear()  # going back is a 403 now
    assert not any("shk_" in url for url in urls)


def test_a_researcher_signs_in_with_a_key_and_an_operator_loads_sample_homes(shared_server: Server, visit: Visit) -> None:
    house = House(Settings.from_env(shared_server.environment))
    try:
        (reader, key), (_, admin) = house.access.create("Anna", export=True), house.access.create("an operator", admin=True)
        house.states.chores.flush()
        page, urls = visit.page, list[str]()
        page.on("request", lambda request: urls.append(request.url))
        page.goto(f"{shared_server.url}/console/?units=%C2%B0C")
        seen_by_everybody(visit, "reader-sign-in")
        page.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        page.get_by_text("48 rows of 1 home", exact=True).first.wait_for()
        page.get_by_role("checkbox", name="%").check()
        page.get_by_text("56 rows of 1 home", exact=True).first.wait_for()
        page.locator("#preview tbody tr").first.wait_for()
        with page.expect_download() as taken:
            page.get_by_role("button", name="Download").click()
        assert len(unzipped(taken.value.path().read_bytes())["csv"].splitlines()) == 57
        page.get_by_role("button", name="Make it in the background").click()
        page.get_by_role("heading", name="Done", exact=True).wait_for()
        with page.expect_download():
            page.get_by_role("link", name="Download").click()
        assert [one.key for one in house.downloads.since(0)] == [reader.id, reader.id]
        page.get_by_role("link", name="Back to the data").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Key").wait_for()
        visit.complaints.clear()  # of the pages without a key, and of the navigations that became downloads
        page.goto(f"{shared_server.url}/console/operator/sample")
        page.get_by_label("Key").fill(admin)
        page.keyboard.press("Enter")
        seen_by_everybody(visit, "operator-sample")
        page.get_by_role("button", name="Load the sample homes").click()
        page.get_by_text("6 homes are made-up samples").wait_for()
        page.locator("#typical svg.marks").wait_for()
        page.get_by_role("link", name="Remove them").click()
        seen_by_everybody(visit, "operator-samples")
        page.get_by_role("button", name="Look at one").click()
        page.get_by_role("link", name="sensor.living_room_co2").wait_for()
        assert not any("shk_" in url or "form_token" in url for url in urls)
    finally:
        house.close()


def seen_by_everybody(visit: Visit, name: str) -> None:
    """Look at a page in each colour and width."""
    page = visit.page
    page.get_by_role("main").wait_for()
    for colours, size in zip(COLOURS, (WIDE, NARROW), strict=True):
        page.emulate_media(color_scheme=colours)
        page.set_viewport_size(size)
        visit.screenshot(f"{name}-{colours}")
        assert faults(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    page.set_viewport_size(WIDE)

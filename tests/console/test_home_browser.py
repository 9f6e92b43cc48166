"""The owner's page in a real browser: by keyboard, without a script, on a phone, and with nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import test_browser
from tests.conftest import HOME, Server
from tests.console.lake import UPLOADS
from tests.console.test_data_browser import COLOURS, NARROW, WIDE, faults
from tests.test_browser import Visit

browser = test_browser.browser
visit = test_browser.visit


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"SMARTHOUSE_WORKERS": "1", "SMARTHOUSE_PURGE_ANSWER_SECONDS": "0.1"}
    one = Server({**settings, "SMARTHOUSE_DATA_DIR": str(tmp_path_factory.mktemp("data"))}).start()
    assert one.upload(HOME, UPLOADS[HOME]).status_code == 200
    yield one
    one.kill()


def test_the_owner_looks_takes_forgets_and_leaves_nothing_behind(shared_server: Server, visit: Visit) -> None:
    page, urls = visit.page, list[str]()
    page.on("request", lambda request: urls.append(request.url))
    page.set_viewport_size(WIDE)
    page.goto(f"{shared_server.url}/console/home")
    assert faults(page) == []
    page.get_by_label("UUID").press_sequentially(HOME)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Take it with you").wait_for()
    page.get_by_role("link", name="sensor.kitchen_temperature", exact=True).press("Enter")
    page.get_by_role("img", name="48 states").wait_for()
    page.get_by_role("link", name="Closer").press("Enter")
    page.get_by_role("img", name="24 states").wait_for()
    page.wait_for_load_state()  # nothing hears a drag before
    box = page.locator(".zoom .marks").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.26 * box["width"], box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.74 * box["width"], box["y"] + 40)
    page.mouse.up()
    page.get_by_role("img", name="11 states").wait_for()
    page.get_by_role("link", name="Whole days").press("Enter")
    page.get_by_role("img", name="48 states").wait_for()
    assert page.locator("#history time").first.inner_text().endswith(" UTC)")
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for colours in COLOURS:
        page.emulate_media(color_scheme=colours)
        for name, size in (("wide", WIDE), ("narrow", NARROW)):
            page.set_viewport_size(size)
            visit.screenshot(f"home-{name}-{colours}")
            assert faults(page) == [], (colours, name)
            assert page.evaluate(width) == 0
    kept = "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
    assert page.evaluate(kept) == '["",{},{}]'
    with page.expect_download() as taken:
        page.get_by_role("link", name="Download everything").click()
    assert taken.value.suggested_filename.startswith("smarthouse_home_")
    assert page.get_by_role("button", name="Forget everything").is_disabled()
    page.get_by_label("Type the UUID").fill(HOME)
    page.get_by_role("button", name="Forget everything").click()
    page.get_by_role("heading", name="Your home is forgotten").wait_for()
    assert faults(page) == []
    page.reload()
    page.get_by_text("Hidden from every reader").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert "sensor" not in page.content()
    assert HOME not in " ".join(urls)

"""The Data page in a real browser that can reach nothing but the service, and that complains of all that its policy forbids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests import test_browser
from tests.conftest import Server, unzipped
from tests.console.lake import DAYS, GAP, ROWS, UPLOADS
from tests.test_browser import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

browser = test_browser.browser
visit = test_browser.visit

WIDE, NARROW = {"width": 1300, "height": 1000}, {"width": 390, "height": 844}
COLOURS: Any = ("light", "dark")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server({"SMARTHOUSE_DATA_DIR": str(tmp_path_factory.mktemp("data"))}).start()
    for home, body in UPLOADS.items():
        assert one.upload(home, body).status_code == 200
    assert one.export("csv").status_code == 200  # which brings them into the lake
    yield one
    one.kill()


def whole(page: Page) -> None:
    """Wait until the parts are there that come later."""
    page.locator("#typical svg.marks").wait_for()
    page.locator("#preview tbody tr").first.wait_for()


def count(page: Page) -> str:
    return page.locator("#count").inner_text()


def faults(page: Page) -> list[str]:
    """What axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def test_the_page_can_be_used_by_everybody(shared_server: Server, visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size(WIDE)
    page.goto(f"{shared_server.url}/")
    assert page.url == f"{shared_server.url}/console/"
    whole(page)
    for details in page.locator("details > summary").all():
        details.click()
    for colours in COLOURS:
        page.emulate_media(color_scheme=colours)
        for name, size in (("wide", WIDE), ("narrow", NARROW)):
            page.set_viewport_size(size)
            visit.screenshot(f"data-{name}-{colours}")
            assert faults(page) == [], (colours, name)
            width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(width) == 0
    scrolled = (
        "e => [e.scrollWidth > e.clientWidth, getComputedStyle(e).backgroundAttachment, getComputedStyle(e).backgroundImage]"
    )
    is_cut, moves, shadows = page.locator("#preview .scroll").evaluate(scrolled)
    assert (is_cut, moves, shadows.count("radial-gradient(")) == (True, "local, local, scroll, scroll", 2)
    for language in ("de", "pt"):  # of longer words
        page.set_extra_http_headers({"Accept-Language": language})
        page.goto(f"{shared_server.url}/console/home")
        assert page.get_by_role("link", name="API").evaluate("e => e.getBoundingClientRect().right <= innerWidth"), language
    page.set_extra_http_headers({})
    page.goto(f"{shared_server.url}/console/")
    page.get_by_role("checkbox", name="Choose rows").press("Space")
    assert page.get_by_role("checkbox", name="°C").is_visible()
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light", media="print")
    assert [page.locator(one).first.is_visible() for one in (".taking", ".facets", "#count", ".marks")] == [
        False,
        False,
        True,
        True,
    ]
    page.emulate_media(media="screen")


def test_a_choice_changes_the_count_the_plots_and_the_address_and_back_undoes_it(shared_server: Server, visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size(WIDE)
    page.goto(f"{shared_server.url}/console/")
    assert count(page) == f"{ROWS} rows of 6 homes"
    whole(page)
    bars = page.locator(".brush .marks").get_attribute("aria-label")
    celsius = page.get_by_role("checkbox", name="°C")
    celsius.focus()
    page.keyboard.press("Space")
    page.get_by_text("264 rows of 6 homes", exact=True).first.wait_for()
    assert page.url.endswith("/console/?units=%C2%B0C")
    assert page.locator(":focus").get_attribute("value") == "°C"
    assert page.locator("#said").inner_text() == "264 rows of 6 homes"
    assert page.locator(".brush .marks").get_attribute("aria-label") != bars
    whole(page)
    assert {row.split("\t")[5] for row in page.locator("#preview tbody tr").all_inner_texts()} == {"°C"}
    page.reload()
    assert count(page) == "264 rows of 6 homes"
    drag_over_last_day(page)
    page.get_by_text("120 rows of 5 homes", exact=True).first.wait_for()
    assert page.get_by_label("From", exact=True).input_value() == page.get_by_label("To", exact=True).input_value() == DAYS[1]
    assert f"date_from={DAYS[1]}" in page.url
    whole(page)
    page.go_back()
    page.get_by_text("264 rows of 6 homes", exact=True).first.wait_for()
    whole(page)
    page.go_back()
    page.get_by_text(f"{ROWS} rows of 6 homes", exact=True).first.wait_for()
    assert not page.get_by_role("checkbox", name="°C").is_checked()
    whole(page)
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.get_by_label("From", exact=True).focus()
    page.keyboard.type("03022026", delay=20)
    page.get_by_text("140 rows of 5 homes", exact=True).first.wait_for()
    page.get_by_role("link", name="By the hours of each home's own clock").click()
    page.get_by_text("on each home's own clock.").wait_for()
    page.get_by_role("checkbox", name="%").check()
    page.get_by_text("20 rows of 5 homes", exact=True).first.wait_for()
    assert "day_clock=local" in page.url
    whole(page)
    page.get_by_text("on each home's own clock.").wait_for()
    urls = [url for url in urls if "day_clock" not in url]
    assert [url for url in urls if "/console/?" in url] == [url for url in urls if f"date_from={DAYS[1]}&date_to=" in url]
    whole(page)


def drag_over_last_day(page: Page) -> None:
    box = page.locator(".brush .marks").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 40)
    page.mouse.up()


def test_what_was_chosen_is_taken_by_download_and_by_job(shared_server: Server, visit: Visit) -> None:
    page = visit.page
    page.goto(f"{shared_server.url}/console/?units=%25&format=jsonl")
    whole(page)
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download").click()
    body = taken.value.path().read_bytes()
    assert len(unzipped(body)["jsonl"].splitlines()) == int(count(page).split()[0]) == 44
    link = page.locator("a.long").get_attribute("href") or ""
    assert len(unzipped(requests.get(f"{shared_server.url}{link}", timeout=30).content)["jsonl"].splitlines()) == 44
    page.get_by_role("button", name="Make it in the background").click()
    page.get_by_role("heading", name="Done", exact=True).wait_for()
    assert "/console/jobs/" in page.url
    assert "UTC" in page.locator("time").first.inner_text()
    assert faults(page) == []
    visit.screenshot("job")
    assert page.get_by_role("link", name="Download").get_attribute("href")
    page.get_by_role("button", name="Remove the file").click()
    page.get_by_role("heading", name="Cancelled", exact=True).wait_for()


def test_without_a_script_the_page_does_the_same(shared_server: Server, visit: Visit) -> None:
    page = visit.page
    page.context.new_cdp_session(page).send("Emulation.setScriptExecutionDisabled", {"value": True})
    page.set_viewport_size(WIDE)
    page.goto(f"{shared_server.url}/console/")
    page.get_by_role("checkbox", name="°C").check()
    page.get_by_label("To", exact=True).fill(DAYS[0])
    page.get_by_role("button", name="Show").click()
    page.get_by_text("144 rows of 6 homes", exact=True).first.wait_for()
    page.get_by_role("link", name="Show it").click()
    whole(page)
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download").click()
    assert len(unzipped(taken.value.path().read_bytes())["csv"].splitlines()) == 145


def test_a_home_that_is_forgotten_meanwhile_is_gone_at_the_next_click(shared_server: Server, visit: Visit) -> None:
    """In each of the two workers. This is the last test: the lake has a home less."""
    page = visit.page
    page.goto(f"{shared_server.url}/console/")
    assert "6 homes" in count(page)
    names = set(re.findall("home_[0-9a-f]{16}", page.locator("#coverage ~ details").text_content() or ""))
    deleted = requests.delete(f"{shared_server.url}/api/ingest/data", headers={"Home-UUID": GAP}, timeout=30)
    assert deleted.status_code == 200
    page.get_by_role("checkbox", name="binary_sensor").check()
    page.get_by_text("5 rows of 5 homes", exact=True).first.wait_for()
    left = set(re.findall("home_[0-9a-f]{16}", page.locator("#coverage ~ details").text_content() or ""))
    assert len(names - left) == 1
    assert left < names
    for _ in range(6):
        assert "6 homes" not in requests.get(f"{shared_server.url}/console/", timeout=30).text

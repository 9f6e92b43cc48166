"""The console on Redis and MinIO, below a sub-path of nginx as docs/production.md has it, with two APIs behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from config.settings import Settings
from smarthouse_api.house import House
from tests import test_browser
from tests.conftest import HOME, Environment, Server, unzipped
from tests.console.lake import ROWS, UPLOADS
from tests.console.test_data_browser import count, faults, whole
from tests.nginx import nginx_before
from tests.test_browser import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

browser = test_browser.browser
visit = test_browser.visit

_SUB_PATH = "/lake/"


@pytest.fixture
def lake(production_pair: Environment, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address below which all lies, and an administrator's key."""
    settings = {"SMARTHOUSE_WORKERS": "1", "SMARTHOUSE_TRUSTED_PROXIES": "1", "SMARTHOUSE_PURGE_ANSWER_SECONDS": "0.1"}
    apis = [Server({**production_pair, **settings}).start() for _ in range(2)]
    house = House(Settings.from_env(production_pair))
    try:
        key = house.access.create("operator", admin=True)[1]
    finally:
        house.close()
    try:
        for home, body in UPLOADS.items():
            assert apis[0].upload(home, body).status_code == 200
        assert apis[1].export("csv").status_code == 200  # which brings them into the lake
        with nginx_before([api.port for api in apis], tmp_path) as port:
            yield f"http://127.0.0.1:{port}{_SUB_PATH}", key
    finally:
        for api in apis:
            api.kill()


def test_the_console_works_below_a_sub_path_on_both_apis(lake: tuple[str, str], visit: Visit) -> None:
    (address, key), page, urls = lake, visit.page, list[str]()
    page.on("request", lambda request: urls.append(request.url))
    page.goto(address)
    assert page.url == f"{address}console/"
    page.get_by_text(f"{ROWS} rows of 6 homes", exact=True).first.wait_for()
    whole(page)
    hold(page)
    page.get_by_role("checkbox", name="°C").check()
    page.get_by_text("264 rows of 6 homes", exact=True).first.wait_for()
    whole(page)
    page.get_by_role("button", name="Make it in the background").click()
    page.get_by_role("heading", name="Done", exact=True).wait_for()
    with page.expect_download() as taken:
        page.get_by_role("link", name="Download").click()
    assert len(unzipped(taken.value.path().read_bytes())["csv"].splitlines()) == 265

    page.get_by_role("link", name="My home").click()
    page.get_by_label("UUID").fill(HOME)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="sensor.kitchen_temperature", exact=True).click()
    page.get_by_role("img", name="48 states").wait_for()
    hold(page)
    page.get_by_label("Type the UUID").fill(HOME)
    page.get_by_role("button", name="Forget everything").click()
    page.get_by_role("heading", name="Your home is forgotten").wait_for()

    page.get_by_role("link", name="Operator").click()
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Ready", exact=True).wait_for()
    concerns = page.get_by_role("navigation", name="Concerns").get_by_role("link")
    for number in range(concerns.count()):
        concerns.nth(number).click()
        assert faults(page) == []
        hold(page)
    page.get_by_role("link", name="Data", exact=True).click()
    assert count(page).endswith("5 homes")
    assert {urlsplit(url).path.startswith(_SUB_PATH) for url in urls} == {True}
    assert not any(HOME in url or "shk_" in url for url in urls)


def hold(page: Page) -> None:
    """Follow every link of a page, but for what changes something or is large: each leads to a page of the service."""
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies(page.url)}
    found = {
        urljoin(page.url, link) for link in page.locator("a[href]").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    }
    for url in sorted(url.partition("#")[0] for url in found if "/archive" not in url):
        assert urlsplit(url).path.startswith(_SUB_PATH), url
        assert requests.get(url, cookies=cookies, timeout=60).status_code == 200, url

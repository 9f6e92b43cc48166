"""The operator's pages in a real browser: signed in, looked at, a key made and revoked."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import Page, Route

from config.settings import Settings
from smarthouse_api.house import House
from tests import test_browser
from tests.conftest import HOME, Server, unzipped
from tests.console.lake import UPLOADS
from tests.console.test_data_browser import COLOURS, NARROW, WIDE, faults
from tests.streams.conftest import ANNA, made
from tests.test_browser import Visit

CONCERNS = (
    ("Status", "Last month"),
    ("Homes", None),
    ("Homes", "home_"),
    ("Storage", "Last day"),
    ("Verify", None),
    ("Collections", None),
    ("Jobs", None),
    ("Keys", None),
)
"""Pages of the operator, and a link on some of them that leads further."""

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


def sign_in(page: Page, url: str, key: str) -> None:
    """Come to the operator's first page as nobody, and sign in."""
    page.context.clear_cookies()
    page.goto(f"{url}/console/operator")
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")


def look(visit: Visit, name: str) -> None:
    """Look at a page wide and narrow, in both colours: axe finds nothing, and nothing is wider than the page."""
    for colours, size in zip(COLOURS, (WIDE, NARROW), strict=True):
        visit.page.emulate_media(color_scheme=colours)
        visit.page.set_viewport_size(size)
        visit.screenshot(f"operator-{name}-{colours}")
        assert faults(visit.page) == [], name
        assert visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_an_operator_looks_around_and_makes_and_revokes_a_key(shared_server: Server, visit: Visit) -> None:
    house = House(Settings.from_env(shared_server.environment))
    try:
        key = house.access.create("operator", admin=True)[1]
        house.history.keep()
    finally:
        house.close()
    page, urls = visit.page, list[str]()
    page.on("request", lambda request: urls.append(request.url))
    page.set_viewport_size(WIDE)
    sign_in(page, shared_server.url, key)
    page.get_by_role("heading", name="Ready", exact=True).wait_for()
    concerns = page.get_by_role("navigation", name="Concerns")
    for concern, inside in CONCERNS:
        concerns.get_by_role("link", name=concern).click()
        for link in filter(None, (inside,)):
            page.get_by_role("link", name=re.compile(link)).click()
            page.get_by_role("heading", name=re.compile("Uploads|Over time")).first.wait_for()
        look(visit, concern)
    page.get_by_label("Name").fill("a reader")
    page.get_by_label("exports").check()
    page.get_by_role("button", name="Make a key").click()
    made = page.get_by_role("status").inner_text()
    text = re.search(r"shk_([0-9a-f]{12})_[0-9a-f]{62}", made)
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


def test_a_page_that_looks_at_a_job_asks_for_the_key_once_the_session_is_over(shared_server: Server, visit: Visit) -> None:
    house = House(Settings.from_env(shared_server.environment))
    try:
        key = house.access.create("Berta", export=True)[1]
    finally:
        house.close()
    page = visit.page
    page.goto(f"{shared_server.url}/console/")
    page.get_by_label("Key").fill(key)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Make it in the background").click()
    page.get_by_role("heading", name="Done", exact=True).wait_for()
    page.context.clear_cookies()
    # It is done too soon: it looks on as if it were not.
    page.evaluate(
        """() => {
            const one = document.getElementById("job");
            for (const [name, value] of [["data-look-every", "1"], ["hx-get", location.pathname], ["hx-trigger", "look"]]) {
                one.setAttribute(name, value);
            }
            htmx.process(one);
        }"""
    )
    page.get_by_label("Key").wait_for()
    page.wait_for_load_state()
    visit.complaints.clear()  # of the pages without a key


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
        with page.expect_download() as taken:
            page.get_by_role("link", name="Download").click()
        taken.value.path()
        ends = time.monotonic() + 5
        while len(list(house.downloads.since(0))) < 2 and time.monotonic() < ends:
            time.sleep(0.02)  # a download is noted after its last byte
        assert [one.key for one in house.downloads.since(0)] == [reader.id, reader.id]
        page.get_by_role("link", name="Back to the data").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Key").wait_for()
        page.wait_for_load_state()
        visit.complaints.clear()  # of the pages without a key
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


def test_an_operator_defines_a_collection_follows_it_and_fixes_a_dead_letter(shared_server: Server, visit: Visit) -> None:
    house = House(Settings.from_env(shared_server.environment))
    try:
        key = house.access.create("operator", admin=True)[1]
    finally:
        house.close()
    page, url = visit.page, shared_server.url

    def send(*records: object) -> None:
        body = {"id": "api.data.in", "ver": "v2", "ts": "1", "params": {"msgid": "m"}, "data": records}
        sent = requests.post(f"{url}/v2/data/in/meters", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30)
        assert sent.status_code == 200, sent.text

    page.set_viewport_size(WIDE)
    sign_in(page, url, key)
    page.get_by_role("link", name="Collections").click()
    cookies = page.context.cookies()
    page.get_by_role("link", name="Define a collection").press("Enter")
    page.get_by_label("Id", exact=True).fill("meters")
    page.get_by_label("Entry topic").fill("meters")
    page.get_by_label("JSON Schema").fill('{"required": ["value"],\n "properties": {"value": {"type": number}}}')
    page.get_by_role("button", name="Check the schema").press("Enter")
    page.get_by_text("Line 2, column").wait_for()
    look(visit, "definition")
    page.get_by_label("JSON Schema").fill('{"required": ["value"], "properties": {"value": {"type": "number"}}}')
    page.get_by_role("button", name="Save").press("Enter")
    page.get_by_role("heading", name="meters", exact=True).wait_for()
    send({"value": 1}, {"value": "two"})
    look(visit, "collection")
    page.get_by_role("link", name="Newest records").click()
    assert page.locator("article").count() == 2
    look(visit, "records")
    page.get_by_role("link", name="Follow").press("Enter")
    page.get_by_text("Looks every two seconds").wait_for()
    send({"value": "<b>three</b>"})
    page.get_by_text("<b>three</b>").wait_for()
    assert page.locator("article").count() == 3
    page.get_by_role("link", name="Stop").press("Enter")
    page.get_by_role("link", name="Follow").wait_for()
    assert page.locator("article").count() == 3
    page.get_by_role("link", name="Back to meters").click()
    page.get_by_role("link", name="Change the definition").click()
    page.get_by_label("Records that fail the schema").select_option("strict")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("2 of the newest records fail this schema.").wait_for()
    look(visit, "asked")
    page.get_by_role("button", name="Save all the same").click()
    send({"value": "four"})
    page.get_by_role("link", name="Dead letters").click()
    look(visit, "dead-letters")
    late = list[Route]()
    page.route("**/htmx.min.js", lambda route: late.append(route))
    page.get_by_role("link", name="Fix ").click()
    page.get_by_label("Record", exact=True).fill('{"value": 4}')  # which is faster than the script
    page.unroute("**/htmx.min.js")
    while not late:
        page.wait_for_timeout(10)
    late[0].continue_()
    page.get_by_text("It passes.").wait_for()
    look(visit, "dead-letter")
    page.context.clear_cookies()
    page.get_by_role("button", name="Check").click()
    page.get_by_text("The check has failed").wait_for()
    assert page.get_by_label("Record", exact=True).input_value() == '{"value": 4}'
    visit.complaints.clear()  # of the 403
    page.context.add_cookies(cookies)
    page.get_by_role("button", name="Check").click()
    page.get_by_text("It passes.").wait_for()
    page.get_by_role("button", name="Store the corrected record").press("Enter")
    page.get_by_text("None", exact=True).wait_for()
    page.goto(f"{url}/console/operator/collections/meters/records")
    page.get_by_role("link", name="Follow").click()
    page.get_by_text("Looks every two seconds").wait_for()
    page.context.clear_cookies()
    page.get_by_text("Following has ended: your session is over").wait_for()
    visit.complaints.clear()
    assert [int(value) for value in page.locator("article pre").all_inner_texts()[0].split() if value.isdigit()] == [4]


def test_an_operator_follows_a_stream_by_keyboard_and_stops(shared_server: Server, visit: Visit) -> None:
    house, page = House(Settings.from_env(shared_server.environment)), visit.page
    recorder = made(house, "<door> a/b")
    recorder.append(b'{"open":true}', b"\x00\xff" * 99, b"<script>x</script>" * 20)
    mark, _ = house.streams.sessions.add(recorder.stream, 0, 1, ANNA)
    house.streams.sessions.hold(recorder.stream, mark.id, ANNA)
    house.streams.metadata.put(recorder.stream, 2, {"label": "door"}, ANNA)
    recorder.open()
    key, text = house.access.create("operator", admin=True)
    sign_in(page, shared_server.url, text)
    page.get_by_role("link", name="Streams").click()

    look(visit, "streams")
    page.get_by_role("link", name="<door> a/b").press("Enter")
    page.get_by_role("heading", name="Open session").wait_for()
    look(visit, "stream")
    page.get_by_role("link", name="Follow live").press("Enter")
    page.get_by_role("heading", name="Packet 2", exact=True).wait_for()
    look(visit, "packets")
    recorder.append(b"came")
    page.get_by_text("came", exact=True).wait_for()
    page.locator("#stop").focus()
    recorder.append(b"came, too")
    page.get_by_text("came, too").wait_for()
    assert page.evaluate("document.activeElement.id") == "stop"  # which was put in anew meanwhile
    page.keyboard.press("Enter")
    page.get_by_text("These are the newest packets").wait_for()
    assert page.locator("article").count() == 5
    recorder.append(b"after that")
    page.get_by_role("link", name="Next packets").press("Enter")
    page.get_by_text("after that").wait_for()
    assert page.locator("article h3").all_inner_texts() == [f"Packet {index}" for index in (5, 4, 3, 2, 1, 0)]
    page.locator("#packets").evaluate("one => { one.dataset.most = 3; }")
    page.locator("#stop").click()
    page.get_by_text("new packets are shown").wait_for()
    assert page.locator("article h3").all_inner_texts() == ["Packet 5", "Packet 4"]  # no more than fit, and the buttons
    house.access.revoke(key.id)
    page.get_by_text("Following has ended").wait_for()
    assert page.locator("article").count() == 2
    visit.complaints.clear()  # it was a 403
    house.close()

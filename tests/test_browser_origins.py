"""Pages of other origins in a real browser: what those may do that the operator named, and what no other page can."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests import test_browser
from tests.conftest import OTHER_HOME, ROOT, Server, state
from tests.servers import free_port
from tests.streams.caller import key_of

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

browser = test_browser.browser

APIS = ("ingest", "export", "datasources", "streams", "datasets")
STREAM = "/homes/1/smartModules/sds/streams/camera"
ENVELOPE = {"id": "api.data.in", "ver": "v2", "ts": "1", "params": {"msgid": "m"}}
EVENT = {**ENVELOPE, "data": {"eid": "x"}}
UPDATE = {"dataset_id": "example", "name": "Renamed"}
JSON = {"Content-Type": "application/json"}
RECORDS = {"datasource_id": "67890", "data": [{"ts": "2026-03-01T12:00:00Z", "a": 1}]}

Call = tuple[str, str, dict[str, str], Any]
CALLS: dict[str, list[Call]] = {
    "ingest": [
        ("POST", "/api/ingest/data", {"Home-UUID": OTHER_HOME, "Idempotency-Key": "1"}, {"sensor.x": [state("sensor.x")]}),
        ("DELETE", "/api/ingest/data", {"Home-UUID": str(uuid.uuid4())}, None),
    ],
    "export": [("GET", "/api/export/formats", {}, None)],
    "datasources": [
        ("POST", "/restapi/datasource/insert", JSON, RECORDS),
        ("GET", "/restapi/datasource/67890/records", {}, None),
    ],
    "streams": [
        ("PUT", f"{STREAM}-2", JSON, {}),
        ("POST", f"{STREAM}-2/data", {"Content-Type": "application/octet-stream"}, {"any": "bytes"}),
        ("GET", f"{STREAM}-2/data?start=0&stop=0", {}, None),
        ("DELETE", f"{STREAM}-2", {}, None),
    ],
    "datasets": [
        ("POST", "/v2/data/in/example", JSON, EVENT),
        ("GET", "/v2/data/out/example", {}, None),
        ("PATCH", "/v2/datasets/update", JSON, {**ENVELOPE, "id": "api.datasets.update", "request": UPDATE}),
    ],
}

FETCH = """
async ({ url, method, headers, body }) => {
    try {
        const answer = await fetch(url, { method, headers, body: body === null ? undefined : JSON.stringify(body) });
        await answer.arrayBuffer();
        return { status: answer.status, headers: Object.fromEntries(answer.headers) };
    } catch (fault) {
        return { fault: fault.name };
    }
}
"""


class Blank(BaseHTTPRequestHandler):
    """Serves an empty page at every path."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A page</title>")

    def log_message(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Site:
    """The service, and a server of pages whose origin as `localhost` is named; by any other name of this machine it is not."""

    service: Server
    port: int
    key: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def call(self, page: Page, call: Call) -> Any:
        method, path, headers, body = call
        whole = {"url": f"{self.service.url}{path}", "method": method, "headers": {**self.bearer, **headers}, "body": body}
        return page.evaluate(FETCH, whole)

    def get(self, path: str) -> Any:
        return requests.get(f"{self.service.url}{path}", headers=self.bearer, timeout=30).json()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    pages = ThreadingHTTPServer(("127.0.0.1", 0), Blank)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    named = f"http://localhost:{pages.server_port}"
    environment = {f"SMARTHOUSE_CORS_{api.upper()}": named for api in APIS}
    environment["SMARTHOUSE_DATA_DIR"] = str(tmp_path_factory.mktemp("data"))
    service = Server(environment, free_port()).start()
    site = Site(service, pages.server_port, key_of(environment, admin=True))
    assert requests.put(f"{service.url}{STREAM}", headers=site.bearer, timeout=30).status_code == 201
    yield site
    service.kill()
    pages.shutdown()
    pages.server_close()


@pytest.fixture
def named(site: Site, browser: BrowserContext) -> Iterator[Page]:
    """A page of the origin that the operator named."""
    yield from opened(browser, f"http://localhost:{site.port}/")


@pytest.fixture(params=["http://127.0.0.1", "http://elsewhere.localhost"], ids=["same site", "cross site"])
def unnamed(request: pytest.FixtureRequest, site: Site, browser: BrowserContext) -> Iterator[Page]:
    """A page of an origin that nobody named: another port of the same host, or another site."""
    yield from opened(browser, f"{request.param}:{site.port}/")


def opened(browser: BrowserContext, url: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(url)
    yield page
    page.close()


def test_a_page_of_a_named_origin_calls_each_api(site: Site, named: Page) -> None:
    for call in chain.from_iterable(CALLS.values()):
        answer = site.call(named, call)
        assert answer.get("status") in (200, 201, 204), (call, answer)
        assert answer["headers"]["x-request-id"]


def test_a_page_reads_the_headers_that_it_needs(site: Site, named: Page) -> None:
    listed = site.call(named, ("GET", STREAM.removesuffix("/camera"), {}, None))
    assert listed["headers"]["vnd.tinkermode.range"].startswith("0-")
    nothing = site.call(named, ("GET", "/api/export/csv?fresh=false&date_to=1999-01-01", {}, None))
    assert nothing["headers"]["x-empty-reason"]
    assert nothing["headers"]["x-as-of"]
    call: Call = ("POST", "/v2/data/in/example", {**JSON, "Idempotency-Key": "again"}, EVENT)
    assert [site.call(named, call)["headers"].get("idempotency-replayed") for _ in range(2)] == [None, "true"]


def test_a_page_reads_why_it_was_refused(site: Site, named: Page) -> None:
    for path, headers, status in (
        (STREAM, {"Authorization": "Bearer nothing"}, 401),
        ("/homes/1/nothing", {"Authorization": "Bearer nothing"}, 401),
        ("/v2/nothing", dict[str, str](), 404),
        ("/api/export/pdf", {}, 400),
    ):
        assert site.call(named, ("GET", path, headers, None))["status"] == status, path


def test_a_page_of_another_origin_can_do_nothing(site: Site, unnamed: Page) -> None:
    for call in chain.from_iterable(CALLS.values()):
        assert site.call(unnamed, call) == {"fault": "TypeError"}, call


def test_what_a_page_sends_without_asking_changes_nothing(site: Site, unnamed: Page) -> None:
    url = f"{site.service.url}/v2/data/in/example"
    before = site.get("/v2/data/out/example?limit=1000")["result"]["events"]
    send = "async ({ url, body }) => (await fetch(url, { method: 'POST', mode: 'no-cors', body })).type"
    assert unnamed.evaluate(send, {"url": url, "body": json.dumps(EVENT)}) == "opaque"
    assert unnamed.evaluate("({ url, body }) => navigator.sendBeacon(url, body)", {"url": url, "body": json.dumps(EVENT)})
    field = f"<input name='{json.dumps(EVENT)[:-1]}, \"x' value='\":1}}'>"
    unnamed.set_content(f"<form method=post enctype=text/plain action='{url}'>{field}</form>")
    with unnamed.expect_navigation(url=url) as answered:  # to its end: a page that is closed before may hang
        unnamed.evaluate("document.forms[0].submit()")
    assert answered.value is not None
    assert answered.value.status == 403
    assert site.get("/v2/data/out/example?limit=1000")["result"]["events"] == before


FOLLOW = re.search(r"^```js\n(.*?)^```", (ROOT / "docs/streams.md").read_text(), re.MULTILINE | re.DOTALL)


def follow(site: Site, page: Page) -> None:
    """Run the page that the documentation shows. What it shows is in `shown`."""
    assert FOLLOW is not None
    script = FOLLOW[1].replace("http://127.0.0.1:8000/homes/7/smartModules/sds/streams/camera", f"{site.service.url}{STREAM}")
    page.evaluate(f"() => {{ const KEY = '{site.key}'; window.shown = []; {SHOW}; {script} }}")


SHOW = "const show = (index, time, data) => shown.push([index, data])"


def append(site: Site, packet: bytes) -> int:
    """Append a packet; its index."""
    answer = requests.post(f"{site.service.url}{STREAM}/data", data=packet, headers=site.bearer, timeout=30)
    return int(answer.json()["start"])


def test_a_page_follows_a_stream_through_a_restart_of_the_service(site: Site, named: Page) -> None:
    urls: list[str] = []
    named.on("request", lambda request: urls.append(request.url) if request.method == "GET" else None)
    with named.expect_response(lambda response: "signature=" in response.url):
        follow(site, named)
    first = append(site, b"one")
    named.wait_for_function("shown.length === 1")
    site.service.kill()
    site.service.start()
    for packet in (b"two", b"three"):
        append(site, packet)
    named.wait_for_function("shown.length === 3")
    assert named.evaluate("shown") == [[first, "one"], [first + 1, "two"], [first + 2, "three"]]
    assert len(urls) >= 2
    assert len(set(urls)) == 1  # the browser came back to the URL by itself


def test_a_page_asks_for_another_url_when_the_first_is_over(site: Site, named: Page) -> None:
    named.clock.install()
    named.route("**/follow?*", refuse_once := partial(refuse, []))
    with named.expect_response(lambda response: response.status == 403):
        follow(site, named)
    index = append(site, b"in between")
    named.clock.run_for(5000)
    named.wait_for_function("shown.length === 1")
    assert named.evaluate("shown") == [[index, "in between"]]
    named.unroute("**/follow?*", refuse_once)


def refuse(seen: list[str], route: Any) -> None:
    """Answer the first request to follow as if its URL had expired."""
    if route.request.method == "GET" and not seen:
        seen.append(route.request.url)
        route.fulfill(status=403, headers={"Access-Control-Allow-Origin": "*"}, body="{}")
    else:
        route.continue_()


TRY = """
url => new Promise(end => {
    const one = new EventSource(url);
    one.onerror = () => end(one.readyState);
    one.onmessage = () => end("a packet");
})
"""


def test_a_page_of_another_origin_follows_nothing(site: Site, unnamed: Page) -> None:
    made = requests.post(f"{site.service.url}{STREAM}/follow?start=0", headers=site.bearer, timeout=30).json()["url"]
    assert unnamed.evaluate(TRY, made) == 2  # which is CLOSED

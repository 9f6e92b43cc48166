"""The service as it is deployed: gunicorn, its workers, a socket; and what is left of it after a kill."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import psutil
import pytest
import requests

from backends.registry import open_state
from config.settings import Settings
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.house import House
from smarthouse_api.states.homes_table import LEASE
from tests.conftest import HOME, OTHER_HOME, ROOT, Environment, Server, free_port, payload, rows, state
from tests.programs import Program, run
from tests.servers import RedisServer
from tests.waiting import soon

GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.py"]
Started = tuple[subprocess.Popen[bytes], int]
REAL_UPLOAD = zlib.compress((Path(__file__).parent / "data" / "home-assistant-upload.json").read_bytes())


def home(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


@contextmanager
def connected(server: Server, *, keeps: int | None = None) -> Iterator[http.client.HTTPConnection]:
    """Connect to the server. keeps: how many bytes wait here for a reader; the system might keep more than any export has."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    if keeps is not None:
        connection.sock = socket.socket()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, keeps)
        connection.sock.settimeout(connection.timeout)
        connection.sock.connect((connection.host, connection.port))
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def socket_to(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        yield one


def answer_on(one: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer on the socket."""
    answer = http.client.HTTPResponse(one)
    answer.begin()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def post_head(length: int) -> bytes:
    return f"POST /api/ingest/data HTTP/1.1\r\nHost: x\r\nHome-UUID: {HOME}\r\nContent-Length: {length}\r\n\r\n".encode()


def raw(server: Server, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """The answer to these very bytes, but for line ends and the length."""
    lines = [*head.strip().splitlines(), f"Content-Length: {len(body)}"] if body else head.strip().splitlines()
    with socket_to(server.port) as one:
        one.sendall("\r\n".join([*(line.strip() for line in lines), "", ""]).encode("latin-1") + body)
        return answer_on(one)


def stored_rows(server: Server, **query: Any) -> list[dict[str, Any]]:
    answer = server.export("json", metadata="false", **query)
    assert answer.status_code in (200, 204)
    return rows(answer.content) if answer.status_code == 200 else []


def exported_states(server: Server, unit: str) -> Counter[str]:
    """How often each state with this unit is exported."""
    return Counter(row["state"] for row in stored_rows(server, units=unit))


@contextmanager
def gunicorn(
    environment: Environment, *arguments: str, kind: type[subprocess.Popen[bytes]] = Program, **options: Any
) -> Iterator[Started]:
    """gunicorn with the shipped configuration, and its port; not waited for.

    arguments: instead of the application. kind: how it is started; `subprocess.Popen` does so as an operator does.
    """
    port = free_port()
    process = kind(
        [*GUNICORN, *(arguments or ["wsgi:app"])],
        cwd=ROOT,
        env={**os.environ, **environment, "PORT": str(port), "HOST": "127.0.0.1"},
        start_new_session=True,
        **options,
    )
    try:
        yield process, port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def answers(url: str, seconds: float = 5) -> bool:
    try:
        return requests.get(url, timeout=seconds).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def live(port: int) -> bool:
    return answers(f"http://127.0.0.1:{port}/health/live")


@pytest.fixture
def start(embedded_pair: Environment) -> Iterator[Callable[..., Server]]:
    """Starts a server on one folder, with single settings changed (without their prefix, in lower case)."""
    started: list[Server] = []

    def start(**changes: object) -> Server:
        changed = {f"SMARTHOUSE_{name.upper()}": str(value) for name, value in changes.items()}
        started.append(Server({**embedded_pair, **changed}))
        return started[-1].start()

    yield start
    for one in started:
        one.kill()


# Header spellings


@pytest.mark.parametrize("spelling", ["Home-UUID", "Home_UUID", "home_uuid", "HOME-UUID"])
def test_both_spellings_of_the_home_get_through(shared_server: Server, spelling: str) -> None:
    status, _, body = raw(shared_server, f"POST /api/ingest/data HTTP/1.1\nHost: x\n{spelling}: {HOME}", payload(state()))
    assert status == 200
    assert json.loads(body)["records"] == 1


def test_both_spellings_at_once_may_agree(shared_server: Server) -> None:
    head = f"POST /api/ingest/data HTTP/1.1\nHost: x\nHome-UUID: {HOME}\nHome_UUID: {HOME.upper()}"
    assert raw(shared_server, head, payload(state()))[0] == 200


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_both_spellings_at_once_must_not_differ(shared_server: Server, method: str) -> None:
    head = f"{method} /api/ingest/data HTTP/1.1\nHost: x\nHome_UUID: {HOME}\nHome-UUID: {OTHER_HOME}"
    status, headers, body = raw(shared_server, head, payload(state()))
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert "different homes" in json.loads(body)["detail"]


ECHO = """
import json
from wsgi import app
answer = app.wsgi_app
def echo(environ, start_response):
    if environ["PATH_INFO"] != "/environ":
        return answer(environ, start_response)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()]
app.wsgi_app = echo
"""


def test_no_other_header_with_an_underscore_gets_through_and_no_proxy_is_believed(
    embedded_pair: Environment, tmp_path: Path
) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    with gunicorn(embedded_pair, "--pythonpath", str(tmp_path), "echo:app") as (_, port):
        soon(lambda: live(port))
        head = """
            GET /environ HTTP/1.1
            Host: here
            Home_UUID: the home
            X_Forwarded_For: 6.6.6.6
            X_Forwarded_Proto: https
            X_Forwarded_Prefix: /evil
            Remote_User: admin
            Script_Name: /evil
            Path_Info: /evil
            X-Forwarded-Proto: https
            X-Forwarded-Protocol: ssl
            X-Forwarded-Ssl: on
            X-Forwarded-For: 6.6.6.6
        """
        environ = json.loads(raw(Server({}, port), head)[2])
    assert environ["HTTP_HOME_UUID"] == "the home"
    underscored = {"HTTP_X_FORWARDED_PREFIX", "HTTP_REMOTE_USER", "HTTP_SCRIPT_NAME", "HTTP_PATH_INFO", "REMOTE_USER"}
    assert not underscored & set(environ)
    assert environ["HTTP_X_FORWARDED_FOR"] == "6.6.6.6"
    assert environ["HTTP_X_FORWARDED_PROTO"] == "https"
    believed = ("REMOTE_ADDR", "wsgi.url_scheme", "SCRIPT_NAME", "PATH_INFO")
    assert [environ[name] for name in believed] == ["127.0.0.1", "http", "", "/environ"]


def test_a_proxy_that_is_not_trusted_moves_nothing(shared_server: Server) -> None:
    headers = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    for path in ("/docs", "/docs/openapi.json", "/api/export/ui"):
        assert "evil" not in requests.get(f"{shared_server.url}{path}", headers=headers, timeout=10).text


# Clients in the wild


def test_the_request_of_the_home_assistant_integration_is_answered(shared_server: Server) -> None:
    head = f"""
        POST /api/ingest/data HTTP/1.1
        Host: 127.0.0.1:{shared_server.port}
        User-Agent: python-requests/2.27.1
        Accept-Encoding: gzip, deflate
        Accept: */*
        Connection: keep-alive
        Home-UUID: {home(1)}
        Content-Type: application/octet-stream
    """
    status, headers, body = raw(shared_server, head, REAL_UPLOAD)
    assert (status, headers["content-type"]) == (200, "application/json")
    told = json.loads(body)
    assert (told["records"], told["ignored"], told["duplicate"]) == (4, 0, False)


def test_the_requests_of_the_generated_clients_are_answered(shared_server: Server) -> None:
    head = f"""
        POST /api/ingest/data HTTP/1.1
        Host: 127.0.0.1:{shared_server.port}
        Accept-Encoding: identity
        Home_UUID: {home(2)}
        Content-Type: application/octet-stream
        User-Agent: Swagger-Codegen/1.0.0/python
    """
    assert raw(shared_server, head, payload(state("sensor.generated", at="2026-03-01T00:00:00+00:00")))[0] == 200
    head = f"""
        GET /api/export/csv?date_from=2026-03-01 HTTP/1.1
        Host: 127.0.0.1:{shared_server.port}
        Accept-Encoding: identity
        Accept: application/zip
        Authorization: {shared_server.operator["Authorization"]}
        User-Agent: Swagger-Codegen/1.0.0/python
    """
    status, headers, body = raw(shared_server, head)
    assert (status, headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(BytesIO(body)) as archive:
        assert b"sensor.generated" in archive.read(archive.namelist()[0])
    head = f"DELETE /api/ingest/data HTTP/1.1\nHost: x\nHome_UUID: {home(2)}\nUser-Agent: Swagger-Codegen/1.0.0/python"
    assert raw(shared_server, head)[0] == 200


def test_an_upload_in_chunks_is_taken(shared_server: Server) -> None:
    body = payload(*(state(f"sensor.s{number}", at="2026-03-02T00:00:00+00:00") for number in range(500)))
    pieces = (body[start : start + 100] for start in range(0, len(body), 100))
    headers = {"Home-UUID": home(3)}
    answer = requests.post(f"{shared_server.url}/api/ingest/data", data=pieces, headers=headers, timeout=30)
    assert (answer.request.headers["Transfer-Encoding"], answer.json()["records"]) == ("chunked", 500)


def test_two_uploads_of_one_home_at_once_are_both_kept(shared_server: Server) -> None:
    bodies = [payload(state("sensor.twice", value, unit_of_measurement="twice")) for value in "ab"]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda body: shared_server.upload(home(4), body), bodies))
    assert [answer.json()["duplicate"] for answer in answers] == [False, False]
    assert exported_states(shared_server, "twice") == Counter("ab")


def test_the_same_upload_from_many_sides_at_once_is_kept_once(shared_server: Server) -> None:
    body = payload(state("sensor.same", "same", unit_of_measurement="same"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shared_server.upload(home(5), body), range(16)))
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 15
    assert exported_states(shared_server, "same") == Counter(["same"])


def test_64_homes_at_once_are_each_counted_exactly_once_while_exports_run(shared_server: Server) -> None:
    bodies = [payload(*(state(f"sensor.s{n}", f"{i}-{n}", unit_of_measurement="64") for n in range(5))) for i in range(64)]
    done = threading.Event()
    seen: list[Counter[str]] = []

    def export() -> None:
        while not done.is_set():
            seen.append(exported_states(shared_server, "64"))

    with ThreadPoolExecutor(65) as pool:
        exporting = pool.submit(export)
        answers = list(pool.map(shared_server.upload, map(home, range(100, 164)), bodies))
        done.set()
        exporting.result()
    assert [answer.json()["records"] for answer in answers] == [5] * 64
    assert exported_states(shared_server, "64") == Counter(f"{i}-{n}" for i in range(64) for n in range(5))
    assert seen
    for earlier, later in pairwise(seen):
        assert not earlier - later
    assert all(count == 1 for counts in seen for count in counts.values())


# Limits


def test_a_length_over_the_limit_is_refused_before_the_body_comes(shared_server: Server) -> None:
    with socket_to(shared_server.port) as one:
        one.sendall(post_head(99_999_999_999))
        status, headers, body = answer_on(one)
    assert (status, headers["content-type"]) == (413, "application/problem+json")
    assert f"{Settings().requests.max_body_bytes} bytes" in json.loads(body)["detail"]


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_a_client_that_sends_too_much_is_told_so_and_may_go_on(shared_server: Server, chunked: bool) -> None:
    too_much = bytes(Settings().requests.max_body_bytes + (2 << 20))
    body = (too_much[start : start + (1 << 20)] for start in range(0, len(too_much), 1 << 20)) if chunked else too_much
    answer = requests.post(f"{shared_server.url}/api/ingest/data", data=body, headers={"Home-UUID": HOME}, timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert requests.get(f"{shared_server.url}/health/live", timeout=10).json() == {"status": "ok"}


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/api/ingest/data", Settings().requests.max_body_bytes + (24 << 20), 413),
        ("/v2/data/in/example", Settings().requests.max_body_bytes + (24 << 20), 413),
        ("/restapi/datasource/insert", 8 << 20, 401),
        ("/restapi/datasource/insert", 500_000, 401),
        ("/nothing", 8 << 20, 404),
    ],
)
def test_an_early_answer_reaches_clients_that_read_none_before_all_is_sent(
    shared_server: Server, path: str, size: int, status: int, chunked: bool
) -> None:
    headers = {"Home-UUID": HOME, "Content-Type": "application/json"}
    body = (bytes(1 << 16) for _ in range(size >> 16)) if chunked else bytes(size)
    with connected(shared_server) as connection:
        connection.request("POST", path, body, headers, encode_chunked=chunked)
        answer = connection.getresponse()
        assert (answer.status, len(answer.read()) > 0) == (status, True)
        if answer.headers["Connection"] == "keep-alive":
            connection.request("GET", "/health/live")
            assert connection.getresponse().status == 200


def test_a_refused_body_is_never_taken_for_the_next_request(shared_server: Server) -> None:
    smuggled = f"DELETE /api/ingest/data HTTP/1.1\r\nHost: x\r\nHome-UUID: {HOME}\r\n\r\n".encode()
    with socket_to(shared_server.port) as one:
        one.sendall(post_head(99_999_999_999) + smuggled)
        assert answer_on(one)[0] == 413
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1 << 16) == b""


def test_requests_in_a_pipeline_are_answered_in_turn(shared_server: Server) -> None:
    body = payload(state("sensor.pipe", unit_of_measurement="pipe"))
    post = post_head(len(body)) + body
    refused = b"POST /api/ingest/data HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    get = b"GET /api/export/formats HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket_to(shared_server.port) as one:
        one.sendall(post + refused + get)
        received = b""
        while b"json, csv, xml" not in received and (more := one.recv(1 << 16)):
            received += more
    assert re.findall(rb"HTTP/1\.1 (\d{3})", received) == [b"200", b"400", b"200"]


def test_a_bomb_does_not_fill_a_workers_memory(shared_server: Server) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(64 << 20)) for _ in range(8)) + packer.flush()
    assert len(bomb) < 1 << 20
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: shared_server.upload(home(number), REAL_UPLOAD), range(200, 216)))
    workers = shared_server.workers()
    for worker in workers:
        Path(f"/proc/{worker}/clear_refs").write_text("5")  # the peak counts from here
    before = {worker: psutil.Process(worker).memory_info().rss for worker in workers}
    for _ in range(6):
        answer = shared_server.upload(HOME, bomb)
        assert (answer.status_code, "times its size" in answer.json()["detail"]) == (413, True)
    assert {worker: grown for worker in workers if (grown := _peak(worker) - before[worker]) >= 64 << 20} == {}


def _peak(process: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


# Kills


class Uploading:
    """Homes that upload without a pause, and which of their uploads were acknowledged."""

    def __init__(self, server: Server, threads: int = 4) -> None:
        self._server = server
        self._stop = threading.Event()
        self.sent: list[str] = []
        self.acknowledged: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Uploading:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            told = f"{number}-{count}"
            self.sent.append(told)
            try:
                answer = self._server.upload(home(number), payload(state("sensor.night", told, unit_of_measurement="night")))
            except requests.RequestException:
                self._stop.wait(0.01)
            else:
                if answer.status_code == 200:
                    self.acknowledged.append(told)

    def wait_for(self, more: int) -> None:
        """Until so many more were acknowledged."""
        wanted = len(self.acknowledged) + more
        soon(lambda: len(self.acknowledged) >= wanted, 30)

    def assert_exported_exactly_once(self) -> None:
        found = exported_states(self._server, "night")
        assert {told: count for told, count in found.items() if count != 1} == {}
        assert set(self.acknowledged) - set(found) == set()
        assert set(found) - set(self.sent) == set()


def test_a_worker_that_is_killed_loses_and_doubles_nothing(server: Server) -> None:
    with Uploading(server) as uploading:
        for _ in range(2):
            uploading.wait_for(20)
            before = server.workers()
            exporting = threading.Thread(target=_export_if_it_can, args=(server,))
            exporting.start()
            os.kill(before[0], signal.SIGKILL)
            soon(lambda before=before: len(now := server.workers()) == 2 and before[0] not in now)
            exporting.join()
        uploading.wait_for(20)
    uploading.assert_exported_exactly_once()


def _export_if_it_can(server: Server) -> None:
    try:
        server.export("csv")
    except requests.RequestException:
        return


@pytest.mark.alone
def test_a_tree_that_is_killed_loses_and_doubles_nothing_and_soon_exports_again(start: Callable[..., Server]) -> None:
    lease_seconds = 1.0
    server = start(lease_seconds=lease_seconds, export_privacy="raw")
    with Uploading(server) as uploading:
        for _ in range(2):
            uploading.wait_for(20)
            exporting = threading.Thread(target=_export_if_it_can, args=(server,))
            exporting.start()
            uploading.wait_for(1)
            server.kill()
            exporting.join()
            server.start()
            began_at = time.monotonic()
            assert server.export("csv").status_code == 200
            assert time.monotonic() - began_at < lease_seconds + 4  # it gives way to the uploads that go on
        uploading.wait_for(20)
    uploading.assert_exported_exactly_once()


def test_a_stop_waits_for_the_requests_under_way(server: Server) -> None:
    body = payload(state("sensor.last", "last words", unit_of_measurement="last"))
    assert server.export("csv").status_code in (200, 204)  # another process has made it
    assert server.process is not None
    with socket_to(server.port) as one:
        one.sendall(post_head(len(body)) + body[:10])
        soon(lambda: not _unread(server.port))
        server.process.terminate()
        soon(lambda: not answers(f"{server.url}/health/live", 0.5))
        one.sendall(body[10:])
        assert answer_on(one)[0] == 200
    assert server.process.wait(20) == 0
    log = Path(server.environment.get("SMARTHOUSE_DATA_DIR", ""), "state.db-wal")
    soon(lambda: not log.exists())  # else a restore would ask whose it is
    server.start()
    assert exported_states(server, "last") == Counter(["last words"])


def _unread(port: int) -> int:
    """Bytes that came in at the server's connections and that it has not read."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    waiting = [line[4].split(":")[1] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01"]
    return sum(int(count, 16) for count in waiting)


# Exports whose reader goes away


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose export, of 8 MB, is larger than all the buffers between it and a reader that keeps little."""
    folder = str(tmp_path_factory.mktemp("large"))
    changes = {"SMARTHOUSE_PURGE_WAIT_SECONDS": "0.2", "SMARTHOUSE_THREADS": "4", "SMARTHOUSE_EXPORT_PRIVACY": "raw"}
    one = Server({"SMARTHOUSE_DATA_DIR": folder, **changes}).start()
    for number in range(4):
        states = (state(f"sensor.large{n}", os.urandom(1 << 16).hex(), unit_of_measurement="large") for n in range(8))
        assert one.upload(home(number), payload(*states)).json()["records"] == 8
    assert len(exported_states(one, "large")) == 32
    yield one
    one.kill()


def readers(server: Server) -> set[str]:
    store = open_state(Settings.from_env(server.environment).stores.state_url)
    try:
        return Leases(store, 4).shared(LEASE)
    finally:
        store.close()


LARGE = "/api/export/dataset?formats=json,csv,jsonl,xml&units=large"


def test_readers_that_go_away_leave_no_lease_and_no_busy_thread(large: Server) -> None:
    for _ in range(2 * 4 + 4):  # more than both workers have threads
        with connected(large, keeps=1 << 16) as connection:
            connection.request("GET", LARGE, headers=large.operator)
            assert len(connection.getresponse().read(1 << 16)) == 1 << 16
            assert readers(large)
    soon(lambda: not readers(large))
    assert len(exported_states(large, "large")) == 32


def test_an_export_that_is_broken_off_never_looks_whole(large: Server) -> None:
    victim = home(399)
    large.upload(victim, payload(state("sensor.victim", unit_of_measurement="large")))
    with connected(large, keeps=1 << 16) as connection:
        connection.request("GET", LARGE, headers=large.operator)
        answer = connection.getresponse()
        started = answer.read(1 << 16)
        forgotten = requests.delete(f"{large.url}/api/ingest/data", headers={"Home-UUID": victim}, timeout=60)
        assert forgotten.status_code == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    assert started.startswith(b"PK")
    assert len(exported_states(large, "large")) == 32


def test_a_maker_of_exports_that_is_killed_breaks_them_off_and_the_next_one_has_another(large: Server) -> None:
    with connected(large, keeps=1 << 16) as connection:
        connection.request("GET", LARGE, headers=large.operator)
        answer = connection.getresponse()
        answer.read(1 << 16)
        keepers = [keeper for worker in large.workers() for keeper in psutil.Process(worker).children()]
        makers = [maker for keeper in keepers for maker in keeper.children()]
        assert makers
        for maker in makers:
            maker.kill()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    assert len(exported_states(large, "large")) == 32


# Secrets


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_uuid_is_ever_in_the_log_the_metrics_or_an_error(
    capfd: pytest.CaptureFixture[str], start: Callable[..., Server], log_format: str
) -> None:
    server = start(log_level="debug", log_format=log_format, export_privacy="strict")
    key = _do_everything(server)
    metrics = requests.get(f"{server.url}/metrics", timeout=10).text
    server.stop()
    captured = capfd.readouterr()
    log = captured.out + captured.err
    assert "/api/ingest/data 500" in log or "/api/ingest/data 503" in log
    assert "\nforged" not in log
    assert "smarthouse_requests_total" in metrics
    for secret in (HOME, HOME.upper(), HOME.replace("-", ""), key):
        assert secret not in log
        assert secret not in metrics
    if log_format == "json":
        records = list(map(json.loads, captured.err.splitlines()))
        uploads = {one["request"] for one in records if one.get("method") == "POST" and one["status"] == 200}
        curated = {request for one in records for request in one.get("requests", ())}
        assert curated
        assert curated <= uploads
        assert {"gunicorn.error", "smarthouse.access"} <= {one["logger"] for one in records}


def _do_everything(server: Server) -> str:
    """Requests good and bad of one home, to the last a 5xx; its internal key."""
    url, by_home = f"{server.url}/api/ingest/data", {"Home-UUID": HOME}
    answers = [
        server.upload(HOME, payload(state())),
        server.upload(HOME, b"\xff\x00"),
        server.upload(HOME, b""),
        server.upload(f"{{{HOME}}}", b"x"),
        server.upload(f"{HOME},{OTHER_HOME}", b"x"),
        server.upload(HOME, zlib.compress(bytes(64 << 20))),
        server.upload(HOME, payload(state()), **{"Idempotency-Key": "k" * 300}),
        requests.get(url, headers=by_home, timeout=10),
        requests.put(f"{url}?Home_UUID={HOME}", timeout=10),
        requests.delete(f"{url}/{HOME}", timeout=10),
        requests.get(f"{server.url}/api/export/csv/{HOME}", timeout=10),
        requests.get(f"{server.url}/nothing%0aforged", timeout=10),
        requests.get(f"{server.url}/api/export/csv", headers=by_home, timeout=10),
    ]
    assert server.export("csv").status_code == 204
    house = House(Settings.from_env(server.environment))
    found = house.states.homes.find(HOME)
    house.close()
    assert found is not None
    for file in Path(server.environment["SMARTHOUSE_DATA_DIR"]).rglob("_delta_log/*.json"):
        file.write_bytes(b"damaged")
    answers.append(requests.delete(url, headers=by_home, timeout=60))
    assert [answer.status_code for answer in answers[:-1]] == [200, 200, 400, 400, 400, 413, 400, 200, 405, 404, 404, 404, 204]
    assert answers[-1].status_code in (500, 503)
    for answer in answers:
        assert HOME not in answer.text + str(answer.headers)
    return found.key


def test_a_header_that_is_none_is_repeated_neither_in_the_answer_nor_in_the_log(
    capfd: pytest.CaptureFixture[str], start: Callable[..., Server]
) -> None:
    server = start()
    for line in (f"Home-UUID {HOME}", f"Home-UUID {HOME}: x", f" Home-UUID: {HOME}", f"Transfer-Encoding: {HOME}"):
        with socket_to(server.port) as one:
            one.sendall(f"POST /api/ingest/data HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode())
            status, headers, body = answer_on(one)
        assert 400 <= status <= 501
        assert headers["x-request-id"]
        assert HOME.encode() not in body
    server.stop()
    captured = capfd.readouterr()
    assert "Shutting down" in captured.err
    assert HOME not in captured.out + captured.err


# Clients that do not behave


def test_a_client_that_does_not_hang_up_holds_up_nobody(start: Callable[..., Server]) -> None:
    server = start(workers=1)
    with socket_to(server.port) as one:
        one.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer_on(one)[0] == 200
        assert answers(f"{server.url}/health/live", seconds=1.5)


def test_an_export_that_is_broken_off_costs_the_worker_nothing(start: Callable[..., Server]) -> None:
    server = start(workers=1, purge_wait_seconds=0, export_privacy="raw")
    texts = [state(f"input_text.large{place}", os.urandom(1 << 16).hex()) for place in range(128)]  # 8 MB as a zip
    assert server.upload(home(3), payload(*texts)).json()["records"] == 128
    for number in range(3):
        assert server.upload(home(number), payload(state("input_text.small"))).status_code == 200
    before = server.workers()
    for number in range(3):
        with connected(server, keeps=1 << 16) as one:
            one.request("GET", "/api/export/json", headers=server.operator)
            answer = one.getresponse()
            answer.read(1 << 16)
            by_home = {"Home-UUID": home(number)}
            assert requests.delete(f"{server.url}/api/ingest/data", headers=by_home, timeout=60).status_code == 200
            with pytest.raises((http.client.HTTPException, OSError)):
                answer.read()
        assert live(server.port)
    assert len(stored_rows(server)) == 128
    assert server.workers() == before


# Behind a proxy


def links(page: str, url: str) -> list[str]:
    """The absolute URLs of what a page of Swagger UI loads."""
    found = re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(r'url: "([^"]+)"', page)
    return [urljoin(url, link) for link in found]


def assert_mounted(get: Callable[[str], requests.Response], prefix: str) -> None:
    """The pages, and whatever they load, are where a browser looks for them when the service is at `prefix`."""
    for page in ("/docs", "/api/ingest/ui", "/api/export/ui"):
        wanted = links(get(page).text, f"http://public.example{prefix}{page}")
        assert len(wanted) >= 4
        for link in wanted:
            path = urlsplit(link).path
            assert path.startswith(f"{prefix}/")
            answer = get(path.removeprefix(prefix))
            assert answer.status_code == 200
            if path.endswith(".json"):
                assert answer.json()["servers"] == [{"url": prefix}]


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind one trusted proxy."""
    changes = {"SMARTHOUSE_TRUSTED_PROXIES": "1", "SMARTHOUSE_EXPORT_RATE_ADDRESS": "1/hour", "SMARTHOUSE_WORKERS": "1"}
    one = Server({"SMARTHOUSE_DATA_DIR": str(tmp_path_factory.mktemp("proxied")), **changes}).start()
    yield one
    one.kill()


def test_the_pages_work_under_the_path_of_a_trusted_proxy(proxied: Server) -> None:
    headers = {"X-Forwarded-Prefix": "/smart", "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    assert_mounted(lambda path: requests.get(f"{proxied.url}{path}", headers=headers, timeout=10), "/smart")


def test_a_trusted_proxy_tells_whose_request_it_is(proxied: Server) -> None:
    asked = ["203.0.113.7", "203.0.113.8", "203.0.113.7", "6.6.6.6, 203.0.113.7"]
    url = f"{proxied.url}/api/export/csv"
    told = [requests.get(url, headers={"X-Forwarded-For": address}, timeout=10).status_code for address in asked]
    assert told == [204, 204, 429, 429]


def test_the_pages_work_under_a_script_name(embedded_pair: Environment) -> None:
    with gunicorn({**embedded_pair, "SCRIPT_NAME": "/smart"}, kind=subprocess.Popen) as (_, port):
        url = f"http://127.0.0.1:{port}/smart"
        soon(lambda: answers(f"{url}/health/live"))
        assert_mounted(lambda path: requests.get(f"{url}{path}", timeout=10), "/smart")
        answer = requests.post(f"{url}/api/ingest/data", data=payload(state()), headers={"Home_UUID": HOME}, timeout=10)
        assert answer.json()["records"] == 1


# Health, metrics, settings


def test_a_start_removes_the_metrics_of_a_killed_master_and_of_no_other(embedded_pair: Environment) -> None:
    shared = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    with gunicorn(embedded_pair) as (_, port):
        soon(lambda: live(port))
        begins = f"smarthouse-metrics-{os.getuid()}-{port}-"
        (killed,) = shared.glob(f"{begins}*")
    assert killed.exists()
    living = shared / f"{begins}{os.getpid()}"
    living.mkdir()
    try:
        remove = "import runpy; runpy.run_path('config/gunicorn.py')['_remove_folders_of_the_dead']()"
        environment = {**os.environ, **embedded_pair, "PORT": str(port)}
        run([sys.executable, "-c", remove], cwd=ROOT, env=environment, check=True)
        assert (killed.exists(), living.exists()) == (False, True)
    finally:
        living.rmdir()


def test_a_process_that_answers_is_live_and_ready(shared_server: Server) -> None:
    assert requests.get(f"{shared_server.url}/health/live", timeout=10).json() == {"status": "ok"}
    ready = requests.get(f"{shared_server.url}/health/ready", timeout=10)
    assert (ready.status_code, ready.json()["status"], set(ready.json()["backends"])) == (
        200,
        "ok",
        {"state", "objects", "installation", "lake", "files", "documents", "homes", "age"},
    )


@pytest.mark.alone
@pytest.mark.parametrize(("broken", "name"), [("state.db", "state"), ("objects", "objects")])
def test_a_store_that_cannot_be_used_is_named_and_nobody_is_made_to_wait(
    embedded_pair: Environment, broken: str, name: str
) -> None:
    folder = Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    folder.mkdir()
    (folder / broken).symlink_to(broken)  # leads nowhere
    with gunicorn(embedded_pair) as (_, port):
        soon(lambda: live(port))
        ready = requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=10)
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert [which for which, told in ready.json()["backends"].items() if "unavailable" in told] == [name]
        assert str(folder) not in ready.text
        began_at = time.monotonic()
        answer = requests.post(
            f"http://127.0.0.1:{port}/api/ingest/data", data=payload(state()), headers={"Home-UUID": HOME}, timeout=30
        )
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert answer.headers["Retry-After"]
        assert time.monotonic() - began_at < 3


def test_the_loss_of_a_store_is_told_while_the_service_runs(shared_server: Server) -> None:
    server = shared_server
    assert server.upload(HOME, payload(state("sensor.loss", unit_of_measurement="loss"))).status_code == 200
    objects = Path(server.environment["SMARTHOUSE_DATA_DIR"]) / "objects"
    objects.rename(objects.with_name("elsewhere"))
    objects.write_text("no folder")
    ready = requests.get(f"{server.url}/health/ready", timeout=10)
    assert ready.status_code == 503
    assert "unavailable" in ready.json()["backends"]["objects"]
    outage = server.export("csv")
    objects.unlink()
    objects.with_name("elsewhere").rename(objects)
    assert requests.get(f"{server.url}/health/ready", timeout=10).status_code == 200
    assert sum(exported_states(server, "loss").values()) == 1
    assert (outage.status_code, outage.headers["Content-Type"]) == (503, "application/problem+json")


def test_the_metrics_add_up_over_all_workers(shared_server: Server) -> None:
    before = counted(shared_server)
    first, second = shared_server.workers()
    for stopped, requests_made in ((first, 3), (second, 4)):
        os.kill(stopped, signal.SIGSTOP)
        for _ in range(requests_made):
            assert requests.put(f"{shared_server.url}/api/ingest/data", timeout=10).status_code == 405
        os.kill(stopped, signal.SIGCONT)
    assert [counted(shared_server) - before for _ in range(4)] == [7] * 4


def counted(server: Server) -> float:
    told = requests.get(f"{server.url}/metrics", timeout=10).text
    found = re.findall(r'smarthouse_requests_total\{method="PUT",route="[^"]*",status="405"\} (\S+)', told)
    assert len(found) <= 1
    return sum(map(float, found))


def test_faults_of_the_settings_end_the_start_at_once_and_are_told_by_name() -> None:
    faults = {
        "SMARTHOUSE_WORKERS": "many",
        "SMARTHOUSE_STATE_URL": "mongodb://localhost",
        "SMARTHOUSE_MAX_BODY_BITES": "1",
        "SMARTHOUSE_INGEST_RATE_HOME": "often",
        "SMARTHOUSE_SECRET_KEY": "hunter2" * 100,
    }
    with gunicorn(faults, kind=subprocess.Popen, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as (process, _):
        out, err = (text.decode() for text in process.communicate(timeout=20))
    assert process.returncode not in (0, None)
    assert [name for name in faults if name not in err] == []
    assert "mongodb://localhost" not in out
    assert "Traceback" not in out + err
    assert "hunter2" not in out + err


@pytest.fixture
def newer_stores(tmp_path: Path) -> Iterator[RedisServer]:
    """A server, not started, that a newer version has marked."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    with closing(open_state(server.url)) as state:
        state.put("installation", "format", b"99")
    server.stop()
    yield server
    server.kill()


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_service_ends_if_a_newer_version_wrote_its_stores_whenever_they_answer(
    newer_stores: RedisServer, tmp_path: Path, when: str
) -> None:
    environment = {
        "SMARTHOUSE_STATE_URL": newer_stores.url,
        "SMARTHOUSE_OBJECTS_URL": f"file://{tmp_path}/objects",
        "SMARTHOUSE_HOUSEKEEPING": "worker",
    }
    if when == "before":
        newer_stores.start()
    with gunicorn(environment, stderr=subprocess.PIPE) as (process, port):
        if when == "after":
            soon(lambda: live(port))
            newer_stores.start()
        _, told = process.communicate(timeout=20)
    assert process.returncode not in (0, None)
    assert b"the state store has format 99" in told


def test_an_upload_that_breaks_off_is_not_taken_for_whole(shared_server: Server) -> None:
    whole = payload(state(value="whole"))
    with socket_to(shared_server.port) as one:
        one.sendall(post_head(len(whole)) + whole[:-10])
        one.shutdown(socket.SHUT_WR)
        status, headers, body = answer_on(one)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert "Content-Length" in json.loads(body)["detail"]


def test_a_chunk_that_is_none_is_a_400(shared_server: Server) -> None:
    head = f"POST /api/ingest/data HTTP/1.1\r\nHost: x\r\nHome-UUID: {HOME}\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"
    with socket_to(shared_server.port) as one:
        one.sendall(head.encode())
        assert answer_on(one)[0] == 400


def test_a_home_that_is_its_own_request_id_stays_out_of_the_answer(shared_server: Server) -> None:
    for request_id in (HOME, HOME.replace("-", ""), HOME.replace("-", "_").upper()):
        answer = shared_server.upload(HOME, payload(state()), **{"X-Request-ID": request_id})
        assert answer.headers["X-Request-ID"] != request_id

"""A service that answers as a test says, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Request:
    """What the service was sent."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def entries(self) -> dict[str, list[dict[str, Any]]]:
        """The rows by their ids: states come as a list for each entity, statistics as an object."""
        told = json.loads(zlib.decompress(self.body))
        return told if isinstance(told, dict) else {rows[0]["entity_id"]: rows for rows in told}


def taken(**changes: Any) -> Answer:
    """The answer to an upload that was kept."""
    receipt = {"message": "", "id": "1", "records": 1, "ignored": 0, "duplicate": False}
    return 200, {}, json.dumps({**receipt, **changes}).encode()


def refused(status: int, detail: str = "", title: str = "", **headers: str) -> Answer:
    """A problem in the dialect of Ingest."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()


TAKEN: Final = taken()


@dataclass
class StandIn:
    """Keeps its requests.

    answers: given in their order; after the last one, `TAKEN`. choose: called instead, if given; None breaks the connection.
    """

    answers: list[Answer] = field(default_factory=list)
    choose: Callable[[Request], Answer | None] | None = None
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Request) -> Answer | None:
        self.requests.append(request)
        if self.choose is not None:
            return self.choose(request)
        return self.answers.pop(0) if self.answers else TAKEN


@contextmanager
def stand_in(*answers: Answer, choose: Callable[[Request], Answer | None] | None = None) -> Iterator[StandIn]:
    """Serves on a free port of the loopback."""
    one = StandIn(list(answers), choose)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = one.answer(Request(self.path, dict(self.headers.items()), body))
            if told is None:
                self.close_connection = True
                return
            status, headers, text = told
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""Clients that are slow on purpose, or lost half-way: they send a byte now and then, and never come to an end."""

from __future__ import annotations

import random
import select
import socket
import threading

from tests.conftest import HOME

_EACH = 24
_EVERY_SECONDS = 0.2
_BEGUN = (
    b"GET /api/export/formats HTTP/1.1\r\nHost: x\r\nX-",
    b"POST /api/ingest/data HTTP/1.1\r\nHost: x\r\nHome-UUID: %s\r\nContent-Length: 1000000\r\n\r\n{" % HOME.encode(),
    b"POST /restapi/datasource/insert HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{",
    b"POST /v2/data/in/pushes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFF\r\n{",
)


class Trickle:
    """Some of each kind at one API, from `__enter__` to `__exit__`: more than it has threads."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self._port, self._over = port, threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._sockets: list[socket.socket] = []
        self._wants_more = chance.random() < 0.7  # or all of them fall silent

    def __enter__(self) -> Trickle:
        for begun in _BEGUN * _EACH:
            one = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            self._sockets.append(one)
            one.sendall(begun)
        self._thread.start()
        return self

    def see_it_held(self) -> None:
        """The service waits for the rest of each: it has answered none, and cut none."""
        told, _, _ = select.select(self._sockets, [], [], 0)
        assert not told, f"{len(told)} of {len(self._sockets)} slow requests were answered, or cut, too soon"

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for one in self._sockets:
            one.close()

    def _send(self) -> None:
        while self._wants_more and not self._over.wait(_EVERY_SECONDS):
            for one in self._sockets:
                one.sendall(b"x")

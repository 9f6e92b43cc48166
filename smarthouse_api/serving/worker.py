"""The gunicorn worker: it spreads connections over the workers, and repeats no secret of an unreadable request."""

from __future__ import annotations

import json
import logging
import socket
import struct
import time
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

_STATUSES = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}

_STALLED_SECONDS = 60
_SILENT_SECONDS = 2
_UNWANTED_SECONDS = 20
_UNWANTED_BYTES = 64 << 20
"""Limits for reading a body that came after its answer: the silence of the client, the time, the bytes."""
_PIECE_BYTES = 1 << 16
_YIELD_SECONDS = 0.00025
_MOST_YIELDS = 8


def _is_no_stall(record: logging.LogRecord) -> bool:
    """Tell whether to log the record. A client that stalls can cause any number of records: those are left out."""
    return not (record.exc_info and isinstance(record.exc_info[1], BlockingIOError))


def _read_on(conn: Any) -> bool:
    """Read the rest of the body; whether it came to its end, within limits."""
    until, left, some = time.monotonic() + _UNWANTED_SECONDS, _UNWANTED_BYTES, b"any"
    patience = conn.sock.gettimeout()
    with suppress(OSError, errors.ParseException):
        conn.sock.settimeout(_SILENT_SECONDS)
        while some and left > 0 and time.monotonic() < until:
            some = conn.parser.mesg.body.read(_PIECE_BYTES)
            left -= len(some)
        conn.sock.settimeout(patience)
    return not some


def _hear_out(connection: socket.socket) -> None:
    """Tell a client that the answer has ended, and read on until it hangs up, within limits. Raises OSError."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(_SILENT_SECONDS)
    until, left = time.monotonic() + _UNWANTED_SECONDS, _UNWANTED_BYTES
    while left > 0 and time.monotonic() < until and (some := connection.recv(_PIECE_BYTES)):
        left -= len(some)


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn is not typed
    """Serves requests as gunicorn's threaded worker does. Each method here says what differs, and why."""

    def run(self) -> None:
        """Give up on a client that neither sends nor takes a byte for a minute: it holds a thread.

        Connections inherit this time-out from the socket that accepts them.
        """
        self.log.error_log.addFilter(_is_no_stall)
        for listener in self.sockets:
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                listener.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _STALLED_SECONDS, 0))
        super().run()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Tell the application to stop. Otherwise followers would stay until the time for a stop is over."""
        self._ask_to_stop()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Tell the application to stop: the process does not end before its threads."""
        self._ask_to_stop()
        super().handle_quit(sig, frame)

    def _ask_to_stop(self) -> None:
        if getattr(self, "wsgi", None) is not None:
            self.wsgi.extensions["smarthouse"].ask_to_stop()

    def accept(self, listener: Any) -> None:
        """Let a worker with fewer connections go first.

        Each connection wakes all workers, and one of them would often take every connection, and use a single processor.
        """
        time.sleep(min(max(self.nr_conns, 0), _MOST_YIELDS) * _YIELD_SECONDS)
        super().accept(listener)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Read the rest of a body that was answered before it had come.

        gunicorn reads only 64 KiB of it and hangs up, though the answer said otherwise. Then most clients meet a broken
        connection instead of the answer.
        """
        return bool(keepalive and _read_on(conn) and super()._keepalive_after(conn, keepalive))

    def handle(self, conn: Any) -> Any:
        """Close a finished connection in the thread that served it, once the client has sent all that it sends.

        gunicorn closes it in its event loop. There, a client that does not hang up delays all others for two seconds, and a
        connection that was cut before is counted twice.
        """
        kept = super().handle(conn)
        if not kept:
            with suppress(OSError):
                _hear_out(conn.sock)
            conn.close()
            conn.close = lambda graceful=False: None
        return kept

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that cannot be parsed like any other fault.

        gunicorn's own answer and log repeat the line that it could not read, which may contain a home's UUID.
        """
        if not isinstance(exc, errors.ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
        request_id = uuid.uuid4().hex
        self.log.warning("A request could not be read: %s %s", type(exc).__name__, request_id)
        detail = "The request is not HTTP as it should be; check its first line and its headers"
        body = json.dumps({"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
            f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            client.sendall(head.encode() + body)
        except OSError:
            self.log.debug("The client did not wait for the answer")

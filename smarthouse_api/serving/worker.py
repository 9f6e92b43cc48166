"""The gunicorn worker: it spreads connections over the workers, and repeats no secret of an unreadable request."""

from __future__ import annotations

import json
import time
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors

from smarthouse_api.serving.connection import Crowded, Late
from smarthouse_api.serving.gathering import GatheringWorker

_STATUSES = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    Late: HTTPStatus.REQUEST_TIMEOUT,
    Crowded: HTTPStatus.SERVICE_UNAVAILABLE,
}
_YIELD_SECONDS = 0.00025
_MOST_YIELDS = 8


class Worker(GatheringWorker):
    """Serves requests as gunicorn's threaded worker does. Each method here says what differs, and why."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Tell the application to stop. Otherwise followers would stay until the time for a stop is over."""
        self._ask_to_stop()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop as at `handle_exit`, but keep no idle connection.

        gunicorn's own raises SystemExit here, in the middle of anything. Ctrl-C sends two signals, and the second one would
        break off the closing of the stores that the first began.
        """
        self.is_quick = True
        self.handle_exit(sig, frame)

    def _ask_to_stop(self) -> None:
        if getattr(self, "wsgi", None) is not None:
            self.wsgi.extensions["smarthouse"].ask_to_stop()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Serve what waits at the socket before it is closed. Otherwise these clients would meet a reset connection."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                while self.take(listener):
                    pass
                listener.close()

    def _cap_keepalive(self, deadline: float) -> None:
        """Keep idle connections as long as ever: a proxy closes them sooner, and may be sending a request just now."""
        if self.is_quick:
            super()._cap_keepalive(time.monotonic())

    def accept(self, listener: Any) -> None:
        """Let a worker with fewer connections go first.

        Each connection wakes all workers, and one of them would often take every connection, and use a single processor.
        """
        time.sleep(min(max(self.nr_conns, 0), _MOST_YIELDS) * _YIELD_SECONDS)
        super().accept(listener)

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
        if status == HTTPStatus.REQUEST_URI_TOO_LONG:
            detail = (
                f"The request's first line is longer than {self.cfg.limit_request_line} bytes; name fewer values in its query"
            )
        if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            detail = "The request has too many headers, or one that is too long; send fewer and shorter ones"
        if status == HTTPStatus.REQUEST_TIMEOUT:
            detail = f"The request did not arrive in time; send its next bytes within {self.receive_seconds:g} seconds"
        body = json.dumps({"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
            f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            client.sendall(head.encode() + body)
        except OSError:
            self.log.debug("The client did not wait for the answer")

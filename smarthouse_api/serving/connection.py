"""A client's connection: its request is read from the bytes that have come, and its socket waits for no slow client."""

from __future__ import annotations

import errno
import select
import socket
from typing import Any, Final

from gunicorn.http import errors
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from smarthouse_api.serving.arrival import Arrival
from smarthouse_api.serving.pace import Pace

_SEND_SECONDS: Final = 60.0


class Late(errors.ParseException):  # type: ignore[misc] # gunicorn is not typed
    """Says that a request did not arrive in time."""

    def __str__(self) -> str:
        return "The request did not arrive in time"


class Crowded(Late):
    """Says that large requests arrive slowly, more than are gathered, and that this was the largest."""

    def __str__(self) -> str:
        return "Too many large requests arrive slowly at the same time, and this was the largest; repeat it later"


class PacedSocket(socket.socket):
    """Cuts a client that takes its answer too slowly: it holds a thread, and maybe a lease on the lake.

    It can also hold an answer back. held_until: by `time.monotonic`; None if nothing is held.
    """

    held_until: float | None = None

    def hold_until(self, at: float) -> None:
        """Hold back what is sent from now on. The event loop sends it at this time, so that no thread waits for it."""
        self.held_until, self._held = at, bytearray()

    def release(self) -> None:
        """Send what was held back. Raises `OSError` if the client does not take it."""
        held, self._held, self.held_until = self._held, bytearray(), None
        if held and self._send_now(held) < len(held):  # it is short: the system has room for it
            raise ConnectionResetError(errno.ECONNRESET, "the client does not take its answer")

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it. Raises `ConnectionResetError` for a client that is too slow."""
        if self.held_until is not None:
            self._held += data
            return
        sent = self._send_now(data)
        if sent == len(data):
            return
        view, pace, poll = memoryview(data)[sent:], Pace(_SEND_SECONDS), select.poll()
        poll.register(self, select.POLLOUT)
        while view:
            if (left := pace.left_seconds()) <= 0:
                raise ConnectionResetError(errno.ECONNRESET, "the client takes its answer too slowly")
            poll.poll(left * 1000)
            sent = self._send_now(view)
            pace.moved(sent)
            view = view[sent:]

    def _send_now(self, data: Any) -> int:
        try:
            return self.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0


class _Given(SocketUnreader):  # type: ignore[misc] # gunicorn is not typed
    """Gives the parser the bytes that have come, then those that the client sends meanwhile."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.sock)
        self._connection, self._at = connection, 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        size = max(self.mxchunk, min(size_hint or 0, self.max_body_chunk))
        if piece := bytes(memoryview(self._connection.arrival.bytes)[self._at : self._at + size]):
            self._at += len(piece)
            if self._at == len(self._connection.arrival.bytes):
                self._connection.arrival.bytes.clear()  # the application has a copy by now
                self._at = 0
            return piece
        return self._connection.receive(size)

    def take_rest(self) -> bytes:
        """Return what came behind the request, and begin with the next."""
        rest: bytes = self.take_buffered() + bytes(self._connection.arrival.bytes[self._at :])
        self._at = 0
        return rest


class Connection(TConn):  # type: ignore[misc] # gunicorn is not typed
    """Holds one client's connection, and the request that is arriving on it.

    seconds: how long its client may be silent. longest_body: in bytes.
    """

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, *, seconds: float, longest_body: int) -> None:
        paced = PacedSocket(sock.family, sock.type, sock.proto, sock.detach())
        super().__init__(cfg, paced, client, server)
        self.initialized = False
        self._seconds, self._longest_body = seconds, longest_body
        self.data_ready = True  # a thread gets the connection only when its request has come
        self.has_ended = False
        self.is_late = self.is_crowded = self.is_unfinished = False
        self.is_continued = self._is_counted = False
        self.is_polled = False
        self.unwanted = 0
        self.expect_request()

    def expect_request(self, begun: bytes = b"") -> None:
        """Begin with the next request. begun: bytes of it that have come already."""
        self.arrival, self.pace = Arrival(self._longest_body), Pace(self._seconds)
        self.is_continued = False
        if begun:
            self.arrival.add(begun)

    def init(self) -> None:
        """Make the parser. The thread that serves the request calls it."""
        if not self.initialized:
            self.initialized = True
            self.parser = RequestParser(self.cfg, self.sock, self.client)
            self.parser.unreader = _Given(self)

    def receive(self, size: int) -> bytes:
        """Wait for bytes, as long as the client keeps the pace. Raises `Late`, `Crowded`, `LimitRequestHeaders`."""
        if self.has_ended:
            return b""
        if self.arrival.is_hopeless and not self.arrival.has_head:
            raise errors.LimitRequestHeaders("the head is too long")
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        while not self.is_late and (left := self.pace.left_seconds()) > 0:
            if poll.poll(left * 1000):
                piece = self.sock.recv(size)
                self.pace.moved(len(piece))
                return bytes(piece)
        self._count_cut()
        raise Crowded if self.is_crowded else Late

    def _count_cut(self) -> None:
        from smarthouse_api.serving.cut_metrics import CROWDED, CUT, LATE  # not before the process is set up

        if not self._is_counted:
            self._is_counted = True
            CUT.labels(CROWDED if self.is_crowded else LATE).inc()

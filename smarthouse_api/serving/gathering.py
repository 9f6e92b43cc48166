"""A gunicorn worker that gathers each request before a thread serves it, so that no slow client holds a thread."""

from __future__ import annotations

import math
import os
import selectors
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from smarthouse_api.serving.connection import Connection
from smarthouse_api.serving.pace import Pace

_SILENT_SECONDS = 2
_UNWANTED_SECONDS = 20
_UNWANTED_BYTES = 64 << 20
"""Limits for reading on after an answer: the silence of the client, the time, the bytes."""
_PIECE_BYTES = 1 << 16
_GATHERED_BYTES = 64 << 20
"""What one worker gathers of bodies. Beyond it, some threads read them as they come, and the largest are not waited for."""
_SHARE_OF_THREADS = 4
"""One of so many threads, at most, reads a body as it comes: the others serve requests that have come whole."""
_LOOK_SECONDS = 0.25


class GatheringWorker(ThreadWorker):  # type: ignore[misc] # gunicorn is not typed
    """Serves requests as gunicorn's threaded worker does, but gives a thread only to a request that has come.

    The event loop gathers requests. A connection is at one place: it arrives, is served, has its answer held back, is kept
    alive, or is heard out.

    receive_seconds: how long a client may be silent. longest_body: in bytes; a longer one is refused before it comes.
    is_quick: whether a stop waits for requests that have come, and for nothing else.
    """

    is_quick = False
    receive_seconds = 20.0
    longest_body = 16 << 20

    def init_process(self) -> None:
        self._arriving: dict[Connection, None] = {}
        self._heard_out: dict[Connection, tuple[float, Pace]] = {}
        self._held: dict[Connection, tuple[float, Future[bool]]] = {}
        self._held_until = math.inf
        self._gathered, self._looked_at, self._paused = 0, 0.0, list[Connection]()
        self._unfinished, self._most_unfinished = 0, self.cfg.threads // _SHARE_OF_THREADS
        # Neither may wait for a thread that is busy: a watchdog would end the process, and a late client would stay.
        self._for_health, self._for_late = ThreadPoolExecutor(1, "health"), ThreadPoolExecutor(1, "late")
        path = f"{os.environ.get('SCRIPT_NAME', '')}/health/live".encode()
        self._health = (b"GET %s " % path, b"HEAD %s " % path)
        self._discarded = bytearray(_PIECE_BYTES)
        super().init_process()

    def accept(self, listener: Any) -> None:
        """Take a new connection, and begin to gather its request."""
        self.take(listener)

    def take(self, listener: Any) -> bool:
        """Take a new connection if there is one; whether there may be another."""
        try:
            client, address = listener.accept()
        except ConnectionAbortedError:
            return True
        except BlockingIOError:
            return False
        conn = Connection(
            self.cfg,
            client,
            address,
            listener.getsockname(),
            seconds=self.receive_seconds,
            longest_body=self.longest_body,
        )
        self.nr_conns += 1
        self._arriving[conn] = None
        self._gather(conn)
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        return True

    def _make_room(self) -> None:
        """Close the connection that has waited longest, or a stranger who opens many would shut everybody out."""
        for waiting in (self._heard_out, self.keepalived_conns, self._arriving, self._held):
            if waiting:
                self._drop(next(iter(waiting)))
                return

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Gather the next request of a connection that was kept alive."""
        if conn not in self.keepalived_conns:
            return
        self.keepalived_conns.remove(conn)
        self._forget(conn)
        conn.expect_request()
        self._arriving[conn] = None
        self._gather(conn)

    def _gather(self, conn: Connection, _: Any = None) -> None:
        """Take what has come, and give the request to a thread once it is whole."""
        if conn not in self._arriving:
            return  # dropped for another one, whose event came with this one's
        try:
            piece = conn.sock.recv(_PIECE_BYTES)
        except BlockingIOError:
            self._poll(conn, self._gather)
            return
        except OSError:
            piece = b""
        conn.has_ended = not piece
        if conn.has_ended and not conn.arrival.bytes:
            self._drop(conn)
            return
        conn.arrival.add(piece)
        conn.pace.moved(len(piece))
        self._gathered += len(piece)
        self._go_on(conn)

    def _go_on(self, conn: Connection) -> None:
        """Serve the request if all of it has come that will, or poll for more."""
        arrival = conn.arrival
        if self._gathered > _GATHERED_BYTES and not (arrival.is_ready or conn.has_ended):
            if arrival.has_head and self._unfinished < self._most_unfinished:
                conn.is_unfinished = True
                self._unfinished += 1
                self._serve(conn, self.tpool)
                return
            if sum(one.arrival.size for one in self._arriving) <= _GATHERED_BYTES // 2:
                self._paused.append(conn)  # requests that came whole are being served, which makes room soon
                return
            self._cut_largest()
            if conn.is_late:
                return
        if arrival.is_ready or conn.has_ended:
            is_quick = arrival.is_whole and arrival.bytes.startswith(self._health)
            self._serve(conn, self._for_health if is_quick else self.tpool)
            return
        if arrival.waits_for_continue and not conn.is_continued:
            conn.is_continued = True
            with suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._poll(conn, self._gather)

    def _cut_largest(self) -> None:
        """Answer the client at once that has sent most of a request that is not whole: clients that do so are many."""
        largest = max(self._arriving, key=lambda one: one.arrival.size)
        self._gathered -= largest.arrival.size
        largest.is_late = largest.is_crowded = True
        self._serve(largest, self.tpool if largest.arrival.has_head else self._for_late)

    def _serve(self, conn: Connection, pool: ThreadPoolExecutor) -> None:
        self._arriving.pop(conn, None)
        self._forget(conn)
        served = pool.submit(self.handle, conn)
        served.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: Any, fs: Future[bool]) -> None:
        """Begin with what came behind the request, keep the connection alive, or hear the client out.

        An answer that is held back is sent first, when its time has come.
        """
        if not conn.is_crowded:
            self._gathered -= conn.arrival.size
        if conn.is_unfinished:
            conn.is_unfinished = False
            self._unfinished -= 1
        if self._paused and self._gathered <= _GATHERED_BYTES:
            paused, self._paused = self._paused, []
            for one in paused:
                if one in self._arriving:
                    self._poll(one, self._gather)
        if (held_until := conn.sock.held_until) is not None:
            self._held[conn] = held_until, fs
            self._held_until = min(self._held_until, held_until)
            return
        self._finish(conn, fs)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait no longer than until the next answer that is held back is due, and send those that are."""
        super().wait_for_and_dispatch_events(max(0.0, min(timeout, self._held_until - time.monotonic())))
        now = time.monotonic() if self.alive else math.inf  # a worker that stops holds nobody up
        if self._held_until > now:
            return
        for conn in [conn for conn, (until, _) in self._held.items() if until <= now]:
            _, served = self._held.pop(conn)
            try:
                conn.sock.release()
            except OSError:
                self._drop(conn)
            else:
                self._finish(conn, served)
        self._held_until = min((until for until, _ in self._held.values()), default=math.inf)

    def _finish(self, conn: Any, fs: Future[bool]) -> None:
        is_kept = not fs.cancelled() and fs.exception() is None and fs.result()
        try:
            conn.sock.setblocking(False)
        except OSError:  # an answer that failed in the middle has closed it
            self._drop(conn)
            return
        if not is_kept:
            self._hear_out(conn)
        elif rest := conn.parser.unreader.take_rest():
            conn.expect_request(rest)
            self._gathered += len(rest)
            self._arriving[conn] = None
            self._go_on(conn)
        else:
            conn.arrival.bytes.clear()
            conn.set_timeout()
            self.keepalived_conns.append(conn)
            conn.is_polled = True
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))

    def _hear_out(self, conn: Connection) -> None:
        """Tell the client that the answer has ended, and read on until it hangs up, within limits.

        Otherwise a client that still sends would meet a broken connection instead of the answer.
        """
        conn.arrival.bytes.clear()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        self._heard_out[conn] = time.monotonic() + _UNWANTED_SECONDS, Pace(_SILENT_SECONDS)
        self._hear(conn)

    def _hear(self, conn: Connection, _: Any = None) -> None:
        if conn not in self._heard_out:
            return
        try:
            count = conn.sock.recv_into(self._discarded)
        except BlockingIOError:
            self._poll(conn, self._hear)
            return
        except OSError:
            count = 0
        conn.unwanted += count
        if not count or conn.unwanted > _UNWANTED_BYTES:
            self._drop(conn)
            return
        self._heard_out[conn][1].moved(count)
        self._poll(conn, self._hear)

    def murder_pending(self) -> None:
        """Answer requests that are late, and drop clients that do not hang up."""
        now = time.monotonic()
        if now < self._looked_at + _LOOK_SECONDS:
            return
        self._looked_at = now
        # Of a worker that stops, a client that has said nothing yet is not waited for as long.
        silence = self.receive_seconds if self.alive else 0 if self.is_quick else self.cfg.keepalive
        patience = max(0.0, self.receive_seconds - silence)
        for conn in [one for one in self._arriving if one.pace.left_seconds() <= (0.0 if one.arrival.bytes else patience)]:
            if not conn.arrival.bytes:
                self._drop(conn)
                continue
            conn.is_late = True
            self._serve(conn, self.tpool if conn.arrival.has_head else self._for_late)
        for conn in [conn for conn, (until, pace) in self._heard_out.items() if now > until or pace.left_seconds() <= 0]:
            self._drop(conn)

    def _poll(self, conn: Connection, then: Any) -> None:
        if not conn.is_polled:
            conn.is_polled = True
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(then, conn))

    def _forget(self, conn: Connection) -> None:
        if conn.is_polled:
            conn.is_polled = False
            self.poller.unregister(conn.sock)

    def _drop(self, conn: Connection) -> None:
        self._forget(conn)
        if conn in self._arriving:
            del self._arriving[conn]
            self._gathered -= conn.arrival.size
        self._heard_out.pop(conn, None)
        self._held.pop(conn, None)
        with suppress(ValueError):
            self.keepalived_conns.remove(conn)
        self.nr_conns -= 1
        conn.close()

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Hang up after a request whose body had not come: nobody reads the rest of it."""
        if conn.is_continued:
            req._expected_100_continue = False
        if not conn.arrival.is_whole:
            req.force_close()
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Skip a body that the application did not read. All of it has come, so this waits for nobody."""
        return bool(keepalive and conn.arrival.is_whole and conn.parser.finish_body())

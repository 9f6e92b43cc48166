"""Make exports in a process of their own, so that they take neither the interpreter nor memory from the requests beside them.

A worker forks a keeper while it has a single thread and no connection. The keeper waits. When an export is asked for, it forks
a maker, which serves all exports of the worker until none was asked for in a while, and whose memory goes with it. A maker that
dies breaks off its exports, and the next one has another. It works on export jobs in the same way.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from multiprocessing.connection import Connection
from typing import Any, Final, Protocol

from smarthouse_api.errors import Refused, StoreError, Unavailable, portable
from smarthouse_api.serving.forking import leave_the_parent

log = logging.getLogger(__name__)

_NICENESS: Final = 19
_IDLE_SECONDS: Final = 60.0
_ENDED: Final = "ended"
_OVER: Final = "over"
_LOOK_SECONDS: Final = 0.2

Work = Callable[[Callable[[], bool]], bool]
"""Works on what there is to do, until it is done, or the function that it is given says that the time is over."""


class Opened(Protocol):
    """An export that is open: iterating it gives its bytes, once. It must be closed.

    rows: how many rows were read so far. is_whole: whether all bytes were given. incomplete: which rows are missing, in words.
    """

    file_name: str
    incomplete: str | None
    is_whole: bool

    @property
    def rows(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class Apart:
    """Opens exports in another process. Make it while this one has a single thread and has opened no store.

    open_: opens an export, and is called in a maker. work: likewise. living: a context around the life of a maker.
    idle_seconds: how long a maker waits for the next export.
    """

    def __init__(
        self,
        open_: Callable[..., Opened | None],
        work: Work,
        living: Callable[[], AbstractContextManager[object]],
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self._open, self._work = open_, work
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if (keeper := os.fork()) == 0:
            self._control.close()
            _keep(theirs, _Maker(theirs, open_, work, living, idle_seconds))
        theirs.close()
        self._keeper = keeper

    @staticmethod
    def is_possible() -> bool:
        """Whether this system can do it. Elsewhere than on Linux, a fork after the libraries are loaded is not safe."""
        return sys.platform == "linux"

    def open(self, *args: Any, **options: Any) -> Opened | None:
        """Open an export as `open_` would. A fault there is raised here, and that the process has died is `Unavailable`."""
        if (connection := self._asked()) is None:
            return self._open(*args, **options)
        try:
            connection.send((args, options))
            if (head := _received(connection)) is not None:
                return _Passed(connection, *head)
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    def work(self, is_over: Callable[[], bool]) -> bool:
        """Work as `work` would. A fault there is raised here, and that the process has died is `Unavailable`."""
        if (connection := self._asked()) is None:
            return self._work(is_over)
        with connection:
            with suppress(OSError):  # it has died, which is found out below
                connection.send(None)
                while not connection.poll(_LOOK_SECONDS):
                    if is_over():
                        connection.send(_OVER)
                        break
            return bool(_received(connection))

    def _asked(self) -> Connection | None:
        """Ask for somebody to talk to in the other process; None if it is gone."""
        ours, theirs = socket.socketpair()
        connection = Connection(ours.detach())
        try:
            with theirs:
                socket.send_fds(self._control, [b"export"], [theirs.fileno()])
        except OSError as fault:
            connection.close()
            log.warning("Exports are made in the worker from now on: the process that keeps them apart is gone (%s)", fault)
            return None
        return connection

    def close(self) -> None:
        """Let the other process end, once its exports have."""
        self._control.close()
        with suppress(ChildProcessError):
            os.waitpid(self._keeper, os.WNOHANG)


class _Passed:
    """Passes on an export that is made in another process."""

    def __init__(self, connection: Connection, file_name: str, incomplete: str | None) -> None:
        self._connection, self.file_name, self.incomplete = connection, file_name, incomplete
        self.rows, self.is_whole = 0, False

    def __iter__(self) -> Iterator[bytes]:
        while (piece := _received(self._connection)) != _ENDED:
            self.rows, chunk = piece
            yield chunk
        self.is_whole = True

    def close(self) -> None:
        """End the export: the other process finds nobody who takes the next bytes."""
        self._connection.close()


def _received(connection: Connection) -> Any:
    """Take what the maker says next. Raises the fault that it met, or `Unavailable` if it died."""
    try:
        said = connection.recv()
    except (EOFError, OSError) as fault:
        raise Unavailable("The process that made the export has ended; ask again") from fault
    if isinstance(said, Exception):
        raise said
    return said


def _keep(control: socket.socket, maker: _Maker) -> None:
    """Fork a maker whenever an export is asked for and none lives, until the worker has gone. Does not return."""
    try:
        leave_the_parent(control.fileno())
        os.nice(_NICENESS)
        while control.recv(1, socket.MSG_PEEK):
            if (child := os.fork()) == 0:
                maker.run()
                os._exit(0)
            if ended_by := os.WTERMSIG(os.waitpid(child, 0)[1]):
                log.warning("Exports are broken off: signal %d has ended the process that made them", ended_by)
    finally:
        os._exit(0)


class _Maker:
    """Makes the exports that are asked for, each in a thread, until none was for a while, or nobody can ask any more."""

    def __init__(
        self,
        control: socket.socket,
        open_: Callable[..., Opened | None],
        work: Work,
        living: Callable[[], AbstractContextManager[object]],
        idle_seconds: float,
    ) -> None:
        self._control, self._open, self._work, self._living, self._idle_seconds = control, open_, work, living, idle_seconds
        self._threads = set[threading.Thread]()

    def run(self) -> None:
        with self._living():
            self._take_all()

    def _take_all(self) -> None:
        while self._is_asked():
            _, handles, _, _ = socket.recv_fds(self._control, 16, 1)
            if not handles:
                break  # the worker has gone
            thread = threading.Thread(target=self._make, args=(Connection(handles[0]),), name="export", daemon=True)
            self._threads.add(thread)
            thread.start()
        for thread in list(self._threads):
            thread.join()

    def _is_asked(self) -> bool:
        """Wait until somebody asks. False if nobody did for a while, and nothing is being made."""
        while not select.select([self._control], [], [], self._idle_seconds)[0]:
            if not self._threads:
                return False
        return True

    def _make(self, connection: Connection) -> None:
        try:
            with connection:
                try:
                    self._send(connection)
                except (Refused, StoreError) as fault:
                    connection.send(portable(fault))
                except OSError:
                    raise
                except Exception:
                    log.exception("An export failed")
                    connection.send(RuntimeError("An export failed; the log above says how"))
        except OSError:
            pass  # the client has left, or the worker has
        finally:
            self._threads.discard(threading.current_thread())

    def _send(self, connection: Connection) -> None:
        if (asked := connection.recv()) is None:
            connection.send(self._work(connection.poll))  # there is something to read once the time is over, or the worker gone
            return
        args, options = asked
        if (opened := self._open(*args, **options)) is None:
            connection.send(None)
            return
        with closing(opened):
            connection.send((opened.file_name, opened.incomplete))
            for chunk in opened:
                connection.send((opened.rows, chunk))
        connection.send(_ENDED)

"""Processes that do work for this one: forked when they are asked for, from this process as it was at its beginning.

A keeper is forked while this process has a single thread and no connection. Whenever somebody asks, it forks another process,
which serves them over a connection, and ends. Both end once this process has closed its side, or has died.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

_SIGNALS: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_FIRST_OTHER_FILE: Final = 3
_ENDING_SECONDS: Final = 1.0
_THREADS_OF_THE_LAKE: Final = "tokio"

log = logging.getLogger(__name__)


class Forks:
    """Forks a process for each who asks. Make it while this one has a single thread and has opened no store.

    serve: is called in such a process, with a connection to the one that it was forked for.
    """

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if (keeper := os.fork()) == 0:
            self._control.close()
            _keep(theirs, serve)
        theirs.close()
        self._keeper, self._is_gone = keeper, False

    @staticmethod
    def are_possible() -> bool:
        """Whether this process may fork now: on Linux, and before any thread whose work a fork would not take over.

        Allocators and numpy begin their threads anew in a fork. The lake's library does not, once it has opened a table.
        """
        if sys.platform != "linux" or threading.active_count() > 1:
            return False
        try:
            names = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]
        except OSError:
            return False
        return not any(name.startswith(_THREADS_OF_THE_LAKE) for name in names)

    def ask(self) -> Connection | None:
        """Ask for a process, and return the connection to it; None if there are no more. It ends when that is closed."""
        ours, theirs = socket.socketpair()
        connection = Connection(ours.detach())
        try:
            with theirs:
                socket.send_fds(self._control, [b"fork"], [theirs.fileno()])
        except OSError as fault:
            connection.close()
            if not self._is_gone:
                self._is_gone = True
                log.warning("No other process helps from now on: the one that forks them is gone (%s)", fault)
            return None
        return connection

    def close(self) -> None:
        """Let the keeper end. Processes that were asked for end with their connections."""
        self._control.close()
        deadline = time.monotonic() + _ENDING_SECONDS
        with suppress(ChildProcessError):
            while not os.waitpid(self._keeper, os.WNOHANG)[0] and time.monotonic() < deadline:
                time.sleep(0.005)


def _keep(control: socket.socket, serve: Callable[[Connection], None]) -> None:
    """Fork a process whenever one is asked for, until nobody can ask any more. Does not return."""
    try:
        leave_the_parent(control.fileno())
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
        while handles := socket.recv_fds(control, 16, 1)[1]:
            if os.fork() == 0:
                control.close()
                _serve(Connection(handles[0]), serve)
            os.close(handles[0])
    finally:
        os._exit(0)


def _serve(connection: Connection, serve: Callable[[Connection], None]) -> None:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with connection:
            serve(connection)
    except Exception:
        log.exception("A process that helps another has failed")
    finally:
        os._exit(0)


def leave_the_parent(control: int) -> None:
    """Give up what a fork takes over: signals and open files. control: the one that stays.

    Without this, a listening socket would stay open after the service has died. The files' numbers stay taken, since objects
    of the parent still know them.
    """
    signal.set_wakeup_fd(-1)
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)  # a service manager sends its signals to all processes, and the parent decides
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/proc/self/fd"):
        if (number := int(name)) >= _FIRST_OTHER_FILE and number not in (control, nowhere):
            with suppress(OSError):  # the one that lists the folder is closed by now
                os.fstat(number)
                os.dup2(nowhere, number)
    gc.freeze()  # else looking for garbage would copy all that is shared with the parent

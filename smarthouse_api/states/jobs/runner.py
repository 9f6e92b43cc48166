"""The threads that work on jobs beside the housekeeper: chores stay quick though a job takes long."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from backends.ports import StoreError
from config.groups import JobSettings
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.coordination.troubles import Trouble
from smarthouse_api.cores import cores
from smarthouse_api.errors import Unavailable
from smarthouse_api.states.jobs.maker import Maker

_LOOK_SECONDS: Final = 0.5

log = logging.getLogger(__name__)


class Runner:
    """Works on jobs in threads of this process, until it is stopped. All processes of a machine share its number of jobs.

    settle: raises a `StoreError` while the stores may not be served.
    """

    def __init__(self, maker: Maker, leases: Leases, settle: Callable[[], object], settings: JobSettings) -> None:
        self._maker, self._leases, self._settle = maker, leases, settle
        self.work: Callable[[Callable[[], bool]], bool] = maker.work
        """What works on a job: the maker, or something that has another process do it."""

        self._at_once = min(settings.at_once, cores())
        self._stopping = threading.Event()
        self._threads = list[threading.Thread]()
        self._trouble = Trouble(log, logging.WARNING, "export jobs can be worked on again")

    def start(self) -> None:
        """Begin to look for jobs."""
        self._threads = [threading.Thread(target=self._run, name="export-job", daemon=True) for _ in range(self._at_once)]
        for thread in self._threads:
            thread.start()

    def ask_to_stop(self) -> None:
        """Ask the threads to stop; a signal's handler may call this."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop after the present batch of rows. What is made stays, and another process goes on."""
        self.ask_to_stop()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        is_busy = False
        while not self._stopping.wait(0.0 if is_busy else _LOOK_SECONDS):
            try:
                is_busy = self._look()
            except (StoreError, Unavailable, TimeoutError) as fault:
                is_busy = False
                self._trouble.met(f"no export job can be worked on now: {fault}")
            except Exception:  # a fault of ours, logged with its trace
                is_busy = False
                log.exception("working on export jobs failed")
            else:
                self._trouble.over()

    def _look(self) -> bool:
        if not self._maker.is_wanted():
            return False
        self._settle()
        with self._place() as place:
            return place is not None and self.work(self._stopping.is_set)

    @contextmanager
    def _place(self) -> Iterator[Lease | None]:
        """Take one of this machine's places; None if all are taken."""
        for number in range(self._at_once):
            if (lease := self._leases.try_hold(f"export-jobs/{socket.gethostname()}/{number}")) is not None:
                with lease:
                    yield lease
                return
        yield None

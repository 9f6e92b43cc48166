"""The watch of a process that serves: it is announced, and its stores must go on belonging together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from backends.ports import StoreError
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.presence import Presence, ProcessNote
from smarthouse_api.coordination.store_agreement import NewerFormat
from smarthouse_api.coordination.troubles import Trouble
from smarthouse_api.status.faults import Faults

SERVING: Final = "serving"
"""The name of the lease that every process shares while it serves or keeps house."""

WAITING: Final = "waiting"
"""The name of the lease that every process shares while a command holds it back from serving."""

log = logging.getLogger(__name__)


class Watch:
    """Announces this process while it serves an installation, and looks every few seconds whether it still may.

    A store that is exchanged under a running process is noticed so, and a command that holds the installation back. seconds:
    between two looks. says: describes this process to the others. faults: collects what this process logs.
    """

    def __init__(
        self,
        installation: Installation,
        leases: Leases,
        faults: Faults,
        seconds: float,
        says: Callable[[], ProcessNote] | None = None,
    ) -> None:
        self._faults = faults
        self._installation, self.presence, self._seconds = installation, Presence(leases, SERVING, says), seconds
        self._waiting = Presence(leases, WAITING)
        self._trouble = Trouble(log, logging.ERROR, "the stores are well again, and are served")
        self._ends: Callable[[str], object] = log.critical
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, ends: Callable[[str], object] = log.critical) -> None:
        """Look once, then go on looking in a thread of this process until `stop`.

        ends: called with the words if a newer version wrote a store. From a thread, it has to end the process by itself.
        """
        self._ends = ends
        self._installation.announce_by(self.presence, self._waiting)
        logging.getLogger().addHandler(self._faults)
        self.look()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Announce this process, and look at the stores. What is wrong is logged; nothing is raised."""
        try:
            if self._installation.is_settled:
                self.presence.renew()
            self._installation.check()
            self._faults.save()
        except NewerFormat as fault:
            self._ends(str(fault))
        except StoreError as fault:
            self._trouble.met(f"nothing is served or written: {type(fault).__name__}: {fault}")
        else:
            self._trouble.over()

    def stop(self) -> None:
        self._ended.set()
        logging.getLogger().removeHandler(self._faults)
        if self._thread is not None:
            self._thread.join()
            self.presence.end()
            self._waiting.end()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self.look()

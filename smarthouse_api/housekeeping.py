"""Housekeeping: the chores that go on without a request, such as purging, curating, compaction, sealing and sweeping.

Any number of housekeepers may run, in the processes that serve or in `smarthouse worker`. Each chore has a lease, and the
housekeeper that gets it works. If that dies, another takes over once the lease expires.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from backends.ports import ObjectStore, StoreError
from config.groups import LakeSettings
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.coordination.leases import Lease, LeaseLost, Leases
from smarthouse_api.coordination.store_formats import StoreFormats
from smarthouse_api.errors import Unavailable
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.streams.chores import StreamsChores

_PRESENCE = "worker"
_BREATH_SECONDS = 0.05
_TURN_SECONDS = 1.0
_RETRY_SECONDS = 600.0
_SWEEP_SECONDS = 24 * 3600.0

log = logging.getLogger(__name__)


class Housekeeper:
    """Keeps an installation tidy without requests: does each chore that is due, round after round.

    It runs in a thread of a process that serves, or in `smarthouse worker`.
    """

    def __init__(
        self,
        formats: StoreFormats,
        objects: ObjectStore,
        forgetting: Forgetting,
        states: StatesChores,
        streams: StreamsChores,
        collections: CollectionsChores,
        leases: Leases,
        settings: LakeSettings,
    ) -> None:
        self._formats, self._objects, self._forgetting, self._leases = formats, objects, forgetting, leases
        self._states, self._streams, self._collections = states, streams, collections
        self._interval_seconds = settings.curate_interval_seconds
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._presence: Lease | None = None
        self._turn_was_short = False

    def start(self) -> None:
        """Keep house in a thread of this process until `stop`."""
        self._thread = threading.Thread(target=self.run, name="housekeeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the present step: a batch, a partition, a purge."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join()

    def ask_to_stop(self) -> None:
        """Ask the housekeeper to stop, without waiting for it; a signal's handler may call this."""
        self._stopping.set()

    def run(self, announced: bool = False) -> None:
        """Keep house until asked to stop. announced: counted by `present`."""
        busy = False
        while not self._stopping.wait(_BREATH_SECONDS if busy else self._interval_seconds):
            if not announced or _attempted(self._be_present):
                busy = self.keep()
        if self._presence is not None:
            self._presence.release()

    def present(self) -> int:
        """Count the announced housekeepers that run, in all processes."""
        return len(self._leases.shared(_PRESENCE))

    def condition(self) -> str:
        """Give a line for readiness: how many announced housekeepers run, or a warning that none does."""
        if count := self.present():
            return f"{count} running"
        return "warning: none runs; nothing is erased, and exports wait for their uploads; start `smarthouse worker`"

    def keep(self) -> bool:
        """Do each chore once, if it is due and no other process is doing it; whether there is more to do at once.

        If a chore fails, the others still have their turn. No chore touches stores of a format that this version does not know.
        """
        self._turn_was_short = False
        if not _attempted(self._formats.settle):
            return False
        for chore in (
            self._forgetting.try_purge,
            partial(self._take_turn, self._states.curate),
            partial(self._take_turn, self._states.move),
            partial(self._take_turn, self._states.compact),
            partial(self._take_turn, self._streams.run),
            self._collections.purge,
            partial(self._take_turn, self._collections.curate),
            partial(self._take_turn, self._collections.trim),
            partial(self._take_turn, self._collections.compact),
            partial(self._take_turn, self._collections.expire_dead_letters),
            self._sweep,
        ):
            if self._stopping.is_set():
                break
            _attempted(chore)
        return self._turn_was_short

    def _be_present(self) -> None:
        try:
            if self._presence is not None:
                self._presence.check()
                return
        except LeaseLost:
            log.info("this worker's lease had expired; it is announced again")
        self._presence = self._leases.share(_PRESENCE)

    def _take_turn(self, chore: Callable[[Callable[[], bool]], None]) -> None:
        """Do a chore in a turn that begins now, and note whether it would have needed a longer turn."""
        ends_at = time.monotonic() + _TURN_SECONDS

        def is_over() -> bool:
            return self._stopping.is_set() or time.monotonic() > ends_at

        chore(is_over)
        self._turn_was_short = self._turn_was_short or is_over()

    def _sweep(self) -> None:
        if self._leases.claim("sweep", _RETRY_SECONDS):
            self._forgetting.sweep()
            self._streams.sweep()
            self._objects.sweep()
            self._leases.prolong("sweep", _SWEEP_SECONDS)
            self._states.expect_dead()  # files that crashed writers have left in the lake go with the next compaction


def _attempted(act: Callable[[], object]) -> bool:
    """Do one thing; whether it succeeded. A fault is logged, and must not end the other chores."""
    try:
        act()
    except (StoreError, Unavailable, TimeoutError) as fault:
        log.warning("housekeeping failed and will be tried again: %s", fault)
    except Exception:  # a fault of ours, logged with its trace
        log.exception("housekeeping failed and will be tried again")
    else:
        return True
    return False

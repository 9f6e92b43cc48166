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
from smarthouse_api.archives.service import Archives
from smarthouse_api.collections.chores import CollectionsChores
from smarthouse_api.coordination.adding_sums import AddingSums
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.mending import Mending
from smarthouse_api.coordination.presence import Presence
from smarthouse_api.coordination.reserve import Reserve
from smarthouse_api.coordination.store_ages import StoreAges
from smarthouse_api.coordination.troubles import Trouble
from smarthouse_api.errors import Unavailable
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.state_age import StateAge
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.contents.service import Contents
from smarthouse_api.states.jobs.runner import Runner
from smarthouse_api.states.jobs.service import Jobs
from smarthouse_api.status.census import Counting
from smarthouse_api.status.history import History
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
        installation: Installation,
        objects: ObjectStore,
        mending: Mending,
        forgetting: Forgetting,
        reserve: Reserve,
        adding_sums: AddingSums,
        states: StatesChores,
        contents: Contents,
        jobs: Jobs,
        runner: Runner,
        archives: Archives,
        streams: StreamsChores,
        collections: CollectionsChores,
        leases: Leases,
        census: Counting,
        history: History,
        state_age: StateAge,
        ages: StoreAges,
        settings: LakeSettings,
    ) -> None:
        self._installation, self._objects, self._forgetting, self._leases = installation, objects, forgetting, leases
        self._mending, self._ages = mending, ages
        self.census, self._reserve, self._state_age, self._adding_sums = census, reserve, state_age, adding_sums
        self._history = history
        self._states, self._contents, self._streams, self._collections = states, contents, streams, collections
        self._jobs, self._runner, self._archives = jobs, runner, archives
        self._interval_seconds = settings.curate_interval_seconds
        self._presence = Presence(leases, _PRESENCE)
        self.is_running = False
        self.doing: str | None = None
        """The chore under way."""
        from smarthouse_api import chore_metrics

        self._seconds, self._failures = chore_metrics.SECONDS, chore_metrics.FAILURES
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._turn_was_short = False
        self._troubles = dict[str, Trouble]()

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
        self._runner.ask_to_stop()

    def run(self, announced: bool = False) -> None:
        """Keep house until asked to stop. announced: counted by `present`."""
        busy, self.is_running = False, True
        log.info("this process keeps house")
        self._begin_metrics()
        self._runner.start()
        while not self._stopping.wait(_BREATH_SECONDS if busy else self._interval_seconds):
            if not announced or self._attempted(self._presence.renew, "announce"):
                busy = self.keep()
        self._runner.stop()
        self.is_running = False
        self._presence.end()
        log.info("this process keeps house no more")

    def present(self) -> int:
        """Count the announced housekeepers that run, in all processes."""
        return self._presence.count()

    def condition(self) -> str:
        """Give a line for readiness: how many announced housekeepers run, or a warning that none does."""
        if count := self.present():
            return f"{count} running"
        return "warning: none runs; nothing is erased, and exports wait for their uploads; start `smarthouse worker`"

    def keep(self) -> bool:
        """Do each chore once, if it is due and no other process is doing it; whether there is more to do at once.

        If a chore fails, the others still have their turn. No chore touches stores that may not be served.
        """
        self._turn_was_short = False
        try:
            self._installation.settle()
        except StoreError as fault:
            log.debug("no chore is done: %s", fault)  # the watch has said so, once
            return False
        for name, chore in self._chores():
            if self._stopping.is_set():
                break
            self.doing, began_at = name, time.monotonic()
            if not self._attempted(chore, name):
                self._failures.labels(name).inc()
            self._seconds.labels(name).inc(time.monotonic() - began_at)
        self.doing = None
        return self._turn_was_short

    def _begin_metrics(self) -> None:
        """Count each chore from 0: of a series that begins with its first failure, Prometheus sees no increase."""
        for name, _ in self._chores():
            for counter in (self._seconds, self._failures):
                counter.labels(name)

    def _chores(self) -> tuple[tuple[str, Callable[[], object]], ...]:
        """Name the chores of a round, in their order."""
        turn = partial(partial, self._take_turn)
        return (
            ("mend documents", self._mending.work),
            ("compare the stores", self._state_age.check_hourly),
            ("note the stores' age", self._ages.grow),
            ("erase homes", self._forgetting.try_purge),
            ("end rounds of erasure", self._forgetting.end_rounds),
            ("add checksums", turn(self._adding_sums.run)),
            ("heal uploads", self._states.heal),
            ("count old uploads", turn(self._states.count)),
            ("curate states", turn(self._states.curate)),
            ("look at files", turn(self._states.look)),
            ("make rows again", self._repair),
            ("move rows", turn(self._states.move)),
            ("drop rows", turn(self._states.drop)),
            ("merge files of states", turn(self._states.compact)),
            ("count rows", turn(self._contents.count)),
            ("warm the engine", self._jobs.warm_engine),
            ("expire exports", self._jobs.keep),
            ("expire archives", self._archives.tidy),
            ("expire uploads", turn(self._states.expire)),
            ("seal and trim streams", turn(self._streams.run)),
            ("erase collections", self._collections.purge),
            ("curate records", turn(self._collections.curate)),
            ("make records again", self._collections.rebuilding.work),
            ("trim topics", turn(self._collections.trim)),
            ("drop old records", turn(self._collections.drop_old_records)),
            ("merge files of records", turn(self._collections.compact)),
            ("expire dead letters", turn(self._collections.expire_dead_letters)),
            ("sweep", self._sweep),
            ("keep room aside", self._reserve.keep),
            ("count storage", turn(self.census.go_on)),
            ("note figures", self._history.keep),
        )

    def _take_turn(self, chore: Callable[[Callable[[], bool]], None]) -> None:
        """Do a chore in a turn that begins now, and note whether it would have needed a longer turn."""
        ends_at = time.monotonic() + _TURN_SECONDS

        def is_over() -> bool:
            return self._stopping.is_set() or time.monotonic() > ends_at

        chore(is_over)
        self._turn_was_short = self._turn_was_short or is_over()

    def _repair(self) -> None:
        self._turn_was_short = self._states.repair() or self._turn_was_short

    def _sweep(self) -> None:
        if self._leases.claim("sweep", _RETRY_SECONDS):
            self._forgetting.sweep()
            self._streams.sweep()
            self._objects.sweep()
            self._leases.prolong("sweep", _SWEEP_SECONDS)
            log.info("what crashes had left was swept from both stores")
            self._states.expect_dead()  # files that crashed writers have left in the lake go with the next compaction

    def _attempted(self, act: Callable[[], object], name: str) -> bool:
        """Do one thing; whether it succeeded. A fault is logged, and must not end the other chores. name: of the chore."""
        trouble = self._troubles.setdefault(name, Trouble(log, logging.WARNING, f"the chore succeeds again ({name})"))
        try:
            act()
        except (StoreError, Unavailable, TimeoutError) as fault:
            trouble.met(f"a chore failed and will be tried again ({name}): {fault}")
        except Exception:  # a fault of ours, logged with its trace
            log.exception("a chore failed and will be tried again (%s)", name)
        else:
            trouble.over()
            return True
        return False

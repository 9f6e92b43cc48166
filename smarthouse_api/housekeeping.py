"""What goes on without a request: curating, purging, compaction, sweeping up after crashes.

Any number of housekeepers may run; whoever gets the lake's lease works.
"""

from __future__ import annotations

import logging
import threading
import time

from backends.ports import ObjectStore, StoreError
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.lake.curator import LEASE, Curator
from smarthouse_api.lake.table import NAME, READERS, StatesTable
from smarthouse_api.leases import Lease, LeaseLost, Leases
from smarthouse_api.uploads import Uploads

_TIDY_SECONDS = 60.0
_SWEEP_SECONDS = 24 * 3600.0

log = logging.getLogger(__name__)


class Housekeeper:
    """interval_seconds: between rounds. compact_files: files in one partition of the lake from which on it is compacted."""

    def __init__(
        self,
        objects: ObjectStore,
        uploads: Uploads,
        curator: Curator,
        forgetting: Forgetting,
        table: StatesTable,
        leases: Leases,
        *,
        interval_seconds: float,
        compact_files: int,
    ) -> None:
        self._objects, self._uploads, self._curator, self._forgetting = objects, uploads, curator, forgetting
        self._table, self._leases = table, leases
        self._interval_seconds, self._compact_files = interval_seconds, compact_files
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._tidied_at = self._swept_at = float("-inf")
        self._replaced = False

    def start(self) -> None:
        """Keep house in a thread of this process until `stop`."""
        self._thread = threading.Thread(target=self.run, name="housekeeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the step at hand."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            try:
                self.keep()
            except Exception:
                log.exception("housekeeping failed and will be tried again")

    def keep(self) -> None:
        """Do once all that is due, if nobody else is at it. A chore that fails does not keep the others from their turn."""
        if not self._is_anything_due() or (lease := self._leases.try_hold(LEASE)) is None:
            return
        try:
            for chore in (self._purge, self._curator.curate, self._tidy, self._sweep):
                try:
                    chore(lease)
                except (StoreError, LeaseLost) as fault:
                    log.warning("housekeeping failed and will be tried again: %s", fault)
        finally:
            lease.release()

    def _purge(self, lease: Lease) -> None:
        if self._forgetting.is_due():
            self._forgetting.purge(lease)

    def _is_anything_due(self) -> bool:
        now = time.monotonic()
        return (
            now - self._tidied_at >= _TIDY_SECONDS
            or now - self._swept_at >= _SWEEP_SECONDS
            or bool(self._uploads.pending(limit=1))
            or self._forgetting.is_due()
        )

    def _tidy(self, lease: Lease) -> None:
        """Compact the lake, and drop what compaction replaced as soon as no export can be reading it."""
        if time.monotonic() - self._tidied_at >= _TIDY_SECONDS:
            lease.check()
            self._replaced = self._table.compact(self._compact_files) or self._replaced
            if self._replaced and not self._leases.shared(READERS):
                lease.check()
                self._table.erase_history()
                self._replaced = False
            self._tidied_at = time.monotonic()

    def _sweep(self, lease: Lease) -> None:
        if time.monotonic() - self._swept_at >= _SWEEP_SECONDS:
            self._uploads.sweep()
            self._objects.sweep()
            lease.check()
            self._objects.sweep_table(NAME)
            self._swept_at = time.monotonic()

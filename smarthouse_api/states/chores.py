"""The chores of states and statistics: uploads are brought into the lake, and its small files are merged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

from config.groups import LakeSettings
from smarthouse_api.lake.compaction import Compaction
from smarthouse_api.lake.curator import Curator
from smarthouse_api.states.consents import Consents
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.raw_retention import RawRetention
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.rows import StateRows
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads

_BATCH_ENTRIES: Final = 1000
_LOOK_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class StatesChores:
    """Brings uploads into the lake and merges its small files: in the background, and at once when an export needs them.

    is_purging: whether a purge is under way; only the purge then replaces files of the lake. is_over: each chore asks it
    between its steps; at least one step is done. Each chore takes the lake anew, so that a waiting purge or export gets it in
    between.
    """

    def __init__(
        self,
        uploads: Uploads,
        homes: Homes,
        consents: Consents,
        table: StatesTable,
        statistics: StatisticsTable,
        rebuilding: Rebuilding,
        retention: RawRetention,
        is_purging: Callable[[], bool],
        settings: LakeSettings,
    ) -> None:
        self._uploads, self._homes, self._consents, self._is_purging = uploads, homes, consents, is_purging
        self._table, self._statistics, self._rebuilding = table, statistics, rebuilding
        self.retention = retention
        self._curator = Curator(table, settings, _BATCH_ENTRIES)
        self._compaction = Compaction(table, settings.compact_files)
        self._of_statistics = Compaction(statistics, settings.compact_files)
        self._may_compact = self._may_be_outdated = True
        self._dropped_at = float("-inf")

    def flush(self) -> None:
        """Return once the lake holds everything that was acknowledged before the call, no matter which process writes it.

        Raises `Unavailable` when that takes too long, and `StoreUnavailable` when the state store is older than the lake: the
        next payloads would be taken for ones that the lake holds.
        """
        self._curator.flush(self._rows())

    def curate(self, is_over: Callable[[], bool]) -> None:
        """Bring pending uploads into the lake. When a compaction is due, do so even without any: an old state store shows."""
        self._may_compact = False
        again = self._rebuilding.pending_rows()
        is_due = self._compaction.is_due() or bool(again) or bool(self._uploads.queue.read(limit=1))
        # An export may wait for what is made again. Requests that write all the time would leave it no turn.
        if is_due and (lease := self._table.try_write(_PATIENCE_SECONDS if again else 0.0)) is not None:
            with lease:
                self._curator.curate(lease, [self._rows(), *again], is_over)
            self._may_compact = True

    def compact(self, is_over: Callable[[], bool]) -> None:
        """Merge small files of the lake, except during a purge, and only if the last `curate` succeeded."""
        if self._may_compact and self._compaction.is_due() and (lease := self._table.try_write()) is not None:
            with lease:
                # With the lease: a purge that begins now waits for it, and finds no file replaced later.
                if not self._is_purging():
                    self._compaction.compact(lease, is_over)
                    if self._of_statistics.is_due():
                        self._of_statistics.compact(lease, is_over)

    def move(self, is_over: Callable[[], bool]) -> None:
        """Bring rows that an earlier version wrote to their place in the lake, some days at a time, except during a purge."""
        if not self._may_be_outdated or (lease := self._table.try_write()) is None:
            return
        with lease:
            if self._is_purging():  # asked with the lease, as before a compaction
                return
            while partitions := self._table.outdated():
                self._table.move(lease, partitions)
                log.info("the lake: rows of an earlier version were moved, of %d partitions", len(partitions))
                self._compaction.expect_dead()
                if is_over():
                    return
            self._may_be_outdated = False

    def merge_days(self, wait_seconds: float) -> Iterator[date]:
        """Merge the rows of days that are over, a step at a time, until all are; yield each step's day.

        wait_seconds: how long to wait for the lake. Raises `TimeoutError` if another keeps it for longer, as a purge may.
        """
        while left := self._table.untidy():
            with self._table.writing(wait_seconds) as lease:
                if self._is_purging():  # asked with the lease, as before a compaction
                    raise TimeoutError("Homes are being erased; repeat the command")
                self._table.merge_first(lease)
            yield left[0].day

    def count(self, is_over: Callable[[], bool]) -> None:
        """Count what earlier versions stored."""
        self._uploads.counting_old.run(is_over)

    def expire(self, is_over: Callable[[], bool]) -> None:
        """Delete raw uploads that are old and that the lake holds, and consents that were never used, except during a purge."""
        if not self._is_purging():
            self._consents.expire(is_over)
            self.retention.run(is_over)

    def drop(self, is_over: Callable[[], bool]) -> None:
        """Look once a minute for rows of days that the lake does not keep. Drop them, except during a purge."""
        now = time.monotonic()
        if self._table.first_kept_day() is None or now - self._dropped_at < _LOOK_SECONDS:
            return
        if (lease := self._table.try_write()) is None:
            return
        with lease:
            if self._is_purging():  # asked with the lease, as before a compaction
                return
            for table, compaction in ((self._table, self._compaction), (self._statistics, self._of_statistics)):
                while rows := table.drop_old(lease):
                    self._uploads.counts.drop(table.name, rows)
                    log.info("the lake: %s: %d rows of days that are not kept were dropped", table.name, rows)
                    compaction.expect_dead()
                    if is_over():
                        return
        self._dropped_at = now

    def heal(self) -> None:
        """Queue payloads that were damaged or missing, and are whole again."""
        self._rebuilding.heal()

    def look(self, is_over: Callable[[], bool]) -> None:
        """Set damaged files of the lake aside that nobody reads, or that `smarthouse verify` has found."""
        self._rebuilding.look(is_over)

    def repair(self) -> bool:
        """Have what left the lake made again: one step of each repair. Returns whether there may be more to do at once."""
        if is_done := self._rebuilding.work():
            self.expect_dead()
        return is_done

    def expect_dead(self) -> None:
        """Note what a process of before may have left: files of crashed writers, and rows of an earlier version."""
        self._compaction.expect_dead()
        self._of_statistics.expect_dead()
        self._may_be_outdated = True

    def _rows(self) -> StateRows:
        return StateRows(self._uploads, self._homes, self._table, self._statistics)

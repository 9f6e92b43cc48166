"""The chores of states: the lake takes in what was uploaded, soon or at once, and its files are kept few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from config.groups import LakeSettings
from smarthouse_api.lake.compaction import Compaction
from smarthouse_api.lake.curator import Curator
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.rows import StateRows
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Uploads

_BATCH_ENTRIES: Final = 1000


class StatesChores:
    """Brings uploads into the lake and keeps its files few: as chores without a request, and by the flush of an export.

    is_purging: whether a purge is under way; then nobody else should replace files of the lake. is_over: asked by each chore
    between its steps; one step is done in any case. Each chore has a turn of its own, so that a purge or an export that waits
    gets the lake in between.
    """

    def __init__(
        self, uploads: Uploads, homes: Homes, table: StatesTable, is_purging: Callable[[], bool], settings: LakeSettings
    ) -> None:
        self._uploads, self._homes, self._table, self._is_purging = uploads, homes, table, is_purging
        self._curator = Curator(table, settings, _BATCH_ENTRIES)
        self._compaction = Compaction(table, settings.compact_files)
        self._may_compact = True

    def flush(self) -> None:
        """Return once the lake holds everything that was acknowledged before the call, no matter which process writes it.

        Raises `Unavailable` when that takes too long, and `StoreUnavailable` when the state store is older than the lake: the
        next payloads would be taken for ones that the lake holds.
        """
        self._curator.flush(self._rows())

    def curate(self, is_over: Callable[[], bool]) -> None:
        """Take in what is pending. Before a compaction, look even if nothing is: a state store older than the lake shows."""
        self._may_compact = False
        is_due = self._compaction.is_due() or bool(self._uploads.queue.read(limit=1))
        if is_due and (lease := self._table.try_write()) is not None:
            with lease:
                self._curator.curate(lease, [self._rows()], is_over)
            self._may_compact = True

    def compact(self, is_over: Callable[[], bool]) -> None:
        """Merge small files of the lake, except during a purge, and only if the last `curate` succeeded."""
        if self._may_compact and self._compaction.is_due() and (lease := self._table.try_write()) is not None:
            with lease:
                # With the lease: a purge that begins now waits for it, and finds no file replaced later.
                if not self._is_purging():
                    self._compaction.compact(lease, is_over)

    def expect_dead(self) -> None:
        """Crashed writers may have left files behind: they go with the next compaction."""
        self._compaction.expect_dead()

    def _rows(self) -> StateRows:
        return StateRows(self._uploads, self._homes, self._table)

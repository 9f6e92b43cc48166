"""Compaction: small files of a table are merged, and files that no snapshot needs any more are removed."""

from __future__ import annotations

import time
from collections.abc import Callable

from backends.ports import StoreFull
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.lake.table import LakeTable

_SECONDS = 60.0


class Compaction:
    """Keeps reading fast: once a minute, it merges a table's small files and removes the files that were replaced.

    compact_files: a partition is compacted once it has this many files.
    """

    def __init__(self, table: LakeTable, compact_files: int) -> None:
        self._table, self._compact_files, self._has_dead = table, compact_files, False
        self._done_at = float("-inf")

    def is_due(self) -> bool:
        return time.monotonic() - self._done_at >= _SECONDS

    def expect_dead(self) -> None:
        """Note that there may be files that no snapshot needs. The next compaction removes them."""
        self._has_dead = True

    def compact(self, lease: Lease, is_over: Callable[[], bool]) -> None:
        """Compact the table, then remove the files that compaction replaced, once no reader can need them.

        lease: the writer's. is_over: asked after each step; if it says so, the rest is left for the next call.
        """
        if not self._table.remember(is_over):
            return
        try:
            if self._table.compact(lease, self._compact_files, is_over):
                self._has_dead = True
                if is_over():
                    return
        except StoreFull:
            self._has_dead = True
            self._erase(lease)  # what was replaced so far makes room for the rest
            raise
        self._erase(lease)
        self._done_at = time.monotonic()

    def _erase(self, lease: Lease) -> None:
        if self._has_dead and not self._table.is_read():
            self._has_dead = not self._table.erase_history(lease)

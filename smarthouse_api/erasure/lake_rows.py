"""Removes homes from the lake of states: their uploads, their rows, and the files that were replaced for it.

Exports and curators go on meanwhile, in between. Every step can be repeated after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from backends.ports import StoreFull, StoreUnavailable
from smarthouse_api.states.homes_table import HomesTable, Place
from smarthouse_api.states.service import States

_BREATH_SECONDS: Final = 0.03
"""Long enough for one that waits for the lake to find it free."""


class LakeRows:
    """Removes the rows of hidden homes.

    break_readers: ends what reads rows of homes that are hidden. wait_seconds: how long a step may wait for the lake's writer.
    """

    def __init__(self, states: States, break_readers: Callable[[Sequence[str]], None], wait_seconds: float) -> None:
        self._homes, self._uploads, self._table = states.homes, states.uploads, states.table
        self._held_days, self._rebuilding, self._counting = states.held_days, states.rebuilding, states.contents.counting
        # One lease is of both: what is held for the table of states, or broken, is so for the statistics too.
        self._tables = states.table, states.statistics
        self._break_readers, self._wait_seconds = break_readers, wait_seconds

    def require(self) -> None:
        """Raise `StoreUnfit` if the lake is lost, damaged or another installation's: nobody can say then what it holds."""
        for table in self._tables:
            table.open()

    def delete(self, hidden: Sequence[str]) -> None:
        """Remove the uploads and the rows of hidden homes, by internal key. A damaged file keeps no home from being forgotten.

        Raises `StoreFull` if there is no room even after what was replaced is gone, and `TimeoutError` if the lake's writer
        takes too long.
        """
        try:
            self._delete(hidden)
        except StoreFull:
            raise
        except StoreUnavailable:
            self._rebuilding.look_at_all()
            self._delete(hidden)

    def _delete(self, hidden: Sequence[str]) -> None:
        """Remove some partitions at a time: exports and curators write in between.

        None of these adds a row of a hidden home: it either finds the home hidden, or was prepared before the fence.
        """
        with self._table.writing(self._wait_seconds) as writing:
            # First, for it makes the room that the tables need.
            for key in hidden:
                writing.check()
                self._uploads.purge(key)
            for table in self._tables:
                table.fence()
            self._held_days.note(hidden)
        for table in self._tables:
            for number, places in enumerate(table.places_of(hidden)):
                time.sleep(_BREATH_SECONDS)
                try:
                    self._delete_from(table, hidden, places)
                except StoreFull:
                    if not number:
                        raise
                    self.erase_history(hidden)  # what was replaced so far makes room for the rest
                    self._delete_from(table, hidden, places)
        with self._table.writing(self._wait_seconds):
            for table in self._tables:
                table.erase_damaged()

    def _delete_from(self, table: HomesTable, hidden: Sequence[str], places: Sequence[Place]) -> None:
        with self._table.writing(self._wait_seconds) as writing:
            try:
                changed = table.delete_homes(hidden, places)
            except StoreFull:
                table.sweep_unfinished(writing)  # else it has less room each time
                raise
        if table is self._table and changed is not None:
            self._counting.note_deleted(*changed)

    def erase_history(self, hidden: Sequence[str]) -> bool:
        """Remove the files of the lake that were replaced. Returns whether none stays for a reader."""
        # Without the writer's lease, which new exports need. The files that those read stay: nobody replaces files in a purge.
        spared = self._homes.spared(hidden)
        self._break_readers(hidden)
        with self._table.writing(self._wait_seconds) as writing:
            wait = self._wait_seconds
            erased = [table.erase_history(writing, break_readers_after=wait, spared=spared) for table in self._tables]
        return all(erased)

    def prune_counts(self, hidden: Sequence[str]) -> None:
        """Remove what the lake's summaries tell of hidden homes."""
        self._counting.prune(self._wait_seconds, hidden)

"""Migrating: all that an earlier version stored is brought to the present format, to its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.adding_sums import AddingSums
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.store_agreement import FORMAT
from smarthouse_api.states.service import States
from smarthouse_api.streams.service import Streams

_WAIT_SECONDS: Final = 60.0


class Migrating:
    """Does at once what the chores do in turns. It may run beside the service, be killed at any moment, and be repeated."""

    def __init__(
        self,
        installation: Installation,
        adding_sums: AddingSums,
        states: States,
        streams: Streams,
        collections: Collections,
    ) -> None:
        self._installation, self._adding_sums = installation, adding_sums
        self._tables = {"states": states.table, "statistics": states.statistics, "collections": collections.table}
        self._states, self._streams = states, streams

    def run(self) -> Iterator[str]:
        """Bring over all that is left, and tell each step that was done, in words. What is left is told by the data.

        Raises `StoreError`, and `TimeoutError` if another process keeps a table for a minute.
        """
        self._installation.settle()
        if (found := self._installation.found) is not None and found < FORMAT:
            yield f"stores: marked with format {FORMAT}, before: {found}"
        if count := sum(self._adding_sums.steps()):
            yield f"state: {count} documents and log entries were given checksums"
        for name, table in self._tables.items():
            if lacked := table.bring_over(_WAIT_SECONDS):
                yield f"{name}: the lake's table has what it lacked: {', '.join(lacked)}"
        yield from self._moved()
        if count := len(set(self._states.chores.merge_days(_WAIT_SECONDS))):
            yield f"states: the rows of {count} days that are over were merged"
        if count := sum(self._states.uploads.counting_old.steps()):
            yield f"states: {count} uploads were counted"
        if count := sum(1 for _ in self._streams.chores.bring_over(_WAIT_SECONDS)):
            yield f"streams: the packets of {count} streams were read, and have sums"

    def _moved(self) -> Iterator[str]:
        table = self._states.table
        while partitions := table.outdated():
            with table.writing(_WAIT_SECONDS) as lease:
                partitions = table.outdated()  # asked with the lease, as another process may have moved them
                if partitions:
                    table.move(lease, partitions)
                    yield f"states: the rows of {len({day for day, _ in partitions})} days were brought to their place"

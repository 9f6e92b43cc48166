"""Adding checksums to what earlier versions stored in the state: in turns while the service runs, or at once by a command.

A process that dies leaves whole steps, and two that work at once do each step once. What has no checksum yet is read as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from backends.ports import KeepsSums, StateStore
from smarthouse_api.coordination.store_marks import SPACE

SUMMED: Final = "summed"
"""The document of the space `installation` that says that every part of the state was given its checksum."""


class AddingSums:
    """Gives a checksum to each document and entry that has none. It goes on where the last turn ended."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._left: Iterator[int] | None = None
        self._is_done = False

    def run(self, is_over: Callable[[], bool]) -> None:
        """Add checksums until all have one or the turn is over."""
        for _ in self.steps():
            if is_over():
                return

    def steps(self) -> Iterator[int]:
        """Add checksums, some in each step; how many. Raises `StoreError`; then the next call begins anew."""
        if self._is_done or not isinstance(self._state, KeepsSums) or self._state.get(SPACE, SUMMED) is not None:
            self._is_done = True
            return
        if self._left is None:
            self._left = self._state.add_sums()
        try:
            yield from iter(lambda: next(self._left or iter(()), -1), -1)
        except Exception:
            self._left = None
            raise
        self._state.put(SPACE, SUMMED, b"")
        self._is_done = True

"""The parts of a dataset as its file needs them: in their order, each once it is noted, while others are still made."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from smarthouse_api.states.jobs.model import Part
from smarthouse_api.states.jobs.side_by_side import Ended


class NotedParts:
    """Gives parts in their order, each once it is noted, as often as they are asked for. count: of all parts."""

    def __init__(self, count: int) -> None:
        self._parts: list[Part | None] = [None] * count
        self._changed, self._is_over = threading.Condition(), False

    def add(self, number: int, part: Part) -> None:
        """Note a part."""
        with self._changed:
            self._parts[number] = part
            self._changed.notify_all()

    def end(self) -> None:
        """Say that nobody wants the file any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def check(self) -> None:
        """Raise `Ended` if nobody wants the file any more."""
        if self._is_over:
            raise Ended

    def __iter__(self) -> Iterator[Part]:
        return map(self._part, range(len(self._parts)))

    def _part(self, number: int) -> Part:
        with self._changed:
            while (part := self._parts[number]) is None:
                self.check()
                self._changed.wait()
        self.check()
        return part

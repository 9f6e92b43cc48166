"""How far a dataset is, while several threads make it."""

from __future__ import annotations

from smarthouse_api.states.jobs.model import Part, Progress


class Tally:
    """Counts what the parts have, while several threads tell of them. All of it only grows."""

    def __init__(self, planned: int) -> None:
        self._rows, self._bytes, self._made = [0] * planned, [0] * planned, 0

    @property
    def rows(self) -> int:
        """The rows of all parts."""
        return sum(self._rows)

    def tell(self, number: int, rows: int, size: int) -> None:
        """Note how many rows and bytes a part has so far. Only one thread tells of a part at a time."""
        self._rows[number], self._bytes[number] = rows, size

    def add(self, number: int, part: Part) -> None:
        """Note that a part is made."""
        self.tell(number, part.rows, sum(part.sizes))
        self._made += 1

    def progress(self) -> Progress:
        return Progress(self.rows, sum(self._bytes), self._made, len(self._rows))

"""Rows that can be asked whether there are any, before a format writes them: the first ones are not made twice for that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator

import pyarrow as pa


class BegunRows(ABC):
    """Gives batches of rows, anew each time it is iterated. count: of the rows that were given last."""

    count = 0
    _begun: tuple[pa.RecordBatch, Generator[pa.RecordBatch]] | None = None

    @abstractmethod
    def _anew(self) -> Generator[pa.RecordBatch]:
        """Make the batches from the first one on."""

    def is_empty(self) -> bool:
        """Return whether there is no row. The first batch is kept for the next iteration."""
        self.close()
        rest = self._anew()
        if (first := next(rest, None)) is None:
            return True
        self._begun = first, rest
        return False

    def __iter__(self) -> Generator[pa.RecordBatch]:
        if self._begun is not None:
            (first, rest), self._begun = self._begun, None
            yield first
            yield from rest
        else:
            yield from self._anew()

    def close(self) -> None:
        """Stop what `is_empty` has begun, if no iteration took it over."""
        if self._begun is not None:
            (_, rest), self._begun = self._begun, None
            rest.close()

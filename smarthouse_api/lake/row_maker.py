"""What a tenant tells the curator: what the entries of its queue mean, and what is stored before and after their rows."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import Entry, StoreError
from smarthouse_api.coordination.queue import Queue, Turn

log = logging.getLogger(__name__)


@dataclass
class Part:
    """Carries the entries of one queue through one commit. sequences: of the entries, ascending. tables: their rows."""

    sequences: list[int] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)


P = TypeVar("P", bound=Part)
Item = TypeVar("Item")


class RowMaker(ABC, Generic[P]):
    """Tells the curator what the entries of one queue mean: each tenant has its own.

    log: the table's name of the queue; None if the table need not tell what it holds of it, because rows that are made twice
    do no harm. A sequence of such a queue is never compared with what the table holds.

    `announce` and `record` raise `Conflict` when the turn is over.
    """

    def __init__(self, queue: Queue, log: str | None) -> None:
        self.queue, self.log = queue, log

    @abstractmethod
    def taken(self, turn: Turn | None = None) -> int:
        """Return the sequence up to which the queue knows that the lake holds its entries: as of the turn, or now."""

    @abstractmethod
    def overtake(self, turn: Turn, held: int) -> None:
        """Skip all sequences up to `held`, which the table holds although the queue has not given it yet; or raise."""

    @abstractmethod
    def left(self, snapshot: DeltaTable, turn: Turn, held: int) -> tuple[P, list[Entry]]:
        """Read what a dead curator left from `taken` to `held`: a part, and its entries that the table does not hold."""

    @abstractmethod
    def size(self, entry: Entry) -> int:
        """Return the bytes that an entry counts for in a commit."""

    @abstractmethod
    def rows(self, entries: Sequence[Entry], until: int) -> P:
        """Make rows of entries. until: the sequence up to which these are all."""

    def announce(self, turn: Turn, part: P) -> None:
        """Store whatever must be stored before the lake holds the part."""

    @abstractmethod
    def record(self, turn: Turn, part: P) -> Turn:
        """Note that the lake holds the part, and drop what the queue need not keep. Returns the turn as it then is."""


def together_or_apart(
    items: Sequence[Item], make: Callable[[Sequence[Item]], pa.Table], refuse: Callable[[Item], None]
) -> Iterator[pa.Table]:
    """Make rows of all items together. If that fails, make rows of each item apart, and leave out the items that fail.

    refuse: is told of an item while its exception is handled. Raises `StoreError` and `MemoryError` of all together.
    """
    try:
        yield make(items)
    except (StoreError, MemoryError):
        raise
    except Exception as fault:  # whatever it is, one entry must not keep the others from the lake
        log.error("entries cannot be read together (%s); trying them one by one", type(fault).__name__)
        for item in items:
            try:
                yield make([item])
            except Exception:  # as above
                refuse(item)

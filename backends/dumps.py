"""A state store as a whole, and the records of its dump, in an order in which a store of any technology takes them in.

A space comes first, then its documents, its logs and their entries. A space that comes again replaces all that came of it
before: a store that changes while it is read gives such a space twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DumpedSpace:
    """Begins a space. version: the one that it gave last; its next is above."""

    space: str
    version: int


@dataclass(frozen=True, slots=True)
class DumpedDocument:
    """Holds a live document of the space that was begun last. ttl_seconds: what is left of its lifetime; None: for ever."""

    key: str
    value: bytes
    version: int
    ttl_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DumpedLog:
    """Begins a log of the space that was begun last. sequence: the one that it gave last, dropped entries included."""

    log: str
    sequence: int


@dataclass(frozen=True, slots=True)
class DumpedEntry:
    """Holds an entry of the log that was begun last."""

    sequence: int
    value: bytes


Dumped = DumpedSpace | DumpedDocument | DumpedLog | DumpedEntry


class Dumps(ABC):
    """Gives out all that a state store holds, and takes it in: for backups, and for the way into another store."""

    @abstractmethod
    def spaces(self) -> Iterator[str]:
        """Every space that was committed to and not erased since, in any order. Creates nothing, not even a file."""

    @abstractmethod
    def dump(self, around: AbstractContextManager[object] = nullcontext()) -> Iterator[Dumped]:  # noqa: B008
        """All that the store holds at one moment, while others go on writing.

        around: is entered before that moment and left after it; a lease that it takes covers the moment. It raises nothing but
        `StoreError`. Raises `StoreUnavailable`, also if the store was not held still long enough; it can be repeated.
        """

    @abstractmethod
    def load(self, dump: Iterable[Dumped]) -> None:
        """Replace all that the store holds with a dump. Versions and sequences go on after those of the dump.

        Nobody may use the store meanwhile. After a crash it holds what it held before, or a part of the dump from its
        beginning: repeat it. A store that is damaged is mended by it where the store's own files are all that is wrong.
        """

    def leftovers(self) -> list[str]:
        """Files beside the store's own that are read into it when it is next opened. Opens nothing.

        They are harmless unless the store's file was exchanged: then they belong to the one before.
        """
        return []

    def accept_leftovers(self) -> None:  # noqa: B027
        """Have the leftovers read as far as they are whole, also if the store would refuse them as another file's.

        Raises `StoreDamaged` if what results is damaged.
        """

    def is_empty(self, besides: Collection[str] = ()) -> bool:
        """Whether nothing was ever committed to any space, or all of it was erased. besides: spaces that do not count."""
        return all(space in besides for space in self.spaces())

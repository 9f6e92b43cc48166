"""The shelf: parts of chunks that a process holds in memory, those used last, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final, Protocol, cast

from smarthouse_api.states.contents.chunks import Chunk, Detail, Ends, Names, Outline

MOST_BYTES: Final = 128 << 20
"""Bytes of chunks that a process holds: about 20 million counts, those of 1,000 homes for two years."""


_NAMES: Final = 10_000


class _Part(Protocol):
    @property
    def nbytes(self) -> int: ...


class Shelf:
    """Holds parts of chunks. names: number the homes and the kinds in them.

    making: is held by the one who makes a chunk.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.names, self.making = Names(), threading.Lock()
        self._most_bytes, self._bytes = most_bytes, 0
        self._parts, self._numbered = OrderedDict[tuple[str, str], _Part](), set[str]()
        self._lock, self._usual = threading.Lock(), 0

    @property
    def nbytes(self) -> int:
        """The bytes that are held."""
        return self._bytes

    def is_numbered(self, chunk: str) -> bool:
        """Tell whether the homes and kinds of a chunk have their numbers."""
        return chunk in self._numbered

    def is_crowded(self) -> bool:
        """Tell whether so many names have come since it was new that a new one should take its place: most may be of no use."""
        count = len(self.names.homes) + len(self.names.kinds)
        self._usual = self._usual or count
        return count > 2 * self._usual + _NAMES

    def find(self, chunk: str, part: str) -> _Part | None:
        """Find a part of a chunk, if it is held."""
        with self._lock:
            if (found := self._parts.get((chunk, part))) is not None:
                self._parts.move_to_end((chunk, part))
            return found

    def put(self, chunk: str, part: str, held: _Part) -> None:
        """Hold a part of a chunk. Those go that were used longest ago, once there are too many bytes."""
        with self._lock:
            self._numbered.add(chunk)
            self._drop((chunk, part))
            self._parts[chunk, part] = held
            self._bytes += held.nbytes
            while self._bytes > self._most_bytes and len(self._parts) > 1:
                self._drop(next(iter(self._parts)))

    def keep(self, chunks: Collection[str]) -> None:
        """Let go of all chunks but some."""
        with self._lock:
            self._numbered.intersection_update(chunks)
            for name in [name for name in self._parts if name[0] not in chunks]:
                self._drop(name)

    def _drop(self, name: tuple[str, str]) -> None:
        if (part := self._parts.pop(name, None)) is not None:
            self._bytes -= part.nbytes


class HeldChunk:
    """Gives the parts of one chunk: those that are held, or made again. make: makes it, and may raise."""

    def __init__(self, shelf: Shelf, name: str, make: Callable[[], Chunk]) -> None:
        self.name, self._shelf, self._make = name, shelf, make

    def number(self) -> None:
        """Have its homes and kinds numbered."""
        if not self._shelf.is_numbered(self.name):
            self.outline()

    def outline(self) -> Outline:
        return cast(Outline, self._part("outline"))

    def detail(self) -> Detail:
        return cast(Detail, self._part("detail"))

    def ends(self) -> Ends:
        return cast(Ends, self._part("ends"))

    def _part(self, part: str) -> _Part:
        if (found := self._shelf.find(self.name, part)) is not None:
            return found
        with self._shelf.making:
            if (found := self._shelf.find(self.name, part)) is not None:
                return found
            made = self._make()
            parts: dict[str, _Part] = {"outline": made.outline, "detail": made.detail, "ends": made.ends}
            for name in {"outline", "detail", part}:
                self._shelf.put(self.name, name, parts[name])
            return parts[part]


class MadeChunk(HeldChunk):
    """Gives the parts of a chunk that is made for one question."""

    def __init__(self, chunk: Chunk) -> None:
        self._parts: dict[str, _Part] = {"outline": chunk.outline, "detail": chunk.detail, "ends": chunk.ends}

    def number(self) -> None:
        """Do nothing: they are numbered."""

    def _part(self, part: str) -> _Part:
        return self._parts[part]

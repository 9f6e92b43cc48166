"""Catalogues: which things of one kind exist, and which were deleted and still have bytes.

A catalogue has a space in the state store, and each thing has a space of its own. The life of a thing:

1. Created. First come the marks in its own space: every commit to the thing expects the version of one of them. Then comes its
   document in the catalogue, on condition that the name is free. So a thing that can be found can be written to. If the name
   was taken, the marks go again.
2. Found, by its document. A process may remember what it found: the marks tell a commit whether it is still there.
3. Deleted. One commit replaces its document with a tombstone, `gone/<key>`. Nobody finds it from now on, and its name is free:
   another thing of that name has another key, and so another space.
4. Noted, for backups that still have it, and closed to writers. The marks go, so that no commit of a process that found it
   before passes. The deletion may have died before this step; so the purge repeats it.
5. Purged. The chores remove its bytes, wherever they are, and the tombstone last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from backends.ports import Change, Document, Put, StateStore
from smarthouse_api.coordination.notes import Notes, digest_of
from smarthouse_api.coordination.retries import until_settled

_TOMBSTONES = "gone/"


class Tombstone(Protocol):
    """Marks a thing as deleted until its bytes are purged. key: the thing's, which no other has. space: its own."""

    @property
    def key(self) -> str: ...

    @property
    def space(self) -> str: ...


Thing = TypeVar("Thing")
Deleted = TypeVar("Deleted", bound=Tombstone)


class CatalogueLayout(NamedTuple):
    """Says where a catalogue stores its things, in its `space`, under names that begin with `documents`.

    marks: the names of the documents that stand for a thing in its own space. thing: its name in messages.
    """

    space: str
    documents: str
    marks: tuple[str, ...]
    thing: str


class Catalogue(ABC, Generic[Thing, Deleted]):
    """Keeps track of the things of one kind: which exist, and which were deleted and are not purged yet.

    A subclass adds how a thing is created and found.
    """

    def __init__(self, state: StateStore, notes: Notes, layout: CatalogueLayout, tombstone: Callable[[bytes], Deleted]) -> None:
        self._state, self._notes, self._layout, self._tombstone = state, notes, layout, tombstone

    @abstractmethod
    def _read(self, name: str, document: Document) -> Thing:
        """Read the thing that a document of this name stands for."""

    def everything(self) -> Iterator[Thing]:
        """List all things, by the names of their documents."""
        for name, document in self._state.scan_all(self._layout.space, self._layout.documents):
            yield self._read(name, document)

    def is_empty(self) -> bool:
        """Tell whether there is no thing."""
        return not self._state.scan(self._layout.space, self._layout.documents, limit=1)

    def tombstones(self) -> list[Deleted]:
        """List the tombstones of all that was deleted and is not purged yet."""
        found = self._state.scan_all(self._layout.space, _TOMBSTONES)
        return [self._tombstone(document.value) for _, document in found]

    def close_to_writers(self, space: str) -> None:
        """Let no commit to the thing with this space pass any more. Repeatable."""
        self._state.commit(space, Change(deletes=self._layout.marks))

    def remove_tombstone(self, tombstone: Deleted) -> None:
        """Forget a deleted thing, once nothing can be left of it but its note."""
        self._notes.leave([digest_of(tombstone.key)], is_home=False)
        self._state.commit(self._layout.space, Change(deletes=(name_of(tombstone),)))

    def _delete(self, attempt: Callable[[], Deleted]) -> Deleted:
        """Delete a thing, note it and close it to writers.

        attempt: finds and buries it; raises `Conflict` if it changed meanwhile.
        """
        deleted = until_settled(attempt, self._layout.thing)
        self._notes.leave([digest_of(deleted.key)], is_home=False)
        self.close_to_writers(deleted.space)
        return deleted

    def _bury(self, tombstones: Iterable[Deleted], versions: dict[str, int], others: Iterable[str] = ()) -> None:
        """Replace things with their tombstones. versions: of their documents. others: documents that go with them.

        Raises `Conflict` when one of them was changed meanwhile.
        """
        change = Change(expect=versions, puts=tuple(map(_put, tombstones)), deletes=(*versions, *others))
        self._state.commit(self._layout.space, change)


def name_of(tombstone: Tombstone) -> str:
    """Name the tombstone's document."""
    return f"{_TOMBSTONES}{tombstone.key}"


def _put(tombstone: Tombstone) -> Put:
    return Put(name_of(tombstone), msgspec.json.encode(tombstone))

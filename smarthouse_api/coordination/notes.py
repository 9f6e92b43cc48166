"""Notes: what was deleted for good, so that a restored backup does not bring it back.

A note is the empty object `forgotten/<digest>`, and a document of the state store's space `notes`. What one store loses, the
other still has: `restore` and the list of what was forgotten use both. Builds before 0.3 left only the objects. The document is
written first, with `begun` until the object is there: a state without the document is older than the object. Then it is
empty, or says `lesser` if the note is of a stream or a collection.

The digest is of something random that was deleted too. So it names nobody:

| deleted | digest of |
|---|---|
| a home, a collection, a stream | its internal key |
| an API key | `key/` and its id |
| a key's secret, by a rotation | `secret/` and the digest that was stored of it |
| a home's assignment to a project | `assigned/` and the assignment's id |
| a link between homes | `link/` and the link's id |
| a key that signs receipts of erasure, by a rotation | `signing/` and its id |
| a collection's alias or openness | `right/`, which one, and its id |

Two are of nothing random, but of a month, which tells nothing that is not published: `released/<month>` is left of a release
that was made, which is not made again, and `withdrawn/<month>` of one whose file was removed.

The note of an objection is read for itself, and may be withdrawn. Its digest is of `objection/` and the tag of the home's UUID.
Until the object is gone, the document says `withdrawn`; then there is none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from backends.ports import Change, Conflict, NoSuchObject, ObjectDamaged, ObjectStore, StateStore
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS

_NOTES: Final = "forgotten/"
_SPACE: Final = "notes"
_BEGUN: Final = b"begun"
_LESSER: Final = b"lesser"
_WITHDRAWN: Final = b"withdrawn"
_DIGEST: Final = re.compile("[0-9a-f]{64}", re.ASCII)
_MISSING: Final = (
    "this note is missing: a backup of the objects would bring back what was deleted for good; the service leaves it again"
    " within a day"
)


class Notes:
    """Leaves a note of each thing that is deleted for good, and lists them all."""

    def __init__(self, state: StateStore, objects: ObjectStore) -> None:
        self._state, self._objects = state, objects

    def leave(self, digests: Iterable[str], *, is_home: bool = True) -> None:
        """Leave a note for each digest, before the deletion is answered. Repeatable.

        is_home: a home's, so that no file of the state store holds a byte of it once it is purged.
        """
        for digest in digests:
            self._state.put(_SPACE, digest, _BEGUN, ttl_seconds=FOR_GOOD_SECONDS)
            self._objects.put(f"{_NOTES}{digest}", [b""])
            self._state.put(_SPACE, digest, b"" if is_home else _LESSER, ttl_seconds=FOR_GOOD_SECONDS)

    def is_left(self, digest: str) -> bool:
        """Tell whether there is a note, in either store."""
        if (found := self._state.get(_SPACE, digest)) is not None:
            return found.value != _WITHDRAWN
        try:
            self._objects.get(f"{_NOTES}{digest}")
        except ObjectDamaged:
            return True
        except NoSuchObject:
            return False
        return True

    def withdraw(self, digest: str) -> None:
        """Remove a note of what may be again. Repeatable."""
        version = self._state.put(_SPACE, digest, _WITHDRAWN, ttl_seconds=FOR_GOOD_SECONDS)
        self._objects.delete([f"{_NOTES}{digest}"])
        with suppress(Conflict):  # it was left again meanwhile: then `mend` writes the object
            self._state.commit(_SPACE, Change({digest: version}, deletes=(digest,)))

    def left(self) -> set[str]:
        """List the digests of all that was ever deleted for good."""
        return self.in_state() | (self.in_objects() - self._withdrawn())

    def problems(self) -> Iterator[Problem]:
        """List the notes whose object is missing, and the objects that are no notes."""
        found = self._state.scan_all(_SPACE, "")  # first: a note's object is there before its document says so
        noted = {digest for digest, document in found if document.value not in (_BEGUN, _WITHDRAWN)}
        there = {info.key: info.size_bytes for info in self._objects.list(_NOTES)}
        for digest in sorted(noted):
            if f"{_NOTES}{digest}" not in there:
                yield Problem("objects", f"{_NOTES}{digest}", None, _MISSING)
        for name, size_bytes in there.items():
            if size_bytes or not _DIGEST.fullmatch(name.removeprefix(_NOTES)):
                yield Problem("objects", name, None, "this is no note of something forgotten")

    def mend(self) -> None:
        """Leave each note in both stores, if one of them has lost it or an earlier version wrote it."""
        for digest in self._withdrawn():
            self.withdraw(digest)
        noted, there = self.in_state(), self.in_objects()
        self.leave(sorted(noted ^ there))

    def lesser(self) -> set[str]:
        """List the digests of streams and collections, whose bytes may stay in the state store's files until a home is erased.

        Notes that an earlier version left, or that were left again, are not told apart from those of homes.
        """
        return {digest for digest, document in self._state.scan_all(_SPACE, "") if document.value == _LESSER}

    def in_state(self) -> set[str]:
        """List the digests that the state store has a document of."""
        return {digest for digest, document in self._state.scan_all(_SPACE, "") if document.value != _WITHDRAWN}

    def _withdrawn(self) -> set[str]:
        return {digest for digest, document in self._state.scan_all(_SPACE, "") if document.value == _WITHDRAWN}

    def in_objects(self) -> set[str]:
        """List the digests that the object store has an object of."""
        names = (info.key.removeprefix(_NOTES) for info in self._objects.list(_NOTES))
        return {name for name in names if _DIGEST.fullmatch(name)}


def digest_of(deleted: str) -> str:
    """Name the note of a deleted thing. deleted: its internal key, or what the table above says."""
    return hashlib.sha256(deleted.encode()).hexdigest()

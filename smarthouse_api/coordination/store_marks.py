"""What each of the two stores says of itself: its installation, its format, and whether it is held back.

The state store says so in documents of the space `installation`, the object store in objects below `installation/`:

    id        the installation's id, 32 hexadecimal digits, random
    format    see `smarthouse_api.coordination.store_agreement`; in the object store with its CRC-32, from format 5 on
    held      why nobody may serve it now, such as a restoring that has not ended
"""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from backends.ports import (
    ABSENT,
    Change,
    NoSuchObject,
    ObjectInfo,
    ObjectStore,
    PartDamaged,
    Put,
    StateStore,
    StoreDamaged,
)

SPACE: Final = "installation"
FOLDER: Final = "installation/"
UNNUMBERED: Final = 1
"""The format of stores without a number."""

_ID = re.compile("[0-9a-f]{32}", re.ASCII)
_FLIPPED_DIGITS: Final = 2
_NUMBER = re.compile(rb"[1-9][0-9]{0,8}")
_SUMMED: Final = 5
"""From this format on, the object store's number has a checksum: no single bit makes one number another."""

_MARKS: Final = ("id", "format", "held")
_OF_THE_KEYRING: Final = "secret"
_ILLEGIBLE: Final = (
    "the document `installation/secret` of the state store is damaged: it names every home, so that nothing can be answered;"
    " restore a backup"
)

SPACES: Final = ("access", "homes", "streams", "collections")
"""The spaces of what clients and operators stored. A state store that has nothing there is empty."""

TABLES: Final = ("states", "statistics", "collections")
"""The tables of the lake. `ObjectStore.list` shows no file of a table."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Holds the marks of one store. None: it does not bear that mark. is_garbled: its number is damaged."""

    id: str | None
    number: int | None
    held: str | None
    is_garbled: bool = False

    @property
    def format(self) -> int:
        return UNNUMBERED if self.number is None else self.number

    @property
    def has_id(self) -> bool:
        return self.id is not None and _ID.fullmatch(self.id) is not None

    def beside(self, state: Marks) -> Marks:
        """Return these marks of an object store; its id is damaged if only a digit or two differ from the state store's.

        No two installations have ids so alike, and the state store's documents have checksums.
        """
        if self.id is None or state.id is None or len(self.id) != len(state.id):
            return self
        differing = sum(one != other for one, other in zip(self.id, state.id, strict=True))
        return replace(self, id="") if 0 < differing <= _FLIPPED_DIGITS else self


def _marks(id_: bytes | None, number: bytes | None, held: bytes | None) -> Marks:
    its_id, why = (None if value is None else value.decode(errors="replace") for value in (id_, held))
    told = None if number is None else _number(number)
    return Marks(its_id, told, why, is_garbled=number is not None and told is None)


def _number(value: bytes) -> int | None:
    """Read a format's number; None if it is damaged."""
    return int(value) if _NUMBER.fullmatch(value) else None


def _with_sum(number: int) -> bytes:
    """Write a format's number for the object store."""
    told = b"%d" % number
    return told if number < _SUMMED else b"%s %08x" % (told, zlib.crc32(told))


def _without_sum(value: bytes | None) -> bytes | None:
    """Return the number of the object store's mark; nothing at all if it is damaged."""
    told = None if value is None else value.partition(b" ")[0]
    return b"" if told is not None and ((number := _number(told)) is None or _with_sum(number) != value) else told


class StateMarks:
    """Reads and writes the marks of a state store."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def read(self) -> Marks:
        """Read the marks. Raises `StoreDamaged` if the secret is damaged, from which every pseudonym is made."""
        try:
            found = self._state.get_many(SPACE, (*_MARKS, _OF_THE_KEYRING))
        except PartDamaged:
            marks = _marks(*(self._found(name)[0] for name in _MARKS))
            try:
                self._state.get(SPACE, _OF_THE_KEYRING)
            except PartDamaged:
                raise StoreDamaged(_ILLEGIBLE) from None
            return marks
        return _marks(*(None if document is None else document.value for document in found[:-1]))

    def id(self) -> str | None:
        """Return the id; nothing at all if it is damaged."""
        found, _ = self._found("id")
        return None if found is None else found.decode(errors="replace")

    def put_id(self, id_: str, number: int, *, if_absent: bool = True) -> None:
        """Mark a store. if_absent: raise `Conflict` if it has borne an id meanwhile. Raises it for another number, too."""
        found, expected = self._found("format")
        if (_number(found or b"") or 0) > number:
            return  # a newer version has just taken it over: the next look says so
        if if_absent:
            expected["id"] = ABSENT
        self._state.commit(SPACE, Change(expected, (Put("id", id_.encode()), Put("format", b"%d" % number))))

    def put_number(self, number: int) -> None:
        """Raise the format number. Raises `Conflict` if another process does so."""
        found, expected = self._found("format")
        if (_number(found or b"") or 0) < number:
            self._state.commit(SPACE, Change(expected, (Put("format", b"%d" % number),)))

    def hold(self, reason: str | None) -> None:
        """Put the mark `held`, or remove it."""
        put = Change(deletes=("held",)) if reason is None else Change(puts=(Put("held", reason.encode()),))
        self._state.commit(SPACE, put)

    def is_empty(self) -> bool:
        """Tell whether nobody has stored anything there yet. Marks and leases do not count."""
        try:
            return self._state.get(SPACE, _OF_THE_KEYRING) is None and not any(
                self._state.scan(space, limit=1) for space in SPACES
            )
        except PartDamaged:
            return False

    def _found(self, name: str) -> tuple[bytes | None, dict[str, int]]:
        """Find a mark, and what a commit must expect that replaces it. A damaged one is empty, and replaced in any case."""
        try:
            found = self._state.get(SPACE, name)
        except PartDamaged:
            return b"", {}
        return (None, {name: ABSENT}) if found is None else (found.value, {name: found.version})


class ObjectMarks:
    """Reads and writes the marks of an object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._read: tuple[list[ObjectInfo], Marks] | None = None

    def read(self) -> Marks:
        """Read the marks. A list of them tells whether any has changed since they were last read: that is one request."""
        listed = [info for info in self._objects.list(FOLDER) if info.key.removeprefix(FOLDER) in _MARKS]
        if self._read is None or self._read[0] != listed:
            there = {info.key.removeprefix(FOLDER) for info in listed}
            id_, number, held = (self._get(name) if name in there else None for name in _MARKS)
            marks = _marks(id_, _without_sum(number), held)
            self._read = listed, marks
        return self._read[1]

    def put_id(self, id_: str, *, if_absent: bool) -> None:
        """Mark the store with an id. if_absent: raise `Conflict` if it bears one by now."""
        self._objects.put(f"{FOLDER}id", [id_.encode()], if_absent=if_absent)

    def put_number(self, number: int) -> None:
        self._objects.put(f"{FOLDER}format", [_with_sum(number)])

    def hold(self, reason: str | None) -> None:
        """Put the mark `held`, or remove it."""
        if reason is None:
            self._objects.delete([f"{FOLDER}held"])
        else:
            self._objects.put(f"{FOLDER}held", [reason.encode()])

    def is_empty(self) -> bool:
        """Tell whether there are no objects except marks, and no tables."""
        if any(not info.key.startswith(FOLDER) for info in self._objects.list()):
            return False
        return not any(True for table in TABLES for _ in self._objects.list_table(table))

    def missing(self) -> str | None:
        """Say in words that the store's place does not exist; None if it does."""
        return self._objects.missing()

    def _get(self, name: str) -> bytes | None:
        with suppress(NoSuchObject):
            return self._objects.get(FOLDER + name)
        return None

"""What each of the two stores says of itself: its installation, its format, and whether it is held back.

The state store says so in documents of the space `installation`, the object store in objects below `installation/`:

    id        the installation's id, 32 hexadecimal digits, random
    format    see `smarthouse_api.coordination.store_agreement`
    held      why nobody may serve it now, such as a restoring that has not ended
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from backends.ports import ABSENT, Change, NoSuchObject, ObjectInfo, ObjectStore, Put, StateStore

SPACE: Final = "installation"
FOLDER: Final = "installation/"
UNNUMBERED: Final = 1
"""The format of stores without a number."""

_ID = re.compile("[0-9a-f]{32}", re.ASCII)
_NUMBER = re.compile(rb"[1-9][0-9]{0,8}")

SPACES: Final = ("access", "homes", "streams", "collections")
"""The spaces of what clients and operators stored. A state store that has nothing there is empty."""

TABLES: Final = ("states", "statistics", "collections")
"""The tables of the lake. `ObjectStore.list` shows no file of a table."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Holds the marks of one store. None: it does not bear that mark. is_garbled: its number is no number."""

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


def _marks(id_: bytes | None, number: bytes | None, held: bytes | None) -> Marks:
    its_id, why = (None if value is None else value.decode(errors="replace") for value in (id_, held))
    told = None if number is None else _number(number)
    return Marks(its_id, told, why, is_garbled=number is not None and told is None)


def _number(value: bytes) -> int | None:
    """Read a format's number; None if it is damaged."""
    return int(value) if _NUMBER.fullmatch(value) else None


class StateMarks:
    """Reads and writes the marks of a state store."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def read(self) -> Marks:
        found = self._state.get_many(SPACE, ("id", "format", "held"))
        return _marks(*(None if document is None else document.value for document in found))

    def id(self) -> str | None:
        found = self._state.get(SPACE, "id")
        return None if found is None else found.value.decode()

    def put_id(self, id_: str, number: int) -> None:
        """Mark a store that bears no id. Raises `Conflict` if it has borne one or another number meanwhile."""
        found = self._state.get(SPACE, "format")
        if found is not None and (_number(found.value) or 0) > number:
            return  # a newer version has just taken it over: the next look says so
        expected = {"id": ABSENT, "format": ABSENT if found is None else found.version}
        self._state.commit(SPACE, Change(expected, (Put("id", id_.encode()), Put("format", b"%d" % number))))

    def put_number(self, number: int) -> None:
        """Raise the format number. Raises `Conflict` if another process does so."""
        found = self._state.get(SPACE, "format")
        if found is None or (_number(found.value) or 0) < number:
            self._state.put(SPACE, "format", b"%d" % number, expect=ABSENT if found is None else found.version)

    def hold(self, reason: str | None) -> None:
        """Put the mark `held`, or remove it."""
        put = Change(deletes=("held",)) if reason is None else Change(puts=(Put("held", reason.encode()),))
        self._state.commit(SPACE, put)

    def is_empty(self) -> bool:
        """Tell whether nobody has stored anything there yet. Marks and leases do not count."""
        return self._state.get(SPACE, "secret") is None and not any(self._state.scan(space, limit=1) for space in SPACES)


class ObjectMarks:
    """Reads and writes the marks of an object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._read: tuple[list[ObjectInfo], Marks] | None = None

    def read(self) -> Marks:
        """Read the marks. A list of them tells whether any has changed since they were last read: that is one request."""
        listed = list(self._objects.list(FOLDER))
        if self._read is None or self._read[0] != listed:
            there = {info.key.removeprefix(FOLDER) for info in listed}
            marks = _marks(*(self._get(name) if name in there else None for name in ("id", "format", "held")))
            self._read = listed, marks
        return self._read[1]

    def put_id(self, id_: str, *, if_absent: bool) -> None:
        """Mark the store with an id. if_absent: raise `Conflict` if it bears one by now."""
        self._objects.put(f"{FOLDER}id", [id_.encode()], if_absent=if_absent)

    def put_number(self, number: int) -> None:
        self._objects.put(f"{FOLDER}format", [b"%d" % number])

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

    def _get(self, name: str) -> bytes | None:
        with suppress(NoSuchObject):
            return self._objects.get(FOLDER + name)
        return None

"""Projects: which homes of the Stream Data Store belong to which. In the state store, space `access`:

    home/<home id>      the project that the home is assigned to
    assigned/<home id>  the random id of this assignment; earlier versions wrote none

A project's keys open its homes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Final

from backends.ports import ABSENT, Change, Conflict, Document, Put, StateStore
from smarthouse_api.coordination.keyring import SPACE as INSTALLATION
from smarthouse_api.coordination.notes import Notes, digest_of
from smarthouse_api.errors import Invalid

SPACE = "access"
LARGEST_HOME: Final = 2**63 - 1
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,100}")


class Projects:
    """Assigns homes to projects. A project that loses a home does not get it back from a backup."""

    def __init__(self, state: StateStore, notes: Notes) -> None:
        self._state, self._notes = state, notes

    def of(self, home_id: int) -> str | None:
        """Return the home's project; None if it has none."""
        found = self._state.get(SPACE, f"home/{home_id}") if 0 <= home_id <= LARGEST_HOME else None
        return None if found is None else found.value.decode()

    def assign(self, home_ids: Iterable[int], project: str | None) -> None:
        """Assign homes to a project, or with None to no project: all of them, or after a fault none. Raises `Invalid`."""
        ids = sorted({home_in(one) for one in home_ids})
        value = None if project is None else name_in(project, "project").encode()
        while True:
            found = self._state.get_many(SPACE, [f"home/{one}" for one in ids])
            moved = {one: document for one, document in zip(ids, found, strict=True) if not document or document.value != value}
            self._notes.leave(self._note_of_assignment(one, document) for one, document in moved.items() if document)
            expect = {f"home/{one}": document.version if document else ABSENT for one, document in moved.items()}
            names = tuple(f"{kind}/{one}" for one in moved for kind in ("home", "assigned"))
            with suppress(Conflict):
                if value is None:
                    self._state.commit(SPACE, Change(expect=expect, deletes=names))
                else:
                    puts = (Put(name, value if name.startswith("home/") else _random()) for name in names)
                    self._state.commit(SPACE, Change(expect=expect, puts=tuple(puts)))
                return

    def assignments(self) -> dict[int, str]:
        """List the homes that have a project: home id -> project, by home id."""
        found = self._state.scan_all(SPACE, "home/")
        return dict(sorted((int(name.partition("/")[2]), document.value.decode()) for name, document in found))

    def unassign_noted(self, noted: Collection[str]) -> int:
        """Take homes again from the projects that lost them after a backup; how many."""
        found = self._state.scan_all(SPACE, "home/")
        homes = ((int(name.partition("/")[2]), document) for name, document in found)
        again = [one for one, document in homes if self._note_of_assignment(one, document) in noted]
        if again:
            self.assign(again, None)
        return len(again)

    def digests(self) -> Iterator[str]:
        """Name the notes that ending all assignments would leave."""
        for name, document in self._state.scan_all(SPACE, "home/"):
            yield self._note_of_assignment(int(name.partition("/")[2]), document)

    def _note_of_assignment(self, home_id: int, document: Document) -> str:
        """Name the note of a home that was taken from its project."""
        if (assigned := self._state.get(SPACE, f"assigned/{home_id}")) is not None:
            return digest_of(f"assigned/{assigned.value.decode()}")
        secret = self._state.get(INSTALLATION, "secret")  # of an earlier version: nobody may guess the digest
        return digest_of(f"assigned/{home_id}/{document.version}/{secret.value.hex() if secret else ''}")


def name_in(given: str, what: str) -> str:
    """Check a name. Raises `Invalid`, which says what it names."""
    if not _NAME.fullmatch(given) or not given.strip():
        raise Invalid(f"The {what} must be 1 to 100 characters, not all of them blank, without control characters")
    return given


def home_in(home_id: int) -> int:
    """Check a home's id. Raises `Invalid`."""
    if not 0 <= home_id <= LARGEST_HOME:
        raise Invalid(f"The id of a home must be an integer from 0 to {LARGEST_HOME}")
    return home_id


def _random() -> bytes:
    return secrets.token_hex(16).encode()

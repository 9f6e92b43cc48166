"""Damaged documents and entries of the state store: found when they are read, noted, and told until they are mended.

Nothing reads around them: what needs one is answered with 503. A note bears the part's name: `documents/homes/kept-in-all`.
What can be made again is, see `smarthouse_api.coordination.mending`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from backends.parts import name_sum
from backends.ports import KeepsSums, Part, PartDamaged, StateStore
from smarthouse_api.coordination.damage import DOCUMENTS, Damages, Problem
from smarthouse_api.errors import Unavailable

_WHAT: Final = (
    "its checksum is wrong, and whatever needs it is answered with 503; `smarthouse rebuild` makes it again if it can; else"
    " restore a backup"
)
_MOST_READ: Final = 1000
_LONGEST_NAME: Final = 500
_SHORTENED: Final = 100


class StateDamage:
    """Finds, notes and counts the damaged parts of the state store."""

    def __init__(self, state: StateStore) -> None:
        self._state, self._damages = state, Damages(state)

    def find(self) -> Iterator[Problem]:
        """Read all documents and entries, and note each damaged one. Notes of others go."""
        if isinstance(self._state, KeepsSums):
            with suppress(PartDamaged):  # a note of one: it is found, too
                self._clear_mended()
            for part in self._state.look_through():
                yield self._noted(part)

    def condition(self) -> str:
        """Give a line for readiness. Raises `Unavailable`, which is a warning, if a part is damaged."""
        if isinstance(self._state, KeepsSums):
            self._note_met()
            if count := self._clear_mended():
                many = f"{count} or more" if count == _MOST_READ else str(count)
                raise Unavailable(
                    f"documents and log entries of the state store that are damaged: {many}; requests that need them are"
                    " answered with 503; `smarthouse verify` names them; the service makes again what it can; for the others"
                    " restore a backup"
                )
        return "none is known to be damaged"

    def note(self, part: Part) -> None:
        """Note that a part is damaged, though it was done without."""
        self._noted(part)

    def known(self) -> list[Part]:
        """List the parts that are known to be damaged, and that still are. A damaged note comes alone, before all else."""
        if not isinstance(self._state, KeepsSums):
            return []
        try:
            self._note_met()
            self._clear_mended()
            return [problem.part for _, problem in self._damages.names(DOCUMENTS, _MOST_READ) if problem.part is not None]
        except PartDamaged as fault:
            return [fault.part]

    def _note_met(self) -> None:
        if isinstance(self._state, KeepsSums):
            for part in self._state.damaged():
                self._noted(part)

    def _noted(self, part: Part) -> Problem:
        name = f"{DOCUMENTS}{part.full_name}"
        if len(name.encode()) > _LONGEST_NAME:  # the name of a note has a bound, too
            name = f"{name[:_SHORTENED]}… {name_sum(part.space, part.name)} {part.sequence or ''}".rstrip()
        problem = Problem("state", name, None, _WHAT, part=part)
        self._damages.note(problem)
        return problem

    def _clear_mended(self) -> int:
        """Read what is noted once more, and remove the notes of what is whole or gone; how many are left."""
        count = 0
        for name, problem in self._damages.names(DOCUMENTS, _MOST_READ):
            if problem.part is not None and self._is_damaged(problem.part):
                count += 1
            else:
                self._damages.clear(name)
        return count

    def _is_damaged(self, part: Part) -> bool:
        try:
            if part.sequence is None:
                self._state.get(part.space, part.name)
            else:
                self._state.read(part.space, part.name, part.sequence - 1, 1)
        except (PartDamaged, ValueError):  # or its name is damaged
            return True
        return False

"""On which days homes have rows that are about to be forgotten: readers of other days need not be broken off.

1. The days are looked for before a home is hidden, again before its readers are broken off, and before its rows are deleted,
   once no row of it can be added any more. What was found before is kept: rows that a dead purge has deleted were there.
2. If nothing is noted of a home, or nobody can tell, its rows may be of any day.
3. A row that left the lake without being forgotten may be in an older snapshot. While rows are made again, or lost, nobody can
   tell. Days that the lake does not keep any more are none that a reader is spared for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from backends.ports import Change, Conflict, Put, StateStore, StoreError
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.lake.sparing import HeldRows, decoded_held, encoded_held, joined
from smarthouse_api.states.homes import SPACE, Home
from smarthouse_api.states.homes_table import HomesTable


class HeldDays:
    """Notes them in the state store. is_mending: tells whether rows of the lake are being made again."""

    def __init__(self, state: StateStore, tables: Sequence[HomesTable], is_mending: Callable[[], bool]) -> None:
        self._state, self._tables, self._is_mending = state, tables, is_mending

    def note_home(self, home: Home) -> None:
        """Look on which days a home has rows that is about to be hidden."""
        with suppress(Conflict):  # it is hidden already
            self._note({home.key: (home.name, home.version)})

    def note(self, homes: Collection[str]) -> None:
        """Look on which days hidden homes have rows now, and note it beside what was noted before. homes: internal keys."""
        while True:
            names = [f"forgotten/{home}" for home in sorted(homes)]
            there = zip(names, self._state.get_many(SPACE, names), strict=True)
            guards = {name.partition("/")[2]: (name, found.version) for name, found in there if found is not None}
            with suppress(Conflict):  # some were purged meanwhile
                self._note(guards)
                return

    def _note(self, guards: Mapping[str, tuple[str, int]]) -> None:
        """Note it of some homes, each with a document that must not change meanwhile: no trace of a purged home comes back."""
        if not guards:
            return
        found, names = self._found(list(guards)), [f"held/{home}" for home in guards]
        puts = list[Put]()
        for name, before in zip(names, self._state.get_many(SPACE, names), strict=True):
            held = found.get(name.partition("/")[2], {})
            held = held if before is None else joined(held, decoded_held(before.value))
            # It expires in the end: a full store takes only what expires, and forgetting makes room.
            puts.append(Put(name, encoded_held(held), FOR_GOOD_SECONDS))
        self._state.commit(SPACE, Change(expect=dict(guards.values()), puts=tuple(puts)))

    def _found(self, homes: Collection[str]) -> dict[str, dict[str, HeldRows]]:
        held = dict[str, dict[str, HeldRows]]()
        try:
            for table in self._tables:
                for home, rows in (table.held_by(homes) or {}).items():
                    held.setdefault(home, {})[table.name] = rows
        except StoreError:  # a damaged file keeps no home from being forgotten
            return {}
        return {} if self._is_mending() else held  # asked last: files may have been set aside meanwhile

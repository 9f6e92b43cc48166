"""Gives each row the id that its entity had when it was recorded. So a row has one id, whenever and however often it is sent.

Home Assistant moves the rows of an entity that is renamed to its new id. A service takes them for rows of another entity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeassistant.core import HomeAssistant, callback

from .reading import has_states

MOST: Final = 1000
"""How many renames are remembered, the newest ones."""


@dataclass
class Rename:
    """Says that an entity got another id. at: when; seconds since 1970. is_checked: whether its rows were moved, too."""

    old: str
    new: str
    at: float
    is_checked: bool = False


class Names:
    """Tells what entities were called."""

    def __init__(self, renames: Iterable[Rename]) -> None:
        self._newest_first = list(reversed(list(renames)))
        self._changed = frozenset(rename.new for rename in self._newest_first)

    def at(self, entity_id: str, moment: float) -> str:
        """Return the id that the entity of a row had at a moment, in seconds since 1970. entity_id: its id now."""
        if entity_id not in self._changed:
            return entity_id
        for rename in self._newest_first:
            if rename.new == entity_id and moment < rename.at:
                entity_id = rename.old
        return entity_id


@callback
def is_rename(data: Mapping[str, Any]) -> bool:
    """Tell whether a change of the entity registry gives an entity another id."""
    return data["action"] == "update" and "old_entity_id" in data


def checked(hass: HomeAssistant, renames: list[Rename]) -> list[Rename]:
    """Return the renames without those whose rows were not moved. It asks the recorder: call it in its executor.

    The recorder moves no rows to an id that has some already, of an entity that is gone. Then the old id still has its own.
    """
    kept = []
    for place, rename in enumerate(renames):
        is_used_again = any(later.new == rename.old for later in renames[place + 1 :])
        if rename.is_checked or is_used_again or not has_states(hass, rename.old, rename.at):
            kept.append(Rename(rename.old, rename.new, rename.at, is_checked=True))
    return kept


def reopened(after: str, old: str, new: str) -> str:
    """Return up to which entity all is sent, now that one is renamed.

    after: likewise, before that. If the entity was still to come under its old id, it is to come under its new one.
    """
    return new[:-1] if old > after >= new else after

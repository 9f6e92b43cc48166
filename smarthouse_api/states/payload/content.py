"""The content of one body, as every shape of it is read into: states, statistics, and what gave no record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

from config.groups import RequestSettings
from smarthouse_api.errors import TooLarge

ABSENT: Final = msgspec.Raw(b"{}")
"""The attributes of a state that has no such member; known by its identity."""


class State(msgspec.Struct, gc=False):
    """Holds a state, with its attributes still as JSON.

    A time is text as it was sent; of a number, its digits. See `times` for what can be read.
    """

    state: str
    entity_id: str | None = None
    attributes: msgspec.Raw = ABSENT
    last_changed: str | None = None
    last_updated: str | None = None


class Statistic(msgspec.Struct, gc=False):
    """Holds one period of Home Assistant's long-term statistics. period_seconds: None if only `start` and `end` tell it."""

    statistic_id: str
    start: str
    end: str | None = None
    mean: float | None = None
    min: float | None = None
    max: float | None = None
    state: float | None = None
    sum: float | None = None
    change: float | None = None
    unit: str | None = None
    last_reset: str | None = None
    period_seconds: int | None = None


class Reason(Enum):
    """Says in words why something gives no record: of one, and of several."""

    NO_STATE = ("value is no state", "values are no states")
    NO_ENTITY = ("state names no entity", "states name no entity")
    ATTRIBUTES = ("state has unreadable attributes", "states have unreadable attributes")
    REMOVED = ("message tells that an entity was removed", "messages tell that an entity was removed")
    NO_START = ("change has no earlier state to apply to", "changes have no earlier state to apply to")
    NO_LINE = ("line cannot be read", "lines cannot be read")

    def words(self, count: int) -> str:
        """The count with its words."""
        return f"{count} {self.value[count != 1]}"


class Content:
    """Collects what a body holds, within the limits.

    tells_clock: the times have the home's own offset even where that is zero, because no API of Home Assistant wrote them.
    is_repaired: the text holds the marks of `repair`. lines: the attributes of all
    states, a line for each, where they are known.
    """

    def __init__(self, settings: RequestSettings) -> None:
        self.settings = settings
        self.states: list[State] = []
        self.statistics: list[Statistic] = []
        self.ignored: Counter[Reason] = Counter()
        self.tells_clock = False
        self.lines: bytes | None = None
        self.is_repaired = False
        self._count = 0
        self._repeated_bytes = 0

    def add(self, states: Sequence[State]) -> None:
        """Take in states, each with its entity id. Raises `TooLarge`."""
        self.states.extend(states)
        self._grow(len(states))

    def add_statistic(self, statistic: Statistic) -> None:
        """Take in a statistic. Raises `TooLarge`."""
        self.statistics.append(statistic)
        self._grow(1)

    def ignore(self, reason: Reason, count: int = 1) -> None:
        """Count what gives no record. Raises `TooLarge`."""
        self.ignored[reason] += count
        self._grow(count)

    def repeat(self, size: int) -> None:
        """Count bytes that a state takes over from another place of the body. Raises `TooLarge`.

        Otherwise a short body could refer to one long text a million times.
        """
        self._repeated_bytes += size
        if self._repeated_bytes > self.settings.max_decoded_bytes:
            raise TooLarge(
                f"The entity ids and attributes that states share exceed {self.settings.max_decoded_bytes} bytes in all."
            )

    def check(self, count: int) -> None:
        """Raise `TooLarge` if a body of so many entries holds too many records."""
        if count > self.settings.max_records:
            raise TooLarge(f"The body holds more than {self.settings.max_records} records.")

    def _grow(self, count: int) -> None:
        self._count += count
        self.check(self._count)

"""One look for all who ask the same at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from smarthouse_api.errors import own_copy

Answer = TypeVar("Answer")


@dataclass
class _Flight(Generic[Answer]):
    """Those in this process who ask the same. asked: how many have; covered: how many of them had when the last look began."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    present: int = 0
    asked: int = 0
    covered: int = 0
    outcome: tuple[Answer] | Exception | None = None


class SingleFlight(Generic[Answer]):
    """Shares each look at a store among the threads of a process that wait for the same.

    A look counts only for those who had asked when it began, so that nobody is told what was true before he asked.
    """

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._flights: dict[str, _Flight[Answer]] = {}

    def ask(self, name: str, look: Callable[[], Answer]) -> Answer:
        """What `look` gives, or raises, for this caller, or gave or raised for another who asked for `name` meanwhile."""
        with self._gate:
            flight = self._flights.setdefault(name, _Flight())
            flight.present += 1
            flight.asked += 1
            mine = flight.asked
        try:
            with flight.turn:
                if flight.covered < mine:
                    asked = flight.asked
                    flight.outcome = _outcome(look)
                    flight.covered = asked
                outcome = flight.outcome
        finally:
            with self._gate:
                flight.present -= 1
                if not flight.present:
                    del self._flights[name]
        if isinstance(outcome, tuple):
            return outcome[0]
        assert outcome is not None
        raise own_copy(outcome)


def _outcome(look: Callable[[], Answer]) -> tuple[Answer] | Exception:
    try:
        return (look(),)
    except Exception as fault:  # whatever it is, it is raised to each who waits for it
        return fault

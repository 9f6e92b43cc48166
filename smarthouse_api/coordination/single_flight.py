"""Single flight: threads that ask for the same at once share one look at a store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from smarthouse_api.errors import own_copy

Answer = TypeVar("Answer")


@dataclass
class _Flight(Generic[Answer]):
    """Counts threads that ask for one thing. asked: how many have so far. covered: how many had when the last look began."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    present: int = 0
    asked: int = 0
    covered: int = 0
    outcome: tuple[Answer] | Exception | None = None


class SingleFlight(Generic[Answer]):
    """Spares a store repeated reads: threads that ask for the same thing at once share one look at it.

    A look counts only for threads that had asked when it began. So no thread gets an answer that is older than its question.
    """

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._flights: dict[str, _Flight[Answer]] = {}

    def ask(self, name: str, look: Callable[[], Answer]) -> Answer:
        """Return what `look` gives, or a look that another thread began for `name` meanwhile. Raises what that look raised."""
        with self._gate:
            flight = self._flights.setdefault(name, _Flight())
            flight.present += 1
            flight.asked += 1
            mine = flight.asked
        try:
            with flight.turn:
                if flight.covered < mine:
                    asked = flight.asked
                    try:
                        flight.outcome = (look(),)
                    except Exception as fault:  # any error goes to each thread that waits
                        flight.outcome = fault
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

"""Damage: what is wrong with a file of an installation, and the notes that keep it known until it is healed.

In the state store, space `damage`: a document for each damaged or missing file, under the file's name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from backends.parts import Part, without_ids
from backends.ports import ABSENT, Change, Conflict, StateStore
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.errors import Unavailable

DOCUMENTS: Final = "documents/"
"""What the names of damaged parts of the state store begin with; see `smarthouse_api.coordination.state_damage`."""

_SPACE: Final = "damage"
_MOST_TOLD: Final = 1000
_LONGEST_WAIT_SECONDS: Final = 3600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """Tells what is wrong with one thing that is kept.

    store: where it rests, `state`, `objects` or `lake`. name: of the file, object or document. home_key: the internal key of
    the home that it belongs to; None if it belongs to none, or to many. what: in words, without any client's text. is_lacking:
    whether its rows are missing from the lake. part: of the state store, if that is what is damaged.
    """

    store: str
    name: str
    home_key: str | None
    what: str
    is_lacking: bool = False
    part: Part | None = None

    @property
    def name_in_logs(self) -> str:
        """The name without the home's key, which no log holds."""
        if self.store == "state":
            return without_ids(self.name)
        return self.name if self.home_key is None else self.name.replace(f"{self.home_key}/", "")


class Backoff:
    """Says when this process looks again at a damaged file: after some time, then after twice as long, up to an hour."""

    def __init__(self) -> None:
        self._next = dict[str, tuple[float, float]]()

    def is_due(self, name: str, first_seconds: float) -> bool:
        """Return whether it is time to look at a file, and count that as a look.

        first_seconds: from the first to the second look.
        """
        at, wait = self._next.get(name, (0.0, 0.0))
        if (now := time.monotonic()) < at:
            return False
        wait = min(max(2 * wait, first_seconds), _LONGEST_WAIT_SECONDS)
        self._next[name] = now + wait, wait
        return True

    def forget_others(self, names: Collection[str], prefix: str = "") -> None:
        """Forget all files below a prefix except these."""
        for name in [name for name in self._next if name.startswith(prefix) and name not in names]:
            self._next.pop(name, None)


_problem = msgspec.json.Decoder(Problem).decode


class Damages:
    """Keeps notes of damaged and missing files, so that readiness tells of them until they are healed."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def note(self, problem: Problem) -> None:
        """Note a problem, and log it when it is new. Repeatable."""
        try:
            self._state.put(_SPACE, problem.name, msgspec.json.encode(problem), expect=ABSENT, ttl_seconds=FOR_GOOD_SECONDS)
        except Conflict:
            if problem.is_lacking:
                self._state.put(_SPACE, problem.name, msgspec.json.encode(problem), ttl_seconds=FOR_GOOD_SECONDS)
            return
        log.error("%s: %s", problem.name_in_logs, problem.what)

    def noted(self, prefix: str = "") -> Iterator[Problem]:
        """List the problems of files whose names begin with `prefix`."""
        for _, document in self._state.scan_all(_SPACE, prefix):
            yield _problem(document.value)

    def names(self, prefix: str, most: int) -> list[tuple[str, Problem]]:
        """List the problems of up to `most` files whose names begin with `prefix`, with their names."""
        return [(name, _problem(document.value)) for name, document in self._state.scan(_SPACE, prefix, limit=most)]

    def clear(self, *names: str) -> None:
        """Remove the notes of these files."""
        self._state.commit(_SPACE, Change(deletes=names))

    def clear_all(self, prefix: str) -> None:
        """Remove the notes of all files whose names begin with `prefix`."""
        while page := self._state.scan(_SPACE, prefix):
            self.clear(*(name for name, _ in page))

    def condition(self) -> str:
        """Give a line for readiness. Raises `Unavailable`, which is a warning, if there is a note."""
        count = sum(1 for name, _ in self._state.scan(_SPACE, limit=_MOST_TOLD) if not name.startswith(DOCUMENTS))
        if not count:
            return "none is known"
        many = f"{count} or more" if count == _MOST_TOLD else str(count)
        raise Unavailable(f"files that are damaged or missing: {many}; the log and `smarthouse verify` name them")

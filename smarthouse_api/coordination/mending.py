"""Mending: damaged documents and entries of the state that can be made again from what else is kept, are made again.

Who knows what a part is made of gives a `Mender`. The chores mend what was met, and `smarthouse rebuild` all that there is.
One process mends at a time: a counter that is damaged takes no change, so that nobody changes it until it is counted anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from backends.ports import Change, KeepsSums, Part, PartDamaged, StateStore, StoreError
from smarthouse_api.coordination.damage import Backoff
from smarthouse_api.coordination.leases import Lease, Leases
from smarthouse_api.coordination.state_damage import StateDamage
from smarthouse_api.errors import Unavailable

_LEASE: Final = "mending"
_PATIENCE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 5.0
_MOST_ROUNDS: Final = 5
_PASSING: Final = ("leases", "answers", "milestones", "faults", "status", "damage", "erasure")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mender:
    """Makes the damaged parts of a space again whose names begin with a prefix. Those of the first mender go first.

    space: one that ends with / stands for all that begin so. mend: returns whether the part was made again, or is gone. is_log:
    entries of a log instead of documents.
    """

    space: str
    prefix: str
    mend: Callable[[Part], bool]
    is_log: bool = False

    def knows(self, part: Part) -> bool:
        is_there = part.space == self.space or (self.space.endswith("/") and part.space.startswith(self.space))
        return is_there and part.name.startswith(self.prefix) and self.is_log is (part.sequence is not None)


class Mending:
    """Has damaged parts of the state made again by those who know what they are made of."""

    def __init__(self, state: StateStore, leases: Leases, menders: Sequence[Mender]) -> None:
        self._state, self._leases, self._menders = state, leases, menders
        self._damage, self._backoff = StateDamage(state), Backoff()

    def work(self) -> None:
        """Mend what this process has met, or any other has noted. What cannot be mended is tried less and less often."""
        if not (parts := self._damage.known()):
            return
        self._backoff.forget_others({part.full_name for part in parts})
        due = [part for part in parts if self._backoff.is_due(part.full_name, _AGAIN_SECONDS)]
        if due and (turn := self._turn(0)) is not None:
            with turn:
                self._mend(due)

    def mend_all(self) -> list[Part]:
        """Look through the whole state, mend what can be mended, and return the parts that are damaged still.

        Raises `Unavailable` if another process mends for too long.
        """
        if not isinstance(self._state, KeepsSums):
            return []
        for _ in self._damage.find():
            pass
        left = self._damage.known()
        if left:
            if (turn := self._turn(_PATIENCE_SECONDS)) is None:
                raise Unavailable("Another process makes damaged documents again; repeat this later")
            with turn:
                for _ in range(_MOST_ROUNDS):  # what is made of others waits for them
                    self._mend(left)
                    before, left = left, self._damage.known()
                    if not left or left == before:
                        break
        return left

    def _turn(self, wait_seconds: float) -> Lease | None:
        """Begin to mend; None if another process does. A damaged lease is nobody's."""
        try:
            return self._leases.wait_for(_LEASE, wait_seconds)
        except PartDamaged as fault:
            removing(self._state)(fault.part)
            return self._leases.wait_for(_LEASE, wait_seconds)

    def _mend(self, parts: Iterable[Part]) -> None:
        for place, part in sorted(((self._place(part), part) for part in parts), key=lambda one: one[0]):
            if place == len(self._menders):
                continue
            try:
                is_mended = self._menders[place].mend(part)
            except (StoreError, Unavailable, TimeoutError) as fault:
                log.warning("the state store's %s cannot be made again now: %s", part.name_in_logs, fault)
            else:
                if is_mended:
                    log.warning("the state store's %s was damaged, and is mended", part.name_in_logs)

    def _place(self, part: Part) -> int:
        return next((place for place, mender in enumerate(self._menders) if mender.knows(part)), len(self._menders))


def removing(state: StateStore) -> Callable[[Part], bool]:
    """Return what mends documents that nobody misses, such as notes, answers and leases: it removes them."""

    def remove(part: Part) -> bool:
        state.commit(part.space, Change(deletes=(part.name,)))
        return True

    return remove


def passing(state: StateStore) -> list[Mender]:
    """List what mends the spaces of documents that nobody misses for long: leases, notes and faults that are told."""
    return [Mender(space, "", removing(state)) for space in _PASSING]

"""A number in both stores that grows once a minute: by it, a state that has lost its end is told, whatever it has lost.

`smarthouse_api.state_age` notices lost homes and deletions that came back. Packets, records, receipts and keys may be lost
without that, as by a Redis whose log was cut, or by an old copy of `state.db`.

1. The number grows in the state store first, then in the object store. So the one in the objects is never ahead by itself.
2. If it is, the state is from before that time. The number then stays, until an operator has accepted the loss by a restore.
3. What was lost within the last minute is not told.

In the state store the document `age` of the space `installation`, in the object store the object `installation/age`: the
number, and when it was written, in seconds since 1970, by the state store's clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec

from backends.ports import NoSuchObject, ObjectStore, PartDamaged, StateStore
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.store_marks import FOLDER, SPACE
from smarthouse_api.errors import Unavailable

AGE: Final = f"{FOLDER}age"
_DOCUMENT: Final = "age"
_SECONDS: Final = 60.0


class _Age(msgspec.Struct, frozen=True):
    number: int = 0
    at: float = 0.0


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(_Age).decode


class StoreAges:
    """Compares the ages of the two stores, and lets them grow."""

    def __init__(self, state: StateStore, objects: ObjectStore, leases: Leases) -> None:
        self._state, self._objects, self._leases = state, objects, leases

    def grow(self) -> None:
        """Let both grow, in one process of all, once a minute; unless the state is the older one."""
        if self._leases.claim("age", _SECONDS):
            seen, own = self._of_objects(), self._of_state()
            if own is None or seen.number <= own.number:
                self._write(max(seen.number, own.number if own else 0) + 1)

    def accept(self) -> None:
        """Take the state for the newest that there is."""
        seen, own = self._of_objects(), self._of_state()
        self._write(max(seen.number, own.number if own else 0) + 1)

    def condition(self) -> str:
        """Give a line for readiness. Raises `Unavailable`, which is a warning, if the state is older than the objects."""
        seen, own = self._of_objects(), self._of_state()  # in this order: the state grows first
        if own is not None and seen.number > own.number:
            since = f"after {_told(own.at)}" if own.number else "at an unknown time"
            raise Unavailable(
                f"the state store has lost what was acknowledged {since}, up to {_told(seen.at)} or a minute later: packets,"
                " records, receipts of uploads and keys may be missing. Put back the newest state, or stop the service and its"
                " workers and run `smarthouse restore`, which ends this warning"
            )
        return "no older than the objects"

    def problems(self) -> Iterator[Problem]:
        """Tell `smarthouse verify` the same."""
        try:
            self.condition()
        except Unavailable as fault:
            yield Problem("state", "age", None, str(fault))

    def _write(self, number: int) -> None:
        age = _encode(_Age(number, self._state.now()))
        # It expires in the end: a full store takes only what expires.
        self._state.put(SPACE, _DOCUMENT, age, ttl_seconds=FOR_GOOD_SECONDS)
        self._objects.put(AGE, [age])

    def _of_state(self) -> _Age | None:
        """Read the state's age; None if it is damaged, and tells nothing."""
        try:
            found = self._state.get(SPACE, _DOCUMENT)
        except PartDamaged:
            return None
        return _Age() if found is None else _decode(found.value)

    def _of_objects(self) -> _Age:
        with suppress(NoSuchObject, msgspec.DecodeError):  # a damaged one tells nothing, and is written anew
            return _decode(self._objects.get(AGE))
        return _Age()


def _told(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"

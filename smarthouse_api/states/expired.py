"""What has expired: raw uploads that were deleted for their age, see `smarthouse_api.states.raw_retention`.

In the state store, in the space of the homes:

    expiry                  whose turn it is to let uploads expire
    expired-until           when the newest upload that has expired came, in microseconds since 1970

Who queues kept uploads for the lake again, or is about to remove rows from the lake to make them again, ends the turn first.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from backends.ports import Change, Put, StateStore
from smarthouse_api.arrow.times import time_of
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.states.homes import SPACE

TURN: Final = "expiry"
END_OF_TURN: Final = Put(TURN, b"", FOR_GOOD_SECONDS)
"""Ends the turn in the commit that it is part of: nothing expires by what was known before."""

_UNTIL: Final = "expired-until"


def take_turn(state: StateStore) -> int:
    """End the turn of any other process, and begin one; returns the version that `TURN` has while the turn goes on."""
    return state.commit(SPACE, Change(puts=(END_OF_TURN,))).version


def until_put(until_us: int) -> Put:
    """Note when the newest upload came that has expired."""
    return Put(_UNTIL, b"%d" % until_us, FOR_GOOD_SECONDS)


def expired_until(state: StateStore) -> int | None:
    """Return when the newest upload came that has expired, in microseconds since 1970; None if none has."""
    found = state.get(SPACE, _UNTIL)
    return None if found is None else int(found.value)


def first_whole_day(until_us: int) -> date:
    """Return the first day that no expired upload has rows of: a clock may be ahead, by a day at most.

    until_us: when the newest of them came.
    """
    return time_of(until_us).date() + timedelta(days=2)

"""Rounds of erasure: until when all that was forgotten is gone from every store, for good.

No receipt has anything of its own in the stores. It tells when it was asked for, and the rounds tell the rest, for all receipts
alike. So the receipt of a home that was known cannot differ from that of a home that never was.

1. A purge removes the bytes of all homes that were hidden when it began. It is noted in the commit that takes the homes off the
   list of those that are hidden.
2. At least a minute later, a sweep removes what was on its way into a store during the purge, and scrubs the state store. That
   ends the round: what was hidden when the purge began is erased.
3. If nothing is hidden, and no sweep or scrub is owed, a round is over at once.
4. A round is told only after a time that nearly every purge takes less than. If one took longer, the next ones are told as late
   as that one, rounded up, for a day.

In the state store, space `erasure`; all times in microseconds since 1970, by the store's clock:

    asked            when a receipt was asked for last
    newest           the newest round
    round/<through>  a round: all that was hidden until `through` is erased
    wait             the longest time, in seconds, that a round took on the last day, if that was longer than the least

The space `homes` has `purged`: the purges that wait for their sweep.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Part, Put, StateStore
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.mending import Mender
from smarthouse_api.states.homes import SPACE as HOMES

SPACE: Final = "erasure"
AFTERMATH_SECONDS: Final = 60.0
"""The time after which nothing more of a home is on its way into a store that was so when the home was purged."""

_PURGED: Final = "purged"
_ASKED, _NEWEST, _WAIT, _ROUND = "asked", "newest", "wait", "round/"
_SECOND: Final = 1_000_000
_DAY_SECONDS: Final = 86400.0
_BETWEEN_US: Final = 60 * _SECOND
_STEP: Final = 1.5


class Round(msgspec.Struct, frozen=True):
    """Tells that all that was hidden until `through` was erased by `done`. told_after: a request, in seconds."""

    through: int
    done: int
    told_after: float

    def told_at(self, asked: int) -> int:
        """Return when a receipt that was asked for then says so."""
        return max(self.done, asked + round(self.told_after * _SECOND))


class _Purge(msgspec.Struct, frozen=True):
    """A purge. since: when the first of its homes was hidden; 0 if that is not known."""

    began: int
    ended: int
    since: int


class _Purges(msgspec.Struct, frozen=True):
    """The purge that waits for its sweep, and the last one that came after it."""

    first: _Purge
    last: _Purge | None = None


_purges = msgspec.json.Decoder(_Purges).decode
_round = msgspec.json.Decoder(Round).decode


class Rounds:
    """Keeps the rounds of one installation.

    kept_days: how long a round is kept. delay_seconds: how long a forgotten home waits for its purge. least_seconds: how
    long after that a round is told at the earliest.
    """

    def __init__(self, state: StateStore, kept_days: int, delay_seconds: float, least_seconds: float) -> None:
        self._state, self._kept_seconds = state, (kept_days + 1) * _DAY_SECONDS
        self._delay_seconds, self._least_seconds = delay_seconds, least_seconds

    def now(self) -> int:
        """Return the time by the state store's clock."""
        return microseconds_of(self._state.now())

    def ask(self, at: int) -> None:
        """Note that a receipt was asked for: there must be a round after that."""
        while (found := self._state.get(SPACE, _ASKED)) is None or int(found.value) < at:
            with suppress(Conflict):  # another receipt was asked for meanwhile, perhaps a newer one
                version = ABSENT if found is None else found.version
                self._state.put(SPACE, _ASKED, b"%d" % at, expect=version, ttl_seconds=self._kept_seconds)

    def find(self, at: int) -> Round | None:
        """Return the first round in which all that was hidden until then is erased; None if that is still to come.

        A state store of before the request, as from a backup, learns by this that a receipt was asked for.
        """
        found = self._state.scan(SPACE, _ROUND, after=f"{_ROUND}{at - 1:016d}", limit=1)
        if not found and self._asked() < at:
            self.ask(at)
        return _round(found[0][1].value) if found else None

    def purged(self, began: float, since: float) -> Put:
        """Return what notes a purge that is complete now, but for the scrub. began, since: by the state store's clock."""
        purge = _Purge(microseconds_of(began), self.now(), microseconds_of(since))
        open_ = self._open()
        purges = _Purges(purge) if open_ is None else _Purges(open_.first, purge)
        return _put_purges(purges)

    def told_after_seconds(self) -> tuple[float, float]:
        """Return how long after its deletion a home is told to be erased at the earliest: now, and while no purge was slow."""
        return self._delay_seconds + self._wait_now(), self._delay_seconds + self._least_seconds

    def is_awaited(self) -> bool:
        """Tell whether a receipt that was asked for waits for its round."""
        newest = self._newest()
        return self._asked() > (0 if newest is None else newest.through)

    def is_open(self) -> bool:
        """Tell whether a purge waits for its sweep."""
        return self._open() is not None

    def is_sweep_due(self) -> bool:
        """Tell whether a purge has waited long enough for its sweep."""
        open_ = self._open()
        return open_ is not None and self.now() >= _sweepable_at(open_.first)

    def swept(self, began: float, *, was_quiet: bool) -> None:
        """End the round of the first purge that waits, if the sweep that is over now began late enough.

        was_quiet: nothing was hidden after it began. If no purge came after the first one either, the round reaches until then.
        """
        while (found := self._state.get(HOMES, _PURGED)) is not None:
            open_ = _purges(found.value)
            if microseconds_of(began) < _sweepable_at(open_.first):
                return
            reaches_on = was_quiet and open_.last is None
            self._end(microseconds_of(began) if reaches_on else open_.first.began, open_.first.since)
            puts = () if open_.last is None else (_put_purges(_Purges(open_.last)),)
            with suppress(Conflict):  # a purge has ended meanwhile, and is noted there
                expect = {_PURGED: found.version}
                self._state.commit(HOMES, Change(expect, puts=puts, deletes=() if puts else (_PURGED,)))
                return

    def is_wanted(self) -> bool:
        """Tell whether a receipt waits for a round, and no purge for its sweep. Then a round may be over without a purge.

        A purge takes homes off the list of hidden ones and waits for its sweep in one commit. So ask for the list first.
        """
        newest = self._newest()
        if newest is not None and (self._asked() <= newest.through or self.now() < newest.done + _BETWEEN_US):
            return False
        return self._asked() > 0 and self._open() is None

    def quiet(self, through: int) -> None:
        """End a round: the caller has seen, after that time, that nothing was hidden or owed."""
        self._end(through, 0)

    def mender(self) -> Mender:
        """Return what mends a damaged note of the purges: as if one were over just now."""

        def mend(_: Part) -> bool:
            now = self.now()
            self._state.commit(HOMES, Change(puts=(_put_purges(_Purges(_Purge(now, now, 0))),)))
            return True

        return Mender(HOMES, _PURGED, mend)

    def _end(self, through: int, since: int) -> None:
        while True:
            found = self._state.get(SPACE, _NEWEST)
            if found is not None and _round(found.value).through >= through:
                return  # another process was faster
            done = self.now()
            wait = self._wait((done - since) / _SECOND - self._delay_seconds if since else 0.0)
            value = msgspec.json.encode(Round(through, done, self._delay_seconds + wait))
            puts = tuple(Put(name, value, self._kept_seconds) for name in (f"{_ROUND}{through:016d}", _NEWEST))
            with suppress(Conflict):
                version = ABSENT if found is None else found.version
                self._state.commit(SPACE, Change(expect={_NEWEST: version}, puts=puts))
                return

    def _wait(self, took_seconds: float) -> float:
        """Return how long after its purge was due a round is told, if one took so long just now."""
        wait = self._wait_now()
        if took_seconds > wait:
            steps = math.ceil(math.log(took_seconds / max(wait, 1.0), _STEP))
            wait = max(wait, 1.0) * math.pow(_STEP, steps)
            self._state.put(SPACE, _WAIT, str(wait).encode(), ttl_seconds=_DAY_SECONDS)
        return wait

    def _wait_now(self) -> float:
        found = self._state.get(SPACE, _WAIT)
        return max(self._least_seconds, 0.0 if found is None else float(found.value))

    def _asked(self) -> int:
        found = self._state.get(SPACE, _ASKED)
        return 0 if found is None else int(found.value)

    def _newest(self) -> Round | None:
        found = self._state.get(SPACE, _NEWEST)
        return None if found is None else _round(found.value)

    def _open(self) -> _Purges | None:
        found = self._state.get(HOMES, _PURGED)
        return None if found is None else _purges(found.value)


def microseconds_of(seconds: float) -> int:
    """Count a time in microseconds since 1970."""
    return round(seconds * _SECOND)


def _sweepable_at(purge: _Purge) -> int:
    return purge.ended + microseconds_of(AFTERMATH_SECONDS)


def _put_purges(purges: _Purges) -> Put:
    # It expires in the end: a full store takes only what expires.
    return Put(_PURGED, msgspec.json.encode(purges), FOR_GOOD_SECONDS)

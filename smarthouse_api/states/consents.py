"""Consents: homes agree to terms before they upload or later, and whose consent an upload or an export needs.

1. A consent belongs to a home. One that comes before the first upload adds the home, which is forgotten like any other.
2. A home that only consented, and uploads nothing for some weeks, is removed again: strangers fill no store.
3. A consent lifts an objection: both are in one commit.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec

from backends.ports import ABSENT, Change, Conflict, Document, PartDamaged, Put, StateStore
from config.groups import ConsentSettings
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.answer_times import AnswerTimes
from smarthouse_api.coordination.notes import Notes
from smarthouse_api.coordination.room import Room
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.errors import Forbidden, Invalid, Unavailable
from smarthouse_api.states.agreements import CONSENT, Agreement, agreements_of, encoded_agreements, with_another
from smarthouse_api.states.counts import Counts
from smarthouse_api.states.homes import SPACE, Home, Homes, new_key, objection_of

OTHER: Final = "other"
NONE: Final = "none"
_UNTRIED: Final = "untried/"
_ATTEMPTS: Final = 16
_MOST_SEEN: Final = 10_000
_MOST_TOLD: Final = 50
_LOOK_SECONDS: Final = 600.0
_DAY_SECONDS: Final = 86400.0
_NEEDED: Final = (
    "This service takes a home's data once the home has agreed to the terms: PUT /api/ingest/consent with this Home-UUID and a"
    ' body such as {"terms": "%s", "tier": "rows"}, then send the upload again'
)


class _Untried(msgspec.Struct, frozen=True):
    """Remembers a home that was added by its consent. at: in seconds since 1970, by the store's clock."""

    tag: str
    at: float


_untried = msgspec.json.Decoder(_Untried).decode


class Consents:
    """Keeps what homes agree to, each under its internal key, with all versions and their times."""

    def __init__(
        self,
        state: StateStore,
        homes: Homes,
        counts: Counts,
        notes: Notes,
        room: Room,
        settings: ConsentSettings,
        answer_seconds: float,
    ) -> None:
        self._state, self._homes, self._counts, self._notes, self._room = state, homes, counts, notes, room
        self._settings, self.answer_times = settings, AnswerTimes(state, "consent", answer_seconds)
        self._agreed, self._looked_at = set[str](), float("-inf")

    def give(self, uuid: str, terms: str, tier: str, address: str | None = None, at: datetime | None = None) -> Agreement:
        """Note that a home agrees; return what it agrees to now, and since when. Repeatable. It lifts an objection.

        uuid: normalised. address: the client's. at: when, by default now. Raises `Invalid` for terms that are not asked for,
        `TooMany`, `NoRoom`.
        """
        return self.give_tagged(self._homes.tag(uuid), terms, tier, address, at)

    def give_tagged(self, tag: str, terms: str, tier: str, address: str | None = None, at: datetime | None = None) -> Agreement:
        """Note that a home agrees, by the tag of its UUID, as `give` does."""
        if self._settings.terms and terms not in self._settings.terms:
            raise Invalid(f"terms: this service asks for consent to {' or '.join(self._settings.terms)}")
        self._room.check()
        self._counts.count_right(address)
        new = Agreement(terms, tier, microseconds(at or datetime.now(UTC)))
        for _ in range(_ATTEMPTS):
            with suppress(Conflict):
                agreed = self._give(tag, new)
                self._notes.withdraw(objection_of(tag))
                return agreed
        raise Unavailable("This home is being written to from too many sides; send it again")

    def _give(self, tag: str, new: Agreement) -> Agreement:
        home = self._homes.tagged(tag)
        key = new_key() if home is None else home.key
        name, objected = f"{CONSENT}{key}", f"objected/{objection_of(tag)}"
        found, objection = self._kept(name), self._state.get(SPACE, objected)
        known = with_another(agreements_of(found), new)
        puts, expect = [Put(name, encoded_agreements(known))], {objected: objection.version if objection else ABSENT}
        if found is not None:
            expect[name] = found.version
        if home is None:
            expect[f"home/{tag}"] = ABSENT
            untried = msgspec.json.encode(_Untried(tag, self._state.now()))
            puts += [*self._homes.birth(tag, key), Put(f"{_UNTRIED}{key}", untried)]
        else:
            expect[home.name] = home.version
        self._state.commit(SPACE, Change(expect, tuple(puts), deletes=(objected,)))
        return known[-1]

    def _kept(self, name: str) -> Document | None:
        try:
            return self._state.get(SPACE, name)
        except PartDamaged:
            return None  # what is given now takes its place

    def of(self, home: Home | None) -> tuple[Agreement, ...]:
        """Return all that a home agreed to, the newest last."""
        return () if home is None else agreements_of(self._state.get(SPACE, f"{CONSENT}{home.key}"))

    def require(self, home: Home | None) -> None:
        """Refuse an upload if it needs a consent and the home has given none, or one to terms that hold no more.

        home: None for one that is not known. A consent ends with its home, on whose version the upload's commit depends.
        Raises `Forbidden`.
        """
        if not self._settings.required or (home is not None and home.key in self._agreed):
            return
        known, terms = self.of(home), self._settings.terms
        if home is None or not known or (terms and known[-1].terms not in terms):
            raise Forbidden(_NEEDED % (terms[-1] if terms else "1.0"), "Consent is required")
        if len(self._agreed) >= _MOST_SEEN:
            self._agreed.clear()
        self._agreed.add(home.key)

    def by_terms(self, least: int = 1) -> Mapping[str, int]:
        """Count the homes by the version that each agreed to last; `none`: those that did not. Empty if no home ever did.

        Every home of the installation counts, so that no filter tells of one. A version is `other` unless the operator has
        named it: what a stranger writes there is not published. least: versions of fewer homes are `other`, too.
        """
        found = (agreements_of(document) for _, document in scan_past_damage(self._state, SPACE, CONSENT))
        counted = Counter(known[-1].terms for known in found if known)
        if not counted:
            return {}
        named = {terms: counted[terms] for terms in self._settings.terms if terms in counted}
        told = {terms: count for terms, count in Counter(named).most_common(_MOST_TOLD) if count >= least}
        other = counted.total() - sum(told.values())
        without = sum(1 for _ in self._homes.everyone()) - counted.total()
        rest = {OTHER: other, NONE: max(0, without)}
        return dict(sorted(told.items())) | {name: count for name, count in rest.items() if count}

    def expire(self, is_over: Callable[[], bool]) -> None:
        """Remove homes that only consented and have uploaded nothing for some weeks. It looks every ten minutes."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        before = self._state.now() - self._settings.unused_days * _DAY_SECONDS
        for name, document in self._state.scan_all(SPACE, _UNTRIED):
            self._settle(name.removeprefix(_UNTRIED), _untried(document.value), before)
            if is_over():
                return
        self._looked_at = time.monotonic()

    def _settle(self, key: str, untried: _Untried, before: float) -> None:
        kept, home = f"kept/{key}", self._homes.tagged(untried.tag)
        if home is None or home.key != key or self._state.get(SPACE, kept) is not None:
            self._state.commit(SPACE, Change(deletes=(f"{_UNTRIED}{key}",)))
        elif untried.at <= before:
            gone = tuple(f"{kind}/{key}" for kind in ("consent", "untried", "born", "first"))
            with suppress(Conflict):  # it uploads now
                self._state.commit(SPACE, Change({home.name: home.version, kept: ABSENT}, deletes=(home.name, *gone)))

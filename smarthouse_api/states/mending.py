"""Mending the space of the homes: what its damaged documents and entries are made of, if they can be made again.

A home whose document is damaged is found by elimination: it is the one that none of the others names. What cannot be made
again: several of these at once, and receipts whose raw uploads are gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from backends.counters import numbers_of, written
from backends.ports import Change, Part, Put, StateStore
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.damage import Damages, Problem
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.mending import Mender, removing
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.lake.ledger import SPACE as LAKE
from smarthouse_api.lake.repairs import LOST, Repair, new_id
from smarthouse_api.states.counts import Kept, first_put, last_put, total
from smarthouse_api.states.damaged_receipts import RECEIPTS
from smarthouse_api.states.expired import expired_until, until_put
from smarthouse_api.states.homes import SPACE, Homes
from smarthouse_api.states.kept_uploads import PENDING
from smarthouse_api.states.raw import RAW
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.receipts import StoredReceipt, stored_receipts
from smarthouse_api.states.uploads import REBUILDING, Uploads

_REPAIRS: Final = "repair/homes/"
_DAMAGE: Final = "damage"
_DAY_SECONDS: Final = 86400.0
_NAMELESS: Final = (
    *("reply/", "sent/", "rights/", "born/", "untried/", "archive/", "entities/"),
    *("turn", "expiry", "counted", "dropped/", "erased-in-all"),
)
"""Documents that may go: answers to repeats, the day's counts of addresses, turns, and what only tells more or is made anew."""


class HomesMending:
    """Makes damaged documents and log entries of homes again, and those of what is being made again in the lake."""

    def __init__(self, state: StateStore, uploads: Uploads, homes: Homes, rebuilding: Rebuilding) -> None:
        self._state, self._uploads, self._homes, self._rebuilding = state, uploads, homes, rebuilding

    def menders(self) -> list[Mender]:
        """List what mends: homes first, then their receipts, which the counts are made of."""
        remove = removing(self._state)
        documents = (
            ("home/", self._mend_home),
            ("forgotten/", lambda part: self._put(part, b"0", None)),  # it is purged without delay
            ("unbroken/", lambda part: self._put(part, b"", _DAY_SECONDS)),
            ("held/", lambda part: self._put(part, b"", FOR_GOOD_SECONDS)),  # its rows may be of any day
            ("aside/", lambda part: self._put(part, b"")),
            ("streams/", lambda part: self._put(part, b"", None)),
            ("objected/", lambda part: self._put(part, b"")),
            (RECEIPTS, self._uploads.receipts.mend),
            ("first/", self._mend_times),
            ("last/", self._mend_times),
            ("kept/", self._count_kept),
            ("kept-in-all", lambda part: self._add_up(part, "kept/")),
            ("expired/", self._count_expired),
            ("expired-in-all", lambda part: self._add_up(part, "expired/")),
            ("expired-until", self._mend_expired_until),
            *((prefix, remove) for prefix in _NAMELESS),
        )
        return [
            *(Mender(SPACE, prefix, mend) for prefix, mend in documents),
            Mender(SPACE, PENDING, self._mend_queue, is_log=True),
            Mender(SPACE, REBUILDING, self._mend_queue, is_log=True),
            Mender(LAKE, _REPAIRS, self._mend_repair),
            Mender(_DAMAGE, RAW, self._mend_note),
        ]

    def drop_receipts(self, parts: Iterable[Part]) -> None:
        """Remove receipts that cannot be made again."""
        for part in parts:
            self._uploads.receipts.drop(part)

    def _put(self, part: Part, value: bytes, ttl_seconds: float | None = FOR_GOOD_SECONDS) -> bool:
        self._state.commit(part.space, Change(puts=(Put(part.name, value, ttl_seconds),)))
        return True

    def _mend_home(self, part: Part) -> bool:
        """Find the home's key: it is the only one that has a first upload, and that neither names nor hides."""
        found = list(scan_past_damage(self._state, SPACE, "home/"))
        named = {document.value.decode() for _, document in found if document is not None}
        firsts = {name.removeprefix("first/") for name, _ in scan_past_damage(self._state, SPACE, "first/")}
        hidden = {name.removeprefix("forgotten/") for name, _ in scan_past_damage(self._state, SPACE, "forgotten/")}
        left = firsts - named - hidden
        if [name for name, document in found if document is None] != [part.name] or len(left) != 1:
            return False
        return self._put(part, left.pop().encode(), None)

    def _mend_times(self, part: Part) -> bool:
        kind, _, key = part.name.partition("/")
        told = [one.received for one in stored_receipts(self._state, key) if one.received is not None]
        times = [*told, *(raw.arrival(info) for raw, info in self._uploads.raw_of(key))] or [microseconds(datetime.now(UTC))]
        put = first_put(key, min(times)) if kind == "first" else last_put(key, max(times))
        return self._put(part, put.value, None)

    def _count_kept(self, part: Part) -> bool:
        key = part.name.partition("/")[2]
        return self._count(part, (one for one in stored_receipts(self._state, key) if not one.expired))

    def _count_expired(self, part: Part) -> bool:
        key = part.name.partition("/")[2]
        return self._count(part, (one for one in stored_receipts(self._state, key) if one.expired))

    def _count(self, part: Part, receipts: Iterable[StoredReceipt]) -> bool:
        kept = total(Kept(one.bytes, 1, one.records + (one.statistics or 0)) for one in receipts if one.bytes is not None)
        return self._put(part, written((kept.bytes, kept.uploads, kept.records)), None)

    def _add_up(self, part: Part, prefix: str) -> bool:
        found = [numbers_of(document.value) for _, document in self._state.scan_all(SPACE, prefix)]
        return self._put(part, written([sum(some) for some in zip(*found, strict=True)] or [0, 0, 0]), None)

    def _mend_expired_until(self, part: Part) -> bool:
        until = max((one.received_us for one in self._uploads.healing.expired()), default=None)
        if until is None:
            return removing(self._state)(part)
        return self._put(part, until_put(until).value)

    def _mend_queue(self, part: Part) -> bool:
        """Drop the entry, and take everything that is kept raw into the lake again: a row that is made twice is a repeat."""
        queue = self._uploads.queue if part.name == PENDING else self._uploads.again
        self._rebuilding.repairs.add(Repair(new_id(), "everything, because an entry of a queue was damaged", "queue"))
        queue.drop(queue.take_turn(), [part.sequence or 0])
        return True

    def _mend_repair(self, part: Part) -> bool:
        """Take everything that is kept raw into the lake again. If uploads have expired, it may have told of a loss."""
        repairs = self._rebuilding.repairs
        what = "everything, because the note of what is made again was damaged"
        repairs.add(Repair(part.name.removeprefix(_REPAIRS), what, "queue"))
        if expired_until(self._state) is not None:
            repairs.add(Repair(f"{new_id()}-lost", f"{what}; it may have told of rows that are lost", LOST))
        return True

    def _mend_note(self, part: Part) -> bool:
        """Note an upload as damaged again; the chores look at it, and drop the note if it is whole."""
        key = part.name.split("/")[1]
        problem = Problem(
            "objects", part.name, key, "the note of this upload was damaged; it is looked at again", is_lacking=True
        )
        removing(self._state)(part)
        Damages(self._state).note(problem)
        return True

"""Uploads that are kept raw: all of them can be listed, and damaged ones are noted and healed.

The life of a damaged or missing upload:

1. Who reads it notes it. Its queue entry goes, so that it keeps no other from the lake.
2. If the same bytes are sent again, they are stored in its place, and are queued.
3. If its object is whole again, because an operator has brought it back, the chores queue it.

An upload that has expired is missing on purpose. If the same bytes are sent again, they are stored and queued, too.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from backends.ports import (
    Change,
    Conflict,
    Document,
    NoSuchObject,
    ObjectDamaged,
    ObjectInfo,
    Put,
    StateStore,
    StoreError,
    StoreUnavailable,
)
from smarthouse_api.arrow.times import microseconds
from smarthouse_api.coordination.damage import Backoff, Damages, Problem
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.states.counts import Counts, Kept
from smarthouse_api.states.expired import END_OF_TURN, expired_until, until_put
from smarthouse_api.states.homes import SPACE, Home, Homes
from smarthouse_api.states.payload.decoding import Body
from smarthouse_api.states.pending import Pending
from smarthouse_api.states.raw import RAW, Damaged, RawUpload, RawUploads, raw_name, read_raw_name
from smarthouse_api.states.receipts import StoredReceipt, changed_receipt, receipt_name, stored_receipt, stored_receipts

PENDING: Final = "pending"
"""The log of what the lake does not hold yet."""

_ASIDE: Final = "aside/"
_RECORD_BYTES: Final = 400  # of JSON, about
_LOOK_SECONDS: Final = 60.0
_LEASE: Final = "damaged-uploads"
_A_DAY: Final = timedelta(days=1)
_UNKNOWN_DAY: Final = "day-unknown"
_MISSING: Final = "this upload is missing, and so are those of its rows that are not in the lake; send it again"
_DAMAGED: Final = (
    "this upload does not have the SHA-256 that it was stored with; those of its rows are missing that are not in the lake;"
    " send it again"
)
_STRANGE: Final = "the state knows no home of these uploads, so that nobody can forget them; run `smarthouse restore`"


class KeptUploads:
    """Lists and heals the uploads that are kept raw."""

    def __init__(self, state: StateStore, raw: RawUploads, homes: Homes, counts: Counts) -> None:
        self._state, self._raw, self._homes, self._damages = state, raw, homes, Damages(state)
        self._counts = counts
        self._looked_at = float("-inf")
        self._backoff = Backoff()

    def all(self, home: str | None = None, missing: Callable[[Pending], None] = lambda _: None) -> Iterator[Pending]:
        """List every payload that gives rows, of all homes that are not hidden or of one, by its internal key.

        Each stands as it would in the queue, without a sequence. Payloads are left out whose upload died before its receipt, or
        has expired. missing: told of each whose object is gone, with the name that it had.
        """
        for key in sorted(self._homes.known()) if home is None else [home]:
            receipts = {one.id: one for one in stored_receipts(self._state, key)}
            for raw, info in self._raw.of(key):
                receipt = receipts.get(raw.id)
                if receipt is not None and not receipt.expired and (receipt.records or receipt.statistics):
                    yield _pending(raw, info, receipt)
                    del receipts[raw.id]
            for receipt in receipts.values():
                if not receipt.expired and (receipt.records or receipt.statistics):
                    missing(self._without_object(key, receipt))

    def expired(self) -> Iterator[Pending]:
        """List the payloads that have expired, of all homes that are not hidden, as they were queued, without objects."""
        for key in sorted(self._homes.known()):
            for one in stored_receipts(self._state, key):
                if one.expired:
                    yield Pending(0, key, "", one.received or 0, one.decoded_bytes or 0, None, one.records, one.statistics or 0)

    def note(self, lost: Sequence[tuple[Pending, StoreError]], *, is_all: bool) -> None:
        """Note payloads that could not be read, except those of homes that are gone.

        is_all: no other payload could be read. Raises `StoreUnavailable`, and notes nothing, if the object store is empty.
        """
        known = self._homes.known() if lost else set()
        there = [(pending, _is_missing(fault)) for pending, fault in lost if pending.home in known]
        if there and is_all and all(is_missing for _, is_missing in there) and self._raw.is_emptied():
            raise StoreUnavailable("no queued payload is in the object store: it is another's, or was emptied")
        for pending, is_missing in there:
            self._note(pending.home, pending.object, is_missing=is_missing, is_lacking=True)

    def note_missing(self, pending: Pending) -> None:
        """Note a payload whose object is gone, unless its home is, or it has expired or come back since."""
        if pending.home in self._homes.known() and not self._is_whole(pending.object, None):
            receipt = next((one for one in stored_receipts(self._state, pending.home) if one.id == id_of(pending.object)), None)
            if receipt is not None and not receipt.expired:
                self._note(pending.home, pending.object, is_missing=True, is_lacking=True)

    def lacking(self, first: date) -> str | None:
        """Say which uploads gave no rows because they are damaged, if rows of this day or later may be among them."""
        found = (read_raw_name(one.name) for one in self._damages.noted(RAW) if one.is_lacking)
        days = sorted({raw.day for raw in found if raw is not None and date.fromisoformat(raw.day) + _A_DAY >= first})
        return f"rows of uploads of {', '.join(days[:20])} are missing, because these are damaged" if days else None

    def heal(self, home: Home, name: str, document: Document, body: Body) -> bool:
        """If the stored bytes of a payload are damaged, missing or expired, store them anew, and queue them. Returns whether it
        did. What would pass a quota stays expired.

        name, document: its receipt's. body: as it came again, with the `Content-Encoding` that came with it.
        """
        receipt, at_us = stored_receipt(document.value), microseconds(datetime.now(UTC))
        there = (raw.object for raw, _ in self._raw.of(home.key) if raw.id == receipt.id)
        key = None if receipt.expired else receipt.object or next(there, None)
        if key is not None and self._is_whole(key, body[1]):
            return False
        key = key or raw_name(home.key, receipt.id, at_us, *body)
        self._raw.put(key, body[0])
        put = Put(name, changed_receipt(document.value, object=key, expired=None, received=None))
        kept = Kept(len(body[0]), 1, receipt.records + (receipt.statistics or 0))
        adds = self._counts.adds(home.key, kept) if receipt.expired else ()
        expect = {home.name: home.version, name: document.version}
        if (raw := read_raw_name(key)) is None:
            return False
        pending = _pending(raw, ObjectInfo(key, len(body[0]), datetime.now(UTC)), receipt)
        pending = msgspec.structs.replace(pending, encoding=body[1])
        try:
            self._state.commit(SPACE, Change(expect, (put, END_OF_TURN), appends=_appends(pending), adds=adds))
        except Conflict:
            if receipt.expired:
                self._raw.delete(key)
            return False  # another request has healed it, or the home is gone: then the next sweep removes the bytes
        noted = (problem.name for problem in self._damages.noted(f"{RAW}{home.key}/"))
        self._damages.clear(*(one for one in noted if id_of(one) == receipt.id))
        return True

    def look_again(self, leases: Leases) -> None:
        """Queue the payloads that were noted and whose objects are whole by now; remove notes that are not needed any more.

        It does so every minute, by one process at a time. An upload that stays damaged is read less and less often.
        """
        if time.monotonic() - self._looked_at < _LOOK_SECONDS or (turn := leases.try_hold(_LEASE)) is None:
            return
        with turn:
            self._look(lambda name: self._backoff.is_due(name, _LOOK_SECONDS))
        self._looked_at = time.monotonic()

    def look_now(self) -> None:
        """Do what `look_again` does, without waiting for its time."""
        self._look(lambda _: True)

    def _look(self, is_due: Callable[[str], bool]) -> None:
        noted, known = list(self._damages.noted(RAW)), set[str]()
        self._backoff.forget_others({problem.name for problem in noted})
        for problem in noted:
            known = known or self._homes.known()
            if problem.home_key not in known:
                self._damages.clear(problem.name)
            elif not is_due(problem.name):
                continue
            elif (key := self._key_of(problem)) is not None and self._is_whole(key, None):
                here = (one for one in self.all(problem.home_key) if one.object == key)
                appends = tuple(append for one in here for append in _appends(one))
                self._state.commit(SPACE, Change(puts=(END_OF_TURN,), appends=appends))
                self._damages.clear(problem.name)

    def accept_losses(self) -> int:
        """Count payloads that are damaged or missing as expired, so that nobody tells of them any more; how many those are.

        The same upload, sent again, is kept anew.
        """
        self.look_now()
        homes = {home.key: home for home in self._homes.everyone()}
        noted = [(problem, homes.get(problem.home_key or "")) for problem in self._damages.noted(RAW)]
        return sum(self._accept_loss(home, problem) for problem, home in noted if home is not None)

    def _accept_loss(self, home: Home, problem: Problem) -> bool:
        found = self._state.scan_all(SPACE, receipt_name(home.key, ""))
        is_its = ((name, one) for name, one in found if stored_receipt(one.value).id == id_of(problem.name))
        name, document = next(is_its, ("", None))
        if document is not None and not (receipt := stored_receipt(document.value)).expired:
            raw, now_us = read_raw_name(problem.name), microseconds(datetime.now(UTC))
            received_us = now_us if raw is None or raw.received_us is None else raw.received_us
            put = Put(name, changed_receipt(document.value, object=None, expired=True, received=received_us))
            until = until_put(max(received_us, expired_until(self._state) or received_us))
            adds = self._counts.expire(home.key, Kept(receipt.bytes or 0, 1, receipt.records + (receipt.statistics or 0)))
            expect = {home.name: home.version, name: document.version}
            try:
                self._state.commit(SPACE, Change(expect, (put, until, END_OF_TURN), adds=adds))
            except Conflict:
                return False  # it has come again, or the home is gone
            if (key := self._key_of(problem)) is not None:
                self._raw.delete(key)
        self._damages.clear(problem.name)
        return document is not None

    def verify(self, home: str, share: float) -> Iterator[Problem]:
        """Look for the payload of each receipt of a home. Read a share of them, from 0 to 1. What is wrong is noted, too.

        A payload is there before its receipt, and until its home is hidden.
        """
        receipts = list(stored_receipts(self._state, home))
        there = {raw.id: raw for raw, _ in self._raw.of(home)}
        for receipt in receipts:
            if receipt.expired:
                continue
            raw = there.get(receipt.id)
            if raw is not None and (random.random() >= share or self._is_whole(raw.object, raw.encoding)):  # noqa: S311
                continue
            name = _name_of(home, receipt) if raw is None else receipt.object or raw.object
            if home in self._homes.known() and not (
                raw is None and (self._is_whole(name, None) or self._expired(home, receipt))
            ):
                yield self._note(home, name, is_missing=raw is None)

    def strangers(self) -> Iterator[Problem]:
        """List the homes that there are payloads of, and that the state does not know. What is whole again is queued first."""
        self.look_now()
        for home in sorted(self._raw.homes() - self._homes.known() - self._homes.hidden().keys()):
            if home not in self._homes.known() and next(self._raw.of(home), None) is not None:
                yield Problem("objects", f"{RAW}{home}/", home, _STRANGE)

    def set_aside(self, pending: Pending) -> None:
        """Note that the lake does not hold all of a payload's rows, though its bytes are whole. It does not expire."""
        first = f"first/{pending.home}"  # a purge removes it before the notes
        if (found := self._state.get(SPACE, first)) is not None:
            put = Put(f"{_ASIDE}{pending.home}/{id_of(pending.object)}", b"", FOR_GOOD_SECONDS)
            with suppress(Conflict):
                self._state.commit(SPACE, Change(expect={first: found.version}, puts=(put,)))

    def lacking_ids(self, home_key: str) -> set[str]:
        """Return the ids of a home's uploads that are damaged or were set aside: the lake may not hold their rows."""
        aside = {name.rpartition("/")[2] for name, _ in self._state.scan_all(SPACE, f"{_ASIDE}{home_key}/")}
        return aside | {id_of(problem.name) for problem in self._damages.noted(f"{RAW}{home_key}/")}

    def purge(self, home_key: str) -> None:
        """Remove all raw uploads of a home, and the notes of them."""
        self._raw.purge(home_key)
        self._damages.clear_all(f"{RAW}{home_key}/")

    def _without_object(self, home: str, receipt: StoredReceipt) -> Pending:
        raw = read_raw_name(name := _name_of(home, receipt))
        at_us = microseconds(datetime.now(UTC)) if raw is None else microseconds(datetime.fromisoformat(f"{raw.day}T00:00:00Z"))
        size = receipt.decoded_bytes or receipt.records * _RECORD_BYTES
        return Pending(0, home, name, at_us, size, None, receipt.records, receipt.statistics or 0)

    def _expired(self, home: str, receipt: StoredReceipt) -> bool:
        """Tell whether an upload has expired by now."""
        return any(one.id == receipt.id and one.expired for one in stored_receipts(self._state, home))

    def _note(self, home: str, name: str, *, is_missing: bool, is_lacking: bool = False) -> Problem:
        problem = Problem("objects", name, home, _MISSING if is_missing else _DAMAGED, is_lacking)
        self._damages.note(problem)
        return problem

    def _key_of(self, problem: Problem) -> str | None:
        """Name the object of a noted upload; None while there is none and its receipt, of an earlier format, does not tell."""
        if read_raw_name(problem.name) is not None or problem.home_key is None:
            return problem.name
        id_ = id_of(problem.name)
        return next((raw.object for raw, _ in self._raw.of(problem.home_key) if raw.id == id_), None)

    def _is_whole(self, key: str, encoding: str | None) -> bool:
        try:
            self._raw.read(key, encoding)
        except (NoSuchObject, Damaged):
            return False
        return True


def _is_missing(fault: StoreError) -> bool:
    return isinstance(fault, NoSuchObject) and not isinstance(fault, ObjectDamaged)


def id_of(name: str) -> str:
    """Read the id of an upload from its object's name, or from the name of a note."""
    return name.rpartition("/")[2].partition(".")[0]


def _name_of(home: str, receipt: StoredReceipt) -> str:
    """Name the object of an upload, as far as its receipt tells it."""
    return receipt.object or f"{RAW}{home}/{_UNKNOWN_DAY}/{receipt.id}"


def _pending(raw: RawUpload, info: ObjectInfo, receipt: StoredReceipt) -> Pending:
    size = receipt.decoded_bytes or max(info.size_bytes, receipt.records * _RECORD_BYTES)
    counts = receipt.records, receipt.statistics or 0
    return Pending(0, raw.home, raw.object, raw.arrival(info), size, raw.encoding, *counts)


def _appends(pending: Pending) -> tuple[tuple[str, bytes], ...]:
    return ((PENDING, msgspec.json.encode(pending)),) if pending.records or pending.statistics else ()

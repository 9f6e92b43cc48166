"""Repairs: which rows left the lake, and are being made again from what is kept outside of it.

In the state store, space `lake`: `repair/<kind>/<id>`, a document for each `Repair` until it is done. The steps can be
repeated after a crash:

1. `remove`: the rows of its places are removed, or the whole table is. A damaged data file is removed before the repair begins.
2. `queue`: whatever may have had such rows is queued. It is listed after the removal, so that no row is missed.
3. `wait`: the curator takes the queue in. The repair ends when it has passed `last`.
4. `lost`: nothing more can be made again. It stays, so that no reading looks whole, until an operator accepts the loss.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Final

import msgspec

from backends.ports import Change, Conflict, Document, StateStore
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.lake.ledger import SPACE

LOST: Final = "lost"
LAST: Final = (1 << 62) - 1
"""Stands for the last bucket or sequence that there is."""


class Place(msgspec.Struct, frozen=True):
    """Names partitions of a table: those of some days, and of some buckets; all four are inclusive."""

    table: str
    first: date
    last: date
    least: int
    most: int

    def predicate(self) -> str:
        """Write as SQL which rows lie there. It names partitions only, so that no file need be read."""
        return f"(day >= '{self.first}' AND day <= '{self.last}' AND bucket >= {self.least} AND bucket <= {self.most})"


class Repair(msgspec.Struct, frozen=True):
    """Tells what is being made again. what: in words, with the names of files, for the log and readiness.

    places: where its rows lie; none means everything. since, until: the rows' own days that may lack rows. holds: exports of
    these days wait; otherwise they go on, and say that they are incomplete. last: the queue's sequence at which it ends. rows:
    how many rows were in the file; 0 if that is not known. oldest_us: when the first of them arrived, in microseconds since
    1970. accepts_loss: rows are removed though they cannot be made again. has_begun: whether rows may have been removed. fault:
    why it could not go on last, in words; empty if it could.
    """

    id: str
    what: str
    step: str
    places: tuple[Place, ...] = ()
    since: date = date.min
    until: date = date.max
    holds: bool = False
    last: int = 0
    rows: int = 0
    oldest_us: int | None = None
    accepts_loss: bool = False
    has_begun: bool = False
    fault: str = ""

    @property
    def is_lost(self) -> bool:
        """Tell whether nothing more can be made again."""
        return self.step == LOST

    def touches(self, first: date, last: date) -> bool:
        """Tell whether an export of these days may lack rows."""
        return self.since <= self.until and self.since <= last and self.until >= first


def new_id() -> str:
    return uuid.uuid4().hex


_repair = msgspec.json.Decoder(Repair).decode


class Repairs:
    """Keeps the repairs of one kind of table. kind: `homes` or `collections`."""

    def __init__(self, state: StateStore, kind: str) -> None:
        self._state, self._prefix = state, f"repair/{kind}/"

    def all(self) -> list[tuple[Repair, Document]]:
        """List the repairs that are not done, each with its document."""
        return [(_repair(document.value), document) for _, document in self._state.scan_all(SPACE, self._prefix)]

    def unfinished(self) -> list[str]:
        """List what is being made again, each in words."""
        return [repair.what for repair, _ in self.all() if not repair.is_lost]

    def lost(self) -> list[str]:
        """List what is lost for good, each in words."""
        return [repair.what for repair, _ in self.all() if repair.is_lost]

    def accept_losses(self) -> int:
        """Tell no more of what is lost for good; how many losses that were."""
        found = [one for one in self.all() if one[0].is_lost]
        for repair, document in found:
            self.end(repair, document)
        return len(found)

    def touching(self, first: date, last: date) -> list[Repair]:
        """List the repairs for which an export of these days may lack rows."""
        return [repair for repair, _ in self.all() if repair.touches(first, last)]

    def add(self, repair: Repair) -> None:
        """Begin a repair. One with the same id is replaced."""
        self._state.put(SPACE, self._prefix + repair.id, msgspec.json.encode(repair), ttl_seconds=FOR_GOOD_SECONDS)

    def advance(self, repair: Repair, document: Document, step: str, last: int = 0) -> None:
        """Go on to the next step, unless another process has done so."""
        with suppress(Conflict):
            self.change(msgspec.structs.replace(repair, step=step, last=last, fault=""), document)

    def change(self, repair: Repair, document: Document) -> Document:
        """Store a repair with other members; its document then. Raises `Conflict` if another process has changed it."""
        name, value = self._prefix + repair.id, msgspec.json.encode(repair)
        return Document(value, self._state.put(SPACE, name, value, expect=document.version, ttl_seconds=FOR_GOOD_SECONDS))

    def end(self, repair: Repair, document: Document) -> None:
        """Remove a repair that is done."""
        name = self._prefix + repair.id
        with suppress(Conflict):
            self._state.commit(SPACE, Change(expect={name: document.version}, deletes=(name,)))


def told(repairs: Iterable[Repair]) -> str | None:
    """Say which days lack rows, in one line of ASCII; None for no repair."""
    found = list(repairs)
    parts = []
    for is_lost, why in (
        (False, "are missing: the lake lost them, and they are being made again"),
        (True, "are lost for good"),
    ):
        if some := [repair for repair in found if repair.is_lost is is_lost]:
            parts.append(f"rows of {days_of(some)} {why}")
    return "; ".join(parts) or None


def days_of(repairs: Iterable[Repair]) -> str:
    """Name the days that may lack rows."""
    return ", ".join(sorted({_days(repair.since, repair.until) for repair in repairs})[:20])


def _days(since: date, until: date) -> str:
    if (since, until) == (date.min, date.max):
        return "any day"
    return f"{since}" if since == until else f"{since} to {until}"


def month_end(day: date) -> date:
    """Return the last day of a day's month."""
    return (datetime(day.year, day.month, 28) + timedelta(days=4)).date().replace(day=1) - timedelta(days=1)

"""Releases: figures of many homes together for one month, made once by the operator, and kept for good.

In the state store, space `releases`: `release/<month>`. In the object store: `releases/<version>`, a zip, and
`releases/<version>-sums`, its checksums.

A month has one release, which is never made anew: the difference of two would tell of the homes that came or went in between.
Nothing in it is of one home, so that it stays when a home is forgotten. Notes tell of what was released and withdrawn, also to
a state that is restored from a backup of before.
"""

from __future__ import annotations

import calendar
import random
import re
import secrets
from collections import deque
from collections.abc import Callable, Container, Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Final

import msgspec

from backends.ports import ABSENT, Conflict, Document, ObjectStore, StateStore
from config.groups import ExportSettings
from smarthouse_api.coordination.damage import Problem
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.notes import Notes, digest_of
from smarthouse_api.coordination.room import Room
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.errors import Gone, Invalid, NotFound, Unavailable
from smarthouse_api.states.aggregates.asked import Aggregation
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.export.metadata import ReleasedAs
from smarthouse_api.states.jobs.kept_files import Blocks
from smarthouse_api.states.jobs.sums import Summing
from smarthouse_api.states.query import Filters
from smarthouse_api.states.table import StatesTable

SPACE: Final = "releases"
PREFIX: Final = "releases/"
"""How the names of objects begin."""

FORMATS: Final = ("csv", "parquet")
_DOCUMENT: Final = "release/"
_LEASE: Final = "releases"
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}", re.ASCII)
_DAMAGED: Final = "The file of this release is damaged or missing; its operator can bring it back from a backup"
_ONCE: Final = "a month has one release, because the difference of two would tell of single homes"


class Release(msgspec.Struct, frozen=True):
    """Describes a release. least_homes: each row is of at least so many. made_at: in seconds since 1970.

    is_withdrawn: its file is removed; its month has no other one all the same.
    """

    month: str
    every: str
    version: str
    least_homes: int
    made_at: float
    rows: int = 0
    size_bytes: int = 0
    is_withdrawn: bool = False

    has_sums = True

    @property
    def file_name(self) -> str:
        """What a client saves its file as."""
        return f"{stem_of(self.month)}.zip"

    @property
    def file(self) -> str:
        """The object that is its file."""
        return f"{PREFIX}{self.version}"

    @property
    def sums(self) -> str:
        """The object that holds the checksums of its file."""
        return f"{self.file}-sums"


_read = msgspec.json.Decoder(Release).decode


def stem_of(month: str) -> str:
    """Return what the names of a release's files begin with."""
    return f"smarthouse_release_{month}"


class Releases:
    """Makes releases, lists them, and gives their files."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        leases: Leases,
        notes: Notes,
        table: StatesTable,
        exports: Exports,
        room: Room,
        settings: ExportSettings,
        *,
        is_open: bool,
    ) -> None:
        """is_open: no key is needed for releases."""
        self._state, self._objects, self._leases, self._notes = state, objects, leases, notes
        self._table, self._exports, self._room, self._settings = table, exports, room, settings
        self._is_open = is_open

    def make(self, month: str, every: str, advance: Callable[[int], None] = lambda _: None) -> Release:
        """Make the release of a month that is over. every: the length of its intervals. advance: is told bytes as they come.

        Raises `Invalid` for what cannot be released, and `Unavailable`.
        """
        if self._settings.privacy == "raw":
            raise Invalid("with SMARTHOUSE_EXPORT_PRIVACY=raw nothing is released; set it to standard or strict")
        filters = Filters(*_days_of(month))
        if (lease := self._leases.try_hold(_LEASE)) is None:
            raise Unavailable("Another release is being made; repeat the command later")
        with lease:
            if (known := self.find(month)) is not None:
                raise Invalid(
                    f"{month} {'was released and withdrawn' if known.is_withdrawn else 'is released already'}; {_ONCE}"
                )
            if self._notes.is_left(_released(month)):
                raise Invalid(
                    f"{month} was released, and this state is older: {_ONCE}. Restore a backup that has its release, or let the"
                    " month be without one"
                )
            if (kept_since := self._table.first_kept_day()) is not None and kept_since > filters.span[0]:
                raise Invalid(
                    f"{month} is not whole any more: the lake keeps rows since {kept_since}, see SMARTHOUSE_LAKE_DAYS"
                )
            self._room.check()
            self._sweep()
            asked = Aggregation(every, least_homes=self._settings.min_homes)
            new = Release(month, every, secrets.token_hex(16), asked.least_homes, datetime.now(UTC).timestamp())
            try:
                made = self._put(new, asked, filters, advance)
                self._state.put(SPACE, f"{_DOCUMENT}{month}", msgspec.json.encode(made), expect=ABSENT)
            except Conflict:
                self._remove(new)
                raise Invalid(f"{month} is released already; {_ONCE}") from None
            except BaseException:
                self._remove(new)
                raise
            # A note for each, also for those that were made by one who was killed before this.
            told = map(_released, sorted({month, *(one.month for one in self.list())}))
            self._notes.leave((one for one in told if not self._notes.is_left(one)), is_home=False)
            return made

    def _put(self, new: Release, asked: Aggregation, filters: Filters, advance: Callable[[int], None]) -> Release:
        kept = ReleasedAs(new.month, new.version, stem_of(new.month), self._is_open)
        export = self._exports.open(FORMATS, filters, aggregation=asked, release=kept)
        if export is None:
            days = self._settings.enrolled_after_days
            raise Invalid(
                f"{new.month} has nothing that {asked.least_homes} homes have in common. A home counts once it has agreed to"
                f" the terms for {days} days and sent data on as many; SMARTHOUSE_EXPORT_MIN_HOMES and"
                " SMARTHOUSE_ENROLLED_AFTER_DAYS say how many"
            )
        summing, size = Summing(), 0
        with closing(export):
            if export.incomplete is not None:
                raise Unavailable(f"Rows are missing now: {export.incomplete}")

            def told() -> Iterator[bytes]:
                nonlocal size
                for chunk in export:
                    size += len(chunk)
                    advance(size)
                    yield chunk

            size_bytes = self._objects.put(new.file, summing.passing(told()))
            self._objects.put(new.sums, [summing.blocks()])
            return msgspec.structs.replace(new, rows=export.rows, size_bytes=size_bytes)

    def list(self) -> list[Release]:
        """List the releases, the newest month first, without those whose document is damaged."""
        found = (_read(document.value) for document in self._documents() if document is not None)
        return sorted((one for one in found if not one.is_withdrawn), key=lambda one: one.month, reverse=True)

    def _documents(self) -> Iterator[Document | None]:
        return (document for _, document in scan_past_damage(self._state, SPACE, _DOCUMENT))

    def find(self, month: str) -> Release | None:
        """Find the release of a month, also one that was withdrawn."""
        found = self._state.get(SPACE, f"{_DOCUMENT}{month}") if _MONTH.fullmatch(month) else None
        return None if found is None else _read(found.value)

    def open(self, month: str) -> tuple[Release, Blocks]:
        """Open the file of a release. Raises `NotFound`, and `Gone` if it was withdrawn or is damaged."""
        if (release := self.find(month)) is None:
            raise NotFound("There is no release of this month; a month is written 2026-03")
        if release.is_withdrawn:
            raise Gone("This release was withdrawn")
        blocks = Blocks(self._objects, release)
        try:
            blocks.begin()
        except Gone:
            raise Gone(_DAMAGED) from None
        return release, blocks

    def withdraw(self, month: str) -> Release:
        """Remove the file of a release for good. Repeatable. Raises `NotFound`."""
        release = self.known(month)
        self._notes.leave([_withdrawn(month)], is_home=False)
        gone = msgspec.structs.replace(release, is_withdrawn=True)
        self._state.put(SPACE, f"{_DOCUMENT}{month}", msgspec.json.encode(gone))
        self._remove(gone)
        return gone

    def known(self, month: str) -> Release:
        """Find the release of a month, also one that was withdrawn. Raises `NotFound`."""
        if (release := self.find(month)) is None:
            raise NotFound(f"There is no release of {month}")
        return release

    def withdraw_noted(self, noted: Container[str]) -> int:
        """Withdraw again what was withdrawn by the digests of notes; how many there were."""
        again = [one.month for one in self.list() if _withdrawn(one.month) in noted]
        for month in again:
            self.withdraw(month)
        return len(again)

    def verify(self, share: float) -> Iterator[Problem]:
        """Look for the files of all releases, and read a share of them, from 0 to 1."""
        for release in self.list():
            blocks = Blocks(self._objects, release)
            try:
                blocks.begin()
                if random.random() < share:  # noqa: S311
                    deque(blocks.read(0, release.size_bytes), maxlen=0)
            except (Gone, Unavailable):
                yield Problem("objects", release.file, None, "this release is damaged or missing; restore it from a backup")

    def _sweep(self) -> None:
        """Remove what is left of releases whose making was broken off. Only who makes one may call it."""
        if None in self._documents():
            return  # nobody can tell whose file is whose
        names = [info.key for info in self._objects.list(PREFIX)]
        kept = {name for one in self.list() for name in (one.file, one.sums)}
        self._objects.delete([name for name in names if name not in kept])

    def _remove(self, release: Release) -> None:
        self._objects.delete([release.file, release.sums])


def _released(month: str) -> str:
    return digest_of(f"released/{month}")


def _withdrawn(month: str) -> str:
    return digest_of(f"withdrawn/{month}")


def _days_of(month: str) -> tuple[date, date]:
    """Return the first and the last day of a month. Raises `Invalid`."""
    try:
        first = date.fromisoformat(f"{month}-01") if _MONTH.fullmatch(month) else None
    except ValueError:
        first = None
    if first is None:
        raise Invalid(f"a month is written like 2026-03, and not {month}")
    last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
    if last >= datetime.now(UTC).date():
        raise Invalid(f"{month} is not over; a release is made of a whole month")
    return first, last

"""What all that make datasets share: the services that they need, the rules that hold now, and what a dataset leaves behind."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Final

from backends.ports import ObjectStore, StateStore
from config.groups import ExportSettings, JobSettings
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import Forbidden
from smarthouse_api.lake.sparing import noted, read_marks
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.contents.service import Contents
from smarthouse_api.states.export.asking import Asking
from smarthouse_api.states.export.dataset import Exports
from smarthouse_api.states.homes import Homes
from smarthouse_api.states.jobs.book import JobBook, Known
from smarthouse_api.states.jobs.engine_parts import EngineWork
from smarthouse_api.states.jobs.model import Dataset, Part, Request, encode, turn_of
from smarthouse_api.states.jobs.side_by_side import Places
from smarthouse_api.states.rebuilding import Rebuilding
from smarthouse_api.states.records.privacy import home_name
from smarthouse_api.states.table import StatesTable
from smarthouse_api.version import own_version

FORGOTTEN: Final = "begun anew: a home was erased that it might have held"
GIVEN_UP: Final = "parts of it were made again: a home was erased that they might have held"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workshop:
    """Holds what makers of datasets work with, in any process. places: for the parts that this one makes at a time."""

    state: StateStore
    objects: ObjectStore
    book: JobBook
    leases: Leases
    homes: Homes
    table: StatesTable
    chores: StatesChores
    rebuilding: Rebuilding
    exports: Exports
    contents: Contents
    room: Room
    export_settings: ExportSettings
    settings: JobSettings
    places: Places
    engine: EngineWork

    @property
    def asking(self) -> Asking:
        """What makes filters ready."""
        return self.contents.asking

    @cached_property
    def rules(self) -> str:
        """A digest of the rules of privacy that hold now."""
        level, settings = self.export_settings.privacy, self.export_settings
        few = (settings.min_homes, settings.enrolled_after_days) if level == "strict" else ()
        published = level, sorted(settings.words), settings.pseudonyms, few
        return hashlib.sha256(encode(published)).hexdigest()[:16]

    def check_rules(self, request: Request) -> None:
        """Check that a request was made by the rules of privacy that hold now. Raises `Forbidden`."""
        if request.rules != self.rules:
            raise Forbidden("The service publishes by other rules than when this was asked for; ask again")

    def hidden(self) -> list[str]:
        """Return digests of the homes that are hidden now."""
        return sorted(map(digest_of, self.homes.hidden()))

    def expiry(self, now: float) -> float:
        """Return when a file that is finished now expires."""
        return now + self.settings.hours * 3600

    @property
    def program(self) -> str:
        """The version of this program."""
        return own_version()

    def may_hold(self, dataset: Dataset, keys: Collection[str]) -> bool:
        """Tell whether a dataset may hold rows of hidden homes. keys: their internal keys."""
        if dataset.state == "done" and not dataset.rows:
            return False
        new = [key for key in keys if digest_of(key) not in dataset.excluded]
        return bool(new) and not self.homes.spared(new)(note_of(dataset)) and self._may_have_rows(dataset, new)

    def may_send(self, note: bytes, keys: Collection[str]) -> bool:
        """Tell whether who sends a kept file may send rows of hidden homes. note: of `note_of_sending`."""
        if self.homes.spared(keys)(note):
            return False
        versions = {one.file for one in read_marks(note).values()}
        known = [self.book.known(version) for version in versions if version is not None]
        return not known or any(one is None or self._may_have_rows(one.dataset, keys) for one in known)

    def _may_have_rows(self, dataset: Dataset, keys: Collection[str]) -> bool:
        """Tell whether the file of a dataset may have rows of homes, or name one: its documents tell what was asked for."""
        asked, secret = dataset.request.filters, self.asking.secret()
        if asked.entities or (asked.homes and any(home_name(secret, key) in asked.homes for key in keys)):
            return True
        return dataset.state != "done" or self.book.may_have_rows(dataset, keys)

    def give_up(self, known: Known, keys: Collection[str]) -> bool:
        """Give up the parts of a dataset that is being made, as far as they may hold hidden homes: they are made again.

        keys: internal keys of the homes. False if the dataset has changed meanwhile.
        """
        dataset = known.dataset
        if not dataset.is_resumable:
            return self.book.begin_anew(known, FORGOTTEN)
        spared = self.homes.spared(keys)
        if not self.book.give_up_parts(
            known, lambda part: spared(note_of(dataset, part)), list(map(digest_of, keys)), GIVEN_UP
        ):
            return False
        log.info("an export job: %s", GIVEN_UP)
        return True

    def remove_given_up(self, version: str) -> None:
        """Remove the objects of all parts of a dataset that were given up, and what was made of them. Repeatable."""
        known = self.book.known(version)
        if known is None or not known.dataset.turn:
            return
        dataset, made = known.dataset, self.book.parts(version)
        good = {name for number in dataset.kept if number in made for name in dataset.objects_of(number, made[number])}
        names = (info.key for info in self.objects.list(dataset.folder))
        self.objects.delete([name for name in names if turn_of(name) < dataset.turn and name not in good])
        self.engine.files.remove_before(version, dataset.turn)

    def remove(self, dataset: Dataset) -> None:
        """Remove all objects of a dataset."""
        self.objects.delete([info.key for info in self.objects.list(dataset.folder)])
        self.engine.files.remove(dataset.version)

    def remove_parts(self, dataset: Dataset) -> None:
        """Remove what a dataset's file was put together of."""
        self.objects.delete(
            [info.key for info in self.objects.list(dataset.folder) if info.key not in (dataset.file, dataset.sums)]
        )
        self.engine.files.remove(dataset.version)

    def is_made(self, version: str) -> bool:
        """Tell whether a dataset is being made."""
        known = self.book.known(version)
        return known is not None and known.dataset.state == "making"


def note_of(dataset: Dataset, part: Part | None = None) -> bytes:
    """Write which snapshots, and which days of them, a dataset has its rows of, or a part of it, as a reader notes it."""
    marks = [mark for mark in (dataset.mark, dataset.statistics_mark) if mark is not None]
    span = dataset.span
    if part is not None:
        first, last = map(date.fromisoformat, part.days)
        span = dataset.needed(replace(dataset.filters, since=first, until=last, time_field="updated")).span
    return noted(marks, span) if marks else b""


def note_of_sending(dataset: Dataset) -> bytes:
    """Write the same of a dataset whose file is sent, and which one that is."""
    marks = [mark for mark in (dataset.mark, dataset.statistics_mark) if mark is not None]
    return noted(marks, dataset.span, dataset.version) if marks else b""

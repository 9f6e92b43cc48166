"""Makes one dataset of parts, some at the same time: each part is put and noted, and the file is put together of all.

1. Threads make the parts: one of them itself, the others by the hands of other processes where there are any, see `hands`.
   The maker waits for them, notes each part that is put, and looks several times a second whether to go on.
2. Parts may be noted in any order. Another process makes those that are not noted.
3. Another thread puts the file together meanwhile: it takes the parts in their order, each once it is noted. Nobody sees the
   file before it is whole, and another process begins it anew.
4. Before the maker returns, however it ends, no thread and no hand of it is under way: nothing is put behind a forget's back.
5. If a home is forgotten, the parts are given up whose days may have rows of it, and what is being made. The others stay.
6. Once files of the snapshot are gone, the newest one is read, without what entered the lake later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Final

import msgspec
from deltalake import DeltaTable

from smarthouse_api.coordination.leases import Lease
from smarthouse_api.coordination.notes import digest_of
from smarthouse_api.errors import TooLarge
from smarthouse_api.lake.snapshot_marks import mark_of
from smarthouse_api.lake.sparing import moved
from smarthouse_api.states.export.metadata import Extract
from smarthouse_api.states.jobs.book import Dropped
from smarthouse_api.states.jobs.encoding import LostPart
from smarthouse_api.states.jobs.hands import Hands, Order, planned
from smarthouse_api.states.jobs.homes_in_files import HomesOfRows
from smarthouse_api.states.jobs.linking import extract_of, linked
from smarthouse_api.states.jobs.model import Dataset, Part
from smarthouse_api.states.jobs.noted_parts import NotedParts
from smarthouse_api.states.jobs.part_making import Freeing, make_part
from smarthouse_api.states.jobs.plan import Plan
from smarthouse_api.states.jobs.side_by_side import LOOK_SECONDS, beside, side_by_side
from smarthouse_api.states.jobs.sums import Summing
from smarthouse_api.states.jobs.tally import Tally
from smarthouse_api.states.jobs.workshop import FORGOTTEN, Workshop, note_of

_OUTDATED: Final = "begun anew with the newest data: its snapshot of the lake is gone"
_NEWER: Final = "begun anew by another version of the service"
_LOST: Final = "begun anew: a part of it was lost"
_COLUMNS_SECONDS: Final = 30.0
_SUM_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Stopped(Exception):
    """Says that this process is to stop working on a dataset; another goes on."""


class _Anew(Exception):
    """Says that a dataset must be begun anew, and why."""


class _Forgotten(Exception):
    """Says that the dataset may hold homes that were forgotten. keys: their internal keys."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys


class Making:
    """Makes one dataset, as far as it can now. lease: of the dataset."""

    def __init__(self, shop: Workshop, dataset: Dataset, lease: Lease, is_over: Callable[[], bool]) -> None:
        self._shop, self.dataset, self._lease, self._is_over = shop, dataset, lease, is_over
        self._note = note_of(dataset)
        self._looked_at, self.has_progressed = float("-inf"), False
        self._tally = Tally(0)
        self._linked_bytes = self._others_bytes = 0
        self._summed_at, self._freeing = float("-inf"), Freeing()

    def __call__(self) -> None:
        shop, dataset = self._shop, self.dataset
        try:
            with shop.table.reading() as reader:
                self._reader = reader
                size, parts = self._made(self._open())
                if size:
                    self._look(at_once=True)
                    self._finish(size, parts)
        except _Forgotten as fault:
            if (known := shop.book.in_turn(dataset)) is not None:
                shop.give_up(known, fault.keys)  # unless a forget has just done that
            raise Dropped from None
        except (_Anew, LostPart) as fault:
            why = str(fault) or _LOST
            while (known := shop.book.known(dataset.version)) is not None and known.dataset.state == "making":
                if shop.book.begin_anew(known, why):
                    log.info("an export job is %s", why)
                    break
            raise Dropped from None
        if not size:
            self._finish(0, [])
        shop.remove_parts(dataset)

    def _open(self) -> Plan:
        """Open the rows of the snapshot, whose files stay while the reader's lease is held; in the parts that are made."""
        shop, dataset = self._shop, self.dataset
        shop.check_rules(dataset.request)
        if dataset.made_by != shop.program:
            raise _Anew(_NEWER)
        self._reader.tell(self._note)
        asked = shop.asking.ready(dataset.filters)
        exports, reader = shop.exports, self._reader
        mark, other = dataset.mark, dataset.statistics_mark
        snapshot = None if mark is None else shop.table.open_marked(mark)
        statistics = None if other is None else exports.statistics_of(other)
        is_gone = (mark is not None and snapshot is None) or (other is not None and statistics is None)
        if asked is None or mark is other is None:
            raise _Anew(_OUTDATED)
        # What is hidden now stays hidden until this lease is broken: so its rows are not read.
        if is_gone or not set(dataset.excluded) <= set(shop.hidden()):
            asked, snapshot = replace(asked, entered_by=dataset.entered), self._newest()
        secret = bytes.fromhex(dataset.secret) or shop.asking.secret()
        self._homes = HomesOfRows.of(dataset, shop.export_settings.privacy, secret, shop.homes.known)

        days = shop.book.plan(dataset.version) if dataset.is_resumable else None
        marks = None if snapshot is None else mark_of(shop.table.name, snapshot), other
        order = Order(dataset, asked, *marks, secret, reader.token, days)
        plan = planned(shop, order, snapshot, statistics, reader, partial(shop.engine.parts_of, dataset))
        self._hands = Hands(shop, order, plan)
        if days is None and dataset.is_resumable:
            shop.book.add_plan(dataset, [(part.first, part.last) for part in plan.parts], plan.told)
        elif days is not None and shop.book.told(dataset.version) != plan.told:
            raise _Anew(FORGOTTEN)
        return plan

    def _newest(self) -> DeltaTable:
        """Open the newest snapshot in the place of the dataset's own. What entered the lake later must be left out."""
        shop, dataset = self._shop, self.dataset
        span = dataset.span
        shop.rebuilding.refuse_held(*span)
        snapshot = shop.table.open_current(_COLUMNS_SECONDS) if dataset.is_resumable else None
        if snapshot is None or dataset.mark is None or str(snapshot.metadata().id) != dataset.mark.id:
            raise _Anew(_OUTDATED)
        if shop.exports.missing(dataset.needed(dataset.filters), dataset.request.aggregation) is not None:
            raise _Anew(_OUTDATED)
        self._reader.tell(moved(self._note, mark_of(shop.table.name, snapshot)))
        return snapshot

    def _made(self, plan: Plan) -> tuple[int, list[Part]]:
        """Make the parts that are not made yet, and the file: its size, 0 for no rows, and all parts in their order."""
        shop, dataset, tally = self._shop, self.dataset, Tally(len(plan.parts))
        found = shop.book.parts(dataset.version)
        made = {number: part for number, part in found.items() if dataset.has_part(number, part)}
        if any(number >= len(plan.parts) or part.days != plan.parts[number].days for number, part in made.items()):
            raise _Anew(_OUTDATED)
        noted = NotedParts(len(plan.parts))

        def add(number: int, part: Part) -> None:
            tally.add(number, part)
            noted.add(number, part)

        for number, part in made.items():
            add(number, part)
        self._tally = tally
        left = [partial(self._part, plan, number) for number in range(len(plan.parts)) if number not in made]
        self._look(at_once=True)
        with beside(partial(self._link, noted, plan), noted.end) as linking:

            def look() -> None:
                linking.check()
                self._look_for_more()

            with closing(self._hands), closing(side_by_side(left, shop.places, look)) as results:
                for number, part, homes in results:
                    linking.check()
                    self._look(at_once=True)  # now that it is put: what a forget has not seen is removed here
                    shop.book.add_part(dataset, number, part, self._homes.named(homes))
                    add(number, part)
                    self.has_progressed = True
                    self._freeing.made(part.rows)
            return linking.result(self._look_for_more), list(noted)

    def _part(self, plan: Plan, number: int, check: Callable[[], None]) -> tuple[int, Part, set[str]]:
        def tell(rows: int, size: int) -> None:
            check()
            self._tally.tell(number, rows, size)

        with self._shop.places.here() as is_first:
            made = None if is_first else self._hands.make(number, tell)
            return number, *(made or make_part(self._shop, self.dataset, number, plan.parts[number], plan.shape, tell))

    def _link(self, parts: NotedParts, plan: Plan) -> int:
        """Put the file together, and return its size; 0 without rows. It runs in a thread of its own."""
        shop, dataset = self._shop, self.dataset
        if not any(part.rows for part in parts):
            return 0

        def extract() -> Extract:
            told = self._told(dataset, list(parts)), shop.export_settings, plan.shape.columns, plan.spans
            return extract_of(*told, is_open=shop.exports.is_open, consents=shop.asking.consents())

        summing = Summing()
        with closing(linked(shop.objects, dataset, parts, extract, plan.shape)) as chunks:
            size = shop.objects.put(dataset.file, self._watched(summing.passing(chunks), parts.check))
        shop.objects.put(dataset.sums, [summing.blocks()])
        return size

    def _finish(self, size: int, parts: Sequence[Part]) -> None:
        shop, now = self._shop, self._shop.state.now()

        def finished(dataset: Dataset) -> Dataset:
            done = {"state": "done", "size_bytes": size, "finished_at": now, "expires_at": shop.expiry(now), "secret": ""}
            done["has_sums"] = bool(parts)
            done["knows_homes"] = all(part.has_homes for part in shop.book.parts(dataset.version).values())
            return msgspec.structs.replace(self._told(dataset, parts), **done)

        shop.book.finish(self.dataset, finished)
        log.info("an export job is done: %d rows, %d bytes", self._tally.rows, size)

    def _told(self, dataset: Dataset, parts: Sequence[Part]) -> Dataset:
        first = min((part.first_us for part in parts if part.first_us is not None), default=None)
        last = max((part.last_us for part in parts if part.last_us is not None), default=None)
        rows = self._tally.rows
        return msgspec.structs.replace(dataset, rows=rows, rows_in_all=rows, first_us=first, last_us=last)

    def _watched(self, chunks: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
        for chunk in chunks:
            self._linked_bytes += len(chunk)
            check()
            self._shop.room.check()
            yield chunk

    def _look_for_more(self) -> None:
        """Look as `_look` does, before something is written. Raises `NoRoom`, too."""
        self._look()
        self._shop.room.check()

    def _look(self, *, at_once: bool = False) -> None:
        """Look now and then whether to go on. Raises `Stopped`, `Dropped`, `LeaseLost`, `TooLarge`, and `_Forgotten`."""
        if self._is_over():
            raise Stopped
        if not at_once and time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        shop, dataset = self._shop, self.dataset
        self._looked_at = time.monotonic()
        progress = self._tally.progress()
        shop.book.tell(dataset, progress)
        new = [key for key in shop.homes.hidden() if digest_of(key) not in dataset.excluded]
        if new and not shop.homes.spared(new)(self._note):
            raise _Forgotten(new)
        self._lease.check()
        self._reader.check()
        if time.monotonic() - self._summed_at > _SUM_SECONDS:
            self._others_bytes, self._summed_at = self._sum_others(), time.monotonic()
        if self._others_bytes + max(progress.bytes, self._linked_bytes) > shop.settings.bytes:
            most = shop.settings.bytes
            raise TooLarge(f"The files of all jobs would be larger than {most} bytes; choose fewer days, homes or formats")

    def _sum_others(self) -> int:
        """Sum the bytes of files that are kept, and those of others that were begun before: of two, the later one fails."""
        book, own, found = self._shop.book, self.dataset, 0
        for dataset in (known.dataset for known in book.datasets()):
            if dataset.state == "making" and (dataset.at, dataset.version) < (own.at, own.version):
                found += book.progress(dataset.version).bytes
            elif dataset.state != "making":
                found += dataset.size_bytes
        return found

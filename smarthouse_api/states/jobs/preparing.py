"""Finds the dataset that a job asks for: one of the same, made or being made, or else a new one."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Sequence
from typing import Final

import msgspec
from deltalake import DeltaTable

from backends.ports import ABSENT
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.errors import Unavailable
from smarthouse_api.lake.snapshot_marks import mark_of
from smarthouse_api.states.jobs.book import Known
from smarthouse_api.states.jobs.continuing import Continuing
from smarthouse_api.states.jobs.model import Dataset, Job, Request, encode
from smarthouse_api.states.jobs.workshop import Workshop
from smarthouse_api.states.query import Filters

_TRIES: Final = 3
_SAME_SECONDS: Final = 900.0
"""The shortest interval of aggregates: a kept one is at most so much older than the answer to the same question."""

log = logging.getLogger(__name__)


class Preparing:
    """Finds or begins datasets, and tells which are equal."""

    def __init__(self, shop: Workshop) -> None:
        self._shop, self.continuing = shop, Continuing(shop)

    def question(self, request: Request) -> str:
        """Name all that decides the answer to a request, except what the lake holds."""
        named = self._shop.export_settings.license, self._shop.export_settings.author, self._shop.program
        told: tuple[object, ...] = named, msgspec.structs.replace(request, fresh=True)
        if enrolled := self._shop.asking.enrolled():
            told = *told, sorted(enrolled)
        return hashlib.sha256(encode(told)).hexdigest()

    def is_current(
        self,
        dataset: Dataset,
        snapshot: DeltaTable | None,
        statistics: DeltaTable | None,
        hidden: Sequence[str],
        incomplete: str | None,
    ) -> bool:
        """Tell whether a dataset is what the same question would be answered with now. hidden: digests of the homes."""
        now, aggregation = self._shop.state.now(), dataset.request.aggregation
        if dataset.state == "done" and (dataset.expires_at or 0.0) <= now:
            return False
        # The last states of aggregates are held until now, so the interval that is under way grows.
        if aggregation is not None and now // _SAME_SECONDS != dataset.at // _SAME_SECONDS:
            return False
        if dataset.since_note != self.continuing.note(dataset.request.since):
            return False
        if (dataset.excluded, dataset.incomplete) != (tuple(hidden), incomplete):
            return False
        if aggregation is not None and not self._shop.exports.has_same_statistics(dataset.statistics_mark, statistics):
            return False
        return self._shop.table.ledger.has_same_rows(dataset.mark, snapshot)

    def prepare(self, job: Job, document: int) -> None:
        """Find the dataset that a job asks for, or begin it."""
        shop, request = self._shop, job.request
        shop.check_rules(request)
        filters = request.filters.kept(shop.table.first_kept_day())
        needed = filters if request.aggregation is None else request.aggregation.widened(filters)
        shop.rebuilding.refuse_held(*needed.span)
        if request.fresh:
            shop.chores.flush()
        with shop.table.reading() as lease:
            shop.rebuilding.refuse_held(*needed.span)
            aggregation, excluded = request.aggregation, shop.hidden()
            found = shop.exports.missing(needed, aggregation)
            snapshot, count = self._counted(needed, lease)
            if aggregation is not None and not aggregation.has_states:
                count = 0
            if (statistics := shop.exports.newest_statistics(aggregation)) is not None:
                count = None
            found = found or shop.exports.missing(needed, aggregation)
            if count == 0 and found is not None:
                raise Unavailable(f"No row can be given now: {found}")
            incomplete = "; ".join(filter(None, (found, shop.rebuilding.lacking(needed.span[0])))) or None
            question = self.question(request) if shop.asking.has_lasting_names else secrets.token_hex(32)
            newest, equal = shop.book.equal(question)
            known = None if newest is None else shop.book.known(newest)
            if known is not None and self.is_current(known.dataset, snapshot, statistics, excluded, incomplete):
                shop.book.join(job, document, known)  # else it is done again
                return
            dataset = Dataset(
                version=secrets.token_hex(16),
                question=question,
                jobs=(),
                request=request,
                filters=filters,
                mark=None if snapshot is None else mark_of(shop.table.name, snapshot),
                excluded=tuple(excluded),
                at=(now := shop.state.now()),
                made_by=shop.program,
                rows_in_all=count if aggregation is None or count == 0 else None,
                incomplete=incomplete,
                secret="" if shop.asking.has_lasting_names else shop.asking.secret().hex(),
                entered=0 if snapshot is None else shop.table.entered(snapshot),
                since_note=self.continuing.note(request.since),
                statistics_mark=shop.exports.mark_of_statistics(statistics),
            )
            if count == 0:
                dataset = msgspec.structs.replace(dataset, state="done", finished_at=now, expires_at=shop.expiry(now))
            shop.book.join(job, document, Known(dataset, ABSENT), equal)

    def _counted(self, filters: Filters, lease: Lease) -> tuple[DeltaTable | None, int | None]:
        """Open the newest snapshot, and count its rows that pass the filters; None if they cannot be counted now."""
        shop, count = self._shop, None
        for _ in range(_TRIES):
            asked = shop.asking.ready(filters)
            found = None if asked is None else shop.exports.whole(asked)
            if found is None:
                return None, 0
            snapshot = found[0]
            shop.table.note(lease, snapshot, filters.span)
            if filters.after is not None:
                break
            try:
                rows, told_of = shop.contents.answer(lambda opened: opened.select(filters).rows)
                if told_of.version == snapshot.version():
                    count = rows
            except Unavailable as fault:
                log.info("an export job does not know how many rows it will have: %s", fault)
                break
            if count is not None:
                break
        return snapshot, count

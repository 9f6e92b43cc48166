"""Gathers the report on an installation from its stores: any process can, whatever the others do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

import pyarrow.compute as pc

from backends.ports import StateStore, StoreUnfit
from config.groups import GrowthSettings
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.quotas import stored_bytes
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.damage import Damages
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.milestones import Milestones
from smarthouse_api.coordination.presence import Presence
from smarthouse_api.coordination.room import Room
from smarthouse_api.erasure.receipts import Receipts
from smarthouse_api.errors import Unavailable
from smarthouse_api.forgetting import Forgetting
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.table import LakeTable
from smarthouse_api.states.counts import Kept
from smarthouse_api.states.homes_table import EPOCH_DAY
from smarthouse_api.states.pending import read_pending
from smarthouse_api.states.service import States
from smarthouse_api.status.census import Amount, Counting
from smarthouse_api.status.faults import Faults
from smarthouse_api.status.report import Erasures, Homes, Jobs, Quota, RawUploads, Readiness, Report, Table, Waiting
from smarthouse_api.streams.service import Streams
from smarthouse_api.version import own_version

_MOST_FAULTS: Final = 20
_STORES: Final = ("state", "objects")
_DAY_SECONDS: Final = 86400.0
_WEEK_SECONDS: Final = 7 * _DAY_SECONDS


class Status:
    """Tells an operator what an installation holds, what waits, who works, and what failed last.

    serving: the presence of all processes. ask: gives the conditions of what the service depends on, and whether one fails.
    """

    def __init__(
        self,
        state: StateStore,
        installation: Installation,
        forgetting: Forgetting,
        receipts: Receipts,
        states: States,
        streams: Streams,
        collections: Collections,
        census: Counting,
        faults: Faults,
        serving: Presence,
        room: Room,
        growth: GrowthSettings,
        ask: Callable[[], tuple[dict[str, str], bool]],
    ) -> None:
        self._state, self._installation, self._forgetting, self._receipts = state, installation, forgetting, receipts
        self._states, self._streams, self._collections = states, streams, collections
        self._census, self._faults, self._serving, self._room, self._ask = census, faults, serving, room, ask
        self._growth, self._damages, self._milestones = growth, Damages(state), Milestones(state)

    def report(self) -> Report:
        """Report on the installation as it is now. Raises `StoreError` if the stores cannot be read."""
        conditions, failed = self._ask()
        counted = self._states.counts.by_home()
        collections = self._collections.catalogue.list()
        processes = sorted(self._serving.notes(), key=lambda one: (one.kind, one.host, one.pid))
        tables, unreadable = self._tables()
        faults = self._faults.newest()
        return Report(
            at=time.time(),
            installation=self._installation.check(),
            version=own_version(),
            readiness=Readiness(not failed, conditions),
            homes=self._homes(counted),
            uploads=self._uploads(),
            tables=tables,
            unreadable=unreadable,
            waiting=self._waiting(collections),
            jobs=Jobs(**asdict(self._states.jobs.figures())),
            processes=processes,
            storage=self._census.last(),
            state_bytes=self._state.size_bytes(),
            dead_letters=sum(map(self._collections.dead_letters.count, collections)),
            damaged_files=sum(1 for _ in self._damages.noted()),
            faults=faults[:_MOST_FAULTS],
            milestones=self._milestones.last(),
            erasures=self._erasures(),
            free_bytes=dict(zip(_STORES, self._room.free(), strict=True)),
            quotas=self._quotas(counted, collections),
            logged=sum(one.count for one in faults),
        )

    def condition_of_homes(self) -> str:
        """Give a line for readiness. Raises `Unavailable`, which is a warning, if the state has lost homes."""
        last = self._census.last()
        if last is not None and last.strangers:
            raise Unavailable(
                f"the state store does not know {last.strangers} homes that there are raw uploads of: it has lost its end, as a"
                " Redis does whose log was cut, and their owners cannot erase them; restore a backup, or stop the service and"
                " run `smarthouse restore`, which asks, and erases them"
            )
        return "all that have raw uploads are known"

    def files_with_rows(self) -> Amount:
        """Measure the files of the lake that hold its rows now."""
        tables = self._tables()[0].values()
        return Amount(sum(table.files for table in tables), sum(table.bytes for table in tables))

    def _homes(self, counted: Mapping[str, Kept]) -> Homes:
        known = self._states.homes.known()
        last = (counted[key].last_us for key in known if key in counted)
        ages = [time.time() - at / 1e6 for at in last if at is not None]
        in_week = sum(age < _WEEK_SECONDS for age in ages)
        return Homes(len(known), sum(age < _DAY_SECONDS for age in ages), in_week, len(ages) - in_week)

    def _quotas(self, counted: Mapping[str, Kept], collections: Sequence[Collection]) -> dict[str, Quota]:
        settings, stored = self._growth, [stored_bytes(self._state, one) for one in collections]
        largest = max((one.bytes for one in counted.values()), default=0)
        return {
            "uploads": Quota(self._states.counts.in_all().bytes, settings.quota_bytes or None),
            "home": Quota(largest, settings.quota_home_bytes or None),
            "records": Quota(sum(stored), settings.quota_collections_bytes or None),
            "collection": Quota(max(stored, default=0), settings.quota_collection_bytes or None),
        }

    def _uploads(self) -> RawUploads:
        counts = self._states.counts
        kept, expired, received = counts.in_all(), counts.expired(), counts.received()
        ever = received.uploads, received.bytes, received.records
        return RawUploads(kept.uploads, kept.bytes, expired.uploads, expired.bytes, *ever)

    def _tables(self) -> tuple[dict[str, Table], list[str]]:
        """Measure the tables that there are; the others' names are of those that are damaged, which readiness explains."""
        sizes, unreadable = dict[str, Table](), list[str]()
        for table in (self._states.table, self._states.statistics, self._collections.table):
            try:
                size = _size_of(table, self._states.counts.dropped(table.name))
            except StoreUnfit:
                unreadable.append(table.name)
            else:
                sizes.update({} if size is None else {table.name: size})
        return sizes, unreadable

    def _waiting(self, collections: Sequence[Collection]) -> Waiting:
        queue = self._states.uploads.queue
        leaving = self._collections.homes.leaving().values()
        hidden = [*self._states.homes.hidden().values(), *(one.at for one in leaving)]
        uploads = [entry for entry in queue.entries(0, queue.last()) if entry.value]
        topics = (TopicQueue(self._state, one) for one in collections)
        return Waiting(
            uploads=len(uploads),
            uploads_since=read_pending(uploads[0]).received_us / 1e6 if uploads else None,
            topics=sum(1 for one in topics if one.last() > one.taken().sequence),
            erasing=len(hidden),
            erasing_since=min(hidden, default=None),
            erasing_streams=sum(1 for one in self._streams.catalogue.tombstones() if one.purged_at is None),
            erasing_collections=len(self._collections.catalogue.tombstones()),
            scrubs=int(self._forgetting.is_scrub_owed()),
            repairs=len(self._states.rebuilding.repairs.unfinished())
            + len(self._collections.chores.rebuilding.repairs.unfinished()),
        )

    def _erasures(self) -> Erasures:
        return Erasures(self._forgetting.answer_times.seconds(), *self._receipts.seconds(), self._receipts.are_awaited())


def _size_of(table: LakeTable, dropped: int) -> Table | None:
    if (snapshot := table.open()) is None:
        return None
    files = files_of(snapshot)
    rows, size = (int(pc.sum(files[name]).as_py() or 0) for name in ("num_records", "size_bytes"))
    days = [day for day in files["partition.day"].to_pylist() if day > EPOCH_DAY]
    return Table(rows, files.num_rows, size, snapshot.version(), min(days, default=None), dropped)

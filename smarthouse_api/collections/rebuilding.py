"""Rebuilding: records whose data file was damaged are made again from what their topic still keeps.

A collection without an entry topic keeps nothing beside the lake: its records in a damaged file are lost. Readings, readiness
and `smarthouse verify` say so until an operator accepts the loss.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from backends.ports import PartDamaged, StateStore
from smarthouse_api.collections.catalogue import CollectionCatalogue
from smarthouse_api.collections.model import Collection
from smarthouse_api.collections.queue import TopicQueue
from smarthouse_api.collections.rows import Fields, LoggedEntry, read_logged, to_rows
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.damage import Damages
from smarthouse_api.coordination.leases import Lease
from smarthouse_api.lake.data_files import DataFiles
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.ledger import TableDamaged
from smarthouse_api.lake.repairs import LAST, LOST, Place, Repair, Repairs, new_id, told
from smarthouse_api.lake.setting_aside import look_at_noted, set_aside

_AT_ONCE: Final = 500
_LOOK_SECONDS: Final = 600.0
_PARTITION: Final = re.compile(r"collection=([^/]+)/day=([0-9-]{10})/")

log = logging.getLogger(__name__)


class RecordsRebuilding:
    """Finds damaged data files of the table of collections, and makes their records again as far as a topic keeps them."""

    def __init__(self, state: StateStore, table: CollectionsTable, catalogue: CollectionCatalogue) -> None:
        self._state, self._table, self._catalogue = state, table, catalogue
        self.repairs, self._damages = Repairs(state, "collections"), Damages(state)
        self._looked_at = dict[str, float]()

    def checked(self, key: str, snapshot: DeltaTable | None) -> tuple[DeltaTable | None, str | None]:
        """Look at the data files of a collection that were not looked at lately, and set damaged ones aside.

        Returns a snapshot without those, and in words which records are missing, if any are.
        """
        before = self._of(key)
        while snapshot is not None and (faults := self._faults(key, snapshot)):
            self.set_aside(faults)
            snapshot = self._table.open()
        return snapshot, told([*before, *self._of(key)])

    def set_aside(self, faults: Mapping[str, str]) -> None:
        """Remove damaged files from the table, and have their records made again. faults: what is wrong, by their paths."""
        set_aside(self._table, faults, self.repairs, _of_file)

    def distrust(self) -> None:
        """Have every data file looked at again: reading one has failed."""
        self._looked_at = {}
        self._table.ledger.distrust()

    def ask(self) -> bool:
        """Have the table's log made again if it is damaged; returns whether it is. The chores do the work."""
        try:
            self._table.open()
        except (TableDamaged, PartDamaged) as fault:
            self.repairs.add(Repair(new_id(), str(fault), "remove"))
            return True
        return False

    def work(self) -> None:
        """Make again what is kept: of the files that were set aside, or of the whole table."""
        if not any(not repair.places for repair, _ in self.repairs.all()):  # else its log cannot be read
            look_at_noted(self._table, self._damages, self.set_aside)
        # Nothing can be added to a table before its log can be read.
        for repair, document in sorted(self.repairs.all(), key=lambda one: bool(one[0].places)):
            if not repair.places:
                if not self._make_all():
                    return
                self.repairs.end(repair, document)
                continue
            (place,) = repair.places
            collection = next((one for one in self._catalogue.everything() if one.key == place.table), None)
            if collection is None:
                self.repairs.end(repair, document)
            elif not repair.is_lost:
                if (lease := self._table.try_write()) is None:
                    return
                with lease:
                    made = self._make(collection, place, lease)
                if made >= repair.rows > 0:
                    self.repairs.end(repair, document)
                else:
                    log.error("the lake: %s: %d of its rows were made again; the others are lost for good", repair.what, made)
                    self.repairs.advance(repair, document, LOST)

    def condition(self) -> str | None:
        """Give a line for readiness about what is being made again or is lost; None if nothing is."""
        words = {False: "is being made again from its topics", True: "is lost for good; see `smarthouse verify`"}
        found = [(repair.what, words[repair.is_lost]) for repair, _ in self.repairs.all()]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return f"collections: {found[0][0]}; what it held {found[0][1]}{more}" if found else None

    def _make_all(self) -> bool:
        """Write the log anew, and add the entries that topics keep and the table lacks; False while another writes."""
        if (lease := self._table.try_write()) is None:
            return False
        with lease:
            lost = list[str]()
            self._table.write_log_anew(lease, lambda paths: lost.extend(filter(self._note_loss, paths)))
            places = {one.key: (one, Place(one.key, date.min, date.max, 1, LAST)) for one in self._catalogue.everything()}
            whole = {key for key, (one, _) in places.items() if self._keeps_all(one)}
            made = {key: self._make(one, place, lease) for key, (one, place) in places.items()}
            self._drop_losses({_loss_id(path) for path in lost}, whole)
        log.warning(
            "the lake: the log of collections was made again; %d files are lost, %d entries came back",
            len(lost),
            sum(made.values()),
        )
        return True

    def _note_loss(self, path: str) -> bool:
        """Note that a file is lost; returns whether it is of a collection. Repeatable."""
        if (found := _PARTITION.match(path)) is None:
            return False
        day = date.fromisoformat(found[2])
        place, what = Place(found[1], day, day, 1, LAST), f"{self._table.name}/{path} is lost"
        self.repairs.add(Repair(_loss_id(path), what, LOST, (place,), day, day))
        return True

    def _drop_losses(self, ids: set[str], whole: set[str]) -> None:
        """Remove the notes of lost files whose rows were all made again. whole: keys of collections whose topic keeps all."""
        for repair, document in self.repairs.all():
            if repair.id in ids and repair.places[0].table in whole:
                self.repairs.end(repair, document)

    def _keeps_all(self, collection: Collection) -> bool:
        """Tell whether a topic still keeps everything that was ever accepted."""
        first = TopicQueue(self._state, collection).read(0, 1)
        return bool(first) and first[0].sequence == 1

    def _of(self, key: str) -> list[Repair]:
        return [repair for repair, _ in self.repairs.all() if not repair.places or repair.places[0].table == key]

    def _faults(self, key: str, snapshot: DeltaTable) -> dict[str, str]:
        files, now = files_of(snapshot), time.monotonic()
        here = files.filter(pc.equal(files["partition.collection"].cast("string"), key))
        is_new = [now - self._looked_at.get(path, -_LOOK_SECONDS) >= _LOOK_SECONDS for path in here["path"].to_pylist()]
        faults = DataFiles(self._table.ledger, here := here.filter(pa.array(is_new, pa.bool_()))).all_faults()
        live = set(files["path"].to_pylist())
        self._looked_at = {path: at for path, at in self._looked_at.items() if path in live}
        self._looked_at.update((path, now) for path in here["path"].to_pylist() if path not in faults)
        return faults

    def _make(self, collection: Collection, place: Place, lease: Lease) -> int:
        """Add the entries of a place that the table lacks and the topic keeps; how many rows they are."""
        made, some = 0, list[LoggedEntry]()
        snapshot = self._table.open_or_create()
        for logged in self._lacking(snapshot, collection, place):
            some.append(logged)
            if len(some) >= _AT_ONCE:
                made += self._add(snapshot, collection, some, lease)
        return made + self._add(snapshot, collection, some, lease)

    def _lacking(self, snapshot: DeltaTable, collection: Collection, place: Place) -> Iterator[LoggedEntry]:
        """Find the entries by their batches: a state store that has lost its last moments gives the same sequences again."""
        queue = TopicQueue(self._state, collection)
        there = self._table.batches(snapshot, collection.key, place.least - 1)
        for entry in queue.entries(place.least - 1, min(place.most, queue.taken().sequence)):
            with suppress(msgspec.DecodeError, TypeError):
                if entry.value and (logged := read_logged(entry.sequence, entry.value)).batch not in there:
                    yield logged

    def _add(self, snapshot: DeltaTable, collection: Collection, some: list[LoggedEntry], lease: Lease) -> int:
        if not some:
            return 0
        lease.check()
        rows = to_rows(collection, some, fields := Fields())
        self._note(collection, fields)
        self._table.append(snapshot, rows, {})
        some.clear()
        return int(rows.num_rows)

    def _note(self, collection: Collection, fields: Fields) -> None:
        """Store which members the rows have: what was known of them may have been given up with the file."""
        queue = TopicQueue(self._state, collection)
        before = queue.fields()
        if (after := before.merged(fields)).types != before.types:
            queue.put_fields(queue.take_turn(), after)


def _loss_id(path: str) -> str:
    return hashlib.sha256(f"lost {path}".encode()).hexdigest()[:32]


def _of_file(id_: str, what: str, file: Mapping[str, Any]) -> Repair:
    least, most = file.get("min.sequence"), file.get("max.sequence")
    day = file["partition.day"]
    place = Place(file["partition.collection"], day, day, 1 if least is None else least, LAST if most is None else most)
    return Repair(id_, what, "queue", (place,), day, day, rows=file["num_records"] or 0)

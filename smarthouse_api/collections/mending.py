"""Mending the spaces of collections: documents are made of the topic and the lake; a damaged entry is dropped, and told."""

from __future__ import annotations

from datetime import date
from typing import Final

from backends.counters import written
from backends.ports import Change, Part, Put, StateStore
from smarthouse_api.collections.catalogue import BORN, CollectionCatalogue
from smarthouse_api.collections.dead_letters import LETTERS
from smarthouse_api.collections.homes import HOME, HOME_BYTES
from smarthouse_api.collections.model import SPACES, TOPIC, Collection
from smarthouse_api.collections.queue import FIELDS, NOTHING_TAKEN, TAKEN, TopicQueue
from smarthouse_api.collections.quotas import DROPPING, STORED, size_of
from smarthouse_api.collections.rows import Fields
from smarthouse_api.collections.table import CollectionsTable
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.mending import Mender, removing
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.lake.ledger import SPACE as LAKE
from smarthouse_api.lake.repairs import LAST, LOST, Place, Repair, Repairs, new_id

_REPAIRS: Final = "repair/collections/"


class CollectionsMending:
    """Makes damaged documents of collections again, and lets their curating go on after a damaged entry of a topic."""

    def __init__(self, state: StateStore, table: CollectionsTable, catalogue: CollectionCatalogue, repairs: Repairs) -> None:
        self._state, self._table, self._catalogue, self._repairs = state, table, catalogue, repairs

    def menders(self) -> list[Mender]:
        """List what mends: how far the lake holds a topic comes first."""
        return [
            Mender(SPACES, TAKEN, self._mend_taken),
            Mender(SPACES, FIELDS, self._mend_fields),
            Mender(SPACES, TOPIC, self._drop_entry, is_log=True),
            Mender(SPACES, STORED, self._count_anew),
            Mender(SPACES, DROPPING, removing(self._state)),  # what has left the lake stays counted
            Mender(LAKE, _REPAIRS, self._mend_repair),
        ]

    def _mend_taken(self, part: Part) -> bool:
        """Begin at the first entry: the curator finds those that the lake holds."""
        return (one := self._of(part)) is not None and self._put(one, part, NOTHING_TAKEN)

    def _mend_fields(self, part: Part) -> bool:
        """Read them from the records in the lake."""
        if (one := self._of(part)) is None:
            return False
        fields = Fields()
        for texts in self._table.records(self._table.open_or_create(), one.key, 0):
            fields.note_texts(texts)
        return self._put(one, part, fields.encoded())

    def _drop_entry(self, part: Part) -> bool:
        """Drop the entry. If the lake does not hold its records yet, they are lost, and the collection says so."""
        if (one := self._of(part)) is None or part.sequence is None:
            return False
        if part.sequence > TopicQueue(self._state, one).taken().sequence:
            place = Place(one.key, date.min, date.max, part.sequence, part.sequence)
            what = f"entry {part.sequence} of a topic was damaged before the lake had its records"
            self._repairs.add(Repair(f"{one.key}-{part.sequence}", what, LOST, (place,)))
        self._state.commit(part.space, Change(expect={BORN: one.born}, drops=((part.name, part.sequence),)))
        return True

    def _count_anew(self, part: Part) -> bool:
        """Count what the lake holds and what waits for it, the dead letters, and the homes. Nothing is stored meanwhile."""
        if (one := self._of(part)) is None:
            return False
        queue, table = TopicQueue(self._state, one), self._table
        after = queue.taken().sequence
        after = max(after, 0 if (snapshot := table.open()) is None else table.held(snapshot).get(one.key, 0))
        letters = scan_past_damage(self._state, one.space, LETTERS)
        size = table.size_of(one.key) + size_of(entry.value for entry in queue.entries(after, queue.last()) if entry.value)
        size += sum(len(found.value) for _, found in letters if found is not None)
        size += HOME_BYTES * sum(1 for _ in scan_past_damage(self._state, one.space, HOME))
        return self._put(one, part, written((size,)))

    def _mend_repair(self, part: Part) -> bool:
        """Have all records made again that topics keep. The note may have told of a loss: so does that of each collection."""
        what = "all that it held, because the note of what is made again was damaged"
        for one in self._catalogue.everything():
            self._repairs.add(Repair(new_id(), what, "queue", (Place(one.key, date.min, date.max, 1, LAST),)))
        self._state.commit(part.space, Change(deletes=(part.name,)))
        return True

    def _of(self, part: Part) -> Collection | None:
        return next((one for one in self._catalogue.everything() if one.space == part.space), None)

    def _put(self, one: Collection, part: Part, value: bytes) -> bool:
        self._state.commit(one.space, Change(expect={BORN: one.born}, puts=(Put(part.name, value, FOR_GOOD_SECONDS),)))
        return True

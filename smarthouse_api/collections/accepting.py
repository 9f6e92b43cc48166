"""Accepts records: checks them against their collection's rules, and makes all or none of a request durable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import msgspec

from backends.ports import ABSENT, Change, Conflict, Put, StateStore
from config.groups import CollectionSettings
from smarthouse_api.collections.catalogue import BORN, look_for
from smarthouse_api.collections.dead_letters import DeadLetters
from smarthouse_api.collections.deduplication import find_new, find_new_batches
from smarthouse_api.collections.extraction import Batch, Extracted, extract
from smarthouse_api.collections.fast_path import UniformRecords
from smarthouse_api.collections.homes import EnteredHome, RecordHomes
from smarthouse_api.collections.model import MESSAGE_ID, OFF, STRICT, TOPIC, Collection, TopicEntry, entries
from smarthouse_api.collections.quotas import Quotas, size_of
from smarthouse_api.collections.record_times import are_clear, normalized
from smarthouse_api.collections.refused import Refused
from smarthouse_api.collections.schemas import faults_of
from smarthouse_api.collections.uniformity import uniformity
from smarthouse_api.collections.warning_texts import kind_of
from smarthouse_api.coordination.idempotency import Replies, RequestKey, pair_of
from smarthouse_api.coordination.retries import until_settled
from smarthouse_api.coordination.room import Room
from smarthouse_api.errors import Invalid, TooLarge, Unprocessable

_TOLD: Final = 3
_DOCUMENTS: Final = 10_000
"""Limits the documents of one commit: the state store does it in one step, and answers nobody meanwhile."""


class Accepted(msgspec.Struct, frozen=True):
    """Tells a client what became of the records in its request.

    id: the answer's, a UUID. stored, dead_letters: how many records were stored, and how many are dead letters now.
    is_duplicate: none of its records is new. replayed: this is the first answer to the same `Idempotency-Key`.
    """

    id: str
    at: datetime
    stored: int
    dead_letters: int = msgspec.field(default=0, name="aside")
    warnings: tuple[str, ...] = ()
    is_duplicate: bool = False
    replayed: bool = False


_REPLY: Final = pair_of(Accepted)


@dataclass
class _Acceptance:
    """Holds a request while its records are checked and stored.

    batches: its records may come in batches that were stored before. failed: batch events that cannot be taken apart, and why.
    home: the tag of the home that the records name. faults: by index in `records`. has_failed: a commit failed, so records of
    the request may be stored already.
    """

    collection: Collection
    records: list[Any]
    batches: Sequence[Batch]
    failed: Sequence[tuple[dict[str, Any], str]]
    message_id: str | None
    request_key: RequestKey | None
    home: str | None = None
    faults: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    has_failed: bool = False


class Accepting:
    """Checks the records of requests, and stores each request in one commit: records, dead letters, marks and answer."""

    def __init__(
        self,
        state: StateStore,
        replies: Replies,
        dead_letters: DeadLetters,
        room: Room,
        quotas: Quotas,
        homes: RecordHomes,
        settings: CollectionSettings,
    ) -> None:
        self._state, self._replies, self._dead_letters, self._settings = state, replies, dead_letters, settings
        self._room, self._quotas, self._homes = room, quotas, homes

    def accept(
        self,
        collection: Collection,
        records: list[Any],
        *,
        message_id: str | None = None,
        is_list: bool = True,
        refuse_faulty: bool = False,
        request_key: RequestKey | None = None,
        home: str | None = None,
    ) -> Accepted:
        """Store the records, all or none; they are durable once this returns.

        records: dicts, or `UniformRecords`. message_id: `params.msgid`, for deduplication by it. is_list: they came in an
        array. refuse_faulty: True for a data source. It converts times to UTC, warns of faults, and in strict mode refuses
        records that fail the schema. In a dataset such records become dead letters, and batch events are taken apart. home: the
        tag of the home that all of them are of, and with which they are forgotten.

        Raises `Invalid`, `Unprocessable`, `TooLarge`, `KeyReused`, `NotFound` (it was deleted meanwhile), `NoRoom`.
        """
        self._room.check()
        self._quotas.check_all()
        if not records:
            raise Invalid("data: there is no record; send at least one")
        if refuse_faulty or collection.extraction is None:
            extracted = Extracted(records)
        else:
            extracted = extract(collection.extraction, records, message_id, is_list=is_list)
        records = extracted.records
        self._check_count(collection, extracted)
        asked = _Acceptance(collection, records, extracted.batches, extracted.failed, message_id, request_key, home)
        if records and not (isinstance(records, UniformRecords) and _stay_as_they_are(records, collection, refuse_faulty)):
            self._look_into(asked, refuse_faulty)
        return until_settled(lambda: self._try(asked), "collection")

    def _look_into(self, asked: _Acceptance, refuse_faulty: bool) -> None:
        """Check the records, and convert the times of a data source's records to UTC."""
        collection = asked.collection
        asked.records = _objects(asked.records)
        if refuse_faulty:
            asked.records, asked.warnings = normalized(asked.records, collection.timestamp_field)
            self._hold_to_one_shape(asked)
        if collection.mode != OFF:
            asked.faults = faults_of(collection.schema, asked.records)
            if refuse_faulty:
                self._tell_faults(asked)

    def _check_count(self, collection: Collection, extracted: Extracted) -> None:
        most, count = self._settings.records, len(extracted.records)
        if _marks_each(collection) or (collection.mode == STRICT and collection.schema is not None):
            most = min(most, _DOCUMENTS)  # each may be a document of its own
        if count > most:
            raise TooLarge(f"data: there are {count} records; at most {most} are taken in one request")
        most, count = min(self._settings.records, _DOCUMENTS), len(extracted.batches) + len(extracted.failed)
        if count > most:
            raise TooLarge(f"data: there are {count} batch events; at most {most} are taken in one request")

    def _hold_to_one_shape(self, asked: _Acceptance) -> None:
        told = uniformity(asked.records)
        if told and asked.collection.mode == STRICT and asked.collection.schema is None:
            raise Unprocessable(f"All records of a request must follow the same schema: {'; '.join(told[:_TOLD])}")
        asked.warnings += told

    def _tell_faults(self, asked: _Acceptance) -> None:
        some = [f"data[{index}]: {fault}" for index, fault in list(asked.faults.items())[:_TOLD]]
        if left := len(asked.faults) - len(some):
            some.append(f"{left} more records do not follow the schema")
        if some and asked.collection.mode == STRICT:
            raise Unprocessable(f"The records do not follow the data source's schema: {'; '.join(some)}")
        asked.warnings += some

    def _try(self, asked: _Acceptance) -> Accepted:
        """Make one attempt, in one commit. Raises `Conflict` when something of the request is stored already."""
        collection, look = asked.collection, asked.has_failed
        home = None if asked.home is None else self._homes.entered(collection, asked.home, look=look)
        folder = "" if home is None else home.folder
        request_key = replace(asked.request_key, folder=folder) if asked.request_key and folder else asked.request_key
        if (earlier := self._replies.earlier(collection.space, request_key, _REPLY)) is not None:
            return earlier
        if look:
            look_for(self._state, collection)
        came = find_new_batches(self._state, collection, asked.batches, len(asked.records), look=look, folder=folder)
        dead = [index for index in came.indexes if index in asked.faults] if collection.mode == STRICT and asked.faults else []
        good = [index for index in came.indexes if index not in asked.faults] if dead else came.indexes
        # A dead letter marks nothing as seen: the client that corrects it sends it again.
        new = find_new(self._state, collection, asked.records, good, asked.message_id, look=look, folder=folder)
        is_repeat = new.is_repeat and (collection.dedup_key == MESSAGE_ID or not (dead or asked.failed))
        letters = [] if is_repeat else [*_letters(asked, dead)]
        told = Accepted(
            str(uuid4()),
            datetime.now(UTC),
            len(new.indexes),
            len(letters),
            tuple(asked.warnings),
            is_duplicate=is_repeat or (came.is_repeat and not letters),
        )
        marks = new.marks if is_repeat else (*came.marks, *new.marks)
        fresh = (*marks, *self._replies.puts(request_key, told, _REPLY))
        change, size = self._change(asked, home, new.indexes, fresh, letters, told)
        try:
            self._state.commit(collection.space, change)
        except Conflict:
            asked.has_failed = True
            self._quotas.check(collection, size)
            raise
        self._quotas.note(size)
        return told

    def _change(
        self,
        asked: _Acceptance,
        home: EnteredHome | None,
        indexes: Sequence[int],
        fresh: Sequence[Put],
        letters: Sequence[Refused],
        told: Accepted,
    ) -> tuple[Change, int]:
        """Make the commit, and tell the bytes that it stores. fresh: documents that must not be there."""
        head = TopicEntry(told.id, asked.collection.id, told.at, (), asked.message_id, home=home.key if home else None)
        is_all = len(indexes) == len(asked.records)
        records = asked.records if is_all else [asked.records[index] for index in indexes]
        places = enumerate(indexes) if asked.faults else ()
        faults = {at: asked.faults[index] for at, index in places if index in asked.faults}
        dead = [self._dead_letters.put(head, at, one) for at, one in enumerate(letters)]
        kept = list(entries(head, records, faults, self._settings.record_bytes))
        size = size_of(kept) + sum(len(put.value) for put in dead)
        change = Change(
            expect={BORN: asked.collection.born, **(home.expect if home else {}), **{put.key: ABSENT for put in fresh}},
            puts=(*fresh, *dead),
            appends=tuple((TOPIC, entry) for entry in kept),
            adds=self._quotas.adds(size),
        )
        return change, size


def _letters(asked: _Acceptance, dead: Sequence[int]) -> Iterator[Refused]:
    """What becomes dead letters: the records at these indexes, and the batch events that cannot be taken apart."""
    yield from (Refused(asked.records[index], asked.faults[index]) for index in dead)
    yield from (Refused(batch, fault, is_batch=True) for batch, fault in asked.failed)


def _objects(records: list[Any]) -> list[dict[str, Any]]:
    """The records as dicts. Raises `Invalid`."""
    if isinstance(records, UniformRecords):
        return records.as_dicts()
    if set(map(type, records)) != {dict}:
        index, record = next((index, record) for index, record in enumerate(records) if type(record) is not dict)
        raise Invalid(f"data[{index}]: a record must be an object, and this is {kind_of(record)}")
    return records


def _stay_as_they_are(records: UniformRecords, collection: Collection, refuse_faulty: bool) -> bool:
    """Whether the records can be stored as they are: no rule needs a look at them, or their times are known to be clear."""
    if _marks_each(collection) or (collection.schema is not None and collection.mode != OFF):
        return False
    name = collection.timestamp_field
    return not refuse_faulty or name is None or are_clear(records.values(name))


def _marks_each(collection: Collection) -> bool:
    """Whether each record has a deduplication key of its own."""
    return collection.dedup_key not in (None, MESSAGE_ID)

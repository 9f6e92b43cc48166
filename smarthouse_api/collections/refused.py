"""A dead letter: a record that its collection's schema refused, why, and what a replay would store of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec

from smarthouse_api.collections.extraction import extract
from smarthouse_api.collections.model import STRICT, WARN, Collection, TopicEntry, entries
from smarthouse_api.collections.schemas import faults_of


class DeadLetter(msgspec.Struct, frozen=True):
    """Keeps a record that its collection's schema refused.

    reason: why, in words. msgid: the request's that brought the record. is_batch: it is a batch event that could not be
    taken apart. home: as in `TopicEntry`; what a replay stores is of the same home.
    """

    id: str
    record: dict[str, Any]
    reason: str
    received_at: datetime
    msgid: str | None = None
    is_batch: bool = False
    home: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Says which record, or batch event, is to become a dead letter, and why."""

    record: dict[str, Any]
    reason: str
    is_batch: bool = False


def events_of(collection: Collection, letter: DeadLetter) -> tuple[list[dict[str, Any]], str | None]:
    """Find the records that a replay would store, and the fault for which a batch event gives none."""
    if not letter.is_batch or collection.extraction is None:
        return [letter.record], None
    extracted = extract(collection.extraction, [letter.record], None, is_list=False)
    return extracted.records, next((fault for _, fault in extracted.failed), None)


def fault_of(collection: Collection, letter: DeadLetter) -> str | None:
    """Say what is wrong with it by the schema as it is now; of a batch event, with which of its events."""
    events, fault = events_of(collection, letter)
    index, found = next(iter(faults_of(collection.schema, events).items()), (0, None))
    if fault or found is None or collection.extraction is None or events == [letter.record]:
        return fault or found
    return f"{collection.extraction.key}[{index}]: {found}"


def why_left(collection: Collection, letter: DeadLetter) -> str | None:
    """Say why a replay would leave it; None if it would store it. Only in strict mode does a replay hold it to the schema."""
    return fault_of(collection, letter) if collection.mode == STRICT else events_of(collection, letter)[1]


def replayed(collection: Collection, home: str | None, records: list[dict[str, Any]], record_bytes: int) -> Iterator[bytes]:
    """Make entries of replayed records of one home, or of none."""
    faults = faults_of(collection.schema, records) if collection.mode == WARN else {}
    head = TopicEntry(str(uuid4()), collection.id, datetime.now(UTC), (), home=home)
    return entries(head, records, faults, record_bytes)

"""Takes batch events apart: a batch event is an object with an array of events, and each event becomes a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from smarthouse_api.collections.fast_path import UniformRecords
from smarthouse_api.collections.member_names import member_of
from smarthouse_api.collections.model import MESSAGE_ID, Extraction
from smarthouse_api.collections.warning_texts import kind_of, short

_ABSENT: Final = object()


@dataclass(frozen=True, eq=False)
class Batch:
    """Tells which records of a request came in one batch.

    indexes: theirs, among the extracted records. value: of the batch's deduplication key; None if it has none.
    """

    indexes: range
    value: Any = None


@dataclass
class Extracted:
    """Holds what a request's data come to.

    records: to be stored. batches: those that may be repeats. failed: batch events that cannot be taken apart, and why.
    """

    records: list[Any]
    batches: list[Batch] = field(default_factory=list)
    failed: list[tuple[dict[str, Any], str]] = field(default_factory=list)


def extract(extraction: Extraction, data: list[Any], message_id: str | None, *, is_list: bool) -> Extracted:
    """Take the batch events among the data apart; what has no member with the events is an event itself, as with Obsrv.

    data: dicts, or `UniformRecords`. message_id: `params.msgid`. is_list: the request sent an array. An array of events is a
    batch too, known by its message id.
    """
    if isinstance(data, UniformRecords):
        if extraction.key not in data.names:
            return _as_one_batch(extraction, data, message_id)
        data = data.as_dicts()
    found = [member_of(one, extraction.key, _ABSENT) for one in data]
    if is_list and all(events is _ABSENT for events in found):
        return _as_one_batch(extraction, data, message_id)
    extracted = Extracted([])
    for one, events in zip(data, found, strict=True):
        if events is _ABSENT:
            extracted.records.append(one)
        elif (fault := _fault(extraction.key, events)) is not None:
            extracted.failed.append((one, fault))
        else:
            start = len(extracted.records)
            extracted.records += events
            extracted.batches.append(Batch(range(start, len(extracted.records)), _value(extraction, one, message_id)))
    return extracted


def _as_one_batch(extraction: Extraction, data: list[Any], message_id: str | None) -> Extracted:
    value = None if extraction.dedup_key is None else message_id or None
    return Extracted(data, [Batch(range(len(data)), value)])


def _fault(key: str, events: Any) -> str | None:
    """Why these are not the events of a batch."""
    if not isinstance(events, list):
        return f"{short(key)} is {kind_of(events)}; it must be an array of objects, the events of the batch"
    index = next((index for index, event in enumerate(events) if type(event) is not dict), None)
    return None if index is None else f"{short(key)}[{index}] is {kind_of(events[index])}; each event must be an object"


def _value(extraction: Extraction, batch: dict[str, Any], message_id: str | None) -> Any:
    """What the batch is known by."""
    if extraction.dedup_key is None:
        return None
    if extraction.dedup_key == MESSAGE_ID:
        return message_id or None
    return member_of(batch, extraction.dedup_key)

"""Deduplication: a record or request that repeats an earlier one is not stored again.

Each deduplication key that came is the document `seen/<digest>` in the collection's space, a batch's `seen/batch-<digest>`. It
expires with the window. Those of records that name a home stand in a folder of the home's, `seen/<key>/`, and go with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from backends.ports import Put, StateStore
from smarthouse_api.collections.extraction import Batch
from smarthouse_api.collections.member_names import member_of
from smarthouse_api.collections.model import MESSAGE_ID, Collection


@dataclass(frozen=True)
class NewRecords:
    """Tells which records of a request are new.

    indexes: the new records'. marks: documents that mark them as seen; a commit must find none of them. is_repeat: no record is
    new.
    """

    indexes: Sequence[int]
    marks: Sequence[Put] = ()
    is_repeat: bool = False


def find_new(
    state: StateStore,
    collection: Collection,
    records: Sequence[dict[str, Any]],
    indexes: Sequence[int],
    message_id: str | None,
    *,
    look: bool,
    folder: str = "",
) -> NewRecords:
    """Find the new records among those at these indexes, by the collection's deduplication key.

    look: ask the state store. Otherwise all records count as new, as they mostly are, and the commit fails if one is not.
    folder: of the home that the records name; empty, or ends in `/`.
    """
    if collection.dedup_key is None:
        return NewRecords(indexes)
    if collection.dedup_key == MESSAGE_ID:
        names = [_name(message_id, folder)] if message_id else []
        is_repeat = look and bool(_known(state, collection, names))
        return NewRecords((), is_repeat=True) if is_repeat else NewRecords(indexes, _marks(collection, names))
    key = collection.dedup_key
    values = ((index, member_of(records[index], key)) for index in indexes)
    named = {index: None if value is None else _name(value, folder) for index, value in values}
    wanted = [name for name in dict.fromkeys(named.values()) if name is not None]
    known = _known(state, collection, wanted) if look else set[str]()
    kept, marks = list[int](), list[str]()
    for index, name in named.items():
        if name is None:
            kept.append(index)
        elif name not in known:
            kept.append(index)
            marks.append(name)
            known.add(name)
    return NewRecords(kept, _marks(collection, marks), is_repeat=bool(indexes) and not kept)


def find_new_batches(
    state: StateStore, collection: Collection, some: Sequence[Batch], count: int, *, look: bool, folder: str = ""
) -> NewRecords:
    """Find the records that came in new batches, or in none, by the batches' deduplication key. look, folder: as in `find_new`.

    count: of all records of the request.
    """
    everything = range(count)
    batches = {batch: _name(batch.value, f"{folder}batch-") for batch in some if batch.value is not None}
    if collection.extraction is None or not batches:
        return NewRecords(everything)
    known = _known(state, collection, [*dict.fromkeys(batches.values())]) if look else set[str]()
    repeated, marks = set[int](), list[str]()
    for batch, name in batches.items():
        if name in known:
            repeated.update(batch.indexes)
        else:
            known.add(name)
            marks.append(name)
    kept = [index for index in everything if index not in repeated] if repeated else everything
    seconds = collection.extraction.dedup_seconds
    return NewRecords(kept, tuple(Put(name, b"", seconds) for name in marks), is_repeat=bool(repeated) and not kept)


def _known(state: StateStore, collection: Collection, names: Sequence[str]) -> set[str]:
    found = zip(names, state.get_many(collection.space, names), strict=True)
    return {name for name, mark in found if mark is not None}


def _marks(collection: Collection, names: Sequence[str]) -> tuple[Put, ...]:
    return tuple(Put(name, b"", collection.dedup_seconds) for name in names)


def _name(value: Any, kind: str = "") -> str:
    return f"seen/{kind}{sha256(msgspec.json.encode(value, order='sorted')).hexdigest()}"

"""What came before: `seen/<digest>` in a collection's space, for the window of its deduplication key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec

from backends.ports import Put, StateStore
from smarthouse_api.collections.model import MESSAGE_ID, Collection

_NOTHING: Final = object()


@dataclass(frozen=True)
class New:
    """indexes: of the records that were not seen before. marks: what marks them as seen, each on condition that it is new."""

    indexes: Sequence[int]
    marks: Sequence[Put] = ()


class Seen:
    """Remembers what came."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def new(self, collection: Collection, records: Sequence[dict[str, Any]], message_id: str | None, *, look: bool) -> New:
        """Which records are new. Without a `look` all are taken for new, as they mostly are: the commit finds out."""
        everything = range(len(records))
        if collection.dedup_key is None or (collection.dedup_key == MESSAGE_ID and message_id is None):
            return New(everything)
        if collection.dedup_key == MESSAGE_ID:
            name = _name(message_id)
            return New(()) if look and self._is_known(collection, name) else New(everything, (self._mark(collection, name),))
        path, marks, indexes = collection.dedup_key.split("."), dict[str, Put](), list[int]()
        for index in everything:
            value = _member(records[index], path)
            if value is not _NOTHING:
                name = _name(value)
                if name in marks or (look and self._is_known(collection, name)):
                    continue
                marks[name] = self._mark(collection, name)
            indexes.append(index)
        return New(indexes, tuple(marks.values()))

    def _is_known(self, collection: Collection, name: str) -> bool:
        return self._state.get(collection.space, name) is not None

    def _mark(self, collection: Collection, name: str) -> Put:
        return Put(name, b"", collection.dedup_seconds)


def _name(value: Any) -> str:
    return f"seen/{sha256(msgspec.json.encode(value, order='sorted')).hexdigest()}"


def _member(record: Any, path: list[str]) -> Any:
    """What stands at the path; `_NOTHING` if nothing does."""
    for name in path:
        if not isinstance(record, dict) or name not in record:
            return _NOTHING
        record = record[name]
    return record

"""Deduplication: what came before is `seen/<digest>` in a collection's space, for the window of its deduplication key."""

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
class NewRecords:
    """Which records of a request are new. indexes: theirs. marks: what marks them as seen, each on condition that it is new.

    is_repeat: none of them is new.
    """

    indexes: Sequence[int]
    marks: Sequence[Put] = ()
    is_repeat: bool = False


class Deduplication:
    """Finds repeats among the records that come, by their collection's deduplication key."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def new(
        self,
        collection: Collection,
        records: Sequence[dict[str, Any]],
        indexes: Sequence[int],
        message_id: str | None,
        *,
        look: bool,
    ) -> NewRecords:
        """Which of these records are new. Without a `look` all are taken for new, as they mostly are: the commit finds out."""
        if collection.dedup_key is None:
            return NewRecords(indexes)
        if collection.dedup_key == MESSAGE_ID:
            names = [_name(message_id)] if message_id else []
            is_known = look and any(self._known(collection, names))
            return NewRecords((), is_repeat=True) if is_known else NewRecords(indexes, self._marks(collection, names))
        path = collection.dedup_key.split(".")
        values = ((index, _member(records[index], path)) for index in indexes)
        named = {index: None if value is _NOTHING else _name(value) for index, value in values}
        known = set[str | None]()
        if look:
            wanted = [name for name in dict.fromkeys(named.values()) if name is not None]
            found = self._known(collection, wanted)
            known = {name for name, is_known in zip(wanted, found, strict=True) if is_known}
        kept, marks = list[int](), list[str]()
        for index, name in named.items():
            if name is None or name not in known:
                kept.append(index)
            if name is not None and name not in known:
                marks.append(name)
                known.add(name)
        return NewRecords(kept, self._marks(collection, marks), is_repeat=bool(indexes) and not kept)

    def _known(self, collection: Collection, names: Sequence[str]) -> list[bool]:
        return [one is not None for one in self._state.get_many(collection.space, names)]

    def _marks(self, collection: Collection, names: Sequence[str]) -> tuple[Put, ...]:
        return tuple(Put(name, b"", collection.dedup_seconds) for name in names)


def _name(value: Any) -> str:
    return f"seen/{sha256(msgspec.json.encode(value, order='sorted')).hexdigest()}"


def _member(record: Any, path: list[str]) -> Any:
    """What stands at the path; `_NOTHING` if nothing does, or null."""
    for name in path:
        if not isinstance(record, dict) or name not in record:
            return _NOTHING
        record = record[name]
    return _NOTHING if record is None else record

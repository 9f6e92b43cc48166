"""Cuts a table into bodies for the Ingest API."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

import msgspec

from smarthouse_api.recorder.tables import Entry, Table

_MOST_OCTETS: Final = 8 << 20
"""Bounds the JSON of a body, so that a chunk with long attributes fits into memory and the service's limits."""
_MOST_READ: Final = 100_000
"""Bounds the rows that are read for one chunk. Without it, a filter that few rows pass would show no progress."""
_PAGE: Final = 2_000


@dataclass(frozen=True)
class Choice:
    """Chooses rows: by globs of entity ids, and by a span of seconds since 1970 that leaves out its end."""

    entities: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    _known: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    def takes(self, name: str, time: float | None) -> bool:
        """Tell whether a row of this entity and time is to be uploaded."""
        if name not in self._known:
            self._known[name] = self._takes_name(name)
        return self._known[name] and self._takes_time(time)

    def _takes_name(self, name: str) -> bool:
        is_in = not self.entities or any(fnmatchcase(name, glob) for glob in self.entities)
        return is_in and not any(fnmatchcase(name, glob) for glob in self.exclude)

    def _takes_time(self, time: float | None) -> bool:
        if time is None:
            return self.since is None and self.until is None
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


@dataclass(frozen=True)
class Chunk:
    """A run of rows, and the body that holds those that were chosen.

    entries: their number. nameless: rows that hold no state, such as an entity's removal. last: the run's last row.
    """

    last: Entry
    entries: int
    nameless: int
    payload: dict[str, list[dict[str, Any]]]

    @cached_property
    def body(self) -> bytes:
        """The JSON, compressed. The same rows give the same bytes.

        States go as `/api/history/period` gives them, a list for each entity: their times are in UTC whatever the home's clock
        is, and only this shape says so. Statistics go under their ids.
        """
        lists = list(self.payload.values())
        of_states = bool(lists) and "entity_id" in lists[0][0]
        return zlib.compress(msgspec.json.encode(lists if of_states else self.payload))

    @property
    def key(self) -> str:
        """An `Idempotency-Key` that stands for these bytes and no others."""
        return hashlib.sha256(self.body).hexdigest()


class _Draft:
    """Collects the rows of a chunk."""

    def __init__(self, most: int, choice: Choice) -> None:
        self._most, self._choice = most, choice
        self._payload: dict[str, list[dict[str, Any]]] = {}
        self._entries = self._nameless = self._octets = self._read = 0
        self.last: Entry | None = None

    @property
    def is_full(self) -> bool:
        return self._entries >= self._most or self._octets >= _MOST_OCTETS or self._read >= _MOST_READ

    def take(self, entry: Entry) -> None:
        self.last = entry
        self._read += 1
        self._nameless += entry.name is None
        if entry.name is not None and self._choice.takes(entry.name, entry.time):
            self._payload.setdefault(entry.name, []).append(entry.member)
            self._entries += 1
            self._octets += entry.octets

    def chunk(self) -> Chunk | None:
        return None if self.last is None else Chunk(self.last, self._entries, self._nameless, self._payload)


def next_chunk(table: Table, after: int, until: int, most: int, choice: Choice) -> Chunk | None:
    """Read the rows after an id until `most` are chosen, or a bound is reached; None if there are no more rows."""
    draft = _Draft(most, choice)
    while not draft.is_full and (page := table.page(after, until, min(most, _PAGE))):
        for entry in page:
            draft.take(entry)
            if draft.is_full:
                break
        after = entry.id
    return draft.chunk()

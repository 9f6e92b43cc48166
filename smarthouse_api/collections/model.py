"""What a collection is: JSON records under one name, reached as a data source or as a dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

TOPIC: Final = "topic"
"""The log in a collection's space that holds what came, an `Entry` each: what the lake is fed from, and what consumers read."""

MESSAGE_ID: Final = "params.msgid"
"""The deduplication key that is the request's, not a record's."""

OFF, WARN, STRICT = "off", "warn", "strict"
MODES: Final = (OFF, WARN, STRICT)
_POSITION = re.compile(r"(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,9})", re.ASCII)


class Retention(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the entry topic keeps at most of what the lake holds already; None: what the installation keeps."""

    seconds: float | None = None
    bytes: int | None = None


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator says of a collection.

    alias: another name, among the same names as ids. schema: JSON Schema, draft 2020-12. timestamp_field: the member of a
    record that is its own time. mode: what becomes of records that fail the schema: `off`, `warn` or `strict`.
    dedup_key: `params.msgid`, or the path of a member of each record; what repeats it within `dedup_seconds` is not stored.
    requires_token: to write to it as a dataset; to a data source nobody writes without. public: whoever likes may read it.
    """

    id: str
    name: str
    alias: str | None = None
    schema: dict[str, Any] | None = None
    timestamp_field: str | None = "timestamp"
    mode: str = OFF
    dedup_key: str | None = None
    dedup_seconds: float = 7 * 86400.0
    entry_topic: str | None = None
    requires_token: bool = False
    public: bool = False
    retention: Retention = Retention()


class Collection(Definition, frozen=True, kw_only=True):
    """A collection that stands. key: random; what the stores call it. born: version of what lets it be written to."""

    key: str
    created_at: datetime
    updated_at: datetime
    born: int = 0

    @property
    def space(self) -> str:
        """Its space in the state store."""
        return space_of(self.id, self.key)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a topic: what one request brought, or a part of it.

    id: the request's. collection: its id. records: JSON objects. faults: why a record, by its index, fails the schema.
    """

    id: str
    collection: str
    received_at: datetime
    records: list[msgspec.Raw]
    msgid: str | None = None
    faults: dict[str, str] = {}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a record stands: the sequence of its entry in the topic, and its index there."""

    sequence: int
    index: int

    def __str__(self) -> str:
        return f"{self.sequence}-{self.index}"


def position_in(text: str) -> Position | None:
    """The position that a text names; None if it is none."""
    found = _POSITION.fullmatch(text)
    return Position(int(found[1]), int(found[2])) if found else None


def space_of(id_: str, key: str) -> str:
    """The space of the collection with this id and key."""
    return f"collection/{id_}.{key}"

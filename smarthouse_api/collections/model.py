"""Collections: JSON records under one name, reached as a data source or as a dataset. And the entries of their topics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from smarthouse_api.collections.schemas import Checker
from smarthouse_api.errors import Invalid, TooLarge

SPACES: Final = "collection/"
"""The spaces of all collections begin so."""

TOPIC: Final = "topic"
"""The log in a collection's space that feeds the lake, and that consumers read. Each of its values is a `TopicEntry`."""

RECORD_BYTES: Final = 64
"""What each record counts for in the quotas besides its JSON: about what its place and its times take up."""

MESSAGE_ID: Final = "params.msgid"
"""The deduplication key that is the request's, not a record's."""

OFF, WARN, STRICT = "off", "warn", "strict"
MODES: Final = (OFF, WARN, STRICT)
DEDUP_SECONDS: Final = 7 * 86400.0
"""For how long a collection knows a deduplication key, unless its definition says otherwise."""
_POSITION: Final = re.compile(r"(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,9})", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
_LONGEST_TEXT: Final = 200
_MOST_KEPT_BYTES: Final = 64 << 10
_LONGEST_SECONDS: Final = 100 * 365 * 86400.0
_ENTRY_BYTES: Final = 512 << 10


class Retention(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits what the entry topic keeps of what the lake holds already. None: as the installation's settings say."""

    seconds: float | None = None
    bytes: int | None = None


class Extraction(msgspec.Struct, frozen=True, omit_defaults=True):
    """Describes the batch events of a collection: objects with an array of events. Each event becomes a record.

    key: the member that holds the events. dedup_key: `params.msgid`, or a member of the batch event; a repeat within
    `dedup_seconds` is not stored. None: repeats are stored.
    """

    key: str = "events"
    dedup_key: str | None = None
    dedup_seconds: float = DEDUP_SECONDS


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """Describes a collection, as its operator wants it.

    id, alias: its names; all collections share one set of names. schema: JSON Schema, draft 2020-12. mode: what happens to
    records that fail the schema: `off`, `warn` or `strict`. timestamp_field: the member of a record that is its own time.
    dedup_key: `params.msgid`, or a member of each record; a repeat within `dedup_seconds` is not stored. Members are named as
    in `member_names`.
    requires_token: a key is needed to write to it as a dataset (as a data source it always is). public: anybody may read it.
    extraction: how batch events that come as a dataset's are taken apart; None: they are records themselves. kept: what else
    Obsrv's requests said of it, to be given back.
    """

    id: str
    name: str
    alias: str | None = None
    schema: dict[str, Any] | None = None
    timestamp_field: str | None = "timestamp"
    mode: str = OFF
    dedup_key: str | None = None
    dedup_seconds: float = DEDUP_SECONDS
    entry_topic: str | None = None
    requires_token: bool = False
    public: bool = False
    retention: Retention = Retention()
    extraction: Extraction | None = None
    kept: dict[str, Any] = {}


class Collection(Definition, frozen=True, kw_only=True):
    """Identifies a collection that exists, and carries its definition.

    key: random; the stores name the collection by it. born: the version of the document that permits writing. rights: a random
    id of what its definition opens, see `openings`; a backup does not bring back what was closed. Earlier versions gave no ids.
    """

    key: str
    created_at: datetime
    updated_at: datetime
    born: int = 0
    rights: dict[str, str] = {}

    @property
    def space(self) -> str:
        """The collection's space in the state store."""
        return space_of(self.id, self.key)


def openings(one: Definition) -> dict[str, object]:
    """Tell what a definition opens to more people, by name: reading and writing without a key, and an alias."""
    found = {"public": one.public, "open": not one.requires_token and one.entry_topic is not None, "alias": one.alias}
    return {name: value for name, value in found.items() if value}


class TopicEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Brings the records of one request, or some of them, to the lake and to the consumers of the topic.

    id: the request's. collection: the collection's id. records: JSON objects. faults: why a record, by its index, fails the
    schema. home: the key of the home that they are of, see `smarthouse_api.collections.homes`; None if they name none.
    """

    id: str
    collection: str
    received_at: datetime
    records: Sequence[msgspec.Raw]
    msgid: str | None = None
    faults: Mapping[str, str] = {}
    home: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Places a record in its topic: by the sequence of its entry, and by its index in that entry."""

    sequence: int
    index: int

    def __str__(self) -> str:
        return f"{self.sequence}-{self.index}"


# At import: threads that are the first to read a kind may crash the process together.
msgspec.json.Decoder(Definition)
read_entry = msgspec.json.Decoder(TopicEntry).decode
"""Reads an entry of a topic. Raises `msgspec.DecodeError`."""


def define(members: dict[str, Any]) -> Definition:
    """Make a definition of its members, by their names. If there is no `name`, the id is the name. Raises `Invalid`."""
    try:
        definition = msgspec.convert({"name": str(members.get("id")), **members}, Definition)
    except msgspec.ValidationError as fault:
        raise Invalid(f"The definition is malformed: {fault}") from None
    check(definition)
    return definition


def check(definition: Definition) -> None:
    """Check that a collection may have this definition. Raises `Invalid`, which names what is wrong."""
    for fault in _faults(definition):
        raise Invalid(fault)
    if definition.schema is not None:
        Checker(definition.schema)


def is_name(text: str) -> bool:
    """Return whether a collection may have this id, alias or topic."""
    return _NAME.fullmatch(text) is not None


def space_of(id_: str, key: str) -> str:
    """Name the space of the collection with this id and key."""
    return f"{SPACES}{id_}.{key}"


def position_in(text: str) -> Position | None:
    """Read a position; None if the text does not name one."""
    found = _POSITION.fullmatch(text)
    return Position(int(found[1]), int(found[2])) if found else None


def entries(head: TopicEntry, records: Sequence[Any], faults: Mapping[int, str], record_bytes: int) -> Iterator[bytes]:
    """Encode records as entries of a topic, each small enough for the state store.

    head: what the entries have in common. faults: by index in `records`. Raises `TooLarge` for a record of more than
    `record_bytes`.
    """
    if not records:
        return
    held = {at: fault for at, fault in faults.items() if 0 <= at < len(records)}
    whole = msgspec.json.encode(msgspec.structs.replace(head, records=records, faults=held))
    if len(whole) <= min(_ENTRY_BYTES, record_bytes):
        yield whole
    elif len(records) == 1:
        check_size(records[0], record_bytes)
        yield whole
    else:
        half = len(records) // 2
        yield from entries(head, records[:half], faults, record_bytes)
        yield from entries(head, records[half:], {at - half: fault for at, fault in faults.items()}, record_bytes)


def check_size(record: dict[str, Any], record_bytes: int) -> None:
    """Check that a record is not too large. Raises `TooLarge`."""
    if (size := len(msgspec.json.encode(record))) > record_bytes:
        raise TooLarge(f"data: a record has {size} bytes as JSON; at most {record_bytes} are taken")


def _faults(one: Definition) -> Iterator[str]:
    for what, name in (("id", one.id), ("alias", one.alias), ("entry_topic", one.entry_topic)):
        if name is not None and not is_name(name):
            yield (
                f"{what}: must be 1 to 100 letters, digits, dots, underscores, colons and hyphens, "
                "the first a letter or a digit"
            )
    if (size := len(msgspec.json.encode(one.kept))) > _MOST_KEPT_BYTES:
        largest = max(one.kept, key=lambda name: len(msgspec.json.encode(one.kept[name])))
        yield f"{largest}: what is kept of a definition may have {_MOST_KEPT_BYTES} bytes as JSON, and has {size}; shorten it"
    if one.alias == one.id:
        yield "alias: must be another name than the id"
    batches = one.extraction or Extraction()
    keys = (("dedup_key", one.dedup_key), ("extraction.dedup_key", batches.dedup_key))
    for what, text in (
        ("name", one.name),
        ("timestamp_field", one.timestamp_field),
        ("extraction.key", batches.key),
        *keys,
    ):
        if text is not None and not (0 < len(text) <= _LONGEST_TEXT and text.isprintable() and text.strip()):
            yield f"{what}: must be 1 to {_LONGEST_TEXT} printable characters, not all of them blank"
    for what, key in keys:
        if key is not None and key != MESSAGE_ID and not all(key.split(".")):
            yield f"{what}: must be {MESSAGE_ID}, or the names that lead to a member of a record, joined by dots"
    if one.mode not in MODES:
        yield f"mode: must be one of {', '.join(MODES)}"
    for what, seconds in (
        ("dedup_seconds", one.dedup_seconds),
        ("extraction.dedup_seconds", batches.dedup_seconds),
        ("retention.seconds", one.retention.seconds),
    ):
        if seconds is not None and not 0 < seconds <= _LONGEST_SECONDS:
            yield f"{what}: must be more than 0, and at most 100 years"
    if one.retention.bytes is not None and not 0 <= one.retention.bytes < 1 << 53:
        yield f"retention.bytes: must be from 0 to {(1 << 53) - 1}"

"""What a stream, a packet, a session and a metadata packet are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from smarthouse_api.access.keys import Owner

LARGEST_INDEX: Final = 2**53 - 1
"""The highest index of a packet: beyond it, JSON numbers of many clients are not exact."""


class StreamRetention(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a stream keeps: its newest packets, at most so many, of so many bytes, so many seconds old. None: all."""

    packets: int | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that exists. key: its internal one, random, which another stream of the same name never has. born: the version
    of the document that is there until it is deleted, for commits that are to fail then.
    """

    home_id: int
    module_id: str
    name: str
    key: str
    home_key: str
    born: int
    created_at: datetime
    retention: StreamRetention = StreamRetention()  # noqa: RUF009


@dataclass(frozen=True, slots=True)
class Status:
    """Where a stream stands, as clients see it.

    packet_index: the highest ever given, -1 before the first. open_packet_index, owner: while a session is open.
    """

    packet_index: int
    last_packet_received_at: datetime | None
    open_packet_index: int | None = None
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as it is stored."""

    index: int
    received_at: datetime
    data: bytes


@dataclass(frozen=True, slots=True)
class NewPacket:
    """A packet to be stored, at `index` or, if that is None, at the next one."""

    data: bytes
    index: int | None = None


class Appended(msgspec.Struct, frozen=True, omit_defaults=True):
    """The indexes of the first and the last packet. replayed: they are what the same `Idempotency-Key` was told before."""

    start: int
    stop: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A range of packets that somebody marked. stop: None while it is open and has no packet yet."""

    id: str
    start: int
    stop: int | None
    author: Owner
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class MetadataPacket:
    """The JSON object that belongs to a packet. source: who wrote it last."""

    packet_index: int
    content: dict[str, Any]
    received_at: datetime
    updated_at: datetime
    source: Owner

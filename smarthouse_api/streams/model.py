"""The model of streams: stream, packet, session, metadata packet, retention."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from smarthouse_api.access.keys import Owner
from smarthouse_api.errors import Invalid

LARGEST_INDEX: Final = 2**53 - 1
"""The highest index of a packet: beyond it, JSON numbers of many clients are not exact."""

_LONGEST_NAME: Final = 512
_LONGEST_NAME_BYTES: Final = 1024
"""In UTF-8: with two names of this length, percent-encoded, the URL of a download is still short enough for gunicorn."""


class StreamRetention(msgspec.Struct, frozen=True, omit_defaults=True):
    """Says which packets a stream keeps: the newest, up to a number, a size and an age. None sets no limit."""

    packets: int | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """Identifies a stream that exists, and carries its retention.

    key: internal and random; a later stream of the same name has another key. born: the version of the document that exists
    until the stream is deleted, for commits that must fail then.
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
    """Tells clients where a stream stands.

    packet_index: the highest index ever given, -1 before the first packet. open_packet_index, owner: set while a session is
    open.
    """

    packet_index: int
    last_packet_received_at: datetime | None
    open_packet_index: int | None = None
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class Packet:
    """Holds one stored packet."""

    index: int
    received_at: datetime
    data: bytes


@dataclass(frozen=True, slots=True)
class NewPacket:
    """Asks to store a packet at `index`, or at the next index if that is None."""

    data: bytes
    index: int | None = None


class Appended(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answers an append with the indexes of its first and last packet.

    replayed: it is the answer to an earlier request under the same `Idempotency-Key`.
    """

    start: int
    stop: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Describes a range of packets that a client marked or is writing.

    stop: None while the session is open without a packet.
    """

    id: str
    start: int
    stop: int | None
    author: Owner
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class MetadataPacket:
    """Describes a packet by a JSON object that a client attached to it. source: the key that wrote the object last."""

    packet_index: int
    content: dict[str, Any]
    received_at: datetime
    updated_at: datetime
    source: Owner


def check_name(what: str, name: str) -> None:
    """Check that a stream or a module can have this name. Raises `Invalid`. what: the parameter's name."""
    is_text = not any(unicodedata.category(character) in ("Cc", "Cs") for character in name) and "\ufffd" not in name
    is_short = 0 < len(name) <= _LONGEST_NAME and len(name.encode(errors="surrogatepass")) <= _LONGEST_NAME_BYTES
    if not (is_short and is_text and name not in (".", "..")):
        raise Invalid(
            f"{what}: a name has 1 to {_LONGEST_NAME} characters, of at most {_LONGEST_NAME_BYTES} bytes in UTF-8, no control "
            "characters, and is not . or .."
        )

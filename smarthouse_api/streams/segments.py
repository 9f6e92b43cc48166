"""What a stream's space says of its packets at rest: segments, and how far the log is sealed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from smarthouse_api.streams.model import LARGEST_INDEX, Stream

LOG: Final = "packets"
REST: Final = "rest"
MOST_PACKETS: Final = 1 << 17
"""Of one segment, about."""


class Segment(msgspec.Struct, frozen=True):
    """Sealed packets. to_us: when the last of them came; bytes: of all packets. from_us: when the first came; nobody reads it,
    but every stored segment has it.
    """

    id: str
    first: int
    last: int
    packets: int
    bytes: int
    from_us: int
    to_us: int

    @property
    def name(self) -> str:
        return segment_name(self.last)

    def is_small(self, segment_bytes: int) -> bool:
        """Whether packets that follow had better be in the same segment, which then replaces this one."""
        return self.bytes * 2 < segment_bytes and self.packets * 2 < MOST_PACKETS


class Rest(msgspec.Struct, frozen=True, omit_defaults=True):
    """sequence: of the last sealed entry of the log. next: the index after its last packet. packets, bytes: of all that was
    ever sealed. floor: the lowest index that is read. dropped_packets, dropped_bytes: of all below it. newest: the last
    segment. trash: segments that nobody who begins now reads, and since when, in seconds since 1970.
    """

    sequence: int = 0
    next: int = 0
    packets: int = 0
    bytes: int = 0
    floor: int = 0
    dropped_packets: int = 0
    dropped_bytes: int = 0
    newest: Segment | None = None
    trash: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Found:
    """`rest` and its version, `ABSENT` before anything was sealed."""

    rest: Rest
    version: int


def object_name(stream: Stream, segment_id: str) -> str:
    """Of a segment's objects, without their endings."""
    return f"packets/{stream.home_key}/{stream.key}/{segment_id}"


def segment_name(last: int) -> str:
    """The document of the segment whose last packet has this index."""
    return f"segment/{min(last, LARGEST_INDEX):016d}"

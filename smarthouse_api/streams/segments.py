"""Segments: what is stored of each, apart from its two objects."""

from __future__ import annotations

from typing import Final

import msgspec

from smarthouse_api.streams.model import LARGEST_INDEX

MOST_PACKETS: Final = 1 << 17
"""Packets that one segment holds, about."""


class Segment(msgspec.Struct, frozen=True):
    """Describes a segment: its first and last index, and how many packets and bytes it holds.

    from_us, to_us: when its first and its last packet came, in microseconds since 1970. Nobody reads `from_us`, but every
    stored segment has it.
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
        """The name of the segment's document."""
        return segment_name(self.last)

    def is_small(self, segment_bytes: int) -> bool:
        """Return whether the next packets should be merged with these, into a segment that replaces this one."""
        return self.bytes * 2 < segment_bytes and self.packets * 2 < MOST_PACKETS


read_segment = msgspec.json.Decoder(Segment).decode


def segment_name(last: int) -> str:
    """Name the document of the segment whose last packet has this index."""
    return f"segment/{min(last, LARGEST_INDEX):016d}"

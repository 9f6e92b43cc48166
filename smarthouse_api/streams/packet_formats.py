"""Packet formats: how one download holds the packets of a stream."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from smarthouse_api.arrow.time_columns import TIMESTAMP, write_times
from smarthouse_api.arrow.zip_stream import ZipMember, zip_stream
from smarthouse_api.errors import Invalid
from smarthouse_api.streams.packet_encoding import Block


def _ndjson(blocks: Iterable[Block]) -> Iterator[bytes]:
    """A line for each packet: index, time, and its bytes in base64.

    A line's end is sent with the next line, or at the very end. So a download that is broken off never ends with a whole line.
    """
    end = b""
    for block in blocks:
        times = write_times(pa.array(block.times_us).cast(TIMESTAMP))
        view, at, lines = memoryview(block.octets), 0, list[bytes]()
        for index, size, received in zip(block.indexes.tolist(), block.sizes.tolist(), times.to_pylist(), strict=True):
            data = base64.b64encode(view[at : at + size])
            lines.append(b'{"index":%d,"time":"%s","data":"%s"}' % (index, received.encode(), data))
            at += size
        yield end + b"\n".join(lines)
        end = b"\n"
    yield end


def _zip(blocks: Iterable[Block]) -> Iterator[bytes]:
    """A file for each packet, named by its index."""
    packets = (packet for block in blocks for packet in block.packets())
    return zip_stream(ZipMember(f"{one.index:016d}.bin", one.received_at, (one.data,)) for one in packets)


@dataclass(frozen=True, slots=True)
class PacketFormat:
    """Describes a format that puts packets into one file.

    ending: the file name's. encode: None if the file is only their bytes.
    """

    content_type: str
    ending: str
    encode: Callable[[Iterable[Block]], Iterator[bytes]] | None = None


PACKET_FORMATS: Final = {
    "octets": PacketFormat("application/octet-stream", "bin"),
    "ndjson": PacketFormat("application/x-ndjson", "ndjson", _ndjson),
    "zip": PacketFormat("application/zip", "zip", _zip),
}
"""Every packet format by its name."""


def format_named(name: str) -> str:
    """Return the name of a packet format, given in upper or lower case. Raises `Invalid`."""
    if name.lower() not in PACKET_FORMATS:
        raise Invalid(f"format: {name[:40]!r} is not a format; the formats are {', '.join(PACKET_FORMATS)}.")
    return name.lower()

"""The streams that are linked with a home, in its archive: packets, the metadata of packets, and sessions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

import msgspec

from smarthouse_api.arrow.times import time_text
from smarthouse_api.arrow.zip_stream import ZipMember
from smarthouse_api.errors import NotFound
from smarthouse_api.streams.model import LARGEST_INDEX, MetadataPacket, Session, Stream
from smarthouse_api.streams.packet_formats import PACKET_FORMATS
from smarthouse_api.streams.service import Streams

_LINES: Final = 1000


def members(streams: Streams, found: Iterable[Stream], at: datetime) -> Iterator[ZipMember]:
    """Give the files of each stream, in a folder of its own. at: of the archive."""
    encode = PACKET_FORMATS["ndjson"].encode
    for stream in found:
        folder = "/".join(["streams", str(stream.home_id), _safe(stream.module_id), _safe(stream.name)])
        try:
            sessions = [_session(one) for one in streams.sessions.within(stream, 0, LARGEST_INDEX)]
        except NotFound:  # it was deleted meanwhile
            continue
        about = {"module": stream.module_id, "name": stream.name, "created": time_text(stream.created_at), "sessions": sessions}
        yield ZipMember(f"{folder}/stream.json", at, [msgspec.json.format(msgspec.json.encode(about))])
        if encode is not None:
            yield ZipMember(f"{folder}/packets.ndjson", at, encode(streams.reader.blocks(stream, 0, LARGEST_INDEX)))
        yield ZipMember(f"{folder}/metadata.jsonl", at, _lines(streams.metadata.each(stream)))


def _safe(name: str) -> str:
    """Write a name so that it is one folder on every system. Names are neither `.` nor `..`."""
    return quote(name, safe=" ").replace(" ", "_")


def _session(session: Session) -> dict[str, Any]:
    return {"id": session.id, "start": session.start, "stop": session.stop, "open": session.is_open}


def _lines(packets: Iterator[MetadataPacket]) -> Iterator[bytes]:
    while some := list(islice(packets, _LINES)):
        yield b"".join(msgspec.json.encode(_metadata(one)) + b"\n" for one in some)


def _metadata(packet: MetadataPacket) -> dict[str, Any]:
    times = {"receivedAt": time_text(packet.received_at), "updatedAt": time_text(packet.updated_at)}
    return {"packetIndex": packet.packet_index, **times, "content": packet.content}

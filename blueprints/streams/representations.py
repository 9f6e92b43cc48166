"""JSON of streams, sessions and metadata, written directly: long lists would wait for a schema to dump them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import Response

from blueprints.responses import json_response
from smarthouse_api.arrow.times import time_text
from smarthouse_api.streams.model import MetadataPacket, Session, Status, Stream, StreamRetention

Item = TypeVar("Item")


def page_response(items: Sequence[Item], query: dict[str, Any], told_as: Callable[[Item], dict[str, Any]]) -> Response:
    """Answer with the part of a list that the query asks for."""
    skip, limit = query["skip"], query["limit"]
    some = items[skip : skip + limit] if limit else items[skip:]
    return part_response([told_as(item) for item in some], skip, len(items))


def part_response(objects: list[dict[str, Any]], skip: int, count: int) -> Response:
    """Answer with a part of a list, and tell in a header where in the list of `count` objects it lies."""
    answer = json_response(objects)
    where = f"{skip}-{skip + len(objects) - 1}" if objects else "*"
    answer.headers["vnd.tinkermode.range"] = f"{where}/{count}"
    return answer


def stream_object(stream: Stream) -> dict[str, Any]:
    """Describe a stream in a list."""
    return {"homeId": stream.home_id, "moduleId": stream.module_id, "name": stream.name}


def whole_stream(stream: Stream) -> dict[str, Any]:
    """Describe a stream, with what it keeps if that is not everything."""
    kept = {} if stream.retention == StreamRetention() else {"retention": stream.retention}
    return stream_object(stream) | kept


def status_object(status: Status) -> dict[str, Any]:
    """Describe the status of a stream, without absent members."""
    return _present(
        packetIndex=status.packet_index,
        lastPacketReceivedAt=status.last_packet_received_at and time_text(status.last_packet_received_at),
        openPacketIndex=status.open_packet_index,
        streamOwner=status.owner,
    )


def session_object(session: Session) -> dict[str, Any]:
    """Describe a session, without absent members."""
    is_open = session.is_open or None
    return _present(id=session.id, start=session.start, stop=session.stop, author=session.author, open=is_open)


def metadata_object(packet: MetadataPacket) -> dict[str, Any]:
    """Describe the metadata of a packet."""
    return {
        "packetIndex": packet.packet_index,
        "content": packet.content,
        "receivedAt": time_text(packet.received_at),
        "updatedAt": time_text(packet.updated_at),
        "source": packet.source,
    }


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}

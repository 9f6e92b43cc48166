"""Following: a client gets a stream's packets as they come, with its key, or by a URL that was made for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from flask import Response, request

from blueprints.current_request import house
from blueprints.dialects import problems
from blueprints.hosts import url_of
from blueprints.responses import closed_when_sent, empty_response, json_response
from blueprints.streams import schemas
from blueprints.streams.api import AuthorizedPath, StreamPath, answers, blueprint, route, while_allowed
from blueprints.streams.openapi import EVENTS
from smarthouse_api.access.keys import digest_in
from smarthouse_api.arrow.times import time_text
from smarthouse_api.streams.model import Packet, Stream


@route("/<segment:streamName>/follow", methods=["POST"])
@blueprint.arguments(schemas.FollowSchema(), location="query", error_status_code=400)
@blueprint.response(200, schemas.FollowUrlSchema)
@answers("makeFollowUrl")
def follow_url(query: dict[str, Any], path: AuthorizedPath) -> Response:
    """Make a URL to follow a stream without a key, for the `EventSource` of a browser.

    The URL works until it expires, for as long as the key opens the home. A client reconnects to it with `Last-Event-ID`.
    """
    digest = digest_in(request.headers.get("Authorization"))
    made = house().streams.follow_urls.make(path.stream(), path.owner.id, digest, query.get("start"), query.get("stop"))
    told = {"url": url_of(".follow", **path.names, **made.query), "expiresAt": time_text(made.expires_at)}
    return json_response(told, headers={"Cache-Control": "no-store"})


@route("/<segment:streamName>/follow")
@blueprint.arguments(schemas.FollowedSchema(), location="query", error_status_code=400)
@blueprint.arguments(schemas.ResumeSchema(), location="headers", error_status_code=400)
@blueprint.response(200, EVENTS, content_type="text/event-stream", description="The packets, as server-sent events")
@blueprint.alt_response(204, description="`Last-Event-ID` is the last packet of the range")
@problems(blueprint, "followPackets", 403, security=[])
def follow(query: dict[str, str], headers: dict[str, Any], path: StreamPath) -> Response:
    """Follow a stream by a URL that the service gave.

    The URL is the permission: it needs no key, and its signature protects it.
    """
    urls = house().streams.follow_urls
    stream, start, stop = urls.open(path.home_id, path.module_id, path.stream_name, query)
    is_allowed = while_allowed(lambda: urls.check(path.home_id, query))
    return events_response(stream, start, stop, headers.get("last_event_id"), is_allowed)


def events_response(
    stream: Stream, start: int | None, stop: int | None, last_event_id: int | None, is_allowed: Callable[[], bool]
) -> Response:
    """Answer with the packets from `start` to `stop` as they come, or those after `last_event_id`."""
    if last_event_id is not None:
        start = last_event_id + 1
    if start is not None and stop is not None and start > stop:
        return empty_response()  # which tells a browser not to come back
    tail = house().streams.tail.follow(stream, start, stop, is_allowed)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Referrer-Policy": "no-referrer"}
    return closed_when_sent(tail.close, lambda: Response(_events(tail), headers=headers, content_type="text/event-stream"))


def _events(tail: Iterator[Sequence[Packet]]) -> Iterator[bytes]:
    yield b"retry: 1000\n\n"
    for packets in tail:
        yield b"".join(map(_event, packets)) or b":\n\n"


def _event(packet: Packet) -> bytes:
    told = {"index": packet.index, "time": time_text(packet.received_at), "data": packet.data}
    return b"id: %d\ndata: %b\n\n" % (packet.index, msgspec.json.encode(told))

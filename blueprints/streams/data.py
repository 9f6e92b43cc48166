"""Packets: appended, fetched, downloaded."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from flask.views import MethodView

from blueprints.bodies import decoded_body, text_body
from blueprints.byte_ranges import PART, PART_HEADERS, asked_part, tell_part
from blueprints.current_request import house
from blueprints.dialects import problems
from blueprints.hosts import url_of
from blueprints.idempotency import IDEMPOTENCY_KEY, REPLAYED_HEADERS, replayed_header, request_key
from blueprints.json_lines import is_batch
from blueprints.openapi import BINARY
from blueprints.responses import closed_when_sent, empty_response, file_response, json_response, until_broken
from blueprints.streams import schemas
from blueprints.streams.api import AuthorizedPath, StreamPath, answers, blueprint, permission, route
from blueprints.streams.bodies import new_packets
from blueprints.streams.following import events_response
from blueprints.streams.openapi import DOWNLOAD_HEADERS, EVENTS, FOUND_HEADERS, PACKETS_BODY
from smarthouse_api.streams.downloads import Download, DownloadLocation


@route("/<segment:streamName>/data")
class Data(MethodView):
    @blueprint.arguments(schemas.FetchSchema(), location="query", error_status_code=400)
    @blueprint.arguments(schemas.ResumeSchema(), location="headers", error_status_code=400)
    @blueprint.response(302, description="Redirects to the packets", headers=FOUND_HEADERS)
    @blueprint.alt_response(200, schema=EVENTS, content_type="text/event-stream", description="With `follow`: the packets")
    @blueprint.alt_response(204, description="With `follow`: `Last-Event-ID` is the last packet of the range")
    @answers("fetchPackets")
    def get(self, query: dict[str, Any], headers: dict[str, Any], path: AuthorizedPath) -> Response:
        """Fetch data packets.

        The answer redirects to a URL of the packets' bytes. The URL expires soon and needs no key. With `follow`, the answer is
        the packets as server-sent events, each with index, time and base64. A comment line keeps the connection alive.
        """
        if query["follow"]:
            bounds = query.get("start"), query.get("stop")
            return events_response(path.stream(), *bounds, headers.get("last_event_id"), permission(path.home_id))
        wanted = query["start"], query["stop"], query["format"]
        return _found(house().streams.downloads.locate(path.stream(), *wanted), path)

    @blueprint.arguments(schemas.AppendSchema(), location="query", error_status_code=400)
    @blueprint.response(201, schemas.AppendedSchema, headers=REPLAYED_HEADERS)
    @answers("appendPackets", 409, parameters=[IDEMPOTENCY_KEY], requestBody=PACKETS_BODY)
    def post(self, query: dict[str, Any], path: AuthorizedPath) -> Response:
        """Append data packets: all of them are stored durably, or none."""
        batch = is_batch(request.mimetype)
        body = text_body() if batch else decoded_body()
        packets = new_packets(body, batch, query.get("index"))
        appended = house().streams.appending.append(
            path.stream_to_append_to(),
            packets,
            path.owner,
            session_id=query.get("session"),
            request_key=request_key(path.owner.id, body),
        )
        return json_response({"start": appended.start, "stop": appended.stop}, 201, replayed_header(appended.replayed))


@route("/<segment:streamName>/download")
@blueprint.arguments(schemas.SignedSchema(), location="query", error_status_code=400)
@blueprint.response(200, BINARY, content_type="application/octet-stream", headers=DOWNLOAD_HEADERS)
@blueprint.alt_response(
    206, schema=BINARY, content_type="application/octet-stream", description="The requested bytes", headers=PART_HEADERS
)
@problems(blueprint, "downloadPackets", 403, 416, parameters=PART, security=[])
def download(query: dict[str, str], path: StreamPath) -> Response:
    """Download packets from a URL that the service gave.

    The URL is the permission: it needs no key, and its signature protects it. A request may name one range of bytes.
    """
    opened = house().streams.downloads.open(path.home_id, path.module_id, path.stream_name, query)
    return closed_when_sent(opened.close, lambda: download_response(opened))


def _found(located: DownloadLocation, path: StreamPath) -> Response:
    url = located.url or url_of(".download", **path.names, **located.query)
    return empty_response(302, {"Location": url, "Cache-Control": "no-store"})


def download_response(download: Download) -> Response:
    etag, size = f'"{download.etag}"', download.size_bytes
    first, last = (0, None) if size is None else asked_part(etag, size)
    chunks = until_broken("a download", download.body(first, last))
    response = file_response(chunks, download.content_type, download.file_name, "private, no-store")
    response.headers.update({"ETag": etag, "Referrer-Policy": "no-referrer"})
    response.headers["Accept-Ranges"] = "none" if size is None else "bytes"
    if size is not None:
        tell_part(response, size, first, last)
    return response

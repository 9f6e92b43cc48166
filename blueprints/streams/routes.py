"""Streams, their status, and the metadata of their packets."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for
from flask.views import MethodView

from blueprints.current_request import house
from blueprints.responses import empty_response, json_response
from blueprints.streams import representations, schemas
from blueprints.streams.api import AuthorizedPath, answers, blueprint, route
from blueprints.streams.bodies import new_retention, noted_content
from blueprints.streams.openapi import CONTENT_BODY, LOCATION_HEADERS, PAGE_HEADERS, RETENTION_BODY


@route("")
@blueprint.arguments(schemas.PageSchema(), location="query", error_status_code=400)
@blueprint.response(200, schemas.StreamSchema(many=True), headers=PAGE_HEADERS)
@answers("listStreams")
def streams(query: dict[str, Any], path: AuthorizedPath) -> Response:
    """Get the streams of a home."""
    return representations.page_response(
        house().streams.catalogue.list(path.home_id, path.module_id), query, representations.stream_object
    )


@route("/<segment:streamName>")
class Stream(MethodView):
    @blueprint.response(200, schemas.WholeStreamSchema)
    @answers("getStream")
    def get(self, path: AuthorizedPath) -> Response:
        """Get a stream."""
        return json_response(representations.whole_stream(path.stream()))

    @blueprint.response(201, schemas.WholeStreamSchema, description="The stream is new", headers=LOCATION_HEADERS)
    @blueprint.alt_response(200, schema=schemas.WholeStreamSchema, description="The stream existed already")
    @answers("putStream", requestBody=RETENTION_BODY)
    def put(self, path: AuthorizedPath) -> Response:
        """Create a stream, or change its retention."""
        retention = new_retention()
        stream, is_new = house().streams.catalogue.create(path.home_id, path.module_id, path.stream_name, retention)
        created = (201, {"Location": url_for(".Stream", **path.names)}) if is_new else (200, None)
        return json_response(representations.whole_stream(stream), *created)

    @blueprint.response(204, description="The stream and everything in it is deleted")
    @answers("deleteStream", 409)
    def delete(self, path: AuthorizedPath) -> Response:
        """Delete a stream with its packets, sessions and metadata."""
        house().streams.delete(path.stream())
        return empty_response()


@route("/<segment:streamName>/status")
@blueprint.response(200, schemas.StatusSchema)
@answers("getStreamStatus")
def status(path: AuthorizedPath) -> Response:
    """Get the status of a stream."""
    return json_response(representations.status_object(house().streams.status(path.stream())))


@route("/<segment:streamName>/metadata")
@blueprint.arguments(schemas.RangeSchema(), location="query", error_status_code=400)
@blueprint.response(200, schemas.MetadataSchema(many=True), headers=PAGE_HEADERS)
@answers("listMetadata")
def metadata(query: dict[str, Any], path: AuthorizedPath) -> Response:
    """Get the metadata of a range of packets."""
    stream = path.stream_if_any()
    found, count = ([], 0) if stream is None else house().streams.metadata.page(stream, **query)
    return representations.part_response(list(map(representations.metadata_object, found)), query["skip"], count)


@route("/<segment:streamName>/metadata/<segment:packetIndex>")
class MetadataPacket(MethodView):
    @blueprint.response(200, schemas.MetadataSchema)
    @answers("getMetadata")
    def get(self, path: AuthorizedPath) -> Response:
        """Get the metadata of a packet."""
        return json_response(representations.metadata_object(house().streams.metadata.find(path.stream(), path.packet_index)))

    @blueprint.response(201, schemas.MetadataSchema, description="The metadata is new")
    @blueprint.alt_response(200, schema=schemas.MetadataSchema, description="It replaces earlier metadata")
    @answers("putMetadata", requestBody=CONTENT_BODY)
    def put(self, path: AuthorizedPath) -> Response:
        """Store the metadata of a packet, and replace any earlier metadata."""
        content = noted_content()
        packet, is_new = house().streams.metadata.put(path.stream(), path.packet_index, content, path.owner)
        return json_response(representations.metadata_object(packet), 201 if is_new else 200)

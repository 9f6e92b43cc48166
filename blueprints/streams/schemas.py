"""What the Stream Data Store takes and gives."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from blueprints.openapi import TIME
from blueprints.parameters import LARGEST, QuerySchema, WholeNumberField
from smarthouse_api.streams.model import LARGEST_INDEX
from smarthouse_api.streams.packet_formats import PACKET_FORMATS, format_named

SESSION_ID = "000000000000003f9c1d2e4b5a607182"


class PacketFormatField(fields.String):
    """Reads the format in which packets are put into one download."""

    def __init__(self) -> None:
        described = (
            "`octets`: only the bytes, one packet after another; `ndjson`: one line for each, with index, time and base64; "
            "`zip`: one file for each. Upper or lower case"
        )
        super().__init__(load_default="octets", metadata={"description": described, "enum": list(PACKET_FORMATS)})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return format_named(str(value))


class PageSchema(QuerySchema):
    """Selects a part of a list."""

    skip = WholeNumberField("Number of items to skip", None, load_default=0)
    limit = WholeNumberField("Largest number of items; 0: all", None, load_default=0)


def _check_order(query: dict[str, Any]) -> None:
    start, stop = query.get("start"), query.get("stop")
    if start is not None and stop is not None and start > stop:
        raise ValidationError({"start": [f"{start} is above stop, {stop}; give a start that is not above stop."]})


class RangeSchema(PageSchema):
    """Selects a range of packets, and a part of the list of what the range has."""

    start = WholeNumberField("First index of the range", 0, required=True)
    stop = WholeNumberField("Last index of the range, inclusive", 100, required=True)

    @validates_schema
    def ordered(self, query: dict[str, Any], **_: Any) -> None:
        _check_order(query)


class FetchSchema(QuerySchema):
    """Selects the packets to fetch or to follow, and their format."""

    start = WholeNumberField("Index of the first packet; with `follow`, absent: only new packets", 0)
    stop = WholeNumberField("Index of the last packet, inclusive; with `follow`, absent: no end", 100)
    format = PacketFormatField()
    follow = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false."},
        metadata={"description": "Send the packets as server-sent events, and continue with new ones", "example": False},
    )

    @validates_schema(skip_on_field_errors=True)
    def bounded(self, query: dict[str, Any], **_: Any) -> None:
        missing = [] if query["follow"] else [name for name in ("start", "stop") if name not in query]
        if missing:
            raise ValidationError({name: [f"is missing; give a whole number from 0 to {LARGEST}."] for name in missing})
        _check_order(query)


class FollowSchema(QuerySchema):
    """Selects the packets that a URL is to follow."""

    start = WholeNumberField("Index of the first packet; absent: the next one from now on", 0)
    stop = WholeNumberField("Index of the last packet, inclusive; absent: no end", 0)

    @validates_schema(skip_on_field_errors=True)
    def ordered(self, query: dict[str, Any], **_: Any) -> None:
        _check_order(query)


class ResumeSchema(Schema):
    """Reads where a client that follows a stream left off."""

    last_event_id = WholeNumberField(
        "While following: continue after this index; `start` is ignored", None, data_key="Last-Event-ID"
    )


class AppendSchema(QuerySchema):
    """Selects the index and the session that packets are appended at."""

    index = WholeNumberField("Index of the packet: the next one or higher; absent: the next one", None, LARGEST_INDEX)
    session = fields.String(
        validate=validate.Length(min=1, error="is empty; give the id of the open session, or leave it out."),
        metadata={"description": "Id of the session that must be open; otherwise 409"},
    )


_GIVEN = fields.String(metadata={"description": "As in the given URL"})
SignedSchema = Schema.from_dict(
    dict.fromkeys(("stream", "start", "stop", "format", "expires", "signature"), _GIVEN), name="SignedSchema"
)
"""The query of a download URL, as it was given. Only the signature is checked."""

FollowedSchema = Schema.from_dict(
    dict.fromkeys(("stream", "key", "start", "stop", "expires", "signature"), _GIVEN), name="FollowedSchema"
)
"""The query of a URL to follow a stream, as it was given."""


class OwnerSchema(Schema):
    """Describes the owner of the key that a request used."""

    type = fields.String(metadata={"description": "`user`, `project` or `admin`", "example": "user"})
    id = fields.String(metadata={"description": "Id of the key; not secret", "example": "4f8a1c0e6d5b"})
    name = fields.String(metadata={"description": "Name of the key", "example": "the gateway"})


class RetentionSchema(Schema):
    """Limits what a stream keeps: its newest packets. An absent member sets no limit."""

    packets = fields.Integer(metadata={"description": "Largest number of packets", "minimum": 1, "example": 1_000_000})
    bytes = fields.Integer(metadata={"description": "Largest total size in bytes", "minimum": 1})
    seconds = fields.Float(metadata={"description": "Largest age in seconds", "minimum": 0, "exclusiveMinimum": True})


class StreamSchema(Schema):
    """Describes a stream in a list."""

    homeId = fields.Integer(metadata={"description": "The home that it belongs to", "example": 1})
    moduleId = fields.String(metadata={"description": "The smart module that it belongs to", "example": "sds"})
    name = fields.String(metadata={"description": "Unique in the module", "example": "camera"})


class WholeStreamSchema(StreamSchema):
    """Describes a stream, with what it keeps."""

    retention = fields.Nested(RetentionSchema, metadata={"description": "What it keeps; absent: everything"})


class StatusSchema(Schema):
    """Tells how far a stream has come, and who holds it open."""

    packetIndex = fields.Integer(metadata={"description": "The highest index; -1 before the first packet", "example": 41})
    lastPacketReceivedAt = fields.String(
        metadata={**TIME, "description": "When the last packet came; absent before the first packet"}
    )
    openPacketIndex = fields.Integer(metadata={"description": "First index of the open session; absent if none is open"})
    streamOwner = fields.Nested(OwnerSchema, metadata={"description": "Owner of the open session; absent if none is open"})


class SessionSchema(Schema):
    """Describes a session: a range of packets that belong together."""

    id = fields.String(metadata={"example": SESSION_ID})
    start = fields.Integer(metadata={"description": "Index of its first packet", "example": 0})
    stop = fields.Integer(metadata={"description": "Index of its last packet; absent if it has none", "example": 41})
    author = fields.Nested(OwnerSchema, metadata={"description": "Who made it"})
    open = fields.Boolean(metadata={"description": "`true` if it is open; otherwise absent"})


class MetadataSchema(Schema):
    """Describes the metadata of a packet."""

    packetIndex = fields.Integer(metadata={"example": 0})
    content = fields.Dict(metadata={"description": "Any JSON object", "example": {"light": "on"}})
    receivedAt = fields.String(metadata={**TIME, "description": "When the first content was stored"})
    updatedAt = fields.String(metadata={**TIME, "description": "When this content was stored"})
    source = fields.Nested(OwnerSchema, metadata={"description": "Who wrote this content"})


class AppendedSchema(Schema):
    """Tells a client which indexes its packets got."""

    start = fields.Integer(metadata={"description": "Index of the first packet", "example": 42})
    stop = fields.Integer(metadata={"description": "Index of the last packet", "example": 42})


class FollowUrlSchema(Schema):
    """Tells a client where to follow a stream without a key, and how long."""

    url = fields.String(
        metadata={"format": "uri-reference", "description": "URL of the events; it is the permission, so keep it secret"}
    )
    expiresAt = fields.String(metadata={**TIME, "description": "When the URL expires"})


class BoundsSchema(Schema):
    """Bounds a new session: `0 <= start <= stop <= packetIndex`."""

    start = fields.Integer(required=True, metadata={"minimum": 0, "example": 0})
    stop = fields.Integer(required=True, metadata={"minimum": 0, "example": 0})

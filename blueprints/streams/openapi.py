"""Parameters, headers and bodies as the document describes them."""

from __future__ import annotations

from typing import Any

from blueprints.streams.schemas import SESSION_ID, BoundsSchema


def _parameter(name: str, description: str, example: str | int) -> dict[str, Any]:
    kind = {"type": "string"} if isinstance(example, str) else {"type": "integer", "format": "int64", "minimum": 0}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": kind, "example": example}


def _header(description: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind, **schema}}


def _json(schema: Any, description: str, example: Any, *, required: bool) -> dict[str, Any]:
    return {
        "description": description,
        "required": required,
        "content": {"application/json": {"schema": schema, "example": example}},
    }


PATH = {
    "homeId": _parameter("homeId", "The home", 1),
    "moduleId": _parameter("moduleId", "The smart module", "sds"),
    "streamName": _parameter("streamName", "The stream; a slash in its name is written `%2F`", "camera"),
    "sessionId": _parameter("sessionId", "The session", SESSION_ID),
    "packetIndex": _parameter("packetIndex", "Index of the packet", 0),
}
PAGE_HEADERS = {
    "vnd.tinkermode.range": _header(
        "Positions of the first and the last item, and the total; `*/210` for no item", example="0-9/210"
    )
}
LOCATION_HEADERS = {"Location": _header("Its path", format="uri-reference")}
FOUND_HEADERS = {"Location": _header("Absolute URL of the packets; it expires soon and needs no key", format="uri")}
DOWNLOAD_HEADERS = {
    "Content-Disposition": _header("The file name"),
    "ETag": _header("Identifies exactly these bytes"),
    "Accept-Ranges": _header("`bytes`; `none` if the size is not known beforehand"),
}
PART_HEADERS = {"Content-Range": _header("The range of bytes in this answer", example="bytes 0-99/1234")}
RETENTION_BODY = _json(
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {"retention": {"$ref": "#/components/schemas/Retention"}},
    },
    "The retention of the stream; if absent, it does not change",
    {"retention": {"packets": 1_000_000}},
    required=False,
)
BOUNDS_BODY = _json(BoundsSchema, "The range of the session", {"start": 0, "stop": 0}, required=True)
TIMEOUT_BODY = _json(
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {"timeoutSeconds": {"type": "number", "minimum": 0, "exclusiveMinimum": True}},
    },
    "Seconds until the session closes without a packet or a renewal",
    {"timeoutSeconds": 60},
    required=False,
)
CONTENT_BODY = _json({"type": "object"}, "The metadata: any JSON object", {"light": "on"}, required=True)
PACKETS_BODY = {
    "description": "One packet as raw bytes, or a batch as `application/x-ndjson`. A batch is stored whole or not at all",
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/x-ndjson": {
            "schema": {
                "type": "string",
                "description": 'One line for each packet: `{"data": "<base64>"}`; add `"index"` to name its index',
            },
            "example": '{"data": "aGVsbG8="}\n{"data": "d29ybGQ=", "index": 5}\n',
        },
    },
}

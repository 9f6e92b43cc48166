"""Parameters, headers and bodies of streams, as their document describes them."""

from __future__ import annotations

from typing import Any

from blueprints.openapi import BINARY, FREE_OBJECT, header, json_body, path_parameter
from blueprints.streams.schemas import SESSION_ID, BoundsSchema


def _settings(description: str, example: Any, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return json_body(schema, example, required=False, description=description)


PATH = {
    "homeId": path_parameter("homeId", "The home", 1),
    "moduleId": path_parameter("moduleId", "The smart module", "sds"),
    "streamName": path_parameter("streamName", "The stream; a slash in its name is written `%2F`", "camera"),
    "sessionId": path_parameter("sessionId", "The session", SESSION_ID),
    "packetIndex": path_parameter("packetIndex", "Index of the packet", 0),
}
PAGE_HEADERS = {
    "vnd.tinkermode.range": header(
        "Positions of the first and the last item, and the total; `*/210` for no item", example="0-9/210"
    )
}
LOCATION_HEADERS = {"Location": header("Its path", format="uri-reference")}
FOUND_HEADERS = {
    "Location": header(
        "URL of the packets; it expires soon and needs no key. It is a path alone if the request does not name a host that is "
        "known to be this service's",
        format="uri-reference",
    )
}
DOWNLOAD_HEADERS = {
    "Content-Disposition": header("The file name"),
    "ETag": header("Identifies exactly these bytes"),
    "Accept-Ranges": header("`bytes`; `none` if the size is not known beforehand"),
}
RETENTION_BODY = _settings(
    "The retention of the stream; if absent, it does not change; null: the stream keeps everything",
    {"retention": {"packets": 1_000_000}},
    retention={"nullable": True, "allOf": [{"$ref": "#/components/schemas/Retention"}]},
)
BOUNDS_BODY = json_body(BoundsSchema, {"start": 0, "stop": 0}, description="The range of the session")
TIMEOUT_BODY = _settings(
    "Seconds until the session closes without a packet or a renewal",
    {"timeoutSeconds": 60},
    timeoutSeconds={"type": "number", "minimum": 0, "exclusiveMinimum": True},
)
CONTENT_BODY = json_body(FREE_OBJECT, {"light": "on"}, description="The metadata: any JSON object")
EVENTS = {
    "type": "string",
    "description": (
        "Server-sent events, one for each packet. `id` is the packet's index. `data` is a JSON object with the members "
        "`index`, `time` (RFC 3339) and `data` (the bytes in base64)"
    ),
    "example": 'retry: 1000\n\nid: 0\ndata: {"index":0,"time":"2026-03-01T12:34:56.123456Z","data":"aGVsbG8="}\n\n:\n\n',
}
PACKETS_BODY = {
    "description": (
        "One packet as raw bytes, or a batch as `application/x-ndjson`. A batch is stored whole or not at all. "
        "`application/jsonl` and the other names of JSON Lines mean a batch, too. A packet is what is left when "
        "`Content-Encoding` is undone"
    ),
    "required": True,
    "content": {
        "application/octet-stream": {"schema": BINARY},
        "application/x-ndjson": {
            "schema": {
                "type": "string",
                "description": 'One line for each packet: `{"data": "<base64>"}`; add `"index"` to name its index',
            },
            "example": '{"data": "aGVsbG8="}\n{"data": "d29ybGQ=", "index": 5}\n',
        },
    },
}

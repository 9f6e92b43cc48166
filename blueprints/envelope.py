"""Obsrv's envelope, which every answer about datasets comes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import msgspec
from flask import Response, g, request

VERSION: Final = "v2"


@dataclass(frozen=True)
class Api:
    """One of the APIs that the envelope tells apart. invalid, missing, taken: its codes for a 400, a 404 and a 409."""

    id: str
    invalid: str = "BAD_REQUEST"
    missing: str = "NOT_FOUND"
    taken: str = "CONFLICT"


_APIS: Final = {
    "v2/data/in": Api("api.data.in", "DATA_INGESTION_INVALID_INPUT", "DATASET_NOT_FOUND"),
    "v2/data/out": Api("api.data.out", "DATA_OUT_INVALID_INPUT", "DATASET_NOT_FOUND"),
    "v2/datasets/create": Api("api.datasets.create", "DATASET_INVALID_INPUT", taken="DATASET_EXISTS"),
    "v2/datasets/read": Api("api.datasets.read", "DATASET_INVALID_FIELDS", "DATASET_NOT_FOUND"),
    "v2/datasets/list": Api("api.datasets.list", "DATASET_LIST_INPUT_INVALID"),
    "v2/datasets/update": Api(
        "api.datasets.update", "DATASET_UPDATE_INPUT_INVALID", "DATASET_NOT_EXISTS", "DATASET_ALIAS_NOT_UNIQUE"
    ),
    "v2/datasets/alias": Api(
        "api.datasets.alias", "DATASET_ALIAS_INPUT_INVALID", "DATASET_NOT_EXISTS", "DATASET_ALIAS_NOT_UNIQUE"
    ),
    "v2/datasets/records": Api("api.datasets.records", "DATASET_RECORDS_INVALID_INPUT", "DATASET_NOT_FOUND"),
    "v2/datasets/failed": Api("api.datasets.failed", "DATASET_FAILED_INVALID_INPUT", "RECORD_NOT_FOUND"),
    "v2/datasets/replay": Api("api.datasets.replay", "DATASET_REPLAY_INVALID_INPUT", "RECORD_NOT_FOUND"),
}
"""By the first three parts of the path."""

_NONE: Final = Api("api", missing="ROUTE_NOT_FOUND")


def called() -> Api:
    """The API that the current request is for."""
    return _APIS.get("/".join(request.path.strip("/").split("/", 3)[:3]), _NONE)


def note_message(sent: Any) -> None:
    """Remember the `params.msgid` of what was sent, if it has one, for whatever will be answered."""
    params = sent.get("params") if isinstance(sent, dict) else None
    msgid = params.get("msgid") if isinstance(params, dict) else None
    g.msgid = msgid if isinstance(msgid, str) else None


def enveloped(result: Any, *, id_: str = "", at: datetime | None = None) -> bytes:
    """The answer to a request that was done. id_, at: of the answer, where it is one that was given before."""
    return msgspec.json.encode(_envelope("SUCCESS", "OK", result, id_, at))


def told(result: Any, headers: dict[str, str] | None = None, *, id_: str = "", at: datetime | None = None) -> Response:
    return Response(enveloped(result, id_=id_, at=at), headers=headers, content_type="application/json")


def refused(response_code: str, code: str, message: str) -> bytes:
    """The answer to a request that was not done."""
    error = {"code": code, "message": message, "trace": ""}
    return msgspec.json.encode({**_envelope("FAILED", response_code, {}), "error": error})


def around() -> tuple[bytes, bytes]:
    """What comes before and after a result that is sent in pieces."""
    whole = enveloped(None)
    return whole[: -len(b"null}")], b"}"


def _envelope(status: str, response_code: str, result: Any, id_: str = "", at: datetime | None = None) -> dict[str, Any]:
    params = {"status": status}
    if (msgid := g.get("msgid")) is not None:
        params["msgid"] = msgid
    params["resmsgid"] = id_ or str(uuid4())
    return {
        "id": called().id,
        "ver": VERSION,
        "ts": (at or datetime.now(UTC)).isoformat(timespec="seconds"),
        "params": params,
        "responseCode": response_code,
        "result": result,
    }

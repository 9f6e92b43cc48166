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
class ObsrvApi:
    """Names an API in the envelope, with its codes: `invalid` for a 400, `missing` for a 404, `taken` for a 409."""

    id: str
    invalid: str = "BAD_REQUEST"
    missing: str = "NOT_FOUND"
    taken: str = "CONFLICT"


_APIS: Final = {
    "v2/data/in": ObsrvApi("api.data.in", "DATA_INGESTION_INVALID_INPUT", "DATASET_NOT_FOUND"),
    "v2/data/out": ObsrvApi("api.data.out", "DATA_OUT_INVALID_INPUT", "DATASET_NOT_FOUND"),
    "v2/datasets/create": ObsrvApi("api.datasets.create", "DATASET_INVALID_INPUT", taken="DATASET_EXISTS"),
    "v2/datasets/read": ObsrvApi("api.datasets.read", "DATASET_INVALID_FIELDS", "DATASET_NOT_FOUND"),
    "v2/datasets/list": ObsrvApi("api.datasets.list", "DATASET_LIST_INPUT_INVALID"),
    "v2/datasets/update": ObsrvApi(
        "api.datasets.update", "DATASET_UPDATE_INPUT_INVALID", "DATASET_NOT_EXISTS", "DATASET_ALIAS_NOT_UNIQUE"
    ),
    "v2/datasets/alias": ObsrvApi(
        "api.datasets.alias", "DATASET_ALIAS_INPUT_INVALID", "DATASET_NOT_EXISTS", "DATASET_ALIAS_NOT_UNIQUE"
    ),
    "v2/datasets/records": ObsrvApi("api.datasets.records", "DATASET_RECORDS_INVALID_INPUT", "DATASET_NOT_FOUND"),
    "v2/datasets/failed": ObsrvApi("api.datasets.failed", "DATASET_FAILED_INVALID_INPUT", "RECORD_NOT_FOUND"),
    "v2/datasets/replay": ObsrvApi("api.datasets.replay", "DATASET_REPLAY_INVALID_INPUT", "RECORD_NOT_FOUND"),
}
"""By the first three parts of the path."""

_NONE: Final = ObsrvApi("api", missing="ROUTE_NOT_FOUND")


def called_api() -> ObsrvApi:
    """Find the API that the current request calls, by the first three parts of its path."""
    return _APIS.get("/".join(request.path.strip("/").split("/", 3)[:3]), _NONE)


def note_message(sent: Any) -> None:
    """Remember the `params.msgid` that a client sent, so that every answer repeats it, a refusal too."""
    params = sent.get("params") if isinstance(sent, dict) else None
    msgid = params.get("msgid") if isinstance(params, dict) else None
    g.msgid = msgid if isinstance(msgid, str) else None


def response(result: Any, headers: dict[str, str] | None = None, *, id_: str = "", at: datetime | None = None) -> Response:
    """Answer that a request was done: put its result into the envelope.

    A repeated answer has the id and the time of the first one; else they are new.
    """
    told = msgspec.json.encode(_envelope("SUCCESS", "OK", result, id_, at))
    return Response(told, headers=headers, content_type="application/json")


def failure(response_code: str, code: str, message: str) -> bytes:
    """Put the error of a request that was refused into the envelope."""
    error = {"code": code, "message": message, "trace": ""}
    return msgspec.json.encode({**_envelope("FAILED", response_code, {}), "error": error})


def around_result() -> tuple[bytes, bytes]:
    """Return the envelope's bytes before and after a result, so that the result can be sent in pieces."""
    whole = msgspec.json.encode(_envelope("SUCCESS", "OK", None))
    return whole[: -len(b"null}")], b"}"


def _envelope(status: str, response_code: str, result: Any, id_: str = "", at: datetime | None = None) -> dict[str, Any]:
    params = {"status": status}
    if (msgid := g.get("msgid")) is not None:
        params["msgid"] = msgid
    params["resmsgid"] = id_ or str(uuid4())
    return {
        "id": called_api().id,
        "ver": VERSION,
        "ts": (at or datetime.now(UTC)).isoformat(timespec="seconds"),
        "params": params,
        "responseCode": response_code,
        "result": result,
    }

"""Turn every fault into HTTP, in the dialect of the API that was called. No other module does this."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException

from blueprints import envelope
from blueprints.observability import HYPHENATED
from smarthouse_api import errors
from smarthouse_api.errors import Refused, StoreError

RETRY_AFTER_SECONDS = 5
_EXTENSION: Final = "smarthouse_dialects"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """Carries an error to the dialect that puts it into words.

    The title is short, the detail is for the client, and the reason is a code for programs. The kind is the rule's own refusal,
    if a rule refused.
    """

    status: int
    detail: str
    title: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    kind: type[Refused] | None = None


def problem(fault: Fault) -> Response:
    """Answer as Ingest and Export do, and for paths that belong to no API: problem details, RFC 9457."""
    title = fault.title or HTTPStatus(fault.status).phrase
    detail = HYPHENATED.sub("{uuid}", fault.detail)  # a home's, where a client gave it as a parameter
    body = {"type": "about:blank", "title": title, "status": fault.status, "detail": detail}
    return Response(msgspec.json.encode(body), fault.status, _challenged(fault), content_type="application/problem+json")


def problems(
    blueprint: Any, operation_id: str, *statuses: int, parameters: Sequence[dict[str, Any]] = (), **described: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Document a view: its name in generated clients, the statuses of its own refusals, and what else is `described`.

    The parameters stand beside those that `arguments` reads. One decorator costs a request less than one for each status.
    """
    document = blueprint.doc(
        operationId=operation_id, responses={str(status): HTTPStatus(status).name for status in statuses}, **described
    )

    def documented(view: Callable[..., Any]) -> Callable[..., Any]:
        told: Any = document(view)
        told._apidoc.setdefault("arguments", {}).setdefault("parameters", []).extend(parameters)
        return cast(Callable[..., Any], told)

    return documented


def reasoned(fault: Fault) -> Response:
    """Answer as streams do: a code for programs, and the words."""
    body = {"reason": fault.reason or reason_of(fault.status, fault.kind), "message": fault.detail}
    headers = {**fault.headers, "WWW-Authenticate": "ModeCloud, Bearer"} if fault.status == 401 else fault.headers
    return Response(msgspec.json.encode(body), fault.status, headers, content_type="application/json")


def reason_of(status: int, kind: type[Refused] | None = None) -> str:
    """Return the code that streams give a fault which has none of its own."""
    return _REASONS.get(kind) or _REASONS.get(status) or HTTPStatus(status).name


_REASONS: dict[int | type[Refused] | None, str] = {
    errors.KeyReused: "IDEMPOTENCY_KEY_REUSED",
    errors.InvalidData: "INVALID_DATA",
    400: "INVALID_PARAMETER",
    413: "REQUEST_ENTITY_TOO_LARGE",  # Python renames this status and the next from time to time
    414: "REQUEST_URI_TOO_LONG",
    416: "RANGE_NOT_SATISFIABLE",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}


def coded(fault: Fault) -> Response:
    """Answer as data sources do: a code for programs, and the words."""
    status = _without_conflict(fault)
    body = {"error": _CODES.get(fault.kind) or code_of(status), "message": fault.detail}
    return Response(msgspec.json.encode(body), status, _challenged(fault), content_type="application/json")


def code_of(status: int) -> str:
    """Return the code that data sources give a status, as Madevo writes them."""
    return _CODES.get(status) or HTTPStatus(status).name.lower()


_CODES: dict[int | type[Refused] | None, str] = {
    errors.KeyReused: "idempotency_key_reused",
    400: "validation_error",
    413: "payload_too_large",  # Python renames this status and the next from time to time
    414: "uri_too_long",
    422: "validation_error",
}


def flagged(fault: Fault) -> Response:
    """Answer as Madevo's newer API, which is not served here: its clients look at the flag `error`, and not at the status."""
    detail = "This service has no such path; insert records with POST /restapi/datasource/insert"
    body = {"error": True, "message": detail if fault.status == 404 else fault.detail}
    return Response(msgspec.json.encode(body), fault.status, _challenged(fault), content_type="application/json")


def enveloped(fault: Fault) -> Response:
    """Answer as datasets do: in Obsrv's envelope."""
    status, api = _without_conflict(fault), envelope.called_api()
    codes: dict[int | type[Refused] | None, str] = {
        errors.KeyReused: "IDEMPOTENCY_KEY_REUSED",
        errors.NotFound: api.missing,
        400: api.invalid,
        404: "ROUTE_NOT_FOUND",
    }
    code = {"EXISTS": api.taken, "OUTDATED": "DATASET_OUTDATED"}.get(fault.reason or "", fault.reason)
    code = code or codes.get(fault.kind) or codes.get(status) or response_code_of(status)
    # As in Obsrv, data for a dataset that does not exist is a bad request, though the status is 404.
    as_bad = code in ("DATASET_NOT_FOUND", "TOPIC_NOT_FOUND")
    told = envelope.failure(fault.title or ("BAD_REQUEST" if as_bad else response_code_of(status)), code, fault.detail)
    return Response(told, status, _challenged(fault), content_type="application/json")


def response_code_of(status: int) -> str:
    """Return the name that Obsrv's envelope gives a status."""
    return _RESPONSE_CODES.get(status) or HTTPStatus(status).name


_RESPONSE_CODES = {413: "REQUEST_ENTITY_TOO_LARGE", 414: "REQUEST_URI_TOO_LONG", 422: "UNPROCESSABLE_ENTITY"}


def _without_conflict(fault: Fault) -> int:
    """Find the status, in dialects without a conflict over an `Idempotency-Key`."""
    return 400 if fault.kind is errors.KeyReused else fault.status


def _challenged(fault: Fault) -> dict[str, str]:
    return {**fault.headers, "WWW-Authenticate": "Bearer"} if fault.status == 401 else fault.headers


DIALECTS: dict[str, Callable[[Fault], Response]] = {
    "/homes": reasoned,
    "/restapi": coded,
    "/api/v1": flagged,
    "/v2": enveloped,
}
"""Path -> dialect at it and below it, for the APIs that do not speak `problem`."""

_STATUSES: tuple[tuple[type[Refused], HTTPStatus], ...] = (
    (errors.Unauthorized, HTTPStatus.UNAUTHORIZED),
    (errors.Forbidden, HTTPStatus.FORBIDDEN),
    (errors.InvalidData, HTTPStatus.FORBIDDEN),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.Gone, HTTPStatus.GONE),
    (errors.InUse, HTTPStatus.CONFLICT),
    (errors.KeyReused, HTTPStatus.CONFLICT),
    (errors.Invalid, HTTPStatus.BAD_REQUEST),
    (errors.Unprocessable, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.TooSlow, HTTPStatus.REQUEST_TIMEOUT),
    (errors.TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)


_OUTAGES: tuple[tuple[type[StoreError], str], ...] = (
    (errors.StoreFull, "The storage is full"),
    (errors.StoreUnfit, "The storage needs the service's operator, to whom /health/ready says why"),
    (StoreError, "The storage does not answer"),
)


def register(app: Flask, also: Mapping[str, Callable[[Fault], Response]] = MappingProxyType({})) -> None:
    """Have `app` answer every fault in the dialect of the API that was called. also: more of `DIALECTS`."""
    app.extensions[_EXTENSION] = {**DIALECTS, **also}
    app.register_error_handler(Exception, answer)


def answer(error: Exception) -> Response:
    """Turn a fault into the response, whichever part of the service raised it."""
    fault = _fault(error)
    below = f"{request.path}/"
    dialects: Mapping[str, Callable[[Fault], Response]] = current_app.extensions[_EXTENSION]
    speak = next((dialect for path, dialect in dialects.items() if below.startswith(f"{path}/")), problem)
    return speak(fault)


def _fault(error: Exception) -> Fault:
    if isinstance(error, Refused):
        return Fault(_status(error), error.detail, error.title, _retry(error), error.reason, type(error))
    if isinstance(error, StoreError):
        # An object's key holds its home's: only an outage tells its own words.
        log.error("storage failed: %s", error if isinstance(error, errors.StoreUnavailable) else type(error).__name__)
        detail = next(words for kind, words in _OUTAGES if isinstance(error, kind))
        return Fault(503, f"{detail}; repeat the request later", None, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    if isinstance(error, HTTPException) and error.code is not None:
        return Fault(error.code, _words(error), None, _headers(error))
    log.error("unexpected fault", exc_info=error)
    return Fault(500, "The service failed to answer; the fault is logged under this answer's X-Request-ID")


def _status(error: Refused) -> int:
    return next(status for kind, status in _STATUSES if isinstance(error, kind))


def _retry(error: Refused) -> dict[str, str]:
    if isinstance(error, errors.TooMany | errors.NoRoom):
        return {"Retry-After": str(error.retry_after_seconds)}
    return {"Retry-After": str(RETRY_AFTER_SECONDS)} if isinstance(error, errors.Unavailable) else {}


def _words(error: HTTPException) -> str:
    if faults := getattr(error, "data", {}).get("messages"):
        return _told(faults)
    match error.code:
        case 404:
            return "There is nothing at this path; the APIs are described at /docs"
        case 405:
            return f"{request.method} is not possible here; use {', '.join(sorted(error.valid_methods or []))}"  # type: ignore[attr-defined]
        case 413:
            limit = request.max_content_length
            return f"The body is larger than {limit} bytes" if limit else "The body is too large"
    return error.description or HTTPStatus(error.code or 500).description


def _told(faults: dict[str, dict[str, list[str]]]) -> str:
    """Write a schema's findings, by location and parameter, in one sentence for each."""
    return " ".join(f"{name}: {' '.join(told)}" for by_name in faults.values() for name, told in by_name.items())


def _headers(error: HTTPException) -> dict[str, Any]:
    kept = {"allow", "retry-after", "location", "content-range", "accept-encoding"}
    return {name: value for name, value in error.get_headers() if name.lower() in kept}

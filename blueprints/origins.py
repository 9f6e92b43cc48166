"""Origins: let pages of other sites call the APIs that the operator opened to them, and no other page.

1. An answer to a page of a named origin carries CORS headers, whatever its status. Cookies are never asked for.
2. A preflight is answered before a key is asked for: browsers send none with it.
3. A request of any other page changes nothing, also if browsers send it without a preflight.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from flask import Flask, Response, request

from blueprints.responses import empty_response
from config.groups import OriginSettings
from smarthouse_api.errors import Forbidden

APIS: Final = MappingProxyType(
    {
        "/api/ingest/": "ingest",
        "/api/export/": "export",
        "/restapi/datasource/": "datasources",
        "/homes/": "streams",
        "/v2/": "datasets",
    }
)
"""What the paths of an API begin with -> the API, as its setting names it."""

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
_HEADERS: Final = (
    "Authorization, Content-Type, Content-Encoding, Home-UUID, Home_UUID, Idempotency-Key, If-Match, If-None-Match, If-Range, "
    "Last-Event-ID, Range, X-Request-ID"
)
_EXPOSED: Final = (
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, Idempotency-Replayed, Location, Retry-After, "
    "vnd.tinkermode.range, WWW-Authenticate, X-As-Of, X-Empty-Reason, X-Incomplete, X-Request-ID"
)
_PREFLIGHT_SECONDS: Final = 7200


@dataclass(frozen=True)
class OpenTo:
    """Tells which pages may call an API, and by which setting."""

    setting: str
    origins: frozenset[str]

    def admits(self, origin: str) -> bool:
        return origin in self.origins or "*" in self.origins


def register(app: Flask, settings: OriginSettings) -> None:
    """Have `app` answer the pages of the origins in `settings`, and refuse other pages.

    Register this before all that asks for keys.
    """
    by_path = {path: OpenTo(f"SMARTHOUSE_CORS_{api.upper()}", frozenset(getattr(settings, api))) for path, api in APIS.items()}
    nobody = OpenTo("", frozenset())

    def called() -> OpenTo:
        return next((api for path, api in by_path.items() if request.path.startswith(path)), nobody)

    @app.before_request
    def admit() -> Response | None:
        origin, is_preflight = request.headers.get("Origin"), _is_preflight()
        if is_preflight or (request.method not in _READING and not _is_own(origin)):
            api = called()
            if not api.admits(origin or ""):
                raise Forbidden(_refusal(origin, api))
        return empty_response() if is_preflight else None

    def tell(response: Response) -> Response:
        api = called()
        if api.origins:
            _tell(response, request.headers.get("Origin", ""), api)
        return response

    if any(api.origins for api in by_path.values()):
        app.after_request(tell)


def _is_preflight() -> bool:
    return request.method == "OPTIONS" and "Origin" in request.headers and "Access-Control-Request-Method" in request.headers


def _is_own(origin: str | None) -> bool:
    """Tell whether no page sent the request, or one that the service itself served."""
    fetched_from = request.headers.get("Sec-Fetch-Site")
    if fetched_from is not None:
        # Only browsers can set this header, but they send it only over TLS and on the same machine.
        return fetched_from in ("same-origin", "none")
    return origin is None or origin.partition("://")[2] == request.host


def _refusal(origin: str | None, api: OpenTo) -> str:
    page = f"Origin: pages of {(origin or 'another site')[:100]} may not call this"
    return f"{page}; the operator of the service names the origins that may in {api.setting}" if api.setting else page


def _tell(response: Response, origin: str, api: OpenTo) -> None:
    """Tell the browser what a page may do and read. Caches must keep the answers to different origins apart."""
    headers, is_open_to_all = response.headers, "*" in api.origins
    if not is_open_to_all:
        response.vary.add("Origin")
    if is_open_to_all or origin in api.origins:
        headers["Access-Control-Allow-Origin"] = "*" if is_open_to_all else origin
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        if _is_preflight():
            headers["Access-Control-Allow-Methods"] = _METHODS
            headers["Access-Control-Allow-Headers"] = _HEADERS
            headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
